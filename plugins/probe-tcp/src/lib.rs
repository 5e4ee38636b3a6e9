//! Connects to the service over TCP; can send something and check how the answer begins.
//!
//! **Must never** count what it could not measure as a success, nor as a failure of the service.

use basb_plugin::config::HumanDuration;
use basb_plugin::doors::{Exchange, TcpError};
use basb_plugin::probe::{Info, Measurement, Probe, ProbeContext, Target};
use basb_plugin::{Failure, Verdict};
use serde::Deserialize;
use std::time::Duration;

/// The configuration; its meaning is told in the schema of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// The port, where it is not that of the URL.
    pub port: Option<u16>,
    /// What is sent.
    pub send: String,
    /// What the answer must begin with.
    pub expect: String,
    /// The longest that all of it may take.
    pub timeout: HumanDuration,
    /// The longest that the connection may take.
    pub max_connect: Option<HumanDuration>,
}

impl Default for Config {
    fn default() -> Self {
        let timeout = HumanDuration(Duration::from_secs(2));
        Self { port: None, send: String::new(), expect: String::new(), timeout, max_connect: None }
    }
}

/// The probe.
#[derive(Debug)]
pub struct TcpProbe;

impl Probe for TcpProbe {
    type Config = Config;

    fn describe() -> Info {
        Info::new()
            .value("connect_ms", "ms", "the time until the connection was there; absent where it was not")
            .value("total_ms", "ms", "the time that all of it took")
            .value("bytes", "", "how many bytes were read")
    }

    fn check(cx: &ProbeContext, config: &Config, target: &Target) -> Result<Measurement, Failure> {
        let (host, port) = address(&target.url, config.port).ok_or_else(|| {
            Failure::invalid(format!("`{}` has no port: set `port` in the probe's configuration", target.url))
                .at("/port")
        })?;
        let shown = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        // Only as much as is compared: a server that keeps the connection open would make a longer read wait.
        let limit = u32::try_from(config.expect.len()).unwrap_or(u32::MAX);
        let exchange = Exchange::connect(host, port, config.timeout.0).send(config.send.as_str()).read_up_to(limit);
        let reply = match cx.tcp().run(exchange) {
            Ok(reply) => reply,
            Err(error @ (TcpError::Refused(_) | TcpError::TimedOut(_))) => {
                return Ok(Measurement::fail(error.to_string())
                    .fact("address", shown)
                    .fact("failure", error.to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        let received: String = String::from_utf8_lossy(&reply.received).chars().take(120).collect();
        let connect = millis(reply.connected);
        let wrong = match config.max_connect.map(|most| most.0) {
            Some(most) if reply.connected > most => {
                Some(format!("connecting took {connect:.1} ms, more than {:.1} ms", millis(most)))
            }
            _ if !reply.received.starts_with(config.expect.as_bytes()) => {
                Some(format!("the answer begins with {received:?} and not with {:?}", config.expect))
            }
            _ => None,
        };
        let measurement = match &wrong {
            None => Measurement::new(Verdict::Pass, format!("connected to {shown} in {connect:.1} ms")),
            Some(wrong) => Measurement::new(Verdict::Fail, wrong.as_str()).fact("failure", wrong.as_str()),
        };
        let bytes = u32::try_from(reply.received.len()).unwrap_or(u32::MAX);
        let measurement = measurement
            .value("connect_ms", connect)
            .value("total_ms", millis(reply.total))
            .value("bytes", bytes)
            .fact("address", shown);
        Ok(if received.is_empty() { measurement } else { measurement.fact("received", received) })
    }
}

basb_plugin::export!(TcpProbe as probe);

/// Host and port of a URL such as `http://[::1]:8080`. A port that is given goes before the URL's own.
fn address(url: &str, given: Option<u16>) -> Option<(&str, u16)> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    let (host, port) = match authority.strip_prefix('[').and_then(|inside| inside.split_once(']')) {
        Some((host, after)) => (host, after.strip_prefix(':')),
        None => authority.rsplit_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let usual = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    let own = match port {
        Some(port) => port.parse().ok(),
        None => usual,
    };
    if host.is_empty() { None } else { Some((host, given.or(own)?)) }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use basb_plugin::doors::TcpReply;
    use basb_plugin::testing::FakeHost;
    use serde_json::{Value, json};

    fn check(host: &FakeHost, config: Value) -> Result<Measurement, Failure> {
        let url = "http://127.0.0.1:7000".into();
        let target = Target { service: "s".into(), revision: None, url, extras: Vec::new() };
        TcpProbe::check(&host.probe_context(), &serde_json::from_value(config).unwrap(), &target)
    }

    fn host(received: &str) -> FakeHost {
        let (connected, total) = (Duration::from_micros(1500), Duration::from_millis(4));
        let reply = TcpReply { connected, total, received: received.as_bytes().to_vec() };
        FakeHost::new().tcp("127.0.0.1", 7000, Ok(reply))
    }

    #[test]
    fn a_connection_passes() {
        let measured = check(&host(""), json!({})).unwrap();
        assert_eq!((measured.verdict, measured.get("connect_ms")), (Verdict::Pass, Some(1.5)));
        assert_eq!(measured.get_fact("address"), Some("127.0.0.1:7000"));
    }

    #[test]
    fn an_answer_is_compared() {
        let there = host("+PONG");
        let config = json!({"send": "PING\r\n", "expect": "+PONG", "timeout": "1s"});
        assert_eq!(check(&there, config).unwrap().verdict, Verdict::Pass);
        let sent = &there.exchanges()[0];
        assert_eq!((sent.send.as_slice(), sent.read_limit), (&b"PING\r\n"[..], 5));
        for received in ["-ERR", "+PO", ""] {
            let measured = check(&host(received), json!({"expect": "+PONG"})).unwrap();
            assert_eq!(measured.verdict, Verdict::Fail, "{received}");
        }
    }

    #[test]
    fn a_slow_connection_fails() {
        assert_eq!(check(&host(""), json!({"maxConnect": "1ms"})).unwrap().verdict, Verdict::Fail);
        assert_eq!(check(&host(""), json!({"maxConnect": "2ms"})).unwrap().verdict, Verdict::Pass);
    }

    #[test]
    fn nobody_there_fails_and_a_refusal_is_an_error() {
        let gone = FakeHost::new().tcp("127.0.0.1", 7000, Err(TcpError::Refused("nobody".into())));
        assert_eq!(check(&gone, json!({})).unwrap().verdict, Verdict::Fail);
        let denied = FakeHost::new().tcp("127.0.0.1", 7000, Err(TcpError::Denied("add".into())));
        assert!(check(&denied, json!({})).is_err());
    }

    #[test]
    fn addresses_are_found_in_urls() {
        assert_eq!(address("http://127.0.0.1:81/x", None), Some(("127.0.0.1", 81)));
        assert_eq!(address("https://a.example", None), Some(("a.example", 443)));
        assert_eq!(address("http://[::1]:8080", None), Some(("::1", 8080)));
        assert_eq!(address("http://[::1]", Some(5)), Some(("::1", 5)));
        assert_eq!(address("http://u:p@h:9/", None), Some(("h", 9)));
        assert_eq!(address("tcp://h", None), None);
        assert_eq!(address("http://h:x", None), None);
        assert_eq!(address("", Some(1)), None);
    }
}
