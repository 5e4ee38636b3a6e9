//! What is there beside what is stable, and taking what is there for stable.

use basb_e2e::{FileOptions, Lab, Mcp, Two};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn kinds(report: &Value, service: usize) -> Vec<String> {
    let all = report["services"][service]["differences"].as_array().unwrap();
    all.iter().map(|d| d["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_difference_is_found_told_and_left_alone() {
    let lab = Lab::new();
    lab.write(&FileOptions { two: Two::Yes, ..FileOptions::default() });
    lab.run(1).exits(0);
    let out = lab.host(&["drift"]).exits(0);
    assert!(out.stdout.contains("no difference in 2 services"), "{}", out.stdout);

    // Somebody takes the service away behind the host's back; another revision is half-way.
    let mut run = lab.start(2);
    run.until_weight(20);
    let id = run.kill().events().run();
    let (history, cloud) = (lab.history(), lab.cloud());
    let out = lab.host(&["--json", "drift"]).exits(2);
    let report = out.json();
    assert_eq!(report["unfinished"], *id);
    assert_eq!(report["services"][0]["service"], "capture");
    assert_eq!(kinds(&report, 0), ["traffic", "stray"], "{report}");
    assert_eq!(kinds(&report, 1), [""; 0]);
    let text = lab.host(&["drift"]).exits(2);
    assert!(text.stdout.contains("should be 100% of the traffic, is 80% of the traffic"), "{}", text.stdout);
    assert!(text.stdout.contains("1 service differs from what is stable"), "{}", text.stdout);
    assert!(text.stderr.contains(&format!("run {id} is unfinished")), "{}", text.stderr);
    assert_eq!((lab.history(), lab.cloud()), (history, cloud), "nothing was changed");
    lab.run(1).exits(0);
    lab.host(&["drift"]).exits(0);
}

#[test]
fn another_workload_under_the_same_revision_is_found() {
    let lab = Lab::new();
    lab.write(&FileOptions::default());
    lab.run(1).exits(0);
    lab.run(2).exits(0);
    lab.host(&["drift"]).exits(0);
    let id = lab.cloud().service("capture").only().0.to_owned();
    let revision = format!("/revisions/{id}");

    // Somebody puts release 1 there under the name of release 2: id, instances and traffic are as they should be.
    let own = basb_e2e::program("second-brain");
    let command = serde_json::json!([own, "capture", "--vault", lab.vault(), "--release", "1"]);
    let workload = serde_json::json!({ "command": command, "ready": { "kind": "http", "path": "/healthz" } });
    lab.behind("lab.local.capture", "PUT", "/traffic", &serde_json::json!({ "weights": {} }));
    lab.behind("lab.local.capture", "DELETE", &format!("{revision}?drainMs=0"), &Value::Null);
    let state = || lab.behind("lab.local.capture", "GET", "", &Value::Null);
    basb_e2e::wait_for("its end", || state()["revisions"].as_array().unwrap().is_empty().then_some(()));
    lab.behind("lab.local.capture", "PUT", &revision, &serde_json::json!({ "workload": workload, "replicas": 2 }));
    basb_e2e::wait_for("two instances", || (state()["revisions"][0]["available"] == 2).then_some(()));
    lab.behind("lab.local.capture", "PUT", "/traffic", &serde_json::json!({ "weights": { id.clone(): 10_000 } }));
    assert_eq!(Mcp::new(lab.port()).release(), Ok(1), "users reach something else");

    let report = lab.host(&["--json", "drift"]).exits(2).json();
    assert_eq!(kinds(&report, 0), ["workload"], "{report}");
    let text = lab.host(&["drift"]).exits(2).stdout;
    assert!(text.contains(&format!("{id}: should be what was rolled out, workload sha256:")), "{text}");
    let told = report["services"][0]["there"][0]["workloadDigest"].as_str().unwrap();
    assert!(text.contains(&format!(", is workload {told}")), "{text}");
}

#[test]
fn what_is_left_over_is_removed_by_a_run() {
    let lab = Lab::new();
    lab.write(&FileOptions::default());
    lab.run(1).exits(0);
    let (stable, pids) = {
        let cloud = lab.cloud();
        let (id, revision) = cloud.service("capture").only();
        (id.to_owned(), revision.pids())
    };

    // A revision without traffic beside it, as a rollout leaves it that was killed before its first step.
    let own = basb_e2e::program("second-brain");
    let command = serde_json::json!([own, "capture", "--vault", lab.vault(), "--release", "2"]);
    let workload = serde_json::json!({ "command": command, "ready": { "kind": "http", "path": "/healthz" } });
    let stray = "/revisions/r0123456789ab";
    lab.behind("lab.local.capture", "PUT", stray, &serde_json::json!({ "workload": workload, "replicas": 1 }));
    let report = lab.host(&["--json", "drift"]).exits(2).json();
    assert_eq!(kinds(&report, 0), ["stray"], "{report}");
    let out = lab.host(&["plan", "--out", "plan.json"]).exits(2);
    assert!(out.stdout.contains("    delete revision r0123456789ab, which is left over\n"), "{}", out.stdout);

    let events = lab.run(1).exits(0).events();
    let told = events.titles("drift.found").pop().unwrap();
    assert!(told.contains(&format!("nothing but {stable} should be there; left over: r0123456789ab")), "{told}");
    let counts = ["revision.retired", "service.unchanged", "traffic.shifted"].map(|kind| events.count(kind));
    assert_eq!(counts, [1, 1, 0], "{:?}", events.kinds());
    let cloud = lab.cloud();
    let (id, revision) = cloud.service("capture").only();
    assert_eq!((id, revision.pids()), (stable.as_str(), pids), "nothing else was touched");
    lab.host(&["drift"]).exits(0);
    lab.verify_journal(&events.run());
    let again = lab.run(1).exits(0).events();
    assert_eq!((again.count("drift.found"), again.count("revision.retired")), (0, 0));
    lab.host(&["plan"]).exits(0);
    lab.host(&["run", "plan.json"]).exits(1).says("plan/stale", &["capture: left over was r0123456789ab, is nothing"]);
}

#[test]
fn what_cannot_be_read_is_not_taken_for_right() {
    let lab = Lab::new();
    lab.write(&FileOptions::default());
    lab.run(1).exits(0);
    let agent = lab.cloud().pid;
    kill_process(Pid::from_raw(i32::try_from(agent).unwrap()).unwrap(), Signal::KILL).unwrap();
    let out = lab.host(&["drift"]).exits(1);
    let out = out.says("drift/unreadable", &["1 service could not be read", "basb-host agent start"]);
    assert!(out.stdout.contains("? capture") && out.stdout.contains("not known: "), "{}", out.stdout);
    let report = lab.host(&["--json", "drift"]).exits(1).json();
    assert!(report["services"][0]["unreadable"]["message"].is_string(), "{report}");
    // It did not start the agent: that would have started services.
    lab.host(&["agent", "start"]).exits(0);
    assert_ne!(lab.cloud().pid, agent);
    basb_e2e::wait_for("services as they were", || lab.host(&["drift"]).code.filter(|code| *code == 0));
}

#[test]
fn what_exists_is_adopted_and_can_be_gone_back_to() {
    let lab = Lab::new();
    lab.write(&FileOptions { two: Two::Yes, ..FileOptions::default() });
    lab.run(1).exits(0);
    let refused = lab.host(&["import"]).exits(1);
    refused.says("import/nothing", &["nothing can be adopted", "capture: r", "is stable already", "organize: r"]);
    let (first, pids) = {
        let cloud = lab.cloud();
        let (id, revision) = cloud.service("capture").only();
        (id.to_owned(), revision.pids())
    };

    // The journal is lost; what runs goes on.
    std::fs::rename(lab.state().join("journal"), lab.root().join("lost")).unwrap();
    let report = lab.host(&["--json", "drift"]).exits(2).json();
    assert_eq!(kinds(&report, 0), ["unmanaged"]);
    let out = lab.host(&["--json", "import", "--set", "release=2"]).exits(0);
    assert!(out.stderr.contains(&format!("capture: {first} is there with all of the traffic")), "{}", out.stderr);
    assert!(out.stderr.contains("what it runs: it can be gone back to while it is there"), "{}", out.stderr);
    let imported = out.decided("import.decided")["imported"].clone();
    assert_eq!([&imported[0]["result"], &imported[0]["revision"]], ["adopted", &first], "{imported}");
    assert!(imported[0]["unknown"].as_array().is_some_and(|unknown| unknown.len() == 3), "{imported}");
    let events = out.events();
    assert_eq!((events.count("service.promoted"), events.count("traffic.shifted")), (2, 0));
    assert_eq!(lab.cloud().service("capture").only().1.pids(), pids, "nothing was touched");
    lab.host(&["drift"]).exits(0);
    let history = lab.host(&["history"]).exits(0).stdout;
    assert!(history.contains("import"), "{history}");
    lab.verify_journal(&events.run());

    // A broken release goes back to what was adopted; a good one replaces it.
    lab.run(3).exits(3);
    assert_eq!(lab.cloud().service("capture").only().0, first);
    assert_eq!(Mcp::new(lab.port()).release(), Ok(1));
    lab.run(2).exits(0);
    // What an import could not know cannot be made again.
    let out = lab.host(&["undo", "--service", "capture"]).exits(1);
    out.says("undo/unknown-workload", &["was adopted by an import, which could not know what it runs"]);
}

#[test]
fn a_split_is_not_adopted() {
    let lab = Lab::new();
    lab.write(&FileOptions::default());
    lab.run(1).exits(0);
    let mut run = lab.start(2);
    run.until_weight(50);
    let _ = run.kill();
    std::fs::rename(lab.state().join("journal"), lab.root().join("lost")).unwrap();
    let out = lab.host(&["import"]).exits(1);
    out.says("import/nothing", &["not exactly one revision has all of the traffic", "50%"]);
    assert_eq!(lab.history(), []);
}

#[test]
fn a_service_that_is_not_adopted_is_told_to_programs_too() {
    let lab = Lab::new();
    lab.write(&FileOptions { two: Two::Yes, ..FileOptions::default() });
    lab.run(1).exits(0);
    // One of them is half-way to another release, and the journal is lost.
    let mut run = lab.start(2);
    run.until("a share of capture", |event| {
        event.service.as_ref().is_some_and(|s| s.as_str() == "capture") && event.body.kind() == "traffic.shifted"
    });
    let _ = run.kill();
    std::fs::rename(lab.state().join("journal"), lab.root().join("lost")).unwrap();
    let out = lab.host(&["--json", "import"]).exits(0);
    let imported = out.decided("import.decided")["imported"].clone();
    let of = |n: usize, key: &str| imported[n][key].clone();
    assert_eq!([of(0, "service"), of(0, "result")], ["capture", "refused"], "{imported}");
    assert!(
        of(0, "reason").as_str().unwrap().contains("not exactly one revision has all of the traffic"),
        "{imported}"
    );
    assert_eq!([of(1, "service"), of(1, "result")], ["organize", "adopted"], "{imported}");
}
