//! Recorded runs: played back byte for byte without a network, checked, exported, compared with another version, told.

use basb_e2e::{FileOptions, Lab};
use serde_json::Value;

/// A lab with a release that was promoted and one that was rolled back; nothing of it runs any more, so there is nobody
/// whom a replay could ask. The two runs, in this order.
fn recorded() -> (Lab, String, String) {
    let lab = Lab::new();
    lab.write(&FileOptions::default());
    let first = lab.run(1).exits(0).events().run();
    let broken = lab.run(3).exits(3).events().run();
    lab.stop();
    (lab, first, broken)
}

fn replay(lab: &Lab, run: &str, code: i32) -> Value {
    lab.host(&["--json", "replay", run]).exits(code).json()
}

fn number(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap_or_else(|| panic!("{name}: {report}"))
}

/// Changes the journal behind its back.
fn tamper(lab: &Lab, sql: &str) -> usize {
    let file = rusqlite::Connection::open(lab.state().join("journal/journal.sqlite3")).unwrap();
    file.execute_batch("DROP TRIGGER tapes_are_not_changed").unwrap();
    file.execute(sql, []).unwrap()
}

#[test]
fn every_run_is_the_same_again_without_a_network() {
    let (lab, first, broken) = recorded();
    for run in [&first, &broken] {
        let report = replay(&lab, run, 0);
        assert_eq!(report["identical"], true, "{report}");
        assert!(number(&report, "calls") > 10, "{report}");
        assert_eq!(report["calls"], report["identicalCalls"]);
        assert_eq!(report["strategyCalls"], report["identicalStrategyCalls"]);
        assert!(number(&report["decisions"], "intents") >= 5, "{report}");
    }
    assert!(number(&replay(&lab, &broken, 0), "strategyCalls") > 0);
    let text = lab.host(&["replay", &broken]).exits(0).stdout;
    assert!(text.contains("identical"), "{text}");
}

/// The structure of the host says that a replay opens no connection; here there is none to open: no counterpart lives, and
/// the process has no network but a loopback that is down.
#[test]
fn a_replay_needs_no_network_at_all() {
    let (lab, first, broken) = recorded();
    let without = |program: &std::path::Path, args: &[&str]| {
        let mut command = std::process::Command::new("unshare");
        command.args(["--net", "--map-root-user", "--"]).arg(program).args(args).current_dir(lab.root());
        command.env("BASB_HOST_STATE", lab.state()).env_remove("RUST_LOG").output()
    };
    let devices = without("/bin/cat".as_ref(), &["/proc/net/dev"]);
    match &devices {
        Ok(out) if out.status.success() => {
            let text = String::from_utf8_lossy(&out.stdout).into_owned();
            assert_eq!(text.lines().count(), 3, "two lines of heads and the loopback: {text}");
        }
        other => {
            eprintln!("SKIPPED: this machine allows no network namespace, so nothing is shown here: {other:?}");
            return;
        }
    }
    // What would need it does not work there: the proof that the fence holds.
    let down = without("/bin/bash".as_ref(), &["-c", "exec 3<>/dev/tcp/127.0.0.1/80"]).unwrap();
    assert!(String::from_utf8_lossy(&down.stderr).contains("unreachable"), "{down:?}");
    std::fs::rename(lab.state().join("agent"), lab.root().join("agent-that-was")).unwrap();
    for run in [&first, &broken] {
        let out = without(&basb_e2e::program("basb-host"), &["--json", "replay", run]).unwrap();
        let report: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out:?}"));
        assert_eq!((out.status.code(), &report["identical"]), (Some(0), &Value::Bool(true)), "{out:?}");
        assert!(number(&report, "calls") > 10, "{report}");
    }
    assert!(!lab.state().join("agent").exists(), "no agent was started");
}

#[test]
fn a_tape_that_was_changed_is_caught_at_the_exchange() {
    let (lab, first, _) = recorded();
    lab.replays_nothing("a tape is changed, and the test plays it back itself");
    let tapes = lab.host(&["--json", "tape", "show", &first]).exits(0).stdout;
    let tapes: Vec<Value> = tapes.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let with_answer = tapes.iter().find(|t| t["tape"]["exchanges"][0]["answer"]["ok"]["status"] == 200).unwrap();
    let call = with_answer["call"].as_u64().unwrap();
    assert_eq!(
        tamper(
            &lab,
            &format!("UPDATE tapes SET body = replace(body, '\"status\":200', '\"status\":201') WHERE call = {call}")
        ),
        2,
        "both runs have a call of that number"
    );
    let report = replay(&lab, &first, 1);
    let found = &report["tampered"][0];
    assert_eq!((&found["call"], &found["exchange"]), (&with_answer["call"], &Value::from(1)), "{report}");
    let verify = lab.host(&["audit", "verify", &first]).exits(1).stdout;
    assert!(verify.contains("exchange 1 of tape"), "{verify}");
}

#[test]
fn a_run_is_taken_to_another_place_as_one_file() {
    let (lab, _, broken) = recorded();
    let file = lab.root().join("run.jsonl");
    let file = file.to_str().unwrap();
    lab.host(&["tape", "export", &broken, file]).exits(0);
    let deployment = std::fs::read_to_string(lab.file()).unwrap();
    let refused = lab.host(&["tape", "export", &broken, lab.file().to_str().unwrap()]).exits(1);
    refused.says("cli/file", &["is there already, and nothing is written over"]);
    assert_eq!(std::fs::read_to_string(lab.file()).unwrap(), deployment);
    let other = lab.root().join("other");
    let other = other.to_str().unwrap();
    lab.host(&["--state", other, "tape", "import", file]).exits(0);
    let report = lab.host(&["--state", other, "--json", "replay", &broken]).exits(0).json();
    assert_eq!(report["identical"], true, "{report}");
    let again = lab.root().join("again.jsonl");
    lab.host(&["--state", other, "tape", "export", &broken, again.to_str().unwrap()]).exits(0);
    assert_eq!(std::fs::read_to_string(file).unwrap(), std::fs::read_to_string(&again).unwrap());
    // It is there once, and nothing that it did is deployed there.
    assert!(lab.host(&["--state", other, "tape", "import", file]).exits(1).stderr.contains("journal/run-exists"));
    let status = lab.host(&["--state", other, "--json", "status"]).exits(0).json();
    assert_eq!(
        (status["deployed"].clone(), status["unfinished"].clone()),
        (Value::from(vec![0; 0]), Value::from(vec![0; 0]))
    );
    // Nor may it be: the file may be anybody's, whatever run is the newest.
    let here = ["--state", other, "retry"];
    lab.host(&[&here[..], &[broken.as_str()]].concat()).exits(1).says("run/imported", &["imported from a file"]);
    let newest = lab.host(&here).exits(1).stderr;
    assert!(newest.contains("run/none-unfinished"), "{newest}");
    let listed = lab.host(&["--state", other, "--json", "history"]).exits(0).json();
    assert_eq!(listed["runs"][0]["imported"], true, "{listed}");
    assert!(lab.host(&["--json", "history"]).exits(0).json()["runs"][0].get("imported").is_none());
    // A file that was edited is not taken.
    let edited = std::fs::read_to_string(file).unwrap().replacen("\"kind\":\"intent\"", "\"kind\":\"resumed\"", 1);
    std::fs::write(file, edited).unwrap();
    let third = lab.root().join("third");
    let refused = lab.host(&["--state", third.to_str().unwrap(), "tape", "import", file]).exits(1).stderr;
    assert!(refused.contains("journal/not-as-exported"), "{refused}");
}

#[test]
fn old_tapes_are_dropped_and_the_record_holds() {
    let (lab, first, _) = recorded();
    lab.replays_nothing("the tapes are dropped, and the test plays them back itself");
    let kept = lab.host(&["--json", "tape", "prune", "--older-than", "30d"]).exits(0).json();
    assert_eq!(kept["tapes"], 0);
    let pruned = lab.host(&["--json", "tape", "prune", &first, "--older-than", "0"]).exits(0).json();
    assert!(number(&pruned, "tapes") > 10 && number(&pruned, "bytes") > 1000, "{pruned}");
    lab.host(&["audit", "verify"]).exits(0);
    let report = replay(&lab, &first, 1);
    assert_eq!(report["withoutText"], report["calls"]);
}

#[test]
fn tapes_are_kept_as_long_as_the_file_says() {
    let lab = Lab::new();
    lab.replays_nothing("tapes are dropped by what the file says");
    let text = lab.write(&FileOptions::default());
    let left = |run: &str| {
        let tapes = lab.host(&["--json", "tape", "show", run]).exits(0).stdout;
        let all: Vec<Value> = tapes.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(all.len() > 10, "{tapes}");
        (all.iter().filter(|tape| !tape["tape"].is_null()).count(), all.len())
    };
    let first = lab.run(1).exits(0).events().run();
    lab.write_text(&format!("{text}tapes: {{ keep: 1d }}\n"));
    let second = lab.run(2).exits(0).events().run();
    for run in [&first, &second] {
        let (kept, all) = left(run);
        assert_eq!(kept, all, "none of them is so old");
    }
    // A run that failed has its end too; what is dropped changes nothing of how it ended.
    lab.write_text(&format!("{text}tapes: {{ keep: 0s }}\n"));
    let out = lab.run(3).exits(3);
    assert_eq!(out.stderr, "", "nothing went wrong");
    for run in [&first, &second, &out.events().run()] {
        assert_eq!(left(run).0, 0);
    }
    lab.host(&["audit", "verify"]).exits(0);
}

#[test]
fn a_back_test_that_compared_nothing_does_not_pass() {
    let (lab, first, broken) = recorded();
    lab.replays_nothing("the tapes are dropped");
    lab.host(&["tape", "prune", &first, "--older-than", "0"]).exits(0);
    let backtest = |more: &[&str], code: i32| {
        lab.host(&[&["--json", "backtest", "builtin:provider-local"][..], more].concat()).exits(code).json()
    };
    let report = backtest(&["--runs", &first], 1);
    assert_eq!((&report["compared"], &report["complete"]), (&Value::from(0), &Value::Bool(false)), "{report}");
    assert!(number(&report["runs"][0], "withoutTape") > 10, "{report}");
    // The other run does not speak for the one that was named as well.
    let report = backtest(&["--runs", &format!("{first},{broken}")], 1);
    assert!(number(&report, "compared") > 0 && report["complete"] == false, "{report}");
    // Of the newest ones, those that can be compared are.
    let report = backtest(&["--last", "2"], 0);
    assert!(number(&report, "compared") > 0 && report["complete"] == false, "{report}");
    let text = lab.host(&["backtest", "builtin:provider-local", "--runs", &first]).exits(1).stdout;
    assert!(text.contains("nothing was compared"), "{text}");
    // A plugin that took no part in a run that was named.
    let report = backtest(&["--as", "nobody", "--runs", &broken], 1);
    assert!(report["runs"][0]["skipped"].is_string(), "{report}");
}

#[test]
fn the_same_plugin_would_have_done_the_same() {
    let (lab, _, broken) = recorded();
    for plugin in ["builtin:provider-local", "builtin:strategy-canary", "builtin:probe-mcp"] {
        let report = lab.host(&["--json", "backtest", plugin, "--runs", &broken]).exits(0).json();
        let classes = report["classes"].as_object().unwrap();
        assert_eq!(classes.keys().collect::<Vec<_>>(), ["same"], "{plugin}: {report}");
        assert_eq!(report["compared"], classes["same"], "{plugin}: {report}");
        let complete = number(&report["runs"][0], "withoutTape") == 0;
        assert_eq!(report["complete"], complete, "{plugin}: {report}");
    }
    // Another strategy decides otherwise, and is told from the one that was there.
    let report = lab.host(&["--json", "backtest", "builtin:strategy-rolling", "--runs", &broken, "--as", "rollout"]);
    let report = report.exits(1).json();
    assert_eq!(report["runs"][0]["first"]["divergence"]["class"], "other-result", "{report}");
}

#[test]
fn what_happened_is_told_from_the_journal() {
    let (lab, first, broken) = recorded();
    let report = lab.host(&["--json", "postmortem", &broken]).exits(0).json();
    assert_eq!(report["outcome"], "rolled-back");
    assert!(report["cause"].as_str().is_some_and(|cause| cause.contains("capture")), "{report}");
    assert!(report["services"].as_array().unwrap().iter().any(|s| !s["rolledBack"].is_null()), "{report}");
    let text = lab.host(&["postmortem"]).exits(0).stdout;
    for part in ["# Run ", "## Cause", "## Services", "## Not undone", "## Failed calls", "## Timeline", "## Evidence"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.contains("rolled back, verified after"), "{text}");
    let fine = lab.host(&["postmortem", &first]).exits(0).stdout;
    assert!(fine.contains("Nothing failed."), "{fine}");
}
