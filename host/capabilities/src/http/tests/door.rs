//! The door with credentials behind it and hostile servers in front of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it did not test"
)]

use super::*;
use crate::network::Resolver;
use crate::{HostCall, Verdict};
use ::http::{HeaderMap, Method};
use basb_credentials::{CredentialName, Credentials, CredentialsConfig, SecretSource, placeholder};
use basb_redact::{Redactor, SecretName, SecretValue, TooShort};
use basb_secrets::{Ask, SecretError};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

const TOKEN: &str = "tok-5b1c7f0a9d3e";

/// Secrets from memory, known to the redactor once they are read.
#[derive(Debug)]
struct Fixed {
    values: BTreeMap<SecretName, SecretValue>,
    redactor: Redactor,
}

impl SecretSource for Fixed {
    fn secret<'a>(&'a self, name: &'a SecretName) -> BoxFuture<'a, Result<SecretValue, SecretError>> {
        let value = self.values[name.as_str()].clone();
        let _ = self.redactor.learn(name, &value);
        Box::pin(async move { Ok(value) })
    }

    fn learn(&self, name: &SecretName, value: &SecretValue) -> Result<(), TooShort> {
        self.redactor.learn(name, value)
    }

    fn redacted(&self, text: &str) -> String {
        self.redactor.text(text).into_owned()
    }
}

/// A host with these credentials and secrets.
fn host(credentials: Value, secrets: &[(&str, &[u8])], options: Options) -> Capabilities {
    let redactor = options.redactor.clone();
    let all = Capabilities::new(options);
    let config = CredentialsConfig::parse(&credentials).unwrap();
    let values = secrets.iter().map(|(name, value)| (SecretName::new(*name).unwrap(), SecretValue::new(*value)));
    let source = Arc::new(Fixed { values: values.collect(), redactor });
    all.use_credentials(Arc::new(Credentials::with_source(config, source, all.transport())));
    all
}

fn with(scope: CallScope, names: &[&str]) -> CallScope {
    scope.with_credentials(names.iter().map(|name| CredentialName::new(*name).unwrap()).collect())
}

fn secret(name: &str) -> String {
    placeholder::of(&SecretName::new(name).unwrap())
}

fn to(server: &Server) -> Value {
    json!([{"host": "127.0.0.1", "scheme": "http", "port": server.port}])
}

fn only_call(scope: &CallScope) -> HostCall {
    let mut calls = scope.counters.calls();
    assert_eq!(calls.len(), 1, "{calls:?}");
    calls.remove(0)
}

/// A server that sends back, as the body, everything that it was sent.
async fn echo() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let notes = Arc::clone(&notes);
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 << 10];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
                    notes.lock().unwrap().push(text.clone());
                    let header = text.lines().find(|line| line.starts_with("authorization")).unwrap_or("x: y");
                    let head = format!("HTTP/1.1 200 OK\r\nx-echo: {header}\r\ncontent-length: {count}\r\n\r\n");
                    let _ = stream.write_all(head.as_bytes()).await;
                    let _ = stream.write_all(&buffer[..count]).await;
                }
            });
        }
    });
    Server { port, connections: Arc::default(), seen, task }
}

#[tokio::test]
async fn a_credential_goes_out_and_does_not_come_back() {
    let server = echo().await;
    let options = Options::new("/");
    let credentials = json!({"api": {"to": to(&server), "bearer": "token"}});
    let all = host(credentials, &[("token", TOKEN.as_bytes())], options);
    let scope = with(scope(server.grant()), &["api"]);
    let mut request = get(server.url("/v1?x=1"));
    request.headers.push(("authorization".to_owned(), "Bearer of-the-plugin".to_owned()));
    request.headers.push(("accept-encoding".to_owned(), "br".to_owned()));
    let response = all.http().send(&scope, request).await.unwrap();
    let seen = server.seen.lock().unwrap().remove(0);
    assert!(seen.contains(&format!("authorization: Bearer {TOKEN}")) && !seen.contains("of-the-plugin"), "{seen}");
    assert!(seen.contains("accept-encoding: identity") && !seen.contains("br\r\n"), "{seen}");
    let shown = format!("{:?} {}", response.headers, String::from_utf8_lossy(&response.body));
    assert!(!shown.contains(TOKEN) && shown.contains("[secret token]"), "{shown}");
    let length = response.headers.iter().find(|(name, _)| name == "content-length").unwrap();
    assert_eq!(length.1, response.body.len().to_string());
    let call = only_call(&scope);
    assert_eq!((call.verdict, call.outcome.as_str()), (Verdict::Allowed, "200"));
    assert_eq!(call.what, format!("GET {}", server.url("/v1")));
    assert_eq!(call.credentials.iter().map(CredentialName::as_str).collect::<Vec<_>>(), ["api"]);
    assert!(call.received > 0 && call.took > Duration::ZERO);
}

/// STS and one of AWS's services in one: each role that is assumed has keys of its own, and the service takes the first
/// ones for one request only.
async fn aws() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(std::sync::Mutex::new(Vec::<String>::new()));
    let notes = Arc::clone(&seen);
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let notes = Arc::clone(&notes);
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 << 10];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
                    let count = |what: &str| notes.lock().unwrap().iter().filter(|text| text.contains(what)).count();
                    let (status, body) = if text.contains("/sts/aws4_request") {
                        let n = count("/sts/aws4_request") + 1;
                        let body = format!(
                            "<R><Credentials><AccessKeyId>ASIA{n}</AccessKeyId><SecretAccessKey>secret-{n}-of-sts\
                             </SecretAccessKey><SessionToken>token-{n}-of-sts</SessionToken>\
                             <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></R>"
                        );
                        (200, body)
                    } else if text.contains("ASIA1/") && count("ASIA1/") > 0 {
                        (400, r#"{"__type":"com.amazon.coral.service#ExpiredTokenException"}"#.to_owned())
                    } else {
                        (200, "{}".to_owned())
                    };
                    notes.lock().unwrap().push(text);
                    let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    Server { port, connections: Arc::default(), seen, task }
}

#[tokio::test]
async fn keys_that_aws_calls_out_of_date_are_had_anew_and_the_request_sent_once_more() {
    let server = aws().await;
    let role = json!({"roleArn": "arn:aws:iam::123456789012:role/x", "endpoint": server.url("/")});
    let credentials = json!({"api": {"to": to(&server), "awsSigv4": {
        "accessKeyId": "id", "secretAccessKey": "key", "region": "eu-west-1", "service": "ecs", "assumeRole": role,
    }}});
    let secrets: [(&str, &[u8]); 2] = [("id", b"AKIA0000000000000000"), ("key", b"a-base-secret-of-the-test")];
    let all = host(credentials, &secrets, Options::new("/"));
    let statuses = async |method: &str| {
        let grant = json!([{"host": "127.0.0.1", "scheme": "http", "port": server.port, "methods": ["GET", "POST"]}]);
        let scope = with(scope(grant), &["api"]);
        let request = Request { method: method.to_owned(), ..get(server.url("/")) };
        let status = all.http().send(&scope, request).await.unwrap().status;
        (status, scope.counters.calls().iter().map(|call| call.outcome.clone()).collect::<Vec<_>>())
    };
    assert_eq!(statuses("POST").await, (200, vec!["200".to_owned()]));
    assert_eq!(statuses("POST").await, (200, vec!["400".to_owned(), "200".to_owned()]));
    assert_eq!(statuses("POST").await, (200, vec!["200".to_owned()]), "the second keys stay");
    let assumed = server.seen.lock().unwrap().iter().filter(|text| text.contains("/sts/aws4_request")).count();
    assert_eq!(assumed, 2);
}

#[tokio::test]
async fn a_placeholder_is_replaced_for_its_destination_only() {
    let (good, evil) = (echo().await, echo().await);
    let credentials = json!({"hook": {"to": to(&good), "placeholder": "token"}});
    let all = host(credentials, &[("token", TOKEN.as_bytes())], Options::new("/"));
    let grants = json!([good.grant()[0], evil.grant()[0]]);
    let post = |server: &Server| Request {
        method: "POST".to_owned(),
        body: format!("{{\"token\":\"{}\"}}", secret("token")).into_bytes(),
        ..get(server.url(&format!("/hooks/{}", secret("token"))))
    };
    let granted = with(scope(grants.clone()), &["hook"]);
    let answer = all.http().send(&granted, post(&good)).await.unwrap();
    assert!(good.seen.lock().unwrap()[0].starts_with(&format!("POST /hooks/{TOKEN} ")));
    assert!(!String::from_utf8_lossy(&answer.body).contains(TOKEN));
    let call = only_call(&granted);
    assert!(call.what.ends_with("/hooks/__basb.secret.token__") && call.sent > 20, "{call:?}");

    // To another host that the plugin may reach: nothing is sent, not even the placeholder.
    let error = all.http().send(&granted, post(&evil)).await.unwrap_err();
    assert!(matches!(&error, HttpError::Denied(text) if text.contains("which its grants cover")), "{error}");
    // By a plugin that was not given the credential.
    let other = scope(grants);
    let error = all.http().send(&other, post(&good)).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, HttpError::Denied(_)), "{text}");
    assert!(text.contains("plugins:\n  probe:\n    credentials: [hook]"), "{text}");
    assert!(text.contains("which its grants cover"), "{text}");
    assert_eq!(only_call(&other).verdict, Verdict::Denied);
    // And where the grants do not cover it either, both is said at once.
    let error = all.http().send(&scope(json!([])), post(&good)).await.unwrap_err().to_string();
    assert!(error.contains("    grants:\n      http:\n") && error.contains("also holds the secret `token`"), "{error}");
    assert!(error.contains("path: \"/hooks/*\""), "{error}");
    assert!(evil.seen.lock().unwrap().is_empty());
    assert_eq!(good.seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_placeholder_without_any_credentials_stays_inside() {
    let server = echo().await;
    let all = all(Limits::default());
    let scope = scope(server.grant());
    let requests = [
        get(server.url(&format!("/{}", secret("token")))),
        get(server.url(&format!("/?a={}", secret("token")))),
        Request { headers: vec![("x-a".to_owned(), secret("token"))], ..get(server.url("/")) },
        Request { method: "POST".to_owned(), body: secret("token").into_bytes(), ..get(server.url("/")) },
    ];
    for request in requests {
        let error = all.http().send(&scope, request).await.unwrap_err();
        assert!(matches!(&error, HttpError::Denied(text) if text.contains("credentials: [token]")), "{error}");
    }
    let whole = all.http().send(&scope, get(secret("token"))).await.unwrap_err();
    assert!(matches!(whole, HttpError::Invalid(_)), "{whole}");
    assert!(server.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_secret_cannot_lead_a_request_out_of_its_grant() {
    let server = echo().await;
    let credentials = json!({"part": {"to": to(&server), "placeholder": "part"}});
    let all = host(credentials, &[("part", &b"admin-and-more"[..])], Options::new("/"));
    let mut grant = server.grant();
    grant[0]["path"] = json!("/v1/__basb*");
    let scope = with(scope(grant), &["part"]);
    let error = all.http().send(&scope, get(server.url(&format!("/v1/{}", secret("part"))))).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, HttpError::Denied(_)) && !text.contains("admin-and-more"), "{text}");
    assert!(text.contains("with the secrets in their places no grant covers it"), "{text}");
    assert!(server.seen.lock().unwrap().is_empty());
    assert_eq!(only_call(&scope).verdict, Verdict::Denied);
}

#[tokio::test]
async fn a_url_that_is_a_secret_is_shown_nowhere() {
    let server = echo().await;
    let url = server.url("/services/T000/B000/s3cr3t-hook-path");
    let credentials = json!({"hook": {"to": to(&server), "placeholder": "hook-url"}});
    let all = host(credentials, &[("hook-url", url.as_bytes())], Options::new("/"));
    let mut grant = server.grant();
    grant[0]["path"] = json!("/services/**");
    let granted = with(scope(grant), &["hook"]);
    let answer = all.http().send(&granted, get(secret("hook-url"))).await.unwrap();
    assert!(server.seen.lock().unwrap()[0].starts_with("GET /services/T000/B000/s3cr3t-hook-path "));
    assert!(!String::from_utf8_lossy(&answer.body).contains("s3cr3t-hook-path"), "{answer:?}");
    let call = only_call(&granted);
    assert_eq!(call.what, "GET __basb.secret.hook-url__");
    assert_eq!(call.credentials.len(), 1);
    // Not granted: neither host nor path is told.
    let denied = with(scope(json!([])), &["hook"]);
    let text = all.http().send(&denied, get(secret("hook-url"))).await.unwrap_err().to_string();
    assert!(text.contains("HOST-OF-THE-URL") && !text.contains("T000") && !text.contains("127.0.0.1"), "{text}");
    // Not this plugin's.
    let text = all.http().send(&scope(server.grant()), get(secret("hook-url"))).await.unwrap_err().to_string();
    assert!(text.contains("not for this plugin") && text.contains("\n  probe:\n"), "{text}");
    assert_eq!(server.seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_sealed_call_reaches_nothing() {
    let server = echo().await;
    let all = all(Limits::default());
    let scope = scope(server.grant()).with_mode(crate::Mode::Sealed);
    let error = all.http().send(&scope, get(server.url("/"))).await.unwrap_err();
    assert!(matches!(&error, HttpError::Denied(text) if text.contains("while it is started")), "{error}");
    assert_eq!(only_call(&scope).verdict, Verdict::Denied);
    assert!(server.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn parts_of_answers_are_not_to_be_had_while_there_are_secrets() {
    let server = Server::start(OK).await;
    let options = Options::new("/");
    let redactor = options.redactor.clone();
    let all = Capabilities::new(options);
    let part = || Request { headers: vec![("Range".to_owned(), "bytes=0-3".to_owned())], ..get(server.url("/")) };
    assert!(all.http().send(&scope(server.grant()), part()).await.is_ok());
    let _ = redactor.learn(&SecretName::new("token").unwrap(), &SecretValue::new(TOKEN));
    let error = all.http().send(&scope(server.grant()), part()).await.unwrap_err();
    assert!(matches!(error, HttpError::Invalid(_)), "{error}");
}

/// A server that sends its answer a byte at a time and never ends it.
async fn drip(answer: &'static str, then: &'static str) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                while stream.write_all(then.as_bytes()).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
        }
    });
    Server { port, connections: Arc::default(), seen: Arc::default(), task }
}

#[tokio::test]
async fn a_server_that_never_ends_its_answer_costs_no_more_than_the_call_has() {
    let all = all(Limits { response_bytes: 1000, ..Limits::default() });
    let cases: [(&'static str, &'static str); 5] = [
        ("", "H"),
        ("HTTP/1.1 200 OK\r\n", "x"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n", "x"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
    ];
    for (answer, then) in cases {
        let server = drip(answer, then).await;
        let mut slow = scope(server.grant());
        slow.deadline = Instant::now() + Duration::from_millis(300);
        let error = all.http().send(&slow, get(server.url("/"))).await.unwrap_err();
        // A head without an end may be over the limit, or no head, before the time is up.
        let expected = matches!(error, HttpError::TimedOut(_) | HttpError::TooLarge(_) | HttpError::Broken(_));
        assert!(expected, "{answer:?}: {error:?}");
    }
    // Any number of bytes, but not in any number of pieces: the whole is bounded.
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let server = drip(chunked, "a\r\n0123456789\r\n").await;
    let error = all.http().send(&scope(server.grant()), get(server.url("/"))).await.unwrap_err();
    assert!(matches!(error, HttpError::TooLarge(_)), "{error:?}");
}

/// Leads every name to this machine, then to a metadata service.
#[derive(Debug, Default)]
struct Rebinding(AtomicUsize);

impl Resolver for Rebinding {
    fn resolve<'a>(&'a self, _: &'a str) -> BoxFuture<'a, std::io::Result<Vec<IpAddr>>> {
        let first = self.0.fetch_add(1, Ordering::SeqCst) == 0;
        let answer = if first { Ipv4Addr::LOCALHOST } else { Ipv4Addr::new(169, 254, 169, 254) };
        Box::pin(async move { Ok(vec![IpAddr::from(answer)]) })
    }
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_looked_up_once_per_connection() {
    let server = Server::start(OK).await;
    let resolver = Arc::new(Rebinding::default());
    let all = Capabilities::new(Options { resolver: resolver.clone(), ..Options::new("/") });
    let grant = json!([{"host": "localhost", "scheme": "http", "port": server.port}]);
    let scope = scope(grant);
    let url = format!("http://localhost:{}/", server.port);
    // The address that was checked is the one that is connected to; there is no second look-up in between.
    assert_eq!(all.http().send(&scope, get(&url)).await.unwrap().status, 200);
    assert_eq!(resolver.0.load(Ordering::SeqCst), 1);
    // A new connection is a new look-up, with a new check.
    let results = all.http().send_many(&scope, vec![get(&url); 3]).await;
    let denied = results.iter().filter(|r| matches!(r, Err(HttpError::Denied(t)) if t.contains("metadata"))).count();
    assert!(denied >= 2, "{results:?}");
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_host_reaches_what_the_operator_named_and_follows_nobody() {
    let server =
        Server::start("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 2\r\n\r\nok").await;
    let all = all(Limits::default());
    let ask = |url: String| Ask {
        method: Method::GET,
        url: url.parse().unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        timeout: Duration::from_secs(10),
    };
    let answer = all.transport().exchange(ask(server.url("/v1/secret?token=x"))).await.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (302, &b"ok"[..]));
    let big = Server::start(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 2 << 20)).await;
    let mut slow = ask(big.url("/?token=s3cr3t"));
    slow.timeout = Duration::from_millis(300);
    let error = all.transport().exchange(slow).await.unwrap_err().to_string();
    assert!(!error.contains("s3cr3t"), "{error}");
    let chunk = format!("{:x}\r\n{}\r\n", 512 << 10, "x".repeat(512 << 10));
    let chunked = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}{chunk}0\r\n\r\n");
    let big = Server::start(chunked).await;
    let error = all.transport().exchange(ask(big.url("/"))).await.unwrap_err().to_string();
    assert!(error.contains("over the limit"), "{error}");
    let zipped = Server::start("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok").await;
    let error = all.transport().exchange(ask(zipped.url("/"))).await.unwrap_err().to_string();
    assert!(error.contains("compressed"), "{error}");
}

fn pem(kind: &str, der: &[u8]) -> Vec<u8> {
    let text = crate::smtp::message::base64(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", lines.join("\n")).into_bytes()
}

#[tokio::test]
async fn a_client_certificate_is_shown_by_connections_of_its_own() {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
    use rustls::server::WebPkiClientVerifier;
    let authority = include_bytes!("../testdata/test-only-authority.der").as_slice();
    let leaf = include_bytes!("../testdata/test-only-localhost.der").as_slice();
    let key = include_bytes!("../testdata/test-only-localhost-key.der").as_slice();
    let client = include_bytes!("../testdata/test-only-client.der").as_slice();
    let client_key = include_bytes!("../testdata/test-only-client-key.der").as_slice();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(client)).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![CertificateDer::from(leaf)], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key)))
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // Answers with whether the connection showed a certificate.
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                tokio::spawn(async move {
                    let shown = stream.get_ref().1.peer_certificates().is_some();
                    let body = if shown { "mutual" } else { "nobody" };
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n{body}");
                    let mut buffer = [0; 1024];
                    while let Ok(1..) = stream.read(&mut buffer).await {
                        let _ = stream.write_all(answer.as_bytes()).await;
                    }
                });
            }
        }
    });
    let to = json!([{"host": "localhost", "port": port}]);
    let credentials = json!({"client": {"to": to, "mtls": {"certificate": "cert", "key": "key"}}});
    let (certificate, key) = (pem("CERTIFICATE", client), pem("PRIVATE KEY", client_key));
    let secrets: [(&str, &[u8]); 2] = [("cert", certificate.as_slice()), ("key", key.as_slice())];
    let roots = Roots::Only(vec![CertificateDer::from(authority.to_vec())]);
    let all = host(credentials, &secrets, Options { roots, ..Options::new("/") });
    let grant = json!([{"host": "localhost", "port": port}]);
    let url = format!("https://localhost:{port}/");
    let ask = async |scope: &CallScope| {
        let answer = all.http().send(scope, get(&url)).await.unwrap();
        (String::from_utf8(answer.body).unwrap(), answer.timing.connected > 0)
    };
    let (known, unknown) = (with(scope(grant.clone()), &["client"]), scope(grant));
    assert_eq!(ask(&known).await, ("mutual".to_owned(), true));
    // The open connection is used again by its owner, and by nobody else.
    assert_eq!(ask(&known).await, ("mutual".to_owned(), false));
    assert_eq!(ask(&unknown).await, ("nobody".to_owned(), true));
    assert_eq!(ask(&known).await, ("mutual".to_owned(), false));

    // A destination with an authority of its own: a cluster, whom the system does not know.
    let credentials = json!({
        "client": {"to": to, "mtls": {"certificate": "cert", "key": "key"}},
        "cluster": {"to": to, "authority": "ca"},
        "wrong": {"to": to, "authority": "cert"},
    });
    let ca = pem("CERTIFICATE", authority);
    let secrets: [(&str, &[u8]); 3] =
        [("cert", certificate.as_slice()), ("key", key.as_slice()), ("ca", ca.as_slice())];
    let trusting = |roots| host(credentials.clone(), &secrets, Options { roots, ..Options::new("/") });
    let nobody = trusting(Roots::Only(Vec::new()));
    let scoped = |names: &[&str]| with(scope(json!([{"host": "localhost", "port": port}])), names);
    for (names, body) in
        [(&["cluster"][..], "nobody"), (&["cluster", "client"], "mutual"), (&["client", "cluster"], "mutual")]
    {
        let answer = nobody.http().send(&scoped(names), get(&url)).await.unwrap();
        assert_eq!(String::from_utf8(answer.body).unwrap(), body, "{names:?}");
    }
    // Whoever does not say so gets neither the connection nor the trust.
    for names in [&[][..], &["client"], &["wrong"]] {
        let error = nobody.http().send(&scoped(names), get(&url)).await.unwrap_err();
        assert!(matches!(&error, HttpError::Tls(_)), "{names:?}: {error:?}");
    }
    // Whom the system trusts cannot vouch for it.
    let everybody = trusting(Roots::Only(vec![CertificateDer::from(authority.to_vec())]));
    let error = everybody.http().send(&scoped(&["wrong"]), get(&url)).await.unwrap_err();
    assert!(matches!(&error, HttpError::Tls(_)), "{error:?}");
    let error = nobody.http().send(&scoped(&["cluster", "wrong"]), get(&url)).await.unwrap_err();
    assert!(matches!(&error, HttpError::Denied(text) if text.contains("say which authority vouches")), "{error:?}");
    server.abort();
}
