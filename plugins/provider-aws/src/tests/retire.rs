//! The end of a revision: nothing of it can be read any more, its environment least of all.

use basb_plugin::http::HttpError;
use basb_plugin::provider::{Action, Progress, Provider};
use basb_plugin::testing::Reply;
use basb_plugin::{Failure, FailureCode, Retry, Weight};
use serde_json::{Value, json};

use super::cloud::{Cloud, FaultKind, ecs_error, elb_error};
use super::{desired, ecs_config, service};
use crate::{Aws, Config, names};

/// r1, whose ECS service ends at once.
fn with_r1() -> Cloud {
    let cloud = Cloud::new();
    let action = Action::Deploy(Box::new(desired("r1", 1)));
    Aws::apply(&cloud.host().provider_context(), &ecs_config(json!({})), "k", &action, None).unwrap();
    cloud.0.borrow_mut().running.insert(names::of_revision(&service(), "r1"), 0);
    cloud.changes();
    cloud
}

fn retire(cloud: &Cloud, state: Option<&str>) -> Result<Progress, Failure> {
    Aws::retire(&cloud.host().provider_context(), &ecs_config(json!({})), "k", &service(), "r1", state)
}

#[track_caller]
fn said(progress: Result<Progress, Failure>) -> String {
    match progress {
        Ok(Progress::Done(outcome)) => outcome.summary,
        other => panic!("{other:?}"),
    }
}

/// So many task definitions of the family in this state, of r1 or of somebody else.
fn add(cloud: &Cloud, count: u32, status: &str, tags: &Value) {
    let family = names::of_revision(&service(), "r1");
    for number in 0..count {
        let arn = format!("arn:task-definition/{family}:{}", 1_000 + number);
        let definition = json!({"family": family, "taskDefinitionArn": arn, "status": status, "tags": tags});
        cloud.0.borrow_mut().definitions.push(definition);
    }
}

fn of_r1(cloud: &Cloud) -> Value {
    cloud.0.borrow().definitions[0]["tags"].clone()
}

fn count(cloud: &Cloud, status: &str) -> usize {
    cloud.0.borrow().definitions.iter().filter(|definition| definition["status"] == status).count()
}

#[test]
fn a_call_that_was_cut_off_is_finished_by_the_next() {
    let reset = || FaultKind::Before(Err(HttpError::Broken("connection reset".into())));
    for (action, fault) in [
        ("DeregisterTaskDefinition", FaultKind::Lost),
        ("DeleteTaskDefinitions", FaultKind::Lost),
        ("DeleteTaskDefinitions", reset()),
    ] {
        let cloud = with_r1();
        cloud.fault(action, fault);
        assert!(matches!(retire(&cloud, None).unwrap_err().retry, Retry::After(_)));
        assert_eq!(
            said(retire(&cloud, None)),
            "revision r1 is gone: its service, target group, rule and task definitions"
        );
        assert_eq!((count(&cloud, "DELETE_IN_PROGRESS"), cloud.0.borrow().definitions.len()), (1, 1), "{action}");
        // Done is done.
        cloud.changes();
        let _ = said(retire(&cloud, None));
        assert_eq!(cloud.changes(), [""; 0]);
    }
}

#[test]
fn what_ecs_does_not_delete_is_told_in_its_words() {
    let answer = |reason: &str| {
        let failures = json!([{"arn": "arn:task-definition/f:1", "reason": reason}]);
        FaultKind::Before(Ok(Reply::json(200, &json!({"taskDefinitions": [], "failures": failures}))))
    };
    let cloud = with_r1();
    cloud.fault("DeleteTaskDefinitions", answer("The specified task definition cannot be deleted."));
    let failure = retire(&cloud, None).unwrap_err();
    assert_eq!((failure.code, failure.retry), (FailureCode::Other, Retry::Never));
    assert!(failure.message.contains("arn:task-definition/f:1 is not deleted: The specified task definition cannot"));
    cloud.fault("DeleteTaskDefinitions", answer("The specified task definition is still in ACTIVE status."));
    assert!(matches!(retire(&cloud, None).unwrap_err().retry, Retry::After(_)), "it was deregistered a moment ago");
    let denied = ecs_error(400, "AccessDeniedException", "not authorized to perform: ecs:DeleteTaskDefinitions");
    cloud.fault("DeleteTaskDefinitions", FaultKind::Before(Ok(denied)));
    assert_eq!(retire(&cloud, None).unwrap_err().code, FailureCode::Denied, "it would be readable for ever");
    for gone in ["The specified task definition does not exist.", "TASK_DEFINITION_NOT_FOUND", "MISSING"] {
        cloud.fault("DeleteTaskDefinitions", answer(gone));
        let _ = said(retire(&cloud, None));
    }
    assert_eq!(cloud.0.borrow().faults.len(), 0);
}

#[test]
fn a_counterpart_that_cannot_delete_is_not_mistaken_for_one_that_has() {
    let cloud = with_r1();
    let unknown = Ok(ecs_error(400, "UnknownOperationException", "DeleteTaskDefinitions"));
    cloud.fault("DeleteTaskDefinitions", FaultKind::Before(unknown));
    assert!(said(retire(&cloud, None)).ends_with(
        "task definitions (those are deregistered only, and can still be read: this ECS does not know DeleteTaskDefinitions)"
    ));
    assert_eq!(count(&cloud, "INACTIVE"), 1);
}

#[test]
fn older_ones_of_the_revision_go_along_and_others_do_not() {
    let cloud = with_r1();
    add(&cloud, 24, "INACTIVE", &of_r1(&cloud));
    let _ = said(retire(&cloud, None));
    assert_eq!((count(&cloud, "DELETE_IN_PROGRESS"), count(&cloud, "INACTIVE")), (25, 0));
    let asked = cloud.changes().iter().filter(|action| *action == "DeleteTaskDefinitions").count();
    assert_eq!(asked, 3, "ten at once");

    // One call removes thirty, and another one what is left.
    let cloud = with_r1();
    add(&cloud, 40, "INACTIVE", &of_r1(&cloud));
    let Ok(Progress::Running(pending)) = retire(&cloud, None) else { panic!() };
    assert_eq!(count(&cloud, "DELETE_IN_PROGRESS"), 30);
    let _ = said(retire(&cloud, Some(&pending.state)));
    assert_eq!(count(&cloud, "DELETE_IN_PROGRESS"), 41);

    let cloud = with_r1();
    add(&cloud, 2, "INACTIVE", &json!([{"key": "made-by", "value": "others"}]));
    let _ = said(retire(&cloud, None));
    assert_eq!((count(&cloud, "DELETE_IN_PROGRESS"), count(&cloud, "INACTIVE")), (1, 2));
}

const BEFORE: &str = "arn:listener/before";

/// r1 with all of the traffic at the listener of before; the configuration by now names another one, where r2 is.
fn moved(preview: bool) -> (Cloud, Config) {
    let at = |listener: &str| {
        let preview = if preview {
            json!({"listener": format!("{listener}/previews"), "url": "https://{service}.example:8443"})
        } else {
            json!(null)
        };
        ecs_config(json!({"listener": listener, "preview": preview}))
    };
    let cloud = Cloud::new();
    for (revision, listener) in [("r1", BEFORE), ("r2", "arn:listener/now")] {
        let host = cloud.host();
        let action = Action::Deploy(Box::new(desired(revision, 1)));
        Aws::apply(&host.provider_context(), &at(listener), revision, &action, None).unwrap();
        let all = [(revision.to_owned(), Weight::FULL)];
        Aws::traffic(&host.provider_context(), &at(listener), "k", &service(), &all, None).unwrap();
    }
    cloud.0.borrow_mut().running.insert(names::of_revision(&service(), "r1"), 0);
    cloud.changes();
    (cloud, at("arn:listener/now"))
}

fn retire_moved(cloud: &Cloud, config: &Config) -> Result<Progress, Failure> {
    Aws::retire(&cloud.host().provider_context(), config, "k", &service(), "r1", None)
}

fn rules_at(cloud: &Cloud, listener: &str) -> usize {
    cloud.0.borrow().rules.values().filter(|rule| rule["ListenerArn"].starts_with(listener)).count()
}

#[test]
fn rules_of_ours_at_a_listener_of_before_go_too() {
    for preview in [false, true] {
        let (cloud, config) = moved(preview);
        let now = rules_at(&cloud, "arn:listener/now");
        assert_ne!(rules_at(&cloud, BEFORE), 0);
        assert!(said(retire_moved(&cloud, &config)).starts_with("revision r1 is gone"));
        assert_eq!((rules_at(&cloud, BEFORE), rules_at(&cloud, "arn:listener/now")), (0, now));
        assert!(!cloud.0.borrow().groups.contains_key(&names::of_group(&service(), "r1")));
        assert_eq!(count(&cloud, "DELETE_IN_PROGRESS"), 1);
        let again = said(retire_moved(&cloud, &config));
        assert!(again.starts_with("revision r1 is gone"), "{again}");
    }
}

/// A rule of others, or of another service of ours, stays; the failure names it.
#[test]
fn a_rule_of_others_that_uses_the_group_stays() {
    let (cloud, config) = moved(false);
    let group = cloud.0.borrow().groups[&names::of_group(&service(), "r1")].clone();
    let at = "Actions.member.1.ForwardConfig.TargetGroups.member.1";
    let theirs = [
        ("ListenerArn", BEFORE),
        ("Priority", "9"),
        ("Actions.member.1.Type", "forward"),
        (&format!("{at}.TargetGroupArn"), &group),
    ];
    let theirs = theirs.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    cloud.0.borrow_mut().rules.insert("arn:rule/theirs".into(), theirs);
    let failure = retire_moved(&cloud, &config).unwrap_err();
    assert_eq!((failure.code, failure.retry), (FailureCode::Conflict, Retry::Never));
    for part in [group.as_str(), "(arn:rule/theirs)", "take it out of there"] {
        assert!(failure.message.contains(part), "{part}: {failure:?}");
    }
    assert_eq!(rules_at(&cloud, BEFORE), 1, "what is ours is gone");
    assert_eq!(count(&cloud, "DELETE_IN_PROGRESS"), 1, "no environment is left to be read");
    cloud.0.borrow_mut().rules.remove("arn:rule/theirs");
    let _ = said(retire_moved(&cloud, &config));
}

/// Users of the listener of before keep what else its rule leads to.
#[test]
fn the_rule_for_users_at_a_listener_of_before_keeps_its_other_targets() {
    let (cloud, config) = moved(false);
    let other = cloud.0.borrow().groups[&names::of_group(&service(), "r2")].clone();
    let of_all = |rule: &&mut std::collections::BTreeMap<String, String>| {
        rule["ListenerArn"] == BEFORE && rule.values().all(|value| value != "basb-host:revision")
    };
    let at = "Actions.member.1.ForwardConfig.TargetGroups.member.2";
    let more = [(format!("{at}.TargetGroupArn"), other.clone()), (format!("{at}.Weight"), "3".to_owned())];
    cloud.0.borrow_mut().rules.values_mut().find(of_all).unwrap().extend(more);
    let _ = said(retire_moved(&cloud, &config));
    let state = cloud.0.borrow();
    let left: Vec<_> = state.rules.values().filter(|rule| rule["ListenerArn"] == BEFORE).collect();
    let [left] = left[..] else { panic!("{left:?}") };
    let targets: Vec<_> = left.iter().filter(|(key, _)| key.ends_with("TargetGroupArn")).map(|(_, arn)| arn).collect();
    assert_eq!(targets, [&other]);
}

#[test]
fn a_role_that_may_not_look_for_listeners_is_told_what_to_do() {
    let (cloud, config) = moved(false);
    let denied = elb_error(403, "AccessDenied", "not authorized to perform: elasticloadbalancing:DescribeListeners");
    cloud.fault("DescribeListeners", FaultKind::Before(Ok(denied)));
    let failure = retire_moved(&cloud, &config).unwrap_err();
    assert_eq!((failure.code, failure.retry), (FailureCode::Denied, Retry::Never));
    let group = cloud.0.borrow().groups[&names::of_group(&service(), "r1")].clone();
    for part in [group.as_str(), "allow elasticloadbalancing:DescribeListeners", "delete the rules", "not authorized"] {
        assert!(failure.message.contains(part), "{part}: {failure:?}");
    }
    assert_eq!(count(&cloud, "DELETE_IN_PROGRESS"), 1, "task definitions go first");
}

/// What AWS takes for in use a moment longer is asked for again.
#[test]
fn a_group_that_nothing_of_ours_uses_any_more_is_tried_again() {
    let cloud = with_r1();
    let busy = elb_error(400, "ResourceInUse", "Target group is currently in use by a listener or a rule");
    cloud.fault("DeleteTargetGroup", FaultKind::Before(Ok(busy)));
    let failure = retire(&cloud, None).unwrap_err();
    assert!(matches!(failure.retry, Retry::After(_)), "{failure:?}");
    let _ = said(retire(&cloud, None));
}
