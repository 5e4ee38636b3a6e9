//! Whether a request is covered: method, URL, the call's target, `X-Amz-Target`, a form, and the grants as JSON, each on a
//! line.

use super::{lines, oracle};
use crate::Target;
use basb_capabilities::grants::{HostPattern, HttpGrant, HttpTarget};
use basb_capabilities::http::action::Action;
use basb_capabilities::http::containers;
use basb_capabilities::http::policy::{Refusal, Route, Wanted, decide, lines_for, socket_of};
use basb_capabilities::http::url::{Destination, parse};
use basb_capabilities::network::address::Reach;
use basb_capabilities::{Grants, Mode, grant_lines};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::json;
use url::Url;

pub(crate) const TARGET: Target = Target {
    name: "policy",
    run,
    more: &[],
    words: &[
        "GET",
        "POST",
        "DELETE",
        "https://",
        "http://",
        "api.example.com",
        "a.b.example.com",
        ".evil.org",
        "@",
        ":8443",
        "/v1/x",
        "/v1/",
        "?Action=DeleteUser",
        "Action=Describe&",
        "agent.socket.internal",
        "127.0.0.1",
        "localhost",
        "Svc.Describe",
        "{\"host\":\"*.example.com\"}",
        "{\"host\":\"**.example.com\",\"path\":\"/v1/**\"}",
        "\"methods\":[\"POST\"]",
        "\"actions\":[\"Describe*\"]",
        "\"reads\":[\"/v1/*\"]",
        "{\"socket\":\"agent\"}",
        "{\"target\":\"service\"}",
        "{\"socket\":\"docker\",\"at\":\"/run/d\",\"containers\":{\"names\":[\"b-*\"],\"images\":[\"b:*\"]}}",
        "http://docker.socket.internal/v1.41/containers/create?name=b-1",
        "/v1.41/containers/b-1/start",
        "{\"Image\":\"b:1\",\"HostConfig\":{",
        "\"Privileged\":true",
        "\"Binds\":[\"/:/x\"]",
        "\"Mounts\":[{\"Type\":\"bind\",\"Source\":\"/\"}]",
        "\"NetworkMode\":\"host\"",
        "\"bind\u{17f}\"",
        "\"resolves\":\"private\"",
        "\"scheme\":\"http\"",
        "\"port\":8443",
        ",",
        "\n",
        "__basb.secret.a__",
    ],
};

fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let [method, url, target, amz, form, grants] = lines(text);
    let Ok(parsed_method) = method.parse::<Method>() else { return };
    let Ok(destination) = parse(url) else { return };
    let target = Url::parse(target).ok().filter(|target| matches!(target.scheme(), "http" | "https"));
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(amz)
        && !amz.is_empty()
    {
        headers.insert("x-amz-target", value);
        headers.insert("content-type", HeaderValue::from_static("application/x-amz-json-1.1"));
    } else if !form.is_empty() {
        headers.insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
    }
    let action = Action::of(&parsed_method, &destination.url, &headers, form.as_bytes());
    let wanted = Wanted { method, destination: &destination, action: &action, body: form.as_bytes() };
    let grants = serde_json::from_str::<serde_json::Value>(grants).ok();
    let grants = grants.and_then(|http| Grants::parse(&json!({ "http": http })).ok()).unwrap_or_default().http;
    check(&grants, target.as_ref(), &wanted);
}

fn check(grants: &[HttpGrant], target: Option<&Url>, wanted: &Wanted<'_>) {
    let ask = |grants: &[HttpGrant], mode| decide(grants, target, mode, wanted);
    let normal = ask(grants, Mode::Normal);
    assert!(ask(grants, Mode::Sealed).is_err() && ask(&[], Mode::Normal).is_err());
    match ask(grants, Mode::ReadOnly) {
        Ok(_) => assert!(normal.is_ok(), "a dry run lets more through: {wanted:?}"),
        Err(Refusal::NotARead) => assert!(normal.is_ok(), "{wanted:?}"),
        Err(_) => {}
    }
    if let Ok(route) = &normal {
        let by = grants.iter().any(|grant| covers(grant, target, wanted, route));
        assert!(by, "let through by no grant: {wanted:?} {route:?} {grants:?}");
    } else {
        for grant in grants {
            assert!(ask(std::slice::from_ref(grant), Mode::Normal).is_err(), "one grant allows what all refuse");
        }
        denied(target, wanted);
    }
}

/// A second reading of one grant.
fn covers(grant: &HttpGrant, target: Option<&Url>, wanted: &Wanted<'_>, route: &Route) -> bool {
    let Destination { url, place } = wanted.destination;
    let place_covered = match (&grant.to, route) {
        (HttpTarget::Socket { name, at }, Route::Socket { name: to, at: path }) => {
            name == to && at == path && url.as_str().starts_with(&format!("http://{name}.socket.internal/"))
        }
        (HttpTarget::Host { host, scheme, port, .. }, Route::Network(reach)) => {
            let named = match host {
                HostPattern::Address(_) => place.host.to_string() == host.to_string(),
                _ => oracle::host_covers(&host.to_string(), &place.host.to_string()),
            };
            let reached = match reach {
                Reach::Literal => matches!(host, HostPattern::Address(_)),
                Reach::Loopback => *host == HostPattern::Localhost,
                Reach::Private | Reach::Public => true,
            };
            named && reached && scheme.as_str() == url.scheme() && *port == place.port
        }
        (HttpTarget::Service, Route::Network(_)) => target.is_some_and(|target| target.origin() == url.origin()),
        _ => false,
    };
    let path = oracle::path_covers(grant.path.as_str(), url.path()).unwrap_or_else(|| grant.path.covers(url.path()));
    let action = match wanted.action {
        _ if grant.actions.is_empty() => true,
        Action::Named(action) => grant.actions.iter().any(|pattern| pattern.covers(action)),
        _ => false,
    };
    if let (Some(containers), Ok(())) =
        (&grant.containers, grant.containers.as_ref().map_or(Err(String::new()), |all| containers::check(all, wanted)))
        && containers.allow.is_empty()
        && containers.binds.is_empty()
    {
        assert!(oracle::is_apart_from_the_machine(wanted.body), "{wanted:?}");
    }
    let operation = grant.containers.as_ref().is_none_or(|containers| containers::check(containers, wanted).is_ok());
    place_covered && path && operation && action && grant.methods.contains(wanted.method)
}

/// What a denial tells the operator to write allows this request, and no other host's, path's or method's.
fn denied(target: Option<&Url>, wanted: &Wanted<'_>) {
    let lines = grant_lines("a", &lines_for(target, wanted));
    let file: serde_json::Value = serde_saphyr::from_str(&lines).unwrap_or_else(|e| panic!("{e}: {lines}"));
    let grants = &file["plugins"]["a"]["grants"];
    assert_eq!(grants.as_object().map(serde_json::Map::len), Some(1), "{lines}");
    assert_eq!(grants["http"].as_array().map(Vec::len), Some(1), "{lines}");
    // Some requests no grant could ever cover: then its lines need not be right.
    let socket = socket_of(wanted.destination);
    let odd_socket =
        socket.is_some() && (wanted.destination.url.scheme() != "http" || wanted.destination.place.port != 80);
    let Ok(grants) = Grants::parse(grants) else {
        let grantable = HostPattern::parse(&wanted.destination.place.host.to_string()).is_ok()
            && wanted.method.bytes().all(|byte| byte.is_ascii_uppercase())
            && !matches!(wanted.method, "CONNECT" | "TRACE")
            && socket
                .is_none_or(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'))
            && !matches!(wanted.action, Action::Named(name) if basb_capabilities::grants::ActionPattern::parse(name).is_err());
        assert!(!grantable, "{lines}");
        return;
    };
    // What begins like a placeholder and is none is refused for that, whatever is granted.
    let path = wanted.destination.url.path();
    let whole = basb_credentials::placeholder::find(path.as_bytes()).len();
    if odd_socket || path.matches(basb_credentials::placeholder::MARK).count() != whole {
        return;
    }
    let ask = |wanted: &Wanted<'_>| decide(&grants.http, target, Mode::Normal, wanted);
    assert!(ask(wanted).is_ok(), "{wanted:?} {lines}");
    assert!(ask(&Wanted { method: "PURGE", ..*wanted }).is_err() || wanted.method == "PURGE");
    let changed = |change: fn(&mut Url)| {
        let mut url = wanted.destination.url.clone();
        change(&mut url);
        parse(url.as_str()).ok().filter(|other| other != wanted.destination)
    };
    if let Some(elsewhere) = changed(|url| {
        let _ = url.set_host(Some("elsewhere.example"));
    }) {
        assert!(ask(&Wanted { destination: &elsewhere, ..*wanted }).is_err(), "{lines}");
    }
    if let Some(deeper) = changed(|url| url.set_path(&format!("{}/x", url.path().trim_end_matches('/')))) {
        assert!(ask(&Wanted { destination: &deeper, ..*wanted }).is_err(), "{} {lines}", deeper.url);
    }
}
