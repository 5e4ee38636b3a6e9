//! HTTP through the proxy: what passes, what is refused, what is repeated.

use std::net::SocketAddr;

use basb_agent::api::*;
use http::Request;
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Agent, User, until};

async fn one() -> (Agent, SocketAddr) {
    let agent = Agent::here().await;
    let address = agent.create("a").await.listen;
    agent.up("a", "r1", 1).await;
    agent.weights("a", &[("r1", 10_000)]).await;
    (agent, address)
}

/// Sends bytes as they are, and returns everything until the proxy closes.
async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // The other end may reset a connection whose bytes it refused to read; what came before counts.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn statuses(answer: &str) -> Vec<&str> {
    answer.split("HTTP/1.").skip(1).filter_map(|part| part.split(' ').nth(1)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_are_cleaned_and_completed() {
    let (_agent, address) = one().await;
    let answer = raw(
        address,
        b"GET /headers?x=%20y HTTP/1.1\r\nHost: brain.example\r\nConnection: close, X-Private\r\nX-Private: 1\r\n\
          Keep-Alive: 3\r\nTE: gzip\r\nProxy-Connection: x\r\nX-Forwarded-For: 9.9.9.9\r\nAccept: a\r\nAccept: b\r\n\r\n",
    )
    .await;
    let lower = answer.to_ascii_lowercase();
    for there in [
        "get /headers?x=%20y",
        "host: brain.example",
        "x-forwarded-for: 9.9.9.9, 127.0.0.1",
        "x-forwarded-proto: http",
        "x-forwarded-host: brain.example",
        "accept: a",
        "accept: b",
        "x-kept: 1",
        "connection: close",
    ] {
        assert!(lower.contains(there), "{there} is missing in {answer}");
    }
    for gone in ["x-private", "\nte:", "proxy-connection", "keep-alive"] {
        assert!(!lower.contains(gone), "{gone} is still in {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_pass_both_ways() {
    let (_agent, address) = one().await;
    let mut user = User::of(address);
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    assert_eq!(user.post("/echo", large.clone()).await.unwrap(), (200, large.into()));
    assert_eq!(user.post("/echo", "small").await.unwrap(), (200, "small".into()));
    let put = Request::put("/echo").header("host", "x").body(Full::from("put")).unwrap();
    let response = user.send(put).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "put");
    let chunked = b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
        5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    assert!(raw(address, chunked).await.ends_with("hello world"));
    let chunked = b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
        5\r\nhello\r\n0\r\n\r\n";
    assert!(raw(address, chunked).await.ends_with("hello"));
    let head = raw(address, b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(head.contains("200 OK") && head.to_ascii_lowercase().contains("content-length: 2"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_and_absolute_requests_are_served() {
    let (_agent, address) = one().await;
    let answer = raw(address, b"GET / HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with("r1"), "{answer}");
    let answer = raw(address, b"GET /events HTTP/1.0\r\n\r\n");
    let mut user = User::of(address);
    let (answer, ()) = tokio::join!(answer, async {
        for _ in 0..2 {
            user.get("/go").await.unwrap();
        }
    });
    assert!(!answer.to_ascii_lowercase().contains("chunked"), "{answer}");
    let absolute = b"GET http://inner.example/headers HTTP/1.1\r\nHost: outer\r\nConnection: close\r\n\r\n";
    let answer = raw(address, absolute).await;
    assert!(answer.contains("GET /headers") && answer.contains("host: inner.example"), "{answer}");
    assert_eq!(
        statuses(&raw(address, b"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\nConnection: close\r\n\r\n").await),
        ["405"]
    );
    for _ in 0..3 {
        assert_eq!(user.get("/close").await.unwrap(), (200, "r1".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ambiguous_framing_is_refused_or_made_unambiguous() {
    let (agent, address) = one().await;
    let smuggled = "GET /say?smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    let refused = [
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello".to_owned(),
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello".to_owned(),
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nhello".to_owned(),
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n".to_owned(),
        "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: x\r\nBad Name: 1\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost : x\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: x\r\n folded: 1\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\nConnection: close\r\n\r\n".to_owned(),
    ];
    for request in refused {
        let answer = raw(address, format!("{request}{smuggled}").as_bytes()).await;
        assert_eq!(statuses(&answer).first(), Some(&"400"), "{request:?} was answered with {answer:?}");
    }
    // Both lengths: the transfer coding wins, the instance sees one length only, and the connection ends after that.
    let both = "POST /headers HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\
        GET /headers HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = raw(address, both.as_bytes()).await;
    assert_eq!(statuses(&answer), ["200"], "{answer}");
    assert!(!answer.to_ascii_lowercase().contains("content-length: 4\n"), "{answer}");
    let huge = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(70_000));
    let answer = raw(address, huge.as_bytes()).await;
    assert_eq!(statuses(&answer), ["431"], "{answer}");
    let logs = agent.client.logs(&crate::support::name("a"), &LogQuery::default()).await.unwrap();
    assert!(!logs.contains("smuggled"), "{logs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_flow_as_they_come() {
    let (agent, address) = one().await;
    let request = Request::get("/events").header("host", "x").body(Full::default()).unwrap();
    let mut body = User::of(address).send(request).await.unwrap().into_body();
    let mut user = User::of(address);
    for step in 0..3 {
        if step > 0 {
            // The instance sends the next event only now: the one before must have come through.
            user.get("/go").await.unwrap();
        }
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), format!("data: {step}\n\n"));
    }
    assert!(body.frame().await.is_none());
    until("nothing is in flight", async || {
        (agent.service("a").await.revisions[0].requests.in_flight == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_may_be_repeated_is() {
    let (agent, address) = one().await;
    let mut user = User::of(address);
    // GET: the first attempt breaks, the second is answered.
    assert_eq!(user.get("/drop").await.unwrap(), (200, "2".to_owned()));
    // POST: it breaks, and the instance has seen it once.
    let (status, body) = user.post("/drop", "x").await.unwrap();
    assert_eq!(status, 502);
    assert!(String::from_utf8_lossy(&body).contains("upstream-broken"));
    assert_eq!(user.get("/dropped").await.unwrap().1, "3");
    let requests = agent.service("a").await.revisions[0].requests;
    assert_eq!((requests.failed, requests.proxy_failed, requests.retried), (1, 1, 1));
    assert_eq!(user.get("/status?code=500").await.unwrap(), (500, "as asked".to_owned()));
    let requests = agent.service("a").await.revisions[0].requests;
    assert_eq!((requests.failed, requests.proxy_failed), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_does_not_answer_is_given_up() {
    let agent = Agent::here_with(|options| options.upstream_timeout = std::time::Duration::from_millis(300)).await;
    let address = agent.create("a").await.listen;
    agent.up("a", "r1", 1).await;
    agent.weights("a", &[("r1", 10_000)]).await;
    let (status, body) = User::of(address).get("/hold").await.unwrap();
    assert_eq!(status, 504);
    assert!(body.contains("upstream-timeout"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upload_is_not_mistaken_for_a_silent_instance_nor_a_broken_one_for_its_fault() {
    let limit = std::time::Duration::from_secs(1);
    let agent = Agent::here_with(|options| options.upstream_timeout = limit).await;
    let address = agent.create("a").await.listen;
    agent.up("a", "r1", 1).await;
    agent.weights("a", &[("r1", 10_000)]).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let started = std::time::Instant::now();
    while started.elapsed() < 2 * limit {
        stream.write_all(b"1\r\nx\r\n").await.unwrap();
        tokio::time::sleep(limit / 40).await;
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(statuses(&answer), ["200"], "{answer}");
    let broken = [head.as_slice(), b"5\r\nhello\r\nnot a length\r\n"].concat();
    raw(address, &broken).await;
    until("nothing is in flight", async || {
        (agent.service("a").await.revisions[0].requests.in_flight == 0).then_some(())
    })
    .await;
    assert_eq!(agent.service("a").await.revisions[0].requests.failed, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn upgraded_connections_are_tunnelled() {
    let (agent, address) = one().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET /tunnel HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n")
        .await
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    assert!(head.contains("101") && head.contains("upgrade: shout") && head.contains("connection: upgrade"), "{head}");
    for word in ["hello", "again"] {
        stream.write_all(word.as_bytes()).await.unwrap();
        let mut back = [0; 5];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, word.to_ascii_uppercase().as_bytes());
    }
    assert_eq!(agent.service("a").await.revisions[0].requests.in_flight, 1);
    drop(stream);
    until("the tunnel ends", async || (agent.service("a").await.revisions[0].requests.in_flight == 0).then_some(()))
        .await;
}
