//! Whether a request is covered by a grant, and by which way it goes out then.
//!
//! Stops a plugin from reaching what it was not granted: another host, port, scheme, method or path; a unix socket by a
//! name that looks like a host; a change during `plan`.

use super::url::Destination;
use crate::Mode;
use crate::grants::{HttpGrant, HttpTarget, PathPattern, ReadRule};
use crate::network::Place;
use crate::network::address::Reach;
use ::url::{Host, Url};

/// What every name of a unix socket ends with. `internal` is reserved for private use, so no such host exists.
pub const SOCKET_SUFFIX: &str = ".socket.internal";

/// By which way a request goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Over the network.
    Network(Reach),
    /// To the unix socket of this name.
    Socket(String),
}

/// Why a request may not go out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No grant covers it.
    NotGranted,
    /// A grant covers it, but it is not known to read, and this call may only read.
    NotARead,
}

/// Decides.
///
/// # Errors
/// [`Refusal`].
pub fn decide(
    grants: &[HttpGrant],
    target: Option<&Url>,
    mode: Mode,
    method: &str,
    destination: &Destination,
) -> Result<Route, Refusal> {
    let mut refusal = Refusal::NotGranted;
    let mut best: Option<Route> = None;
    for grant in grants {
        let Some(route) = covers(grant, target, method, destination) else { continue };
        if mode == Mode::ReadOnly && !reads(grant, method, destination) {
            refusal = Refusal::NotARead;
            continue;
        }
        // Of several grants for one place the one that leads furthest counts: each of them was written by the operator.
        match (&best, &route) {
            (Some(Route::Network(have)), Route::Network(new)) if rank(*have) >= rank(*new) => {}
            (Some(Route::Socket(_)), _) => {}
            _ => best = Some(route),
        }
    }
    best.ok_or(refusal)
}

fn rank(reach: Reach) -> u8 {
    match reach {
        Reach::Public => 0,
        Reach::Private => 1,
        Reach::Loopback => 2,
        Reach::Literal => 3,
    }
}

fn covers(grant: &HttpGrant, target: Option<&Url>, method: &str, destination: &Destination) -> Option<Route> {
    if !grant.methods.contains(method) || !grant.path.covers(destination.url.path()) {
        return None;
    }
    let socket = socket_of(destination);
    match &grant.to {
        HttpTarget::Socket(name) => {
            let plain = destination.url.scheme() == "http" && destination.place.port == 80;
            (plain && socket == Some(name)).then(|| Route::Socket(name.clone()))
        }
        // A name of a socket is never looked up, whatever pattern might cover it.
        _ if socket.is_some() => None,
        HttpTarget::Host { host, scheme, port, resolves } => {
            let same = scheme.as_str() == destination.url.scheme() && *port == destination.place.port;
            destination.place.covered_by(host, *resolves).filter(|_| same).map(Route::Network)
        }
        HttpTarget::Service => {
            let target = target?;
            let place = Place::of(target)?;
            let same = target.scheme() == destination.url.scheme() && place == destination.place;
            same.then(|| Route::Network(place.reach_of_target()))
        }
    }
}

/// The name of the unix socket that a URL stands for, if it stands for one.
#[must_use]
pub fn socket_of(destination: &Destination) -> Option<&str> {
    match &destination.place.host {
        Host::Domain(name) => name.strip_suffix(SOCKET_SUFFIX),
        _ => None,
    }
}

fn reads(grant: &HttpGrant, method: &str, destination: &Destination) -> bool {
    matches!(method, "GET" | "HEAD")
        || grant.reads.iter().any(|rule| match rule {
            ReadRule::Method(read) => read == method,
            ReadRule::Path(path) => path.covers(destination.url.path()),
        })
}

/// The lines that would allow a request, below `grants`.
#[must_use]
pub fn lines_for(target: Option<&Url>, method: &str, destination: &Destination) -> String {
    use crate::yaml_value;
    let mut lines = "http:\n".to_owned();
    let same_as_target = target.is_some_and(|target| {
        target.scheme() == destination.url.scheme() && Place::of(target).as_ref() == Some(&destination.place)
    });
    if let Some(name) = socket_of(destination) {
        lines.push_str(&format!("  - socket: {}\n", yaml_value(name)));
    } else if same_as_target {
        lines.push_str("  - target: service\n");
    } else {
        let host = destination.place.host.to_string();
        lines.push_str(&format!("  - host: {}\n", yaml_value(&host)));
        if destination.url.scheme() == "http" {
            lines.push_str("    scheme: http\n");
        }
        if let Some(port) = destination.url.port() {
            lines.push_str(&format!("    port: {port}\n"));
        }
    }
    lines.push_str(&format!(
        "    methods: [{}]\n    path: {}",
        yaml_value(method),
        yaml_value(&PathPattern::literal(destination.url.path()))
    ));
    lines
}

#[cfg(test)]
mod tests {
    use super::super::url::parse;
    use super::*;
    use crate::Grants;
    use proptest::prelude::*;
    use serde_json::json;

    fn ask(grants: serde_json::Value, method: &str, url: &str) -> Result<Route, Refusal> {
        ask_in(Mode::Normal, None, grants, method, url)
    }

    fn ask_in(
        mode: Mode,
        target: Option<&str>,
        grants: serde_json::Value,
        method: &str,
        url: &str,
    ) -> Result<Route, Refusal> {
        let grants = Grants::parse(&json!({ "http": grants })).unwrap();
        let target = target.map(|t| Url::parse(t).unwrap());
        decide(&grants.http, target.as_ref(), mode, method, &parse(url).unwrap())
    }

    #[test]
    fn only_what_is_granted_passes() {
        let grant = json!([{"host": "api.example.com", "methods": ["GET", "POST"], "path": "/v1/**"}]);
        assert_eq!(ask(grant.clone(), "POST", "https://api.example.com/v1/x"), Ok(Route::Network(Reach::Public)));
        for (method, url) in [
            ("PUT", "https://api.example.com/v1/x"),
            ("GET", "http://api.example.com/v1/x"),
            ("GET", "https://api.example.com:8443/v1/x"),
            ("GET", "https://api.example.com/v2/x"),
            ("GET", "https://api.example.com.evil.org/v1/x"),
            ("GET", "https://evil.org/v1/x?api.example.com"),
            ("GET", "https://93.184.216.34/v1/x"),
        ] {
            assert_eq!(ask(grant.clone(), method, url), Err(Refusal::NotGranted), "{method} {url}");
        }
        assert_eq!(ask(json!([]), "GET", "https://api.example.com/"), Err(Refusal::NotGranted));
    }

    #[test]
    fn loopback_needs_its_own_name() {
        let literal = json!([{"host": "127.0.0.1", "scheme": "http", "port": 9000}]);
        assert_eq!(ask(literal.clone(), "GET", "http://127.0.0.1:9000/"), Ok(Route::Network(Reach::Literal)));
        assert_eq!(ask(literal, "GET", "http://localhost:9000/"), Err(Refusal::NotGranted));
        let name = json!([{"host": "localhost", "scheme": "http", "port": 9000}]);
        assert_eq!(ask(name, "GET", "http://localhost:9000/"), Ok(Route::Network(Reach::Loopback)));
    }

    #[test]
    fn a_socket_is_reached_by_its_grant_only() {
        let agent = json!([{"socket": "agent", "methods": ["PUT"], "path": "/v1/**"}]);
        assert_eq!(
            ask(agent.clone(), "PUT", "http://agent.socket.internal/v1/x"),
            Ok(Route::Socket("agent".to_owned()))
        );
        assert!(ask(agent.clone(), "PUT", "http://other.socket.internal/v1/x").is_err());
        assert!(ask(agent.clone(), "PUT", "https://agent.socket.internal/v1/x").is_err());
        assert!(ask(agent, "DELETE", "http://agent.socket.internal/v1/x").is_err());
        let pattern = json!([{"host": "**.internal", "scheme": "http", "methods": ["PUT"]}]);
        assert!(ask(pattern, "PUT", "http://agent.socket.internal/v1/x").is_err());
    }

    #[test]
    fn a_target_is_this_calls_origin_only() {
        let grant = json!([{"target": "service"}]);
        let ask = |target, url| ask_in(Mode::Normal, target, grant.clone(), "GET", url);
        let here = Some("http://127.0.0.1:8080");
        assert_eq!(ask(here, "http://127.0.0.1:8080/health"), Ok(Route::Network(Reach::Literal)));
        assert!(ask(here, "http://127.0.0.1:8081/health").is_err());
        assert!(ask(here, "https://127.0.0.1:8080/health").is_err());
        assert!(ask(None, "http://127.0.0.1:8080/health").is_err());
        // What is granted for a target says nothing about where a name may lead.
        assert_eq!(ask(Some("https://svc.example"), "https://svc.example/"), Ok(Route::Network(Reach::Private)));
    }

    #[test]
    fn a_dry_run_lets_reads_through_only() {
        let grant = json!([{"host": "a.example", "methods": ["GET", "POST", "DELETE"], "reads": ["/query"]}]);
        let ask = |method, url| ask_in(Mode::ReadOnly, None, grant.clone(), method, url);
        assert!(ask("GET", "https://a.example/x").is_ok());
        assert!(ask("POST", "https://a.example/query").is_ok());
        assert_eq!(ask("POST", "https://a.example/x"), Err(Refusal::NotARead));
        assert_eq!(ask("DELETE", "https://a.example/x"), Err(Refusal::NotARead));
        assert_eq!(ask("PUT", "https://a.example/query"), Err(Refusal::NotGranted));
    }

    proptest! {
        /// What a denial tells the operator to write does allow the request, and nothing of another origin.
        #[test]
        fn the_lines_of_a_denial_work(
            host in "[a-z]{1,8}\\.(example|socket\\.internal)|127\\.0\\.0\\.1",
            https in any::<bool>(),
            port in prop::option::of(1u16..),
            path in "(/[a-z0-9._~*?{}!-]{1,5}){0,3}/?",
            method in "GET|POST|DELETE",
        ) {
            let scheme = if https { "https" } else { "http" };
            let port = port.map(|p| format!(":{p}")).unwrap_or_default();
            let url = format!("{scheme}://{host}{port}{path}");
            let Ok(destination) = parse(&url) else { return Ok(()) };
            let socket = socket_of(&destination).is_some();
            if socket && (https || destination.place.port != 80) {
                return Ok(());
            }
            let lines = lines_for(None, &method, &destination);
            let entry = yaml_entry(&lines);
            prop_assert!(ask(json!([entry]), &method, &url).is_ok(), "{} {:?}", url, lines);
        }
    }

    /// Reads the few forms of YAML that `lines_for` writes.
    fn yaml_entry(lines: &str) -> serde_json::Value {
        let mut entry = serde_json::Map::new();
        for line in lines.lines().skip(1) {
            let (key, value) = line.trim_start_matches([' ', '-']).split_once(": ").unwrap();
            let list = value.strip_prefix('[').and_then(|v| v.strip_suffix(']'));
            let value = match list {
                Some(item) => json!([item]),
                None if key == "port" => json!(value.parse::<u16>().unwrap()),
                None if value.starts_with('"') => serde_json::from_str(value).unwrap(),
                None => json!(value),
            };
            entry.insert(key.to_owned(), value);
        }
        entry.into()
    }
}
