//! Calls of well-behaved and of hostile guests: what comes back, and what a failure says.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use basb_runtime::wit::strategy::{Action, LastOutcome, RolloutView, ServiceView, Side};
use basb_runtime::{CallOptions, Failure, Kind};
use common::{check, generous, guest, misbehave, misbehave_grants, request, runtime};
use serde_json::json;
use std::time::Duration;

fn view() -> RolloutView {
    let service = ServiceView {
        name: "capture".to_owned(),
        replicas: 2,
        abilities: vec!["split-traffic".to_owned()],
        weight_granularity: 1,
        analyses: Vec::new(),
        initial: false,
    };
    let candidate = Side { revision: "r2".to_owned(), desired: 2, available: 2, weight: 1234 };
    RolloutView { service, now: 1, candidate, stable: None, last: LastOutcome::None, extras: Vec::new() }
}

#[tokio::test]
async fn a_pure_plugin_answers() {
    let runtime = runtime();
    let plugin = runtime.load(guest("guest-pure-echo").to_vec(), request(Kind::Strategy, json!({}))).await.unwrap();
    assert_eq!(plugin.manifest().name, "pure-echo");
    assert!(plugin.inspection().imports.iter().all(|import| import.functions.is_empty()), "{:?}", plugin.inspection());
    let strategy = plugin.strategy().unwrap();
    for _ in 0..100 {
        let state = Some("{\"step\":3}".to_owned());
        let called = strategy.next(&generous(), "{}".to_owned(), view(), state).await.unwrap();
        let decision = called.value.unwrap();
        assert_eq!(decision.action, Action::SetWeight(1234));
        assert_eq!(decision.state, "{\"step\":3}");
        assert_eq!(called.report.host_calls, 0);
    }
    assert_eq!(strategy.validate(&generous(), "{}".to_owned(), view().service).await.unwrap().value, []);
    assert!(plugin.probe().unwrap_err().to_string().contains("is a strategy, not a probe"));
}

#[tokio::test]
async fn a_panic_is_told_in_the_guests_own_words() {
    let plugin = misbehave(&runtime(), misbehave_grants());
    let error = check(&plugin, "panic", &generous(), "http://x.invalid").await.unwrap_err();
    let Failure::Panic(message) = &error.failure else { panic!("{error:?}") };
    assert!(message.contains("the sky fell on capture\\u{1b}[31m"), "{message}");
    assert!(message.contains("tests/guests/misbehave/src/lib.rs"), "{message}");
    let text = error.to_string();
    assert!(
        text.contains("plugin `guest`") && text.contains(plugin.digest().short()) && text.contains("in `check`"),
        "{text}"
    );
    assert_eq!(error.code(), "plugin/panic");
    // The next call has a store of its own.
    assert_eq!(check(&plugin, "nothing", &generous(), "x").await.unwrap().value.summary, "nothing");
}

#[tokio::test]
async fn a_loop_is_cut_off_and_holds_nobody_up() {
    let plugin = misbehave(&runtime(), misbehave_grants());
    let short = CallOptions::new(Duration::from_millis(300));
    let mut loops = Vec::new();
    for _ in 0..4 {
        let (plugin, short) = (plugin.clone(), short.clone());
        loops.push(tokio::spawn(async move { check(&plugin, "loop", &short, "x").await }));
    }
    // Meanwhile other calls get through.
    for _ in 0..20 {
        check(&plugin, "nothing", &generous(), "x").await.unwrap();
    }
    for looping in loops {
        let error = looping.await.unwrap().unwrap_err();
        assert_eq!(error.failure, Failure::TimedOut(Duration::from_millis(300)));
    }
}

#[tokio::test]
async fn memory_is_bounded() {
    let plugin = misbehave(&runtime(), misbehave_grants());
    let error = check(&plugin, "memory", &generous(), "x").await.unwrap_err();
    assert!(matches!(error.failure, Failure::Memory { limit, .. } if limit == 64 << 20), "{error:?}");
}

#[tokio::test]
async fn the_stack_is_bounded() {
    let plugin = misbehave(&runtime(), misbehave_grants());
    let error = check(&plugin, "recursion", &generous(), "x").await.unwrap_err();
    // A guest's own shadow stack may be used up before wasmtime's is.
    assert!(matches!(error.failure, Failure::Stack | Failure::Trap(_)), "{error:?}");
}

#[tokio::test]
async fn the_log_is_bounded_and_kept() {
    let plugin = misbehave(&runtime(), misbehave_grants());
    let error = check(&plugin, "log", &generous(), "x").await.unwrap_err();
    assert_eq!(error.code(), "plugin/log-flood", "{error:?}");
    assert_eq!(error.report.last_lines.len(), 20);
    let called = check(&plugin, "log-line", &generous(), "x").await.unwrap();
    assert_eq!(called.report.last_lines[0].text, "one \\u{1b}[2J line");
}

#[tokio::test]
async fn results_are_bounded() {
    let plugin = misbehave(&runtime(), misbehave_grants());
    for what in ["huge", "many"] {
        let error = check(&plugin, what, &generous(), "x").await.unwrap_err();
        assert!(matches!(error.failure, Failure::TooLarge { .. }), "{what}: {error:?}");
    }
}

#[tokio::test]
async fn a_denied_request_says_what_would_allow_it() {
    let plugin = misbehave(&runtime(), misbehave_grants());
    let own = check(&plugin, "get", &generous(), "http://127.0.0.1:9/health").await.unwrap().value.summary;
    assert!(own.contains("- target: service"), "what a call is about needs no address: {own}");
    let elsewhere = generous().with_target("http://127.0.0.1:8/".parse().unwrap());
    let called = check(&plugin, "get", &elsewhere, "http://127.0.0.1:9/health?token=secret").await.unwrap();
    let text = &called.value.summary;
    for part in [
        "Denied",
        "plugin `guest`",
        "in `check`",
        "GET http://127.0.0.1:9/health",
        "host: \\\"127.0.0.1\\\"",
        "scheme: http",
        "port: 9",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("secret"), "{text}");
    assert_eq!(called.report.last_calls[0].outcome, "denied");
    assert_eq!(called.report.last_calls[0].what, "GET http://127.0.0.1:9/health");
    for what in ["tcp", "exec"] {
        let called = check(&plugin, what, &generous(), "x").await.unwrap();
        assert!(called.value.summary.contains("Denied"), "{what}: {}", called.value.summary);
    }
}

#[tokio::test]
async fn requests_are_counted() {
    let plugin = misbehave(&runtime(), misbehave_grants());
    let called = check(&plugin, "flood", &generous(), "http://127.0.0.1:9/").await.unwrap();
    assert!(called.value.summary.contains("Exhausted"), "{}", called.value.summary);
    assert_eq!(called.report.host_calls, 3000);
    assert_eq!(called.report.last_calls.len(), 20);
}

#[tokio::test]
async fn a_request_that_is_never_answered_ends_with_the_call() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let grants = json!({
        "http": [{"target": "service"}],
        "tcp": [{"host": "allowed.invalid", "port": 1}],
        "exec": [{"program": "allowed", "path": "/bin/false"}]
    });
    let plugin = misbehave(&runtime(), grants);
    let url = format!("http://127.0.0.1:{port}/");
    let short = CallOptions::new(Duration::from_millis(400)).with_target(url.parse().unwrap());
    match check(&plugin, "hang", &short, &url).await {
        // Either the door's own timeout came first, or the call's.
        Ok(called) => assert!(called.value.summary.contains("TimedOut"), "{}", called.value.summary),
        Err(error) => {
            assert!(matches!(error.failure, Failure::TimedOut(_)), "{error:?}");
            assert!(error.evidence().iter().any(|line| line.contains("before the request")), "{:?}", error.evidence());
            assert!(error.evidence().iter().any(|line| line.contains(&format!("GET {url}"))), "{:?}", error.evidence());
        }
    }
}

#[tokio::test]
async fn a_guest_reaches_what_it_was_granted_and_only_in_the_granted_mode() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while stream.read(&mut request).await.unwrap_or(0) > 0 {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await.unwrap();
                }
            });
        }
    });
    let grants = json!({
        "http": [{"target": "service", "methods": ["GET", "POST"]}],
        "tcp": [{"target": "service"}],
        "exec": [{"program": "allowed", "path": "/bin/false"}]
    });
    let plugin = misbehave(&runtime(), grants);
    let url = format!("http://127.0.0.1:{port}/");
    let called = check(&plugin, "get", &generous(), &url).await.unwrap();
    assert_eq!(called.value.summary, "200 hello");
    assert_eq!(called.report.last_calls[0].outcome, "200");
    assert_eq!(
        check(&plugin, "many-requests", &generous(), &url).await.unwrap().value.summary,
        "[Ok(200), Ok(200), Ok(200)]"
    );
    assert_eq!(check(&plugin, "post", &generous(), &url).await.unwrap().value.summary, "Ok(200)");
    let dry = check(&plugin, "post", &generous().read_only(), &url).await.unwrap().value.summary;
    assert!(dry.contains("Denied") && dry.contains("this call may only read"), "{dry}");
    server.abort();
}
