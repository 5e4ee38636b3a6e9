use super::*;
use crate::scope::Caller;
use crate::{Capabilities, Grants, Options};
use basb_core::Digest;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};

/// A server that answers every request with the next of its answers, the last one for good. Dropping it ends it.
struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
    seen: Arc<std::sync::Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: Vec<u8>,
    seen: Arc<std::sync::Mutex<Vec<String>>>,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let count = stream.read(&mut buffer).await.unwrap_or(0);
        if count == 0 {
            return;
        }
        seen.lock().unwrap().push(String::from_utf8_lossy(&buffer[..count]).into_owned());
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

impl Server {
    async fn start(answer: impl Into<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let (count, notes, answer) = (Arc::clone(&connections), Arc::clone(&seen), answer.into());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, answer.clone(), Arc::clone(&notes)));
            }
        });
        Self { port, connections, seen, task }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn grant(&self) -> Value {
        json!([{"host": "127.0.0.1", "scheme": "http", "port": self.port, "methods": ["GET", "POST", "HEAD"]}])
    }
}

fn scope(http: Value) -> CallScope {
    let caller = Caller { plugin: "probe".into(), digest: Arc::new(Digest::of(b"")), call: "check" };
    let grants = Grants::parse(&json!({ "http": http })).unwrap();
    CallScope::new(caller, Arc::new(grants), Instant::now() + Duration::from_secs(60))
}

fn all(limits: Limits) -> Capabilities {
    Capabilities::new(Options { limits, ..Options::new("/") })
}

fn get(url: impl Into<String>) -> Request {
    Request { method: "GET".to_owned(), url: url.into(), headers: Vec::new(), body: Vec::new(), timeout: None }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Test: ja\r\nConnection: keep-alive\r\n\r\nok";

#[tokio::test]
async fn a_granted_request_is_answered_and_its_connection_used_again() {
    let server = Server::start(OK).await;
    let (all, scope) = (all(Limits::default()), scope(server.grant()));
    let mut request = get(server.url("/a?b=c"));
    request.headers.push(("x-one".to_owned(), "1".to_owned()));
    let first = all.http().send(&scope, request).await.unwrap();
    assert_eq!((first.status, first.body.as_slice()), (200, &b"ok"[..]));
    assert_eq!(first.headers, [("content-length".to_owned(), "2".to_owned()), ("x-test".to_owned(), "ja".to_owned())]);
    assert!(
        first.timing.connected > 0
            && first.timing.connected <= first.timing.head
            && first.timing.head <= first.timing.total
    );
    let second = all.http().send(&scope, get(server.url("/"))).await.unwrap();
    assert_eq!(second.timing.connected, 0);
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    let seen = server.seen.lock().unwrap().clone();
    assert!(seen[0].starts_with("GET /a?b=c HTTP/1.1\r\n") && seen[0].contains("x-one: 1"), "{seen:?}");
    assert!(seen[0].contains(&format!("host: 127.0.0.1:{}", server.port)), "{seen:?}");
    let calls: Vec<_> =
        scope.counters.last_calls().into_iter().map(|call| format!("{} {}", call.what, call.outcome)).collect();
    assert_eq!(calls[0], format!("GET http://127.0.0.1:{}/a 200", server.port));
}

#[tokio::test]
async fn a_connection_of_one_grant_is_not_lent_to_another() {
    let server = Server::start(OK).await;
    let all = all(Limits::default());
    let localhost = json!([{"host": "localhost", "scheme": "http", "port": server.port}]);
    let url = format!("http://localhost:{}/", server.port);
    all.http().send(&scope(localhost), get(&url)).await.unwrap();
    // Covers the same name by a pattern only: the pooled connection would be there, the right to it is not.
    let private = json!([{"host": "*.example", "scheme": "http", "port": server.port, "resolves": "private"}]);
    assert!(matches!(all.http().send(&scope(private), get(&url)).await, Err(HttpError::Denied(_))));
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_redirect_is_an_answer_like_any_other() {
    let server =
        Server::start("HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n").await;
    let (all, scope) = (all(Limits::default()), scope(server.grant()));
    let response = all.http().send(&scope, get(server.url("/"))).await.unwrap();
    assert_eq!(response.status, 302);
    let hop = all.http().send(&scope, get("http://169.254.169.254/")).await;
    assert!(matches!(hop, Err(HttpError::Denied(_))));
}

#[tokio::test]
async fn a_metadata_service_is_out_of_reach_even_if_granted() {
    let all = all(Limits::default());
    for host in ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254"] {
        let scope = scope(json!([{"host": host, "scheme": "http"}]));
        let bare = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let error = all.http().send(&scope, get(format!("http://{bare}/latest"))).await.unwrap_err();
        assert!(matches!(&error, HttpError::Denied(text) if text.contains("metadata")), "{host}: {error:?}");
    }
}

#[tokio::test]
async fn sizes_are_bounded() {
    let limits = Limits { response_bytes: 10, request_bytes: 10, ..Limits::default() };
    let big = Server::start("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world").await;
    let scope1 = scope(big.grant());
    assert!(matches!(all(limits.clone()).http().send(&scope1, get(big.url("/"))).await, Err(HttpError::TooLarge(_))));
    let chunked =
        Server::start("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n6\r\nworld!\r\n0\r\n\r\n")
            .await;
    let scope2 = scope(chunked.grant());
    assert!(matches!(
        all(limits.clone()).http().send(&scope2, get(chunked.url("/"))).await,
        Err(HttpError::TooLarge(_))
    ));
    let mut request = get(big.url("/"));
    request.method = "POST".to_owned();
    request.body = vec![0; 11];
    assert!(matches!(all(limits).http().send(&scope1, request).await, Err(HttpError::TooLarge(_))));
    let head = Server::start(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(200 << 10))).await;
    let error = all(Limits::default()).http().send(&scope(head.grant()), get(head.url("/"))).await.unwrap_err();
    assert!(matches!(error, HttpError::TooLarge(_)), "{error:?}");
    let many = Server::start(format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(500))).await;
    let error = all(Limits::default()).http().send(&scope(many.grant()), get(many.url("/"))).await.unwrap_err();
    assert!(matches!(error, HttpError::TooLarge(_)), "{error:?}");
}

#[tokio::test]
async fn time_is_bounded_by_request_and_by_call() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let grant = json!([{"host": "127.0.0.1", "scheme": "http", "port": port}]);
    let all = all(Limits::default());
    let mut request = get(format!("http://127.0.0.1:{port}/"));
    request.timeout = Some(Duration::from_millis(50));
    let error = all.http().send(&scope(grant.clone()), request.clone()).await.unwrap_err();
    assert!(matches!(&error, HttpError::TimedOut(text) if text.contains("50 ms")), "{error:?}");
    // A plugin cannot ask for more time than its call has.
    let mut short = scope(grant);
    short.deadline = Instant::now() + Duration::from_millis(50);
    request.timeout = Some(Duration::from_secs(3600));
    assert!(matches!(all.http().send(&short, request).await, Err(HttpError::TimedOut(_))));
}

#[tokio::test]
async fn failures_have_their_own_names() {
    let all = all(Limits::default());
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let grant = json!([{"host": "127.0.0.1", "scheme": "http", "port": port}]);
    let error = all.http().send(&scope(grant), get(format!("http://127.0.0.1:{port}/"))).await.unwrap_err();
    assert!(matches!(&error, HttpError::Connect(text) if text.contains("nothing listens there")), "{error:?}");

    let plain = Server::start(OK).await;
    let grant = json!([{"host": "127.0.0.1", "port": plain.port}]);
    let error = all.http().send(&scope(grant), get(format!("https://127.0.0.1:{}/", plain.port))).await.unwrap_err();
    assert!(matches!(error, HttpError::Tls(_)), "{error:?}");

    let garbage = Server::start("SSH-2.0-OpenSSH\r\n").await;
    let error = all.http().send(&scope(garbage.grant()), get(garbage.url("/"))).await.unwrap_err();
    assert!(matches!(error, HttpError::Broken(_)), "{error:?}");

    let cut = Server::start("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nab").await;
    let mut request = get(cut.url("/"));
    request.timeout = Some(Duration::from_millis(300));
    let error = all.http().send(&scope(cut.grant()), request).await.unwrap_err();
    assert!(matches!(error, HttpError::TimedOut(_) | HttpError::Broken(_)), "{error:?}");

    for (method, url, part) in [
        ("get", "http://a.invalid/", "upper-case"),
        ("CONNECT", "http://a.invalid/", "not a method"),
        ("GET", "http://user@a.invalid/", "user information"),
        ("GET", "http://a.invalid/../x", "`..`"),
        ("GET", "ftp://a.invalid/", "neither http nor https"),
    ] {
        let error =
            all.http().send(&scope(json!([])), Request { method: method.to_owned(), ..get(url) }).await.unwrap_err();
        assert!(matches!(&error, HttpError::Invalid(text) if text.contains(part)), "{error:?}");
    }
    let mut request = get(plain.url("/"));
    request.headers.push(("Host".to_owned(), "evil".to_owned()));
    assert!(matches!(all.http().send(&scope(plain.grant()), request).await, Err(HttpError::Invalid(_))));
}

#[tokio::test]
async fn a_unix_socket_is_reached_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, OK.as_bytes().to_vec(), Arc::clone(&notes)));
        }
    });
    let mut options = Options::new("/");
    options.sockets.insert("agent".to_owned(), path);
    options.sockets.insert("gone".to_owned(), folder.path().join("gone.sock"));
    let all = Capabilities::new(options);
    let granted = scope(json!([{"socket": "agent", "path": "/v1/**"}, {"socket": "gone"}, {"socket": "unknown"}]));
    let response = all.http().send(&granted, get("http://agent.socket.internal/v1/services")).await.unwrap();
    assert_eq!(response.status, 200);
    assert!(seen.lock().unwrap()[0].starts_with("GET /v1/services HTTP/1.1\r\n"), "{seen:?}");
    let error = all.http().send(&granted, get("http://agent.socket.internal/v2")).await.unwrap_err();
    assert!(matches!(&error, HttpError::Denied(text) if text.contains("- socket: agent")), "{error:?}");
    let error = all.http().send(&granted, get("http://gone.socket.internal/")).await.unwrap_err();
    assert!(matches!(&error, HttpError::Connect(text) if text.contains("gone.sock")), "{error:?}");
    let error = all.http().send(&granted, get("http://unknown.socket.internal/")).await.unwrap_err();
    assert!(matches!(&error, HttpError::Connect(text) if text.contains("known: agent, gone")), "{error:?}");
    server.abort();
}

/// Two plugins, each with a socket of its own under one name: neither ever uses the other's connection.
#[tokio::test]
async fn a_socket_by_its_path_is_nobody_elses() {
    let folder = tempfile::tempdir().unwrap();
    let all = all(Limits::default());
    let mut scopes = Vec::new();
    let mut servers = Vec::new();
    for status in ["201 Created", "202 Accepted"] {
        let path = folder.path().join(&status[..3]);
        let listener = UnixListener::bind(&path).unwrap();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        servers.push(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answer.clone().into_bytes(), Arc::default()));
            }
        }));
        scopes.push(scope(json!([{"socket": "engine", "at": path.to_str().unwrap()}])));
    }
    for _ in 0..3 {
        for (scope, status) in scopes.iter().zip([201, 202]) {
            let response = all.http().send(scope, get("http://engine.socket.internal/x")).await.unwrap();
            assert_eq!(response.status, status);
        }
    }
    // The name under which the host itself keeps such connections leads nowhere.
    let inner = basb_core::Digest::of(folder.path().join("201").as_os_str().as_encoded_bytes());
    let inner = format!("at-{}", &inner.hex()[..40]);
    let tried = scope(json!([{"socket": inner}]));
    let error = all.http().send(&tried, get(format!("http://{inner}.socket.internal/x"))).await.unwrap_err();
    assert!(matches!(&error, HttpError::Connect(text) if text.contains("there is no socket")), "{error:?}");
    let gone = scope(json!([{"socket": "engine", "at": folder.path().join("gone").to_str().unwrap()}]));
    let error = all.http().send(&gone, get("http://engine.socket.internal/x")).await.unwrap_err();
    assert!(matches!(&error, HttpError::Connect(text) if text.contains("gone")), "{error:?}");
    servers.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn requests_are_counted_over_the_whole_call() {
    let server = Server::start(OK).await;
    let all = all(Limits { requests: 3, ..Limits::default() });
    let scope = scope(server.grant());
    let results = all.http().send_many(&scope, vec![get(server.url("/")); 5]).await;
    let words: Vec<_> = results.iter().map(|result| result.as_ref().map_or_else(HttpError::word, |_| "ok")).collect();
    assert_eq!(words, ["ok", "ok", "ok", "exhausted", "exhausted"]);
}

/// A server that answers once on each connection, reads the next request, and closes without a word.
#[tokio::test]
async fn a_read_survives_a_connection_that_was_closed_meanwhile() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 1024];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(OK.as_bytes()).await;
            let _ = stream.read(&mut buffer).await;
        }
    });
    let all = all(Limits::default());
    let scope = scope(json!([{"host": "127.0.0.1", "scheme": "http", "port": port, "methods": ["GET", "POST"]}]));
    let url = format!("http://127.0.0.1:{port}/");
    for _ in 0..5 {
        assert_eq!(all.http().send(&scope, get(&url)).await.unwrap().status, 200);
    }
    // What may have had an effect is not repeated.
    let post = Request { method: "POST".to_owned(), ..get(&url) };
    let error = all.http().send(&scope, post).await.unwrap_err();
    assert!(matches!(&error, HttpError::Broken(text) if text.contains("in doubt")), "{error:?}");
    server.abort();
}

#[tokio::test]
async fn tls_is_spoken_with_whom_the_roots_vouch_for() {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
    let authority = CertificateDer::from(include_bytes!("testdata/test-only-authority.der").as_slice());
    let leaf = CertificateDer::from(include_bytes!("testdata/test-only-localhost.der").as_slice());
    let key = include_bytes!("testdata/test-only-localhost-key.der").as_slice();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key));
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                tokio::spawn(serve(stream, OK.as_bytes().to_vec(), Arc::default()));
            }
        }
    });
    let trusting = Capabilities::new(Options { roots: Roots::Only(vec![authority]), ..Options::new("/") });
    let doubting = Capabilities::new(Options { roots: Roots::Only(Vec::new()), ..Options::new("/") });
    for host in ["127.0.0.1", "localhost"] {
        let scope = scope(json!([{"host": host, "port": port}]));
        let url = format!("https://{host}:{port}/");
        assert_eq!(trusting.http().send(&scope, get(&url)).await.unwrap().status, 200, "{host}");
        let error = doubting.http().send(&scope, get(&url)).await.unwrap_err();
        assert!(matches!(&error, HttpError::Tls(_)), "{error:?}");
    }
    server.abort();
}

mod door;
