//! One exchange over TCP: connect, send, read, close.
//!
//! [`Tcp::run`] is the one choke point. Stops a plugin from scanning ports or speaking to a service that it was not
//! granted; the address is checked as for HTTP ([`crate::network`]).

use crate::grants::TcpGrant;
use crate::network::address::Reach;
use crate::network::{self, ConnectError, Place};
use crate::scope::Taken;
use crate::{CallScope, Capability, Limits, denial, yaml_value};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What to send after the connection is there.
    pub send: Vec<u8>,
    /// The most to read, in bytes; 0 for nothing.
    pub read_limit: u32,
    /// The longest the whole exchange may take.
    pub timeout: Duration,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Microseconds until the connection was there.
    pub connected: u64,
    /// Microseconds for all of it.
    pub total: u64,
    /// What was read.
    pub received: Vec<u8>,
}

/// Why there is no reply. The texts are whole sentences for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TcpError {
    /// The grant does not cover host and port; the text holds the lines that would.
    #[error("{0}")]
    Denied(String),
    /// The name could not be resolved.
    #[error("{0}")]
    Dns(String),
    /// Nobody listens.
    #[error("{0}")]
    Refused(String),
    /// No answer in time.
    #[error("{0}")]
    TimedOut(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl TcpError {
    fn word(&self) -> &'static str {
        match self {
            Self::Denied(_) => "denied",
            Self::Dns(_) => "dns",
            Self::Refused(_) => "refused",
            Self::TimedOut(_) => "timed out",
            Self::Other(_) => "failed",
        }
    }
}

/// Whether a grant covers a place, and how far it may lead.
#[must_use]
pub fn decide(grants: &[TcpGrant], target: Option<&Place>, place: &Place) -> Option<Reach> {
    grants.iter().find_map(|grant| match grant {
        TcpGrant::Host { host, port, resolves } if *port == place.port => place.covered_by(host, *resolves),
        TcpGrant::Host { .. } => None,
        TcpGrant::Service => target.filter(|target| *target == place).map(Place::reach_of_target),
    })
}

/// The capability.
#[derive(Debug)]
pub struct Tcp {
    limits: Limits,
}

impl Tcp {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits }
    }

    /// Does one exchange: the one choke point of this capability.
    ///
    /// # Errors
    /// [`TcpError`].
    pub async fn run(&self, scope: &CallScope, exchange: Exchange) -> Result<Reply, TcpError> {
        let shown = format!("TCP {}:{}", crate::printable(&exchange.host, 100), exchange.port);
        let number = scope.counters.begin(Capability::Tcp, shown.clone(), self.limits.kept_calls);
        let result = self.run_unseen(scope, exchange, &shown).await;
        let outcome =
            result.as_ref().map_or_else(|error| error.word().to_owned(), |r| format!("{} bytes", r.received.len()));
        scope.counters.finish(number, outcome);
        result
    }

    async fn run_unseen(&self, scope: &CallScope, exchange: Exchange, shown: &str) -> Result<Reply, TcpError> {
        if scope.counters.take_request(self.limits.requests) == Taken::Exhausted {
            return Err(TcpError::Other(format!("{} has used up its requests", denial::who(scope))));
        }
        let place = Place::parse(&exchange.host, exchange.port).map_err(TcpError::Other)?;
        let target = scope.target.as_ref().and_then(Place::of);
        let Some(reach) = decide(&scope.grants.tcp, target.as_ref(), &place) else {
            let lines = if target.as_ref() == Some(&place) {
                "tcp:\n  - target: service".to_owned()
            } else {
                format!("tcp:\n  - host: {}\n    port: {}", yaml_value(&place.host.to_string()), place.port)
            };
            return Err(TcpError::Denied(denial::not_granted(scope, shown, &lines)));
        };
        if exchange.send.len() > self.limits.request_bytes {
            return Err(TcpError::Other(format!("{} bytes to send are over the limit", exchange.send.len())));
        }
        let read_limit = (exchange.read_limit as usize).min(self.limits.response_bytes);
        let start = Instant::now();
        let longest = exchange.timeout.min(scope.deadline.saturating_duration_since(start));
        let mut received = Vec::new();
        let mut connected = 0;
        let work = async {
            let mut stream = network::connect(&place, reach).await.map_err(|error| match &error {
                ConnectError::Forbidden { class, .. } => {
                    TcpError::Denied(denial::forbidden_address(scope, shown, &error.to_string(), *class, &place))
                }
                ConnectError::Dns(..) => TcpError::Dns(error.to_string()),
                ConnectError::Refused(_) => TcpError::Refused(error.to_string()),
                ConnectError::Failed(..) | ConnectError::Tls(..) => TcpError::Other(error.to_string()),
            })?;
            connected = micros(start);
            let broke = |error: std::io::Error| TcpError::Other(format!("the connection to {place} broke: {error}"));
            stream.write_all(&exchange.send).await.map_err(broke)?;
            if read_limit > 0 {
                (&mut stream).take(read_limit as u64).read_to_end(&mut received).await.map_err(broke)?;
            }
            Ok(())
        };
        let done = tokio::time::timeout(longest, work).await;
        match done {
            Ok(Err(error)) => Err(error),
            Ok(Ok(())) => Ok(Reply { connected, total: micros(start), received }),
            // A server that greets and then waits keeps the connection open: its greeting is the reply.
            Err(_) if !received.is_empty() => Ok(Reply { connected, total: micros(start), received }),
            Err(_) => Err(TcpError::TimedOut(format!("{shown} took longer than {} ms", longest.as_millis()))),
        }
    }
}

fn micros(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::Caller;
    use crate::{Capabilities, Grants, Options};
    use basb_core::Digest;
    use serde_json::json;
    use std::sync::Arc;
    use tokio::net::TcpListener;

    fn scope(grants: serde_json::Value) -> CallScope {
        let caller = Caller { plugin: "p".into(), digest: Arc::new(Digest::of(b"")), call: "check" };
        CallScope::new(caller, Arc::new(Grants::parse(&grants).unwrap()), Instant::now() + Duration::from_secs(30))
    }

    fn exchange(port: u16, read_limit: u32) -> Exchange {
        let send = b"PING".to_vec();
        Exchange { host: "127.0.0.1".to_owned(), port, send, read_limit, timeout: Duration::from_secs(10) }
    }

    #[tokio::test]
    async fn only_the_granted_place_is_reached() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut got = [0; 4];
            stream.read_exact(&mut got).await.unwrap();
            stream.write_all(b"PONG and more").await.unwrap();
            got
        });
        let tcp = Capabilities::new(Options::new("/"));
        let tcp = tcp.tcp();
        let denied = tcp.run(&scope(json!({})), exchange(port, 4)).await.unwrap_err();
        assert!(matches!(&denied, TcpError::Denied(text) if text.contains(&format!("port: {port}"))), "{denied}");
        let granted = scope(json!({"tcp": [{"host": "127.0.0.1", "port": port}]}));
        let reply = tcp.run(&granted, exchange(port, 4)).await.unwrap();
        assert_eq!(reply.received, b"PONG");
        assert_eq!(&server.await.unwrap(), b"PING");
        let other = tcp.run(&granted, exchange(port.wrapping_add(1).max(1), 4)).await.unwrap_err();
        assert!(matches!(other, TcpError::Denied(_)));
        let gone = tcp.run(&granted, exchange(port, 4)).await.unwrap_err();
        assert!(matches!(gone, TcpError::Refused(_)), "{gone}");
        let target = scope(json!({"tcp": [{"target": "service"}]}))
            .with_target(Some(format!("http://127.0.0.1:{port}").parse().unwrap()));
        assert!(matches!(tcp.run(&target, exchange(port, 4)).await.unwrap_err(), TcpError::Refused(_)));
        assert_eq!(target.counters.last_calls()[0].outcome, "refused");
    }
}
