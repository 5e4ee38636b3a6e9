//! Back to what was stable before, and on to another environment.

use basb_e2e::{FileOptions, Lab, Load, Mcp, Two, program, swap};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;

fn stable(lab: &Lab, service: &str) -> String {
    lab.cloud().service(service).only().0.to_owned()
}

#[test]
fn back_in_one_go_without_steps() {
    let lab = Lab::new();
    lab.write(&FileOptions { two: Two::Yes, ..FileOptions::default() });
    lab.run(1).exits(0);
    let first = (stable(&lab, "capture"), stable(&lab, "organize"));
    let out = lab.host(&["undo"]).exits(1);
    out.says("undo/nothing-before", &["nothing was stable before"]);
    lab.run(2).exits(0);
    let second = stable(&lab, "capture");

    let load = Load::start(lab.port());
    let out = lab.host(&["--json", "undo"]).exits(0);
    let events = out.events();
    assert_eq!(load.stop().failed, Vec::<String>::new(), "no request is lost on the way back");
    assert_eq!(events.weights("capture"), [100], "no steps");
    assert_eq!((events.count("step.started"), events.count("analysis.finished")), (0, 0));
    assert!(out.stderr.contains(&format!("capture: back from {second} to {} (number 1)", first.0)), "{}", out.stderr);
    assert!(out.stderr.contains("would roll that out again"), "{}", out.stderr);
    let undone = out.decided("undo.decided")["undone"].clone();
    assert_eq!(undone[0], json!({ "service": "capture", "from": second, "to": first.0, "number": 1 }), "{undone}");
    assert_eq!(undone.as_array().unwrap().len(), 2, "{undone}");
    assert_eq!((stable(&lab, "capture"), stable(&lab, "organize")), first);
    assert_eq!(Mcp::new(lab.port()).release(), Ok(1));
    // Those that depend on others go first.
    let of = |service: &str| events.0.iter().rposition(|e| e.service.as_ref().is_some_and(|s| s.as_str() == service));
    let begins = |service: &str| {
        events.0.iter().position(|e| {
            e.service.as_ref().is_some_and(|s| s.as_str() == service) && e.body.kind() == "traffic.shifted"
        })
    };
    assert!(begins("organize") < begins("capture"), "{:?} {:?}", of("organize"), of("capture"));

    let listed = lab.host(&["--json", "revisions", "capture"]).exits(0).json();
    let of = |n: usize, key: &str| listed["services"][0]["revisions"][n][key].clone();
    assert_eq!([of(0, "number"), of(1, "number"), of(2, "number")], [json!(3), json!(2), json!(1)]);
    assert_eq!((of(0, "revision"), of(1, "revision")), (json!(first.0), json!(second)));
    assert_eq!(of(0, "cause")["kind"], "undo");
    assert!(of(1, "artefact")["program"].as_str().unwrap().starts_with("sha256:"));

    // What is stable already needs nothing; by number and by id.
    let runs = lab.history();
    for to in ["3", &first.0] {
        let out = lab.host(&["undo", "--service", "capture", "--to-revision", to]).exits(0);
        assert!(out.stderr.contains(&format!("capture: {} is stable already", first.0)), "{}", out.stderr);
        assert!(out.stderr.contains("nothing to do"), "{}", out.stderr);
    }
    let out = lab.host(&["--json", "undo", "--service", "capture", "--to-revision", "3"]).exits(0);
    let nothing = out.decided("undo.decided");
    assert_eq!((&nothing["run"], &nothing["undone"][0]["from"]), (&json!(null), &json!(first.0)), "{nothing}");
    assert_eq!(lab.history(), runs);
    lab.host(&["undo", "--service", "capture", "--to-revision", "2"]).exits(0);
    assert_eq!(stable(&lab, "capture"), second);
    assert_eq!(stable(&lab, "organize"), first.1, "only that service");
}

/// A repair writes down once more what is stable; that is no release, and no reason to go back with less or with more.
#[test]
fn what_was_repaired_since_does_not_change_what_the_last_release_is() {
    let lab = Lab::new();
    lab.write(&FileOptions { two: Two::Yes, ..FileOptions::default() });
    lab.run(1).exits(0);
    let first = (stable(&lab, "capture"), stable(&lab, "organize"));
    lab.run(2).exits(0);
    let second = stable(&lab, "organize");
    lab.behind("lab.local.organize", "PUT", "/traffic", &json!({ "weights": {} }));

    // Its readiness cannot be asked of a service that nobody is led to, and that is no reason not to repair it.
    let said = format!("    repair {second}: should be 100% of the traffic, is 0% of the traffic\n");
    let out = lab.host(&["plan", "--set", "release=2", "--out", "plan.json"]).exits(2);
    assert!(out.stdout.contains(&said) && out.stdout.contains("1 of 2 services change"), "{}", out.stdout);
    let events = lab.host(&["--json", "run", "plan.json"]).exits(0).events();
    assert_eq!((events.weights("capture").len(), events.weights("organize")), (0, vec![100]));
    let stale = lab.host(&["run", "plan.json"]).exits(1);
    stale.says("plan/stale", &["organize: to be repaired was ", "is nothing"]);

    lab.host(&["undo"]).exits(0);
    assert_eq!((stable(&lab, "capture"), stable(&lab, "organize")), first);
}

/// A rollout to a revision and an undo to the same one are not the same run: one takes steps.
#[test]
fn an_undo_does_not_go_on_with_a_rollout() {
    let lab = Lab::new();
    lab.write(&FileOptions { config: "{ steps: [ { setWeight: 50 }, { pause: {} } ] }", ..FileOptions::default() });
    lab.run(1).exits(0);
    let first = stable(&lab, "capture");
    lab.run(2).exits(4);
    lab.host(&["promote"]).exits(0);
    let rollout = lab.run(1).exits(4).events().run();
    let out = lab.host(&["--json", "undo"]).exits(0);
    let events = out.events();
    assert_ne!(events.run(), rollout);
    assert!(out.stderr.contains(&format!("run {rollout} was unfinished and is superseded")), "{}", out.stderr);
    assert_eq!((events.weights("capture").pop(), events.count("step.started")), (Some(100), 0));
    assert_eq!(stable(&lab, "capture"), first);
}

/// After an upgrade, an unfinished run goes on, or back, with the plugins that it began with.
#[test]
fn a_plugin_that_was_replaced_keeps_no_run_from_going_back() {
    let lab = Lab::new();
    let text =
        lab.write(&FileOptions { config: "{ steps: [ { setWeight: 50 }, { pause: {} } ] }", ..FileOptions::default() });
    let plugin = |name: &str| {
        let builtin = basb_builtins::find(name).unwrap();
        std::fs::write(lab.root().join("own.wasm"), builtin.bytes).unwrap();
    };
    plugin("strategy-canary");
    lab.write_text(&swap(&text, "builtin:strategy-canary", "./own.wasm"));
    lab.run(1).exits(0);
    let first = stable(&lab, "capture");
    lab.run(2).exits(4);
    plugin("strategy-rolling");
    let out = lab.host(&["abort"]).exits(3);
    assert!(out.stderr.contains("plugins that were replaced since it began are used as they were: "), "{}", out.stderr);
    assert_eq!(stable(&lab, "capture"), first);
}

#[test]
fn an_undo_that_was_cut_off_is_gone_on_with_and_not_turned_round() {
    let lab = Lab::new();
    lab.write(&FileOptions { two: Two::Yes, ..FileOptions::default() });
    lab.run(1).exits(0);
    let first = (stable(&lab, "capture"), stable(&lab, "organize"));
    lab.run(2).exits(0);
    // Both go back at once, and what they had is kept for long: the run stays unfinished.
    let text = std::fs::read_to_string(lab.file()).unwrap();
    lab.write_text(&text.replace("    scaleDownDelay: 100ms", "    scaleDownDelay: 10m"));
    let mut undo = lab.follow(&["--json", "undo"]);
    undo.until_kind("service.promoted");
    undo.until_kind("service.promoted");
    let run = undo.kill().events().run();

    lab.host(&["undo", "--service", "capture"]).exits(1).says("undo/unfinished", &[&run, "capture, organize"]);
    let mut again = lab.follow(&["--json", "undo"]);
    again.until_kind("run.resumed");
    let again = again.kill();
    assert_eq!(again.events().run(), run, "the same one goes on");
    assert!(again.stderr.contains(&format!("run {run}, an undo, is unfinished: going on with it")), "{}", again.stderr);
    let revisions = lab.host(&["--json", "revisions"]).exits(0).json();
    let now = |n: usize| revisions["services"][n]["revisions"][0]["revision"].clone();
    assert_eq!((now(0), now(1)), (json!(first.0), json!(first.1)));
    assert_eq!(Mcp::new(lab.port()).release(), Ok(1));
}

#[test]
fn what_cannot_be_gone_back_to_is_said() {
    let lab = Lab::new();
    lab.write(&FileOptions { two: Two::Yes, ..FileOptions::default() });
    lab.run(1).exits(0);
    let before = (lab.history(), lab.cloud());
    for (args, code, said) in [
        (&["--to-revision", "1"][..], "undo/which-service", "every service has numbers of its own"),
        (&["--to-revision", "9", "--service", "capture"], "undo/nothing-before", "no revision with the number 9"),
        (&["--to-revision", "rabc"], "undo/nothing-before", "rabc was never stable here"),
        (&["--to-revision", "A_B"], "cli/bad-revision", "is not a valid revision id"),
        (&["--service", "nope"], "undo/no-such-service", "no service `nope`"),
    ] {
        lab.host(&[&["undo"][..], args].concat()).exits(1).says(code, &[said]);
    }
    assert_eq!((lab.history(), lab.cloud()), before);
}

/// A lab whose services run a copy of the program, which can be changed.
fn with_own_program(environments: &str) -> (Lab, std::path::PathBuf) {
    let lab = Lab::new();
    let own = lab.root().join("second-brain");
    std::fs::copy(program("second-brain"), &own).unwrap();
    let text = FileOptions::default().text(lab.port(), lab.second_port());
    let text =
        swap(&text, &format!("program: {}", program("second-brain").display()), &format!("program: {}", own.display()));
    lab.write_text(&swap(&text, "environments:\n  local:\n    provider: { plugin: local }\n", environments));
    (lab, own)
}

/// The same program with other bytes.
fn rebuild(program: &std::path::Path, tail: &str) {
    let mut bytes = std::fs::read(program).unwrap();
    bytes.extend_from_slice(tail.as_bytes());
    // Another file under the same name: the old one is being run.
    std::fs::remove_file(program).unwrap();
    std::fs::write(program, bytes).unwrap();
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_program_that_has_changed_since_is_another_revision() {
    let (lab, own) = with_own_program("environments:\n  local:\n    provider: { plugin: local }\n");
    lab.run(1).exits(0);
    let first = stable(&lab, "capture");
    let original = std::fs::read(&own).unwrap();
    rebuild(&own, "rebuilt");
    lab.run(1).exits(0);
    let second = stable(&lab, "capture");
    assert_ne!(first, second, "a rebuilt program is another revision");
    let runs = lab.history();
    let out = lab.host(&["undo"]).exits(1);
    out.says("undo/program-changed", &["is not what", &first, "(program sha256:", &format!("it would be {second}")]);
    assert_eq!(lab.history(), runs);
    std::fs::remove_file(&own).unwrap();
    std::fs::write(&own, original).unwrap();
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o755)).unwrap();
    lab.host(&["undo"]).exits(0);
    assert_eq!(stable(&lab, "capture"), first);
}

const TWO: &str = "environments:
  staging:
    provider: { plugin: local }
  production:
    provider: { plugin: local }
    services:
      capture: { listen: 127.0.0.1:PORT, replicas: 1 }
";

#[test]
fn an_environment_gets_exactly_what_another_one_verified() {
    let (lab, own) = with_own_program(&TWO.replace("PORT", &basb_e2e::free_port().to_string()));
    let promote = |args: &[&str]| lab.host(&[&["--json", "env", "promote"], args].concat());
    promote(&["staging", "production"])
        .exits(1)
        .says("promotion/not-the-same", &["capture: nothing is stable in staging"]);
    promote(&["stagin", "production"]).exits(1).says("spec/unknown-environment", &["there is no environment `stagin`"]);
    promote(&["staging", "staging"]).exits(1).says("promotion/same-environment", &["to itself"]);
    lab.host(&["run", "-e", "staging"]).exits(0);

    let out = promote(&["staging", "production"]).exits(0);
    assert!(out.stderr.contains(" of staging, program sha256:"), "{}", out.stderr);
    let decided = out.decided("promotion.decided");
    assert_eq!([&decided["from"], &decided["to"]], [&json!("staging"), &json!("production")]);
    let promoted = &decided["promoted"][0];
    assert_eq!(promoted["service"], "capture", "{decided}");
    assert!(promoted["artefact"]["program"].as_str().unwrap().starts_with("sha256:"), "{decided}");
    let events = out.events();
    assert_eq!(events.weights("capture"), [100], "its own first release, with its own probes");
    assert!(events.count("probe.measured") > 0);
    let listed = lab.host(&["--json", "revisions", "-e", "production"]).exits(0).json();
    let line = &listed["services"][0]["revisions"][0];
    assert_eq!(
        json!([line["cause"]["kind"], line["cause"]["from"], line["replicas"]]),
        json!(["promotion", "staging", 1])
    );

    // A program that was built again since is not what staging verified.
    let runs = lab.history();
    rebuild(&own, "again");
    let out = promote(&["staging", "production"]).exits(1);
    out.says(
        "promotion/not-the-same",
        &["staging verified program sha256:", "production would deploy program sha256:"],
    );
    assert_eq!(lab.history(), runs);
    lab.host(&["run", "-e", "staging"]).exits(0);
    let out = promote(&["staging", "production"]).exits(0);
    assert_eq!(out.events().weights("capture"), [20, 50, 80, 100], "through its own steps");
    lab.host(&["drift", "-e", "production"]).exits(0);
}

/// A lab whose service is a script that an interpreter runs, as `start.sh` beside the file.
fn interpreted(environments: &str) -> (Lab, std::path::PathBuf) {
    let lab = Lab::new();
    let script = lab.root().join("start.sh");
    std::fs::write(&script, format!("exec {} \"$@\"\n", program("second-brain").display())).unwrap();
    let text = FileOptions::default().text(lab.port(), lab.second_port());
    let text = swap(&text, "command: [\"${program}\", capture", "command: [/bin/sh, start.sh, capture");
    // What is not used is a problem of the file.
    let text = swap(&text, &format!("  program: {}\n", program("second-brain").display()), "");
    lab.write_text(&swap(&text, "environments:\n  local:\n    provider: { plugin: local }\n", environments));
    (lab, script)
}

#[test]
fn a_script_is_promoted_as_it_was_verified_or_not_at_all() {
    let (lab, script) = interpreted(&TWO.replace("PORT", &basb_e2e::free_port().to_string()));
    let promote = || lab.host(&["--json", "env", "promote", "staging", "production"]);
    lab.host(&["run", "-e", "staging"]).exits(0);
    let verified = std::fs::read_to_string(&script).unwrap();
    std::fs::write(&script, format!("# edited\n{verified}")).unwrap();
    let runs = lab.history();
    promote().exits(1).says(
        "promotion/not-the-same",
        &["capture: staging verified start.sh sha256:", "production would deploy start.sh sha256:"],
    );
    assert_eq!(lab.history(), runs);
    std::fs::write(&script, &verified).unwrap();
    let out = promote().exits(0);
    let files = &out.decided("promotion.decided")["promoted"][0]["artefact"]["files"];
    assert!(files["start.sh"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{files}");
}

#[test]
fn a_script_that_has_changed_since_is_another_revision() {
    let (lab, script) = interpreted("environments:\n  local:\n    provider: { plugin: local }\n");
    lab.run(1).exits(0);
    let first = stable(&lab, "capture");
    let original = std::fs::read_to_string(&script).unwrap();
    assert_eq!(lab.run(1).exits(0).events().count("service.unchanged"), 1, "the same content is the same revision");
    std::fs::write(&script, format!("# edited\n{original}")).unwrap();
    lab.run(1).exits(0);
    let second = stable(&lab, "capture");
    assert_ne!(first, second);
    lab.host(&["undo"]).exits(1).says("undo/program-changed", &["start.sh is not what", &first, "start.sh sha256:"]);
    std::fs::write(&script, original).unwrap();
    lab.host(&["undo"]).exits(0);
    assert_eq!(stable(&lab, "capture"), first);
}
