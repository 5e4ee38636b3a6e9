//! TLS and login: what is said in the clear, what is not, and what is not said at all.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it did not test"
)]

use super::super::message::base64;
use super::super::*;
use super::message;
use crate::http::Roots;
use crate::scope::Caller;
use crate::{Capabilities, Grants, Options, Verdict};
use basb_core::Digest;
use basb_credentials::{CredentialName, Credentials, CredentialsConfig, SecretSource};
use basb_redact::{SecretName, SecretValue, TooShort};
use basb_secrets::SecretError;
use futures_util::future::BoxFuture;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const PASSWORD: &str = "pass-w0rd-8f2c";

#[derive(Debug)]
struct Fixed(Redactor);

impl SecretSource for Fixed {
    fn secret<'a>(&'a self, name: &'a SecretName) -> BoxFuture<'a, Result<SecretValue, SecretError>> {
        let value = SecretValue::new(PASSWORD);
        let _ = self.0.learn(name, &value);
        Box::pin(async move { Ok(value) })
    }

    fn learn(&self, name: &SecretName, value: &SecretValue) -> Result<(), TooShort> {
        self.0.learn(name, value)
    }

    fn redacted(&self, text: &str) -> String {
        self.0.text(text).into_owned()
    }
}

fn acceptor() -> TlsAcceptor {
    let leaf = include_bytes!("../../http/testdata/test-only-localhost.der").as_slice();
    let key = include_bytes!("../../http/testdata/test-only-localhost-key.der").as_slice();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(leaf)], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key)))
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// A host that trusts the test's authority and has a credential for this port.
fn host(port: u16) -> Capabilities {
    let authority = CertificateDer::from(include_bytes!("../../http/testdata/test-only-authority.der").to_vec());
    let options = Options { roots: Roots::Only(vec![authority]), ..Options::new("/") };
    let redactor = options.redactor.clone();
    let all = Capabilities::new(options);
    let to = json!([{"host": "localhost", "port": port}]);
    let credentials = json!({
        "mail": {"to": to, "basic": {"username": "bot", "password": "pw"}},
        "other": {"to": [{"host": "localhost", "port": 1}], "basic": {"username": "bot", "password": "pw"}},
        "token": {"to": to, "bearer": "pw"},
    });
    let config = CredentialsConfig::parse(&credentials).unwrap();
    all.use_credentials(Arc::new(Credentials::with_source(config, Arc::new(Fixed(redactor)), all.transport())));
    all
}

fn scope(port: u16, extra: Value, credentials: &[&str]) -> CallScope {
    let caller = Caller { plugin: "mail".into(), digest: Arc::new(Digest::of(b"")), call: "notify" };
    let mut grant = json!({"server": "office", "host": "localhost", "port": port});
    grant.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let grants = Grants::parse(&json!({"smtp": [grant]})).unwrap();
    CallScope::new(caller, Arc::new(grants), Instant::now() + Duration::from_secs(60))
        .with_credentials(credentials.iter().map(|name| CredentialName::new(*name).unwrap()).collect())
}

/// How a server behaves.
#[derive(Clone, Copy)]
struct Manners {
    /// What it offers beside STARTTLS once TLS is spoken, or at once if it never is.
    auth: &'static str,
    starttls: &'static str,
    /// What it says to STARTTLS.
    consent: &'static str,
    /// What it says to a password; `{}` is what it was sent.
    login: &'static str,
}

const GOOD: Manners = Manners {
    auth: "250 AUTH PLAIN LOGIN\r\n",
    starttls: "250-STARTTLS\r\n",
    consent: "220 go\r\n",
    login: "235 ok\r\n",
};

trait Both: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Both for T {}

/// Notes every line with a mark in front of it: `-` in the clear, `+` over TLS.
async fn server(manners: Manners, implicit: bool) -> (u16, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        let mut mark = '-';
        let mut wire: BufReader<Box<dyn Both>> = if implicit {
            mark = '+';
            match acceptor().accept(stream).await {
                Ok(stream) => BufReader::new(Box::new(stream)),
                Err(_) => return seen,
            }
        } else {
            BufReader::new(Box::new(stream))
        };
        wire.write_all(b"220 test\r\n").await.unwrap();
        wire.flush().await.unwrap();
        let mut expects = "";
        loop {
            let mut line = String::new();
            if wire.read_line(&mut line).await.unwrap_or(0) == 0 {
                return seen;
            }
            let line = line.trim_end().to_owned();
            seen.push(format!("{mark}{line}"));
            let (answer, next) = match (expects, line.as_str()) {
                ("data", ".") => ("250 queued\r\n".to_owned(), ""),
                ("data", _) => continue,
                ("user", _) => ("334 UGFzc3dvcmQ6\r\n".to_owned(), "password"),
                ("password", word) => (manners.login.replace("{}", word), ""),
                (_, "EHLO localhost") if mark == '-' => {
                    (format!("250-test\r\n{}{}", manners.starttls, manners.auth), "")
                }
                (_, "EHLO localhost") => (format!("250-test\r\n{}", manners.auth), ""),
                (_, "STARTTLS") => (manners.consent.to_owned(), "tls"),
                (_, "AUTH LOGIN") => ("334 VXNlcm5hbWU6\r\n".to_owned(), "user"),
                (_, "DATA") => ("354 go\r\n".to_owned(), "data"),
                (_, word) if word.starts_with("AUTH PLAIN ") => (manners.login.replace("{}", word), ""),
                _ => ("250 ok\r\n".to_owned(), ""),
            };
            if wire.write_all(answer.as_bytes()).await.is_err() || wire.flush().await.is_err() {
                return seen;
            }
            expects = next;
            if expects == "tls" {
                match acceptor().accept(wire.into_inner()).await {
                    Ok(stream) => wire = BufReader::new(Box::new(stream)),
                    Err(_) => return seen,
                }
                mark = '+';
            }
        }
    });
    (port, task)
}

fn plain() -> String {
    format!("+AUTH PLAIN {}", base64(format!("\0bot\0{PASSWORD}").as_bytes()))
}

#[tokio::test]
async fn nothing_but_the_wish_for_tls_is_said_in_the_clear() {
    let (port, task) = server(GOOD, false).await;
    let scope = scope(port, json!({"login": "mail"}), &["mail"]);
    host(port).smtp().send(&scope, message()).await.unwrap();
    let seen = task.await.unwrap();
    let clear: Vec<_> = seen.iter().filter(|line| line.starts_with('-')).collect();
    assert_eq!(clear, ["-EHLO localhost", "-STARTTLS"]);
    assert_eq!(seen[2..4], ["+EHLO localhost".to_owned(), plain()]);
    assert!(seen.iter().any(|line| line == "+MAIL FROM:<bot@example.com>"));
    let call = &scope.counters.calls()[0];
    assert_eq!((call.verdict, call.outcome.as_str()), (Verdict::Allowed, "sent"));
    assert_eq!(call.credentials[0].as_str(), "mail");
}

#[tokio::test]
async fn tls_from_the_first_byte_on_and_a_login_in_steps() {
    let (port, task) = server(Manners { auth: "250 AUTH LOGIN\r\n", ..GOOD }, true).await;
    let scope = scope(port, json!({"tls": "implicit", "login": "mail"}), &["mail"]);
    host(port).smtp().send(&scope, message()).await.unwrap();
    let seen = task.await.unwrap();
    assert!(seen.iter().all(|line| line.starts_with('+')), "{seen:?}");
    let steps = ["+AUTH LOGIN".to_owned(), format!("+{}", base64(b"bot")), format!("+{}", base64(PASSWORD.as_bytes()))];
    assert_eq!(seen[1..4], steps);
}

#[tokio::test]
async fn a_server_without_tls_gets_no_mail() {
    let (port, task) = server(Manners { starttls: "", ..GOOD }, false).await;
    let error = host(port).smtp().send(&scope(port, json!({"login": "mail"}), &["mail"]), message()).await.unwrap_err();
    assert!(matches!(&error, SmtpError::Refused(text) if text.contains("STARTTLS")), "{error}");
    assert_eq!(task.await.unwrap(), ["-EHLO localhost"]);
    // Nor one whose certificate nobody vouches for.
    let (port, task) = server(GOOD, false).await;
    let doubting = Capabilities::new(Options { roots: Roots::Only(Vec::new()), ..Options::new("/") });
    let error = doubting.smtp().send(&scope(port, json!({}), &[]), message()).await.unwrap_err();
    assert!(matches!(&error, SmtpError::Unavailable(text) if text.contains("TLS")), "{error}");
    assert_eq!(task.await.unwrap(), ["-EHLO localhost", "-STARTTLS"]);
}

#[tokio::test]
async fn what_is_slipped_in_behind_the_consent_to_tls_ends_the_dialogue() {
    let (port, task) = server(Manners { consent: "220 go\r\n250 forged\r\n", ..GOOD }, false).await;
    let error = host(port).smtp().send(&scope(port, json!({}), &[]), message()).await.unwrap_err();
    assert!(matches!(&error, SmtpError::Refused(text) if text.contains("in the clear")), "{error}");
    assert_eq!(task.await.unwrap(), ["-EHLO localhost", "-STARTTLS"]);
}

#[tokio::test]
async fn a_server_that_repeats_the_password_is_not_repeated() {
    let (port, task) = server(Manners { login: "535 no: {}\r\n", auth: "250 AUTH LOGIN\r\n", ..GOOD }, false).await;
    let error = host(port).smtp().send(&scope(port, json!({"login": "mail"}), &["mail"]), message()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("535 no:") && !text.contains(&base64(PASSWORD.as_bytes())), "{text}");
    task.await.unwrap();
}

#[tokio::test]
async fn a_login_needs_its_credential_for_this_very_server() {
    let all = host(9);
    for (login, given, part) in [
        ("mail", &[][..], "plugins:\n  mail:\n    credentials: [mail]"),
        ("other", &["other"][..], "not bound to localhost:9"),
        ("token", &["token"][..], "needs `basic`"),
        ("unknown", &["unknown"][..], "no credential `unknown`"),
    ] {
        let scope = scope(9, json!({"login": login}), given);
        let error = all.smtp().send(&scope, message()).await.unwrap_err();
        assert!(matches!(&error, SmtpError::Denied(text) if text.contains(part)), "{login}: {error}");
        assert_eq!(scope.counters.calls()[0].verdict, Verdict::Denied);
    }
    let mut holding = message();
    holding.text = "the secret is __basb.secret.pw__".to_owned();
    let error = all.smtp().send(&scope(9, json!({}), &[]), holding).await.unwrap_err();
    assert!(matches!(&error, SmtpError::Denied(text) if text.contains("placeholder")), "{error}");
}
