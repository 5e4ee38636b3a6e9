//! Servers that attack: bodies that never end or never come, decompression bombs, floods of headers, answers that are no
//! answers, and answers that nobody asked for.

use super::doors::Door;
use crate::case::{Case, Outcome};
use crate::ensure;
use crate::lab::{Lab, play, script};
use crate::server::{Server, reply};
use basb_guest_script::{Outcome as Told, Request, Step};
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use serde_json::json;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// The longest that a request may take in these cases.
const SHORT: u64 = 600;

pub fn cases() -> Vec<Case> {
    Door::BOTH.into_iter().flat_map(of).collect()
}

fn of(door: Door) -> Vec<Case> {
    let name = |what: &str| format!("{}-answer-{what}", door.prefix());
    let tick = Duration::from_millis(30);
    let drop = move |bytes: &'static [u8]| {
        Server::endless("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n", tick, bytes.to_vec())
    };
    vec![
        Case::new(name("never"), "a server that never answers", move |lab| async move {
            expect(lab, door, Server::silent().await, &["timed-out"], &[]).await
        }),
        Case::new(name("slow-body"), "a body that comes byte by byte (slow loris)", move |lab| async move {
            expect(lab, door, drop(b"x").await, &["timed-out"], &[]).await
        }),
        Case::new(name("slow-head"), "a head that comes byte by byte", move |lab| async move {
            let server = Server::endless("HTTP/1.1 200 OK\r\nx: ", tick, b"x".to_vec()).await;
            expect(lab, door, server, &["timed-out"], &[]).await
        }),
        Case::new(name("endless-body"), "a body that never ends, in chunks", move |lab| async move {
            let mut chunk = b"10000\r\n".to_vec();
            chunk.extend_from_slice(&[b'x'; 0x10000]);
            chunk.extend_from_slice(b"\r\n");
            let server =
                Server::endless("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", Duration::ZERO, chunk).await;
            patient(lab, door, server, &["too-large"], &["limit"]).await
        }),
        Case::new(name("endless-body-no-length"), "a body without a length that never ends", move |lab| async move {
            let server = Server::endless("HTTP/1.1 200 OK\r\n\r\n", Duration::ZERO, vec![b'x'; 0x10000]).await;
            patient(lab, door, server, &["too-large"], &["limit"]).await
        }),
        Case::new(name("endless-head"), "a head that never ends", move |lab| async move {
            let server =
                Server::endless("HTTP/1.1 200 OK\r\n", Duration::ZERO, b"x-a: yyyyyyyyyyyyyyyyyyyy\r\n".repeat(100))
                    .await;
            patient(lab, door, server, &["too-large", "broken"], &[]).await
        }),
        Case::new(name("header-flood"), "ten thousand headers", move |lab| async move {
            let server = Server::answering(|_| reply(200, &"x-a: 1\r\n".repeat(10_000), b"x")).await;
            patient(lab, door, server, &["too-large", "broken"], &[]).await
        }),
        Case::new(name("huge-header"), "a header of one megabyte", move |lab| async move {
            let server = Server::answering(|_| reply(200, &format!("x-a: {}\r\n", "x".repeat(1 << 20)), b"x")).await;
            patient(lab, door, server, &["too-large", "broken"], &[]).await
        }),
        Case::new(name("interim-flood"), "interim answers (100, 103) without end", move |lab| async move {
            let server = Server::endless(
                "HTTP/1.1 100 Continue\r\n\r\n",
                Duration::ZERO,
                b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n".repeat(50),
            )
            .await;
            expect(lab, door, server, &["timed-out", "broken", "too-large"], &[]).await
        }),
        Case::new(name("trailer-flood"), "trailers without end", move |lab| async move {
            let server = Server::endless(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n",
                Duration::ZERO,
                b"x-a: yyyyyyyyyyyyyyyyyyyy\r\n".repeat(100),
            )
            .await;
            expect(lab, door, server, &["timed-out", "broken", "too-large"], &[]).await
        }),
        Case::new(name("chunk-extension-flood"), "an extension of a chunk that never ends", move |lab| async move {
            let server = Server::endless(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;x=",
                Duration::ZERO,
                vec![b'y'; 4096],
            )
            .await;
            expect(lab, door, server, &["timed-out", "broken", "too-large"], &[]).await
        }),
        Case::new(name("gzip-bomb"), "one megabyte of gzip that is one gigabyte", move |lab| async move {
            bomb(lab, door, "gzip", gzip_gigabyte()).await
        }),
        Case::new(name("gzip-bomb-x"), "the same by its old name", move |lab| async move {
            bomb(lab, door, "x-gzip", gzip_gigabyte()).await
        }),
        Case::new(name("deflate-bomb"), "a deflated gigabyte", move |lab| async move {
            bomb(lab, door, "deflate", deflate(1 << 30)).await
        }),
        Case::new(name("gzip-in-gzip"), "gzip in gzip in gzip", move |lab| async move {
            let mut body = gzip_gigabyte();
            for _ in 0..2 {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(&body).unwrap();
                body = encoder.finish().unwrap();
            }
            bomb(lab, door, "gzip, gzip, gzip", body).await
        }),
        Case::new(
            name("unknown-encoding"),
            "a body in an encoding that the host cannot look into",
            move |lab| async move { bomb(lab, door, "br", b"\x0b\x02\x80hello\x03".to_vec()).await },
        ),
        Case::new(name("encoding-many"), "forty encodings at once", move |lab| async move {
            bomb(lab, door, Box::leak(vec!["gzip"; 40].join(", ").into_boxed_str()), b"x".to_vec()).await
        }),
        Case::new(name("lying-length"), "a length of 2^64, and none that is a number", move |lab| async move {
            let mut last = String::new();
            for length in ["18446744073709551615", "-1", "0x10", "5, 6", "99999999999999999999"] {
                let server = Server::answering(move |_| {
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\nhello").into_bytes()
                })
                .await;
                last = expect(Arc::clone(&lab), door, server, &["timed-out", "broken", "too-large", "invalid"], &[])
                    .await
                    .map_err(|why| format!("{length}: {why}"))?;
            }
            Ok(last)
        }),
        Case::new(name("two-lengths"), "two lengths, and a length beside chunks", move |lab| async move {
            two_lengths(lab, door).await
        }),
        Case::new(name("cut-off"), "a body that breaks off", move |lab| async move {
            let server = Server::slowly(
                Duration::ZERO,
                vec![b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 100\r\n\r\nhalf".to_vec()],
            )
            .await;
            expect(lab, door, server, &["broken", "timed-out"], &[]).await
        }),
        Case::new(name("no-http"), "answers that are no HTTP", move |lab| async move {
            let mut last = String::new();
            for answer in [
                &b"SSH-2.0-OpenSSH_9\r\n"[..],
                b"\0\0\0\0",
                b"HTTP/9.9 200 OK\r\n\r\n",
                b"HTTP/1.1 99999 X\r\n\r\n",
                b"HTTP/1.1 200 OK\r\n\x1b[2J: x\r\n\r\n",
                b"hello, this is HTTP/0.9\n",
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
                b"HTTP/1.1 101 Switching Protocols\r\nupgrade: evil\r\nconnection: upgrade\r\n\r\nraw",
            ] {
                let server = Server::answering(move |_| answer.to_vec()).await;
                last = expect(
                    Arc::clone(&lab),
                    door,
                    server,
                    &["broken", "timed-out", "too-large", "other", "invalid"],
                    &[],
                )
                .await
                .map_err(|why| format!("{:?}: {why}", String::from_utf8_lossy(answer)))?;
            }
            Ok(last)
        }),
        Case::new(name("unasked"), "a second answer for a request that was not made yet", move |lab| {
            unasked(lab, door)
        }),
        Case::new(name("paints"), "answers with control characters in status and headers", move |lab| {
            paints(lab, door)
        }),
    ]
}

async fn ask(lab: &Arc<Lab>, door: Door, server: &Server, timeout: Option<u64>) -> Result<Told, String> {
    let plugin = door.guest(lab, &lab.runtime, &json!([{"host": "127.0.0.1", "scheme": "http", "port": server.port}]));
    let request = Request { timeout, ..Request::get(server.url("/")) };
    let seen = play(&plugin, &script(vec![Step::Http(request)])).await.map_err(|error| error.to_string())?;
    Ok(seen[0].outcome.clone())
}

/// A request that does not wait long.
async fn expect(lab: Arc<Lab>, door: Door, server: Server, kinds: &[&str], parts: &[&str]) -> Outcome {
    door.failed(&ask(&lab, door, &server, Some(SHORT)).await?, kinds, parts)
}

/// A request that waits as long as it may: what ends it is a bound of size.
async fn patient(lab: Arc<Lab>, door: Door, server: Server, kinds: &[&str], parts: &[&str]) -> Outcome {
    door.failed(&ask(&lab, door, &server, None).await?, kinds, parts)
}

/// A gigabyte of zeros in a megabyte: 64 members of gzip, which count as one body.
fn gzip_gigabyte() -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0; 1 << 20];
    for _ in 0..16 {
        encoder.write_all(&zeros).unwrap();
    }
    encoder.finish().unwrap().repeat(64)
}

/// So many zeros, deflated.
fn deflate(size: usize) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    let zeros = vec![0; 1 << 20];
    for _ in 0..size >> 20 {
        encoder.write_all(&zeros).unwrap();
    }
    encoder.finish().unwrap()
}

/// A body in an encoding: the host decodes it within its bounds, refuses it, or, where it knows no secret that could be in
/// it, hands it on as it is. It never hands on more than came.
async fn bomb(lab: Arc<Lab>, door: Door, encoding: &'static str, body: Vec<u8>) -> Outcome {
    let size = body.len();
    let server = Server::answering(move |_| reply(200, &format!("content-encoding: {encoding}\r\n"), &body)).await;
    let told = ask(&lab, door, &server, None).await?;
    if let Told::Response { length, headers, .. } = &told {
        ensure!(*length == size as u64, "{size} bytes came through as {length}: {headers:?}");
        return Ok(format!("{size} bytes came through as they were"));
    }
    door.failed(&told, &["too-large", "invalid", "other", "broken"], &[]).map(|text| format!("{size} bytes: {text}"))
}

async fn two_lengths(lab: Arc<Lab>, door: Door) -> Outcome {
    let mut seen = Vec::new();
    for headers in [
        "content-length: 5\r\ncontent-length: 50\r\n",
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: xchunked\r\n",
    ] {
        let server = Server::answering(move |_| format!("HTTP/1.1 200 OK\r\n{headers}\r\n5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil").into_bytes()).await;
        let told = ask(&lab, door, &server, Some(SHORT)).await?;
        // One reading of it is fine, if it is the one that no attacker gains by; the second answer is never anybody's.
        let again = ask(&lab, door, &server, Some(SHORT)).await?;
        ensure!(again.text() != "evil" && told.text() != "evil", "{headers:?}: {told:?}, then {again:?}");
        seen.push(told.kind().to_owned());
    }
    Ok(format!("{seen:?}, and the hidden answer reached nobody"))
}

/// The server sends two answers to the first request. The second one must not be the answer to another request, least of
/// all another plugin's.
async fn unasked(lab: Arc<Lab>, door: Door) -> Outcome {
    let server = Server::answering(|arrived| {
        let own = arrived.target().to_owned();
        let mut out = reply(200, "", own.as_bytes());
        if own == "/first" {
            out.extend(reply(200, "", b"poison"));
        }
        out
    })
    .await;
    let grants = json!([{"host": "127.0.0.1", "scheme": "http", "port": server.port}]);
    let attacker = door.guest(&lab, &lab.runtime, &grants);
    let other = door.guest(&lab, &lab.runtime, &grants);
    for _ in 0..20 {
        play(&attacker, &script(vec![Step::Http(Request::get(server.url("/first")))]))
            .await
            .map_err(|error| error.to_string())?;
        let seen = play(&other, &script(vec![Step::Http(Request::get(server.url("/second")))]))
            .await
            .map_err(|error| error.to_string())?;
        ensure!(seen[0].outcome.text() != "poison", "the other plugin got the hidden answer");
        ensure!(seen[0].outcome.text() == "/second", "the other plugin got {:?}", seen[0].outcome);
    }
    Ok("each request got its own answer".to_owned())
}

async fn paints(lab: Arc<Lab>, door: Door) -> Outcome {
    let server = Server::answering(|_| {
        b"HTTP/1.1 500 \x1b[2Jok\r\nlocation: http://\x1b[31m/\r\nx-a: a\tb\r\ncontent-length: 0\r\n\r\n".to_vec()
    })
    .await;
    let told = ask(&lab, door, &server, Some(SHORT)).await?;
    match &told {
        Told::Response { .. } => Ok("it came through to the guest alone".to_owned()),
        told => door.failed(told, &["broken", "other"], &[]),
    }
}
