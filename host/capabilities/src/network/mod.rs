//! The way out to the network, shared by HTTP, TCP and mail: a name is resolved once, every address it leads to is
//! checked, and the connection goes to a checked address, never to the name again.
//!
//! Stops DNS rebinding: a granted name whose owner lets it lead to 127.0.0.1, to the cloud's metadata service or into
//! the private network, at once or only at the second look-up.

pub mod address;
mod resolver;

pub use resolver::{Resolver, SystemResolver};

use crate::grants::{HostPattern, Resolves};
use address::{AddressClass, Reach};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
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
    } else if name.contains('*') {
        // No name has one, and `*.example.com` as a name would look like the pattern that covers it.
        Err(format!("`{}` is a pattern, not a name", crate::printable(name, 100)))
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
    /// The name is that of a metadata service.
    #[error("`{0}` is a metadata service, which no plugin may reach; there is no way to grant it")]
    Metadata(String),
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

/// Who goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Traveller {
    /// A plugin, as far as its grant leads.
    Plugin(Reach),
    /// The host itself, to a place that the operator named in the deployment file: a secret store on this machine, a
    /// token endpoint in the private network, the metadata service that a workload identity comes from. No plugin has a
    /// say in where such a request goes.
    Host,
}

impl From<Reach> for Traveller {
    fn from(reach: Reach) -> Self {
        Self::Plugin(reach)
    }
}

/// More addresses than this of one name are not looked at.
const ADDRESSES: usize = 32;

/// The way out.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    resolver: Arc<dyn Resolver>,
}

impl Network {
    pub(crate) fn new(resolver: Arc<dyn Resolver>) -> Self {
        Self { resolver }
    }

    /// Resolves a place once and checks every address that it leads to.
    ///
    /// # Errors
    /// [`ConnectError::Dns`]; [`ConnectError::Forbidden`] if only one of the addresses is not allowed, since a name that
    /// leads both outside and inside is what an attack looks like.
    pub(crate) async fn resolve(
        &self,
        place: &Place,
        traveller: impl Into<Traveller>,
    ) -> Result<Vec<SocketAddr>, ConnectError> {
        let traveller = traveller.into();
        let addresses: Vec<SocketAddr> = match &place.host {
            Host::Ipv4(address) => vec![SocketAddr::from((*address, place.port))],
            Host::Ipv6(address) => vec![SocketAddr::from((*address, place.port))],
            Host::Domain(name) => {
                if traveller != Traveller::Host && address::is_metadata_name(name) {
                    return Err(ConnectError::Metadata(name.clone()));
                }
                let found = self.resolver.resolve(name).await;
                let found = found.map_err(|error| ConnectError::Dns(name.clone(), error.to_string()))?;
                found.into_iter().take(ADDRESSES).map(|address| SocketAddr::new(address, place.port)).collect()
            }
        };
        if addresses.is_empty() {
            return Err(ConnectError::Dns(place.host.to_string(), "it has no address".to_owned()));
        }
        if let Traveller::Plugin(reach) = traveller {
            for address in &addresses {
                let class = address::classify(address.ip());
                if !reach.allows(class) {
                    let address = address.ip();
                    return Err(ConnectError::Forbidden { place: place.to_string(), address, class, reach });
                }
            }
        }
        Ok(addresses)
    }

    /// Connects to a place by one of its checked addresses.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub(crate) async fn connect(
        &self,
        place: &Place,
        traveller: impl Into<Traveller>,
    ) -> Result<TcpStream, ConnectError> {
        let mut last = None;
        for address in self.resolve(place, traveller).await? {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::BoxFuture;
    use std::sync::atomic::{AtomicUsize, Ordering};

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

    /// Answers with the next of its answers at every look-up, the last one for good.
    #[derive(Debug)]
    struct Scripted {
        answers: Vec<Vec<IpAddr>>,
        asked: AtomicUsize,
    }

    impl Scripted {
        fn new(answers: &[&[&str]]) -> Arc<Self> {
            let answers = answers.iter().map(|list| list.iter().map(|text| text.parse().unwrap()).collect()).collect();
            Arc::new(Self { answers, asked: AtomicUsize::new(0) })
        }
    }

    impl Resolver for Scripted {
        fn resolve<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
            let index = self.asked.fetch_add(1, Ordering::SeqCst).min(self.answers.len() - 1);
            Box::pin(async move { Ok(self.answers[index].clone()) })
        }
    }

    fn place(name: &str, port: u16) -> Place {
        Place { host: Host::Domain(name.to_owned()), port }
    }

    #[tokio::test]
    async fn a_name_does_not_lead_to_this_machine() {
        let network = Network::new(Arc::new(SystemResolver));
        let place = place("localhost", 9);
        assert!(matches!(network.resolve(&place, Reach::Public).await, Err(ConnectError::Forbidden { .. })));
        assert!(matches!(network.resolve(&place, Reach::Private).await, Err(ConnectError::Forbidden { .. })));
        assert!(network.resolve(&place, Reach::Loopback).await.is_ok());
        assert!(network.resolve(&place, Traveller::Host).await.is_ok());
    }

    #[tokio::test]
    async fn the_connection_goes_to_the_address_that_was_checked() {
        // Only 127.0.0.1 listens. A second look-up between check and connect would lead to 127.0.0.2 and be refused.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let resolver = Scripted::new(&[&["127.0.0.1"], &["127.0.0.2"]]);
        let network = Network::new(resolver.clone());
        let stream = network.connect(&place("localhost", port), Reach::Loopback).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
        assert_eq!(resolver.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_the_second_time_is_refused_the_second_time() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let resolver = Scripted::new(&[&["93.184.216.34"], &["127.0.0.1"], &["93.184.216.34", "::ffff:7f00:1"]]);
        let network = Network::new(resolver);
        let rebinding = place("rebinding.example", port);
        assert!(network.resolve(&rebinding, Reach::Public).await.is_ok());
        for _ in 0..2 {
            let refused = network.connect(&rebinding, Reach::Public).await;
            assert!(matches!(refused, Err(ConnectError::Forbidden { .. })), "{refused:?}");
        }
        // Nobody knocked: the listener has no connection waiting.
        let knocked = tokio::time::timeout(std::time::Duration::from_millis(20), listener.accept()).await;
        assert!(knocked.is_err());
    }

    #[tokio::test]
    async fn a_metadata_service_is_not_even_looked_up() {
        let resolver = Scripted::new(&[&["93.184.216.34"]]);
        let network = Network::new(resolver.clone());
        for name in ["metadata.google.internal", "metadata.goog", "metadata", "a.metadata.google.internal"] {
            let refused = network.resolve(&place(name, 80), Reach::Private).await;
            assert!(matches!(refused, Err(ConnectError::Metadata(_))), "{name}: {refused:?}");
        }
        assert_eq!(resolver.asked.load(Ordering::SeqCst), 0);
        assert!(network.resolve(&place("metadata.google.internal", 80), Traveller::Host).await.is_ok());
    }
}
