//! `provider-aws`: containers with own weights, and functions, through the real binary.

use basb_counterparts::moto::{self, Auth};
use basb_providers_e2e::aws::{AwsLab, Functions, Service, Verified, documented_policy};
use basb_providers_e2e::suite::{self, CANARY_AND_HTTP, SERVICES, Site};
use basb_providers_e2e::users::Users;
use serde_json::{Value, json};

const TWO: &[&str] = &["capture", "organize"];

/// Two services like those of the example, in tasks that run in name only; the load balancer answers for them.
fn containers(aws: &AwsLab) -> String {
    let service = |name: &str, depends: &str| {
        format!(
            "  {name}:
    workload:
      image: registry.example/{name}@sha256:{digest}
      env: {{ RELEASE: \"${{release}}\" }}
      ready: {{ http: /healthz }}
      minReady: 100ms
      settings: {{ command: [second-brain, {name}, --port, \"{{port}}\"] }}
    replicas: 2
{depends}    strategy: careful
    verify: [health]
    progressDeadline: 60s
    scaleDownDelay: 100ms
    abortScaleDownDelay: 100ms
",
            digest = "0123456789abcdef".repeat(4)
        )
    };
    format!(
        "version: 1
name: second-brain
vars: {{ release: \"1\" }}
{access}{CANARY_AND_HTTP}environments:
{environment}strategies:
  careful:
    plugin: canary
    config: {{ steps: [{{ setWeight: 10 }}, {{ analysis: {{ templates: [healthy] }} }}, {{ setWeight: 50 }}] }}
probes:
  health: {{ plugin: http, config: {{ path: /healthz }} }}
  work: {{ plugin: http, config: {{ path: /work, requests: 20 }} }}
analyses:
  healthy:
    metrics:
      - {{ name: work, probe: work, interval: 100ms, count: 3, successCondition: result.success_rate >= 0.99 }}
services:
{services}",
        access = aws.access(Service::Ecs),
        environment = aws.environment(),
        services = service("capture", "") + &service("organize", "    dependsOn: [capture]\n"),
    )
}

/// The one ECS service of a service of the file, with all of the traffic and everything that belongs to it; its revision.
#[track_caller]
fn only(facts: &Value, name: &str) -> String {
    let tag = |of: &Value, key: &str| of["tags"][format!("basb-host:{key}")].as_str().unwrap_or_default().to_owned();
    let services: Vec<&Value> =
        facts["services"].as_array().unwrap().iter().filter(|service| tag(service, "service") == name).collect();
    let [service] = services[..] else { panic!("not one ECS service of {name}: {facts}") };
    let revision = tag(service, "revision");
    assert_eq!((tag(service, "deployment"), tag(service, "environment")), ("second-brain".into(), "aws".into()));
    assert_eq!(service["desired"], service["running"], "{facts}");
    let group = service["groups"][0].as_str().unwrap();
    let rules: Vec<&Value> =
        facts["rules"].as_array().unwrap().iter().filter(|rule| tag(rule, "service") == name).collect();
    let of = |revision: &str| {
        rules.iter().find(|rule| tag(rule, "revision") == revision).unwrap_or_else(|| panic!("{facts}"))
    };
    assert_eq!(of("")["targets"], json!({group: 999}), "users are led there and nowhere else: {facts}");
    assert_eq!(of(&revision)["targets"], json!({group: 1}), "{facts}");
    assert!(of(&revision)["priority"].as_u64() < of("")["priority"].as_u64(), "{facts}");
    assert_eq!(rules.len(), 2, "{facts}");
    revision
}

/// Two services, each with one revision, and nothing else.
#[track_caller]
fn nothing_else(facts: &Value) {
    let count = |key: &str| facts[key].as_array().unwrap().len();
    assert_eq!((count("services"), count("groups"), count("definitions"), count("rules")), (2, 2, 2, 4), "{facts}");
}

#[test]
fn containers_are_released_repaired_and_brought_back() {
    let Some(aws) = AwsLab::start(TWO, &documented_policy(), Verified::Yes) else { return };
    aws.lab.write_text(&containers(&aws));

    // A plan reads only: what it was granted lets nothing else through, and nothing is there afterwards.
    let plan = aws.host(&["plan"]).exits(2).stdout;
    assert!(plan.contains("as the ECS service second-brain-aws-capture-r"), "{plan}");
    assert!(plan.contains("host-header capture.example, x-basb-revision capture.r"), "{plan}");
    let before = aws.facts();
    assert_eq!((&before["services"], &before["groups"], &before["rules"]), (&json!([]), &json!([]), &json!([])));

    aws.run(1).exits(0);
    let facts = aws.facts();
    let first = only(&facts, "capture");
    only(&facts, "organize");
    nothing_else(&facts);
    aws.host(&["drift"]).exits(0);
    assert!(aws.host(&["plan"]).exits(0).stdout.contains("nothing to do"));

    // A canary under load: each share arrives, and nobody is turned away.
    let users = Users::start(aws.ports[0].1);
    let events = aws.run(2).exits(0).events();
    let seen = users.stop();
    assert_eq!(events.weights("capture"), [10, 50, 100]);
    assert!(seen.failed.is_empty(), "{seen:?}");
    assert!(seen.releases.contains_key("1") && seen.releases.contains_key("2"), "{seen:?}");
    let facts = aws.facts();
    let second = only(&facts, "capture");
    assert_ne!(first, second);
    nothing_else(&facts);

    // Release 3 answers 500: it goes back, and nothing of it stays.
    let failed = aws.run(3).exits(3);
    assert_eq!(failed.events().weights("capture").first(), Some(&10));
    assert_eq!(only(&aws.facts(), "capture"), second);
    nothing_else(&aws.facts());

    // Somebody changes what is there, by boto3: it is found, told, and repaired.
    aws.meddle();
    let drift = aws.host(&["--json", "drift"]).exits(2).json();
    let kinds: Vec<&str> =
        drift["services"][0]["differences"].as_array().unwrap().iter().map(|d| d["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"instances"), "{drift}");
    aws.run(2).exits(0);
    aws.host(&["drift"]).exits(0);

    // Back to what was before, and the journal's loss.
    aws.host(&["undo"]).exits(0);
    assert_eq!(only(&aws.facts(), "capture"), first);
    nothing_else(&aws.facts());
    std::fs::rename(aws.lab.state().join("journal"), aws.lab.root().join("lost")).unwrap();
    aws.host(&["import"]).exits(0);
    aws.host(&["drift"]).exits(0);
    assert_eq!(only(&aws.facts(), "capture"), first);

    suite::reaches_http_alone(&aws.host(&["audit"]).exits(0).stdout, "aws");
}

#[test]
fn the_example_in_containers() {
    let Some(aws) = AwsLab::start(&SERVICES, &documented_policy(), Verified::Yes) else { return };
    suite::second_brain(&aws);
}

#[test]
fn what_iam_does_not_allow_is_said_in_its_own_words() {
    let mut policy = documented_policy();
    for statement in policy["Statement"].as_array_mut().unwrap() {
        if let Some(actions) = statement["Action"].as_array_mut() {
            actions.retain(|action| action != "elasticloadbalancing:CreateRule");
        }
    }
    let Some(aws) = AwsLab::start(TWO, &policy, Verified::Yes) else { return };
    aws.lab.write_text(&containers(&aws));
    aws.host(&["plan"]).exits(2);
    let failed = aws.run(1);
    let said = format!("{}{}", failed.stdout, failed.stderr);
    assert_ne!(failed.code, Some(0), "{said}");
    assert!(said.contains("ELB CreateRule") && said.contains("not authorized to perform"), "{said}");
    assert!(!said.contains(&aws.deployer.secret), "a key is nowhere");
    assert_eq!(aws.facts()["services"], json!([]));

    // Another secret than the one that belongs to the key: moto verifies signatures.
    let mut command = aws.lab.command(&["plan"]);
    command.env("AWS_ID", &aws.deployer.id).env("AWS_KEY", "0000000000000000000000000000000000000000");
    let refused = basb_e2e::Following::start(command).end();
    assert_ne!(refused.code, Some(0));
    assert!(
        refused.stderr.contains("ELB DescribeRules") && refused.stderr.contains("status 403"),
        "{}",
        refused.stderr
    );
}

/// One function. Its code is an image, which neither server runs, or a package, which MiniStack does.
fn function(aws: &AwsLab, at: Functions) -> String {
    let code = match at {
        Functions::AtMoto => format!("image: registry.example/capture@sha256:{}", "0123456789abcdef".repeat(4)),
        Functions::AtMiniStack => {
            let package = aws.package();
            let (bucket, key, digest) = (&package["bucket"], &package["key"], &package["sha256"]);
            let s3 = format!("s3: {{ bucket: {bucket}, key: {key} }}, codeSha256: {digest}");
            format!("command: [app.handler]\n      settings: {{ {s3}, runtime: python3.11 }}")
        }
    };
    format!(
        "version: 1
name: second-brain
vars: {{ release: \"1\" }}
{access}  canary: {{ source: \"builtin:strategy-canary\" }}
environments:
  aws:
    provider:
      plugin: aws
      config:
        region: eu-west-1
        endpoints: {{ lambda: \"http://127.0.0.1:{port}\" }}
        lambda: {{ role: \"{role}\" }}
        services: {{ capture: {{ function: capture }} }}
strategies:
  careful: {{ plugin: canary, config: {{ steps: [{{ setWeight: 10 }}, {{ pause: {{}} }}, {{ setWeight: 50 }}] }} }}
services:
  capture:
    workload:
      {code}
      env: {{ RELEASE: \"${{release}}\" }}
      minReady: 100ms
    strategy: careful
    scaleDownDelay: 100ms
    abortScaleDownDelay: 100ms
",
        access = aws.access(Service::Lambda(at)),
        port = aws.functions_port(at),
        role = aws.there["functionRole"].as_str().unwrap(),
    )
}

/// Releases, aborts at a gate and releases again; the alias before the last release and after it. Where functions run, they
/// are called.
fn released_by_versions(aws: &AwsLab, at: Functions) -> (Value, Value) {
    aws.lab.write_text(&function(aws, at));
    let alias = || aws.function(at)["aliases"]["live"].clone();
    let versions = || aws.function(at)["versions"].as_object().unwrap().len();
    let answers = |qualifier: &str, release: &str| {
        assert!(at == Functions::AtMoto || aws.called(qualifier)["release"] == release, "{qualifier}");
    };

    aws.run(1).exits(0);
    answers("live", "1");
    let first = alias();
    assert_eq!((first["more"].clone(), versions()), (json!({}), 1));
    aws.host(&["drift"]).exits(0);

    // At the gate: a tenth goes to the new version, and `abort` takes it back.
    let at_gate = || aws.run(2).exits(4).events().run();
    let id = at_gate();
    let split = alias();
    assert_eq!(split["version"], first["version"]);
    let more = split["more"].as_object().unwrap();
    assert_eq!(more.values().collect::<Vec<_>>(), [&json!(0.1)]);
    assert_eq!(versions(), 2);
    answers(first["version"].as_str().unwrap(), "1");
    answers(more.keys().next().unwrap(), "2");
    aws.host(&["abort", &id]).exits(3);
    assert_eq!((alias(), versions()), (first.clone(), 1));

    let id = at_gate();
    aws.host(&["promote", &id]).exits(0);
    let second = alias();
    assert_ne!(second["version"], first["version"]);
    assert_eq!((second["more"].clone(), versions()), (json!({}), 1));
    answers("live", "2");
    aws.host(&["drift"]).exits(0);
    (first, second)
}

#[test]
fn functions_at_moto() {
    let Some(aws) = AwsLab::start(&["capture"], &documented_policy(), Verified::No) else { return };
    // It gives the number of a removed version out again, so an `undo` cannot be told from what it undoes there.
    let _ = released_by_versions(&aws, Functions::AtMoto);
}

#[test]
fn functions_where_no_number_is_given_out_twice() {
    let at = Functions::AtMiniStack;
    let Some(aws) = AwsLab::start(&["capture"], &documented_policy(), Verified::Yes) else { return };
    let (first, second) = released_by_versions(&aws, at);
    let number = |alias: &Value| alias["version"].as_str().unwrap().parse::<u32>().unwrap();
    // The aborted one had the number between them.
    assert_eq!((number(&first), number(&second)), (1, 3));

    // What was released first is gone, so it is published once more, under a number of its own.
    aws.host(&["undo"]).exits(0);
    let function = aws.function(at);
    let alias = &function["aliases"]["live"];
    assert_eq!((number(alias), &alias["more"]), (4, &json!({})));
    assert_eq!(function["versions"].as_object().unwrap().keys().collect::<Vec<_>>(), ["4"]);
    assert_eq!(aws.called("live")["release"], "1");
    aws.host(&["drift"]).exits(0);
}

#[test]
fn moto_is_asked_to_verify() {
    // What the other tests rest on: in this mode an unsigned request is not answered with success.
    let Some(moto) = moto::start(Auth::AfterFirst(0)) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listed = runtime.block_on(
        moto.query("elasticloadbalancing", &[("Action", "DescribeLoadBalancers"), ("Version", "2015-12-01")]),
    );
    assert_ne!(listed.status, 200);
}
