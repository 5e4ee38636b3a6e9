//! One exchange over TCP: connect, send, read, close.
//!
//! [`Tcp::run`] is the one choke point. Stops a plugin from scanning ports or speaking to a service that it was not
//! granted; the address is checked as for HTTP ([`crate::network`]). No placeholder is replaced here, so what holds one
//! does not go out; what comes back is redacted, also where a plugin's limit is in the middle of a secret: a plugin that
//! could choose where it is cut would put it together from pieces.

use crate::exchange::form;
use crate::grants::{Effect, TcpGrant};
use crate::network::address::Reach;
use crate::network::{ConnectError, Network, Place};
use crate::outside::Outside;
use crate::record::{Recording, Taken};
use crate::{CallScope, Capability, Limits, Mode, denial, placeholder, yaml_value};
use basb_redact::Redactor;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exchange {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What to send after the connection is there.
    #[serde(default, with = "form::bytes", skip_serializing_if = "Vec::is_empty")]
    pub send: Vec<u8>,
    /// The most to read, in bytes; 0 for nothing.
    pub read_limit: u32,
    /// The longest the whole exchange may take.
    #[serde(with = "form::millis")]
    pub timeout: Duration,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reply {
    /// Microseconds until the connection was there.
    pub connected: u64,
    /// Microseconds for all of it.
    pub total: u64,
    /// What was read.
    #[serde(default, with = "form::bytes", skip_serializing_if = "Vec::is_empty")]
    pub received: Vec<u8>,
}

/// Why there is no reply. The texts are whole sentences for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
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

    fn redacted(mut self, redactor: &Redactor) -> Self {
        let (Self::Denied(text) | Self::Dns(text) | Self::Refused(text) | Self::TimedOut(text) | Self::Other(text)) =
            &mut self;
        *text = redactor.text(text).into_owned();
        self
    }
}

/// Why an exchange may not take place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No grant covers the place.
    NotGranted,
    /// A grant covers it, but does not say that the exchange only reads, and this call may only read.
    NotARead,
}

/// Whether a grant covers a place, and how far it may lead. What an exchange does cannot be seen from outside, so in a
/// call that may only read the grant has to say that it reads.
///
/// # Errors
/// [`Refusal`].
pub fn decide(grants: &[TcpGrant], target: Option<&Place>, mode: Mode, place: &Place) -> Result<Reach, Refusal> {
    let mut refusal = Refusal::NotGranted;
    for grant in grants {
        let reach = match grant {
            TcpGrant::Host { host, port, resolves, .. } if *port == place.port => place.covered_by(host, *resolves),
            TcpGrant::Host { .. } => None,
            TcpGrant::Service { .. } => target.filter(|target| *target == place).map(Place::reach_of_target),
        };
        match (reach, mode) {
            (None, _) | (_, Mode::Sealed) => {}
            (Some(reach), Mode::Normal) => return Ok(reach),
            (Some(reach), Mode::ReadOnly) if grant.effect() == Effect::Read => return Ok(reach),
            (Some(_), Mode::ReadOnly) => refusal = Refusal::NotARead,
        }
    }
    Err(refusal)
}

/// How long is read on behind a plugin's limit for the rest of a secret that it may have cut. Always the same, whatever
/// was read: a wait that depended on it would tell a plugin, or a server of its own, which beginnings are right.
const READ_ON: Duration = Duration::from_millis(50);

/// The capability.
#[derive(Debug)]
pub struct Tcp {
    limits: Limits,
    redactor: Redactor,
    network: Network,
    outside: Option<Arc<dyn Outside>>,
}

impl Tcp {
    pub(crate) fn new(limits: Limits, redactor: Redactor, network: Network) -> Self {
        Self { limits, redactor, network, outside: None }
    }

    /// The same with something else in the network's place.
    pub(crate) fn before(mut self, outside: Option<Arc<dyn Outside>>) -> Self {
        self.outside = outside;
        self
    }

    /// Does one exchange: the one choke point of this capability.
    ///
    /// # Errors
    /// [`TcpError`].
    pub async fn run(&self, scope: &CallScope, exchange: Exchange) -> Result<Reply, TcpError> {
        let shown = format!("TCP {}:{}", crate::printable(&exchange.host, 100), exchange.port);
        let Some(recording) = scope.counters.begin(Capability::Tcp, &shown, &self.limits, &self.redactor) else {
            return Err(TcpError::Other(denial::too_many(scope, &self.limits)));
        };
        let limit = (exchange.read_limit as usize).min(self.limits.response_bytes);
        let result = self.run_unseen(scope, exchange, &shown, &recording).await;
        let result = result.map_err(|error| error.redacted(&self.redactor));
        let outcome = match &result {
            Ok(reply) => {
                let received = reply.received.len().min(limit);
                recording.received(received as u64);
                format!("{received} bytes")
            }
            Err(error) => error.word().to_owned(),
        };
        if matches!(result, Err(TcpError::Denied(_))) {
            recording.deny();
        }
        recording.finish(&outcome);
        result.map(|reply| Reply { received: self.redactor.first(&reply.received, limit).into_owned(), ..reply })
    }

    async fn run_unseen(
        &self,
        scope: &CallScope,
        exchange: Exchange,
        shown: &str,
        recording: &Recording<'_>,
    ) -> Result<Reply, TcpError> {
        if scope.counters.take_request(self.limits.requests) == Taken::Exhausted {
            return Err(TcpError::Other(denial::requests_used_up(scope, &self.limits)));
        }
        if let Some(text) = denial::sealed(scope, shown) {
            return Err(TcpError::Denied(text));
        }
        let place = Place::parse(&exchange.host, exchange.port).map_err(TcpError::Other)?;
        let target = scope.target.as_ref().and_then(Place::of);
        let reach = decide(&scope.grants.tcp, target.as_ref(), scope.mode, &place).map_err(|refusal| {
            TcpError::Denied(match refusal {
                Refusal::NotARead => denial::refused(
                    scope,
                    shown,
                    "this call may only read; if the exchange only reads, add to its entry in `grants`: `effect: read`",
                ),
                Refusal::NotGranted if target.as_ref() == Some(&place) => {
                    denial::not_granted(scope, shown, "tcp:\n  - target: service")
                }
                Refusal::NotGranted => {
                    let host = yaml_value(&place.host.to_string());
                    denial::not_granted(scope, shown, &format!("tcp:\n  - host: {host}\n    port: {}", place.port))
                }
            })
        })?;
        if exchange.send.len() > self.limits.request_bytes {
            return Err(TcpError::Other(format!("{} bytes to send are over the limit", exchange.send.len())));
        }
        if placeholder::is_in(&exchange.send) {
            return Err(TcpError::Denied(denial::misplaced_secret(scope, shown)));
        }
        recording.allow(exchange.send.len() as u64, Vec::new());
        if let Some(outside) = &self.outside {
            return outside.tcp(&exchange).await;
        }
        let read_limit = (exchange.read_limit as usize).min(self.limits.response_bytes);
        let start = Instant::now();
        let longest = exchange.timeout.min(scope.deadline.saturating_duration_since(start));
        let mut received = Vec::new();
        let mut connected = 0;
        let work = async {
            let mut stream = self.network.connect(&place, reach).await.map_err(|error| match &error {
                ConnectError::Forbidden { class, .. } => {
                    TcpError::Denied(denial::forbidden_address(scope, shown, &error.to_string(), *class, &place))
                }
                ConnectError::Metadata(_) => TcpError::Denied(denial::refused(scope, shown, &error.to_string())),
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
            let total = micros(start);
            let beyond = self.redactor.beyond() as u64;
            if beyond > 0 && read_limit > 0 && received.len() == read_limit {
                // That the server has no more to say, or breaks off, is no error: what was asked for is there.
                let mut rest = (&mut stream).take(beyond);
                let _ = tokio::time::timeout(READ_ON, rest.read_to_end(&mut received)).await;
            }
            Ok(total)
        };
        let done = tokio::time::timeout(longest, work).await;
        match done {
            Ok(Err(error)) => Err(error),
            // The time that reading on takes is not the server's.
            Ok(Ok(total)) => Ok(Reply { connected, total, received }),
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

    #[tokio::test]
    async fn a_dry_run_lets_out_what_is_said_to_read() {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let all = Capabilities::new(Options::new("/"));
        let plan = |grant| scope(json!({"tcp": [grant]})).with_mode(Mode::ReadOnly);
        let changes = plan(json!({"host": "127.0.0.1", "port": port}));
        let denied = all.tcp().run(&changes, exchange(port, 4)).await.unwrap_err();
        assert!(matches!(&denied, TcpError::Denied(text) if text.contains("effect: read")), "{denied}");
        assert_eq!(changes.counters.calls()[0].verdict, crate::Verdict::Denied);
        let reads = plan(json!({"host": "127.0.0.1", "port": port, "effect": "read"}));
        assert!(matches!(all.tcp().run(&reads, exchange(port, 4)).await, Err(TcpError::Refused(_))));
        assert_eq!(reads.counters.calls()[0].verdict, crate::Verdict::Allowed);
    }

    #[tokio::test]
    async fn a_placeholder_does_not_go_out_and_a_secret_does_not_come_in() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"it is s3cr3t-value").await.unwrap();
        });
        let options = Options::new("/");
        let name = basb_redact::SecretName::new("token").unwrap();
        let _ = options.redactor.learn(&name, &basb_redact::SecretValue::new("s3cr3t-value"));
        let all = Capabilities::new(options);
        let scope = scope(json!({"tcp": [{"host": "127.0.0.1", "port": port}]}));
        let mut asks = exchange(port, 100);
        asks.send = b"AUTH __basb.secret.token__".to_vec();
        let denied = all.tcp().run(&scope, asks).await.unwrap_err();
        assert!(matches!(&denied, TcpError::Denied(text) if text.contains("placeholder")), "{denied}");
        let reply = all.tcp().run(&scope, Exchange { send: Vec::new(), ..exchange(port, 100) }).await.unwrap();
        let text = String::from_utf8(reply.received).unwrap();
        assert!(text.starts_with("it is ") && !text.contains("s3cr3t-value"), "{text}");
        server.await.unwrap();
        let calls = scope.counters.calls();
        assert_eq!((calls[0].verdict, calls[1].verdict), (crate::Verdict::Denied, crate::Verdict::Allowed));
        assert_eq!((calls[1].sent, calls[1].received), (0, 18));
    }

    #[tokio::test]
    async fn a_limit_in_the_middle_of_a_secret_does_not_let_its_pieces_through() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let said: &[u8] = b"it is s3cr3t-value, says the server";
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                // A plugin that has read enough is gone already.
                let _ = stream.write_all(said).await;
            }
        });
        let options = Options::new("/");
        let name = basb_redact::SecretName::new("token").unwrap();
        let _ = options.redactor.learn(&name, &basb_redact::SecretValue::new("s3cr3t-value"));
        let all = Capabilities::new(options);
        let scope = scope(json!({"tcp": [{"host": "127.0.0.1", "port": port}]}));
        for limit in 1..=said.len() as u32 {
            let asks = Exchange { send: Vec::new(), ..exchange(port, limit) };
            let text = String::from_utf8(all.tcp().run(&scope, asks).await.unwrap().received).unwrap();
            let expected = match limit as usize {
                limit @ ..=6 => String::from_utf8_lossy(&said[..limit]).into_owned(),
                7..=18 => "it is [secret token]".to_owned(),
                limit => format!("it is [secret token]{}", String::from_utf8_lossy(&said[18..limit])),
            };
            assert_eq!(text, expected, "{limit}");
            assert_eq!(scope.counters.calls().last().unwrap().received, u64::from(limit));
        }
        server.abort();
    }
}
