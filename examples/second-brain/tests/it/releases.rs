//! What differs between the releases.

use serde_json::json;
use tempfile::TempDir;

use crate::client::{Era, SERVICES, Service};

#[tokio::test]
async fn release_2_adds_one_tool_to_every_service() {
    let vault = TempDir::new().unwrap();
    let expected = [
        (vec!["capture_note", "list_inbox", "vault_stats"], "capture_quote"),
        (vec!["file_note", "list_notes", "vault_stats"], "suggest_category"),
        (vec!["distill_note", "highlight_note", "read_note", "vault_stats"], "distill_queue"),
        (vec!["assemble_draft", "list_drafts", "vault_stats"], "preview_draft"),
    ];
    for (name, (first, added)) in SERVICES.into_iter().zip(expected) {
        let one = Service::start(name, vault.path(), &["--release", "1"]).mcp_tools().await;
        assert_eq!(one.names, first);
        let mut more = first.clone();
        more.push(added);
        more.sort_unstable();
        for release in ["2", "3"] {
            let later = Service::start(name, vault.path(), &["--release", release]).mcp_tools().await;
            assert_eq!(later.names, more);
            // The contract of the tools that were there before is the same.
            for tool in &one.tools {
                assert!(later.tools.contains(tool), "{tool}");
            }
        }
    }
    let old = Service::start("capture", vault.path(), &["--release", "1"]);
    let answer = old.mcp(Era::Modern).call_raw("capture_quote", json!({})).await.json();
    assert_eq!(answer["error"]["code"], -32602);
    assert_eq!(old.mcp(Era::Modern).get("/healthz").await.json()["release"], 1);
}

struct Tools {
    names: Vec<String>,
    tools: Vec<serde_json::Value>,
}

impl Service {
    /// In both eras, which must agree.
    async fn mcp_tools(&self) -> Tools {
        let tools = self.mcp(Era::Modern).tools().await;
        assert_eq!(self.mcp(Era::Legacy).tools().await, tools);
        Tools { names: self.mcp(Era::Modern).tool_names().await, tools }
    }
}

#[tokio::test]
async fn release_3_starts_well_and_fails_every_fourth_call() {
    for (options, every) in [(&["--release", "3"][..], 4), (&["--release", "3", "--fail-every", "3"], 3)] {
        for era in [Era::Modern, Era::Legacy] {
            let vault = TempDir::new().unwrap();
            let service = Service::start("organize", vault.path(), options);
            let mcp = service.mcp(era);
            for _ in 0..every {
                assert_eq!(mcp.get("/healthz").await.status, 200);
                mcp.open().await;
                mcp.tools().await;
            }
            let mut failed = Vec::new();
            for call in 1..=24 {
                let answer = mcp.call_raw("vault_stats", json!({})).await;
                assert_eq!(answer.status, 200);
                let json = answer.json();
                if json["error"].is_null() {
                    assert_eq!(json["result"]["isError"], false);
                } else {
                    assert_eq!(json["error"]["code"], -32603);
                    failed.push(call);
                }
            }
            let expected: Vec<_> = (1..=24).filter(|call| call % every == 0).collect();
            assert_eq!(failed, expected);
        }
    }
}

#[tokio::test]
async fn a_failed_call_of_release_3_changes_nothing() {
    let vault = TempDir::new().unwrap();
    let service = Service::start("capture", vault.path(), &["--release", "3", "--fail-every", "1"]);
    let mcp = service.mcp(Era::Modern);
    let answer = mcp.call_raw("capture_note", json!({"title": "x", "body": "x"})).await;
    assert_eq!(answer.json()["error"]["code"], -32603);
    assert_eq!(std::fs::read_dir(vault.path().join("Inbox")).unwrap().count(), 0);
}

#[test]
fn wrong_options_are_refused() {
    for options in [
        &["capture", "--release", "4"][..],
        &["capture", "--release", "3", "--fail-every", "0"],
        &["remember"],
        &["capture", "--listen", "nowhere"],
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_second-brain"))
            .args(options)
            .env("SECOND_BRAIN_VAULT", TempDir::new().unwrap().path())
            .output()
            .unwrap();
        assert!(!output.status.success(), "{options:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[tokio::test]
async fn the_environment_configures_too() {
    let vault = TempDir::new().unwrap();
    // What a platform gives: HOST, PORT and variables, no options.
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_second-brain"))
        .arg("express")
        .env("SECOND_BRAIN_VAULT", vault.path())
        .env("SECOND_BRAIN_RELEASE", "1")
        .env("HOST", "127.0.0.1")
        .env("PORT", "0")
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut log, &mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.contains("listening on 127.0.0.1:"), "{line}");
    assert!(line.contains("service=\"express\" release=1"), "{line}");
}
