//! Where a credential may be used, and whether a request goes there.
//!
//! Stops a credential from going where its pattern only seems to lead: names are compared label by label, an address is
//! covered by itself only, scheme and port count, and a unix socket is never taken for a host.

use crate::{Outgoing, Place};
use basb_grants::{HostPattern, Scheme};
use std::fmt;
use std::net::IpAddr;
use url::{Host, Url};

/// One entry of `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Binding {
    /// A host.
    Host { host: HostPattern, scheme: Scheme, port: u16 },
    /// A unix socket that the host knows by this name.
    Socket(String),
}

impl Binding {
    /// Whether a request to this place is covered.
    pub fn covers(&self, url: &Url, place: &Place) -> bool {
        match (self, place) {
            (Self::Socket(wanted), Place::Socket(name)) => wanted == name,
            (Self::Host { host, scheme, port }, Place::Network) => {
                let covered = match url.host() {
                    Some(Host::Domain(name)) => host.covers_name(name),
                    Some(Host::Ipv4(address)) => host.covers_address(IpAddr::V4(address)),
                    Some(Host::Ipv6(address)) => host.covers_address(IpAddr::V6(address)),
                    None => false,
                };
                covered && scheme.as_str() == url.scheme() && Some(*port) == url.port_or_known_default()
            }
            _ => false,
        }
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(name) => write!(f, "socket {name}"),
            Self::Host { host, scheme, port } if *port == scheme.default_port() => {
                write!(f, "{}://{host}", scheme.as_str())
            }
            Self::Host { host, scheme, port } => write!(f, "{}://{host}:{port}", scheme.as_str()),
        }
    }
}

/// Whether one of these entries covers a request.
pub(crate) fn bound(to: &[Binding], url: &Url, place: &Place) -> bool {
    to.iter().any(|binding| binding.covers(url, place))
}

/// A destination for people: scheme, host and port; nothing of path and query, which may hold secrets.
pub(crate) fn shown(request: &Outgoing) -> String {
    match &request.place {
        Place::Socket(name) => format!("socket {}", basb_grants::printable(name, 100)),
        Place::Network => origin(&request.url),
    }
}

/// Scheme, host and port.
pub(crate) fn origin(url: &Url) -> String {
    let host = basb_grants::printable(url.host_str().unwrap_or_default(), 253);
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{host}{port}", url.scheme())
}

/// A destination as an entry of `to`.
pub(crate) fn entry(url: &Url, place: &Place) -> String {
    match place {
        Place::Socket(name) => format!("{{ socket: {} }}", basb_grants::yaml_value(name)),
        Place::Network => crate::error::to_entry(url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn host(pattern: &str, scheme: Scheme, port: u16) -> Binding {
        Binding::Host { host: HostPattern::parse(pattern).unwrap(), scheme, port }
    }

    #[test]
    fn a_binding_covers_what_it_names_and_nothing_like_it() {
        let api = host("**.example.com", Scheme::Https, 443);
        let covers = |binding: &Binding, url: &str| binding.covers(&Url::parse(url).unwrap(), &Place::Network);
        for good in ["https://a.example.com/", "https://A.B.EXAMPLE.com:443/x?y"] {
            assert!(covers(&api, good), "{good}");
        }
        for bad in [
            "http://a.example.com/",
            "https://a.example.com:8443/",
            "https://example.com/",
            "https://a.example.com.evil.org/",
            "https://aexample.com/",
            "https://evil.org/a.example.com",
            "https://a.example.com@evil.org/",
            "https://evil.org?a.example.com",
            "https://evil.org#a.example.com",
            "https://a.example.com./",
            "https://93.184.216.34/",
            "https://[::1]/",
            "ftp://a.example.com/",
        ] {
            assert!(!covers(&api, bad), "{bad}");
        }
        let local = host("127.0.0.1", Scheme::Http, 9000);
        assert!(covers(&local, "http://127.0.0.1:9000/") && covers(&local, "http://2130706433:9000/"));
        assert!(!covers(&local, "http://localhost:9000/") && !covers(&local, "http://[::ffff:127.0.0.1]:9000/"));
    }

    #[test]
    fn a_socket_is_no_host() {
        let url = Url::parse("http://agent.socket.internal/v1").unwrap();
        let socket = Binding::Socket("agent".to_owned());
        assert!(socket.covers(&url, &Place::Socket("agent".to_owned())));
        assert!(!socket.covers(&url, &Place::Socket("agent2".to_owned())) && !socket.covers(&url, &Place::Network));
        let pattern = host("**.socket.internal", Scheme::Http, 80);
        assert!(!pattern.covers(&url, &Place::Socket("agent".to_owned())));
    }

    proptest! {
        #[test]
        fn a_suffix_is_not_enough(front in "[a-z0-9.-]{0,12}", back in "[a-z0-9.-]{0,12}") {
            let binding = host("*.example.com", Scheme::Https, 443);
            if let Ok(url) = Url::parse(&format!("https://{front}example.com{back}/")) {
                let name = url.host_str().unwrap_or_default();
                let expected = name.strip_suffix(".example.com").is_some_and(|l| !l.is_empty() && !l.contains('.'));
                prop_assert_eq!(binding.covers(&url, &Place::Network), expected, "{}", name);
            }
        }
    }
}
