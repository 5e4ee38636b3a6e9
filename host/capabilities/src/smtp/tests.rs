use super::message::base64;
use super::*;
use crate::scope::Caller;
use crate::{Capabilities, Grants, Options};
use basb_core::Digest;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpListener;

mod secure;

fn message() -> Message {
    Message {
        server: "office".to_owned(),
        from: "bot@example.com".to_owned(),
        to: vec!["a@example.com".to_owned(), "b@example.com".to_owned()],
        subject: "Grüße".to_owned(),
        text: "one\n.\ntwo\r\n..three".to_owned(),
        headers: vec![("X-Run".to_owned(), "r1".to_owned())],
    }
}

fn scope(port: u16, extra: &serde_json::Value) -> CallScope {
    let caller = Caller { plugin: "mail".into(), digest: Arc::new(Digest::of(b"")), call: "notify" };
    let mut grant = json!({"server": "office", "host": "127.0.0.1", "port": port, "tls": "none"});
    grant.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let grants = Grants::parse(&json!({"smtp": [grant]})).unwrap();
    CallScope::new(caller, Arc::new(grants), Instant::now() + Duration::from_secs(60))
}

/// A server that notes every line and refuses recipients that begin with `no`.
async fn server() -> (u16, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut wire = BufStream::new(stream);
        let mut seen = Vec::new();
        wire.write_all(b"220 test\r\n").await.unwrap();
        wire.flush().await.unwrap();
        let mut data = false;
        loop {
            let mut line = String::new();
            if wire.read_line(&mut line).await.unwrap_or(0) == 0 {
                return seen;
            }
            assert!(line.ends_with("\r\n"), "{line:?}");
            let line = line.trim_end().to_owned();
            let answer: &[u8] = match line.as_str() {
                "." if data => {
                    data = false;
                    b"250 queued as 1\r\n"
                }
                _ if data => b"",
                "DATA" => {
                    data = true;
                    b"354 go\r\n"
                }
                "EHLO localhost" => b"250-test\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
                refused if refused.starts_with("RCPT TO:<no") => b"550 no such user\r\n",
                "QUIT" => b"221 bye\r\n",
                _ => b"250 ok\r\n",
            };
            seen.push(line);
            wire.write_all(answer).await.unwrap();
            wire.flush().await.unwrap();
        }
    });
    (port, task)
}

#[tokio::test]
async fn a_message_arrives_as_it_is() {
    let (port, task) = server().await;
    let all = Capabilities::new(Options::new("/"));
    let answer = all.smtp().send(&scope(port, &json!({})), message()).await.unwrap();
    assert_eq!(answer, "250 queued as 1");
    let seen = task.await.unwrap();
    assert_eq!(seen[1], "MAIL FROM:<bot@example.com>");
    assert_eq!(&seen[2..4], ["RCPT TO:<a@example.com>", "RCPT TO:<b@example.com>"]);
    assert!(seen.contains(&"Subject: =?utf-8?B?R3LDvMOfZQ==?=".to_owned()), "{seen:?}");
    assert!(seen.contains(&"X-Run: r1".to_owned()));
    assert!(seen.contains(&base64(b"one\r\n.\r\ntwo\r\n..three")), "{seen:?}");
    assert_eq!(seen.iter().filter(|line| *line == "QUIT").count(), 1);
}

#[tokio::test]
async fn a_refusal_is_told_in_the_servers_words() {
    let (port, task) = server().await;
    let all = Capabilities::new(Options::new("/"));
    let mut to_nobody = message();
    to_nobody.to = vec!["nobody@example.com".to_owned()];
    let error = all.smtp().send(&scope(port, &json!({})), to_nobody).await.unwrap_err();
    assert!(matches!(&error, SmtpError::Refused(text) if text.contains("550 no such user")), "{error:?}");
    task.await.unwrap();
    let error = all.smtp().send(&scope(port, &json!({})), message()).await.unwrap_err();
    assert!(matches!(error, SmtpError::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn only_granted_servers_senders_and_recipients() {
    let all = Capabilities::new(Options::new("/"));
    let mut elsewhere = message();
    elsewhere.server = "other".to_owned();
    let error = all.smtp().send(&scope(1, &json!({})), elsewhere).await.unwrap_err();
    assert!(matches!(&error, SmtpError::Denied(text) if text.contains("- server: other")), "{error:?}");
    let only = json!({"from": ["*@example.com"], "to": ["a@example.com"]});
    let error = all.smtp().send(&scope(1, &only), message()).await.unwrap_err();
    assert!(matches!(&error, SmtpError::Denied(text) if text.contains("to: [\"b@example.com\"]")), "{error:?}");
    let dry = scope(1, &json!({})).with_mode(Mode::ReadOnly);
    assert!(matches!(all.smtp().send(&dry, message()).await, Err(SmtpError::Denied(_))));
}

#[tokio::test]
async fn nothing_can_be_smuggled_in() {
    let all = Capabilities::new(Options::new("/"));
    let scope = scope(1, &json!({}));
    let changes: [fn(&mut Message); 9] = [
        |m| m.from = "a@b\r\nRCPT TO:<evil@example.com>".to_owned(),
        |m| m.from = "a@b> SIZE=1".to_owned(),
        |m| m.from = String::new(),
        |m| m.to = vec!["a@b>\r\nDATA".to_owned()],
        |m| m.to = Vec::new(),
        |m| m.subject = "x\r\nBcc: evil@example.com".to_owned(),
        |m| m.headers = vec![("X-A\r\nBcc".to_owned(), "x".to_owned())],
        |m| m.headers = vec![("X-A".to_owned(), "x\nBcc: evil@example.com".to_owned())],
        |m| m.headers = vec![("bcc".to_owned(), "evil@example.com".to_owned())],
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut message = message();
        change(&mut message);
        let error = all.smtp().send(&scope, message).await.unwrap_err();
        assert!(matches!(error, SmtpError::Other(_)), "{index}: {error:?}");
    }
    let mut dots = message();
    dots.text = "a\r\n.\r\nMAIL FROM:<evil@example.com>\r\n\n.\n\r.\r".to_owned();
    let wire = String::from_utf8(wire_format(&dots, "today").unwrap()).unwrap();
    assert_eq!(wire.split("\r\n").filter(|line| *line == ".").count(), 1);
    assert!(wire.ends_with("\r\n.\r\n") && !wire.replace("\r\n", "").contains(['\r', '\n']));
}

#[test]
fn base64_is_that_of_rfc_4648() {
    for (plain, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
        assert_eq!(base64(plain.as_bytes()), expected);
    }
}
