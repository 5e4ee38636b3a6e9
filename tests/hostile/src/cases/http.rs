//! Getting out to where nothing is granted: tricks with hosts, addresses, paths, methods, headers and redirects, through
//! the host's own interface and through `wasi:http`.

use super::doors::Door;
use crate::case::{Case, Outcome};
use crate::ensure;
use crate::lab::{Lab, patient, play, play_as, script};
use crate::names::Names;
use crate::server::{Server, reply};
use basb_guest_script::{Outcome as Told, Request, Step};
use serde_json::{Value, json};
use std::sync::Arc;

pub fn cases() -> Vec<Case> {
    Door::BOTH.into_iter().flat_map(of).collect()
}

/// A family of URLs, none of which must get out. `V` stands for the victim's port, to which every name leads that is not
/// granted, and on which the granted ones are granted.
struct Trick {
    name: &'static str,
    attacks: &'static str,
    urls: &'static [&'static str],
    /// Whether a name may be looked up: that is a message to whoever owns it.
    lookups: Lookups,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lookups {
    /// Nothing but granted names.
    Granted,
    /// Nothing at all.
    None,
}

const TRICKS: &[Trick] = &[
    Trick {
        name: "host-suffix",
        attacks: "hosts that begin or end like a granted one",
        urls: &[
            "http://api.example.com.evil.org:V/v1/x",
            "http://evilapi.example.com:V/v1/x",
            "http://api.example.comevil.org:V/v1/x",
            "http://api.example.com-evil.org:V/v1/x",
            "http://xapi.example.com:V/v1/x",
            "http://api.example.co:V/v1/x",
            "http://a.b.svc.example.com:V/v1/x",
            "http://svc.example.com:V/v1/x",
            "http://.svc.example.com:V/v1/x",
            "http://..svc.example.com:V/v1/x",
            "http://*.svc.example.com:V/v1/x",
            "http://evil.org/api.example.com:V/v1/x",
            "http://127.0.0.1:V/v1/x?host=api.example.com",
            "http://127.0.0.1:V/v1/x#api.example.com",
        ],
        lookups: Lookups::None,
    },
    Trick {
        name: "host-userinfo",
        attacks: "a granted host as user name in front of another one",
        urls: &[
            "http://api.example.com@127.0.0.1:V/v1/x",
            "http://api.example.com:80@127.0.0.1:V/v1/x",
            "http://api.example.com:V@127.0.0.1:V/v1/x",
            "http://user:pass@api.example.com:V/v1/x",
            "http://@api.example.com:V/v1/x",
            "http://:@api.example.com:V/v1/x",
            "http://api.example.com%40127.0.0.1:V/v1/x",
            "http://api.example.com%23@127.0.0.1:V/v1/x",
            "http://api.example.com%2f@127.0.0.1:V/v1/x",
            "http://a@b@127.0.0.1:V/v1/x",
        ],
        lookups: Lookups::None,
    },
    Trick {
        name: "host-homographs",
        attacks: "hosts in other scripts that look like a granted one, and their punycode",
        urls: &[
            "http://\u{430}pi.example.com:V/v1/x",
            "http://xn--pi-7kc.example.com:V/v1/x",
            "http://api.\u{435}xample.com:V/v1/x",
            "http://api.example.\u{441}om:V/v1/x",
            "http://\u{251}pi.example.com:V/v1/x",
            "http://api.examp\u{2113}e.co\u{1e43}:V/v1/x",
            "http://xn--:V/v1/x",
            "http://xn--api-.example.com:V/v1/x",
            "http://api.example.com\u{2f}\u{2024}evil.org:V/v1/x",
            "http://api.example.com\u{2044}evil.org:V/v1/x",
            "http://api\u{2024}example\u{2024}com.evil.org:V/v1/x",
        ],
        lookups: Lookups::None,
    },
    Trick {
        name: "host-dots-and-case",
        attacks: "trailing dots and mixed case",
        urls: &[
            "http://api.example.com.:V/v1/x",
            "http://api.example.com..:V/v1/x",
            "http://API.EXAMPLE.COM.:V/v1/x",
            "http://API.EXAMPLE.COM.EVIL.ORG:V/v1/x",
            "HTTP://Api.Example.Com.Evil.Org:V/v1/x",
            "http://svc.EXAMPLE.com.:V/v1/x",
            "http://LOCALHOST:V/v1/x",
            "http://localhost.:V/v1/x",
            "http://LocalHost.localdomain:V/v1/x",
        ],
        lookups: Lookups::None,
    },
    Trick {
        name: "address-spellings",
        attacks: "this machine's address in all spellings",
        urls: &[
            "http://127.0.0.1:V/v1/x",
            "http://0x7f.1:V/v1/x",
            "http://2130706433:V/v1/x",
            "http://0177.0.0.1:V/v1/x",
            "http://127.1:V/v1/x",
            "http://127.0.1:V/v1/x",
            "http://0x7f000001:V/v1/x",
            "http://017700000001:V/v1/x",
            "http://0x7F.0x0.0x0.0x1:V/v1/x",
            "http://127.0.0.1.:V/v1/x",
            "http://127.000.000.001:V/v1/x",
            "http://\u{2460}\u{2461}\u{2466}.0.0.1:V/v1/x",
            "http://127\u{3002}0\u{3002}0\u{3002}1:V/v1/x",
            "http://\u{ff11}\u{ff12}\u{ff17}.0.0.1:V/v1/x",
            "http://127.0.0.1%20:V/v1/x",
            "http://127.0.0.1%00.example.com:V/v1/x",
            "http://0:V/v1/x",
            "http://0.0.0.0:V/v1/x",
            "http://127.127.127.127:V/v1/x",
            "http://4294967297:V/v1/x",
        ],
        lookups: Lookups::None,
    },
    Trick {
        name: "address-ipv6",
        attacks: "IPv6 addresses with an IPv4 address inside, zones, and other forms",
        urls: &[
            "http://[::1]:V/v1/x",
            "http://[::]:V/v1/x",
            "http://[::ffff:127.0.0.1]:V/v1/x",
            "http://[::ffff:7f00:1]:V/v1/x",
            "http://[0:0:0:0:0:ffff:7f00:0001]:V/v1/x",
            "http://[::127.0.0.1]:V/v1/x",
            "http://[64:ff9b::7f00:1]:V/v1/x",
            "http://[64:ff9b:1::7f00:1]:V/v1/x",
            "http://[2002:7f00:1::1]:V/v1/x",
            "http://[::ffff:a9fe:a9fe]:V/v1/x",
            "http://[fd00:ec2::254]:V/v1/x",
            "http://[fe80::1%25eth0]:V/v1/x",
            "http://[::1%25lo]:V/v1/x",
            "http://[::1]evil.org:V/v1/x",
            "http://[v1.api.example.com]:V/v1/x",
            "http://[api.example.com]:V/v1/x",
            "http://::1:V/v1/x",
        ],
        lookups: Lookups::None,
    },
    Trick {
        name: "port",
        attacks: "ports that are not granted, and none",
        urls: &[
            "http://api.example.com/v1/x",
            "http://api.example.com:0/v1/x",
            "http://api.example.com:00/v1/x",
            "http://api.example.com:65536/v1/x",
            "http://api.example.com:-1/v1/x",
            "http://api.example.com:+V/v1/x",
            "http://api.example.com:V:80/v1/x",
            "http://api.example.com: V/v1/x",
            "http://api.example.com:1/v1/x",
            "http://api.example.com:/v1/x",
        ],
        lookups: Lookups::None,
    },
    Trick {
        name: "scheme",
        attacks: "other schemes, and none",
        urls: &[
            "https://api.example.com:V/v1/x",
            "ftp://api.example.com:V/v1/x",
            "file:///etc/passwd",
            "gopher://api.example.com:V/_GET",
            "ws://api.example.com:V/v1/x",
            "data:text/plain,x",
            "javascript:alert(1)",
            "//api.example.com:V/v1/x",
            "/v1/x",
            "",
            "http",
            "http://",
            "http:///v1/x",
            "unix:/var/run/docker.sock",
            "http+unix://%2Fvar%2Frun%2Fdocker.sock/info",
        ],
        lookups: Lookups::None,
    },
    Trick {
        name: "backslashes",
        attacks: "backslashes, which some readers take for slashes",
        urls: &[
            "http://127.0.0.1:V\\@api.example.com:V/v1/x",
            "http://api.example.com:V\\@127.0.0.1:V/v1/x",
            "http:\\\\127.0.0.1:V/v1/x",
            "http:/\\127.0.0.1:V/v1/x",
            "http://127.0.0.1:V\\v1\\x",
            "http://api.example.com:V/v1\\..\\admin",
            "http://api.example.com:V\\v1/x",
        ],
        lookups: Lookups::None,
    },
    Trick {
        name: "control-characters",
        attacks: "line ends, tabs, spaces and zero bytes in a URL",
        urls: &[
            "http://api.example.com:V/v1/x HTTP/1.1\r\nHost: evil.org\r\n\r\nGET /admin",
            "http://api.example.com:V/v1/x\r\nX-Evil: 1",
            "http://api.example.com:V/v1/\tx",
            "http://api.example.com:V/v1/x\n",
            "http://127.0.0.1\t:V/v1/x",
            "http://api.example.com\0.evil.org:V/v1/x",
            "http://api.example.com:V/v1/x\0",
            "ht\ntp://api.example.com:V/v1/x",
            " http://api.example.com:V/v1/x",
            "http://api.example.com:V/v1/x\u{7f}",
            "http://api.example.com:V /v1/x",
        ],
        lookups: Lookups::None,
    },
    Trick {
        name: "names-of-sockets",
        attacks: "unix sockets by names that look like hosts",
        urls: &[
            "http://agent.socket.internal/v1/x",
            "http://agent.socket.internal:V/v1/x",
            "http://AGENT.socket.internal/v1/x",
            "http://agent.socket.internal./v1/x",
            "http://x.agent.socket.internal/v1/x",
            "http://socket.internal/v1/x",
            "http://agent.socket.internal:80/v1/x",
        ],
        lookups: Lookups::None,
    },
    Trick {
        name: "names-to-this-machine",
        attacks: "granted names that lead to this machine",
        urls: &[
            "http://api.example.com:V/v1/x",
            "http://API.Example.COM:V/v1/x",
            "http://a.svc.example.com:V/v1/x",
            "http://\u{ff41}pi.example.com:V/v1/x",
        ],
        lookups: Lookups::Granted,
    },
];

/// What is granted in these cases. The port of the granted names is the victim's.
fn granted(lab: &Lab) -> Value {
    json!([
        {"host": "api.example.com", "scheme": "http", "port": lab.victim.port, "path": "/v1/**"},
        {"host": "*.svc.example.com", "scheme": "http", "port": lab.victim.port, "path": "/v1/**"},
    ])
}

fn of(door: Door) -> Vec<Case> {
    let name = |what: &str| format!("{}-{what}", door.prefix());
    let mut all: Vec<Case> = TRICKS
        .iter()
        .map(|trick| Case::new(name(trick.name), trick.attacks, move |lab| urls(lab, door, trick)))
        .collect();
    all.extend([
        Case::new(name("paths"), "paths that begin like a granted one and lead elsewhere", move |lab| paths(lab, door)),
        Case::new(name("paths-in-literal-grant"), "paths in other case, without the slash, with parameters", move |lab| {
            more_paths(lab, door)
        }),
        Case::new(name("names-elsewhere"), "granted names that lead to metadata services, private networks and this machine, alone or among good addresses", move |lab| {
            names_elsewhere(lab, door)
        }),
        Case::new(name("metadata-granted"), "metadata services that the operator granted by address", move |lab| metadata_granted(lab, door)),
        Case::new(name("rebinding"), "a name that leads to an allowed address first, and then to another one", move |lab| rebinding(lab, door)),
        Case::new(name("redirect-elsewhere"), "redirects to a victim, and a guest that follows them", move |lab| redirect(lab, door)),
        Case::new(name("redirect-metadata"), "redirects to metadata services", move |lab| redirect_metadata(lab, door)),
        Case::new(name("methods"), "methods that are not granted, and none that are methods", move |lab| methods(lab, door)),
        Case::new(name("header-smuggling"), "headers that would be a second request, another host, or another length", move |lab| headers(lab, door)),
        Case::new(name("header-flood"), "more and longer headers than a request may have", move |lab| header_flood(lab, door)),
        Case::new(name("body-smuggling"), "a body that looks like a second request", move |lab| body(lab, door)),
        Case::new(name("dry-run"), "changes during `plan`", move |lab| dry_run(lab, door)),
        Case::new(name("dry-run-override"), "changes during `plan`, as a GET with a header that servers take for the method", move |lab| dry_run_override(lab, door)),
        Case::new(name("request-flood"), "three thousand requests in one call", move |lab| flood(lab, door)),
        Case::new(name("parallel-flood"), "two hundred requests at once", move |lab| parallel(lab, door)),
        Case::new(name("large-request"), "a request body over the limit", move |lab| large_request(lab, door)).may_grow(120),
    ]);
    all
}

async fn urls(lab: Arc<Lab>, door: Door, trick: &Trick) -> Outcome {
    let names = Names::new();
    let resolver = Arc::new(names.clone());
    let runtime = lab.runtime_with(|options| {
        options.resolver = resolver;
        options.sockets = [("agent".to_owned(), lab.base().join("no.sock"))].into();
    });
    let plugin = door.guest(&lab, &runtime, &granted(&lab));
    let port = lab.victim.port.to_string();
    let urls: Vec<String> = trick.urls.iter().map(|url| url.replace('V', &port)).collect();
    let steps = urls.iter().map(|url| Step::Http(Request::get(url))).collect();
    let seen = play(&plugin, &script(steps)).await.map_err(|error| error.to_string())?;
    let mut last = String::new();
    for (url, seen) in urls.iter().zip(&seen) {
        let looked_up = trick.lookups == Lookups::Granted;
        let parts: &[&str] = if looked_up { &["this machine"] } else { &[] };
        last = door.stopped(&seen.outcome, &plugin, parts).map_err(|why| format!("{url:?}: {why}"))?;
    }
    let asked = names.asked();
    match trick.lookups {
        Lookups::None => ensure!(asked.is_empty(), "names were looked up: {asked:?}"),
        Lookups::Granted => ensure!(asked.iter().all(|name| name.ends_with(".example.com")), "looked up: {asked:?}"),
    }
    ensure!(seen.len() == urls.len(), "{} of {} were tried", seen.len(), urls.len());
    Ok(format!("{} URLs, the last one: {last}", urls.len()))
}

/// Sends requests to one server of which one path is granted; nothing must arrive but `arrives`.
async fn to_paths(lab: &Arc<Lab>, door: Door, pattern: &str, paths: &[&str]) -> Outcome {
    let plugin = door.guest(
        lab,
        &lab.runtime,
        &json!([{"host": "127.0.0.1", "scheme": "http", "port": lab.victim.port, "path": pattern}]),
    );
    let steps = paths.iter().map(|path| Step::Http(Request::get(lab.victim.url(path)))).collect();
    let seen = play(&plugin, &script(steps)).await.map_err(|error| error.to_string())?;
    let mut last = String::new();
    for (path, seen) in paths.iter().zip(&seen) {
        last = door.stopped(&seen.outcome, &plugin, &[]).map_err(|why| format!("{path:?}: {why}"))?;
    }
    Ok(format!("{} paths, the last one: {last}", paths.len()))
}

async fn paths(lab: Arc<Lab>, door: Door) -> Outcome {
    let paths = [
        "/v1/../admin",
        "/v1/x/../../admin",
        "/v1/..",
        "/v1/./../admin",
        "/v1/%2e%2e/admin",
        "/v1/%2E%2E/admin",
        "/v1/.%2e/admin",
        "/v1/%2e./admin",
        "/v1/..%2fadmin",
        "/v1/..%2Fadmin",
        "/v1%2f..%2fadmin",
        "/v1/..%5cadmin",
        "/v1/..%5Cadmin",
        "/v1/%252e%252e/admin",
        "/v1/%25%32%65%25%32%65/admin",
        "/v1/..%252fadmin",
        "/v1/..;/admin",
        "/v1/..;x=y/admin",
        "/v1/.;/admin",
        "/v1//..//admin",
        "//v1/x",
        "/v1//x",
        "/v1/%00/../admin",
        "/v1/x%00",
        "/v1/%c0%ae%c0%ae/admin",
        "/v1/%e0%80%ae%e0%80%ae/admin",
        "/v1/%uff0e%uff0e/admin",
        "/admin?/v1/x",
        "/admin#/v1/x",
        "/admin;/v1/x",
        "/admin",
        "/",
    ];
    to_paths(&lab, door, "/v1/**", &paths).await
}

async fn more_paths(lab: Arc<Lab>, door: Door) -> Outcome {
    let paths = [
        "/HEALTH",
        "/health/",
        "/healthz",
        "/health;x",
        "/health/x",
        "/%68ealth",
        "/healt%68",
        "/health%20",
        "/health%09",
        "/heal%74h/../admin",
        "/health%3fx",
        "/health%23x",
    ];
    to_paths(&lab, door, "/health", &paths).await
}

async fn names_elsewhere(lab: Arc<Lab>, door: Door) -> Outcome {
    let leads: [(&str, &[&str]); 14] = [
        ("imds", &["169.254.169.254"]),
        ("imds6", &["fd00:ec2::254"]),
        ("mapped", &["::ffff:169.254.169.254"]),
        ("nat64", &["64:ff9b::a9fe:a9fe"]),
        ("ecs", &["169.254.170.2"]),
        ("azure", &["168.63.129.16"]),
        ("alibaba", &["100.100.100.200"]),
        ("private", &["10.1.2.3"]),
        ("private6", &["fd12::1"]),
        ("nat", &["100.64.1.1"]),
        ("linklocal", &["169.254.1.1"]),
        ("loop6", &["::1"]),
        ("zero", &["0.0.0.0"]),
        ("mixed", &["93.184.216.34", "127.0.0.1"]),
    ];
    let names = leads.iter().fold(Names::new(), |names, (name, to)| names.with(&format!("{name}.example.com"), &[to]));
    let runtime = lab.runtime_with(|options| options.resolver = Arc::new(names));
    let grants = json!([{"host": "*.example.com", "scheme": "http", "port": lab.victim.port}]);
    let plugin = door.guest(&lab, &runtime, &grants);
    let steps = leads
        .iter()
        .map(|(name, _)| Step::Http(Request::get(format!("http://{name}.example.com:{}/", lab.victim.port))));
    let seen = play(&plugin, &script(steps.collect())).await.map_err(|error| error.to_string())?;
    let mut last = String::new();
    for ((name, to), seen) in leads.iter().zip(&seen) {
        let found = to.last().copied().unwrap_or_default();
        let found: std::net::IpAddr = found.parse().unwrap();
        last = crate::expect::denied(
            &seen.outcome,
            &plugin,
            "check",
            &[&format!("{name}.example.com"), &found.to_string()],
        )
        .map_err(|why| format!("{name}: {why}"))?;
    }
    Ok(format!("{} names, the last one: {last}", leads.len()))
}

async fn metadata_granted(lab: Arc<Lab>, door: Door) -> Outcome {
    let addresses = [
        "169.254.169.254",
        "169.254.170.2",
        "[fd00:ec2::254]",
        "[::ffff:169.254.169.254]",
        "168.63.129.16",
        "100.100.100.200",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
    ];
    let grants: Vec<Value> = addresses.iter().map(|host| json!({"host": host, "scheme": "http"})).collect();
    let plugin = door.guest(&lab, &lab.runtime, &Value::from(grants));
    let steps =
        addresses.iter().map(|host| Step::Http(Request::get(format!("http://{host}/latest/meta-data/")))).collect();
    let seen = play(&plugin, &script(steps)).await.map_err(|error| error.to_string())?;
    let mut last = String::new();
    for (host, seen) in addresses.iter().zip(&seen) {
        last = crate::expect::denied(&seen.outcome, &plugin, "check", &["there is no way to grant it"])
            .map_err(|why| format!("{host}: {why}"))?;
    }
    Ok(last)
}

/// The operator granted `localhost`; it leads to this machine once, and then to a metadata service. Each connection is
/// decided by one answer, and goes to the address that was checked.
async fn rebinding(lab: Arc<Lab>, door: Door) -> Outcome {
    // Each answer ends the connection, so that the next request needs a new one.
    let server = Server::answering(|_| reply(200, "connection: close\r\n", b"once")).await;
    let names = Names::new()
        .with("localhost", &[&["127.0.0.1"], &["169.254.169.254"], &["127.0.0.1", "10.0.0.1"], &["93.184.216.34"]]);
    let resolver = Arc::new(names.clone());
    let runtime = lab.runtime_with(|options| options.resolver = resolver);
    let plugin = door.guest(&lab, &runtime, &json!([{"host": "localhost", "scheme": "http", "port": server.port}]));
    let url = format!("http://localhost:{}/", server.port);
    let mut steps = vec![Step::Http(Request::get(&url))];
    // Between two requests the connection may still be closing, so that the second is the first to need another one.
    steps.extend((0..3).map(|_| Step::Http(Request::get(&url))));
    let seen = play(&plugin, &script(steps)).await.map_err(|error| error.to_string())?;
    ensure!(seen[0].outcome.text() == "once", "{:?}", seen[0].outcome);
    let mut last = String::new();
    for (seen, to) in seen[1..].iter().zip(["169.254.169.254", "10.0.0.1", "93.184.216.34"]) {
        last = crate::expect::denied(&seen.outcome, &plugin, "check", &[to])?;
    }
    ensure!(server.connections() == 1, "{}", server.told());
    let asked = names.asked();
    ensure!(asked.len() == 4, "looked up {} times for 4 connections: {asked:?}", asked.len());
    Ok(last)
}

async fn redirect(lab: Arc<Lab>, door: Door) -> Outcome {
    let to = lab.victim.url("/stolen");
    let server = Server::answering(move |arrived| {
        let status = arrived.target().trim_start_matches('/').parse().unwrap_or(302);
        reply(
            status,
            &format!(
                "location: {to}\r\nrefresh: 0; url={to}\r\nlink: <{to}>; rel=preload\r\nalt-svc: h2=\"127.0.0.1:1\"\r\n"
            ),
            b"moved",
        )
    })
    .await;
    let plugin = door.guest(
        &lab,
        &lab.runtime,
        &json!([{"host": "127.0.0.1", "scheme": "http", "port": server.port, "methods": ["GET", "POST"]}]),
    );
    let mut steps = Vec::new();
    for status in [300, 301, 302, 303, 307, 308] {
        steps.push(Step::Http(Request {
            method: "POST".to_owned(),
            body: "secret".to_owned(),
            ..Request::get(server.url(&format!("/{status}")))
        }));
    }
    steps.push(Step::Follow(Request::get(server.url("/302"))));
    let seen = play(&plugin, &script(steps)).await.map_err(|error| error.to_string())?;
    for one in &seen[..6] {
        ensure!(matches!(one.outcome, Told::Response { status: 300..=308, .. }), "{:?}", one.outcome);
    }
    crate::expect::denied(&seen[6].outcome, &plugin, "check", &[&format!("port: {}", lab.victim.port)])
}

async fn redirect_metadata(lab: Arc<Lab>, door: Door) -> Outcome {
    let places = [
        "http://169.254.169.254/latest/meta-data/iam/",
        "http://[fd00:ec2::254]/latest/",
        "http://metadata.google.internal/computeMetadata/v1/",
        "http://2852039166/",
        "//169.254.169.254/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:25/",
    ];
    let mut last = String::new();
    for place in places {
        let server = Server::answering(move |_| reply(307, &format!("location: {place}\r\n"), b"")).await;
        let plugin =
            door.guest(&lab, &lab.runtime, &json!([{"host": "127.0.0.1", "scheme": "http", "port": server.port}]));
        let seen = play(&plugin, &script(vec![Step::Follow(Request::get(server.url("/")))]))
            .await
            .map_err(|error| error.to_string())?;
        last = door.stopped(&seen[0].outcome, &plugin, &[]).map_err(|why| format!("{place}: {why}"))?;
    }
    Ok(last)
}

async fn methods(lab: Arc<Lab>, door: Door) -> Outcome {
    let plugin =
        door.guest(&lab, &lab.runtime, &json!([{"host": "127.0.0.1", "scheme": "http", "port": lab.victim.port}]));
    let methods = [
        "POST",
        "PUT",
        "DELETE",
        "PATCH",
        "OPTIONS",
        "CONNECT",
        "TRACE",
        "get",
        "Get",
        "GET ",
        " GET",
        "GET /admin HTTP/1.1\r\nhost: x\r\n\r\nGET",
        "G\0T",
        "PRI",
        "GETGETGETGETGETGETGETGETGET",
        "\u{ff27}ET",
        "*",
    ];
    let steps = methods
        .iter()
        .map(|method| Step::Http(Request { method: (*method).to_owned(), ..Request::get(lab.victim.url("/")) }))
        .collect();
    let seen = play(&plugin, &script(steps)).await.map_err(|error| error.to_string())?;
    let mut last = String::new();
    for (method, seen) in methods.iter().zip(&seen) {
        last = door.stopped(&seen.outcome, &plugin, &[]).map_err(|why| format!("{method:?}: {why}"))?;
    }
    Ok(format!("{} methods, the last one: {last}", methods.len()))
}

async fn headers(lab: Arc<Lab>, door: Door) -> Outcome {
    let server = Server::friendly().await;
    let plugin = door.guest(
        &lab,
        &lab.runtime,
        &json!([{"host": "127.0.0.1", "scheme": "http", "port": server.port, "methods": ["GET", "POST"]}]),
    );
    let bad: [(&str, &str); 30] = [
        ("host", "evil.org"),
        ("Host", "evil.org"),
        (":authority", "evil.org"),
        (":path", "/admin"),
        ("content-length", "0"),
        ("Content-Length", "5, 5"),
        ("transfer-encoding", "chunked"),
        ("Transfer-Encoding", "identity"),
        ("transfer_encoding ", "chunked"),
        ("connection", "keep-alive, x-secret"),
        ("Connection", "upgrade"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA"),
        ("keep-alive", "timeout=1000"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic eA=="),
        ("te", "trailers"),
        ("trailer", "x"),
        ("expect", "100-continue"),
        ("x-a", "1\r\nhost: evil.org"),
        ("x-a", "1\nx-evil: 1"),
        ("x-a", "1\r\n\r\nGET /admin HTTP/1.1\r\nhost: x\r\n\r\n"),
        ("x-a", "1\0"),
        ("x-a\r\nx-evil", "1"),
        ("x-a: 1\r\nx-evil", "1"),
        ("x a", "1"),
        ("x-a:", "1"),
        ("", "1"),
        (" host", "evil.org"),
        ("x-\u{e4}", "1"),
    ];
    let steps = bad.iter().map(|(name, value)| {
        Step::Http(Request {
            method: "POST".to_owned(),
            headers: vec![((*name).to_owned(), (*value).to_owned())],
            body: "hello".to_owned(),
            ..Request::get(server.url("/v1/x"))
        })
    });
    let seen = play(&plugin, &script(steps.collect())).await.map_err(|error| error.to_string())?;
    let mut last = String::new();
    let mut through = 0;
    for ((name, value), seen) in bad.iter().zip(&seen) {
        // Over `wasi:http` a content length may be named; the door counts for itself.
        if door == Door::Wasi && name.eq_ignore_ascii_case("content-length") && seen.outcome.kind() == "ok" {
            through += 1;
            continue;
        }
        last = door.stopped(&seen.outcome, &plugin, &[]).map_err(|why| format!("{name:?}: {value:?}: {why}"))?;
    }
    ensure!(server.seen().len() == through, "{through} requests should have arrived: {}", server.told());
    for arrived in server.seen() {
        ensure!(arrived.body == b"hello" && arrived.header("content-length") == Some("5"), "{arrived:?}");
    }
    Ok(format!("{} headers, the last one: {last}", bad.len()))
}

async fn header_flood(lab: Arc<Lab>, door: Door) -> Outcome {
    let plugin =
        door.guest(&lab, &lab.runtime, &json!([{"host": "127.0.0.1", "scheme": "http", "port": lab.victim.port}]));
    let floods = [
        vec![("x-a".to_owned(), "1".to_owned()); 5000],
        vec![("x-a".to_owned(), "x".repeat(120_000))],
        vec![("x".repeat(70_000), "1".to_owned())],
        vec![("x-a".to_owned(), "x".repeat(1000)); 90],
    ];
    let mut last = String::new();
    for headers in floods {
        let step = Step::Http(Request { headers, ..Request::get(lab.victim.url("/")) });
        last = match play(&plugin, &script(vec![step])).await {
            Ok(seen) => door.stopped(&seen[0].outcome, &plugin, &[])?,
            // `wasi:http` ends a guest that makes too many.
            Err(error) if door == Door::Wasi => {
                crate::expect::ended(Err::<(), _>(error), &["plugin/trap", "plugin/too-large", "plugin/panic"], &[])?
            }
            Err(error) => return Err(error.to_string()),
        };
    }
    Ok(last)
}

async fn body(lab: Arc<Lab>, door: Door) -> Outcome {
    let server = Server::friendly().await;
    let plugin = door.guest(&lab, &lab.runtime, &json!([{"host": "127.0.0.1", "scheme": "http", "port": server.port, "methods": ["GET", "POST"], "path": "/v1/**"}]));
    let hidden = "0\r\n\r\nGET /admin HTTP/1.1\r\nhost: x\r\n\r\n";
    let steps = ["GET", "POST"].map(|method| {
        Step::Http(Request { method: method.to_owned(), body: hidden.to_owned(), ..Request::get(server.url("/v1/x")) })
    });
    let seen = play(&plugin, &script(steps.to_vec())).await.map_err(|error| error.to_string())?;
    let arrived = server.seen();
    for one in &arrived {
        ensure!(one.target() == "/v1/x", "the body became a request: {}", server.told());
        ensure!(one.body == hidden.as_bytes(), "{}", server.told());
        let lengths = one.head.lines().filter(|line| line.to_ascii_lowercase().starts_with("content-length:")).count();
        ensure!(lengths == 1 && one.header("transfer-encoding").is_none(), "{}", one.head);
    }
    ensure!(
        arrived.len() == seen.iter().filter(|seen| seen.outcome.kind() == "ok").count() && !arrived.is_empty(),
        "{}",
        server.told()
    );
    Ok(format!("{} requests arrived as they were granted", arrived.len()))
}

async fn dry_run(lab: Arc<Lab>, door: Door) -> Outcome {
    let grants = json!([{"host": "127.0.0.1", "scheme": "http", "port": lab.victim.port, "methods": ["GET", "POST", "DELETE"], "reads": ["/query"]}]);
    let plugin = door.guest(&lab, &lab.runtime, &grants);
    let asks = [
        ("POST", "/v1/x"),
        ("DELETE", "/query/../x"),
        ("DELETE", "/v1/query"),
        ("POST", "/query/x"),
        ("POST", "/QUERY"),
        ("POST", "/x?/query"),
    ];
    let steps = asks
        .map(|(method, path)| Step::Http(Request { method: method.to_owned(), ..Request::get(lab.victim.url(path)) }));
    let seen =
        play_as(&plugin, &patient().read_only(), &script(steps.to_vec())).await.map_err(|error| error.to_string())?;
    let mut last = String::new();
    for ((method, path), seen) in asks.iter().zip(&seen) {
        last = door.stopped(&seen.outcome, &plugin, &[]).map_err(|why| format!("{method} {path}: {why}"))?;
    }
    crate::expect::denied(&seen[0].outcome, &plugin, "check", &["this call may only read"])?;
    Ok(last)
}

/// Many frameworks take the method from a header (or a form field) where they find one: a GET is a DELETE then.
async fn dry_run_override(lab: Arc<Lab>, door: Door) -> Outcome {
    let grants =
        json!([{"host": "127.0.0.1", "scheme": "http", "port": lab.victim.port, "methods": ["GET", "DELETE"]}]);
    let plugin = door.guest(&lab, &lab.runtime, &grants);
    let names = ["x-http-method-override", "X-HTTP-Method", "x-method-override", "X-Http-Method-Override"];
    let steps = names.map(|name| {
        Step::Http(Request {
            headers: vec![(name.to_owned(), "DELETE".to_owned())],
            ..Request::get(lab.victim.url("/v1/x"))
        })
    });
    let seen =
        play_as(&plugin, &patient().read_only(), &script(steps.to_vec())).await.map_err(|error| error.to_string())?;
    let mut last = String::new();
    for (name, seen) in names.iter().zip(&seen) {
        last = door.stopped(&seen.outcome, &plugin, &[]).map_err(|why| format!("{name}: {why}"))?;
    }
    Ok(last)
}

async fn flood(lab: Arc<Lab>, door: Door) -> Outcome {
    let server = Server::friendly().await;
    let plugin = door.guest(&lab, &lab.runtime, &json!([{"host": "127.0.0.1", "scheme": "http", "port": server.port}]));
    // Beyond the bound of all host calls, or of the handles of `wasi:http`, the call itself ends.
    let flood = |times| Step::Repeat { times, step: Box::new(Step::Http(Request::get(server.url("/")))) };
    let over = play(&plugin, &script(vec![flood(3000)])).await.map_err(|error| error.to_string());
    ensure!(server.seen().len() <= 1000, "{} requests arrived", server.seen().len());
    if let Err(text) = over {
        ensure!(text.contains("2000") || text.contains("1000"), "{text}");
        return Ok(text);
    }
    let seen = over?;
    let Told::Many { kinds, last } = &seen[0].outcome else { return Err(format!("{:?}", seen[0].outcome)) };
    ensure!(server.seen().len() == 1000, "{} requests arrived", server.seen().len());
    let refused = kinds.get("exhausted").or_else(|| kinds.get("internal")).copied();
    ensure!(kinds.get("ok") == Some(&1000) && refused == Some(2000), "{kinds:?}");
    ensure!((last.contains("1000") || last.contains("2000")) && last.contains("plugin `hostile`"), "{last}");
    Ok(last.clone())
}

async fn parallel(lab: Arc<Lab>, door: Door) -> Outcome {
    let pause = std::time::Duration::from_millis(20);
    let (server, most) = Server::counting(pause, reply(200, "", b"slow")).await;
    let plugin = door.guest(&lab, &lab.runtime, &json!([{"host": "127.0.0.1", "scheme": "http", "port": server.port}]));
    let step = Step::HttpMany { requests: vec![Request::get(server.url("/"))], times: 200 };
    let seen = play(&plugin, &script(vec![step])).await.map_err(|error| error.to_string())?;
    let Told::Many { kinds, .. } = &seen[0].outcome else { return Err(format!("{:?}", seen[0].outcome)) };
    ensure!(kinds.get("ok") == Some(&200), "{kinds:?}");
    let most = most.load(std::sync::atomic::Ordering::SeqCst);
    ensure!((2..=16).contains(&most), "{most} at once");
    Ok(format!("200 requests, {most} of them at once at the most"))
}

async fn large_request(lab: Arc<Lab>, door: Door) -> Outcome {
    let plugin = door.guest(
        &lab,
        &lab.runtime,
        &json!([{"host": "127.0.0.1", "scheme": "http", "port": lab.victim.port, "methods": ["POST"]}]),
    );
    let request = Request {
        method: "POST".to_owned(),
        body: "x".repeat(1 << 10),
        copies: 9 << 10,
        ..Request::get(lab.victim.url("/"))
    };
    let seen = play(&plugin, &script(vec![Step::Http(request)])).await.map_err(|error| error.to_string())?;
    door.failed(&seen[0].outcome, &["too-large"], &["limit"])
}
