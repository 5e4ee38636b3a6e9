//! `provider-gcp`: services on Cloud Run, through the real binary.

use std::collections::BTreeSet;

use basb_e2e::{Following, wait_for};
use basb_providers_e2e::gcp::{BROKEN, GcpLab, IMAGE};
use basb_providers_e2e::suite::{self, CANARY_AND_HTTP, Site};
use serde_json::{Value, json};

#[test]
fn the_example_on_cloud_run() {
    let Some(gcp) = GcpLab::start() else { return };
    suite::second_brain(&gcp);
    // All of it was as Google describes it, to the last field.
    let refused: Vec<String> = refused(&gcp.requests());
    assert_eq!(refused, [""; 0]);
}

/// Requests that were refused, but for what was looked for and not there.
fn refused(requests: &[Value]) -> Vec<String> {
    let is_refused = |of: &&Value| of["status"] != 200 && !(of["method"] == "GET" && of["status"] == 404);
    let said = |of: &Value| format!("{} {}: {}", of["method"], of["path"], of["answer"]["error"]["message"]);
    requests.iter().filter(is_refused).map(said).collect()
}

/// One service that runs this image.
fn one(gcp: &GcpLab, more: &str) -> String {
    let (access, plugin) = gcp.access();
    format!(
        "version: 1
name: second-brain
vars: {{ release: \"1\", image: \"{IMAGE}\" }}
{access}plugins:
{plugin}{CANARY_AND_HTTP}environments:
  gcp:
{provider}{more}strategies:
  careful:
    plugin: canary
    config: {{ steps: [{{ setWeight: 10 }}, {{ analysis: {{ templates: [healthy] }} }}, {{ setWeight: 50 }}] }}
probes:
  health: {{ plugin: http, config: {{ path: /healthz, requests: 3 }} }}
analyses:
  healthy:
    metrics:
      - {{ name: health, probe: health, interval: 100ms, count: 2, successCondition: result.success_rate >= 0.99 }}
services:
  capture:
    workload:
      image: \"${{image}}\"
      ready: {{ http: /healthz }}
      settings: {{ args: [capture, --vault, {vault}, --release, \"${{release}}\"] }}
    strategy: careful
    verify: [health]
    progressDeadline: 60s
    scaleDownDelay: 100ms
    abortScaleDownDelay: 100ms
",
        provider = gcp.provider(),
        vault = gcp.lab.vault().display(),
    )
}

/// Method, and path with its numbers and names left out, and the query's names.
fn shape(request: &Value) -> String {
    let path = request["path"].as_str().unwrap();
    let (collection, rest) = path.split_once("/services").unwrap_or((path, ""));
    let parts = rest.split('/').filter(|part| !part.is_empty()).count();
    let kind = match (parts, rest.contains("/revisions"), collection.contains("/operations/")) {
        (_, _, true) => "operation",
        (0, ..) => "services",
        (1, ..) => "service",
        (2, ..) => "revisions",
        (_, true, _) => "revision",
        _ => "something else",
    };
    let query: BTreeSet<&str> = request["query"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| pair[0].as_str().unwrap())
        .filter(|name| *name != "alt")
        .collect();
    format!("{} {kind} {query:?}", request["method"].as_str().unwrap())
}

#[test]
fn requests_are_those_of_googles_own_client() {
    let Some(gcp) = GcpLab::start() else { return };
    gcp.lab.write_text(&one(&gcp, ""));
    gcp.host(&["plan"]).exits(2);
    gcp.host(&["run"]).exits(0);
    gcp.host(&["plan", "--set", "release=2"]).exits(2);
    gcp.host(&["run", "--set", "release=2"]).exits(0);
    let ours = gcp.requests();
    assert_eq!(refused(&ours), [""; 0]);
    let _ = gcp.client(&["story", "reference", IMAGE]);
    let theirs = gcp.requests();
    assert_eq!(refused(&theirs), [""; 0]);
    let shapes = |all: &[Value]| all.iter().map(shape).collect::<BTreeSet<String>>();
    let (ours_of, theirs_of) = (shapes(&ours), shapes(&theirs));
    let only_ours: Vec<&String> = ours_of.difference(&theirs_of).collect();
    assert_eq!(only_ours, Vec::<&String>::new(), "{theirs_of:?}");
    // And their bodies name the same fields, as far as both say the same thing.
    let body = |all: &[Value], method: &str, field: &str| {
        let sent = all.iter().find(|of| of["method"] == method && !of["body"][field].is_null());
        sent.unwrap_or_else(|| panic!("no {method} with {field}"))["body"].clone()
    };
    for (method, field) in [("POST", "traffic"), ("PATCH", "template"), ("PATCH", "traffic")] {
        let (ours, theirs) = (body(&ours, method, field), body(&theirs, method, field));
        assert_eq!(ours["etag"].is_string(), theirs["etag"].is_string(), "{ours} {theirs}");
        assert_eq!(ours[field].is_array(), theirs[field].is_array(), "{ours} {theirs}");
    }
    let target = |body: Value| body["traffic"][0].clone();
    let (ours, theirs) = (target(body(&ours, "POST", "traffic")), target(body(&theirs, "POST", "traffic")));
    let keys = |of: &Value| of.as_object().unwrap().keys().cloned().collect::<BTreeSet<String>>();
    assert_eq!((keys(&ours), &ours["type"], &ours["percent"]), (keys(&theirs), &theirs["type"], &theirs["percent"]));
}

#[test]
fn requests_are_to_the_letter_those_of_googles_newer_client() {
    let Some(gcp) = GcpLab::start() else { return };
    gcp.lab.write_text(&one(&gcp, ""));
    // A first release that fails takes everything away again.
    gcp.host(&["run", "--set", &format!("image={BROKEN}")]).exits(3);
    gcp.host(&["plan"]).exits(2);
    gcp.host(&["run"]).exits(0);
    gcp.host(&["plan", "--set", "release=2"]).exits(2);
    gcp.host(&["run", "--set", "release=2"]).exits(0);
    gcp.host(&["drift"]).exits(0);
    gcp.host(&["undo"]).exits(0);
    let sent: Vec<Value> = gcp.requests().into_iter().filter(|of| of["status"] == 200).collect();
    let wire = gcp.wire(&sent);
    assert!(wire["differ"] == json!([]), "{:#}", wire["differ"]);
    let compared: BTreeSet<&str> = wire["compared"].as_object().unwrap().keys().map(String::as_str).collect();
    let kinds = [
        "create",
        "create validateOnly",
        "delete",
        "delete revision",
        "operation",
        "patch template",
        "patch template validateOnly",
        "patch traffic",
        "revisions",
        "service",
    ];
    let missing: Vec<&&str> = kinds.iter().filter(|kind| !compared.contains(**kind)).collect();
    assert_eq!(missing, Vec::<&&str>::new(), "{compared:?}");
}

#[test]
fn a_plan_changes_nothing_and_a_failed_start_goes_back() {
    let Some(gcp) = GcpLab::start() else { return };
    gcp.lab.write_text(&one(&gcp, ""));
    let plan = gcp.host(&["plan"]).exits(2).stdout;
    assert!(plan.contains("which has all of its traffic as soon as it is ready"), "{plan}");
    assert_eq!(gcp.facts(), json!({"services": []}), "Cloud Run checked it, and made nothing");
    let asked = gcp.requests();
    let changes: Vec<&Value> = asked.iter().filter(|of| of["method"] != "GET").collect();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert!(changes[0]["query"].as_array().unwrap().contains(&json!(["validateOnly", "true"])), "{changes:?}");

    // A first release that does not come up leaves nothing.
    gcp.host(&["run", "--set", &format!("image={BROKEN}")]).exits(3);
    assert_eq!(gcp.facts(), json!({"services": []}));
    gcp.host(&["run"]).exits(0);
    let before = gcp.fact("capture");
    // It ends as soon as it is started: Cloud Run's words and the place of the log reach the person, nobody is led there.
    let broken = format!("image={BROKEN}");
    let failed = gcp.host(&["run", "--set", &broken]);
    let said = format!("{}{}", failed.stdout, failed.stderr);
    assert_eq!(failed.code, Some(3), "{said}");
    assert!(said.contains("The user-provided container failed to start"), "{said}");
    assert!(said.contains("console.cloud.google.com/logs"), "{said}");
    let after = gcp.fact("capture");
    assert_eq!(after["traffic"], before["traffic"]);
    assert_eq!(after["revisions"].as_array().unwrap().len(), 1, "nothing of it stays: {after}");
    assert_eq!(after["latest"], before["latest"], "nobody starts from what was rolled back");
    gcp.host(&["drift"]).exits(0);
    gcp.host(&["run", "--set", "release=2"]).exits(0);
    let last = gcp.fact("capture");
    assert_eq!(last["revisions"].as_array().unwrap().len(), 1, "{last}");
    gcp.host(&["drift"]).exits(0);
    assert_eq!(refused(&gcp.requests()), [""; 0]);

    suite::reaches_http_alone(&gcp.host(&["audit"]).exits(0).stdout, "gcp");
}

#[test]
fn a_service_of_somebody_is_refused_until_it_is_named_and_adopted() {
    let Some(gcp) = GcpLab::start() else { return };
    gcp.lab.write_text(&one(&gcp, ""));
    let plan = gcp.host(&["plan"]).exits(2).stdout;
    let (_, rest) = plan.split_once("the Cloud Run service ").unwrap();
    let name = rest.split_whitespace().next().unwrap();
    let _ = gcp.client(&["create", name, IMAGE]);
    let _ = gcp.requests();
    let all = |out: &basb_e2e::Output| format!("{}{}", out.stdout, out.stderr);
    for verb in ["plan", "run", "import"] {
        let refused = gcp.host(&[verb]);
        assert_ne!(refused.code, Some(0), "{verb}");
        assert!(all(&refused).contains(&format!("service {name} that basb-host did not make")), "{}", all(&refused));
    }
    let named = format!("        services: {{ capture: {{ service: {name} }} }}\n");
    gcp.lab.write_text(&one(&gcp, &named));
    let imported = gcp.host(&["import"]).exits(0);
    assert!(all(&imported).contains("capture") && all(&imported).contains(" x"), "{}", all(&imported));
    let changes = gcp.requests().iter().filter(|of| of["method"] != "GET").count();
    assert_eq!(changes, 0, "to adopt is to write down");
    let plan = gcp.host(&["plan"]).exits(2).stdout;
    assert!(plan.contains("follows the latest one no more"), "{plan}");
    gcp.host(&["run"]).exits(0);
    let fact = gcp.fact("capture");
    assert_eq!((fact["name"].as_str(), fact["traffic"].as_array().map(Vec::len)), (Some(name), Some(1)), "{fact}");
    assert_eq!(fact["revisions"].as_array().unwrap().len(), 2, "what others made stays: {fact}");
    gcp.host(&["drift"]).exits(0);

    // Another deployment that names it is refused: it belongs to this one now.
    let other = one(&gcp, &named).replace("name: second-brain", "name: another-brain");
    gcp.lab.write_text(&other);
    std::fs::remove_file(gcp.lab.root().join("basb.lock")).unwrap();
    let refused = gcp.host(&["plan"]);
    let said = format!("{}{}", refused.stdout, refused.stderr);
    assert!(refused.code != Some(0) && said.contains("belongs to capture of second-brain/gcp"), "{said}");
}

#[test]
fn a_host_that_is_killed_is_taken_over() {
    let Some(gcp) = GcpLab::start() else { return };
    gcp.lab.write_text(&one(&gcp, ""));
    gcp.host(&["run"]).exits(0);
    let _ = gcp.requests();
    // While an operation goes on at Cloud Run, and with a tenth of the traffic moved.
    let second = ["--json", "run", "--set", "release=2"];
    let mut run = Following::start(Site::command(&gcp, &second));
    wait_for("the revision is asked for", || {
        let text = std::fs::read_to_string(gcp.log()).unwrap();
        text.lines().any(|line| line.contains("\"PATCH\"") && !line.contains("validateOnly")).then_some(())
    });
    let _ = run.kill();
    run = Following::start(Site::command(&gcp, &second));
    run.until_weight(10);
    let _ = run.kill();
    gcp.host(&second).exits(0);
    let fact = gcp.fact("capture");
    let counts = ["revisions", "traffic"].map(|field| fact[field].as_array().unwrap().len());
    assert_eq!(counts, [1, 1], "{fact}");
    let requests = gcp.requests();
    assert_eq!(refused(&requests), [""; 0]);
    let made = requests
        .iter()
        .filter(|of| of["method"] == "PATCH" && of["query"] == json!([["updateMask", "template"]]))
        .count();
    assert_eq!(made, 1, "the revision was made once");
}

#[test]
fn a_key_of_somebody_else_opens_nothing() {
    let Some(gcp) = GcpLab::start() else { return };
    gcp.lab.write_text(&one(&gcp, ""));
    let mut command = gcp.lab.command(&["plan"]);
    command.env("GCP_KEY", &gcp.other_key);
    let refused = Following::start(command).end();
    let said = format!("{}{}", refused.stdout, refused.stderr);
    assert!(refused.code != Some(0) && said.contains("invalid_grant"), "{said}");
    assert!(!said.contains("PRIVATE KEY"), "a key is nowhere");
    assert_eq!(gcp.requests(), [] as [Value; 0], "no request without a token");
    let _ = Site::command(&gcp, &["plan"]);
}
