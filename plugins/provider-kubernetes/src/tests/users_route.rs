//! Users' route, as others leave it: its hosts, paths and gateways are told, and taken only where the configuration says so.

use basb_plugin::FailureCode;
use basb_plugin::provider::{ActionKind, PlannedAction, Provider};
use serde_json::{Value, json};

use super::cluster::Model;
use super::{deploy, desired, done, gateway, share, shares};
use crate::{Config, Kubernetes};

const FRONT: &str = "shop-prod-web";

fn released(config: &Config) -> Model {
    let model = Model::new();
    done(deploy(&model, config, "r1", 2));
    done(share(&model, config, &[("r1", 100.0)]));
    model
}

fn planned(model: &Model, config: &Config) -> Vec<PlannedAction> {
    let cx = model.host().provider_context();
    Kubernetes::plan(&cx, config, &desired("r1", 2)).unwrap().actions
}

/// What somebody may change of it by hand, and the path at which a plan says so.
fn edits() -> [(Value, &'static str); 5] {
    let rule = |path: &str, extra: Value| {
        let mut rule = json!({"matches": [{"path": {"type": "PathPrefix", "value": path}}],
            "backendRefs": [{"kind": "Service", "name": "shop-prod-web-r1", "port": 80, "weight": 1}]});
        rule.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({"spec": {"rules": [rule]}})
    };
    [
        (json!({"spec": {"hostnames": ["other.example"]}}), "route.spec.hostnames.0"),
        (json!({"spec": {"parentRefs": [{"name": "other"}]}}), "route.spec.parentRefs.0.name"),
        (rule("/old", json!({})), "route.spec.rules.0.matches.0.path.value"),
        (rule("/", json!({"filters": ["theirs"]})), "route.spec.rules.0.filters"),
        (
            json!({"metadata": {"labels": {"app.kubernetes.io/part-of": "theirs"}}}),
            "route.metadata.labels.app.kubernetes.io/part-of",
        ),
    ]
}

#[test]
fn what_others_change_of_it_is_told_and_refused() {
    for (edit, path) in edits() {
        let config = gateway(json!({}));
        let model = released(&config);
        assert_eq!(planned(&model, &config), []);
        model.meddle("kubectl-edit", "httproutes", FRONT, &edit);
        let there = model.object("httproutes", FRONT);

        let actions = planned(&model, &config);
        assert_eq!((actions.len(), actions[0].kind), (1, ActionKind::Update), "{actions:?}");
        assert!(actions[0].changes.iter().any(|change| change.path == path), "{actions:?}");
        let said = &actions[0].summary;
        assert!(said.starts_with("the HTTPRoute shop-prod-web that leads users to web; will be refused"), "{said}");
        assert!(said.contains("kubectl-edit") && actions[0].irreversible.is_none(), "{actions:?}");

        // And it is, before anything is there: of the same release and of another one.
        model.changes();
        for revision in ["r1", "r2"] {
            let failure = deploy(&model, &config, revision, 2).unwrap_err();
            assert_eq!((failure.code, failure.path.as_deref()), (FailureCode::Conflict, Some("/conflicts")));
            assert!(
                failure.message.contains("kubectl-edit") && failure.message.contains("conflicts: take"),
                "{failure}"
            );
        }
        assert_eq!(model.changes(), [""; 0]);
        assert_eq!(model.object("httproutes", FRONT), there);
    }
}

#[test]
fn a_way_back_takes_the_shares_and_nothing_else() {
    for (edit, path) in edits() {
        let config = gateway(json!({}));
        let model = released(&config);
        done(deploy(&model, &config, "r2", 1));
        done(share(&model, &config, &[("r1", 90.0), ("r2", 10.0)]));
        let mut edit = edit;
        if let Some(rule) = edit.pointer_mut("/spec/rules/0") {
            rule["backendRefs"] = model.object("httproutes", FRONT)["spec"]["rules"][0]["backendRefs"].clone();
        }
        model.meddle("kubectl-edit", "httproutes", FRONT, &edit);
        let mut expected = model.object("httproutes", FRONT);
        done(share(&model, &config, &[("r1", 100.0)]));
        assert_eq!(shares(&model, &config), [("r1".into(), 100.0, "100 %".into())]);
        expected["spec"]["rules"][0]["backendRefs"] =
            json!([{"kind": "Service", "name": "shop-prod-web-r1", "port": 80, "weight": 1}]);
        let there = model.object("httproutes", FRONT);
        assert_eq!(there["spec"], expected["spec"], "{path}");
        assert_eq!(there["metadata"]["labels"], expected["metadata"]["labels"], "{path}");
        let actions = planned(&model, &config);
        assert!(actions.iter().any(|action| action.changes.iter().any(|change| change.path == path)), "{actions:?}");
    }
}

#[test]
fn what_is_taken_is_marked_and_then_as_configured() {
    for (edit, _) in edits() {
        let config = gateway(json!({"conflicts": "take"}));
        let model = released(&config);
        let ours = model.object("httproutes", FRONT);
        model.meddle("kubectl-edit", "httproutes", FRONT, &edit);
        let actions = planned(&model, &config);
        assert_eq!(actions.len(), 1);
        assert!(actions[0].irreversible.as_ref().unwrap().contains("kubectl-edit"), "{actions:?}");
        done(deploy(&model, &config, "r1", 2));
        done(share(&model, &config, &[("r1", 100.0)]));
        let there = model.object("httproutes", FRONT);
        assert_eq!((&there["spec"], &there["metadata"]["labels"]), (&ours["spec"], &ours["metadata"]["labels"]));
        assert_eq!(planned(&model, &config), []);
    }
}

#[test]
fn what_the_configuration_changes_of_it_comes_with_the_traffic() {
    let model = released(&gateway(json!({})));
    let services = json!({"web": {"hosts": ["web.example", "www.example"], "paths": ["/shop"]}});
    let config = gateway(json!({"services": services, "preview": {"host": "{revision}.example"}}));
    let actions = planned(&model, &config);
    let [own, users] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(own.summary, "the HTTPRoute shop-prod-web-r1");
    assert_eq!(users.summary, "the HTTPRoute shop-prod-web that leads users to web");
    let paths: Vec<&str> = users.changes.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(paths, ["route.spec.hostnames.1", "route.spec.rules.0.matches.0.path.value"]);
    done(deploy(&model, &config, "r1", 2));
    done(share(&model, &config, &[("r1", 100.0)]));
    assert_eq!(planned(&model, &config), []);
}

#[test]
fn shares_that_others_change_are_no_refusal() {
    let config = gateway(json!({}));
    let by_hand = |name: &str| {
        json!({"spec": {"rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
            "backendRefs": [{"kind": "Service", "name": name, "port": 80, "weight": 7}]}]}})
    };
    for edit in [by_hand("by-hand"), by_hand("shop-prod-web-r1"), json!({"spec": {"rules": []}})] {
        let model = released(&config);
        model.meddle("kubectl-edit", "httproutes", FRONT, &edit);
        let refused = planned(&model, &config).into_iter().any(|action| action.summary.contains("refused"));
        assert!(!refused, "{edit}");
        done(deploy(&model, &config, "r1", 2));
        done(share(&model, &config, &[("r1", 100.0)]));
        assert_eq!(shares(&model, &config), [("r1".into(), 100.0, "100 %".into())]);
        assert_eq!(planned(&model, &config), []);
    }
}

#[test]
fn the_server_checks_the_first_one_too() {
    let model = Model::new();
    let config = gateway(json!({}));
    model.0.borrow_mut().requests.clear();
    planned(&model, &config);
    assert!(model.0.borrow().requests.contains(&format!("DRY httproutes {FRONT}")));
    assert_eq!(model.names("httproutes"), [""; 0]);
}
