//! `provider-aws` on a real Docker engine: MiniStack runs the tasks of ECS services as containers there.
//!
//! Of everything there are two witnesses besides: boto3 for what ECS says, and Docker's own client for what runs.

use std::collections::BTreeMap;

use basb_e2e::{Load, Mcp, Output, wait_for};
use basb_providers_e2e::aws::{AwsLab, Service, documented_policy};
use basb_providers_e2e::suite::{self, CANARY_AND_HTTP, SERVICES, Site};

const TWO: &[&str] = &["capture", "organize"];

/// Two services of the example, each with a gate in its canary. What they run goes by variables.
fn two(aws: &AwsLab) -> String {
    let service = |name: &str, more: &str| {
        format!(
            "  {name}:
    workload:
      image: \"127.0.0.1:1/${{image}}:1\"
      ready: {{ http: /healthz }}
      minReady: 100ms
      settings: {{ command: [/bin/second-brain, {name}, --vault, /vault, --release, \"${{release}}\"] }}
    replicas: 2
{more}    verify: [health]
    progressDeadline: 60s
    scaleDownDelay: 1s
    abortScaleDownDelay: 1s
"
        )
    };
    format!(
        "version: 1
name: second-brain
vars: {{ release: \"1\", image: second-brain }}
{access}{CANARY_AND_HTTP}environments:
{environment}strategies:
  careful: {{ plugin: canary, config: {{ steps: [{{ setWeight: 10 }}, {{ pause: {{}} }}, {{ setWeight: 50 }}] }} }}
  quick: {{ plugin: canary, config: {{ steps: [{{ setWeight: 50 }}] }} }}
probes:
  health: {{ plugin: http, config: {{ path: /healthz }} }}
services:
{services}",
        access = aws.access(Service::Ecs),
        environment = aws.environment(),
        services = service("capture", "    strategy: careful\n")
            + &service("organize", "    strategy: quick\n    dependsOn: [capture]\n"),
    )
}

fn run(aws: &AwsLab, set: &[&str], code: i32) -> Output {
    let mut args = vec!["--json", "run"];
    set.iter().for_each(|pair| args.extend(["--set", pair]));
    suite::to_its_end(aws, &args).exits(code)
}

/// Up to the gate, and no further; the run.
fn to_the_gate(aws: &AwsLab, release: u8) -> String {
    aws.run(release).exits(4).events().run()
}

/// What runs, by ECS service: boto3's word, and the engine's, which have to agree.
#[track_caller]
fn running(aws: &AwsLab) -> BTreeMap<String, usize> {
    let facts = aws.facts();
    let count = |of: &serde_json::Value| usize::try_from(of["running"].as_u64().unwrap()).unwrap();
    let services = facts["services"].as_array().unwrap();
    let said = services.iter().map(|of| (of["name"].as_str().unwrap().to_owned(), count(of)));
    let there = aws.containers();
    assert_eq!(said.filter(|(_, count)| *count > 0).collect::<BTreeMap<_, _>>(), there, "{facts}");
    there
}

/// Which release each of so many calls was answered by.
fn answers(aws: &AwsLab, service: usize, calls: usize) -> BTreeMap<u64, usize> {
    let client = Mcp::new(aws.ports[service].1);
    let mut seen = BTreeMap::new();
    for _ in 0..calls {
        *seen.entry(client.release().unwrap()).or_default() += 1;
    }
    seen
}

/// The release that each container of a service was told to be, by Docker's client.
fn releases(aws: &AwsLab, service: &str) -> Vec<String> {
    let commands = aws.engine().cli(&["ps", "--no-trunc", "--format", "{{.Command}}"]);
    let of = commands.lines().filter(|command| command.contains(&format!("second-brain {service} ")));
    let mut releases: Vec<String> =
        of.map(|command| command.trim_matches('"').rsplit(' ').next().unwrap().to_owned()).collect();
    releases.sort();
    releases
}

/// Every container, in whatever state.
fn everything(aws: &AwsLab) -> Vec<String> {
    let listed = aws.engine().cli(&["ps", "--all", "--format", "{{.Names}} {{.State}}"]);
    let mut all: Vec<String> = listed.lines().map(str::to_owned).collect();
    all.sort();
    all
}

fn drifts(aws: &AwsLab) -> Option<Output> {
    let found = aws.host(&["--json", "drift"]);
    (found.code == Some(2)).then_some(found)
}

#[test]
fn containers_are_released_refused_and_brought_back() {
    let Some(aws) = AwsLab::with_containers(TWO, &documented_policy()) else { return };
    aws.lab.write_text(&two(&aws));

    // A first release that cannot be had leaves nothing at all.
    let failed = run(&aws, &["image=nowhere"], 3);
    assert!(failed.stdout.contains("deployment circuit breaker was triggered"), "{}", failed.stdout);
    assert!(failed.stdout.contains("CannotPullContainerError"), "{}", failed.stdout);
    assert_eq!((everything(&aws), aws.facts()["services"].as_array().unwrap().len()), (vec![], 0));

    // Release 1 runs.
    run(&aws, &[], 0);
    assert_eq!(running(&aws).values().collect::<Vec<_>>(), [&2, &2]);
    assert_eq!((releases(&aws, "capture"), answers(&aws, 0, 4)), (vec!["1".into(), "1".into()], [(1, 4)].into()));
    let first = aws.revisions("capture");
    aws.host(&["drift"]).exits(0);

    // At the gate both run, the new one as small as its share, and users are shared out by the listener's weights; nobody is
    // lost on the way on.
    let id = to_the_gate(&aws, 2);
    assert_eq!(running(&aws).values().sum::<usize>(), 5);
    assert_eq!(releases(&aws, "capture"), ["1", "1", "2"]);
    let seen = answers(&aws, 0, 100);
    assert!((9..=11).contains(&seen[&2]) && seen[&1] + seen[&2] == 100, "{seen:?}");
    let load = Load::start(aws.ports[0].1);
    suite::to_its_end(&aws, &["--json", "promote", &id]).exits(0);
    let report = load.stop();
    assert_eq!(report.failed, Vec::<String>::new(), "nobody was turned away");
    assert!(report.answered.keys().eq(&[1, 2]), "both releases had traffic: {report:?}");
    assert_eq!(running(&aws).values().collect::<Vec<_>>(), [&2, &2]);
    assert_eq!(
        (releases(&aws, "capture"), releases(&aws, "organize")),
        (vec!["2".to_owned(); 2], vec!["2".to_owned(); 2])
    );
    let (second, containers) = (aws.revisions("capture"), everything(&aws));
    assert_ne!(first, second);

    // An image that cannot be had: ECS gives up, the host takes its word for it, and the same containers serve all the time.
    let load = Load::start(aws.ports[0].1);
    let failed = run(&aws, &["release=3", "image=nowhere"], 3);
    let report = load.stop();
    assert!(failed.stdout.contains("deployment circuit breaker was triggered"), "{}", failed.stdout);
    assert!(failed.stdout.contains("CannotPullContainerError"), "{}", failed.stdout);
    assert!(failed.events().weights("capture").iter().all(|share| *share == 0), "it never had traffic");
    assert_eq!((report.failed.len(), report.answered.keys().collect::<Vec<_>>()), (0, vec![&2]), "{report:?}");
    assert_eq!((everything(&aws), aws.revisions("capture")), (containers, second));
    aws.host(&["drift"]).exits(0);

    aws.host(&["undo"]).exits(0);
    assert_eq!((releases(&aws, "capture"), answers(&aws, 0, 4)), (vec!["1".into(), "1".into()], [(1, 4)].into()));
    assert_eq!(aws.revisions("capture"), first);
    assert_eq!(running(&aws).values().collect::<Vec<_>>(), [&2, &2]);
    behind_its_back(&aws);

    // A program that ends at once, whatever it is started as: ECS counts, and gives up long before the host would.
    let failed = run(&aws, &["release=9"], 3);
    assert!(failed.stdout.contains("deployment circuit breaker was triggered"), "{}", failed.stdout);
    assert!(failed.stdout.contains("Essential container exited"), "{}", failed.stdout);
    assert!(failed.stdout.contains("capture ended with status 2"), "{}", failed.stdout);
    assert_eq!((releases(&aws, "capture"), answers(&aws, 0, 4)), (vec!["1".into(), "1".into()], [(1, 4)].into()));
    assert_eq!((running(&aws).len(), aws.revisions("capture")), (2, first));
}

/// Somebody with Docker's client, whom neither ECS nor the host knows of.
fn behind_its_back(aws: &AwsLab) {
    let of_capture = || {
        let family = "label=com.amazonaws.ecs.container-name=capture";
        let listed = aws.engine().cli(&["ps", "--quiet", "--no-trunc", "--filter", family]);
        listed.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let before = of_capture();

    // One that ends is replaced by ECS itself.
    let _ = aws.engine().cli(&["kill", &before[0]]);
    let healed = wait_for("another container", || {
        let now = of_capture();
        (now.len() == 2 && now != before && !now.contains(&before[0])).then_some(now)
    });
    wait_for("nothing to differ", || drifts(aws).is_none().then_some(()));

    // One that hangs is found by the load balancer's checks, and told.
    let _ = aws.engine().cli(&["pause", &healed[0]]);
    let drift = wait_for("drift", || drifts(aws)).json();
    let capture = drift["services"].as_array().unwrap().iter().find(|of| of["service"] == "capture").unwrap();
    let told: Vec<_> = capture["differences"].as_array().unwrap().iter().map(|of| of["found"].clone()).collect();
    assert_eq!(told, ["1 available"], "{drift}");

    // Removed by force, which MiniStack takes for an engine that could not be asked: it is told. The same release repairs it.
    let _ = aws.engine().cli(&["rm", "--force", &healed[0]]);
    let _ = aws.end_tasks_without_container();
    run(aws, &[], 0);
    assert_eq!(of_capture().len(), 2);
    aws.host(&["drift"]).exits(0);
    assert_eq!(running(aws).values().collect::<Vec<_>>(), [&2, &2]);
    assert_eq!(answers(aws, 0, 4), [(1, 4)].into());
}

#[test]
fn the_example_in_real_containers() {
    let Some(aws) = AwsLab::with_containers(&SERVICES, &documented_policy()) else { return };
    suite::second_brain(&aws);
    assert_eq!(running(&aws).values().collect::<Vec<_>>(), [&2; 4]);
}
