//! The notifier against a fake vault.

use super::*;
use basb_plugin::testing::FakeHost;
use basb_plugin::{Severity, Timestamp};
use serde_json::{Value, json};

const PATH: &str = "agent-workspaces/DevOps/deply-notes/2026-01-02 dev-ops-log.md";

fn event(kind: &str, title: &str, data: Value) -> Event {
    Event {
        key: format!("{kind}-{}", title.len()),
        at: Timestamp(1_767_323_045_000),
        kind: kind.into(),
        severity: Severity::Info,
        deployment: "second-brain".into(),
        environment: "local".into(),
        run: "01ab".into(),
        service: if kind.starts_with("run") { None } else { Some("capture".into()) },
        revision: None,
        title: title.into(),
        data: data.to_string(),
    }
}

fn notify(host: &FakeHost, event: &Event) -> Result<Receipt, Failure> {
    ObsidianNotifier::notify(&host.notifier_context(), &Config::default(), event)
}

/// What is under a heading, without the marks.
fn under(text: &str, heading: &str) -> Vec<String> {
    text.lines()
        .skip_while(|line| line.trim_start_matches('#').trim() != heading)
        .skip(1)
        .take_while(|line| !line.starts_with('#'))
        .filter(|line| !line.is_empty())
        .map(|line| line.split(" %%").next().unwrap().to_owned())
        .collect()
}

#[test]
fn a_day_is_told() {
    let host = FakeHost::new().folder("vault");
    let mut finished = event("run.finished", "done after 3m", json!({"kind": "run.finished", "outcome": "done"}));
    finished.at = Timestamp(finished.at.0 + 180_000);
    let mut aborted = event("service.aborted", "giving r3 up, back to r2: it fails", json!({}));
    aborted.severity = Severity::Error;
    let events = [
        event("run.started", "deploying", json!({"services": {"capture": "r1", "express": "r9"}})),
        event("service.promoted", "r1 is stable", json!({"revision": "r1"})),
        event(
            "probe.measured",
            "verify: probe tools: pass: 4 tools",
            json!({"phase": "verify", "probe": "tools", "verdict": "pass"}),
        ),
        event("analysis.finished", "analysis a: fail: too slow", json!({"verdict": "fail"})),
        aborted,
        event("service.rolled-back", "rolled back", json!({})),
        event("incident.opened", "incident: r3", json!(null)),
        event("something.new", "new", json!("text")),
        finished,
    ];
    for event in &events {
        notify(&host, event).unwrap();
    }
    let text = host.file_text("vault", PATH).unwrap();
    assert_eq!(under(&text, "Today's DevOps Goals"), ["- [x] deploy **second-brain** to local: done after 3m"]);
    assert_eq!(
        under(&text, "Deployments"),
        ["- 03:04 ✅ **capture** r1 is stable", "- 03:07 ✅ **second-brain** to local: done after 3m"]
    );
    assert_eq!(
        under(&text, "Basic Service Testing"),
        [
            "- 03:04 ✅ **capture** verify: probe tools: pass: 4 tools",
            "- 03:04 ❌ **capture** analysis a: fail: too slow"
        ]
    );
    assert_eq!(under(&text, "System Health"), ["- 03:04 ℹ️ **capture** new"]);
    assert_eq!(under(&text, "Alerts Overview"), ["- 03:04 ❌ **capture** giving r3 up, back to r2: it fails"]);
    assert_eq!(under(&text, "Description"), ["- 03:04 ℹ️ **capture** incident: r3"]);
    assert_eq!(under(&text, "Actions Taken"), ["- 03:04 ✅ **capture** rolled back"]);
    assert_eq!(under(&text, "References"), ["- run 01ab: `basb-host show 01ab`"]);
    assert_eq!(under(&text, "Tomorrow's Plan"), Vec::<String>::new());

    // Everything again: nothing is written.
    let writes = host.writes();
    for event in &events {
        notify(&host, event).unwrap();
    }
    assert_eq!(host.file_text("vault", PATH).unwrap(), text);
    assert_eq!(host.writes(), writes);
}

#[test]
fn what_somebody_writes_meanwhile_is_kept() {
    let host = FakeHost::new().file("vault", PATH, "# Mine\n");
    host.interfere_once("vault", PATH, "# Mine\n\nand this\n");
    notify(&host, &event("service.promoted", "r1 is stable", json!({}))).unwrap();
    let text = host.file_text("vault", PATH).unwrap();
    assert!(text.starts_with("# Mine\n\nand this\n") && text.contains("r1 is stable"), "{text}");
}

#[test]
fn a_failed_run_alerts() {
    let host = FakeHost::new().folder("vault");
    for outcome in ["aborted", "failed", "rollback-failed", "whatever"] {
        let failed = event("run.finished", outcome, json!({"outcome": outcome}));
        notify(&host, &failed).unwrap();
    }
    let text = host.file_text("vault", PATH).unwrap();
    assert!(under(&text, "Alerts Overview").iter().all(|line| line.contains('❌')));
    assert!(!text.contains("[x]"));
}

#[test]
fn path_and_zone_can_be_set() {
    let host = FakeHost::new().folder("notes");
    let config = json!({"folder": "notes", "path": "{year}/{date}.md", "utcOffset": "-05:00", "tags": ["x"]});
    let config: Config = serde_json::from_value(config).unwrap();
    ObsidianNotifier::notify(&host.notifier_context(), &config, &event("warning", "w", json!({}))).unwrap();
    let text = host.file_text("notes", "2026/2026-01-01.md").unwrap();
    assert!(text.starts_with("---\ndate: 2026-01-01\ntags:\n  - x\n---\n") && text.contains("- 22:04 "), "{text}");
}

#[test]
fn no_permission_is_said() {
    let denied = notify(&FakeHost::new(), &event("warning", "w", json!({}))).unwrap_err();
    assert_eq!((denied.code, denied.retry), (FailureCode::Denied, basb_plugin::Retry::Never));
}
