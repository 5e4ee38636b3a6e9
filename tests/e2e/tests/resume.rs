//! A run that is cut off anywhere goes on where it stopped; one at a time; and an interrupt is a safe way back.

use basb_core::event::{Body, Event};
use basb_e2e::{FileOptions, Lab, Load, Mcp};
use rustix::process::Signal;

/// A lab with release 1 deployed, and its revision.
fn deployed(options: &FileOptions) -> (Lab, String) {
    let lab = Lab::new();
    lab.write(options);
    lab.run(1).exits(0);
    let first = lab.cloud().service("capture").only().0.to_owned();
    (lab, first)
}

/// Kills a canary at the given event, and takes it up again.
fn killed_at(what: &str, at: fn(&Event) -> bool) {
    let (lab, first) = deployed(&FileOptions::default());
    let load = Load::start(lab.port());
    let mut run = lab.start(2);
    run.until(what, at);
    let before = run.kill().events();
    let id = before.run();
    let status = lab.host(&["status"]).exits(0).stdout;
    assert!(status.contains(&format!("unfinished run {id}")), "{status}");

    let out = lab.run(2).exits(0);
    assert!(out.stderr.contains(&format!("run {id} is unfinished: going on after its entry ")), "{}", out.stderr);
    let after = out.events();
    assert_eq!(after.run(), id, "the same run goes on");
    assert_eq!(after.kinds().first(), Some(&"run.resumed"));
    assert_eq!(load.stop().failed, Vec::<String>::new(), "no request is lost by the host's death");

    // Nothing is done twice: shown both times together, every weight comes once, and in order.
    let shown = lab.host(&["--json", "show", &id]).exits(0).events();
    assert_eq!(shown.weights("capture"), [20, 50, 80, 100], "{what}");
    assert_eq!(shown.count("service.promoted"), 1);
    assert_eq!(shown.count("run.resumed"), 1);
    let cloud = lab.cloud();
    let (now, revision) = cloud.service("capture").only();
    assert_ne!(now, first);
    assert_eq!(revision.instances.len(), 2);
    assert!(revision.instances.iter().all(|i| i.restarts == 0), "{revision:?}");
    assert_eq!(Mcp::new(lab.port()).release(), Ok(2));
    assert_eq!(lab.history().len(), 2);
    lab.verify_journal(&id);
    // What was told before the kill is told once: each line of the log has its own key.
    let log: String = lab.daily_logs().iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let mut keys: Vec<&str> = log.lines().filter_map(|l| l.split_once("%% basb:")?.1.split('.').next()).collect();
    let all = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), all, "{log}");
}

#[test]
fn killed_at_the_start() {
    killed_at("run.started", |e| matches!(e.body, Body::RunStarted { .. }));
}

#[test]
fn killed_while_the_candidate_comes_up() {
    killed_at("step.started", |e| matches!(e.body, Body::StepStarted { .. }));
}

#[test]
fn killed_after_the_first_weight() {
    killed_at("traffic.shifted", |e| matches!(e.body, Body::TrafficShifted { .. }));
}

#[test]
fn killed_in_the_middle_of_an_analysis() {
    killed_at("metric.measured", |e| matches!(e.body, Body::MetricMeasured { taken: 2, .. }));
}

#[test]
fn killed_after_all_of_the_traffic() {
    killed_at("100%", |e| matches!(e.body, Body::TrafficShifted { candidate, .. } if candidate.hundredths() == 10_000));
}

#[test]
fn killed_after_the_promotion() {
    killed_at("service.promoted", |e| matches!(e.body, Body::Promoted { .. }));
}

#[test]
fn killed_in_the_middle_of_the_way_back() {
    let (lab, first) = deployed(&FileOptions::default());
    let mut run = lab.start(3);
    run.until_kind("service.aborted");
    let id = run.kill().events().run();
    let out = lab.run(3).exits(3);
    assert_eq!(out.events().run(), id);
    assert_eq!(lab.cloud().service("capture").only().0, first);
    let shown = lab.host(&["--json", "show", &id]).exits(0).events();
    assert_eq!(shown.count("service.aborted"), 1);
    assert_eq!(shown.count("service.rolled-back"), 1);
    lab.verify_journal(&id);
}

#[test]
fn killed_again_and_again() {
    let (lab, _) = deployed(&FileOptions::default());
    let mut id = None;
    for kind in ["phase.started", "revision.available", "metric.measured", "traffic.shifted", "analysis.finished"] {
        let mut run = lab.start(2);
        run.until_kind(kind);
        let run = run.kill().events().run();
        assert_eq!(*id.get_or_insert(run.clone()), run);
    }
    let id = id.unwrap();
    lab.run(2).exits(0);
    let shown = lab.host(&["--json", "show", &id]).exits(0).events();
    assert_eq!(shown.weights("capture"), [20, 50, 80, 100]);
    assert_eq!(shown.count("run.resumed"), 5);
    assert_eq!(lab.cloud().service("capture").only().1.instances.len(), 2);
    lab.verify_journal(&id);
}

#[test]
fn another_release_supersedes_what_is_unfinished() {
    let (lab, first) = deployed(&FileOptions::default());
    let mut run = lab.start(2);
    run.until_weight(20);
    let id = run.kill().events().run();
    let out = lab.run(3).exits(3);
    assert!(out.stderr.contains(&format!("run {id} was unfinished and is superseded")), "{}", out.stderr);
    // It goes back to the last release that was verified, not to the half-way one, which is gone.
    assert_eq!(lab.cloud().service("capture").only().0, first);
    assert_eq!(Mcp::new(lab.port()).release(), Ok(1));
    assert_eq!(lab.history().into_iter().map(|(_, o)| o).collect::<Vec<_>>(), ["rolled-back", "superseded", "done"]);
}

#[test]
fn the_stable_release_again_undoes_what_is_unfinished() {
    let (lab, first) = deployed(&FileOptions::default());
    let mut run = lab.start(2);
    run.until_weight(20);
    let _ = run.kill();
    lab.run(1).exits(0);
    assert_eq!(lab.cloud().service("capture").only().0, first);
    assert_eq!(Mcp::new(lab.port()).release(), Ok(1));
}

#[test]
fn one_run_at_a_time() {
    let config = "{ steps: [ { setWeight: 20 }, { pause: { duration: 10m } } ] }";
    let (lab, _) = deployed(&FileOptions { config, ..FileOptions::default() });
    let mut run = lab.start(2);
    run.until_weight(20);
    let before = lab.cloud();

    let pid = format!("pid {} ", run.pid());
    let out = lab.host(&["run", "--set", "release=2"]).exits(1);
    let out = out.says("run/busy", &["another run is at work on lab/local", &pid, "status -w"]);
    assert_eq!(out.stdout, "");
    assert_eq!(lab.cloud(), before, "the refused one changed nothing");

    // An abort from outside reaches the run that is at work.
    let asked = lab.host(&["abort"]).exits(0);
    assert!(asked.stdout.contains("capture: back to "), "{}", asked.stdout);
    assert!(asked.stderr.contains("taken up by "), "{}", asked.stderr);
    let out = run.end().exits(3);
    assert_eq!(out.events().count("service.rolled-back"), 1);
    assert_eq!(Mcp::new(lab.port()).release(), Ok(1));
}

#[test]
fn an_interrupt_goes_back_safely_and_says_why() {
    for signal in [Signal::INT, Signal::TERM] {
        let config = "{ steps: [ { setWeight: 50 }, { pause: { duration: 10m } } ] }";
        let (lab, first) = deployed(&FileOptions { config, ..FileOptions::default() });
        let load = Load::start(lab.port());
        let mut run = lab.start(2);
        run.until_weight(50);
        run.signal(signal);
        let out = run.end().exits(3);
        assert_eq!(load.stop().failed, Vec::<String>::new());
        assert!(
            out.stderr.contains("asking for a safe stop: services that are not stable yet go back"),
            "{}",
            out.stderr
        );
        let events = out.events();
        assert_eq!(events.weights("capture"), [50, 0]);
        assert!(events.titles("service.aborted").pop().unwrap().contains("asked for it"));
        assert_eq!(lab.cloud().service("capture").only().0, first);
    }
}

#[test]
fn an_interrupt_promises_nothing_where_there_is_nothing_to_go_back_from() {
    let (lab, first) = deployed(&FileOptions::default());
    let text = std::fs::read_to_string(lab.file()).unwrap();
    // Long enough for the interrupt to come while the old revision is only being kept.
    lab.write_text(&basb_e2e::swap(&text, " scaleDownDelay: 100ms", " scaleDownDelay: 5s"));
    let mut run = lab.start(2);
    run.until_kind("service.promoted");
    run.signal(Signal::INT);
    let out = run.end().exits(0);
    assert!(out.stderr.contains("asking for a safe stop"), "{}", out.stderr);
    assert!(!out.stderr.contains("back to the stable revisions"), "{}", out.stderr);
    let refused = out.events().titles("request.refused");
    assert!(refused.iter().any(|title| title.contains("it is stable already")), "{refused:?}");
    assert_ne!(lab.cloud().service("capture").only().0, first, "the new one stays");
}

#[test]
fn two_interrupts_stop_at_once_and_leave_the_run_to_be_taken_up() {
    let config = "{ steps: [ { setWeight: 50 }, { pause: { duration: 300ms } } ] }";
    let (lab, _) = deployed(&FileOptions { config, ..FileOptions::default() });
    let text = std::fs::read_to_string(lab.file()).unwrap();
    // Long enough for the second interrupt to come before the way back is over.
    lab.write_text(&basb_e2e::swap(&text, "abortScaleDownDelay: 100ms", "abortScaleDownDelay: 10m"));
    let mut run = lab.start(2);
    run.until_weight(50);
    run.signal(Signal::INT);
    run.until_kind("service.rolled-back");
    run.signal(Signal::INT);
    let out = run.end().exits(1);
    assert!(out.stderr.contains("goes on with it") && out.stderr.contains("`basb-host resume "), "{}", out.stderr);
    assert_eq!(Mcp::new(lab.port()).release(), Ok(1));
}
