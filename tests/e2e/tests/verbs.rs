//! What operators ask of a run from another terminal: of one that a process is at work on, and of one that sleeps. Every
//! answer says what happened, and what has nothing to act on is an error.

use basb_core::event::Body;
use basb_e2e::{FileOptions, Following, Lab, Load, Mcp, Output, swap};
use serde_json::Value;

/// A canary with a pause that nobody could wait for.
const SLOW: &str = "{ steps: [ { setWeight: 20 }, { pause: { duration: 10m } }, { setWeight: 50 } ] }";

/// A lab with release 1 deployed, and release 2 on its way, at 20 % in a pause of ten minutes.
fn under_way(config: &'static str) -> (Lab, Following) {
    let lab = Lab::new();
    lab.write(&FileOptions { config, ..FileOptions::default() });
    lab.run(1).exits(0);
    let mut run = lab.start(2);
    run.until_weight(20);
    (lab, run)
}

/// The answer of a process that took a verb up, as JSON.
#[track_caller]
fn taken(out: Output) -> Value {
    let json = out.exits(0).json();
    assert_eq!(json["version"], 1);
    let by = json["by"].as_str().unwrap();
    assert!(by.contains('@') && by.contains(" pid "), "who asked: {by}");
    json
}

#[track_caller]
fn kinds(answer: &Value) -> Vec<&str> {
    answer["events"].as_array().unwrap().iter().map(|e| e["kind"].as_str().unwrap()).collect()
}

#[test]
fn a_live_run_is_paused_and_resumed() {
    let (lab, run) = under_way(SLOW);
    let pid = run.pid();
    let answer = taken(lab.host(&["--json", "pause"]));
    assert_eq!(answer["verb"], "pause");
    assert_eq!(kinds(&answer), ["service.paused"]);
    assert_eq!(answer["says"][0]["service"], "capture");
    assert!(answer["takenBy"].as_str().unwrap().ends_with(&format!(" pid {pid}")), "{answer}");

    // Nothing but time was under way: the process ends, and says how to go on.
    let out = run.end().exits(4);
    let id = out.events().run();
    assert!(out.stderr.contains(&format!("basb-host resume {id}")), "{}", out.stderr);
    let status = lab.host(&["status"]).exits(0).stdout;
    assert!(status.contains("paused by ") && status.contains("nobody is at work on it"), "{status}");

    // Once is enough, and a promotion of a paused run says that it stays paused.
    lab.host(&["pause"]).exits(1).says("run/nothing-to-act-on", &["it is paused already"]);
    let again = lab.run(2).exits(4);
    assert!(again.stderr.contains("paused: go on with"), "{}", again.stderr);

    let mut run = lab.follow(&["--json", "resume"]);
    run.until_kind("service.resumed");
    lab.host(&["resume"]).exits(1).says("run/nothing-to-act-on", &["is not paused"]);
    // The pause of the strategy goes on until somebody ends it.
    let answer = taken(lab.host(&["--json", "promote", "--service", "capture"]));
    assert_eq!(kinds(&answer), ["pause.ended"]);
    let events = run.end().exits(0).events();
    assert_eq!(events.weights("capture"), [50, 100]);
    let shown = lab.host(&["--json", "show", &id]).exits(0).events();
    assert_eq!(shown.weights("capture"), [20, 50, 100], "nothing is done twice");
    assert_eq!(Mcp::new(lab.port()).release(), Ok(2));
    lab.verify_journal(&id);
}

#[test]
fn a_sleeping_run_is_paused_without_being_taken_up() {
    let (lab, run) = under_way(SLOW);
    let id = run.kill().events().run();
    let answer = taken(lab.host(&["--json", "pause"]));
    assert_eq!(kinds(&answer), ["service.paused"]);
    assert!(answer.get("takenBy").is_none());
    assert!(lab.host(&["status"]).exits(0).stdout.contains("nobody is at work on it"));
    let back = lab.host(&["--json", "abort"]).exits(3).events();
    assert_eq!(back.run(), id);
    assert_eq!(back.weights("capture"), [0], "a pause does not hold up the way back");
    lab.verify_journal(&id);
}

#[test]
fn a_full_promotion_skips_the_rest_of_the_steps_and_nothing_else() {
    let (lab, run) = under_way(SLOW);
    let load = Load::start(lab.port());
    let answer = taken(lab.host(&["--json", "promote", "--full"]));
    assert_eq!(kinds(&answer), ["rollout.skipped"]);
    let events = run.end().exits(0).events();
    assert_eq!(load.stop().failed, Vec::<String>::new());
    assert_eq!(events.weights("capture"), [20, 100]);
    let verified = |e: &&basb_core::event::Event| matches!(&e.body, Body::ProbeMeasured { phase, .. } if phase.to_string() == "verify");
    assert!(events.0.iter().any(|e| verified(&e)), "verification stays");
    assert!(events.titles("phase.started").iter().any(|t| t.starts_with("bake ")), "the bake stays");
    lab.host(&["promote", "--full"]).exits(1).says("run/none-unfinished", &["there is no unfinished run"]);
}

#[test]
fn a_full_promotion_of_a_broken_release_still_goes_back() {
    let lab = Lab::new();
    lab.write(&FileOptions { config: SLOW, ..FileOptions::default() });
    lab.run(1).exits(0);
    let mut run = lab.start(3);
    run.until_weight(20);
    taken(lab.host(&["--json", "promote", "--full"]));
    let events = run.end().exits(3).events();
    assert_eq!(events.weights("capture"), [20, 100, 0]);
    assert_eq!(Mcp::new(lab.port()).release(), Ok(1));
}

#[test]
fn a_stop_leaves_the_run_to_be_taken_up_again() {
    for now in [true, false] {
        let (lab, run) = under_way(SLOW);
        let args: &[&str] = if now { &["--json", "stop", "--now"] } else { &["--json", "stop"] };
        let answer = taken(lab.host(args));
        assert!(answer["says"][0]["what"].as_str().unwrap().contains("goes on where it is"), "{answer}");
        let out = run.end().exits(1);
        let id = out.events().run();
        assert!(out.stderr.contains("is unfinished"), "{}", out.stderr);
        lab.host(&["stop"]).exits(1).says("run/not-live", &["no process is at work on run"]);
        let mut resumed = lab.follow(&["--json", "resume", &id]);
        resumed.until_kind("run.resumed");
        taken(lab.host(&["--json", "abort"]));
        let events = resumed.end().exits(3).events();
        assert_eq!(events.run(), id);
        lab.verify_journal(&id);
    }
}

#[test]
fn what_has_nothing_to_act_on_says_so() {
    let (lab, run) = under_way(SLOW);
    let refused = |args: &[&str], parts: &[&str]| lab.host(args).exits(1).says("run/nothing-to-act-on", parts);
    refused(&["retry"], &["nothing of it waits for another attempt"]);
    refused(&["resume"], &["is not paused"]);
    refused(&["pause", "--service", "nope"], &["there is no service `nope` in this run", "capture"]);
    lab.host(&["approve", "nope"]).exits(1).says("gate/refused", &["there is no gate `nope`"]);
    let json = lab.host(&["--json", "retry"]).exits(1).json();
    assert_eq!(json["error"]["code"], "run/nothing-to-act-on");
    let _ = run.kill();
    lab.host(&["abort"]).exits(3);
    for verb in ["promote", "pause", "resume", "abort", "stop"] {
        lab.host(&[verb]).exits(1).says("run/none-unfinished", &["there is no unfinished run"]);
    }
}

#[test]
fn a_finished_run_without_success_is_begun_once_more() {
    let lab = Lab::new();
    lab.write(&FileOptions::default());
    lab.run(1).exits(0);
    lab.host(&["retry"]).exits(1).says("run/succeeded", &["was a success"]);
    let first = lab.run(3).exits(3).events().run();
    let out = lab.host(&["--json", "retry"]).exits(3);
    let again = out.events();
    assert_ne!(again.run(), first);
    assert!(out.stderr.contains(&format!("run {first} once more, with the same plugins")), "{}", out.stderr);
    assert_eq!(again.count("service.rolled-back"), 1);
    let outcomes: Vec<String> = lab.history().into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(outcomes, ["rolled-back", "rolled-back", "done"]);

    // What was tried again is not tried again by who asks late.
    let late = lab.host(&["retry", &first]).exits(1);
    let known = format!("run {first} was tried again already, as run {}: rolled-back", again.run());
    late.says("run/retried", &[&known, &format!("basb-host retry {}", again.run())]);
    // Two who ask at the same time: one of them begins it, the other one is told.
    let both = [lab.follow(&["--json", "retry"]), lab.follow(&["--json", "retry", &again.run()])];
    let mut codes: Vec<Option<i32>> = both.into_iter().map(|asks| asks.end().code).collect();
    codes.sort();
    assert_eq!(codes, [Some(1), Some(3)]);
    assert_eq!(lab.history().len(), 4);
}

#[test]
fn a_lease_is_released_by_force_only_if_that_is_meant() {
    let (lab, run) = under_way(SLOW);
    let pid = format!(" pid {}", run.pid());
    let alive = lab.host(&["unlock"]).exits(1);
    alive.says("lease/holder-alive", &["lab/local is held by a process that lives", &pid, "since", "--even-if-alive"]);
    let held = lab.host(&["--json", "unlock", "lab/local", "--even-if-alive"]).exits(0).json();
    assert!(held["held"]["by"].as_str().unwrap().ends_with(&pid), "{held}");
    assert_eq!(held["held"]["holder"], "lives");
    // The one that lost it notices, and changes nothing any more.
    let robbed = run.end().exits(1);
    assert!(robbed.stderr.contains("code: run/lease-lost"), "{}", robbed.stderr);
    lab.host(&["unlock"]).exits(1).says("lease/not-held", &["nobody holds any lease"]);
    lab.host(&["--json", "abort"]).exits(3);
}

#[test]
fn a_clock_that_is_set_forward_takes_no_lease_from_who_is_alive() {
    let (lab, run) = under_way(SLOW);
    let pid = format!(" pid {}", run.pid());
    // What the lease looks like to a clock that was set forward by years. The holder renews it every four seconds.
    let file = rusqlite::Connection::open(lab.state().join("journal/journal.sqlite3")).unwrap();
    file.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
    assert_eq!(file.execute("UPDATE leases SET expires_at = acquired_at + 1", []).unwrap(), 1);
    let answer = taken(lab.host(&["--json", "pause"]));
    assert!(answer["takenBy"].as_str().unwrap().ends_with(&pid), "the one at work took it up: {answer}");
    let out = run.end().exits(4);
    assert!(!out.stderr.contains("lease-lost"), "{}", out.stderr);
}

#[test]
fn what_is_asked_after_a_clock_was_set_back_is_not_written_down_before_what_is_there() {
    let (lab, run) = under_way(SLOW);
    let id = run.kill().events().run();
    // The journal as it is when the clock is set back by an hour: what is there is ahead of it.
    let file = rusqlite::Connection::open(lab.state().join("journal/journal.sqlite3")).unwrap();
    let sql = "UPDATE runs SET finished_at = finished_at + 3600000 WHERE finished_at IS NOT NULL RETURNING finished_at";
    let last: i64 = file.query_row(sql, [], |row| row.get(0)).unwrap();
    taken(lab.host(&["--json", "pause"]));
    let sql = "SELECT max(at) FROM entries WHERE run = ?1";
    let paused: i64 = file.query_row(sql, [&id], |row| row.get(0)).unwrap();
    assert!(paused >= last, "{paused} is before {last}");
    // Nor is what a finished run is followed by.
    lab.host(&["--json", "abort"]).exits(3);
    let mut retried = lab.follow(&["--json", "retry", &id]);
    retried.until_kind("run.started");
    let began = retried.kill().events().run();
    let sql = "SELECT started_at FROM runs WHERE run = ?1";
    let started: i64 = file.query_row(sql, [&began], |row| row.get(0)).unwrap();
    assert!(started >= paused, "{started} is before {paused}");
    lab.replays_nothing("the end of a run was moved");
}

#[test]
fn who_is_at_work_is_in_every_message() {
    let (lab, run) = under_way(SLOW);
    let pid = format!(" pid {}", run.pid());
    let status = lab.host(&["status"]).exits(0).stdout;
    assert!(status.contains("at work: ") && status.contains(&pid) && status.contains(", since "), "{status}");
    let json = lab.host(&["--json", "status"]).exits(0).json();
    assert!(json["unfinished"][0]["held"]["by"].as_str().unwrap().ends_with(&pid), "{json}");
    let busy = lab.host(&["run", "--set", "release=2"]).exits(1);
    busy.says("run/busy", &["another run is at work on lab/local", &pid, "since", "unlock"]);
    let id = run.kill().events().run();
    let status = lab.host(&["status"]).exits(0).stdout;
    assert!(status.contains(&id) && status.contains("nobody is at work on it"), "{status}");
}

#[test]
fn a_group_is_promoted_together_and_goes_back_together() {
    let lab = Lab::new();
    let options = FileOptions { two: basb_e2e::Two::Yes, ..FileOptions::default() };
    let text = options.text(lab.port(), lab.second_port());
    lab.write_text(&swap(&text, "strategies:\n", "groups:\n  brain: { services: [capture, organize] }\nstrategies:\n"));
    let events = lab.run(1).exits(0).events();
    assert_eq!(events.count("group.promoted"), 1);
    assert_eq!(events.count("service.promoted"), 2);
    assert!(events.at("group.promoted") < events.at("service.promoted"), "none is stable before all are there");
    let first: Vec<String> =
        ["capture", "organize"].map(|s| lab.cloud().service(s).only().0.to_owned()).into_iter().collect();

    // Release 2 of the first service holds; the second one is stopped by hand when the first is held.
    let mut run = lab.start(2);
    run.until("held", |e| e.body.title().starts_with("held "));
    let load = Load::start(lab.port());
    taken(lab.host(&["--json", "abort", "--service", "organize"]));
    let events = run.end().exits(3).events();
    assert_eq!(load.stop().failed, Vec::<String>::new());
    assert_eq!(events.count("group.failed"), 1);
    assert_eq!(events.count("service.promoted"), 0);
    let back: Vec<&str> = events
        .0
        .iter()
        .filter(|e| matches!(e.body, Body::RolledBack { .. } | Body::Failed { .. }))
        .map(|e| e.service.as_ref().unwrap().as_str())
        .collect();
    assert_eq!(back, ["organize", "capture"], "what depends on it goes back first");
    let now: Vec<String> =
        ["capture", "organize"].map(|s| lab.cloud().service(s).only().0.to_owned()).into_iter().collect();
    assert_eq!(now, first);
    assert_eq!(Mcp::new(lab.port()).release(), Ok(1));
}
