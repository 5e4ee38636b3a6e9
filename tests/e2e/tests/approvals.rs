//! Gates that several people must let pass, and the plan that an approval is for.

use basb_e2e::{FileOptions, Lab, Mcp, swap};
use serde_json::{Value, json};
use std::time::UNIX_EPOCH;

/// A lab whose environment asks for approvals, with this after `approve:`.
fn lab(approve: &str) -> Lab {
    let lab = Lab::new();
    let options = FileOptions { config: "{ steps: [ { setWeight: 50 } ] }", ..FileOptions::default() };
    let text = options.text(lab.port(), lab.second_port());
    let environment = format!("  local:\n    provider: {{ plugin: local }}\n    approve: {approve}\n");
    lab.write_text(&swap(&text, "  local:\n    provider: { plugin: local }\n", &environment));
    lab
}

#[test]
fn nothing_is_changed_before_enough_different_people_agree() {
    let lab = lab("{ approvals: 2, approvers: [ann, ben] }");
    let out = lab.run(1).exits(4);
    let events = out.events();
    let run = events.run();
    assert_eq!(events.kinds(), ["run.started", "gate.opened"]);
    assert!(
        out.stderr
            .contains("waiting at gate local, 0 of 2 approvals are there: `basb-host approve local --plan sha256:")
    );
    assert!(lab.cloud().services.is_empty(), "nothing was deployed");

    lab.host(&["promote"]).exits(1).says("run/nothing-to-act-on", &["0 of 2 approvals", "basb-host approve local"]);
    lab.host(&["approve", "local", "--by", "mallory"]).exits(1).says("gate/refused", &["none of its approvers"]);
    let other = format!("sha256:{}", "0".repeat(64));
    let stale = lab.host(&["approve", "local", "--by", "ann", "--plan", &other]).exits(1);
    stale.says("gate/plan-changed", &["it is for plan 000000000000, and this run is plan"]);

    let json = lab.host(&["--json", "approve", "local", "--by", "ann"]).exits(0).json();
    assert_eq!(json["events"][0]["kind"], "gate.approved");
    assert_eq!(json["events"][0]["by"], "ann");
    assert!(json["events"][0]["asked"].as_str().unwrap().contains(" pid "), "who wrote it down: {json}");
    lab.host(&["approve", "local", "--by", "ann"]).exits(1).says("gate/refused", &["has approved already"]);
    let status = lab.host(&["status"]).exits(0).stdout;
    assert!(status.contains("gate local: ") && status.contains("1 of 2 approvals (ann)"), "{status}");
    let plan = json["events"][0]["plan"].as_str().unwrap();
    assert!(status.contains(plan), "{status}");

    let done = lab.host(&["--json", "approve", "local", &run, "--by", "ben", "--plan", plan]).exits(0).events();
    assert_eq!(done.count("gate.passed"), 1);
    assert!(done.titles("gate.passed").pop().unwrap().contains("ann, ben"));
    assert_eq!(Mcp::new(lab.port()).release(), Ok(1));
    lab.verify_journal(&run);

    // What finds everything as it was recorded needs nobody.
    assert_eq!(lab.run(1).exits(0).events().count("gate.opened"), 0);
}

#[test]
fn another_plan_needs_other_approvals() {
    let lab = lab("{ approvals: 2 }");
    let first = lab.run(1).exits(4).events().run();
    lab.host(&["approve", "local", "--by", "ann"]).exits(0);
    let out = lab.run(2).exits(4);
    assert_ne!(out.events().run(), first);
    assert!(out.stderr.contains("its approvals are void: ann"), "{}", out.stderr);
    let status = lab.host(&["--json", "status"]).exits(0).json();
    assert_eq!(status["unfinished"][0]["gates"][0]["approvals"], serde_json::json!([]));
    lab.host(&["abort"]).exits(1);
    assert!(lab.cloud().services.is_empty(), "nothing was deployed");
}

#[test]
fn a_repair_waits_for_approval_too() {
    let lab = lab("{ approvals: 1 }");
    let text = FileOptions { config: "{ steps: [ { setWeight: 50 } ] }", ..FileOptions::default() };
    let text = text.text(lab.port(), lab.second_port());
    let approve = "  local:\n    provider: { plugin: local }\n    approve: { approvals: 1 }\n";
    lab.write_text(&swap(&text, "  local:\n    provider: { plugin: local }\n", approve));
    lab.run(1).exits(4);
    lab.host(&["approve", "local", "--by", "ann"]).exits(0);
    assert_eq!(Mcp::new(lab.port()).release(), Ok(1));

    // Somebody takes away what runs, behind the host's back.
    let id = lab.cloud().service("capture").only().0.to_owned();
    let state = || lab.behind("lab.local.capture", "GET", "", &Value::Null);
    lab.behind("lab.local.capture", "PUT", "/traffic", &json!({ "weights": {} }));
    lab.behind("lab.local.capture", "DELETE", &format!("/revisions/{id}?drainMs=0"), &Value::Null);
    let is_gone = || state()["revisions"].as_array().is_none_or(Vec::is_empty);
    basb_e2e::wait_for("its end", || is_gone().then_some(()));

    let out = lab.run(1).exits(4);
    let events = out.events();
    assert_eq!((events.count("drift.found"), events.count("gate.opened")), (1, 1), "{:?}", events.kinds());
    assert_eq!(events.count("traffic.shifted"), 0);
    assert!(out.stderr.contains("waiting at gate local, 0 of 1 approvals are there"), "{}", out.stderr);
    assert!(is_gone(), "nothing was deployed before somebody agreed");
    lab.host(&["promote"]).exits(1).says("run/nothing-to-act-on", &["nothing is repaired before", "0 of 1 approvals"]);

    let done = lab.host(&["--json", "approve", "local", "--by", "ben"]).exits(0).events();
    assert_eq!((done.count("gate.passed"), done.weights("capture")), (1, vec![100]));
    assert_eq!(Mcp::new(lab.port()).release(), Ok(1));
    lab.verify_journal(&events.run());
    // And then nothing is left to ask for.
    assert_eq!(lab.run(1).exits(0).events().count("gate.opened"), 0);
}

/// Nobody was at work when the gate's time was up: an approval that comes then does not decide.
#[test]
fn an_approval_after_the_time_of_the_gate_does_not_count() {
    let lab = lab("{ approvals: 1, timeout: 1s }");
    let mut run = lab.start(1);
    run.until_kind("gate.opened");
    let id = run.kill().events().run();
    let status = lab.host(&["--json", "status"]).exits(0).json();
    let until = status["unfinished"][0]["gates"][0]["until"].as_u64().unwrap_or_else(|| panic!("{status}"));
    let now = || UNIX_EPOCH.elapsed().unwrap().as_millis();
    basb_e2e::wait_for("the gate's time to be up", || (now() > u128::from(until)).then_some(()));
    lab.host(&["approve", "local", "--by", "ann"]).exits(1).says("gate/refused", &["its time was up at ", "onTimeout"]);
    assert!(lab.cloud().services.is_empty(), "nothing was begun");
    let events = lab.host(&["--json", "resume", &id]).exits(1).events();
    assert!(events.titles("service.failed").pop().unwrap().contains("nobody approved in time: 0 of 1 approvals"));
}

#[test]
fn a_gate_that_nobody_answers_ends_as_the_file_says() {
    let aborts = lab("{ timeout: 300ms, onTimeout: abort }");
    let events = aborts.run(1).exits(1).events();
    assert!(events.titles("service.failed").pop().unwrap().contains("nobody approved in time: 0 of 1 approvals"));
    assert!(aborts.cloud().services.is_empty());

    let goes_on = lab("{ timeout: 300ms, onTimeout: continue }");
    let events = goes_on.run(1).exits(0).events();
    assert!(events.titles("gate.passed").pop().unwrap().contains("the timeout"));
    assert_eq!(Mcp::new(goes_on.port()).release(), Ok(1));
}

#[test]
fn a_services_gate_can_need_approvals_too() {
    let lab = Lab::new();
    let config = "{ steps: [ { setWeight: 50 }, { pause: {} } ] }";
    let text = FileOptions { config, ..FileOptions::default() }.text(lab.port(), lab.second_port());
    lab.write_text(&swap(&text, "    strategy: careful\n", "    strategy: careful\n    gates: { approvals: 2 }\n"));
    lab.run(1).exits(0);
    let run = lab.run(2).exits(4).events().run();
    lab.host(&["promote"]).exits(1).says("run/nothing-to-act-on", &["its gate needs approvals, 0 of 2"]);
    let full = lab.host(&["promote", "--full"]).exits(1);
    full.says("run/nothing-to-act-on", &["its gates need approvals, which `--full` would go round"]);
    lab.host(&["approve", "capture", "--by", "ann"]).exits(0);
    let done = lab.host(&["--json", "approve", "capture", "--by", "ben"]).exits(0).events();
    assert_eq!(done.run(), run);
    assert_eq!(done.weights("capture"), [100]);
    assert_eq!(Mcp::new(lab.port()).release(), Ok(2));
}
