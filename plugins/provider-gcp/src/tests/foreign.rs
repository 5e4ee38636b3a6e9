//! Services that others made, and what others do to ours.

use basb_plugin::FailureCode;
use basb_plugin::provider::{ActionKind, Provider};
use serde_json::{Value, json};

use super::cloud::{Model, NAME};
use super::{config, desired, service, to_end};
use crate::Gcp;

const PARENT: &str = "projects/shop-1/locations/europe-west3/services";

/// A service that somebody made by other means: its traffic follows the latest revision, which Cloud Run does not name
/// beside it.
fn theirs(model: &Model, labels: &Value) {
    let name = format!("{PARENT}/{NAME}/revisions/{NAME}-00001-abc");
    let mut state = model.0.borrow_mut();
    state.service =
        Some(json!({"name": format!("{PARENT}/{NAME}"), "labels": labels, "generation": "1", "etag": "\"e\"",
        "observedGeneration": "1", "template": {"containers": [{"image": "theirs"}]},
        "traffic": [{"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100}], "uri": "https://theirs.run.app",
        "trafficStatuses": [{"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100}],
        "latestCreatedRevision": name, "latestReadyRevision": name,
        "terminalCondition": {"type": "Ready", "state": "CONDITION_SUCCEEDED"}}));
    state
        .revisions
        .push(json!({"name": name, "containers": [{"image": "theirs"}], "createTime": "2025-01-01T00:00:00Z",
        "conditions": [{"type": "Ready", "state": "CONDITION_SUCCEEDED"}]}));
}

#[test]
fn a_service_of_others_is_refused() {
    for labels in [
        json!({"made-by": "others"}),
        json!({"basb-host_managed-by": "basb-host", "basb-host_deployment": "other", "basb-host_environment": "prod", "basb-host_service": "web"}),
    ] {
        let model = Model::new();
        theirs(&model, &labels);
        let cx = model.host().provider_context();
        let failures = [
            model.deploy("k1", "rev1").unwrap_err(),
            model.traffic(&[("rev1", 100)]).unwrap_err(),
            model.traffic(&[]).unwrap_err(),
            model.retire("rev1").unwrap_err(),
            model.scale("rev1", 3).unwrap_err(),
            Gcp::plan(&cx, &config(json!({})), &desired("rev1", 2)).unwrap_err(),
            Gcp::read(&cx, &config(json!({})), &service()).unwrap_err(),
        ];
        for failure in failures {
            assert_eq!(failure.code, FailureCode::Conflict, "{failure:?}");
            assert!(
                failure.message.contains("the Cloud Run service shop-prod-web")
                    || failure.message.contains("there is a Cloud Run service shop-prod-web"),
                "{failure:?}"
            );
        }
        assert_eq!(model.changes(), [""; 0]);
    }
    // Named in the configuration or not: what another deployment has is its own.
    let model = Model::new();
    theirs(
        &model,
        &json!({"basb-host_managed-by": "basb-host", "basb-host_deployment": "other", "basb-host_environment": "prod", "basb-host_service": "web"}),
    );
    let named = config(json!({"services": {"web": {"service": NAME}}}));
    let failure = model.deploy_with(&named, "k1", "rev1", 2).unwrap_err();
    assert!(failure.message.contains("belongs to web of other/prod"), "{failure:?}");
}

#[test]
fn what_others_made_is_seen_adopted_and_left() {
    let model = Model::new();
    theirs(&model, &json!({"made-by": "others"}));
    let named = config(json!({"services": {"web": {"service": NAME}}}));
    let cx = model.host().provider_context();
    let seen = Gcp::read(&cx, &named, &service()).unwrap().unwrap().revisions.remove(0);
    assert_eq!((seen.weight.hundredths(), seen.desired, seen.available), (10_000, 1, 1));
    assert!(seen.id.starts_with('x') && seen.id.len() == 13, "{}", seen.id);

    let plan = Gcp::plan(&cx, &named, &desired("rev1", 2)).unwrap();
    let marks: Vec<_> = plan.actions.iter().map(|of| (of.kind, of.irreversible.is_some())).collect();
    assert_eq!(marks, [(ActionKind::Update, false), (ActionKind::Update, true), (ActionKind::Create, false)]);

    // The new revision is the latest one from now on, and nobody is led to it.
    model.deploy_with(&named, "k1", "rev1", 2).unwrap();
    let targets = model.targets();
    assert_eq!(targets[0], (format!("{NAME}-00001-abc"), 100, String::new()), "{targets:?}");
    assert_eq!((targets[1].1, targets.len()), (0, 2), "{targets:?}");
    let labels = model.0.borrow().service.as_ref().unwrap()["labels"].clone();
    assert_eq!((&labels["made-by"], &labels["basb-host_service"]), (&json!("others"), &json!("web")));

    model.traffic_with(&named, &[(&seen.id, 90), ("rev1", 10)]).unwrap();
    model.traffic_with(&named, &[("rev1", 100)]).unwrap();
    // It is in no target any more, and it can be gone back to all the same.
    model.traffic_with(&named, &[(&seen.id, 100)]).unwrap();
    model.traffic_with(&named, &[("rev1", 100)]).unwrap();
    let (said, _) = to_end(|state| Gcp::retire(&cx, &named, "k", &service(), &seen.id, state)).unwrap();
    assert!(said.contains("made by others, so it stays"), "{said}");
    assert_eq!(model.names().len(), 2);
    let failure = model.traffic_with(&named, &[]).unwrap_err();
    assert_eq!(failure.code, FailureCode::Conflict, "a service that others made is not removed");
}

#[test]
fn ours_that_follows_the_latest_revision_is_seen_and_pinned_again() {
    let model = Model::new();
    model.deploy("k1", "rev1").unwrap();
    model.deploy("k2", "rev2").unwrap();
    model.traffic(&[("rev1", 100)]).unwrap();
    {
        // As `gcloud run services update-traffic --to-latest` leaves it: tags are gone, and the revision is not named.
        let mut state = model.0.borrow_mut();
        let service = state.service.as_mut().unwrap();
        let latest = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST";
        service["traffic"] = json!([{"type": latest, "percent": 100}]);
        service["trafficStatuses"] =
            json!([{"type": latest, "percent": 100, "uri": "https://shop-prod-web-abc.run.app"}]);
    }
    assert_eq!(model.shares(), [("rev2".into(), 100, 2, 2)], "the latest one has it");
    assert_eq!(model.retire("rev2").unwrap_err().code, FailureCode::Conflict, "it has traffic");
    model.changes();
    model.traffic(&[("rev2", 100)]).unwrap();
    assert_eq!(model.changes().len(), 1, "it is pinned where it is");
    model.traffic(&[("rev1", 100)]).unwrap();
    assert_eq!(model.shares(), [("rev1".into(), 100, 2, 2), ("rev2".into(), 0, 2, 2)]);
}

/// What `gcloud run services update --update-labels` or Terraform make of a service's labels.
fn relabel(model: &Model, labels: &Value) {
    let mut state = model.0.borrow_mut();
    state.service.as_mut().unwrap()["labels"] = labels.clone();
}

#[test]
fn the_way_back_is_not_held_up_by_others_labels() {
    for labels in [json!({}), json!({"team": "shop"}), json!({"basb-host_deployment": "shop", "managed": "terraform"})]
    {
        let model = Model::new();
        model.deploy("k1", "rev1").unwrap();
        model.traffic(&[("rev1", 100)]).unwrap();
        model.deploy("k2", "rev2").unwrap();
        model.traffic(&[("rev1", 50), ("rev2", 50)]).unwrap();
        relabel(&model, &labels);
        // Also where somebody is faster meanwhile, and it is read again.
        model.0.borrow_mut().meddle = 1;
        model.traffic(&[("rev1", 100)]).unwrap();
        assert_eq!(model.shares().iter().find(|of| of.0 == "rev1").map(|of| of.1), Some(100), "and read back");
        let host = model.host();
        Gcp::read(&host.provider_context(), &config(json!({})), &service()).unwrap();
        let told = host.log_lines();
        assert!(told.iter().any(|(_, line)| line.contains("Its traffic is read and set all the same")), "{told:?}");
        // Nothing else of it is touched, and what would help is said.
        model.changes();
        let cx = model.host().provider_context();
        let failures = [
            model.deploy("k3", "rev3").unwrap_err(),
            model.retire("rev2").unwrap_err(),
            model.scale("rev1", 3).unwrap_err(),
            model.traffic(&[]).unwrap_err(),
            Gcp::plan(&cx, &config(json!({})), &desired("rev1", 2)).unwrap_err(),
        ];
        for failure in failures {
            assert_eq!(failure.code, FailureCode::Conflict, "{failure:?}");
            assert!(failure.message.contains("Put them back: basb-host_managed-by=basb-host"), "{failure:?}");
        }
        assert_eq!(model.changes(), [""; 0]);
    }
    // What names somebody else is theirs, whatever is in it.
    for (key, value) in [("basb-host_deployment", "other"), ("basb-host_managed-by", "terraform")] {
        let model = Model::new();
        model.deploy("k1", "rev1").unwrap();
        model.deploy("k2", "rev2").unwrap();
        relabel(&model, &json!({key: value, "basb-host_service": "web"}));
        model.changes();
        assert_eq!(model.traffic(&[("rev2", 100)]).unwrap_err().code, FailureCode::Conflict);
        assert_eq!(model.changes(), [""; 0]);
    }
}

#[test]
fn a_revision_that_others_made_of_ours_is_not_taken_for_ours() {
    let model = Model::new();
    model.deploy("k1", "rev1").unwrap();
    {
        // As `gcloud run services update` does it: our labels are in the template, and so they are in the new revision.
        let mut state = model.0.borrow_mut();
        let service = state.service.as_mut().unwrap();
        service["template"]["revision"] = format!("{NAME}-00002-xyz").into();
        service["template"]["containers"][0]["image"] = "something-else".into();
        service["traffic"] = json!([{"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION", "revision": format!("{NAME}-00002-xyz"), "percent": 100}]);
        state.changed();
        state.make_revision();
        state.slow = 1;
        state.tick();
    }
    let mut state = model.0.borrow_mut();
    state.slow = 0;
    drop(state);
    // Any change settles what goes on.
    model.deploy("k2", "rev2").unwrap();
    let shares = model.shares();
    assert!(shares[0].0.starts_with('x') && shares[0].1 == 100, "{shares:?}");
    assert!(shares.iter().all(|of| of.0 != "rev1"), "rev1 has neither traffic nor tag: {shares:?}");
    model.traffic(&[("rev1", 100)]).unwrap();
    assert_eq!(model.shares().iter().find(|of| of.0 == "rev1").map(|of| of.1), Some(100));
}
