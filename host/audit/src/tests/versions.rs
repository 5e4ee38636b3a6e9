//! What a new version can do that the old one could not.

use super::{HTTP, LOG, digest, grants, inspection};
use crate::{RunState, Side, diff, integrity, lock_text};
use basb_core::ServiceName;
use basb_inspect::Inspection;
use basb_registry::{Facts, LockEntry, LockedSource, Scope, compare};
use serde_json::{Value, json};
use std::path::Path;

fn entry(inspection: &Inspection, granted: &Value, source: &str) -> LockEntry {
    LockEntry::of(Facts {
        source: &LockedSource::new(source, Path::new("/")),
        digest: &digest(),
        inspection,
        grants: &grants(granted),
        credentials: &[],
        bindings: &Value::Null,
        signed_by: None,
    })
    .unwrap()
}

#[test]
fn what_is_new_stands_first() {
    let old = inspection("probe", &[HTTP, LOG], &["http"]);
    let mut new = inspection("probe", &[HTTP, ("basb:host/exec@0.1.0", &["run"])], &["http", "exec"]);
    let manifest = new.manifest.as_mut().unwrap();
    manifest.version = "1.3.0".parse().unwrap();
    manifest.capabilities[0].reason = "needs \u{1b}[31mmore".to_owned();
    manifest.config_schema = json!({"type": "object"});
    let (before, after) = (entry(&old, &json!({}), "old.wasm"), entry(&new, &json!({}), "new.wasm"));
    let report = diff(
        Side { label: "old.wasm", entry: &before, manifest: old.manifest.as_ref() },
        Side { label: "new.wasm", entry: &after, manifest: new.manifest.as_ref() },
    );
    insta::assert_snapshot!(report.text());
    assert_eq!(serde_json::to_value(&report).unwrap()["more"][0]["what"], "import-added");
}

#[test]
fn two_names_of_one_file_do_not_differ() {
    let one = inspection("probe", &[HTTP], &["http"]);
    let (a, b) = (entry(&one, &json!({}), "a.wasm"), entry(&one, &json!({}), "b.wasm"));
    let side = |label, entry| Side { label, entry, manifest: one.manifest.as_ref() };
    let report = diff(side("a", &a), side("b", &b));
    assert!(report.is_empty() && report.text().contains("nothing differs"));
}

#[test]
fn a_broken_run_says_what_can_still_be_relied_on() {
    let head = digest().to_string();
    let changed = "its content, or its place in the chain, was changed".to_owned();
    let found = integrity(vec![
        RunState::whole("01k".to_owned(), 12, head),
        RunState::broken("01j".to_owned(), 7, changed),
        RunState::broken("01h".to_owned(), 0, "the run's start was changed".to_owned()),
    ]);
    assert_eq!(found.broken, 2);
    insta::assert_snapshot!(found.text());
}

#[test]
fn an_update_shows_what_widens_first() {
    let one = inspection("probe", &[HTTP], &["http"]);
    let before = entry(&one, &json!({"http": [{"host": "a.example"}]}), "a.wasm");
    let mut after = entry(&one, &json!({"http": [{"host": "**.example"}]}), "a.wasm");
    after.digest = basb_core::Digest::of(b"other");
    let scope = Scope { deployment: ServiceName::new("brain").unwrap(), environment: super::name("production") };
    let plugins = [(super::name("checks"), compare(&before, &after))].into();
    insta::assert_snapshot!(lock_text(&scope, &plugins, &[super::name("old")]));
}
