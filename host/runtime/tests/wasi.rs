//! Guests that bring WASI 0.2 along: everything is there, nothing of it is real, and their own HTTP client meets the one
//! door.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use basb_core::Timestamp;
use basb_runtime::worlds::context;
use basb_runtime::{CallOptions, Failure, ImportClass, Inspection, Kind, Plugin, Replay, inspect};
use common::{check, generous, request, runtime, target, wasi_guest};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

fn plain() -> Option<Plugin> {
    let guest = wasi_guest("guest-wasi-std")?;
    Some(runtime().load_blocking(&guest, request(Kind::Probe, json!({}))).unwrap())
}

fn own_client(grants: serde_json::Value) -> Option<Plugin> {
    let guest = wasi_guest("guest-wasi-http")?;
    Some(runtime().load_blocking(&guest, request(Kind::Probe, grants)).unwrap())
}

async fn look(plugin: &Plugin, what: &str) -> String {
    check(plugin, what, &generous(), "http://x.invalid").await.unwrap().value.summary
}

fn classes(inspection: &Inspection) -> Vec<(&str, ImportClass)> {
    inspection.imports.iter().map(|import| (import.name.as_str(), import.class())).collect()
}

#[test]
fn the_bytes_tell_the_baseline_from_a_client() {
    let (Some(plain), Some(http)) = (wasi_guest("guest-wasi-std"), wasi_guest("guest-wasi-http")) else { return };
    let plain = inspect(&plain).unwrap();
    assert_eq!(plain.capabilities(), [], "{:?}", classes(&plain));
    assert!(plain.inert().count() > 10, "{:?}", classes(&plain));
    assert_eq!((plain.foreign().count(), plain.replay()), (0, Replay::Exact));
    let http = inspect(&http).unwrap();
    assert_eq!(http.capabilities(), [basb_capabilities::Capability::Http], "{:?}", classes(&http));
    assert_eq!((http.foreign().count(), http.replay()), (0, Replay::BestEffort));
}

#[test]
fn a_client_of_its_own_needs_the_grant() {
    let Some(guest) = wasi_guest("guest-wasi-http") else { return };
    let error = runtime().load_blocking(&guest, request(Kind::Probe, json!({}))).unwrap_err();
    assert_eq!(error.code(), "plugin/not-granted");
    assert!(error.to_string().contains("`http` (brings its own client)"), "{error}");
}

#[tokio::test]
async fn nothing_of_the_host_is_seen() {
    let Some(plugin) = plain() else { return };
    assert!(look(&plugin, "env").await.starts_with("[] [] "), "{}", look(&plugin, "env").await);
    let files = look(&plugin, "files").await;
    assert!(files.ends_with(" 0") && !files.contains("Ok("), "{files}");
    let net = look(&plugin, "net").await;
    assert!(net.ends_with(" true") && !net.contains("Ok("), "{net}");
    assert_eq!(look(&plugin, "stdin").await, "Ok(0) \"\"");
    assert_eq!(look(&plugin, "words").await, "Err(\"closed\")");
}

#[tokio::test]
async fn the_same_call_sees_the_same_time_and_throws_the_same_dice() {
    let Some(plugin) = plain() else { return };
    let at = async |now, what: &str| {
        let cx = context(Timestamp(now), &generous(), format!("\"{what}\""));
        plugin.probe().unwrap().check(&generous(), cx, target("http://x.invalid")).await.unwrap().value.summary
    };
    let time = at(1_700_000_000_000, "time").await;
    assert!(time.starts_with("1700000000000 ") && time.ends_with(" true"), "{time}");
    assert_eq!(time, at(1_700_000_000_000, "time").await);
    assert!(at(0, "time").await.starts_with("0 "));
    let dice = at(1, "dice").await;
    assert_eq!(dice, at(1, "dice").await);
    assert_ne!(dice, at(2, "dice").await);
    assert_eq!(at(1, "sleep").await, "true");
}

#[tokio::test]
async fn a_sleep_ends_with_the_call() {
    let Some(plugin) = plain() else { return };
    let short = CallOptions::new(Duration::from_millis(300));
    let start = Instant::now();
    // Whether the guest still gets to say that it is awake is a matter of microseconds.
    match check(&plugin, "sleep-for-ever", &short, "x").await {
        Ok(called) => assert_eq!(called.value.summary, "awake"),
        Err(error) => assert_eq!(error.failure, Failure::TimedOut(Duration::from_millis(300))),
    }
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn what_is_printed_goes_to_the_log_and_no_further() {
    let Some(plugin) = plain() else { return };
    let called = check(&plugin, "print", &generous(), "x").await.unwrap();
    let lines: Vec<_> = called.report.last_lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(lines, ["one\\u{1b}[2J line", "and half a line"]);
    for flood in ["flood", "one-long-line"] {
        let error = check(&plugin, flood, &generous(), "x").await.unwrap_err();
        assert_eq!(error.code(), "plugin/log-flood", "{flood}: {error}");
    }
}

#[tokio::test]
async fn the_end_of_a_guest_is_told() {
    let Some(plugin) = plain() else { return };
    let error = check(&plugin, "panic", &generous(), "x").await.unwrap_err();
    let Failure::Panic(message) = &error.failure else { panic!("{error:?}") };
    assert!(message.contains("the sky fell") && message.contains("guest-wasi-std/src/lib.rs"), "{message}");
    let error = check(&plugin, "exit", &generous(), "x").await.unwrap_err();
    assert!(error.to_string().contains("ended itself with status"), "{error}");
    let error = check(&plugin, "much-randomness", &generous(), "x").await.unwrap_err();
    assert!(error.to_string().contains("random bytes at once"), "{error}");
}

#[tokio::test]
async fn handles_are_bounded() {
    let Some(plugin) = plain() else { return };
    for what in ["handles", "pollables"] {
        let error = check(&plugin, what, &generous(), "x").await.unwrap_err();
        assert_eq!(error.code(), "plugin/handles", "{what}: {error}");
    }
}

/// A server that answers everything with so many bytes and counts how many it served at once.
async fn server(body: usize, pause: Duration) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let most = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&most);
    tokio::spawn(async move {
        let now = Arc::new(AtomicUsize::new(0));
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (now, seen) = (Arc::clone(&now), Arc::clone(&seen));
            tokio::spawn(async move {
                let mut request = vec![0; 64 << 10];
                while let Ok(read @ 1..) = stream.read(&mut request).await {
                    let text = String::from_utf8_lossy(&request[..read]).to_lowercase();
                    seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::time::sleep(pause).await;
                    let told = if body == 0 { text.into_bytes() } else { vec![b'x'; body] };
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", told.len());
                    let _ = stream.write_all(&[head.as_bytes(), &told].concat()).await;
                    now.fetch_sub(1, Ordering::SeqCst);
                }
            });
        }
    });
    (url, most)
}

fn service() -> serde_json::Value {
    json!({"http": [{"target": "service", "methods": ["GET", "POST"]}]})
}

#[tokio::test]
async fn a_client_of_its_own_goes_through_the_one_door() {
    let Some(plugin) = own_client(service()) else { return };
    let (url, _) = server(0, Duration::ZERO).await;
    let called = check(&plugin, "get", &generous(), &url).await.unwrap();
    assert!(called.value.summary.starts_with("200 get / http/1.1"), "{}", called.value.summary);
    assert!(called.value.summary.contains("x-guest: wasi-http"), "{}", called.value.summary);
    assert_eq!(called.value.summary.matches("host: ").count(), 1, "{}", called.value.summary);
    let call = &called.report.calls[0];
    assert_eq!((call.what.as_str(), call.outcome.as_str()), (format!("GET {url}").as_str(), "200"));
    let posted = check(&plugin, "post", &generous(), &url).await.unwrap().value.summary;
    assert!(posted.contains("content-length: 5") && posted.ends_with("hello"), "{posted}");
    // An enforced dry run is one for it too.
    let dry = check(&plugin, "post", &generous().read_only(), &url).await.unwrap().value.summary;
    assert!(dry.contains("this call may only read"), "{dry}");
}

#[tokio::test]
async fn a_client_of_its_own_is_denied_in_the_same_words() {
    let Some(plugin) = own_client(service()) else { return };
    let elsewhere = generous().with_target("http://127.0.0.1:8/".parse().unwrap());
    let called = check(&plugin, "get", &elsewhere, "http://127.0.0.1:9/health").await.unwrap();
    for part in ["plugin `guest`", "in `check`", "GET http://127.0.0.1:9/health", "scheme: http", "port: 9"] {
        assert!(called.value.summary.contains(part), "{part}: {}", called.value.summary);
    }
    assert_eq!(called.report.calls[0].outcome, "denied");
    for (what, url) in [
        ("get", "https://127.0.0.1:8/"),
        ("get", "http://localhost:8/"),
        ("get", "http://127.0.0.1:8.nip.io/"),
        ("get", "ftp://127.0.0.1:8/"),
        ("connect", "http://127.0.0.1:8/"),
        ("userinfo", "http://127.0.0.1:9/"),
    ] {
        let words = check(&plugin, what, &elsewhere, url).await.unwrap().value.summary;
        assert!(words.starts_with("error: "), "{what} {url}: {words}");
    }
    let headers = check(&plugin, "headers", &elsewhere, "http://127.0.0.1:8/").await.unwrap().value.summary;
    assert_eq!(headers.matches("Forbidden").count(), 5, "{headers}");
    assert!(headers.ends_with("set"), "SDKs set an authorization that the host replaces: {headers}");
}

/// These tests are to be run with `RUST_BACKTRACE=1` as well: whoever debugs the host must not show it to its guests.
#[tokio::test]
async fn an_error_of_the_host_is_no_backtrace() {
    let Some(plugin) = own_client(service()) else { return };
    let words = check(&plugin, "words", &generous(), "http://127.0.0.1:8/").await.unwrap().value.summary;
    assert!(!words.is_empty() && !words.starts_with("error: "), "{words}");
    for part in ["backtrace", ".rs", "wasmtime", "0x", "/"] {
        assert!(!words.contains(part), "{part}: {words}");
    }
}

#[tokio::test]
async fn what_a_client_of_its_own_holds_is_bounded() {
    let Some(plugin) = own_client(service()) else { return };
    let (url, _) = server(1 << 20, Duration::ZERO).await;
    let words = check(&plugin, "hoard", &generous(), &url).await.unwrap().value.summary;
    assert!(words.contains("error: after 32: ") && words.contains("32 MiB of answers"), "{words}");
    let words = check(&plugin, "large-post", &generous(), &url).await.unwrap().value.summary;
    assert!(words.starts_with("error: "), "{words}");
}

#[tokio::test]
async fn a_client_of_its_own_has_few_requests_in_flight() {
    let Some(plugin) = own_client(service()) else { return };
    let (url, most) = server(1, Duration::from_millis(30)).await;
    assert_eq!(check(&plugin, "many", &generous(), &url).await.unwrap().value.summary, "50 answers");
    let most = most.load(Ordering::SeqCst);
    assert!((1..=16).contains(&most), "{most}");
}

#[tokio::test]
async fn a_client_of_its_own_is_not_waited_for() {
    let Some(plugin) = own_client(service()) else { return };
    let (url, _) = server(1, Duration::from_secs(1000)).await;
    let words = check(&plugin, "short", &generous(), &url).await.unwrap().value.summary;
    assert!(words.contains("HttpResponseTimeout"), "{words}");
    // What it sent and forgot ends with the call.
    assert_eq!(check(&plugin, "abandon", &generous(), &url).await.unwrap().value.summary, "abandoned");
}

#[tokio::test]
async fn a_description_gets_nothing_out() {
    let Some(plugin) = own_client(json!({"http": [{"host": "127.0.0.1", "scheme": "http", "port": 9}]})) else {
        return;
    };
    let info = plugin.probe().unwrap().describe(&generous()).await.unwrap();
    assert!(info.value.extras[0].1.contains("InternalError"), "{:?}", info.value.extras);
    assert_eq!(info.report.calls[0].outcome, "denied");
}
