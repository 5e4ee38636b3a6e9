//! Probes in JavaScript and Python, made by the tools of their languages: they load under a grant, are called, see the one
//! door, and are told from their bytes. They run where `cargo xtask setup languages` was, and say so loudly where not.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

mod common;

use basb_capabilities::Capability;
use basb_core::Timestamp;
use basb_guest_build::languages::{Language, build};
use basb_runtime::wit::types::Verdict;
use basb_runtime::worlds::context;
use basb_runtime::{ImportClass, Kind, Manifest, Plugin, Replay, Runtime, inspect};
use common::{generous, request, runtime, target};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

fn guest(language: Language) -> Option<Vec<u8>> {
    let manifest = Manifest::parse(&language.manifest()).unwrap();
    build(language).map(|component| manifest.append_to(&component))
}

/// A service that answers every request with this status.
async fn service(status: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = Vec::new();
            while !seen.ends_with(b"\r\n\r\n") {
                seen.push(stream.read_u8().await.unwrap());
            }
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 5\r\nconnection: close\r\n\r\nalive");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    port
}

fn load(runtime: &Runtime, guest: &[u8], port: u16) -> Plugin {
    let grant = json!({"http": [{"host": "127.0.0.1", "scheme": "http", "port": port, "path": "/health"}]});
    runtime.load_blocking(guest, request(Kind::Probe, grant)).unwrap_or_else(|error| panic!("{error}"))
}

async fn works(language: Language) {
    let Some(guest) = guest(language) else { return };
    let runtime = runtime();
    let refused = runtime.load_blocking(&guest, request(Kind::Probe, json!({}))).unwrap_err();
    assert_eq!(refused.code(), "plugin/not-granted", "{refused}");
    assert!(refused.to_string().contains("`http`") && !refused.to_string().contains("`tcp`"), "{refused}");
    let port = service("200 OK").await;
    let plugin = load(&runtime, &guest, port);
    let probe = plugin.probe().unwrap();
    let info = probe.describe(&generous()).await.unwrap().value;
    assert_eq!(info.values[0].name, "latency");

    let check = async |url: String, config: &str| {
        let cx = context(Timestamp(1_700_000_000_000), &generous(), config.to_owned());
        probe.check(&generous(), cx, target(&url)).await.unwrap_or_else(|error| panic!("{language:?}: {error}"))
    };
    let url = format!("http://127.0.0.1:{port}");
    let called = check(url.clone(), "{}").await;
    assert_eq!((called.value.verdict, called.value.summary.as_str()), (Verdict::Pass, "status 200"));
    assert_eq!(called.value.facts, [("body".to_owned(), "alive".to_owned())]);
    assert!(called.value.values[0].1 > 0.0, "{:?}", called.value);
    assert_eq!(called.report.last_lines[0].text, "/health was answered with 200");
    assert_eq!((called.report.calls.len(), called.report.calls[0].outcome.as_str()), (1, "200"));
    // What the grant does not cover is told to the guest as an error of the interface, with the lines that would.
    let denied = check(url, r#"{"path": "/admin"}"#).await;
    assert_eq!(denied.value.verdict, Verdict::Error);
    assert!(
        denied.value.summary.starts_with("denied: ") && denied.value.summary.contains("path: /admin"),
        "{denied:?}"
    );

    // Many at once, each in a store of its own: they wait for room and do not fail for want of it.
    let probe = &probe;
    let calls = (0..24).map(|_| async move {
        let cx = context(Timestamp(0), &generous(), "{}".to_owned());
        probe.check(&generous(), cx, target(&format!("http://127.0.0.1:{port}"))).await
    });
    for called in futures_util::future::join_all(calls).await {
        assert_eq!(called.unwrap_or_else(|error| panic!("{language:?}: {error}")).value.verdict, Verdict::Pass);
    }
}

#[tokio::test]
async fn a_probe_in_javascript() {
    works(Language::JavaScript).await;
}

#[tokio::test]
async fn a_probe_in_python() {
    works(Language::Python).await;
}

#[tokio::test]
async fn a_probe_in_python_without_wasi() {
    works(Language::PythonStubWasi).await;
}

#[test]
fn the_bytes_tell_what_they_can_do() {
    for language in Language::ALL {
        let Some(guest) = guest(language) else { continue };
        let inspection = inspect(&guest).unwrap();
        assert_eq!(inspection.capabilities(), [Capability::Log, Capability::Http], "{language:?}");
        let foreign: Vec<_> = inspection.foreign().map(|import| import.name.as_str()).collect();
        let inert = inspection.imports.iter().filter(|import| import.class() == ImportClass::Inert).count();
        assert_eq!(foreign, [""; 0], "{language:?}");
        match language {
            Language::JavaScript | Language::PythonStubWasi => assert_eq!(inert, 0, "{language:?}"),
            Language::Python => assert!(inert > 10, "{language:?}: {inert}"),
        }
        assert_eq!(inspection.replay(), Replay::Exact, "{language:?}");
    }
}
