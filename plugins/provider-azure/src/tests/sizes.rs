//! Sizes: a revision cannot be changed, so another one takes its place.

use basb_plugin::FailureCode;
use basb_plugin::provider::ActionKind;
use serde_json::json;

use super::{Caller, config, desired};

#[test]
fn another_size_takes_the_place_of_the_first_with_its_share() {
    let caller = Caller::released();
    caller.deploy("r2", 1).unwrap();
    caller.traffic(&[("r1", 9_000), ("r2", 1_000)]).unwrap();
    caller.cloud.changes();
    caller.scale("r2", 3).unwrap();
    let changes = caller.cloud.changes();
    assert!(changes[..2] == ["PATCH", "PATCH"] && changes[2].ends_with("/deactivate"), "{changes:?}");
    assert_eq!(changes.len(), 3, "the revision, its place in the table, and the first one goes");
    assert_eq!(caller.shares(), [("r1".into(), 9_000, (1, 1)), ("r2".into(), 1_000, (3, 3))]);
    let table = caller.cloud.table();
    let labelled = table.as_array().unwrap().iter().find(|line| line["label"] == "candidate").unwrap().clone();
    assert_eq!(labelled["weight"], 10, "the label came along: {table}");
    caller.scale("r2", 3).unwrap();
    assert_eq!(caller.cloud.changes(), [""; 0]);
    // The same size as at first is the first one again.
    caller.scale("r2", 1).unwrap();
    assert_eq!(caller.cloud.0.borrow().revisions.len(), 3);
    assert_eq!(caller.shares(), [("r1".into(), 9_000, (1, 1)), ("r2".into(), 1_000, (1, 1))]);
    // And a deployment in that size finds it.
    caller.cloud.changes();
    caller.deploy("r2", 1).unwrap();
    assert_eq!(caller.cloud.changes(), [""; 0]);
}

#[test]
fn a_revision_that_is_asked_for_without_replicas_has_one() {
    let caller = Caller::new();
    caller.deploy("r1", 0).unwrap();
    caller.scale("r1", 1).unwrap();
    assert_eq!(caller.cloud.changes(), ["PUT"]);
    assert_eq!(caller.shares(), [("r1".into(), 0, (1, 1))]);
    caller.scale("r1", 2).unwrap();
    let changes = caller.cloud.changes();
    assert!(
        changes[0] == "PATCH" && changes[1].ends_with("/deactivate"),
        "nobody is led there, so it goes: {changes:?}"
    );
    assert_eq!(caller.shares(), [("r1".into(), 0, (2, 2))]);
}

#[test]
fn a_plan_shows_a_replacement() {
    let caller = Caller::released();
    let plan = caller.plan(&desired("r1", 2)).unwrap();
    assert_eq!(plan.actions.len(), 1);
    assert_eq!(plan.actions[0].kind, ActionKind::Replace);
    let changes: Vec<_> = plan.actions[0].changes.iter().map(|of| (of.path.as_str(), of.before.clone())).collect();
    assert_eq!(changes, [("template.scale.minReplicas", Some("1".into()))], "what Azure fills in is no difference");
    let mut more = desired("r1", 1);
    more.workload.settings = r#"{"args": ["serve", "--port", "{port}"], "cpu": 0.5, "memory": "1Gi"}"#.into();
    more.workload.env.push(("TOKEN".into(), "hush".into()));
    let plan = caller.plan(&more).unwrap();
    let shown = format!("{:?}", plan.actions);
    assert!(
        shown.contains("resources.cpu") && shown.contains("template.env.TOKEN") && !shown.contains("hush"),
        "{shown}"
    );
}

#[test]
fn a_floor_spares_the_second_revision() {
    let mut caller = Caller::new();
    caller.config = config(json!({"scale": {"min": 2, "max": 4, "concurrentRequests": 20}}));
    caller.deploy("r1", 1).unwrap();
    caller.scale("r1", 2).unwrap();
    assert_eq!(caller.cloud.changes(), ["PUT"]);
    assert_eq!(caller.shares(), [("r1".into(), 0, (2, 2))]);
    let state = caller.cloud.0.borrow();
    let scale = &state.app.as_ref().unwrap()["properties"]["template"]["scale"];
    assert_eq!(scale["maxReplicas"], 4);
    assert_eq!(scale["rules"][0]["http"]["metadata"]["concurrentRequests"], "20");
}

#[test]
fn a_replacement_that_does_not_come_up_takes_no_place() {
    let caller = Caller::released();
    caller.cloud.0.borrow_mut().broken = Some("\"minReplicas\":3");
    let failure = caller.scale("r1", 3).unwrap_err();
    assert_eq!(failure.code, FailureCode::Unhealthy);
    assert!(failure.message.contains("exits with code 1"), "{failure:?}");
    assert_eq!(caller.shares(), [("r1".into(), 10_000, (1, 1))]);
    assert_eq!(caller.cloud.active().len(), 1, "it is deactivated");
}

#[test]
fn no_replicas_is_no_revision() {
    let caller = Caller::released();
    assert_eq!(caller.scale("r1", 0).unwrap_err().code, FailureCode::Conflict);
    caller.deploy("r2", 1).unwrap();
    caller.scale("r2", 0).unwrap();
    assert_eq!(caller.shares(), [("r1".into(), 10_000, (1, 1))]);
    assert_eq!(caller.instances("r2").desired, 0);
    caller.scale("r2", 2).unwrap();
    assert_eq!(caller.shares()[1], ("r2".into(), 0, (2, 2)));
    assert_eq!(caller.scale("r7", 2).unwrap_err().code, FailureCode::NotFound);
}
