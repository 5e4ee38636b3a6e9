//! What others made and the configuration names.

use basb_plugin::provider::{ActionKind, Provider};
use basb_plugin::{FailureCode, Weight};
use serde_json::json;

use super::cluster::Model;
use super::{config, deploy, desired, done, gateway, retire, service, share, shares};
use crate::Kubernetes;
use crate::view::adopted_id;

/// A Deployment of others, and a Service that leads to it.
fn others(model: &Model) {
    let deployment = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"replicas": 3,
        "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web", "v": "1"}}}}});
    model.meddle("kubectl", "deployments", "web", &deployment);
    let other = json!({"spec": {"replicas": 1, "selector": {"matchLabels": {"app": "db"}},
        "template": {"metadata": {"labels": {"app": "db"}}}}});
    model.meddle("kubectl", "deployments", "db", &other);
    model.meddle("kubectl", "services", "web", &json!({"spec": {"selector": {"app": "web"}, "clusterIP": "10.0.0.1"}}));
}

#[test]
fn a_service_of_others_is_taken_over_and_given_back() {
    let model = Model::new();
    others(&model);
    let config = config(json!({"services": {"web": {"service": "web"}}}));
    let old = adopted_id("web");
    assert_eq!(shares(&model, &config), [(old.clone(), 100.0, "100 %".into())]);
    let cx = model.host().provider_context();
    let plan = Kubernetes::plan(&cx, &config, &desired("r1", 2)).unwrap();
    let over = plan.actions.iter().find(|action| action.kind == ActionKind::Replace).unwrap();
    assert!(over.summary.contains("now to web"), "{plan:?}");

    done(deploy(&model, &config, "r1", 2));
    let failure = share(&model, &config, &[(&old, 90.0), ("r1", 10.0)]).unwrap_err();
    assert!(failure.message.contains("use a gateway"), "{failure}");
    done(share(&model, &config, &[("r1", 100.0)]));
    let front = model.object("services", "web");
    assert_eq!(front["spec"]["selector"].as_object().unwrap().len(), 4);
    assert_eq!(
        (&front["spec"]["selector"]["basb-host/revision"], &front["spec"]["clusterIP"]),
        (&json!("r1"), &json!("10.0.0.1"))
    );
    assert_eq!(shares(&model, &config), [("r1".into(), 100.0, "100 %".into())]);

    done(share(&model, &config, &[(&old, 100.0)]));
    assert_eq!(model.object("services", "web")["spec"]["selector"], json!({"app": "web"}));
    done(share(&model, &config, &[("r1", 100.0)]));
    retire(&model, &config, &old).unwrap();
    assert_eq!(model.object("deployments", "web")["spec"]["replicas"], 0);
    done(share(&model, &config, &[]));
    retire(&model, &config, "r1").unwrap();
    assert!(model.names("services").contains(&"web".to_owned()), "it is theirs");
    assert_eq!(model.names("deployments"), ["db", "web"]);
}

#[test]
fn a_route_of_others_shares_out_between_theirs_and_ours() {
    let model = Model::new();
    others(&model);
    let route = json!({"spec": {"hostnames": ["web.example"], "rules": [{"filters": ["kept"],
        "backendRefs": [{"name": "web", "port": 8080}]}]}});
    model.meddle("kubectl", "httproutes", "main", &route);
    let config = gateway(json!({"services": {"web": {"route": "main"}}}));
    let old = adopted_id("web");
    assert_eq!(shares(&model, &config), [(old.clone(), 100.0, "100 %".into())]);
    done(deploy(&model, &config, "r1", 2));
    done(share(&model, &config, &[(&old, 90.0), ("r1", 10.0)]));
    let rule = model.object("httproutes", "main")["spec"]["rules"][0].clone();
    assert_eq!(rule["filters"], json!(["kept"]));
    assert_eq!(rule["backendRefs"][0], json!({"name": "web", "port": 8080, "weight": 9}));
    assert_eq!(rule["backendRefs"][1]["name"], "shop-prod-web-r1");
    // The same shares in other numbers: a route of others is not written to for them.
    let mut scaled = rule.clone();
    (scaled["backendRefs"][0]["weight"], scaled["backendRefs"][1]["weight"]) = (json!(900), json!(100));
    model.meddle("kubectl", "httproutes", "main", &json!({"spec": {"rules": [scaled]}}));
    model.changes();
    done(share(&model, &config, &[(&old, 90.0), ("r1", 10.0)]));
    assert_eq!(model.changes(), [""; 0]);
    done(share(&model, &config, &[("r1", 100.0)]));
    // Theirs can be gone back to although the route does not name it any more.
    done(share(&model, &config, &[(&old, 100.0)]));
    assert_eq!(shares(&model, &config), [(old, 100.0, "100 %".into())]);
}

#[test]
fn what_the_configuration_names_must_be_there() {
    let model = Model::new();
    let config = config(json!({"services": {"web": {"service": "missing"}}}));
    let cx = model.host().provider_context();
    let failure = Kubernetes::read(&cx, &config, &service()).unwrap_err();
    assert_eq!((failure.code, failure.path.as_deref()), (FailureCode::NotFound, Some("/services/web/service")));
    let failure = Kubernetes::traffic(&cx, &config, "k", &service(), &[("r9".into(), Weight::FULL)], None).unwrap_err();
    assert_eq!(failure.code, FailureCode::NotFound);
}
