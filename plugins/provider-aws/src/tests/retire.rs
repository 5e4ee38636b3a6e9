//! The end of a revision: nothing of it can be read any more, its environment least of all.

use basb_plugin::http::HttpError;
use basb_plugin::provider::{Action, Progress, Provider};
use basb_plugin::testing::Reply;
use basb_plugin::{Failure, FailureCode, Retry};
use serde_json::{Value, json};

use super::cloud::{Cloud, FaultKind, ecs_error};
use super::{desired, ecs_config, service};
use crate::{Aws, names};

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
