//! The way out to the network, shared by HTTP, TCP and mail: a name is resolved once, every address it leads to is
//! checked, and the connection goes to a checked address, never to the name again.
//!
//! Stops DNS rebinding: a granted name whose owner lets it lead to 127.0.0.1, to the cloud's metadata service or into
//! the private network, at once or only at the second look-up.

pub mod address;

use crate::grants::{HostPattern, Resolves};
use address::{AddressClass, Reach};
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::net::TcpStream;
use url::{Host, Url};

/// Host and port that a plugin wants to reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// A name in lower case, or an address.
    pub host: Host<String>,
    /// The port.
    pub port: u16,
}

impl Place {
    /// The place that a plugin named by a host in text.
    ///
    /// # Errors
    /// A sentence when it is no host.
    pub fn parse(host: &str, port: u16) -> Result<Self, String> {
        let bare = host.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(host);
        let host = match bare.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => Host::Ipv4(address),
            Ok(IpAddr::V6(address)) => Host::Ipv6(address),
            Err(_) => match Host::parse(host) {
                Ok(Host::Domain(name)) => Host::Domain(plain_name(&name)?),
                Ok(host) => host,
                Err(error) => return Err(format!("`{}` is not a host: {error}", crate::printable(host, 100))),
            },
        };
        if port == 0 { Err("0 is not a port".to_owned()) } else { Ok(Self { host, port }) }
    }

    /// The place of a URL.
    #[must_use]
    pub fn of(url: &Url) -> Option<Self> {
        Some(Self { host: url.host()?.to_owned(), port: url.port_or_known_default()? })
    }

    /// Whether a grant for this host covers it, and how far the name may lead then.
    #[must_use]
    pub fn covered_by(&self, host: &HostPattern, resolves: Resolves) -> Option<Reach> {
        let covered = match &self.host {
            Host::Domain(name) => host.covers_name(name),
            Host::Ipv4(address) => host.covers_address(IpAddr::V4(*address)),
            Host::Ipv6(address) => host.covers_address(IpAddr::V6(*address)),
        };
        covered.then_some(match (host, resolves) {
            (HostPattern::Address(_), _) => Reach::Literal,
            (HostPattern::Localhost, _) => Reach::Loopback,
            (_, Resolves::Private) => Reach::Private,
            (_, Resolves::Public) => Reach::Public,
        })
    }

    /// How far the URL that the host itself gave to a call may lead: into the private network, where services usually
    /// are, and to this machine only if it says so.
    #[must_use]
    pub fn reach_of_target(&self) -> Reach {
        match &self.host {
            Host::Domain(name) if name == "localhost" => Reach::Loopback,
            Host::Domain(_) => Reach::Private,
            Host::Ipv4(_) | Host::Ipv6(_) => Reach::Literal,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A name without a trailing dot: `example.com.` leads to the same place as `example.com`, but not to the same grant.
pub(crate) fn plain_name(name: &str) -> Result<String, String> {
    if name.ends_with('.') {
        Err(format!("the name `{}` ends with a dot", crate::printable(name, 100)))
    } else {
        Ok(name.to_ascii_lowercase())
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name leads to an address that the grant does not allow.
    #[error("`{place}` leads to {address}, which is {class}")]
    Forbidden {
        /// The place.
        place: String,
        /// The address.
        address: IpAddr,
        /// What kind of address it is.
        class: AddressClass,
        /// How far it might have led.
        reach: Reach,
    },
    /// The name could not be resolved.
    #[error("`{0}` could not be resolved: {1}")]
    Dns(String, String),
    /// Nobody listens.
    #[error("{0} refuses the connection: nothing listens there")]
    Refused(String),
    /// No connection for another reason.
    #[error("no connection to {0}: {1}")]
    Failed(String, String),
    /// The TLS handshake failed.
    #[error("TLS with {0} failed: {1}")]
    Tls(String, String),
}

/// Resolves a place and checks every address that it leads to.
///
/// # Errors
/// [`ConnectError::Dns`]; [`ConnectError::Forbidden`] if only one of the addresses is not allowed, since a name that
/// leads both outside and inside is what an attack looks like.
pub async fn resolve(place: &Place, reach: Reach) -> Result<Vec<SocketAddr>, ConnectError> {
    let addresses: Vec<SocketAddr> = match &place.host {
        Host::Ipv4(address) => vec![SocketAddr::from((*address, place.port))],
        Host::Ipv6(address) => vec![SocketAddr::from((*address, place.port))],
        Host::Domain(name) => {
            let found = tokio::net::lookup_host((name.as_str(), place.port)).await;
            found.map_err(|error| ConnectError::Dns(name.clone(), error.to_string()))?.collect()
        }
    };
    if addresses.is_empty() {
        return Err(ConnectError::Dns(place.host.to_string(), "it has no address".to_owned()));
    }
    for address in &addresses {
        let class = address::classify(address.ip());
        if !reach.allows(class) {
            return Err(ConnectError::Forbidden { place: place.to_string(), address: address.ip(), class, reach });
        }
    }
    Ok(addresses)
}

/// Connects to a place by one of its checked addresses.
///
/// # Errors
/// [`ConnectError`].
pub async fn connect(place: &Place, reach: Reach) -> Result<TcpStream, ConnectError> {
    let mut last = None;
    for address in resolve(place, reach).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Small requests wait for nobody; a socket without the option still works.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(match last {
        Some(error) if error.kind() == io::ErrorKind::ConnectionRefused => ConnectError::Refused(place.to_string()),
        Some(error) => ConnectError::Failed(place.to_string(), error.to_string()),
        None => ConnectError::Failed(place.to_string(), "it has no address".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_in_many_spellings_is_one_address() {
        for text in ["127.0.0.1", "0x7f.1", "2130706433", "127.1", "0177.0.0.1"] {
            assert_eq!(Place::parse(text, 80).unwrap().host, Host::<String>::Ipv4([127, 0, 0, 1].into()), "{text}");
        }
        assert_eq!(Place::parse("[::1]", 80).unwrap().host, Place::parse("::1", 80).unwrap().host);
        assert_eq!(Place::parse("API.example.com", 80).unwrap().host, Host::Domain("api.example.com".to_owned()));
        for bad in ["", "a b", "example.com.", "a/b", "a@b", "a:80"] {
            assert!(Place::parse(bad, 80).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_name_does_not_lead_to_this_machine() {
        let place = Place { host: Host::Domain("localhost".to_owned()), port: 9 };
        assert!(matches!(resolve(&place, Reach::Public).await, Err(ConnectError::Forbidden { .. })));
        assert!(matches!(resolve(&place, Reach::Private).await, Err(ConnectError::Forbidden { .. })));
        assert!(resolve(&place, Reach::Loopback).await.is_ok());
    }
}
