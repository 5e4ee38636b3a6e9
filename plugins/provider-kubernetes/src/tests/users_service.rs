//! Users' Service, as others leave it: a plan tells what the next traffic changes of it, and what that takes from whom.

use basb_plugin::provider::{ActionKind, PlannedAction, Provider};
use serde_json::{Value, json};

use super::cluster::Model;
use super::{config, deploy, desired, done, gateway, share};
use crate::{Config, Kubernetes};

const FRONT: &str = "shop-prod-web";

/// Both ways of sharing requests out, each with a release.
fn released() -> [(Model, Config); 2] {
    [(None, config(json!({}))), (Some("v1"), gateway(json!({})))].map(|(way, config)| {
        let model = Model::new();
        model.0.borrow_mut().gateway = way;
        done(deploy(&model, &config, "r1", 2));
        done(share(&model, &config, &[("r1", 100.0)]));
        (model, config)
    })
}

fn planned(model: &Model, config: &Config) -> Vec<PlannedAction> {
    let cx = model.host().provider_context();
    Kubernetes::plan(&cx, config, &desired("r1", 2)).unwrap().actions
}

#[test]
fn what_others_change_of_it_is_told_and_comes_back_with_the_traffic() {
    let edits: [(Value, &str); 2] = [
        (json!({"spec": {"type": "LoadBalancer"}}), "service.spec.type"),
        (json!({"metadata": {"labels": {"app.kubernetes.io/part-of": "theirs"}}}), {
            "service.metadata.labels.app.kubernetes.io/part-of"
        }),
    ];
    for (edit, path) in edits {
        for (model, config) in released() {
            assert_eq!(planned(&model, &config), []);
            let ours = model.object("services", FRONT);
            model.meddle("kubectl-edit", "services", FRONT, &edit);

            let actions = planned(&model, &config);
            let [action] = &actions[..] else { panic!("{actions:?}") };
            assert_eq!(action.kind, ActionKind::Update);
            assert_eq!(action.summary, "the Service shop-prod-web that leads users to web, with the next traffic");
            assert!(action.changes.iter().any(|change| change.path == path), "{actions:?}");
            assert!(action.irreversible.as_ref().unwrap().contains("kubectl-edit"), "{actions:?}");

            done(share(&model, &config, &[("r1", 100.0)]));
            let there = model.object("services", FRONT);
            assert_eq!((&there["spec"], &there["metadata"]["labels"]), (&ours["spec"], &ours["metadata"]["labels"]));
            assert_eq!(planned(&model, &config), []);
        }
    }
}

/// Ports are told apart by number: one that others renumbered would stand beside ours, and the server refuses both.
#[test]
fn a_port_that_cannot_stand_beside_ours_is_put_back() {
    let ports = json!([{"name": "http", "port": 8080, "targetPort": "http", "protocol": "TCP"}]);
    for (model, config) in released() {
        let ours = model.object("services", FRONT);
        model.meddle("kubectl-patch", "services", FRONT, &json!({"spec": {"ports": ports}}));
        let actions = planned(&model, &config);
        let [action] = &actions[..] else { panic!("{actions:?}") };
        let paths: Vec<&str> = action.changes.iter().map(|change| change.path.as_str()).collect();
        assert_eq!(paths, ["service.spec.ports.0.port"]);
        assert!(action.irreversible.as_ref().unwrap().contains("Duplicate value"), "{actions:?}");

        done(share(&model, &config, &[("r1", 100.0)]));
        assert_eq!(model.object("services", FRONT)["spec"], ours["spec"]);
        assert_eq!(planned(&model, &config), []);
    }
}

#[test]
fn another_port_in_the_configuration_is_told() {
    for (model, before) in released() {
        let mut config = before;
        config.service_port = 8080;
        let actions = planned(&model, &config);
        let users: Vec<_> = actions.iter().filter(|action| action.summary.contains("leads users to web")).collect();
        assert!(users.iter().any(|action| action.summary.starts_with("the Service shop-prod-web ")), "{actions:?}");
        assert!(users.iter().all(|action| action.irreversible.is_none()), "{actions:?}");
        done(deploy(&model, &config, "r1", 2));
        done(share(&model, &config, &[("r1", 100.0)]));
        assert_eq!(planned(&model, &config), []);
    }
}

#[test]
fn where_it_leads_in_the_middle_of_a_rollout_is_no_difference() {
    for (model, config) in released() {
        done(deploy(&model, &config, "r2", 2));
        let cx = model.host().provider_context();
        let half = [("r1", 50.0), ("r2", 50.0)];
        let mut state = None;
        let weights: Vec<_> = half
            .iter()
            .map(|(id, percent)| ((*id).to_owned(), basb_plugin::Weight::from_percent(*percent).unwrap()))
            .collect();
        let service = super::service();
        while let basb_plugin::provider::Progress::Running(pending) =
            Kubernetes::traffic(&cx, &config, "key", &service, &weights, state.as_deref()).unwrap()
        {
            state = Some(pending.state);
        }
        let told = planned(&model, &config).into_iter().map(|action| action.summary);
        let users: Vec<String> = told.filter(|summary| summary.contains("leads users")).collect();
        assert_eq!(users, [""; 0]);
    }
}
