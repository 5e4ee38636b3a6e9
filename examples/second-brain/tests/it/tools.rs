//! What the tools do to the vault.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Era, Mcp, Service};

struct Brain {
    vault: TempDir,
    _services: [Service; 4],
    capture: Mcp,
    organize: Mcp,
    distill: Mcp,
    express: Mcp,
}

fn brain(era: Era) -> Brain {
    let vault = TempDir::new().unwrap();
    let start = |name| Service::start(name, vault.path(), &[]);
    let services = [start("capture"), start("organize"), start("distill"), start("express")];
    let [capture, organize, distill, express] = services.each_ref().map(|s| s.mcp(era));
    Brain { vault, _services: services, capture, organize, distill, express }
}

fn name(value: &Value) -> String {
    value["note"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_note_goes_all_the_way_in_the_modern_era() {
    all_the_way(Era::Modern).await;
}

#[tokio::test]
async fn a_note_goes_all_the_way_in_the_legacy_era() {
    all_the_way(Era::Legacy).await;
}

async fn all_the_way(era: Era) {
    let Brain { vault, _services, capture, organize, distill, express } = brain(era);
    let captured = capture
        .call(
            "capture_note",
            json!({
                "title": "On \"moss\"",
                "body": "Moss is old. It has no roots.\n\nIt holds ten times its weight of water.",
                "source": "https://example.org/moss",
                "tags": ["#garden"],
            }),
        )
        .await;
    let note = name(&captured);
    let in_inbox = vault.path().join(captured["path"].as_str().unwrap());
    let content = fs::read_to_string(&in_inbox).unwrap();
    assert!(content.starts_with("---\ntitle: \"On \\\"moss\\\"\"\ncreated: "), "{content}");
    let inbox = capture.call("list_inbox", json!({"limit": 1})).await;
    assert_eq!(inbox["notes"][0]["title"], "On \"moss\"");
    assert_eq!(inbox["notes"][0]["tags"], json!(["garden"]));

    let quote =
        capture.call("capture_quote", json!({"quote": "Less is more.", "author": "Mies", "tags": ["design"]})).await;

    let suggested = organize.call("suggest_category", json!({"note": note})).await;
    assert_eq!(suggested["category"], "Resources");
    let filed = organize.call("file_note", json!({"note": note, "category": "areas"})).await;
    assert_eq!((&filed["from"], &filed["to"], &filed["moved"]), (&json!("Inbox"), &json!("Areas"), &json!(true)));
    assert!(!in_inbox.exists());
    let again = organize.call("file_note", json!({"note": note, "category": "Areas"})).await;
    assert_eq!(again["moved"], false);
    let listed = organize.call("list_notes", json!({"folder": "Areas"})).await;
    assert_eq!((name(&listed["notes"][0]), &listed["total"]), (note.clone(), &json!(1)));
    assert_eq!(organize.call("list_notes", json!({})).await["total"], 2);

    assert_eq!(distill.call("distill_queue", json!({})).await["total"], 1);
    let first = distill.call("distill_note", json!({"note": note, "max_points": 2})).await;
    assert_eq!(first["digest"], json!(["Moss is old.", "It has no roots."]));
    assert_eq!(first["from_highlights"], false);
    let marked = distill.call("highlight_note", json!({"note": note, "passages": ["ten times its weight"]})).await;
    assert_eq!((&marked["added"], &marked["already"]), (&json!(1), &json!(0)));
    let second = distill.call("distill_note", json!({"note": note})).await;
    assert_eq!(second["digest"], json!(["ten times its weight"]));
    let read = distill.call("read_note", json!({"note": format!("[[{note}]]")})).await;
    let body = read["body"].as_str().unwrap();
    assert!(body.starts_with("## Digest\n"), "{body}");
    assert_eq!(body.matches("## Digest").count(), 1);
    assert!(body.contains("Moss is old. It has no roots.\n\nIt holds ==ten times its weight== of water.\n"));
    assert_eq!(distill.call("distill_queue", json!({})).await["total"], 0);

    let arguments = json!({"title": "Small things", "notes": [note, name(&quote)]});
    let preview = express.call("preview_draft", arguments.clone()).await;
    assert_eq!(express.call("list_drafts", json!({})).await["total"], 0);
    let draft = express.call("assemble_draft", arguments).await;
    let content = fs::read_to_string(vault.path().join(draft["path"].as_str().unwrap())).unwrap();
    assert!(content.ends_with(preview["body"].as_str().unwrap()));
    assert!(content.contains(&format!("From [[{note}]].\n\n- ten times its weight\n")), "{content}");
    assert_eq!(express.call("list_drafts", json!({})).await["total"], 1);

    let stats = express.call("vault_stats", json!({})).await;
    assert_eq!(
        stats["counts"],
        json!({"inbox": 1, "projects": 0, "areas": 1, "resources": 0, "archives": 0, "express": 1})
    );
}

#[tokio::test]
async fn invalid_input_is_answered_with_what_to_do() {
    let Brain { vault, _services, capture, organize, distill, express } = brain(Era::Modern);
    let cases: [(&Mcp, &str, Value, &str); 20] = [
        (&capture, "capture_note", json!({"title": " ", "body": "x"}), "`title` is empty; give it some text"),
        (&capture, "capture_note", json!({"title": "x", "body": ""}), "`body` is empty"),
        (&capture, "capture_note", json!({"title": "x".repeat(201), "body": "x"}), "the limit is 200"),
        (&capture, "capture_note", json!({"title": "x", "body": "x".repeat(262_145)}), "the limit is 262144"),
        (&capture, "capture_note", json!({"title": "a\nb", "body": "x"}), "line break"),
        (&capture, "capture_note", json!({"title": "x", "body": "x", "tags": ["a b"]}), "is not a tag"),
        (&capture, "capture_note", json!({"title": "x", "body": "x", "folder": "/etc"}), "unknown field `folder`"),
        (&capture, "capture_note", json!({"body": "x"}), "missing field `title`"),
        (&capture, "capture_quote", json!({"quote": "x", "author": ""}), "`author` is empty"),
        (&capture, "list_inbox", json!({"limit": 0}), "from 1 to 200"),
        (
            &organize,
            "file_note",
            json!({"note": "x", "category": "Trash"}),
            "use one of Projects, Areas, Resources, Archives",
        ),
        (
            &organize,
            "file_note",
            json!({"note": "x", "category": "Areas"}),
            "there is no note `x`; use a name as `list_notes`",
        ),
        (&organize, "file_note", json!({"note": "../../etc/passwd", "category": "Areas"}), "is not a note name"),
        (&organize, "file_note", json!({"note": "Inbox/../../x", "category": "Areas"}), "is not a note name"),
        (&organize, "list_notes", json!({"folder": ".."}), "unknown variant"),
        (&distill, "read_note", json!({"note": "/etc/passwd"}), "is not a note name"),
        (&distill, "highlight_note", json!({"note": "x", "passages": []}), "`passages` is empty"),
        (&distill, "distill_note", json!({"note": "x", "max_points": 21}), "the limit is 20"),
        (&express, "assemble_draft", json!({"title": "x", "notes": []}), "`notes` is empty"),
        (&express, "assemble_draft", json!({"title": "x", "notes": ["nothing"]}), "there is no note `nothing`"),
    ];
    for (mcp, tool, arguments, wanted) in cases {
        let message = mcp.call_refused(tool, arguments).await;
        assert!(message.contains(wanted), "{tool}: {message:?} has no {wanted:?}");
    }
    for folder in ["Inbox", "Areas", "Express"] {
        assert_eq!(fs::read_dir(vault.path().join(folder)).unwrap().count(), 0);
    }

    // All passages or none.
    let note = capture.call("capture_note", json!({"title": "x", "body": "one two"})).await["note"].clone();
    let refused = distill.call_refused("highlight_note", json!({"note": note, "passages": ["one", "three"]})).await;
    assert!(refused.contains("no passage `three`"), "{refused}");
    assert_eq!(distill.call("read_note", json!({"note": note})).await["highlights"], json!([]));

    let unknown = capture.call_raw("no_such_tool", json!({})).await.json();
    assert_eq!(unknown["error"]["code"], -32602);
    let message = unknown["error"]["message"].as_str().unwrap();
    assert!(message.contains("has no tool `no_such_tool`; it has capture_note"), "{message}");
}
