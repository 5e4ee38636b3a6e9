//! Restarts, kills, and an orderly end.

use std::{fs, path::Path, time::Duration};

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::client::{Era, Service};

#[tokio::test]
async fn a_restart_keeps_the_notes() {
    let vault = TempDir::new().unwrap();
    let mut notes = Vec::new();
    for n in 0..3 {
        let mut service = Service::start("capture", vault.path(), &[]);
        let mcp = service.mcp(Era::Modern);
        let captured = mcp.call("capture_note", json!({"title": "Same", "body": format!("{n}")})).await;
        notes.push(captured["note"].as_str().unwrap().to_owned());
        service.signal(Signal::TERM);
        assert!(service.wait().success());
    }
    let service = Service::start("distill", vault.path(), &[]);
    let mcp = service.mcp(Era::Modern);
    for (n, note) in notes.iter().enumerate() {
        let read = mcp.call("read_note", json!({"note": note})).await;
        assert_eq!(read["body"], format!("{n}\n"));
    }
}

/// Killed without warning while several clients write: what was acknowledged is there, and what is
/// there is whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_corrupts_nothing() {
    let vault = TempDir::new().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..4u64 {
        let mut service = Service::start("capture", vault.path(), &[]);
        let mut writers = Vec::new();
        for writer in 0..4 {
            let address = service.address.clone();
            writers.push(std::thread::spawn(move || write_until_cut_off(&address, round, writer)));
        }
        tokio::time::sleep(Duration::from_millis(150 + round * 37)).await;
        service.signal(Signal::KILL);
        service.wait();
        for writer in writers {
            acknowledged.extend(writer.join().unwrap());
        }
    }
    assert!(acknowledged.len() > 10, "{}", acknowledged.len());

    let service = Service::start("distill", vault.path(), &[]);
    let mcp = service.mcp(Era::Modern);
    for note in &acknowledged {
        mcp.call("read_note", json!({"note": note})).await;
    }
    let mut count = 0;
    for entry in fs::read_dir(vault.path().join("Inbox")).unwrap() {
        let path = entry.unwrap().path();
        let content = fs::read_to_string(&path).unwrap();
        assert!(content.starts_with("---\ntitle: ") && content.ends_with("the end\n"), "{path:?}");
        count += 1;
    }
    assert!(count >= acknowledged.len());
    assert_eq!(entries(&vault.path().join(".second-brain/tmp")), 0, "leftovers are removed");
}

fn entries(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

/// Plain sockets: a client library would hide where the connection was cut.
fn write_until_cut_off(address: &str, round: u64, writer: u32) -> Vec<String> {
    use std::io::{Read, Write};
    let mut acknowledged = Vec::new();
    for n in 0.. {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
            "name": "capture_note",
            "arguments": {
                "title": format!("r{round} w{writer} n{n}"),
                "body": format!("{}the end", "text ".repeat(2000)),
            },
        }})
        .to_string();
        let request = format!(
            "POST /mcp HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
             content-type: application/json\r\naccept: application/json, text/event-stream\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut answer = String::new();
        let exchange = std::net::TcpStream::connect(address).and_then(|mut stream| {
            stream.write_all(request.as_bytes())?;
            stream.read_to_string(&mut answer)
        });
        let json = answer.split_once("\r\n\r\n").map(|(_, body)| body);
        let json = json.and_then(|body| serde_json::from_str::<serde_json::Value>(body).ok());
        match (exchange, json) {
            (Ok(_), Some(json)) => {
                let note = &json["result"]["structuredContent"]["note"];
                acknowledged.push(note.as_str().unwrap().to_owned());
            }
            _ => break,
        }
    }
    acknowledged
}

/// A request that waits for the vault when SIGTERM comes is still answered.
#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_are_finished() {
    let vault = TempDir::new().unwrap();
    let mut service = Service::start("capture", vault.path(), &[]);
    let lock = fs::File::open(vault.path().join(".second-brain/lock")).unwrap();
    lock.lock().unwrap();
    let mcp = service.mcp(Era::Modern);
    let call = tokio::spawn(async move {
        let arguments = json!({"title": "Last words", "body": "x"});
        mcp.call("capture_note", arguments).await
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    service.signal(Signal::TERM);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!call.is_finished());
    drop(lock);
    let captured = call.await.unwrap();
    assert!(vault.path().join(captured["path"].as_str().unwrap()).exists());
    assert!(service.wait().success());
}

#[tokio::test]
async fn an_unreachable_vault_is_not_healthy() {
    let parent = TempDir::new().unwrap();
    let vault = parent.path().join("vault");
    let service = Service::start("capture", &vault, &[]);
    let mcp = service.mcp(Era::Modern);
    assert_eq!(mcp.get("/healthz").await.status, 200);
    fs::remove_dir_all(&vault).unwrap();
    let health = mcp.get("/healthz").await;
    assert_eq!(health.status, 503);
    assert!(health.json()["error"].as_str().unwrap().contains("check the disk"), "{}", health.text);
    let refused = mcp.call_refused("capture_note", json!({"title": "x", "body": "x"})).await;
    assert!(refused.contains("check the disk"), "{refused}");
}
