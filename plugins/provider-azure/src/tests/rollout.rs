//! Releases, canaries, ways back.

use basb_plugin::FailureCode;
use basb_plugin::provider::{ActionKind, Progress, Provider};
use serde_json::json;

use super::{Caller, desired, service};
use crate::Azure;

#[test]
fn a_first_release_has_no_requests_until_it_is_given_some() {
    let caller = Caller::new();
    let plans = caller.plans(&desired("r1", 2));
    assert_eq!(plans.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [ActionKind::Create, ActionKind::Create]);
    assert!(plans[0].1.contains("container app shop-prod-web") && plans[1].1.contains("2 replicas"), "{plans:?}");
    assert_eq!(caller.cloud.changes(), [""; 0], "a plan reads");
    caller.deploy("r1", 2).unwrap();
    assert_eq!(caller.cloud.changes(), ["PUT"]);
    {
        let state = caller.cloud.0.borrow();
        let app = state.app.as_ref().unwrap();
        assert_eq!(app["properties"]["configuration"]["activeRevisionsMode"], "Multiple");
        assert_eq!(app["properties"]["configuration"].get("ingress"), None, "nobody is led to it yet");
        for (tag, value) in
            [("managed-by", "basb-host"), ("deployment", "shop"), ("environment", "prod"), ("service", "web")]
        {
            assert_eq!(app["tags"][format!("basb-host:{tag}")], value);
        }
        let container = &app["properties"]["template"]["containers"][0];
        assert_eq!(container["args"], json!(["serve", "--port", "8080"]));
        assert_eq!(container["probes"][0]["successThreshold"], 9, "minReady of 25 s: nine times in three seconds each");
        assert_eq!(container["probes"][0]["periodSeconds"], 3);
        let env = container["env"].as_array().unwrap();
        assert!(env.contains(&json!({"name": "BASB_REVISION", "value": "r1"})), "{env:?}");
        assert!(env.contains(&json!({"name": "PORT", "value": "8080"})), "{env:?}");
    }
    assert_eq!(caller.shares(), [("r1".into(), 0, (2, 2))]);
    let report = caller.instances("r1");
    assert_eq!((report.desired, report.available, report.hopeless, report.instances.len()), (2, 2, false, 2));
    caller.traffic(&[("r1", 10_000)]).unwrap();
    let name = caller.cloud.active()[0].clone();
    assert_eq!(caller.cloud.table(), json!([{"revisionName": name, "weight": 100}]), "by name, never the latest");
    let observed = caller.read().unwrap();
    assert_eq!(observed.url.as_deref(), Some("https://shop-prod-web.happy-1.westeurope.azurecontainerapps.io"));
    assert_eq!(caller.plan(&desired("r1", 2)).unwrap().actions, []);
}

#[test]
fn a_canary_gets_what_it_is_given_and_goes_back_by_activation() {
    let caller = Caller::released();
    caller.deploy("r2", 1).unwrap();
    assert_eq!(caller.cloud.changes(), ["PATCH", "PATCH"], "the revision, then the label");
    assert_eq!(caller.shares(), [("r1".into(), 10_000, (1, 1)), ("r2".into(), 0, (1, 1))]);
    let preview = caller.instances("r2").preview_url.unwrap();
    assert_eq!(preview, "https://shop-prod-web---candidate.happy-1.westeurope.azurecontainerapps.io");
    let other = caller.instances("r1").preview_url.unwrap();
    assert!(other.starts_with("https://shop-prod-web--r1-"), "{other}");
    for share in [100_u16, 5_000, 9_900] {
        caller.traffic(&[("r1", 10_000 - share), ("r2", share)]).unwrap();
        assert_eq!(caller.shares(), [("r1".into(), 10_000 - share, (1, 1)), ("r2".into(), share, (1, 1))]);
    }
    caller.cloud.changes();
    caller.traffic(&[("r1", 100), ("r2", 9_900)]).unwrap();
    assert_eq!(caller.cloud.changes(), [""; 0], "the shares are as they should be");
    assert!(caller.traffic(&[("r1", 9_950), ("r2", 50)]).unwrap_err().message.contains("smallest change here is 1 %"));
    assert_eq!(caller.retire("r1").unwrap_err().code, FailureCode::Conflict);
    assert_eq!(caller.traffic(&[("r7", 10_000)]).unwrap_err().code, FailureCode::NotFound);
    caller.traffic(&[("r2", 10_000)]).unwrap();
    caller.cloud.changes();
    assert!(caller.retire("r1").unwrap().contains("can be activated again"));
    let changes = caller.cloud.changes();
    assert!(changes.len() == 1 && changes[0].ends_with("/deactivate"), "{changes:?}");
    caller.retire("r1").unwrap();
    assert_eq!(caller.cloud.changes(), [""; 0]);
    assert_eq!(caller.shares(), [("r2".into(), 10_000, (1, 1))]);
    // Back: the same revision is activated, and nothing is made.
    let plans = caller.plans(&desired("r1", 1));
    assert!(plans.len() == 1 && plans[0].0 == ActionKind::Update && plans[0].1.contains("activated"), "{plans:?}");
    caller.deploy("r1", 1).unwrap();
    let changes = caller.cloud.changes();
    assert!(changes[0].ends_with("/activate") && changes[1] == "PATCH" && changes.len() == 2, "{changes:?}");
    assert_eq!(caller.cloud.0.borrow().revisions.len(), 2);
    caller.traffic(&[("r1", 10_000)]).unwrap();
    caller.retire("r2").unwrap();
    assert_eq!(caller.shares(), [("r1".into(), 10_000, (1, 1))]);
}

#[test]
fn the_label_is_taken_from_what_is_retired() {
    let caller = Caller::released();
    caller.deploy("r2", 1).unwrap();
    caller.cloud.changes();
    caller.retire("r2").unwrap();
    let changes = caller.cloud.changes();
    assert!(changes[0] == "PATCH" && changes[1].ends_with("/deactivate"), "{changes:?}");
    assert_eq!(caller.cloud.table().as_array().unwrap().len(), 1);
}

#[test]
fn a_first_release_that_fails_leaves_nothing() {
    let caller = Caller::released();
    caller.traffic(&[]).unwrap();
    assert_eq!(caller.shares(), [("r1".into(), 0, (1, 1))]);
    assert!(caller.cloud.0.borrow().app.as_ref().unwrap()["properties"]["configuration"].get("ingress").is_none());
    caller.retire("r1").unwrap();
    assert_eq!(caller.cloud.changes(), ["PATCH", "DELETE"]);
    assert_eq!(caller.cloud.0.borrow().app, None, "what we made goes with its last revision");
    caller.retire("r1").unwrap();
    caller.traffic(&[]).unwrap();
    assert_eq!(caller.read(), None);
    assert_eq!(caller.cloud.changes(), [""; 0]);
}

#[test]
fn a_revision_that_does_not_come_up_is_told_in_azures_words() {
    let caller = Caller::released();
    caller.cloud.0.borrow_mut().broken = Some("\"r2\"");
    caller.cloud.0.borrow_mut().fail_next = Some(json!({
        "code": "ContainerAppOperationError",
        "message": "Failed to provision revision",
        "details": [{"code": "ContainerCrashing", "message": "the container exits with code 1"}],
    }));
    let failure = caller.deploy("r2", 1).unwrap_err();
    assert_eq!(failure.code, FailureCode::Unhealthy);
    for said in ["Failed to provision revision", "ContainerCrashing: the container exits", "ContainerAppOperationError"]
    {
        assert!(failure.message.contains(said), "{failure:?}");
    }
    let report = caller.instances("r2");
    assert!(report.hopeless && report.available == 0, "{report:?}");
    let said: Vec<_> = report.instances.iter().filter_map(|of| of.message.clone()).collect();
    assert!(said[0].contains("CrashLoopBackOff") && said[1].contains("exits with code 1"), "{said:?}");
    assert_eq!(report.instances[0].restarts, 3);
    // Nobody was led to it, and it goes.
    assert_eq!(caller.shares()[0], ("r1".into(), 10_000, (1, 1)));
    caller.retire("r2").unwrap();
    assert_eq!(caller.shares(), [("r1".into(), 10_000, (1, 1))]);
    // The cause is gone: the same revision is activated and comes up.
    caller.cloud.0.borrow_mut().broken = None;
    caller.deploy("r2", 1).unwrap();
    assert_eq!(caller.cloud.0.borrow().revisions.len(), 2);
}

#[test]
fn what_container_apps_cannot_run_is_said_first() {
    let caller = Caller::new();
    let plan = |change: fn(&mut basb_plugin::provider::Desired)| {
        let mut desired = desired("r1", 1);
        change(&mut desired);
        caller.plan(&desired).unwrap_err().message
    };
    assert!(plan(|d| d.workload.image = None).contains("runs container images"));
    assert!(plan(|d| d.workload.image = Some("web:1".into())).contains("named by a tag"));
    assert!(plan(|d| d.workload.working_folder = Some("/x".into())).contains("no working folder"));
    assert!(plan(|d| d.workload.memory_limit = Some(1 << 30)).contains("`memoryLimit` is 1Gi"));
    assert!(plan(|d| d.workload.settings = r#"{"ports": 1}"#.into()).contains("does not fit Container Apps"));
    assert!(plan(|d| d.workload.settings = r#"{"secretEnv": {"A": "b"}}"#.into()).contains("secret `b`"));
    assert!(plan(|d| d.workload.env.push(("BASB_REVISION".into(), "x".into()))).contains("written twice"));
    assert_eq!(caller.cloud.0.borrow().requests.len(), 0);
}

#[test]
fn plan_read_and_instances_send_reads_only() {
    let caller = Caller::released();
    caller.plan(&desired("r1", 3)).unwrap();
    caller.plan(&desired("r2", 1)).unwrap();
    caller.read();
    caller.instances("r1");
    assert_eq!(caller.cloud.changes(), [""; 0]);
    let cx = caller.cloud.host().provider_context();
    assert!(matches!(Azure::cancel(&cx, &caller.config, "key", "anything"), Ok(Progress::Done(_))));
    let failure = Azure::instances(&cx, &caller.config, &service(), "r9").unwrap_err();
    assert_eq!(failure.code, FailureCode::NotFound);
}
