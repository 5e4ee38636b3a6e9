//! How target groups check their tasks, and the port of the two that ECS's own way has.

use basb_plugin::Weight;
use basb_plugin::provider::{Action, ActionKind, Desired, Progress, Provider, Readiness};
use serde_json::json;

use super::cloud::Cloud;
use super::{desired, ecs_config, service};
use crate::{Aws, Config, names};

fn native(interval: &str) -> Config {
    ecs_config(json!({"native": {"role": "arn:role"}, "healthInterval": interval}))
}

/// A revision with this path for its checks, listening on this port.
fn checked(revision: &str, path: &str, port: u16) -> Desired {
    let mut desired = desired(revision, 2);
    desired.workload.min_ready = std::time::Duration::from_secs(1);
    desired.workload.ready = Readiness::Http(path.into());
    desired.workload.settings = json!({"port": port}).to_string();
    desired
}

fn plan(cloud: &Cloud, config: &Config, desired: &Desired) -> Vec<(String, String, String)> {
    let planned = Aws::plan(&cloud.host().provider_context(), config, desired).unwrap();
    let checks = planned.actions.into_iter().filter(|action| action.summary.starts_with("how the target group"));
    checks
        .flat_map(|action| {
            assert_eq!(action.kind, ActionKind::Update);
            action.changes
        })
        .map(|change| (change.path, change.before.unwrap_or_default(), change.after.unwrap_or_default()))
        .collect()
}

fn apply(cloud: &Cloud, config: &Config, desired: Desired) -> Vec<String> {
    cloud.changes();
    let action = Action::Deploy(Box::new(desired));
    let done: Progress = Aws::apply(&cloud.host().provider_context(), config, "k", &action, None).unwrap();
    drop(done);
    cloud.changes()
}

/// Path and interval of a group's checks.
fn check(cloud: &Cloud, side: &str) -> (String, String) {
    let state = cloud.0.borrow();
    let form = &state.checks[&state.groups[&names::of_group(&service(), side)]];
    (form["HealthCheckPath"].clone(), form["HealthCheckIntervalSeconds"].clone())
}

fn of(path: &str, interval: &str) -> (String, String) {
    (path.into(), interval.into())
}

/// The deployment has ended, and users are on this side.
fn settled(cloud: &Cloud, weights: [&str; 2]) {
    let mut state = cloud.0.borrow_mut();
    state.deployment.as_mut().unwrap()["status"] = "SUCCESSFUL".into();
    let of_all = |rule: &&mut std::collections::BTreeMap<String, String>| {
        rule.values().all(|value| value != "basb-host:revision")
    };
    let rule = state.rules.values_mut().find(of_all).unwrap();
    for (number, weight) in weights.iter().enumerate() {
        let key = format!("Actions.member.1.ForwardConfig.TargetGroups.member.{}.Weight", number + 1);
        rule.insert(key, (*weight).to_owned());
    }
}

#[test]
fn the_next_revision_of_ecss_own_way_is_checked_as_it_says() {
    let cloud = Cloud::new();
    apply(&cloud, &native("10s"), checked("r1", "/old", 8080));
    settled(&cloud, ["100", "0"]);
    assert_eq!(plan(&cloud, &native("10s"), &checked("r1", "/old", 8080)), []);

    // Another path on another port: the port is of each target. What serves users keeps its own check.
    let next = checked("r2", "/new", 9090);
    let path = ("targetGroup.healthCheckPath".to_owned(), "/old".to_owned(), "/new".to_owned());
    assert_eq!(plan(&cloud, &native("10s"), &next), [path]);
    let changes = apply(&cloud, &native("10s"), next.clone());
    assert_eq!(changes, ["RegisterTaskDefinition", "ModifyTargetGroup", "UpdateService"], "before ECS begins");
    assert_eq!((check(&cloud, "blue"), check(&cloud, "green")), (of("/old", "10"), of("/new", "10")));
    let place = cloud.0.borrow().services.values().next().unwrap()["loadBalancers"][0].clone();
    assert_eq!(place["containerPort"], 9090);

    // Once users are there, the other one is of the next again: neither is looked at before there is one.
    settled(&cloud, ["0", "100"]);
    assert_eq!(plan(&cloud, &native("10s"), &next), []);
    apply(&cloud, &native("10s"), checked("r3", "/newest", 9090));
    assert_eq!((check(&cloud, "blue"), check(&cloud, "green")), (of("/newest", "10"), of("/new", "10")));
}

#[test]
fn the_same_revision_is_checked_as_the_configuration_says_by_now() {
    let cloud = Cloud::new();
    apply(&cloud, &native("10s"), checked("r1", "/", 8080));
    settled(&cloud, ["100", "0"]);
    let interval = ("targetGroup.healthCheckIntervalSeconds".to_owned(), "10".to_owned(), "20".to_owned());
    assert_eq!(plan(&cloud, &native("20s"), &checked("r1", "/", 8080)), std::slice::from_ref(&interval));
    assert_eq!(apply(&cloud, &native("20s"), checked("r1", "/", 8080)), ["ModifyTargetGroup", "UpdateService"]);
    assert_eq!((check(&cloud, "blue"), check(&cloud, "green")), (of("/", "20"), of("/", "10")));
    assert_eq!(plan(&cloud, &native("20s"), &checked("r1", "/", 8080)), []);

    // With weights of ours too, where each revision has a group of its own.
    let cloud = Cloud::new();
    let own = |interval: &str| ecs_config(json!({"healthInterval": interval}));
    apply(&cloud, &own("10s"), checked("r1", "/", 8080));
    let all = [("r1".to_owned(), Weight::FULL)];
    Aws::traffic(&cloud.host().provider_context(), &own("10s"), "k", &service(), &all, None).unwrap();
    assert_eq!(plan(&cloud, &own("20s"), &checked("r1", "/", 8080)), [interval]);
    assert_eq!(apply(&cloud, &own("20s"), checked("r1", "/", 8080)), ["ModifyTargetGroup", "UpdateService"]);
    assert_eq!(check(&cloud, "r1"), of("/", "20"));
}

#[test]
fn the_network_of_ecss_own_pair_cannot_be_changed_and_the_plan_says_so() {
    let cloud = Cloud::new();
    apply(&cloud, &native("10s"), checked("r1", "/", 8080));
    settled(&cloud, ["100", "0"]);
    let elsewhere = ecs_config(json!({"native": {"role": "arn:role"}, "vpc": "vpc-2"}));
    let refused = Aws::plan(&cloud.host().provider_context(), &elsewhere, &checked("r2", "/", 9090)).unwrap_err();
    assert!(
        refused.message.contains("targetGroup.vpc: vpc-1 instead of vpc-2): put the configuration back"),
        "{refused:?}"
    );
    assert!(!refused.message.contains("targetGroup.port"), "{refused:?}");
}

/// ELB takes no timeout as long as the interval, and its own default is five seconds.
#[test]
fn the_shortest_interval_has_a_shorter_timeout() {
    for native_way in [false, true] {
        let cloud = Cloud::new();
        let way = |interval: &str| {
            let native = if native_way { json!({"role": "arn:role"}) } else { json!(null) };
            ecs_config(json!({"healthInterval": interval, "native": native}))
        };
        let timeouts = || -> Vec<String> {
            cloud.0.borrow().checks.values().map(|form| form["HealthCheckTimeoutSeconds"].clone()).collect()
        };
        apply(&cloud, &way("5s"), checked("r1", "/", 8080));
        assert!(timeouts().iter().all(|timeout| timeout == "4"), "{:?}", timeouts());
        if native_way {
            settled(&cloud, ["100", "0"]);
        }
        assert_eq!(plan(&cloud, &way("5s"), &checked("r1", "/", 8080)), []);

        // A longer one has ELB's default, there and back.
        let of = |interval: (&str, &str), timeout: (&str, &str)| {
            let change = |path: &str, (before, after): (&str, &str)| {
                (format!("targetGroup.healthCheck{path}Seconds"), before.to_owned(), after.to_owned())
            };
            [change("Interval", interval), change("Timeout", timeout)]
        };
        let longer = plan(&cloud, &way("20s"), &checked("r1", "/", 8080));
        assert_eq!(longer, of(("5", "20"), ("4", "5")));
        apply(&cloud, &way("20s"), checked("r1", "/", 8080));
        assert_eq!(plan(&cloud, &way("20s"), &checked("r1", "/", 8080)), []);
        assert_eq!(plan(&cloud, &way("5s"), &checked("r1", "/", 8080)), of(("20", "5"), ("5", "4")));
        apply(&cloud, &way("5s"), checked("r1", "/", 8080));
        assert_eq!(plan(&cloud, &way("5s"), &checked("r1", "/", 8080)), []);
    }
}

/// An older basb-host sent no timeout, and AWS took its default.
#[test]
fn a_group_of_before_timeouts_were_sent_does_not_differ() {
    let cloud = Cloud::new();
    let own = ecs_config(json!({}));
    apply(&cloud, &own, checked("r1", "/", 8080));
    for form in cloud.0.borrow_mut().checks.values_mut() {
        assert_eq!(form.remove("HealthCheckTimeoutSeconds").as_deref(), Some("5"));
    }
    assert_eq!(plan(&cloud, &own, &checked("r1", "/", 8080)), []);
    assert_eq!(apply(&cloud, &own, checked("r1", "/", 8080)), ["UpdateService"]);
}
