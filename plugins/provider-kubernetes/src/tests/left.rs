//! Users' route, left behind where pods make the shares: what it leads to stays, and whoever would take it away is told.

use basb_plugin::doors::Level;
use basb_plugin::http::HttpError;
use basb_plugin::provider::{Provider, ServicePlan};
use basb_plugin::{Failure, FailureCode, Retry};
use serde_json::json;

use super::cluster::{Fault, Model, status};
use super::{config, deploy, desired, done, gateway, retire, service, share};
use crate::view::adopted_id;
use crate::{Config, Kubernetes};

const FRONT: &str = "shop-prod-web";

/// A cluster where users come by a route, with these shares.
fn by_route(shares: &[(&str, f64)]) -> Model {
    let model = Model::new();
    let config = gateway(json!({}));
    for (revision, _) in shares {
        done(deploy(&model, &config, revision, 2));
    }
    done(share(&model, &config, shares));
    model.changes();
    model
}

/// The configurations in which nothing changes a route.
fn without_gateway() -> [Config; 2] {
    [config(json!({})), config(json!({"traffic": "replicas"}))]
}

fn plan(model: &Model, config: &Config, revision: &str) -> Result<ServicePlan, Failure> {
    Kubernetes::plan(&model.host().provider_context(), config, &desired(revision, 2))
}

fn asked_for_routes(model: &Model) -> usize {
    let all = std::mem::take(&mut model.0.borrow_mut().requests);
    all.iter().filter(|request| request.starts_with("GET httproutes")).count()
}

fn remove_route(model: &Model) {
    model.0.borrow_mut().objects.remove(&("httproutes".to_owned(), FRONT.to_owned()));
}

#[test]
fn a_revision_that_a_left_route_leads_to_is_not_taken_away() {
    for config in without_gateway() {
        let model = by_route(&[("r1", 100.0)]);
        let told = |failure: &Failure| {
            assert_eq!((failure.code, failure.retry), (FailureCode::Conflict, Retry::Never), "{failure:?}");
            assert_eq!(failure.path.as_deref(), Some("/gateway"));
            for words in [
                "the HTTPRoute shop-prod-web in the namespace shop still leads users of web to revision r1",
                "names no `gateway`",
                "they would get errors",
                "`kubectl delete httproute shop-prod-web --namespace shop`",
                "by the Service shop-prod-web",
                "put `gateway` back",
            ] {
                assert!(failure.message.contains(words), "{words}: {failure}");
            }
        };
        // Another release is refused before anything is changed.
        told(&plan(&model, &config, "r2").unwrap_err());
        assert_eq!(model.changes(), [""; 0]);
        // One that went on all the same moves those who come by the Service, and leaves the others what they are led to.
        done(deploy(&model, &config, "r2", 2));
        done(share(&model, &config, &[("r2", 100.0)]));
        model.changes();
        told(&retire(&model, &config, "r1").unwrap_err());
        assert_eq!(model.changes(), [""; 0]);
        assert_eq!(model.names("deployments"), ["shop-prod-web-r1", "shop-prod-web-r2"]);

        remove_route(&model);
        plan(&model, &config, "r2").unwrap();
        retire(&model, &config, "r1").unwrap();
        assert_eq!(model.names("deployments"), ["shop-prod-web-r2"]);
    }
}

#[test]
fn the_release_that_it_leads_to_is_no_conflict_and_no_action() {
    for config in without_gateway() {
        let model = by_route(&[("r1", 100.0)]);
        let host = model.host();
        let plan = Kubernetes::plan(&host.provider_context(), &config, &desired("r1", 2)).unwrap();
        assert_eq!(plan.actions, [], "nothing would ever carry it out");
        let warned =
            |(level, line): &(Level, String)| *level == Level::Warn && line.contains("kubectl delete httproute");
        assert_eq!(host.log_lines().iter().filter(|line| warned(line)).count(), 1);
        // What it gives nothing to is in nobody's way.
        let rule = json!({"backendRefs": [{"name": "shop-prod-web-r1", "weight": 1}, {"name": "shop-prod-web-r2", "weight": 0}]});
        done(deploy(&model, &config, "r2", 1));
        model.meddle("basb-host", "httproutes", FRONT, &json!({"spec": {"rules": [rule]}}));
        retire(&model, &config, "r2").unwrap();
    }
}

#[test]
fn every_rule_of_it_counts_and_an_older_version_too() {
    let model = by_route(&[("r1", 100.0)]);
    let rules = json!([{"backendRefs": [{"name": "others"}]}, {"backendRefs": [{"name": "shop-prod-web-r1"}]}]);
    model.meddle("kubectl", "httproutes", FRONT, &json!({"spec": {"rules": rules}}));
    for version in ["v1", "v1beta1"] {
        model.0.borrow_mut().gateway = Some(version);
        assert_eq!(plan(&model, &config(json!({})), "r2").unwrap_err().code, FailureCode::Conflict, "{version}");
    }
}

#[test]
fn a_gateway_api_that_is_away_in_the_middle_of_a_run_takes_nothing_away() {
    let model = by_route(&[("r1", 60.0), ("r2", 40.0)]);
    let config = gateway(json!({}));
    let away =
        || Fault::Before(Ok(status(404, "NotFound", "the server could not find the requested resource", json!({}))));
    // Users' Service leads to the one that has most, so by pods the other one seems to have nothing.
    model.fault("GET gateway-api", away());
    let failure = retire(&model, &config, "r2").unwrap_err();
    assert_eq!(failure.code, FailureCode::Conflict);
    assert_ne!(failure.retry, Retry::Never, "it may come back");
    assert!(failure.message.contains("says that it has no Gateway API"), "{failure}");
    model.fault("GET gateway-api", away());
    assert!(plan(&model, &config, "r1").unwrap_err().message.contains("to revision r2"));
    assert_eq!(model.changes(), [""; 0]);
}

#[test]
fn whoever_never_had_a_gateway_needs_neither_role_nor_grant_for_it() {
    let forbidden = || Ok(status(403, "Forbidden", "httproutes is forbidden: cannot get resource", json!({})));
    for config in without_gateway() {
        let model = Model::new();
        done(deploy(&model, &config, "r1", 2));
        done(share(&model, &config, &[("r1", 100.0)]));
        for answer in [|| None, || Some(true), || Some(false)] {
            let refuse = || match answer() {
                None => {}
                Some(true) => model.fault("GET httproutes", Fault::Before(forbidden())),
                Some(false) => model.fault("GET httproutes", Fault::Before(Err(HttpError::Denied("GET".into())))),
            };
            asked_for_routes(&model);
            refuse();
            plan(&model, &config, "r1").unwrap();
            assert_eq!(asked_for_routes(&model), 1);
            done(deploy(&model, &config, "r2", 1));
            asked_for_routes(&model);
            refuse();
            assert!(retire(&model, &config, "r2").unwrap() > 1);
            assert_eq!(asked_for_routes(&model), 1, "once for all of its calls");
        }
        // What nobody knows is no answer.
        model.fault("GET httproutes", Fault::Before(Err(HttpError::TimedOut("30 s".into()))));
        assert_eq!(retire(&model, &config, "r2").unwrap_err().code, FailureCode::TimedOut);
        // Without the Gateway API, and when it is only looked at, there is nothing to ask for.
        model.0.borrow_mut().gateway = None;
        plan(&model, &config, "r1").unwrap();
        asked_for_routes(&model);
        Kubernetes::read(&model.host().provider_context(), &config, &service()).unwrap();
        done(share(&model, &config, &[("r1", 100.0)]));
        assert_eq!(asked_for_routes(&model), 0);
    }
}

#[test]
fn what_others_made_stays_behind_a_left_route_of_theirs() {
    let model = Model::new();
    let labels = json!({"app": "web"});
    let deployment = json!({"spec": {"replicas": 3, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}}});
    model.meddle("kubectl", "deployments", "web", &deployment);
    model.meddle("kubectl", "services", "web", &json!({"spec": {"selector": labels}}));
    model.meddle("kubectl", "httproutes", "main", &json!({"spec": {"rules": [{"backendRefs": [{"name": "web"}]}]}}));
    let config = config(json!({"services": {"web": {"route": "main"}}}));
    let old = adopted_id("web");
    let failure = plan(&model, &config, "r1").unwrap_err();
    assert!(failure.message.contains(&format!("to revision {old}")), "{failure}");
    assert!(failure.message.contains("have that route lead elsewhere"), "{failure}");
    assert_eq!(retire(&model, &config, &old).unwrap_err().code, FailureCode::Conflict);
    assert_eq!(model.object("deployments", "web")["spec"]["replicas"], 3);
}
