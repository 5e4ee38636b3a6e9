//! Where a provider may point probes.
//!
//! The URL of a service comes from the provider, and `target: service` lets a probe go where it leads. Stops a provider from
//! sending a probe where neither was granted anything: to this machine, unless the provider was itself granted something
//! here, and to the wire or to a metadata service at all. Services in a private network are what probes are for.

use basb_capabilities::network::address::{AddressClass, classify};
use basb_grants::{Grants, HostPattern, HttpTarget, TcpGrant};
use std::net::IpAddr;
use url::{Host, Url};

/// Whether probes may be pointed there by a provider with these grants.
///
/// # Errors
/// Why not, in a sentence.
pub(crate) fn check(url: &Url, provider: &Grants) -> Result<(), String> {
    let class = match url.host() {
        Some(Host::Domain(name)) if name == "localhost" || name.ends_with(".localhost") => AddressClass::Loopback,
        Some(Host::Ipv4(address)) => classify(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => classify(IpAddr::V6(address)),
        // Where a name leads is looked at when it is connected to: never to this machine.
        Some(Host::Domain(_)) | None => AddressClass::Public,
    };
    let refused = match class {
        AddressClass::Public | AddressClass::Private => return Ok(()),
        AddressClass::Loopback if is_here(provider) => return Ok(()),
        AddressClass::Loopback => {
            "this machine, where the provider was granted nothing; if its services are here, it needs a grant that says so"
        }
        AddressClass::LinkLocal | AddressClass::Metadata | AddressClass::Unusable => "where no service can be",
    };
    Err(format!("the provider says that the service is at {}, which is {refused}", url.origin().ascii_serialization()))
}

/// Whether a provider was granted anything of this machine: a socket, a program, a place on loopback.
fn is_here(provider: &Grants) -> bool {
    let here = |host: &HostPattern| match host {
        HostPattern::Localhost => true,
        HostPattern::Address(address) => classify(*address) == AddressClass::Loopback,
        HostPattern::Name(_) | HostPattern::OneLabel(_) | HostPattern::Labels(_) => false,
    };
    let http = provider.http.iter().any(|grant| match &grant.to {
        HttpTarget::Host { host, .. } => here(host),
        HttpTarget::Socket { .. } => true,
        HttpTarget::Service => false,
    });
    let tcp = provider.tcp.iter().any(|grant| match grant {
        TcpGrant::Host { host, .. } => here(host),
        TcpGrant::Service { .. } => false,
    });
    http || tcp || !provider.exec.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn allowed(url: &str, grants: serde_json::Value) -> bool {
        check(&url.parse().unwrap(), &Grants::parse(&grants).unwrap()).is_ok()
    }

    #[test]
    fn a_provider_points_a_probe_only_where_services_can_be() {
        let cloud = || json!({"http": [{"host": "**.amazonaws.com", "methods": ["GET", "POST"]}]});
        for url in ["https://api.example.com", "http://10.1.2.3:8080", "http://[fd12::1]", "http://93.184.216.34"] {
            assert!(allowed(url, cloud()), "{url}");
        }
        for url in [
            "http://127.0.0.1:2375",
            "http://localhost:22",
            "http://x.localhost",
            "http://[::1]:80",
            "http://[::ffff:7f00:1]",
            "http://2130706433",
            "http://169.254.1.1",
            "http://169.254.169.254",
            "http://[fe80::1]",
            "http://0.0.0.0:80",
        ] {
            assert!(!allowed(url, cloud()), "{url}");
            assert!(!allowed(url, json!({})), "{url}");
        }
    }

    #[test]
    fn a_provider_of_this_machine_may_point_here_and_no_further() {
        for grants in [
            json!({"http": [{"socket": "agent", "methods": ["GET"]}]}),
            json!({"http": [{"host": "127.0.0.1", "scheme": "http", "port": 2375}]}),
            json!({"http": [{"host": "localhost", "scheme": "http"}]}),
            json!({"exec": [{"program": "docker", "path": "/usr/bin/docker"}]}),
        ] {
            assert!(allowed("http://127.0.0.1:8080", grants.clone()), "{grants}");
            assert!(allowed("http://localhost:8080", grants.clone()), "{grants}");
            assert!(!allowed("http://169.254.169.254", grants.clone()) && !allowed("http://169.254.1.1", grants));
        }
    }
}
