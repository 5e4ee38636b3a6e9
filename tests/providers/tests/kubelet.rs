//! `provider-kubernetes` where a real kubelet runs the pods, and a real scheduler says where: what a node of ours would only
//! pretend to do. A long run: `cargo xtask test-providers --only kubelet`.

use basb_e2e::engine::IMAGE;
use basb_e2e::{Load, Mcp, Output, wait_for};
use basb_providers_e2e::kubelet::KubeletLab;
use basb_providers_e2e::kubernetes::{NAMESPACE, Traffic, documented_role};
use basb_providers_e2e::suite::{self, CANARY_AND_HTTP, SERVICES};
use serde_json::{Value, json};

/// What no registry of this machine has; nothing listens there.
const MISSING: &str = "127.0.0.1:9/missing:1";

/// A program that ends as soon as it is asked to turns away whom nodes still lead there.
const MORE: &str = "progressDeadline: 12s\npods: { drain: { seconds: 3, command: [/bin/sleep, \"3\"] } }\n";

/// How many pods it has. With four, and steps that leave the older release one after the other, pods end while others are
/// asked.
const PODS: usize = 4;

/// One service like those of the example, with a memory limit, a ConfigMap, and what makes it break in many ways.
fn deployment(lab: &KubeletLab) -> String {
    let kube = &lab.kube;
    let (access, plugin) = kube.access();
    format!(
        "version: 1
name: second-brain
vars: {{ release: \"1\", image: \"{IMAGE}\", ready: /healthz, cpu: 10m, command: capture }}
{access}plugins:
{plugin}{CANARY_AND_HTTP}environments:
  cluster:
    provider:
      plugin: kubernetes
      config:
{config}strategies:
  careful: {{ plugin: canary, config: {{ steps: [{{ setWeight: 20 }}, {{ setWeight: 50 }}, {{ pause: {{ duration: 3s }} }}] }} }}
probes:
  health: {{ plugin: http, config: {{ path: /healthz }} }}
services:
  capture:
    workload:
      image: \"${{image}}\"
      ready: {{ http: \"${{ready}}\" }}
      minReady: 1s
      memoryLimit: 64MiB
      settings:
        command: [/bin/second-brain, \"${{command}}\", --vault, /vault, --release, \"${{release}}\"]
        user: 65534
        group: 65534
        readOnlyRoot: read-only
        scratch: [/vault]
        configMaps: [of-the-tests]
        resources: {{ requests: {{ cpu: \"${{cpu}}\" }}, limits: {{ cpu: \"${{cpu}}\" }} }}
    replicas: {PODS}
    strategy: careful
    verify: [health]
    progressDeadline: 60s
    scaleDownDelay: 100ms
    abortScaleDownDelay: 100ms
",
        config = kube.config("        ", MORE),
    )
}

/// The same release with other variables, which is to be given up; all that was said.
fn given_up(lab: &KubeletLab, set: &[&str]) -> String {
    let mut args = vec!["--json", "run"];
    set.iter().for_each(|pair| args.extend(["--set", pair]));
    let Output { stdout, .. } = suite::to_its_end(&lab.kube, &args).exits(3);
    assert_eq!(Mcp::new(lab.kube.ports[0].1).release(), Ok(1), "users have what they had");
    stdout
}

fn ids(containers: &[Value]) -> Vec<String> {
    let mut ids: Vec<String> = containers.iter().map(|of| of["Id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

#[test]
fn the_example_with_a_kubelet_by_routes() {
    let Some(lab) = KubeletLab::start(&SERVICES, Traffic::Routes, &documented_role()) else { return };
    suite::second_brain(&lab.kube);
    // Two pods of each service, of the stable revisions, and nothing of any that was replaced or given up.
    lab.so_many_are_left(2 * SERVICES.len());
    for service in SERVICES {
        let containers = lab.containers(service);
        assert_eq!(containers.len(), 2, "{containers:?}");
        assert!(containers.iter().all(|of| of["RestartCount"] == 0 && of["State"]["OOMKilled"] == false));
    }
}

#[test]
fn a_service_with_a_kubelet_by_pods_and_all_that_keeps_pods_from_coming_up() {
    let Some(lab) = KubeletLab::start(&["capture"], Traffic::Pods, &documented_role()) else { return };
    let kube = &lab.kube;
    kube.apply(&format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: of-the-tests, namespace: {NAMESPACE} }}\ndata: {{ COLOUR: blue }}\n"
    ));
    kube.lab.write_text(&deployment(&lab));
    kube.run(1).exits(0);
    let first = lab.containers("capture");
    assert_eq!(first.len(), PODS);
    kube.host(&["drift"]).exits(0);

    // What a bare API server only takes down: Docker's own client says what became of it.
    for container in &first {
        let (config, host) = (&container["Config"], &container["HostConfig"]);
        assert_eq!(config["User"], "65534:65534");
        let env = config["Env"].as_array().unwrap();
        assert!(env.contains(&json!("COLOUR=blue")), "{env:?}");
        assert_eq!(host["ReadonlyRootfs"], true);
        assert_eq!(
            (&host["Memory"], &host["CpuShares"], &host["CpuQuota"]),
            (&json!(67_108_864), &json!(10), &json!(1_000))
        );
        assert_eq!(
            (&host["CapDrop"], &host["CapAdd"], &host["Privileged"]),
            (&json!(["ALL"]), &Value::Null, &json!(false))
        );
        let options = host["SecurityOpt"].as_array().unwrap();
        assert!(options.contains(&json!("no-new-privileges")), "{options:?}");
        assert!(!options.contains(&json!("seccomp=unconfined")), "{options:?}");
        let mounts = container["Mounts"].as_array().unwrap();
        assert!(mounts.iter().any(|of| of["Destination"] == "/vault" && of["RW"] == true), "{mounts:?}");
        assert!(!mounts.iter().any(|of| of["Destination"].as_str().unwrap().contains("serviceaccount")), "{mounts:?}");
    }

    // A canary while somebody works, by the numbers of pods behind one Service, and the way back.
    let load = Load::start(kube.ports[0].1);
    let events = suite::to_its_end(kube, &["--json", "run", "--set", "release=2"]).exits(0).events();
    assert_eq!(events.weights("capture"), [20, 50, 100]);
    suite::to_its_end(kube, &["--json", "undo"]).exits(0);
    let seen = load.stop();
    assert!(seen.failed.is_empty(), "{seen:?}");
    assert!(seen.answered.keys().eq(&[1, 2]), "{seen:?}");
    assert_eq!(Mcp::new(kube.ports[0].1).release(), Ok(1));
    wait_for("the end of the other pods", || (lab.containers("capture").len() == PODS).then_some(()));
    let before = ids(&lab.containers("capture"));

    // What keeps pods from coming up is said in the words of whoever keeps them.
    let said = given_up(&lab, &["ready=/nothing"]);
    assert!(said.contains("containers with unready status: [capture]"), "{said}");
    assert!(said.contains("the deadline is 12 s") || said.contains("has timed out progressing"), "{said}");
    let said = given_up(&lab, &["release=9"]);
    assert!(said.contains("CrashLoopBackOff") && said.contains("ended before with status 2 (Error)"), "{said}");
    let said = given_up(&lab, &[&format!("image={MISSING}")]);
    assert!(said.contains("ErrImagePull") || said.contains("ImagePullBackOff"), "{said}");
    let said = given_up(&lab, &["cpu=900"]);
    assert!(said.contains("not scheduled: 0/1 nodes are available: 1 Insufficient cpu"), "{said}");
    lab.so_many_are_left(PODS);
    assert_eq!(ids(&lab.containers("capture")), before, "what was stable was not touched");
    kube.host(&["drift"]).exits(0);

    // A container that somebody takes away comes back by the kubelet: nothing differs from what was rolled out.
    lab.engine.cli(&["rm", "--force", &before[0]]);
    wait_for("the container's return", || (lab.containers("capture").len() == PODS).then_some(()));
    assert_ne!(ids(&lab.containers("capture")), before);
    wait_for("its readiness", || (kube.host(&["drift"]).code == Some(0)).then_some(()));

    // A Deployment that somebody takes away does not: it is found, and the same release brings it back.
    let name = kube.of_service("deployments", "capture")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    kube.kubectl(&["delete", "deployment", &name, "-n", NAMESPACE]);
    wait_for("the end of its pods", || lab.pods_in_the_api().is_empty().then_some(()));
    kube.host(&["drift"]).exits(2);
    kube.run(1).exits(0);
    assert_eq!(Mcp::new(kube.ports[0].1).release(), Ok(1));
    kube.host(&["drift"]).exits(0);
    lab.so_many_are_left(PODS);
}
