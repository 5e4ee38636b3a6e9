//! A gate stops a run until a person decides.

use basb_e2e::{FileOptions, Lab, Load, Mcp};

/// A lab whose second release waits at a gate with half of the traffic, and the run.
fn at_gate() -> (Lab, String) {
    let lab = Lab::new();
    let config = "{ steps: [ { setWeight: 50 }, { pause: {} }, { setWeight: 80 } ] }";
    lab.write(&FileOptions { config, ..FileOptions::default() });
    lab.run(1).exits(0);
    let out = lab.run(2).exits(4);
    let events = out.events();
    assert_eq!(events.weights("capture"), [50]);
    assert_eq!(events.count("gate.opened"), 1);
    let run = events.run();
    assert!(out.stderr.contains(&format!("basb-host promote {run}")), "{}", out.stderr);
    assert!(out.stderr.contains(&format!("basb-host abort {run}")), "{}", out.stderr);
    (lab, run)
}

#[test]
fn a_gate_waits_and_a_promotion_goes_on() {
    let (lab, run) = at_gate();

    // Nobody is at work, and everything stays as it is.
    let status = lab.host(&["status"]).exits(0).stdout;
    assert!(status.contains(&format!("unfinished run {run}")), "{status}");
    assert!(status.contains("at 50%"), "{status}");
    assert!(status.contains("nobody is at work on it"), "{status}");
    assert!(status.contains("gate capture: "), "{status}");
    let json = lab.host(&["--json", "status"]).exits(0).json();
    let service = json.pointer("/unfinished/0/services/0").unwrap();
    assert_eq!(service["service"], "capture");
    assert_eq!(service["phase"], "rollout");
    let waits = service["doing"].as_str().unwrap();
    assert!(waits.contains("promot") || waits.contains("gate"), "{waits}");
    let cloud = lab.cloud();
    let weights: Vec<u64> = cloud.service("capture").revisions.values().map(|r| r.weight).collect();
    assert_eq!(weights, [5_000, 5_000]);

    // The same command comes to the same gate.
    let again = lab.run(2).exits(4);
    assert!(again.stderr.contains(&format!("run {run} is unfinished: going on")), "{}", again.stderr);
    assert_eq!(lab.cloud(), cloud);

    let load = Load::start(lab.port());
    let done = lab.host(&["--json", "promote"]).exits(0).events();
    assert_eq!(load.stop().failed, Vec::<String>::new());
    assert_eq!(done.run(), run);
    assert_eq!(done.count("gate.passed"), 1);
    assert_eq!(done.weights("capture"), [80, 100]);
    assert_eq!(Mcp::new(lab.port()).release(), Ok(2));
    let _ = lab.cloud().service("capture").only();
    lab.verify_journal(&run);

    // There is nothing left to decide.
    lab.host(&["promote"]).exits(1).says("run/none-unfinished", &["there is no unfinished run"]);
    lab.host(&["promote", &run]).exits(1).says("run/finished", &["is finished"]);
    lab.host(&["abort", "nonsense"]).exits(1).says("journal/unknown-run", &["there is no run `nonsense`"]);
}

#[test]
fn a_gate_waits_and_an_abort_goes_back() {
    let (lab, run) = at_gate();
    let short = run.get(..20).unwrap();
    let back = lab.host(&["--json", "abort", short]).exits(3).events();
    assert_eq!(back.run(), run);
    assert_eq!(back.weights("capture"), [0]);
    assert!(back.titles("service.aborted").pop().unwrap().contains("asked for it"));
    assert_eq!(Mcp::new(lab.port()).release(), Ok(1));
    let _ = lab.cloud().service("capture").only();
    lab.verify_journal(&run);
}

#[test]
fn a_gate_with_a_timeout_goes_back_by_itself() {
    let lab = Lab::new();
    let config = "{ steps: [ { setWeight: 50 }, { pause: { timeout: 300ms, onTimeout: abort } } ] }";
    lab.write(&FileOptions { config, ..FileOptions::default() });
    lab.run(1).exits(0);
    let events = lab.run(2).exits(3).events();
    assert!(events.titles("service.aborted").pop().unwrap().contains("nobody promoted in time"));
    assert_eq!(Mcp::new(lab.port()).release(), Ok(1));
}
