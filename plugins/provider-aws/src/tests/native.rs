//! Weights that ECS sets: no emulator has its pauses, so they are played here, stage by stage, from the API reference.

use basb_plugin::provider::{Action, ActionKind, Observed, Pending, Progress, Provider, Scaling};
use basb_plugin::testing::Reply;
use basb_plugin::{Failure, FailureCode, Retry, Weight};
use serde_json::{Value, json};

use super::cloud::{Cloud, FaultKind, ecs_error, elb_error};
use super::{desired, ecs_config, service};
use crate::{Aws, Config};

fn config() -> Config {
    ecs_config(json!({"native": {"role": "arn:role", "percent": 10.0, "hookTimeout": "90m"}}))
}

fn apply(cloud: &Cloud, revision: &str, state: Option<&str>) -> Result<Progress, Failure> {
    let action = Action::Deploy(Box::new(desired(revision, 2)));
    Aws::apply(&cloud.host().provider_context(), &config(), "k", &action, state)
}

fn traffic(cloud: &Cloud, weights: &[(&str, u16)], state: Option<&str>) -> Result<Progress, Failure> {
    let weights: Vec<_> =
        weights.iter().map(|(name, weight)| ((*name).to_owned(), Weight::from_hundredths(*weight))).collect();
    Aws::traffic(&cloud.host().provider_context(), &config(), "k", &service(), &weights, state)
}

fn retire(cloud: &Cloud, revision: &str, state: Option<&str>) -> Result<Progress, Failure> {
    Aws::retire(&cloud.host().provider_context(), &config(), "k", &service(), revision, state)
}

fn shares(cloud: &Cloud) -> Vec<(String, u16)> {
    let observed: Option<Observed> = Aws::read(&cloud.host().provider_context(), &config(), &service()).unwrap();
    let of = |r: basb_plugin::provider::ObservedRevision| (r.id, r.weight.hundredths());
    let mut shares: Vec<_> =
        observed.map(|observed| observed.revisions.into_iter().map(of).collect()).unwrap_or_default();
    shares.sort();
    shares
}

/// ECS pauses, with the candidate at this share.
fn pause(cloud: &Cloud, stage: &str, percent: f64, hook: &str) {
    let mut state = cloud.0.borrow_mut();
    let deployment = state.deployment.as_mut().unwrap();
    deployment["lifecycleStage"] = stage.into();
    deployment["targetServiceRevision"]["requestedProductionTrafficWeight"] = percent.into();
    deployment["lifecycleHookDetails"] =
        json!([{"hookId": hook, "targetType": "PAUSE", "status": "AWAITING_ACTION", "timeoutAction": "ROLLBACK"}]);
}

fn ends(cloud: &Cloud, status: &str) {
    cloud.0.borrow_mut().deployment.as_mut().unwrap()["status"] = status.into();
}

#[track_caller]
fn running(progress: Result<Progress, Failure>) -> Pending {
    match progress {
        Ok(Progress::Running(pending)) => pending,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn done(progress: Result<Progress, Failure>) {
    assert!(matches!(progress, Ok(Progress::Done(_))), "{progress:?}");
}

/// r1 with all of the traffic, and nothing under way.
fn with_r1() -> Cloud {
    let cloud = Cloud::new();
    let pending = running(apply(&cloud, "r1", None));
    pause(&cloud, "POST_TEST_TRAFFIC_SHIFT", 0.0, "h1");
    done(apply(&cloud, "r1", Some(&pending.state)));
    let pending = running(traffic(&cloud, &[("r1", 10_000)], None));
    pause(&cloud, "POST_PRODUCTION_TRAFFIC_SHIFT", 100.0, "h2");
    cloud.changes();
    // Nothing older is there to be retired, so the last pause is answered here: otherwise ECS would go back in the end.
    let pending = running(traffic(&cloud, &[("r1", 10_000)], Some(&pending.state)));
    assert_eq!(cloud.changes(), ["ContinueServiceDeployment"]);
    pause(&cloud, "POST_PRODUCTION_TRAFFIC_SHIFT", 100.0, "h2");
    let pending = running(traffic(&cloud, &[("r1", 10_000)], Some(&pending.state)));
    assert_eq!(cloud.changes(), [""; 0], "ECS has not taken the answer in: it is not given twice");
    ends(&cloud, "SUCCESSFUL");
    done(traffic(&cloud, &[("r1", 10_000)], Some(&pending.state)));
    assert_eq!(cloud.changes(), [""; 0]);
    assert_eq!(shares(&cloud), [("r1".into(), 10_000)]);
    cloud
}

/// r2 beside it, at its first pause.
fn with_r2() -> Cloud {
    let cloud = with_r1();
    let pending = running(apply(&cloud, "r2", None));
    assert_eq!(cloud.changes(), ["RegisterTaskDefinition", "UpdateService"]);
    // Scaling up: nothing is available, and nothing is asked for twice.
    let pending = running(apply(&cloud, "r2", Some(&pending.state)));
    assert_eq!(cloud.changes(), [""; 0]);
    pause(&cloud, "POST_TEST_TRAFFIC_SHIFT", 0.0, "h3");
    done(apply(&cloud, "r2", Some(&pending.state)));
    assert_eq!(shares(&cloud), [("r1".into(), 10_000), ("r2".into(), 0)]);
    cloud
}

#[test]
fn the_service_pauses_before_each_shift_and_goes_back_when_nobody_answers() {
    let cloud = with_r1();
    let state = cloud.0.borrow();
    let service = state.services.values().next().unwrap();
    let configuration = &service["deploymentConfiguration"];
    assert_eq!(configuration["strategy"], "CANARY");
    assert_eq!(configuration["canaryConfiguration"], json!({"canaryPercent": 10.0, "canaryBakeTimeInMinutes": 0}));
    let hooks = configuration["lifecycleHooks"].as_array().unwrap();
    let stages: Vec<_> = hooks.iter().map(|hook| hook["lifecycleStages"][0].as_str().unwrap()).collect();
    assert_eq!(stages, ["PRE_PRODUCTION_TRAFFIC_SHIFT", "POST_PRODUCTION_TRAFFIC_SHIFT"]);
    for hook in hooks {
        assert_eq!(
            (&hook["targetType"], hook["timeoutConfiguration"].clone()),
            (&Value::from("PAUSE"), json!({"timeoutInMinutes": 90, "action": "ROLLBACK"}))
        );
    }
    let advanced = &service["loadBalancers"][0]["advancedConfiguration"];
    assert_eq!(advanced["roleArn"], "arn:role");
    assert_eq!(state.groups.len(), 2);
    assert!(state.rules.contains_key(advanced["productionListenerRule"].as_str().unwrap()));
}

#[test]
fn the_hosts_steps_are_the_answers_to_the_pauses() {
    let cloud = with_r2();
    let pending = running(traffic(&cloud, &[("r1", 9_000), ("r2", 1_000)], None));
    assert_eq!(cloud.changes(), ["ContinueServiceDeployment"]);
    // ECS has not taken the answer in: it is not given twice.
    pause(&cloud, "POST_TEST_TRAFFIC_SHIFT", 0.0, "h3");
    let pending = running(traffic(&cloud, &[("r1", 9_000), ("r2", 1_000)], Some(&pending.state)));
    assert_eq!(cloud.changes(), [""; 0]);
    pause(&cloud, "PRODUCTION_TRAFFIC_SHIFT", 10.0, "h4");
    done(traffic(&cloud, &[("r1", 9_000), ("r2", 1_000)], Some(&pending.state)));
    assert_eq!(cloud.changes(), [""; 0], "the next shift waits for its own step");
    assert_eq!(shares(&cloud), [("r1".into(), 9_000), ("r2".into(), 1_000)]);

    let refused = traffic(&cloud, &[("r1", 5_000), ("r2", 5_000)], None).unwrap_err();
    assert!(refused.message.contains("ECS with CANARY makes 10 % and all, and not 50 %"), "{refused:?}");
    assert_eq!(retire(&cloud, "r1", None).unwrap_err().code, FailureCode::Conflict);

    let pending = running(traffic(&cloud, &[("r2", 10_000)], None));
    pause(&cloud, "POST_PRODUCTION_TRAFFIC_SHIFT", 100.0, "h5");
    done(traffic(&cloud, &[("r2", 10_000)], Some(&pending.state)));
    assert_eq!(shares(&cloud), [("r1".into(), 0), ("r2".into(), 10_000)], "the older tasks are still there");
    assert_eq!(cloud.changes(), ["ContinueServiceDeployment"]);
    // Only now may ECS remove them.
    let pending = running(retire(&cloud, "r1", None));
    assert_eq!(cloud.changes(), ["ContinueServiceDeployment"]);
    ends(&cloud, "SUCCESSFUL");
    done(retire(&cloud, "r1", Some(&pending.state)));
    assert_eq!(cloud.changes(), ["DeregisterTaskDefinition", "DeleteTaskDefinitions"]);
    assert_eq!(shares(&cloud), [("r2".into(), 10_000)]);
    assert_eq!(cloud.0.borrow().groups.len(), 2, "the pair belongs to the service");
}

#[test]
fn going_back_is_an_answer_too_or_a_stop_where_nothing_is_asked() {
    for paused in [true, false] {
        let cloud = with_r2();
        if !paused {
            cloud.0.borrow_mut().deployment.as_mut().unwrap()["lifecycleHookDetails"] = json!([]);
        }
        let to = [("r1", 10_000), ("r2", 0)];
        // r1 has all of the traffic as it is; what has to end is the deployment.
        cloud.0.borrow_mut().deployment.as_mut().unwrap()["targetServiceRevision"]["requestedProductionTrafficWeight"] =
            10.0.into();
        let pending = running(traffic(&cloud, &to, None));
        assert_eq!(cloud.changes(), [if paused { "ContinueServiceDeployment" } else { "StopServiceDeployment" }]);
        let pending = running(traffic(&cloud, &to, Some(&pending.state)));
        assert_eq!(cloud.changes(), [""; 0]);
        ends(&cloud, "ROLLBACK_SUCCESSFUL");
        done(traffic(&cloud, &to, Some(&pending.state)));
        assert_eq!(shares(&cloud), [("r1".into(), 10_000)]);
        done(retire(&cloud, "r2", None));
        assert_eq!(cloud.changes(), ["DeregisterTaskDefinition", "DeleteTaskDefinitions"]);
    }
}

#[test]
fn aws_that_has_gone_back_by_itself_is_believed() {
    let cloud = with_r2();
    {
        let mut state = cloud.0.borrow_mut();
        let deployment = state.deployment.as_mut().unwrap();
        deployment["status"] = "ROLLBACK_SUCCESSFUL".into();
        deployment["rollback"] =
            json!({"reason": "hook timed out", "serviceRevisionArn": deployment["sourceServiceRevisions"][0]["arn"]});
    }
    assert_eq!(shares(&cloud), [("r1".into(), 10_000)]);
    let failure = traffic(&cloud, &[("r1", 9_000), ("r2", 1_000)], None).unwrap_err();
    assert_eq!(failure.code, FailureCode::Unhealthy);
    assert!(failure.message.contains("hook timed out"), "{failure:?}");
    let report = Aws::instances(&cloud.host().provider_context(), &config(), &service(), "r2").unwrap();
    assert!(report.hopeless);
    done(traffic(&cloud, &[("r1", 10_000)], None));
}

/// ECS remembers the deployment of a revision that was given up for longer than the task definition that it was for.
#[test]
fn a_deployment_outlives_the_task_definition_of_what_it_gave_up() {
    let cloud = with_r2();
    ends(&cloud, "ROLLBACK_SUCCESSFUL");
    done(retire(&cloud, "r2", None));
    cloud.0.borrow_mut().definitions.retain(|definition| definition["status"] == "ACTIVE");
    assert_eq!(shares(&cloud), [("r1".into(), 10_000)]);
    let _ = running(apply(&cloud, "r3", None));

    // What runs has one: that it is not described is of a moment ago, and is not taken for somebody else's revision.
    let cloud = with_r1();
    let gone = Ok(ecs_error(400, "ClientException", "Unable to describe task definition."));
    cloud.fault("DescribeTaskDefinition", FaultKind::Before(gone));
    assert_eq!(shares(&cloud), [("r1".into(), 10_000)], "only what the deployment was for is asked about first");
    for _ in 0..2 {
        let gone = Ok(ecs_error(400, "ClientException", "Unable to describe task definition."));
        cloud.fault("DescribeTaskDefinition", FaultKind::Before(gone));
    }
    let failure = Aws::read(&cloud.host().provider_context(), &config(), &service()).unwrap_err();
    assert!(matches!(failure.retry, Retry::After(_)), "{failure:?}");
}

#[test]
fn one_deployment_at_a_time_and_a_call_made_again_joins_its_own() {
    let cloud = with_r1();
    let _ = running(apply(&cloud, "r2", None));
    cloud.changes();
    // The answer was lost, and with it the state.
    let _ = running(apply(&cloud, "r2", None));
    assert_eq!(cloud.changes(), [""; 0]);
    let other = apply(&cloud, "r3", None).unwrap_err();
    assert!(other.message.contains("another deployment"), "{other:?}");
    assert_eq!(cloud.changes(), [""; 0]);
}

#[test]
fn cancelling_has_ecs_go_back() {
    for looked in [true, false] {
        let cloud = with_r1();
        let mut pending = running(apply(&cloud, "r2", None));
        if looked {
            pending = running(apply(&cloud, "r2", Some(&pending.state)));
        }
        cloud.changes();
        done(Aws::cancel(&cloud.host().provider_context(), &config(), "k", &pending.state));
        assert_eq!(cloud.changes(), ["StopServiceDeployment"], "{looked}");
        done(Aws::cancel(&cloud.host().provider_context(), &config(), "k", &pending.state));
        assert_eq!(cloud.changes(), [""; 0]);
    }
    // What was the last deployment before is not what was asked for.
    let cloud = with_r1();
    let last = cloud.0.borrow().deployment.clone();
    let pending = running(apply(&cloud, "r2", None));
    cloud.changes();
    cloud.0.borrow_mut().deployment = last;
    done(Aws::cancel(&cloud.host().provider_context(), &config(), "k", &pending.state));
    assert_eq!(cloud.changes(), [""; 0]);
}

#[test]
fn a_pause_that_is_over_is_looked_at_again() {
    let cloud = with_r2();
    let over =
        || FaultKind::Before(Ok(ecs_error(400, "InvalidParameterException", "The hook is not awaiting action.")));
    cloud.fault("ContinueServiceDeployment", over());
    let failure = traffic(&cloud, &[("r1", 9_000), ("r2", 1_000)], None).unwrap_err();
    assert!(matches!(failure.retry, Retry::After(_)), "{failure:?}");
    assert_eq!(failure.code, FailureCode::Conflict);
    // A deployment that goes back takes no answer, whatever its pauses say.
    cloud.0.borrow_mut().deployment.as_mut().unwrap()["status"] = "ROLLBACK_REQUESTED".into();
    cloud.changes();
    let _ = running(retire(&cloud, "r2", None));
    assert_eq!(cloud.changes(), [""; 0]);
    ends(&cloud, "IN_PROGRESS");
    cloud.0.borrow_mut().deployment.as_mut().unwrap()["lifecycleHookDetails"] = json!([]);
    let ended = Ok(ecs_error(400, "ConflictException", "The service deployment has ended."));
    cloud.fault("StopServiceDeployment", FaultKind::Before(ended));
    assert!(matches!(retire(&cloud, "r2", None).unwrap_err().retry, Retry::After(_)));
}

#[test]
fn what_was_read_of_a_moment_ago_is_read_again() {
    let later = |failure: Failure| assert!(matches!(failure.retry, Retry::After(_)), "{failure:?}");
    let answer = |body: Value| FaultKind::Before(Ok(Reply::json(200, &body)));
    // The service is there already, and its deployment is shown as the one before.
    let cloud = with_r1();
    let last = cloud.0.borrow().deployment.clone().unwrap();
    cloud.fault("DescribeServices", answer(json!({"services": []})));
    let there = Ok(ecs_error(400, "InvalidParameterException", "Creation of service was not idempotent."));
    cloud.fault("CreateService", FaultKind::Before(there));
    later(apply(&cloud, "r2", None).unwrap_err());
    let cloud = with_r2();
    for to in [1_000, 10_000] {
        cloud.fault("DescribeServiceDeployments", answer(json!({"serviceDeployments": [last]})));
        later(traffic(&cloud, &[("r1", 10_000 - to), ("r2", to)], None).unwrap_err());
    }
    // No deployment is listed, and the rule leads nobody anywhere: a first release has no traffic yet.
    let first = Cloud::new();
    let _ = running(apply(&first, "r1", None));
    for rule in first.0.borrow_mut().rules.values_mut() {
        rule.insert("Actions.member.1.ForwardConfig.TargetGroups.member.1.Weight".into(), "0".into());
    }
    first.fault("ListServiceDeployments", answer(json!({"serviceDeployments": []})));
    later(traffic(&first, &[("r1", 10_000)], None).unwrap_err());
    // The traffic was another's.
    pause(&cloud, "POST_PRODUCTION_TRAFFIC_SHIFT", 100.0, "h4");
    cloud.fault("DescribeServiceDeployments", answer(json!({"serviceDeployments": [last]})));
    later(retire(&cloud, "r1", None).unwrap_err());
}

#[test]
fn a_size_is_set_whatever_was_read_and_the_definition_that_runs_is_taken() {
    let cloud = with_r1();
    // As it is, by what was read; the list does not have the definition.
    let none = Reply::json(200, &json!({"taskDefinitionArns": []}));
    cloud.fault("ListTaskDefinitions", FaultKind::Before(Ok(none)));
    done(apply(&cloud, "r1", None));
    assert_eq!(cloud.changes(), ["UpdateService"], "neither a definition nor a deployment");
    let cloud = with_r2();
    let scale = |revision: &str, replicas: u32| {
        let scaling = Scaling { service: service(), revision: revision.into(), replicas };
        done(Aws::apply(&cloud.host().provider_context(), &config(), "k", &Action::Scale(scaling), None));
        cloud.changes()
    };
    assert_eq!(scale("r2", 3), ["UpdateService"]);
    assert_eq!(scale("r1", 1), [""; 0], "the other side would become smaller too");
}

#[test]
fn a_first_release_that_ecs_gave_up_can_be_cleared_away() {
    let cloud = Cloud::new();
    let _ = running(apply(&cloud, "r1", None));
    ends(&cloud, "ROLLBACK_FAILED");
    assert_eq!(shares(&cloud), [("r1".into(), 0)], "ECS has led nobody there");
    assert!(Aws::instances(&cloud.host().provider_context(), &config(), &service(), "r1").unwrap().hopeless);
    // That the service is gone was of a moment ago where its tasks still take requests.
    let gone = || FaultKind::Before(Ok(Reply::json(200, &json!({"services": []}))));
    cloud.fault("DescribeServices", gone());
    cloud.changes();
    assert!(matches!(retire(&cloud, "r1", None).unwrap_err().retry, Retry::After(_)));
    assert_eq!(cloud.changes(), [""; 0]);
    let pending = running(retire(&cloud, "r1", None));
    assert_eq!(cloud.changes(), ["DeleteService"]);
    // It has ended between two looks at it.
    let ended = Ok(ecs_error(400, "ServiceNotFoundException", "Service not found."));
    cloud.fault("ListServiceDeployments", FaultKind::Before(ended));
    assert!(matches!(retire(&cloud, "r1", Some(&pending.state)).unwrap_err().retry, Retry::After(_)));
    cloud.changes();
    cloud.0.borrow_mut().services.clear();
    // A target group that is not found by its name is one that our rule leads to.
    let missing = Ok(elb_error(400, "TargetGroupNotFound", "One or more target groups not found"));
    cloud.fault("DescribeTargetGroups", FaultKind::Before(missing));
    done(retire(&cloud, "r1", Some(&pending.state)));
    let state = cloud.0.borrow();
    assert_eq!((state.rules.len(), state.groups.len()), (0, 0));
}

#[test]
fn a_plan_shows_what_ecs_will_be_told() {
    let cloud = Cloud::new();
    let plan = |config: &Config, revision: &str| {
        Aws::plan(&cloud.host().provider_context(), config, &desired(revision, 2)).unwrap()
    };
    let first = plan(&config(), "r1");
    assert_eq!((first.actions.len(), first.actions[0].kind), (1, ActionKind::Create));
    assert!(
        first.actions[0]
            .changes
            .iter()
            .any(|c| c.path == "ecs.deploymentConfiguration.strategy" && c.after.as_deref() == Some("CANARY"))
    );

    let cloud = with_r1();
    let plan = |config: &Config, revision: &str| {
        Aws::plan(&cloud.host().provider_context(), config, &desired(revision, 2)).unwrap()
    };
    assert_eq!(plan(&config(), "r1").actions, []);
    let second = plan(&config(), "r2");
    assert_eq!((second.actions.len(), second.actions[0].kind), (1, ActionKind::Create));
    let linear =
        ecs_config(json!({"native": {"role": "arn:role", "strategy": "LINEAR", "percent": 20, "hookTimeout": "90m"}}));
    let changed: Vec<_> = plan(&linear, "r1").actions.remove(0).changes.into_iter().map(|change| change.path).collect();
    assert_eq!(
        changed,
        [
            "ecs.deploymentConfiguration.strategy",
            "ecs.deploymentConfiguration.linearConfiguration.stepPercent",
            "ecs.deploymentConfiguration.linearConfiguration.stepBakeTimeInMinutes"
        ]
    );
    let wrong = ecs_config(json!({"native": {"role": "arn:role", "strategy": "LINEAR", "percent": 2.5}}));
    let refused = Aws::plan(&cloud.host().provider_context(), &wrong, &desired("r1", 2)).unwrap_err();
    assert!(refused.message.contains("from 3 to 100 for LINEAR"), "{refused:?}");
}
