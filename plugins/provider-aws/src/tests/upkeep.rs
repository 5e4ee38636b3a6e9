//! What an ECS service that is there is told: network, time to start, capacity providers; and what it cannot be told.

use basb_plugin::provider::{Action, ActionKind, PlannedAction, Progress, Provider};
use basb_plugin::{Failure, FailureCode, Retry, Weight};
use serde_json::{Value, json};

use super::cloud::Cloud;
use super::{desired, ecs_config, service};
use crate::{Aws, Config};

/// With more below `ecs`, with weights of ours or of ECS's own way.
fn config(native: bool, more: &Value) -> Config {
    let mut all = more.clone();
    if native {
        all["native"] = json!({"role": "arn:role"});
    }
    ecs_config(all)
}

fn plan(cloud: &Cloud, config: &Config, revision: &str) -> Result<Vec<PlannedAction>, Failure> {
    Ok(Aws::plan(&cloud.host().provider_context(), config, &desired(revision, 2))?.actions)
}

/// Deploys; what becomes of it, and the bodies of `UpdateService`.
fn apply(cloud: &Cloud, config: &Config, state: Option<&str>) -> (Result<Progress, Failure>, Vec<Value>) {
    let host = cloud.host();
    let action = Action::Deploy(Box::new(desired("r1", 2)));
    let progress = Aws::apply(&host.provider_context(), config, "k", &action, state);
    let updates = host.requests().into_iter().filter(|request| {
        request.header_value("x-amz-target").is_some_and(|target| target.ends_with(".UpdateService"))
    });
    (progress, updates.map(|request| serde_json::from_slice(&request.body).unwrap()).collect())
}

/// r1 with all of the traffic, and nothing under way.
fn with_r1(native: bool, more: &Value) -> Cloud {
    let cloud = Cloud::new();
    let config = config(native, more);
    apply(&cloud, &config, None).0.unwrap();
    if native {
        cloud.0.borrow_mut().deployment.as_mut().unwrap()["status"] = "SUCCESSFUL".into();
    } else {
        let all = [("r1".to_owned(), Weight::FULL)];
        Aws::traffic(&cloud.host().provider_context(), &config, "k", &service(), &all, None).unwrap();
    }
    assert_eq!(plan(&cloud, &config, "r1").unwrap(), []);
    cloud
}

fn changes(action: &PlannedAction) -> Vec<(&str, &str, &str)> {
    let of =
        |text: &'_ Option<String>| -> &'static str { Box::leak(text.clone().unwrap_or_default().into_boxed_str()) };
    action.changes.iter().map(|change| (change.path.as_str(), of(&change.before), of(&change.after))).collect()
}

fn elsewhere() -> Value {
    json!({"network": {"subnets": ["subnet-2", "subnet-1"], "securityGroups": ["sg-1"], "publicIp": "ENABLED"}})
}

#[test]
fn another_network_is_planned_and_told() {
    let cloud = with_r1(false, &json!({}));
    let config = config(false, &elsewhere());
    let planned = plan(&cloud, &config, "r1").unwrap();
    assert_eq!((planned.len(), planned[0].kind), (1, ActionKind::Replace));
    assert!(planned[0].summary.starts_with("every task of revision r1: where the ECS service"), "{planned:?}");
    assert_eq!(
        changes(&planned[0]),
        [("ecs.subnets", "subnet-1", "subnet-1, subnet-2"), ("ecs.publicIp", "DISABLED", "ENABLED")]
    );
    let (progress, updates) = apply(&cloud, &config, None);
    assert!(matches!(progress, Ok(Progress::Done(_))), "{progress:?}");
    let vpc = &updates[0]["networkConfiguration"]["awsvpcConfiguration"];
    assert_eq!(
        *vpc,
        json!({"subnets": ["subnet-2", "subnet-1"], "securityGroups": ["sg-1"], "assignPublicIp": "ENABLED"})
    );
    assert_eq!(plan(&cloud, &config, "r1").unwrap(), []);
    // The same again would be another deployment for nothing; a list has no order.
    let turned =
        json!({"network": {"subnets": ["subnet-1", "subnet-2"], "securityGroups": ["sg-1"], "publicIp": "ENABLED"}});
    let (_, updates) = apply(&cloud, &ecs_config(turned), None);
    assert_eq!((updates.len(), &updates[0]["networkConfiguration"]), (1, &Value::Null));
}

#[test]
fn another_time_to_start_replaces_nothing() {
    for native in [false, true] {
        let cloud = with_r1(native, &json!({}));
        let config = config(native, &json!({"startGrace": "5m"}));
        let planned = plan(&cloud, &config, "r1").unwrap();
        assert_eq!((planned.len(), planned[0].kind), (1, ActionKind::Update));
        assert_eq!(changes(&planned[0]), [("ecs.startGrace", "60s", "300s")]);
        let (progress, updates) = apply(&cloud, &config, None);
        assert!(matches!(progress, Ok(Progress::Done(_))), "{progress:?}");
        assert_eq!(updates[0]["healthCheckGracePeriodSeconds"], 300);
        assert_ne!(updates[0]["forceNewDeployment"], true);
        assert_eq!(plan(&cloud, &config, "r1").unwrap(), []);
    }
}

#[test]
fn other_capacity_providers_come_with_a_new_deployment() {
    let cloud = with_r1(false, &json!({}));
    let spot = |weight: u32| json!({"capacityProviders": [{"name": "FARGATE_SPOT", "weight": weight}, {"name": "FARGATE", "base": 1}]});
    let planned = plan(&cloud, &ecs_config(spot(3)), "r1").unwrap();
    assert_eq!(planned[0].kind, ActionKind::Replace);
    let both = "FARGATE (weight 1, base 1), FARGATE_SPOT (weight 3, base 0)";
    assert_eq!(changes(&planned[0]), [("ecs.capacityProviders", "FARGATE", both)]);
    let (_, updates) = apply(&cloud, &ecs_config(spot(3)), None);
    assert_eq!(
        updates[0]["capacityProviderStrategy"][0],
        json!({"capacityProvider": "FARGATE_SPOT", "weight": 3, "base": 0})
    );
    assert_eq!(updates[0]["forceNewDeployment"], true, "ECS refuses it otherwise");
    assert_eq!(plan(&cloud, &ecs_config(spot(3)), "r1").unwrap(), []);
    assert_eq!(changes(&plan(&cloud, &ecs_config(spot(4)), "r1").unwrap()[0])[0].1, both);
}

#[test]
fn another_launch_type_is_refused_with_what_to_do() {
    let strategy = json!({"capacityProviders": [{"name": "FARGATE_SPOT"}]});
    for native in [false, true] {
        for (before, after, there) in [
            (json!({}), json!({"launchType": "EC2"}), "the launch type FARGATE"),
            (strategy.clone(), json!({}), "the capacity providers FARGATE_SPOT (weight 1, base 0)"),
        ] {
            let cloud = with_r1(native, &before);
            let config = config(native, &after);
            cloud.changes();
            for failure in [plan(&cloud, &config, "r1").unwrap_err(), apply(&cloud, &config, None).0.unwrap_err()] {
                assert_eq!((failure.code, failure.retry), (FailureCode::Conflict, Retry::Never), "{failure:?}");
                let next = if native { "delete the ECS service and deploy again" } else { "deploy a new revision" };
                assert!(failure.message.contains(there) && failure.message.contains(next), "{failure:?}");
            }
            assert!(!cloud.changes().contains(&"UpdateService".to_owned()));
        }
    }
    // A revision with a service of its own is made with it.
    let cloud = with_r1(false, &json!({}));
    plan(&cloud, &config(false, &json!({"launchType": "EC2"})), "r2").unwrap();
}

#[test]
fn ecss_own_way_is_told_with_the_next_revision() {
    let cloud = with_r1(true, &json!({}));
    let config = config(true, &elsewhere());
    let planned = plan(&cloud, &config, "r2").unwrap();
    let paths: Vec<_> = planned.iter().flat_map(changes).map(|(path, ..)| path).collect();
    assert!(paths.contains(&"ecs.subnets") && paths.contains(&"ecs.publicIp"), "{planned:?}");
    let host = cloud.host();
    let action = Action::Deploy(Box::new(desired("r2", 2)));
    Aws::apply(&host.provider_context(), &config, "k", &action, None).unwrap();
    let service = cloud.0.borrow().services.values().next().unwrap().clone();
    assert_eq!(service["networkConfiguration"]["awsvpcConfiguration"]["assignPublicIp"], "ENABLED");
}

/// ECS shifts from the older tasks to the newer ones and pauses as always. Nobody else answers: to the host nothing shifts.
#[test]
fn ecss_own_way_replaces_the_tasks_of_a_revision_by_itself() {
    let cloud = with_r1(true, &json!({}));
    let mut more = elsewhere();
    more["healthInterval"] = "20s".into();
    let config = config(true, &more);
    let planned = plan(&cloud, &config, "r1").unwrap();
    let kinds: Vec<_> = planned.iter().map(|action| action.kind).collect();
    // They come up on the other side, so both sides check by what is configured now.
    assert_eq!(kinds, [ActionKind::Update, ActionKind::Update, ActionKind::Replace], "{planned:?}");
    cloud.changes();
    let (progress, updates) = apply(&cloud, &config, None);
    let Ok(Progress::Running(mut pending)) = progress else { panic!("{progress:?}") };
    assert_eq!(updates.len(), 1);
    assert_eq!(cloud.changes(), ["ModifyTargetGroup", "ModifyTargetGroup", "UpdateService"]);
    for (hook, percent) in [("h1", 0.0), ("h2", 10.0), ("h3", 100.0)] {
        {
            let mut state = cloud.0.borrow_mut();
            let deployment = state.deployment.as_mut().unwrap();
            deployment["targetServiceRevision"]["requestedProductionTrafficWeight"] = percent.into();
            deployment["lifecycleHookDetails"] =
                json!([{"hookId": hook, "targetType": "PAUSE", "status": "AWAITING_ACTION"}]);
        }
        let observed = Aws::read(&cloud.host().provider_context(), &config, &service()).unwrap().unwrap();
        let [only] = &observed.revisions[..] else { panic!("{observed:?}") };
        assert_eq!((only.id.as_str(), only.weight, only.available), ("r1", Weight::FULL, 2));
        let Ok(Progress::Running(next)) = apply(&cloud, &config, Some(&pending.state)).0 else { panic!() };
        assert_eq!(cloud.changes(), ["ContinueServiceDeployment"], "{hook}");
        // ECS has not taken it in: it is not said twice.
        cloud.0.borrow_mut().deployment.as_mut().unwrap()["lifecycleHookDetails"][0]["status"] =
            "AWAITING_ACTION".into();
        let Ok(Progress::Running(next)) = apply(&cloud, &config, Some(&next.state)).0 else { panic!() };
        assert_eq!(cloud.changes(), [""; 0]);
        pending = next;
    }
    cloud.0.borrow_mut().deployment.as_mut().unwrap()["status"] = "SUCCESSFUL".into();
    assert!(matches!(apply(&cloud, &config, Some(&pending.state)).0, Ok(Progress::Done(_))));
    assert_eq!(plan(&cloud, &config, "r1").unwrap(), []);
}
