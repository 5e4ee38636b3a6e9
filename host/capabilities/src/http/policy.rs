//! Whether a request is covered by a grant, and by which way it goes out then.
//!
//! Stops a plugin from reaching what it was not granted: another host, port, scheme, method or path; a unix socket by a
//! name that looks like a host; another AWS action than granted; a change during `plan`.

use super::action::Action;
use super::containers;
use super::url::Destination;
use crate::grants::{HttpGrant, HttpTarget, PathPattern, ReadRule};
use crate::network::Place;
use crate::network::address::Reach;
use crate::{Mode, placeholder, yaml_value};
use ::url::{Host, Url};
use std::path::PathBuf;

/// What every name of a unix socket ends with. `internal` is reserved for private use, so no such host exists.
pub const SOCKET_SUFFIX: &str = ".socket.internal";

/// The socket that the host knows without being told where it is: that of the one-machine cloud.
const AGENT: &str = "agent";

/// By which way a request goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Over the network.
    Network(Reach),
    /// To a unix socket.
    Socket {
        /// Its name.
        name: String,
        /// Where it is; nothing where the host knows it by its name.
        at: Option<PathBuf>,
    },
}

/// What is decided about.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The method.
    pub method: &'a str,
    /// Where to.
    pub destination: &'a Destination,
    /// The AWS action.
    pub action: &'a Action,
    /// The body.
    pub body: &'a [u8],
}

/// Why a request may not go out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No grant covers it.
    NotGranted,
    /// A grant would cover it if its action could be told; why it cannot.
    Unclear(&'static str),
    /// A grant covers it, but it is not known to read, and this call may only read.
    NotARead,
    /// A grant covers some operations on containers, and this is none of them; why.
    NotThat(String),
}

/// Decides.
///
/// # Errors
/// [`Refusal`].
pub fn decide(grants: &[HttpGrant], target: Option<&Url>, mode: Mode, wanted: &Wanted<'_>) -> Result<Route, Refusal> {
    let mut refusal = Refusal::NotGranted;
    let mut best: Option<Route> = None;
    for grant in grants {
        let Some(route) = covers(grant, target, wanted) else { continue };
        match (grant.actions.is_empty(), wanted.action) {
            (true, _) => {}
            (false, Action::Named(action)) if grant.actions.iter().any(|pattern| pattern.covers(action)) => {}
            (false, Action::Unclear(why)) => {
                if refusal == Refusal::NotGranted {
                    refusal = Refusal::Unclear(why);
                }
                continue;
            }
            (false, _) => continue,
        }
        if let Some(Err(why)) = grant.containers.as_ref().map(|containers| containers::check(containers, wanted)) {
            if refusal == Refusal::NotGranted {
                refusal = Refusal::NotThat(why);
            }
            continue;
        }
        match mode {
            Mode::Normal => {}
            Mode::ReadOnly if reads(grant, wanted) => {}
            Mode::ReadOnly => {
                refusal = Refusal::NotARead;
                continue;
            }
            Mode::Sealed => continue,
        }
        // Of several grants for one place the one that leads furthest counts: each of them was written by the operator.
        match (&best, &route) {
            (Some(Route::Network(have)), Route::Network(new)) if rank(*have) >= rank(*new) => {}
            (Some(Route::Socket { .. }), _) => {}
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

/// By which way a grant lets a request out, its action aside.
fn covers(grant: &HttpGrant, target: Option<&Url>, wanted: &Wanted<'_>) -> Option<Route> {
    if !grant.methods.contains(wanted.method) {
        return None;
    }
    // The path last: of many grants, most are for other places, and comparing those is cheaper.
    place(grant, target, wanted.destination).filter(|_| grant.path.covers(wanted.destination.url.path()))
}

fn place(grant: &HttpGrant, target: Option<&Url>, destination: &Destination) -> Option<Route> {
    let socket = socket_of(destination);
    match &grant.to {
        HttpTarget::Socket { name, at } => {
            let plain = destination.url.scheme() == "http" && destination.place.port == 80;
            (plain && socket == Some(name)).then(|| Route::Socket { name: name.clone(), at: at.clone() })
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

fn reads(grant: &HttpGrant, wanted: &Wanted<'_>) -> bool {
    // The query protocols of AWS take `GET /?Action=DeleteUser` too, so a GET with an action is not known to read.
    let plain = matches!(wanted.method, "GET" | "HEAD") && *wanted.action == Action::None;
    plain
        || grant.reads.iter().any(|rule| match (rule, wanted.action) {
            (ReadRule::Method(read), _) => read == wanted.method,
            (ReadRule::Path(path), _) => path.covers(wanted.destination.url.path()),
            (ReadRule::Action(pattern), Action::Named(action)) => pattern.covers(action),
            (ReadRule::Action(_), _) => false,
            // A removal may bring options of its own in its body, and Kubernetes goes by those and not by the query then:
            // `DELETE …?dryRun=All` with an empty `DeleteOptions` removes.
            (ReadRule::Query(_), _) if wanted.method == "DELETE" => false,
            (ReadRule::Query(parameter), _) => {
                wanted.destination.url.query().is_some_and(|query| parameter.covers(query))
            }
        })
}

/// The pattern that covers a path: the path itself, but what stands for a secret may be anything within its segment.
#[must_use]
pub fn path_pattern(path: &str) -> String {
    let mut out = String::new();
    let mut rest = path;
    let mut starred = false;
    while let Some((front, _, behind)) = placeholder::split(rest) {
        out.push_str(&PathPattern::literal(front));
        // Two next to each other are one `*`: `**` would cover any number of segments.
        if !(starred && front.is_empty()) {
            out.push('*');
        }
        starred = true;
        rest = behind;
    }
    out.push_str(&PathPattern::literal(rest));
    out
}

/// The lines that would allow a request, below `grants`.
#[must_use]
pub fn lines_for(target: Option<&Url>, wanted: &Wanted<'_>) -> String {
    lines(target, wanted, &path_pattern(wanted.destination.url.path()))
}

/// The same for a request to a URL that is a secret as a whole: nothing of it may be shown.
#[must_use]
pub fn lines_for_secret(wanted: &Wanted<'_>) -> String {
    format!("http:\n  - host: HOST-OF-THE-URL\n    methods: [{}]\n    path: /**", yaml_value(wanted.method))
}

fn lines(target: Option<&Url>, wanted: &Wanted<'_>, path: &str) -> String {
    let Wanted { method, destination, action, body: _ } = *wanted;
    let mut lines = "http:\n".to_owned();
    let same_as_target = target.is_some_and(|target| {
        target.scheme() == destination.url.scheme() && Place::of(target).as_ref() == Some(&destination.place)
    });
    if let Some(name) = socket_of(destination) {
        lines.push_str(&format!("  - socket: {}\n", yaml_value(name)));
        if name != AGENT {
            lines.push_str("    at: /PATH/OF/THE/SOCKET\n");
        }
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
    lines.push_str(&format!("    methods: [{}]\n    path: {}", yaml_value(method), yaml_value(path)));
    if let Action::Named(action) = action {
        lines.push_str(&format!("\n    actions: [{}]", yaml_value(action)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::url::parse;
    use super::*;
    use crate::Grants;
    use ::http::HeaderMap;
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
        let destination = parse(url).unwrap();
        let action = Action::of(&method.parse().unwrap(), &destination.url, &HeaderMap::new(), b"");
        let wanted = Wanted { method, destination: &destination, action: &action, body: b"" };
        decide(&grants.http, target.as_ref(), mode, &wanted)
    }

    fn ask_action(mode: Mode, grant: serde_json::Value, action: &Action) -> Result<Route, Refusal> {
        let mut grant = grant;
        let more = json!({"host": "ecs.eu-central-1.amazonaws.com", "methods": ["GET", "POST"]});
        grant.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let grants = Grants::parse(&json!({ "http": [grant] })).unwrap();
        let destination = parse("https://ecs.eu-central-1.amazonaws.com/").unwrap();
        decide(&grants.http, None, mode, &Wanted { method: "POST", destination: &destination, action, body: b"" })
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
            Ok(Route::Socket { name: "agent".to_owned(), at: None })
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

    #[test]
    fn a_dry_run_of_the_server_is_a_read_where_the_operator_says_so() {
        let grant =
            json!([{"host": "a.example", "methods": ["GET", "PATCH", "DELETE"], "reads": [{"query": "dryRun=All"}]}]);
        let ask = |mode, method, query| {
            ask_in(mode, None, grant.clone(), method, &format!("https://a.example/apis/apps/v1?{query}"))
        };
        assert!(ask(Mode::ReadOnly, "PATCH", "fieldManager=x&dryRun=All").is_ok());
        assert!(ask(Mode::Normal, "PATCH", "fieldManager=x").is_ok());
        for doubtful in ["fieldManager=x", "dryRun=None", "dryRun=All&dryRun=", "dryRun=All&dryrun=x", "%64ryRun=All"] {
            assert_eq!(ask(Mode::ReadOnly, "PATCH", doubtful), Err(Refusal::NotARead), "{doubtful}");
        }
        assert_eq!(ask(Mode::ReadOnly, "PUT", "dryRun=All"), Err(Refusal::NotGranted));
        // Its body could say otherwise.
        assert_eq!(ask(Mode::ReadOnly, "DELETE", "dryRun=All"), Err(Refusal::NotARead));
        assert!(ask(Mode::Normal, "DELETE", "dryRun=All").is_ok());
    }

    #[test]
    fn a_grant_with_actions_covers_these_actions_only() {
        let some = json!({"actions": ["DescribeServices", "AmazonEC2ContainerServiceV20141113.Update*"]});
        let named = |name: &str| Action::Named(name.to_owned());
        let ecs = |operation: &str| named(&format!("AmazonEC2ContainerServiceV20141113.{operation}"));
        let ask = |grant: &serde_json::Value, action: &Action| ask_action(Mode::Normal, grant.clone(), action);
        assert!(ask(&some, &ecs("DescribeServices")).is_ok() && ask(&some, &named("DescribeServices")).is_ok());
        assert!(ask(&some, &ecs("UpdateService")).is_ok());
        assert_eq!(ask(&some, &named("UpdateService")), Err(Refusal::NotGranted));
        assert_eq!(ask(&some, &ecs("DeleteService")), Err(Refusal::NotGranted));
        assert_eq!(ask(&some, &Action::None), Err(Refusal::NotGranted));
        assert_eq!(ask(&some, &Action::Unclear("twice")), Err(Refusal::Unclear("twice")));
        // Where the operator does not care about actions, neither does the host.
        assert!(ask(&json!({}), &Action::Unclear("twice")).is_ok());
    }

    #[test]
    fn a_dry_run_lets_actions_through_that_read() {
        let named = |name: &str| Action::Named(name.to_owned());
        let ask = |grant: serde_json::Value, action: &Action| ask_action(Mode::ReadOnly, grant, action);
        let reads = json!({"reads": [{"action": "Describe*"}]});
        assert!(ask(reads.clone(), &named("Svc.DescribeServices")).is_ok());
        assert_eq!(ask(reads.clone(), &named("Svc.DeleteService")), Err(Refusal::NotARead));
        assert_eq!(ask(reads.clone(), &Action::Unclear("twice")), Err(Refusal::NotARead));
        assert_eq!(ask(reads, &Action::None), Err(Refusal::NotARead));
        // A GET of the query protocols can change something.
        let get = json!([{"host": "iam.amazonaws.com"}]);
        let url = |query| format!("https://iam.amazonaws.com/?{query}");
        let ask = |mode, query| ask_in(mode, None, get.clone(), "GET", &url(query));
        assert!(ask(Mode::ReadOnly, "x=1").is_ok() && ask(Mode::Normal, "Action=DeleteUser").is_ok());
        assert_eq!(ask(Mode::ReadOnly, "Action=DeleteUser"), Err(Refusal::NotARead));
        assert_eq!(ask(Mode::ReadOnly, "action=DeleteUser"), Err(Refusal::NotARead));
        assert_eq!(ask(Mode::Sealed, "x=1"), Err(Refusal::NotGranted));
    }

    #[test]
    fn a_placeholder_in_a_path_may_become_anything_in_its_segment() {
        assert_eq!(path_pattern("/bot__basb.secret.token__/send[x]"), "/bot*/send\\[x\\]");
        assert_eq!(path_pattern("/a/__basb.secret.a-b__/__basb.secret.c__"), "/a/*/*");
        assert_eq!(path_pattern("/a/__basb.secret.b____basb.secret.c__"), "/a/*");
        assert_eq!(path_pattern("/__basb.secret.unfinished"), "/__basb.secret.unfinished");
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
            action in prop::option::of("[A-Za-z]{1,6}(\\.[A-Za-z]{1,6})?"),
            secret in any::<bool>(),
        ) {
            let path = if secret { format!("{path}/__basb.secret.x__") } else { path };
            let scheme = if https { "https" } else { "http" };
            let port = port.map(|p| format!(":{p}")).unwrap_or_default();
            let url = format!("{scheme}://{host}{port}{path}");
            let Ok(destination) = parse(&url) else { return Ok(()) };
            let socket = socket_of(&destination).is_some();
            if socket && (https || destination.place.port != 80) {
                return Ok(());
            }
            let action = action.map_or(Action::None, Action::Named);
            let wanted = Wanted { method: &method, destination: &destination, action: &action, body: b"" };
            let lines = lines_for(None, &wanted);
            let grants = Grants::parse(&json!({ "http": [yaml_entry(&lines)] })).unwrap();
            let decided = |wanted: &Wanted<'_>| decide(&grants.http, None, Mode::Normal, wanted).is_ok();
            prop_assert!(decided(&wanted), "{} {:?}", url, lines);
            // And nothing of another action, nor of another path.
            if let Action::Named(name) = &action {
                let other = Action::Named(format!("{name}x"));
                let refused = !decided(&Wanted { action: &other, ..wanted });
                prop_assert!(refused);
                let refused = !decided(&Wanted { action: &Action::None, ..wanted });
                prop_assert!(refused);
            }
            let elsewhere = parse(&url.replace(&host, "elsewhere.example")).unwrap();
            let refused = !decided(&Wanted { destination: &elsewhere, ..wanted });
            prop_assert!(refused);
        }
    }

    /// Reads the few forms of YAML that `lines_for` writes.
    fn yaml_entry(lines: &str) -> serde_json::Value {
        let mut entry = serde_json::Map::new();
        for line in lines.lines().skip(1) {
            let (key, value) = line.trim_start_matches([' ', '-']).split_once(": ").unwrap();
            let list = value.strip_prefix('[').and_then(|v| v.strip_suffix(']'));
            let value = match list {
                Some(item) if item.starts_with('"') => json!([serde_json::from_str::<String>(item).unwrap()]),
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
