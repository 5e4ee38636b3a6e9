//! Care for the journal: back-ups, damage, a full disk, and timers that outlive a process.

use basb_core::run::{Effect, Outcome, Record, Run};
use basb_core::{RunId, Timestamp};
use basb_e2e::{FileOptions, Lab, Load, Mcp};
use basb_journal::{FILE_NAME, Journal};
use std::path::PathBuf;
use std::process::Command;

fn journal(lab: &Lab) -> PathBuf {
    lab.state().join("journal").join(FILE_NAME)
}

/// Every record of a run, with its time.
fn records(lab: &Lab, run: &str) -> Vec<(Timestamp, Record)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let journal = Journal::open(&lab.state().join("journal")).unwrap();
        let entries = journal.entries(&RunId::new(run).unwrap(), 1).await.unwrap();
        entries.into_iter().map(|e| (e.at, serde_json::from_str(&e.body).unwrap())).collect()
    })
}

#[test]
fn a_backup_of_a_run_under_way_is_restored_and_goes_on() {
    let config = "{ steps: [ { setWeight: 20 }, { pause: { duration: 2s } }, { setWeight: 50 } ] }";
    let lab = Lab::new();
    lab.write(&FileOptions { config, ..FileOptions::default() });
    lab.run(1).exits(0);
    let mut run = lab.start(2);
    run.until_weight(20);
    let made = lab.host(&["--json", "state", "backup", "copy.sqlite3"]).exits(0).json();
    assert_eq!((&made["backup"]["runs"], &made["backup"]["damage"]), (&2.into(), &serde_json::json!([])));
    lab.host(&["state", "backup", "copy.sqlite3"]).exits(1).says("journal/exists", &["copy.sqlite3 is there already"]);
    // While somebody is at work on it, nothing is put into its place.
    let out = lab.host(&["state", "restore", "copy.sqlite3", "--replace"]).exits(1);
    out.says("journal/in-use", &["is open in process"]);
    run.end().exits(0);
    let runs = lab.history();
    let out = lab.host(&["state", "restore", "copy.sqlite3"]).exits(1);
    out.says("journal/not-empty", &["holds runs", "--replace"]);
    assert_eq!(lab.history(), runs);

    let out = lab.host(&["state", "restore", "copy.sqlite3", "--replace"]).exits(0);
    assert!(
        out.stderr.contains("the journal that was there is kept: ") && out.stderr.contains(".replaced-"),
        "{}",
        out.stderr
    );
    assert_eq!(
        lab.history().iter().map(|(_, o)| o.as_str()).collect::<Vec<_>>(),
        ["superseded", "done"],
        "not gone on with"
    );
    assert!(
        out.stderr.contains(&format!(
            "closed as superseded, since it is not known what they did after the back-up: {}",
            runs[0].0
        )),
        "{}",
        out.stderr
    );
    let report = lab.host(&["--json", "drift"]).exits(2).json();
    let kinds: Vec<_> = report["services"][0]["differences"].as_array().unwrap().iter().map(|d| &d["kind"]).collect();
    assert_eq!(kinds, ["missing", "stray"], "what the copy does not know is found: {report}");
    lab.run(2).exits(0);
    assert_eq!(Mcp::new(lab.port()).release(), Ok(2));
    let whole = lab.host(&["state", "check"]).exits(0).stdout;
    assert!(whole.contains("the file is whole, and every run is as it was written"), "{whole}");
    let kept =
        std::fs::read_dir(lab.state().join("journal")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    assert!(kept.into_iter().any(|name| name.contains(".replaced-")), "the old one is there");
}

/// A plugin that is part of no program: the builtin one with a section that says nothing.
fn own_plugin(lab: &Lab) {
    let mut bytes = basb_builtins::all().iter().find(|b| b.name == "probe-http").unwrap().bytes.to_vec();
    let name = b"own";
    bytes.extend([0, u8::try_from(name.len() + 1).unwrap(), u8::try_from(name.len()).unwrap()]);
    bytes.extend(name);
    std::fs::write(lab.root().join("own.wasm"), bytes).unwrap();
}

#[test]
fn a_backup_holds_what_a_replay_needs() {
    let lab = Lab::new();
    lab.replays_nothing("a plugin is taken away, and the test plays it back itself");
    own_plugin(&lab);
    let text = FileOptions::default().text(lab.port(), lab.second_port());
    lab.write_text(&basb_e2e::swap(&text, "builtin:probe-http", "./own.wasm"));
    let run = lab.run(1).exits(0).events().run();
    lab.stop();
    let made = lab.host(&["--json", "state", "backup", "copy.sqlite3"]).exits(0).json();
    assert!(made["plugins"].as_u64().unwrap() >= 5, "{made}");
    assert_eq!(made["unkept"], serde_json::json!([]));
    lab.host(&["state", "check", "copy.sqlite3"]).exits(0);

    // Everything is lost but the back-up: the state folder, and the plugin's file.
    std::fs::remove_file(lab.root().join("own.wasm")).unwrap();
    let lost = |folder: &str| std::fs::remove_dir_all(lab.state().join(folder)).unwrap();
    ["journal", "plugins", "agent"].into_iter().for_each(lost);
    let restored = lab.host(&["--json", "state", "restore", "copy.sqlite3"]).exits(0).json();
    assert_eq!((&restored["plugins"], &restored["unkept"]), (&made["plugins"], &made["unkept"]));
    let report = lab.host(&["--json", "replay", &run]).exits(0).json();
    assert_eq!((&report["identical"], &report["missing"]), (&true.into(), &serde_json::json!([])), "{report}");

    // What is not kept when a back-up is made is named, then and when it is restored.
    lost("plugins");
    let made = lab.host(&["state", "backup", "poor.sqlite3"]).exits(0);
    let named = "the plugin http (sha256:";
    assert!(made.stderr.contains(named) && made.stderr.contains(&run), "{}", made.stderr);
    lost("journal");
    let restored = lab.host(&["--json", "state", "restore", "poor.sqlite3"]).exits(0).json();
    let unkept = restored["unkept"].as_array().unwrap();
    assert_eq!((unkept.len(), &unkept[0]["name"], &unkept[0]["runs"][0]), (1, &"http".into(), &run.into()));
}

#[test]
fn a_damaged_journal_is_found_recovered_and_kept() {
    let lab = Lab::new();
    lab.replays_nothing("the beginning of its runs is lost");
    lab.write(&FileOptions::default());
    lab.run(1).exits(0);
    let mut run = lab.start(2);
    run.until_weight(50);
    let id = run.kill().events().run();
    let cloud = {
        let status = lab.host(&["--json", "agent", "status"]).exits(0).json();
        status["services"].clone()
    };
    // Everything into the file itself, as when the last process closes it.
    lab.host(&["status"]).exits(0);
    let file = journal(&lab);
    let whole = std::fs::read(&file).unwrap();
    let cut = &whole[..whole.len() * 5 / 8];
    std::fs::write(&file, cut).unwrap();

    lab.host(&["run", "--set", "release=2"])
        .exits(1)
        .says("journal/corrupted", &["is damaged", "basb-host state recover"]);
    let out = lab.host(&["state", "check"]).exits(1);
    let out = out.says("journal/corrupted", &["basb-host state restore FILE"]);
    assert!(out.stdout.contains("damaged: "), "{}", out.stdout);
    assert_eq!(std::fs::read(&file).unwrap(), cut, "looking changes nothing");
    let recovered = lab.host(&["--json", "state", "recover"]).exits(0).json();
    let kept = recovered["kept"].as_str().unwrap();
    assert_eq!(std::fs::read(kept).unwrap(), cut, "the damaged one is kept as it was");
    lab.host(&["state", "check"]).exits(0);
    lab.host(&["state", "recover"]).exits(0);
    assert_eq!(lab.host(&["--json", "agent", "status"]).exits(0).json()["services"], cloud, "services go on");
    assert!(!lab.history().contains(&(id.clone(), "open".to_owned())), "a run that lost entries is not gone on with");

    lab.host(&["replay", &id]).exits(1).says("journal/unreadable-entry", &["its beginning was lost"]);

    // It is safe to go on from what is left: what is half-way is found and put back first.
    lab.run(2).exits(0);
    assert_eq!(Mcp::new(lab.port()).release(), Ok(2));
    assert_eq!(lab.cloud().service("capture").only().1.desired, 2);
    lab.host(&["state", "check"]).exits(0);
}

/// Runs out of room at many places, always before the next effect: what is in the cloud was written down before.
#[test]
fn a_full_disk_stops_before_the_next_effect() {
    let lab = Lab::new();
    lab.write(&FileOptions::default());
    lab.run(1).exits(0);
    let first = lab.cloud().service("capture").only().0.to_owned();
    let load = Load::start(lab.port());
    let mut stopped = 0;
    // The largest file that the host may write, in blocks of 512 bytes: the log of the journal grows from nothing.
    for blocks in [60, 120, 200, 300, 420, 560, 720] {
        let line = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        let host = lab.command(&["--json", "run", "--set", "release=2"]);
        let mut command = Command::new("sh");
        command.args(["-c", &line]).arg(host.get_program()).args(host.get_args()).current_dir(lab.root());
        command.env("BASB_HOST_STATE", lab.state());
        let out = command.output().unwrap();
        let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
        if out.status.code() == Some(0) {
            break;
        }
        assert_eq!(out.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("code: journal/"), "{stderr}");
        stopped += 1;
        let open = lab.history().into_iter().find(|(_, outcome)| outcome == "open");
        let Some((id, _)) = open else { continue };
        let intents: Vec<Effect> = records(&lab, &id)
            .into_iter()
            .filter_map(|(_, r)| if let Record::Intent { order, .. } = r { Some(order.effect) } else { None })
            .collect();
        let cloud = lab.cloud();
        for (revision, found) in &cloud.service("capture").revisions {
            if *revision == first {
                continue;
            }
            let deployed =
                intents.iter().any(|e| matches!(e, Effect::Deploy { revision: r, .. } if r.as_str() == revision));
            assert!(deployed, "{revision} is there and was not meant to be: {intents:?}");
            let meant = intents.iter().any(|e| {
                matches!(e, Effect::SetTraffic { weights }
                    if weights.iter().any(|(r, w)| r.as_str() == revision && u64::from(w.hundredths()) == found.weight))
            });
            assert!(found.weight == 0 || meant, "{revision} has {} and was not meant to: {intents:?}", found.weight);
        }
    }
    assert!(stopped >= 3, "the disk was full {stopped} times only");
    // There is room again.
    lab.run(2).exits(0);
    assert_eq!(load.stop().failed, Vec::<String>::new());
    assert_eq!(Mcp::new(lab.port()).release(), Ok(2));
    let (id, outcome) = lab.history().remove(0);
    assert_eq!(outcome, "done");
    lab.verify_journal(&id);
    let shown = lab.host(&["--json", "show", &id]).exits(0).events();
    assert_eq!(shown.weights("capture"), [20, 50, 80, 100], "once each, and in order");
}

#[test]
fn an_interrupted_pause_takes_what_is_left_of_it() {
    let config = "{ steps: [ { setWeight: 20 }, { pause: { duration: 6s } } ] }";
    let lab = Lab::new();
    lab.write(&FileOptions { config, ..FileOptions::default() });
    lab.run(1).exits(0);
    let mut run = lab.start(2);
    run.until_weight(20);
    let id = lab.history().remove(0).0;
    let (number, until) = basb_e2e::wait_for("the pause", || pause(&records(&lab, &id)));
    std::thread::sleep(std::time::Duration::from_secs(2));
    let _ = run.kill();
    lab.run(2).exits(0);
    let all = records(&lab, &id);
    let elapsed = |r: &Record| matches!(r, Record::Outcome { id, outcome: Outcome::Elapsed, .. } if *id == number);
    let over = all.iter().position(|(_, r)| elapsed(r)).expect("it came to its end");
    assert!(all[..over].iter().any(|(_, r)| matches!(r, Record::Resumed)), "it was taken up during the pause");
    assert_eq!(pause(&all[..over]), Some((number, until)), "to the same end");
    assert!(all[over].0 >= until, "not before its end");
    assert!(all.is_sorted_by(|a, b| a.0 <= b.0), "time never goes back");
}

/// The pause that a run is in after these records, and until when it lasts: the journal alone tells.
fn pause(all: &[(Timestamp, Record)]) -> Option<(u32, Timestamp)> {
    let mut records = (1..).zip(all);
    let (seq, (at, first)) = records.next()?;
    let (mut run, _) = Run::begin(*at, seq, first).ok()?;
    for (seq, (at, record)) in records {
        run.apply(*at, seq, record);
    }
    let pause = |effect: &Effect| match effect {
        Effect::Wait { until, reason } if reason == "pause" => Some(*until),
        _ => None,
    };
    let services = run.services();
    services.values().find_map(|service| (1..500).find_map(|id| Some((id, pause(service.effect(id)?)?))))
}
