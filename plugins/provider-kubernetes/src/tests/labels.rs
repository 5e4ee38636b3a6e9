//! Labels of users' Service and route that somebody has taken off or changed: they hold no way back up.

use basb_plugin::doors::Level;
use basb_plugin::provider::Provider;
use basb_plugin::{Failure, FailureCode, Weight};
use serde_json::{Value, json};

use super::cluster::Model;
use super::{config, deploy, desired, done, gateway, retire, service, share, shares};
use crate::{Config, Kubernetes};

const FRONT: &str = "shop-prod-web";

/// What somebody does to labels.
#[derive(Clone, Copy, Debug)]
enum Edit {
    TakesOff(&'static str),
    TakesOffAll,
    Changes(&'static str),
}

const EDITS: [Edit; 4] = [
    Edit::TakesOff("basb-host/managed-by"),
    Edit::TakesOff("basb-host/environment"),
    Edit::TakesOffAll,
    Edit::Changes("basb-host/managed-by"),
];

impl Edit {
    fn make(self, model: &Model, kind: &str) {
        match self {
            Edit::Changes(label) => {
                model.meddle("kubectl-label", kind, FRONT, &json!({"metadata": {"labels": {label: "theirs"}}}));
            }
            Edit::TakesOff(_) | Edit::TakesOffAll => {
                let mut state = model.0.borrow_mut();
                let object = state.objects.get_mut(&(kind.to_owned(), FRONT.to_owned())).unwrap();
                let labels = object["metadata"]["labels"].as_object_mut().unwrap();
                labels.retain(|key, _| matches!(self, Edit::TakesOff(label) if key != label));
            }
        }
    }
}

/// In the middle of a rollout that is to go back: by a route, and where all of the traffic has moved behind one Service.
fn candidate(by_route: bool) -> (Model, Config) {
    let model = Model::new();
    let config = if by_route { gateway(json!({})) } else { config(json!({})) };
    done(deploy(&model, &config, "r1", 2));
    done(share(&model, &config, &[("r1", 100.0)]));
    done(deploy(&model, &config, "r2", 1));
    done(share(&model, &config, if by_route { &[("r1", 90.0), ("r2", 10.0)] } else { &[("r2", 100.0)] }));
    (model, config)
}

/// Which of the two, and by which way.
const WHERE: [(&str, bool); 3] = [("services", false), ("services", true), ("httproutes", true)];

/// Back to the first one; how often the operator was warned.
fn back(model: &Model, config: &Config) -> Result<usize, Failure> {
    let host = model.host();
    Kubernetes::traffic(&host.provider_context(), config, "k", &service(), &[("r1".into(), Weight::FULL)], None)?;
    let warned = |(level, line): &(Level, String)| *level == Level::Warn && line.contains("they are put back");
    Ok(host.log_lines().iter().filter(|line| warned(line)).count())
}

#[test]
fn a_way_back_goes_on_and_puts_them_back() {
    for edit in EDITS {
        for (kind, by_route) in WHERE {
            let (model, config) = candidate(by_route);
            let ours = model.object(kind, FRONT)["metadata"]["labels"].clone();
            edit.make(&model, kind);
            assert_eq!(back(&model, &config).unwrap(), 1, "{edit:?} of {kind}");
            assert_eq!(shares(&model, &config), [("r1".into(), 100.0, "100 %".into())]);
            assert_eq!(model.object(kind, FRONT)["metadata"]["labels"], ours, "{edit:?} of {kind}");
            assert_eq!(back(&model, &config).unwrap(), 0, "nothing is wrong any more");
            retire(&model, &config, "r2").unwrap();
        }
    }
}

#[test]
fn what_others_changed_beside_them_stays_as_it_is() {
    let (model, config) = candidate(true);
    let theirs = json!({"metadata": {"labels": {"basb-host/managed-by": "theirs", "app.kubernetes.io/part-of": "theirs"}},
        "spec": {"hostnames": ["other.example"]}});
    model.meddle("kubectl-edit", "httproutes", FRONT, &theirs);
    back(&model, &config).unwrap();
    let there = model.object("httproutes", FRONT);
    assert_eq!(there["spec"]["hostnames"], json!(["other.example"]));
    let labels = &there["metadata"]["labels"];
    assert_eq!(
        (&labels["basb-host/managed-by"], &labels["app.kubernetes.io/part-of"]),
        (&json!("basb-host"), &json!("theirs"))
    );
}

#[test]
fn what_is_another_owners_or_leads_elsewhere_is_still_left_alone() {
    let other: Value = json!({"metadata": {"labels": {"basb-host/service": "other"}}});
    for (kind, by_route) in WHERE {
        let (model, config) = candidate(by_route);
        model.meddle("basb-host-other", kind, FRONT, &other);
        let before = model.object(kind, FRONT);
        assert_eq!(back(&model, &config).unwrap_err().code, FailureCode::Conflict, "{kind}");
        assert_eq!(model.object(kind, FRONT), before);

        let (model, config) = candidate(by_route);
        Edit::TakesOffAll.make(&model, kind);
        let elsewhere = match kind {
            "services" => json!({"spec": {"selector": {"basb-host/service": "other"}}}),
            _ => json!({"spec": {"rules": [{"backendRefs": [{"name": "shop-prod-web-r1"}, {"name": "by-hand"}]}]}}),
        };
        model.meddle("kubectl", kind, FRONT, &elsewhere);
        let before = model.object(kind, FRONT);
        assert_eq!(back(&model, &config).unwrap_err().code, FailureCode::Conflict, "{kind}");
        assert_eq!(model.object(kind, FRONT), before);
    }
}

#[test]
fn a_plan_tells_what_users_service_lacks_and_a_removal_is_as_strict_as_ever() {
    for edit in EDITS {
        for (kind, by_route) in WHERE {
            let (model, config) = candidate(by_route);
            back(&model, &config).unwrap();
            edit.make(&model, kind);
            assert_eq!(retire(&model, &config, "r2").unwrap_err().code, FailureCode::Conflict, "{edit:?} of {kind}");
            let cx = model.host().provider_context();
            let plan = Kubernetes::plan(&cx, &config, &desired("r1", 2));
            // A route is refused by the deployment too: no plan promises what it would not do.
            if kind == "httproutes" || matches!(edit, Edit::Changes(_)) {
                assert_eq!(plan.unwrap_err().code, FailureCode::Conflict, "{edit:?} of {kind}");
                continue;
            }
            let actions = plan.unwrap().actions;
            let [action] = &actions[..] else { panic!("{edit:?}: {actions:?}") };
            let said = "the Service shop-prod-web that leads users to web, with the next traffic";
            assert_eq!((action.summary.as_str(), &action.irreversible), (said, &None));
            assert!(
                action.changes.iter().all(|change| change.path.starts_with("service.metadata.labels.")),
                "{action:?}"
            );
            // A run of the same release does it.
            Kubernetes::read(&cx, &config, &service()).unwrap();
            done(deploy(&model, &config, "r1", 2));
            back(&model, &config).unwrap();
            assert_eq!(Kubernetes::plan(&cx, &config, &desired("r1", 2)).unwrap().actions, []);
        }
    }
}
