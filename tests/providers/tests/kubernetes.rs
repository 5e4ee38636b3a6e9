//! `provider-kubernetes` against a real API server and controller manager, through the real binary, with kubectl as the second
//! client.

use basb_e2e::Load;
use basb_providers_e2e::kubernetes::{IMAGE, KubeLab, NAMESPACE, Traffic, documented_role};
use basb_providers_e2e::suite::{self, CANARY_AND_HTTP, SERVICES};
use serde_json::Value;

const ONE: &[&str] = &["capture"];

/// One service like those of the example.
fn deployment(kube: &KubeLab, more: &str, strategy: &str) -> String {
    let (access, plugin) = kube.access();
    format!(
        "version: 1
name: second-brain
vars: {{ release: \"1\", image: \"{IMAGE}\" }}
{access}plugins:
{plugin}{CANARY_AND_HTTP}environments:
  cluster:
    provider:
      plugin: kubernetes
      config:
{config}strategies:
  careful: {{ plugin: canary, config: {{ steps: [{strategy}] }} }}
probes:
  health: {{ plugin: http, config: {{ path: /healthz }} }}
  work: {{ plugin: http, config: {{ path: /healthz, requests: 20 }} }}
analyses:
  healthy:
    metrics:
      - {{ name: work, probe: work, interval: 100ms, count: 3, successCondition: result.success_rate >= 0.99 }}
services:
  capture:
    workload:
      image: \"${{image}}\"
      ready: {{ http: /healthz }}
      minReady: 100ms
      settings: {{ command: [capture, --vault, {vault}, --release, \"${{release}}\"] }}
    replicas: 2
    strategy: careful
    verify: [health]
    progressDeadline: 60s
    scaleDownDelay: 100ms
    abortScaleDownDelay: 100ms
",
        config = kube.config("        ", more),
        vault = kube.lab.vault().display(),
    )
}

const STEPS: &str = "{ setWeight: 10 }, { analysis: { templates: [healthy] } }, { setWeight: 50 }";

/// The one Deployment of the service.
#[track_caller]
fn only(kube: &KubeLab) -> Value {
    let all = kube.of_service("deployments", "capture");
    let [one] = <[Value; 1]>::try_from(all).unwrap_or_else(|all| panic!("not one Deployment: {all:?}"));
    assert_eq!(one["status"]["availableReplicas"], one["spec"]["replicas"], "{one}");
    one
}

fn name(of: &Value) -> &str {
    of["metadata"]["name"].as_str().unwrap()
}

/// What drift says of the service, each difference in a line.
fn drift(kube: &KubeLab) -> String {
    let report = kube.host(&["--json", "drift"]).exits(2).json();
    report["services"][0].to_string()
}

#[test]
fn the_example_on_kubernetes_by_routes() {
    let Some(kube) = KubeLab::start(&SERVICES, Traffic::Routes, &documented_role()) else { return };
    suite::second_brain(&kube);
}

#[test]
fn the_example_on_kubernetes_by_pods() {
    let Some(kube) = KubeLab::start(&SERVICES, Traffic::Pods, &documented_role()) else { return };
    suite::second_brain(&kube);
}

#[test]
fn a_release_by_a_route_and_what_others_change() {
    let Some(kube) = KubeLab::start(ONE, Traffic::Routes, &documented_role()) else { return };
    kube.lab.write_text(&deployment(&kube, "", STEPS));

    // A plan is checked by the server and leaves nothing behind.
    let plan = kube.host(&["plan"]).exits(2).stdout;
    assert!(plan.contains("the HTTPRoute that leads users to capture, with the first traffic"), "{plan}");
    assert!(kube.objects("deployments").is_empty() && kube.objects("httproutes").is_empty());

    kube.run(1).exits(0);
    let first = only(&kube);
    kube.host(&["drift"]).exits(0);
    assert!(kube.host(&["plan"]).exits(0).stdout.contains("nothing to do"));

    // Somebody else's hosts of users' route: drift tells whose they are. Put back, they are as they should be.
    // The other one, to the revision alone, has the same name and more.
    let routes = kube.objects("httproutes");
    let route = routes.iter().map(name).min_by_key(|name| name.len()).unwrap();
    let users = || kube.objects("httproutes").into_iter().find(|of| name(of) == route).unwrap()["spec"].clone();
    let as_deployed = users()["hostnames"][0].as_str().unwrap().to_owned();
    let hosts = |hosts: &str| {
        let patch = format!(r#"{{"spec":{{"hostnames":["{hosts}"]}}}}"#);
        kube.kubectl(&["patch", "httproute", route, "-n", NAMESPACE, "--type=merge", "-p", &patch]);
    };
    hosts("other.example");
    let told = drift(&kube);
    assert!(told.contains(&format!("the HTTPRoute {route}")) && told.contains("kubectl-patch"), "{told}");
    let refused = kube.run(3);
    let said = format!("{}{}", refused.stdout, refused.stderr);
    assert_ne!(refused.code, Some(0), "{said}");
    assert!(said.contains("kubectl-patch") && said.contains("conflicts: take"), "{said}");
    assert_eq!(name(&only(&kube)), name(&first));
    assert_eq!(users()["hostnames"][0], "other.example", "it is left as it is");
    hosts(&as_deployed);
    kube.host(&["drift"]).exits(0);

    // A canary under load: each share arrives, nobody is turned away, and nothing of the older one stays.
    let load = Load::start(kube.ports[0].1);
    let events = kube.run(2).exits(0).events();
    let seen = load.stop();
    assert_eq!(events.weights("capture"), [10, 50, 100]);
    assert!(seen.failed.is_empty(), "{seen:?}");
    assert!(seen.answered.keys().eq(&[1, 2]), "{seen:?}");
    let second = only(&kube);
    assert_ne!(name(&first), name(&second));
    assert_eq!((kube.objects("httproutes").len(), kube.of_service("services", "capture").len()), (2, 2));
    assert_eq!(users()["rules"][0]["backendRefs"][0]["weight"], 1);
    let pods = kube.objects("pods");
    assert_eq!(pods.len(), 2, "{pods:?}");
    assert_eq!(pods[0]["spec"]["securityContext"]["runAsNonRoot"], true);

    // Somebody else's change of what runs: drift tells whose it is, and the same release is refused with that manager's name.
    let grace = r#"{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":7}}}}"#;
    kube.kubectl(&["patch", "deployment", name(&second), "-n", NAMESPACE, "-p", grace]);
    kube.kubectl(&["rollout", "status", "deployment", name(&second), "-n", NAMESPACE, "--timeout=60s"]);
    let told = drift(&kube);
    assert!(told.contains("kubectl-patch") && told.contains("workload"), "{told}");
    // A run of the same release would change that back, and the provider does not take it from who changed it.
    let refused = kube.run(2);
    let said = format!("{}{}", refused.stdout, refused.stderr);
    assert_ne!(refused.code, Some(0), "{said}");
    assert!(said.contains("kubectl-patch") && said.contains("conflicts: take"), "{said}");
    let there = &kube.of_service("deployments", "capture")[0]["spec"]["template"]["spec"];
    assert_eq!(there["terminationGracePeriodSeconds"], 7, "it is left as it is");

    // Taken back, because the operator says so; so is a number of pods, without a word.
    kube.lab.write_text(&deployment(&kube, "conflicts: take\n", STEPS));
    kube.run(2).exits(0);
    kube.host(&["drift"]).exits(0);
    kube.kubectl(&["scale", "deployment", name(&second), "-n", NAMESPACE, "--replicas=1"]);
    assert!(drift(&kube).contains("instances"));
    kube.run(2).exits(0);
    kube.host(&["drift"]).exits(0);
    assert_eq!(only(&kube)["spec"]["replicas"], 2);

    // Somebody else's port of users' Service cannot stand beside ours, and is told and put back.
    let services = kube.of_service("services", "capture");
    let users = services.iter().map(name).min_by_key(|name| name.len()).unwrap();
    let port = r#"{"spec":{"ports":[{"name":"http","port":8099,"targetPort":"http"}]}}"#;
    kube.kubectl(&["patch", "service", users, "-n", NAMESPACE, "--type=merge", "-p", port]);
    let told = drift(&kube);
    assert!(told.contains(&format!("the Service {users} that leads users to capture")), "{told}");
    kube.run(2).exits(0);
    kube.host(&["drift"]).exits(0);
    let services = kube.of_service("services", "capture");
    let there = services.iter().find(|of| name(of) == users).unwrap();
    assert_eq!((there["spec"]["ports"].as_array().unwrap().len(), &there["spec"]["ports"][0]["port"]), (1, &80.into()));

    kube.host(&["undo"]).exits(0);
    assert_eq!(name(&only(&kube)), name(&first));
    kube.host(&["drift"]).exits(0);

    // It can do http and nothing else, and did in the cluster what the role says and nothing else.
    suite::reaches_http_alone(&kube.host(&["audit"]).exits(0).stdout, "kubernetes");
    let did = kube.audited();
    let allowed = ["create", "delete", "get", "list", "patch"];
    let resources = ["deployments", "services", "pods", "endpoints", "httproutes", "-"];
    for one in &did {
        let (verb, resource) = one.split_once(' ').unwrap();
        assert!(allowed.contains(&verb) && resources.contains(&resource), "{did:?}");
    }
    assert!(did.contains(&"patch httproutes".to_owned()) && did.contains(&"delete deployments".to_owned()), "{did:?}");
}

#[test]
fn shares_of_pods_are_the_nearest_and_told() {
    let Some(kube) = KubeLab::start(ONE, Traffic::Pods, &documented_role()) else { return };
    kube.lab.write_text(&deployment(&kube, "", "{ setWeight: 10 }, { pause: {} }, { setWeight: 50 }"));
    kube.run(1).exits(0);
    let first = only(&kube);
    let waiting = kube.host(&["-v", "--json", "run", "--set", "release=2"]).exits(4);
    let (id, said) = (waiting.events().run(), waiting.stderr);
    assert!(said.contains("made by 1 pod: 33.33 %"), "{said}");
    // The real endpoints: both revisions' pods stand behind one Service.
    let endpoints = kube.objects("endpoints");
    let counts: Vec<usize> = endpoints
        .iter()
        .map(|of| of["subsets"][0]["addresses"].as_array().map_or(0, Vec::len))
        .filter(|count| *count == 3)
        .collect();
    assert_eq!(counts, [3], "{endpoints:?}");
    let load = Load::start(kube.ports[0].1);
    std::thread::sleep(std::time::Duration::from_secs(3));
    let seen = load.stop();
    assert!(seen.failed.is_empty(), "{seen:?}");
    let of = |release: u64| seen.answered.get(&release).copied().unwrap_or(0);
    let (old, new) = (of(1), of(2));
    assert!(old > 20 && new * 2 >= old * 9 / 10 && new * 2 <= old * 11 / 10, "a third of {seen:?}");
    kube.host(&["abort", &id]).exits(3);
    assert_eq!(name(&only(&kube)), name(&first));
    assert_eq!(only(&kube)["spec"]["replicas"], 2);
    kube.host(&["drift"]).exits(0);
}

#[test]
fn what_rbac_does_not_allow_is_said_in_its_own_words() {
    let role = documented_role().replace(
        "resources: [services], verbs: [get, list, create, patch, delete]",
        "resources: [services], verbs: [get, list]",
    );
    assert_ne!(role, documented_role());
    let Some(mut kube) = KubeLab::start(ONE, Traffic::Routes, &role) else { return };
    kube.lab.write_text(&deployment(&kube, "", STEPS));
    let failed = kube.run(1);
    let said = format!("{}{}", failed.stdout, failed.stderr);
    assert_ne!(failed.code, Some(0), "{said}");
    assert!(said.contains("system:serviceaccount:second-brain:deployer") && said.contains("services"), "{said}");
    assert!(said.contains("Forbidden, status 403, request id "), "{said}");
    assert!(!said.contains(&kube.token), "a token is nowhere");
    assert!(kube.objects("deployments").is_empty(), "the dry run of a plan finds it before anything is made");

    kube.token = "eyJhbGciOiJFUzI1NiJ9.e30.not-a-signature-of-this-cluster".to_owned();
    let refused = kube.host(&["plan"]);
    assert_ne!(refused.code, Some(0));
    assert!(refused.stderr.contains("status 401"), "{}", refused.stderr);
}

#[test]
fn a_release_that_does_not_come_up_is_given_up_with_kubernetes_words() {
    let Some(kube) = KubeLab::start(ONE, Traffic::Routes, &documented_role()) else { return };
    kube.lab.write_text(&deployment(&kube, "progressDeadline: 3s\n", STEPS));
    kube.run(1).exits(0);
    let first = only(&kube);
    let missing = IMAGE.replace("second-brain@", "missing@");
    let failed = kube.host(&["--json", "run", "--set", "release=2", "--set", &format!("image={missing}")]).exits(3);
    let said = failed.stdout;
    assert!(said.contains("CrashLoopBackOff") && said.contains("not found"), "{said}");
    assert!(said.contains("does not have minimum availability") && said.contains("the deadline is 3 s"), "{said}");
    assert_eq!(name(&only(&kube)), name(&first));
    kube.host(&["drift"]).exits(0);
}
