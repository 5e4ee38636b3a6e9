//! Every function of every capability against a grant that grants nothing: all but the log are denied, none of them
//! reaches anything, and the denial holds lines that a grant understands.

use basb_capabilities::{
    CallScope, Caller, Capabilities, Capability, Grants, LogLevel, Mode, Options, Verdict, exec, files, http, smtp, tcp,
};
use basb_core::Digest;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// While a plugin is started, even what is granted is out of reach.
#[tokio::test]
async fn nothing_is_possible_before_there_is_a_run() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "content").unwrap();
    let all = Capabilities::new(Options::new(folder.path()));
    let grants = Grants::parse(&serde_json::json!({
        "http": [{"host": "127.0.0.1", "scheme": "http", "port": 9}],
        "tcp": [{"host": "127.0.0.1", "port": 9, "effect": "read"}],
        "exec": [{"program": "sh", "path": "/bin/sh", "args": ["**"], "effect": "read"}],
        "files": [{"folder": "f", "path": ".", "access": "read-write"}],
        "smtp": [{"server": "s", "host": "127.0.0.1", "port": 9, "tls": "none"}],
    }));
    let caller = Caller { plugin: "somebody".into(), digest: Arc::new(Digest::of(b"")), call: "describe" };
    let deadline = Instant::now() + Duration::from_secs(60);
    let scope = CallScope::new(caller, Arc::new(grants.unwrap()), deadline).with_mode(Mode::Sealed);
    let get = http::Request {
        method: "GET".to_owned(),
        url: "http://127.0.0.1:9/".to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        timeout: None,
    };
    let timeout = Duration::from_secs(1);
    let exchange = tcp::Exchange { host: "127.0.0.1".to_owned(), port: 9, send: Vec::new(), read_limit: 1, timeout };
    let (program, args) = ("sh".to_owned(), vec!["-c".to_owned(), "true".to_owned()]);
    let command = exec::Command { program, args, env: Vec::new(), stdin: Vec::new(), timeout };
    let message = smtp::Message {
        server: "s".to_owned(),
        from: "a@example.com".to_owned(),
        to: vec!["b@example.com".to_owned()],
        subject: String::new(),
        text: String::new(),
        headers: Vec::new(),
    };
    let files = all.files();
    let texts = [
        all.http().send(&scope, get).await.unwrap_err().to_string(),
        all.tcp().run(&scope, exchange).await.unwrap_err().to_string(),
        all.exec().run(&scope, command).await.unwrap_err().to_string(),
        all.smtp().send(&scope, message).await.unwrap_err().to_string(),
        files.read(&scope, "f", "file").await.unwrap_err().to_string(),
        files.list(&scope, "f", "").await.unwrap_err().to_string(),
        files.remove(&scope, "f", "file").await.unwrap_err().to_string(),
        files.write(&scope, "f", "x", Vec::new(), files::Expectation::Anything).await.unwrap_err().to_string(),
    ];
    for text in texts {
        assert!(text.contains("there is no run yet"), "{text}");
    }
    assert!(scope.counters.calls().iter().all(|call| call.verdict == Verdict::Denied && call.outcome == "denied"));
    all.log().write(&scope, LogLevel::Info, "the log is open").unwrap();
}

fn scope() -> CallScope {
    let caller = Caller { plugin: "nobody".into(), digest: Arc::new(Digest::of(b"")), call: "check" };
    CallScope::new(caller, Arc::new(Grants::default()), Instant::now() + Duration::from_secs(60))
}

#[tokio::test]
async fn nothing_is_possible_without_a_grant() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "content").unwrap();
    let mut options = Options::new(folder.path());
    options.sockets.insert("agent".to_owned(), folder.path().join("agent.sock"));
    let all = Capabilities::new(options);
    let scope = scope();
    let get = |url: &str| http::Request {
        method: "GET".to_owned(),
        url: url.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        timeout: None,
    };
    let mut denials = Vec::new();
    for url in ["http://127.0.0.1:1/", "https://example.com/", "http://agent.socket.internal/", "http://[::1]:1/"] {
        match all.http().send(&scope, get(url)).await {
            Err(http::HttpError::Denied(text)) => denials.push((Capability::Http, text)),
            other => panic!("{url}: {other:?}"),
        }
    }
    for result in all.http().send_many(&scope, vec![get("http://127.0.0.1:1/"); 2]).await {
        assert!(matches!(result, Err(http::HttpError::Denied(_))), "{result:?}");
    }
    let exchange = tcp::Exchange {
        host: "localhost".to_owned(),
        port: 22,
        send: Vec::new(),
        read_limit: 1,
        timeout: Duration::from_secs(1),
    };
    match all.tcp().run(&scope, exchange).await {
        Err(tcp::TcpError::Denied(text)) => denials.push((Capability::Tcp, text)),
        other => panic!("{other:?}"),
    }
    let command = exec::Command {
        program: "sh".to_owned(),
        args: vec!["-c".to_owned(), "true".to_owned()],
        env: Vec::new(),
        stdin: Vec::new(),
        timeout: Duration::from_secs(1),
    };
    match all.exec().run(&scope, command).await {
        Err(exec::ExecError::Denied(text)) => denials.push((Capability::Exec, text)),
        other => panic!("{other:?}"),
    }
    let files = all.files();
    let results = [
        files.read(&scope, ".", "file").await.map(|_| ()),
        files.write(&scope, ".", "file", Vec::new(), files::Expectation::Anything).await.map(|_| ()),
        files.list(&scope, ".", "").await.map(|_| ()),
        files.remove(&scope, ".", "file").await,
    ];
    for result in results {
        match result {
            Err(files::FilesError::Denied(text)) => denials.push((Capability::Files, text)),
            other => panic!("{other:?}"),
        }
    }
    let message = smtp::Message {
        server: "office".to_owned(),
        from: "a@example.com".to_owned(),
        to: vec!["b@example.com".to_owned()],
        subject: String::new(),
        text: String::new(),
        headers: Vec::new(),
    };
    match all.smtp().send(&scope, message).await {
        Err(smtp::SmtpError::Denied(text)) => denials.push((Capability::Smtp, text)),
        other => panic!("{other:?}"),
    }
    for (capability, text) in denials {
        for part in
            ["plugin `nobody`", "in `check`", "plugins:\n  nobody:\n    grants:", &format!("\n      {capability}:\n")]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    assert!(
        scope.counters.last_calls().iter().all(|call| call.outcome == "denied"),
        "{:?}",
        scope.counters.last_calls()
    );
    assert_eq!(std::fs::read(folder.path().join("file")).unwrap(), b"content");
    all.log().write(&scope, LogLevel::Info, "the log needs no grant").unwrap();
}
