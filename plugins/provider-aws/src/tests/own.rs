//! Weights that we set.

use basb_plugin::http::HttpError;
use basb_plugin::provider::{Action, ActionKind, Observed, Progress, Provider, Scaling};
use basb_plugin::testing::Reply;
use basb_plugin::{Failure, FailureCode, Retry, Weight};
use serde_json::json;

use super::cloud::{Cloud, FaultKind, ecs_error};
use super::{desired, ecs_config, service};
use crate::{Aws, Config};

fn config() -> Config {
    ecs_config(json!({}))
}

fn apply(cloud: &Cloud, key: &str, revision: &str, replicas: u32) -> Result<Progress, Failure> {
    let action = Action::Deploy(Box::new(desired(revision, replicas)));
    Aws::apply(&cloud.host().provider_context(), &config(), key, &action, None)
}

fn traffic(cloud: &Cloud, weights: &[(&str, u16)]) -> Result<Progress, Failure> {
    let weights: Vec<_> =
        weights.iter().map(|(name, weight)| ((*name).to_owned(), Weight::from_hundredths(*weight))).collect();
    Aws::traffic(&cloud.host().provider_context(), &config(), "key-t", &service(), &weights, None)
}

fn read(cloud: &Cloud) -> Option<Observed> {
    Aws::read(&cloud.host().provider_context(), &config(), &service()).unwrap()
}

fn shares(cloud: &Cloud) -> Vec<(String, u16, u32, u32)> {
    let of =
        |r: &basb_plugin::provider::ObservedRevision| (r.id.clone(), r.weight.hundredths(), r.desired, r.available);
    read(cloud).map(|observed| observed.revisions.iter().map(of).collect()).unwrap_or_default()
}

fn is_done(progress: &Result<Progress, Failure>) -> bool {
    matches!(progress, Ok(Progress::Done(_)))
}

#[test]
fn a_release_goes_from_nothing_to_all_traffic_and_the_old_one_goes() {
    let cloud = Cloud::new();
    assert_eq!(read(&cloud), None);
    assert!(is_done(&apply(&cloud, "k1", "r1", 2)));
    assert_eq!(
        cloud.changes(),
        ["RegisterTaskDefinition", "CreateTargetGroup", "ModifyTargetGroupAttributes", "CreateRule", "CreateService"]
    );
    assert_eq!(shares(&cloud), [("r1".into(), 0, 2, 2)], "no user is led to what has not been released");
    assert!(is_done(&traffic(&cloud, &[("r1", 10_000)])));
    assert_eq!(shares(&cloud), [("r1".into(), 10_000, 2, 2)]);

    assert!(is_done(&apply(&cloud, "k2", "r2", 2)));
    for share in [10_u16, 2_000, 9_990] {
        assert!(is_done(&traffic(&cloud, &[("r1", 10_000 - share), ("r2", share)])));
        assert_eq!(shares(&cloud), [("r1".into(), 10_000 - share, 2, 2), ("r2".into(), share, 2, 2)]);
    }
    cloud.changes();
    assert!(is_done(&traffic(&cloud, &[("r1", 10), ("r2", 9_990)])));
    assert_eq!(cloud.changes(), ["ModifyRule"], "what was read may be of a moment ago");
    assert_eq!(shares(&cloud), [("r1".into(), 10, 2, 2), ("r2".into(), 9_990, 2, 2)]);

    let retire = |revision: &str, state: Option<&str>| {
        Aws::retire(&cloud.host().provider_context(), &config(), "k3", &service(), revision, state)
    };
    assert_eq!(retire("r1", None).unwrap_err().code, FailureCode::Conflict, "it has traffic");
    assert!(is_done(&traffic(&cloud, &[("r2", 10_000)])));
    let Ok(Progress::Running(pending)) = retire("r1", None) else { panic!("its tasks finish their requests first") };
    let Ok(Progress::Running(_)) = retire("r1", Some(&pending.state)) else { panic!() };
    cloud.0.borrow_mut().services.retain(|_, service| service["status"] != "DRAINING");
    assert!(is_done(&retire("r1", Some(&pending.state))));
    assert!(is_done(&retire("r1", None)), "what is gone is gone");
    assert_eq!(shares(&cloud), [("r2".into(), 10_000, 2, 2)]);
    let state = cloud.0.borrow();
    assert_eq!((state.groups.len(), state.rules.len(), state.services.len()), (1, 2, 1), "nothing is left behind");
    let left = state.definitions.iter().filter(|definition| definition["status"] != "DELETE_IN_PROGRESS");
    assert_eq!(left.count(), 1);
}

#[test]
fn a_first_release_that_fails_leaves_nothing() {
    let cloud = Cloud::new();
    assert!(is_done(&apply(&cloud, "k1", "r1", 1)));
    assert!(is_done(&traffic(&cloud, &[("r1", 10_000)])));
    assert!(is_done(&traffic(&cloud, &[])));
    assert_eq!(shares(&cloud), [("r1".into(), 0, 1, 1)]);
    for service in cloud.0.borrow().services.keys() {
        cloud.clone().0.try_borrow().unwrap();
        assert!(service.starts_with("shop-prod-web-r1"));
    }
    let name = cloud.0.borrow().services.keys().next().unwrap().clone();
    cloud.0.borrow_mut().running.insert(name, 0);
    let retired = Aws::retire(&cloud.host().provider_context(), &config(), "k", &service(), "r1", None);
    assert!(is_done(&retired), "{retired:?}");
    let state = cloud.0.borrow();
    assert!(state.groups.is_empty() && state.rules.is_empty() && state.services.is_empty());
}

/// At each action in turn: it has no effect, or it has and nobody hears of it. The call is made again with its key.
#[test]
fn a_call_that_is_made_again_makes_nothing_twice() {
    let actions =
        ["RegisterTaskDefinition", "CreateTargetGroup", "ModifyTargetGroupAttributes", "CreateRule", "CreateService"];
    for action in actions {
        for lost in [false, true] {
            let cloud = Cloud::new();
            let kind = if lost { FaultKind::Lost } else { FaultKind::Before(Ok(Reply::text(503, ""))) };
            cloud.fault(action, kind);
            let failure = apply(&cloud, "k1", "r1", 2).unwrap_err();
            assert!(matches!(failure.retry, Retry::After(_)), "{failure:?}");
            assert!(failure.message.contains(action), "{failure:?}");
            assert!(is_done(&apply(&cloud, "k1", "r1", 2)), "{action}");
            let state = cloud.0.borrow();
            let made = (state.definitions.len(), state.groups.len(), state.rules.len(), state.services.len());
            assert_eq!(made, (1, 1, 1, 1), "{action} {lost}");
        }
    }
    for lost in [false, true] {
        let cloud = Cloud::new();
        assert!(is_done(&apply(&cloud, "k1", "r1", 2)));
        assert!(is_done(&traffic(&cloud, &[("r1", 10_000)])));
        assert!(is_done(&apply(&cloud, "k2", "r2", 2)));
        let kind = if lost { FaultKind::Lost } else { FaultKind::Before(Err(HttpError::Connect("refused".into()))) };
        cloud.fault("ModifyRule", kind);
        assert!(traffic(&cloud, &[("r1", 5_000), ("r2", 5_000)]).is_err());
        let done = if lost { 5_000 } else { 0 };
        assert_eq!(shares(&cloud)[1].1, done);
        assert!(is_done(&traffic(&cloud, &[("r1", 5_000), ("r2", 5_000)])));
        assert_eq!(shares(&cloud)[1].1, 5_000);
    }
}

#[test]
fn two_that_choose_the_same_priority_are_told_apart_by_trying_again() {
    let cloud = Cloud::new();
    cloud.fault("CreateRule", FaultKind::Before(Ok(super::cloud::elb_error(400, "PriorityInUse", "in use"))));
    let failure = apply(&cloud, "k1", "r1", 1).unwrap_err();
    assert!(matches!(failure.retry, Retry::After(_)), "{failure:?}");
    assert!(is_done(&apply(&cloud, "k1", "r1", 1)));
}

#[test]
fn a_plan_tells_every_change_and_sees_none_where_there_is_none() {
    let cloud = Cloud::new();
    let plan = |config: &Config, replicas: u32| {
        Aws::plan(&cloud.host().provider_context(), config, &desired("r1", replicas)).unwrap()
    };
    let first = plan(&config(), 2);
    assert_eq!(first.observed, None);
    let kinds: Vec<_> = first.actions.iter().map(|action| action.kind).collect();
    assert_eq!(kinds, [ActionKind::Create; 4]);
    let changes: Vec<_> =
        first.actions[0].changes.iter().map(|c| (c.path.as_str(), c.after.clone().unwrap_or_default())).collect();
    assert!(changes.contains(&("taskDefinition.containerDefinitions.0.command.2", "8080".into())), "{changes:?}");
    assert!(changes.contains(&("taskDefinition.env.COLOUR", "(a value)".into())), "{changes:?}");
    assert!(changes.contains(&("ecs.desiredCount", "2".into())), "{changes:?}");
    assert_eq!(cloud.changes(), [""; 0], "a plan reads");

    assert!(is_done(&apply(&cloud, "k1", "r1", 2)));
    assert!(is_done(&traffic(&cloud, &[("r1", 10_000)])));
    assert_eq!(plan(&config(), 2).actions, []);
    let scaled = plan(&config(), 3);
    assert_eq!(scaled.actions[0].changes[0].after.as_deref(), Some("3"));
    assert_eq!((scaled.actions.len(), scaled.actions[0].kind), (1, ActionKind::Update));
    let other = plan(&ecs_config(json!({"cpu": 1024})), 2);
    assert_eq!((other.actions.len(), other.actions[0].kind), (1, ActionKind::Replace));
    let change = &other.actions[0].changes[0];
    assert_eq!(
        (change.path.as_str(), change.before.as_deref(), change.after.as_deref()),
        ("taskDefinition.cpu", Some("256"), Some("1024"))
    );
    let elsewhere =
        Aws::plan(&cloud.host().provider_context(), &ecs_config(json!({"vpc": "vpc-2"})), &desired("r1", 2))
            .unwrap_err();
    assert!(elsewhere.message.contains("targetGroup.vpc: vpc-1 instead of vpc-2"), "{elsewhere:?}");
}

#[test]
fn what_others_made_is_seen_adopted_and_left() {
    let cloud = Cloud::new();
    let tags = json!([{"key": "made-by", "value": "others"}]);
    let theirs = json!({"serviceName": "legacy", "status": "ACTIVE", "desiredCount": 2, "taskDefinition": "arn:task-definition/legacy:1",
        "loadBalancers": [{"targetGroupArn": "arn:group/legacy/1"}], "tags": tags});
    cloud.0.borrow_mut().services.insert("legacy".into(), theirs);
    let at = "Actions.member.1.ForwardConfig.TargetGroups.member.1";
    let rule = [
        ("Priority", "7"),
        ("Actions.member.1.Type", "forward"),
        (&format!("{at}.TargetGroupArn"), "arn:group/legacy/1"),
        (&format!("{at}.Weight"), "1"),
    ];
    let rule = rule.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    cloud.0.borrow_mut().rules.insert("arn:rule/theirs".into(), rule);
    let mut config = config();
    config.services.get_mut("web").unwrap().rule = Some("arn:rule/theirs".into());
    let cx = cloud.host().provider_context();
    let seen = Aws::read(&cx, &config, &service()).unwrap().unwrap().revisions.remove(0);
    assert_eq!((seen.weight, seen.desired, seen.available), (Weight::FULL, 2, 2));
    assert!(seen.id.starts_with('x') && seen.id.len() == 13, "{}", seen.id);

    let action = Action::Deploy(Box::new(desired("r1", 2)));
    assert!(is_done(&Aws::apply(&cx, &config, "k", &action, None)));
    let split = [(seen.id.clone(), Weight::from_hundredths(9_000)), ("r1".to_owned(), Weight::from_hundredths(1_000))];
    assert!(is_done(&Aws::traffic(&cx, &config, "k", &service(), &split, None)));
    assert!(is_done(&Aws::traffic(&cx, &config, "k", &service(), &[("r1".into(), Weight::FULL)], None)));
    // It is not in the rule any more, and it can be gone back to all the same.
    assert!(is_done(&Aws::traffic(&cx, &config, "k", &service(), &split, None)));
    assert!(is_done(&Aws::traffic(&cx, &config, "k", &service(), &[("r1".into(), Weight::FULL)], None)));
    assert!(is_done(&Aws::retire(&cx, &config, "k", &service(), &seen.id, None)));
    let state = cloud.0.borrow();
    assert_eq!(state.services["legacy"]["desiredCount"], 0, "it has no tasks, and stays");
    assert!(state.rules.contains_key("arn:rule/theirs"));
}

#[test]
fn why_tasks_do_not_come_up_is_told_in_awss_words() {
    let cloud = Cloud::new();
    assert!(is_done(&apply(&cloud, "k1", "r1", 3)));
    let name = cloud.0.borrow().services.keys().next().unwrap().clone();
    let broken = json!([{"status": "PRIMARY", "rolloutState": "FAILED", "rolloutStateReason": "ECS deployment circuit breaker: tasks failed to start."}]);
    {
        let mut state = cloud.0.borrow_mut();
        state.running.insert(name.clone(), 1);
        let service = state.services.get_mut(&name).unwrap();
        service["deployments"] = broken;
        service["events"] = json!([{"message": "(service web) was unable to place a task"}]);
    }
    let report = Aws::instances(&cloud.host().provider_context(), &config(), &service(), "r1").unwrap();
    assert_eq!((report.desired, report.available, report.hopeless), (3, 1, true));
    let said: Vec<_> = report.instances.iter().filter_map(|instance| instance.message.clone()).collect();
    assert!(said.iter().any(|message| message.contains("web: it broke; web ended with status 1")), "{said:?}");
    assert!(said.iter().any(|message| message.contains("unable to place a task")), "{said:?}");
    let gone = Aws::instances(&cloud.host().provider_context(), &config(), &service(), "r9").unwrap_err();
    assert_eq!(gone.code, FailureCode::NotFound);
}

/// A service without tasks is complete at once, and ECS's circuit breaker counts the tasks of what is under way only.
#[test]
fn the_first_tasks_of_a_service_come_with_a_deployment_that_can_fail() {
    let cloud = Cloud::new();
    let scale = |replicas| {
        let scaling = Scaling { service: service(), revision: "r1".into(), replicas };
        assert!(is_done(&Aws::apply(&cloud.host().provider_context(), &config(), "k", &Action::Scale(scaling), None)));
        cloud.0.borrow().services.values().next().unwrap()["forceNewDeployment"] == json!(true)
    };
    assert!(is_done(&apply(&cloud, "k1", "r1", 0)));
    assert!(scale(2), "nothing was asked for yet");
    assert!(!scale(2), "the same again asks for nothing more");
    assert!(!scale(4), "those that run are left alone");
    assert!(!scale(0) && scale(1));

    // One that the breaker has ended starts no tasks, whoever asks.
    let state = |word: &str| {
        let mut state = cloud.0.borrow_mut();
        let service = state.services.values_mut().next().unwrap();
        service["deployments"] = json!([{"status": "PRIMARY", "rolloutState": word}]);
    };
    state("FAILED");
    assert!(is_done(&apply(&cloud, "k2", "r1", 1)));
    assert_eq!(cloud.0.borrow().services.values().next().unwrap()["forceNewDeployment"], json!(true));
    state("IN_PROGRESS");
    assert!(is_done(&apply(&cloud, "k2", "r1", 1)));
    assert_eq!(cloud.0.borrow().services.values().next().unwrap()["forceNewDeployment"], json!(false));
}

#[test]
fn a_size_is_set_and_a_removed_service_is_waited_for() {
    let cloud = Cloud::new();
    assert!(is_done(&apply(&cloud, "k1", "r1", 2)));
    cloud.changes();
    let scale = |replicas| {
        let scaling = Scaling { service: service(), revision: "r1".into(), replicas };
        Aws::apply(&cloud.host().provider_context(), &config(), "k", &Action::Scale(scaling), None)
    };
    assert!(is_done(&scale(4)) && is_done(&scale(4)));
    assert_eq!(cloud.changes(), ["UpdateService"; 2], "what was described may be of a moment ago");
    for service in cloud.0.borrow_mut().services.values_mut() {
        service["status"] = "DRAINING".into();
    }
    assert!(matches!(apply(&cloud, "k1", "r1", 2), Ok(Progress::Running(_))));
    let planned = Aws::plan(&cloud.host().provider_context(), &config(), &desired("r1", 2)).unwrap_err();
    assert!(matches!(planned.retry, Retry::After(_)), "{planned:?}");
}

#[test]
fn the_listener_for_previews_leads_to_what_was_deployed_last() {
    let cloud = Cloud::new();
    let config = ecs_config(json!({"preview": {"listener": "arn:previews", "url": "http://{service}.preview:8443"}}));
    let cx = cloud.host().provider_context();
    let deploy = |revision: &str| {
        let action = Action::Deploy(Box::new(desired(revision, 2)));
        assert!(is_done(&Aws::apply(&cx, &config, revision, &action, None)));
    };
    let previews = || -> Vec<(String, Option<String>)> {
        let observed = Aws::read(&cx, &config, &service()).unwrap().unwrap();
        observed.revisions.into_iter().map(|r| (r.id, r.preview_url)).collect()
    };
    let url = || Some("http://web.preview:8443".to_owned());
    deploy("r1");
    assert!(is_done(&Aws::traffic(&cx, &config, "k", &service(), &[("r1".into(), Weight::FULL)], None)));
    assert_eq!(previews(), [("r1".into(), url())]);
    deploy("r2");
    assert_eq!(previews(), [("r1".into(), None), ("r2".into(), url())]);
    // What was given up takes its preview along, and what is stable has not drifted by that.
    let name = crate::names::of_revision(&service(), "r2");
    cloud.0.borrow_mut().running.insert(name, 0);
    assert!(is_done(&Aws::retire(&cx, &config, "k", &service(), "r2", None)));
    assert_eq!(previews(), [("r1".into(), None)]);
    assert_eq!(Aws::plan(&cx, &config, &desired("r1", 2)).unwrap().actions, []);
    assert_eq!(cloud.0.borrow().groups.len(), 1);
}

#[test]
fn what_is_wrong_is_said_before_anything_is_made() {
    let refused = |config: Config, change: fn(&mut basb_plugin::provider::Desired)| {
        let mut desired = desired("r1", 1);
        change(&mut desired);
        let cloud = Cloud::new();
        let host = cloud.host();
        let failure = Aws::plan(&host.provider_context(), &config, &desired).unwrap_err();
        assert_eq!(failure.code, FailureCode::Invalid, "{failure:?}");
        assert_eq!(host.requests(), [], "{failure:?}");
        failure.message
    };
    assert!(refused(config(), |d| d.workload.image = Some("web:latest".into())).contains("named by a tag"));
    assert!(refused(config(), |d| d.workload.image = None).contains("give the service an `image`"));
    assert!(refused(config(), |d| d.workload.settings = r#"{"cpus": 1}"#.into()).contains("unknown field `cpus`"));
    assert!(refused(config(), |d| d.workload.memory_limit = Some(1 << 30)).contains("the task has 512 MiB"));
    assert!(refused(ecs_config(json!({"priorities": {"revisions": 9, "services": 9}})), |_| ()).contains("smaller"));
    assert!(refused(ecs_config(json!({"networkMode": "bridge"})), |_| ()).contains("awsvpc"));
    assert!(refused(ecs_config(json!({"preview": {"host": "x.example"}})), |_| ()).contains("{revision}"));
    assert!(refused(ecs_config(json!({"preview": {"listener": "arn:x"}})), |_| ()).contains("and its `url`"));
    let mut nothing = config();
    nothing.services.clear();
    assert!(refused(nothing, |_| ()).contains("`hosts` or `paths`"));
    let both = json!({"region": "eu-west-1", "services": {}});
    assert!(refused(serde_json::from_value(both).unwrap(), |_| ()).contains("either `ecs` or `lambda`"));
}

/// ECS Anywhere registers no task at a load balancer, so nothing would ever be available.
#[test]
fn a_launch_type_without_load_balancing_is_refused() {
    let config = |launch_type: &str| {
        let ecs = json!({"cluster": "main", "vpc": "vpc-1", "listener": "arn:l", "launchType": launch_type});
        serde_json::from_value::<Config>(json!({"region": "eu-west-1", "ecs": ecs})).map_err(|error| error.to_string())
    };
    assert!(config("FARGATE").is_ok() && config("EC2").is_ok());
    let refused = config("EXTERNAL").unwrap_err();
    assert!(refused.contains("no load balancing") && refused.contains("`FARGATE` or `EC2`"), "{refused}");
    assert!(config("fargate").unwrap_err().contains("cannot be `fargate`: write"));
    let manifest: serde_json::Value = serde_json::from_str(include_str!("../../plugin.json")).unwrap();
    let known = &manifest["configSchema"]["properties"]["ecs"]["properties"]["launchType"]["enum"];
    assert_eq!(*known, json!(["FARGATE", "EC2"]), "the host says no before the plugin is asked");
}

#[test]
fn awss_words_and_request_id_reach_the_person() {
    let cloud = Cloud::new();
    let denied = ecs_error(400, "AccessDeniedException", "User: bot is not authorized to perform: ecs:CreateService");
    cloud.fault("CreateService", FaultKind::Before(Ok(denied)));
    let failure = apply(&cloud, "k1", "r1", 1).unwrap_err();
    assert_eq!((failure.code, failure.retry), (FailureCode::Denied, Retry::Never));
    assert_eq!(
        failure.message,
        "ECS CreateService: User: bot is not authorized to perform: ecs:CreateService (AccessDeniedException, status 400, \
         request id req-1)"
    );
}
