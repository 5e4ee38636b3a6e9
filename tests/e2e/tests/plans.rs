//! Plans as files: carried out as they were made, or not at all.

use basb_e2e::{FileOptions, Lab, Mcp, swap};
use serde_json::Value;

/// A lab with release 1 deployed, and a plan for release 2.
fn planned() -> (Lab, String) {
    let lab = Lab::new();
    lab.write(&FileOptions::default());
    lab.run(1).exits(0);
    let first = lab.cloud().service("capture").only().0.to_owned();
    let out = lab.host(&["plan", "--set", "release=2", "--out", "plan.json"]).exits(2);
    assert!(out.stderr.contains("written: plan.json; `basb-host run plan.json` does exactly this"), "{}", out.stderr);
    assert!(out.stdout.contains(&format!("{first} -> r")), "{}", out.stdout);
    (lab, first)
}

fn plan(lab: &Lab) -> Value {
    serde_json::from_str(&std::fs::read_to_string(lab.root().join("plan.json")).unwrap()).unwrap()
}

#[test]
fn a_plan_is_carried_out_as_it_was_made() {
    let (lab, first) = planned();
    let plan = plan(&lab);
    assert_eq!(plan["format"], "basb-host plan");
    assert_eq!((&plan["version"], &plan["cannotUndo"]), (&1.into(), &Value::Array(vec![])));
    assert_eq!(plan["madeFrom"]["file"], "deployment.yaml", "relative, so that it can move with the file");
    assert_eq!(plan["madeFrom"]["variables"], serde_json::json!({ "release": "2" }));
    assert_eq!(plan["services"][0]["stable"], *first);
    let out = lab.host(&["--json", "run", "plan.json"]).exits(0);
    assert_eq!(out.events().weights("capture"), [20, 50, 80, 100]);
    let second = lab.cloud().service("capture").only().0.to_owned();
    assert_eq!(plan["services"][0]["candidate"], *second);
    assert_eq!(Mcp::new(lab.port()).release(), Ok(2));

    // Once is enough: what it starts from is not there any more.
    let runs = lab.history();
    let again = lab.host(&["run", "plan.json"]).exits(1);
    let moved = format!("capture: stable was {first}, is {second}");
    again.says("plan/stale", &[&moved, "capture: the actions were `create start revision", "are `nothing`"]);
    assert_eq!(lab.history(), runs, "no run was begun");
}

#[test]
fn a_plan_that_was_cut_off_goes_on() {
    let (lab, _) = planned();
    let mut run = lab.follow(&["--json", "run", "plan.json"]);
    run.until_weight(20);
    let id = run.kill().events().run();
    let out = lab.host(&["--json", "run", "plan.json"]).exits(0);
    assert_eq!(out.events().run(), id);
    assert_eq!(Mcp::new(lab.port()).release(), Ok(2));
    assert_eq!(lab.history().len(), 2);
}

#[test]
fn what_moved_in_the_file_is_named() {
    let (lab, _) = planned();
    let before = (lab.history(), lab.cloud());
    let text = std::fs::read_to_string(lab.file()).unwrap();

    lab.write_text(&format!("# A comment is no change.\n{}", swap(&text, "count: 8", "count: 9")));
    let out = lab.host(&["--json", "run", "plan.json"]).exits(1);
    let said = out.json();
    assert_eq!(said["error"]["code"], "plan/stale");
    let moved: Vec<_> = said["moved"].as_array().unwrap().iter().map(|m| (&m["what"], &m["name"])).collect();
    assert_eq!(moved, [(&"file".into(), &"probes/tools".into())], "{said}");

    lab.write_text(&swap(&text, "replicas: 2", "replicas: 3"));
    let out = lab.host(&["run", "plan.json"]).exits(1);
    out.says(
        "plan/stale",
        &[
            "the file's services/capture: was",
            "are `create start revision",
            "with 3 instances`",
            "`basb-host plan --out FILE`",
        ],
    );
    assert_eq!((lab.history(), lab.cloud()), before, "nothing was changed");

    lab.write_text(&format!("# Only a comment.\n{text}"));
    lab.host(&["run", "plan.json"]).exits(0);
}

#[test]
fn a_plan_that_is_not_as_it_was_written_is_refused() {
    let (lab, _) = planned();
    let before = (lab.history(), lab.cloud());
    let path = lab.root().join("plan.json");
    let text = std::fs::read_to_string(&path).unwrap();
    for (edited, said) in [
        (text.replacen("\"release\": \"2\"", "\"release\": \"3\"", 1), "its digest is sha256:"),
        (text[..text.len() / 2].to_owned(), "it is no JSON"),
    ] {
        assert_ne!(edited, text);
        std::fs::write(&path, &edited).unwrap();
        lab.host(&["run", "plan.json"]).exits(1).says("plan/damaged", &["not as it was written", said]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), edited);
    }
    std::fs::write(&path, &text).unwrap();
    for more in [["-e", "local"], ["--set", "release=2"]] {
        let args = ["run", "plan.json", more[0], more[1]];
        lab.host(&args).exits(1).says("plan/fixed", &["a plan fixes the environment and the variables"]);
    }
    let out = lab.host(&["plan", "--out", "deployment.yaml"]).exits(1);
    out.says("plan/not-a-plan", &["deployment.yaml is there and is not a plan"]);
    assert_eq!((lab.history(), lab.cloud()), before, "nothing was changed");
}

/// A deployment whose provider says that it cannot undo something, and then fails.
fn cautious() -> Lab {
    let lab = Lab::new();
    std::fs::write(lab.root().join("cautious.wasm"), basb_guest_build::build("guest-cautious")).unwrap();
    lab.write_text(
        "version: 1
name: lab
plugins:
  cautious: { source: ./cautious.wasm }
  rollout: { source: \"builtin:strategy-rolling\" }
environments:
  here: { provider: { plugin: cautious, config: { lost: its data is lost } } }
services:
  web: { workload: { command: [web] }, strategy: quick, abortScaleDownDelay: 0ms }
strategies:
  quick: { plugin: rollout }
",
    );
    lab
}

#[test]
fn what_cannot_be_undone_is_in_the_plan_and_in_the_way_back() {
    let lab = cautious();
    let out = lab.host(&["plan", "--out", "plan.json"]).exits(2);
    assert!(
        out.stdout.contains("! this cannot be undone:\n    web: replace the volume of web: its data is lost\n"),
        "{}",
        out.stdout
    );
    let said =
        serde_json::json!([{ "service": "web", "action": "replace the volume of web", "why": "its data is lost" }]);
    assert_eq!(plan(&lab)["cannotUndo"], said);
    assert_eq!(lab.host(&["--json", "plan"]).exits(2).json()["cannotUndo"], said);
    let out = lab.host(&["--json", "run", "plan.json"]).exits(3);
    let events = out.events();
    let back = events.0.iter().find_map(|e| match &e.body {
        basb_core::event::Body::RolledBack { not_undone, .. } => Some(not_undone.clone()),
        _ => None,
    });
    assert_eq!(back, Some(vec!["replace the volume of web: its data is lost".to_owned()]));
}
