//! Every function of every capability against a grant that grants nothing: all but the log are denied, none of them
//! reaches anything, and the denial holds lines that a grant understands.

use basb_capabilities::{
    CallScope, Caller, Capabilities, Capability, Grants, LogLevel, Options, exec, files, http, smtp, tcp,
};
use basb_core::Digest;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
