//! The generated table is of this structure, and an external counterpart is a process.

use basb_conformance::fault::Fault;
use basb_runtime::{Kind, inspect};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The cells of a line of a table.
fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}

#[test]
fn the_table_in_the_documentation_has_every_fault_every_plugin_and_every_bug() {
    let text = std::fs::read_to_string(repository().join("docs/conformance.md")).unwrap();
    let again = "run `cargo xtask conformance`";
    let head = text.lines().find(|line| line.starts_with("| Fault |")).unwrap();
    let plugins: Vec<&str> = cells(head).into_iter().skip(1).collect();
    let talks =
        |bytes: &[u8]| matches!(inspect(bytes).unwrap().kind, Some(Kind::Provider | Kind::Probe | Kind::Notifier));
    let wanted: Vec<&str> = basb_builtins::all().iter().filter(|b| talks(b.bytes)).map(|b| b.name).collect();
    // A plugin that works in several ways has a column for each.
    let is_of =
        |column: &str, name: &str| column.strip_prefix(name).is_some_and(|r| r.is_empty() || r.starts_with('-'));
    for name in &wanted {
        assert!(plugins.iter().any(|column| is_of(column, name)), "{name}: {again}");
    }
    for column in &plugins {
        assert!(wanted.iter().any(|name| is_of(column, name)), "{column}: {again}");
    }
    for fault in Fault::ALL {
        let row = text.lines().map(cells).find(|cells| cells[0] == fault.word());
        assert_eq!(row.map(|row| row.len()), Some(plugins.len() + 1), "{fault}: {again}");
    }
    let manifest = std::fs::read_to_string(repository().join("tests/guests/cloud-provider/plugin.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let bugs = manifest["configSchema"]["properties"]["bug"]["enum"].as_array().unwrap();
    assert!(bugs.len() >= 10);
    for bug in bugs {
        let row = text.lines().map(cells).find(|cells| cells[0] == bug.as_str().unwrap());
        let row = row.unwrap_or_else(|| panic!("{bug}: {again}"));
        assert_ne!(row[1], "**no**", "{bug} is not caught");
    }
}

#[test]
fn a_counterpart_in_a_process_of_its_own_is_started_set_back_and_ended() {
    let folder = tempfile::tempdir().unwrap();
    let report = Command::new(env!("CARGO_BIN_EXE_basb-conformance-matrix"))
        .args(["external", "--folder"])
        .arg(folder.path())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&report.stdout), String::from_utf8_lossy(&report.stderr));
    assert!(report.status.success(), "{out}\n{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert!(report["counterpart"].as_str().unwrap().starts_with("external: "), "{report}");
    assert!(report["faults"].as_array().unwrap().iter().all(|fault| fault["injected"].as_u64() > Some(0)), "{report}");
}
