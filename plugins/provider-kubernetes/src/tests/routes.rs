//! Traffic by the weights of a route.

use basb_cloud_kit::{Waiting, encode_state};
use basb_plugin::provider::{Action, ActionKind, Progress, Provider, Scaling};
use basb_plugin::{Failure, FailureCode, Retry, Timestamp};
use serde_json::json;

use super::cluster::{Fault, Model, status};
use super::{deploy, desired, done, gateway, retire, running, service, share, shares};
use crate::Kubernetes;

const R1: &str = "shop-prod-web-r1";
const FRONT: &str = "shop-prod-web";

#[test]
fn a_release_goes_through_a_canary_and_leaves_nothing_behind() {
    let model = Model::new();
    let config = gateway(json!({"preview": {"host": "{revision}.{service}.preview.example"}}));
    assert_eq!(done(deploy(&model, &config, "r1", 2)), "revision r1 as the Deployment shop-prod-web-r1 with 2 pods");
    assert_eq!(done(share(&model, &config, &[("r1", 100.0)])), "traffic: r1 100 %");
    done(deploy(&model, &config, "r2", 1));
    assert_eq!(done(share(&model, &config, &[("r1", 87.5), ("r2", 12.5)])), "traffic: r1 87.5 %, r2 12.5 %");
    assert_eq!(shares(&model, &config), [("r1".into(), 87.5, "87.5 %".into()), ("r2".into(), 12.5, "12.5 %".into())]);
    let route = model.object("httproutes", FRONT);
    assert_eq!(route["spec"]["parentRefs"], json!([{"name": "main", "namespace": "gateways"}]));
    assert_eq!(route["spec"]["hostnames"], json!(["web.example"]));
    let refs = &route["spec"]["rules"][0]["backendRefs"];
    assert_eq!((&refs[0]["name"], &refs[0]["weight"], &refs[1]["weight"]), (&json!(R1), &json!(7), &json!(1)));
    // Inside of the cluster, the one with most.
    assert_eq!(model.object("services", FRONT)["spec"]["selector"]["basb-host/revision"], "r1");
    let alone = model.object("httproutes", "shop-prod-web-r2");
    assert_eq!(alone["spec"]["hostnames"], json!(["r2.web.preview.example"]));
    let cx = model.host().provider_context();
    let report = Kubernetes::instances(&cx, &config, &service(), "r2").unwrap();
    assert_eq!((report.desired, report.available, report.hopeless), (1, 1, false));
    assert_eq!(report.preview_url.as_deref(), Some("https://r2.web.preview.example"));

    assert_eq!(retire(&model, &config, "r2").unwrap_err().code, FailureCode::Conflict);
    done(share(&model, &config, &[("r2", 100.0)]));
    assert!(retire(&model, &config, "r1").unwrap() > 1, "it waits for its pods");
    assert_eq!(model.names("deployments"), ["shop-prod-web-r2"]);
    assert_eq!(retire(&model, &config, "r1").unwrap(), 1, "what is gone is done");
    done(share(&model, &config, &[]));
    retire(&model, &config, "r2").unwrap();
    for kind in ["deployments", "services", "httproutes"] {
        assert_eq!(model.names(kind), [""; 0], "{kind}");
    }
    assert_eq!(Kubernetes::read(&cx, &config, &service()).unwrap(), None);
}

#[test]
fn weights_are_small_and_the_same_shares_in_other_numbers_are_no_difference() {
    let model = Model::new();
    let config = gateway(json!({}));
    let weights = || -> Vec<u64> {
        let route = model.object("httproutes", FRONT);
        let refs = route["spec"]["rules"][0]["backendRefs"].as_array().unwrap().clone();
        refs.iter().map(|of| of["weight"].as_u64().unwrap()).collect()
    };
    done(deploy(&model, &config, "r1", 1));
    done(share(&model, &config, &[("r1", 100.0)]));
    assert_eq!(weights(), [1]);
    done(deploy(&model, &config, "r2", 1));
    for (one, other, expected) in
        [(99.9, 0.1, [999, 1]), (66.67, 33.33, [6_667, 3_333]), (0.01, 99.99, [1, 9_999]), (90.0, 10.0, [9, 1])]
    {
        done(share(&model, &config, &[("r1", one), ("r2", other)]));
        assert_eq!(weights(), expected);
        let told: Vec<f64> = shares(&model, &config).into_iter().map(|(_, percent, _)| percent).collect();
        assert_eq!(told, [one, other]);
    }
    // As an older version wrote it: the same shares, and nothing to be done.
    let mut route = model.object("httproutes", FRONT);
    for (index, weight) in [(0, 9_000), (1, 1_000)] {
        route["spec"]["rules"][0]["backendRefs"][index]["weight"] = json!(weight);
    }
    model.meddle("basb-host", "httproutes", FRONT, &route);
    assert_eq!(weights(), [9_000, 1_000]);
    assert_eq!(shares(&model, &config), [("r1".into(), 90.0, "90 %".into()), ("r2".into(), 10.0, "10 %".into())]);
    let cx = model.host().provider_context();
    assert_eq!(Kubernetes::plan(&cx, &config, &desired("r2", 1)).unwrap().actions, []);
}

#[test]
fn a_pod_serves_on_until_nobody_is_led_there_any_more() {
    let model = Model::new();
    let config = gateway(json!({"pods": {"drain": {"seconds": 5}}}));
    let pod = |settings: &str| {
        let mut wanted = desired("r1", 2);
        wanted.workload.settings = settings.into();
        let cx = model.host().provider_context();
        Kubernetes::apply(&cx, &config, "k", &Action::Deploy(Box::new(wanted)), None).unwrap();
        model.object("deployments", R1)["spec"]["template"]["spec"].clone()
    };
    let grace = |pod: &serde_json::Value| pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    let every = pod("{}");
    assert_eq!(every["containers"][0]["lifecycle"], json!({"preStop": {"sleep": {"seconds": 5}}}));
    assert_eq!(grace(&every), 10, "what the program has to end is still its own");
    let own = pod(r#"{"grace": 30, "drain": {"seconds": 3, "command": ["/bin/sleep", "3"]}}"#);
    assert_eq!(own["containers"][0]["lifecycle"], json!({"preStop": {"exec": {"command": ["/bin/sleep", "3"]}}}));
    assert_eq!(grace(&own), 33);
    let none = pod(r#"{"drain": {"seconds": 0}}"#);
    assert_eq!((none["containers"][0].get("lifecycle"), grace(&none)), (None, 5));
}

#[test]
fn what_runs_is_hardened_and_says_whose_it_is() {
    let model = Model::new();
    let config = gateway(json!({"pods": {"resources": {"requests": {"cpu": "100m"}}, "nodeSelector": {"a": "b"}}}));
    let mut wanted = desired("r1", 2);
    wanted.workload.settings = r#"{"command": ["serve", "{port}"], "port": 9000, "secrets": ["keys"], "user": 7,
        "readOnlyRoot": "read-only", "scratch": ["/tmp"], "tolerations": [{"key": "k", "operator": "Exists"}]}"#
        .into();
    let cx = model.host().provider_context();
    Kubernetes::apply(&cx, &config, "k", &Action::Deploy(Box::new(wanted)), None).unwrap();
    let there = model.object("deployments", R1);
    for (key, value) in [
        ("basb-host/managed-by", "basb-host"),
        ("basb-host/deployment", "shop"),
        ("basb-host/environment", "prod"),
        ("basb-host/service", "web"),
        ("basb-host/revision", "r1"),
        ("app.kubernetes.io/name", "web"),
        ("app.kubernetes.io/version", "r1"),
    ] {
        assert_eq!(there["metadata"]["labels"][key], value);
        assert_eq!(there["spec"]["template"]["metadata"]["labels"][key], value);
    }
    let pod = &there["spec"]["template"]["spec"];
    assert_eq!((&pod["automountServiceAccountToken"], &pod["nodeSelector"]["a"]), (&json!(false), &json!("b")));
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["terminationGracePeriodSeconds"], 5);
    let container = &pod["containers"][0];
    assert_eq!(container["args"], json!(["serve", "9000"]));
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/healthz");
    assert_eq!(container["envFrom"], json!([{"secretRef": {"name": "keys"}}]));
    assert_eq!(container["resources"], json!({"requests": {"cpu": "100m"}, "limits": {"memory": "67108864"}}));
    assert_eq!(
        container["securityContext"],
        json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "runAsUser": 7,
            "readOnlyRootFilesystem": true})
    );
    let env = container["env"].as_array().unwrap();
    // What Kubernetes would take for a variable is what the file says.
    assert!(env.contains(&json!({"name": "PRICE", "value": "5$$ $$(X) 9000"})), "{env:?}");
    assert!(env.contains(&json!({"name": "PORT", "value": "9000"})));
    assert_eq!(
        (&there["spec"]["minReadySeconds"], &there["spec"]["progressDeadlineSeconds"]),
        (&json!(3), &json!(600))
    );
}

#[test]
fn a_plan_is_the_servers_own_and_empty_where_nothing_differs() {
    let model = Model::new();
    let config = gateway(json!({}));
    let cx = model.host().provider_context();
    let plan = Kubernetes::plan(&cx, &config, &desired("r1", 2)).unwrap();
    let kinds: Vec<ActionKind> = plan.actions.iter().map(|action| action.kind).collect();
    assert!(kinds.iter().all(|kind| *kind == ActionKind::Create) && kinds.len() == 5, "{plan:?}");
    assert!(plan.actions.iter().flat_map(|a| &a.changes).all(|change| !format!("{change:?}").contains("5$$")));
    assert_eq!(model.names("deployments"), [""; 0]);
    done(deploy(&model, &config, "r1", 2));
    done(share(&model, &config, &[("r1", 100.0)]));
    assert_eq!(Kubernetes::plan(&cx, &config, &desired("r1", 2)).unwrap().actions, []);

    let plan = Kubernetes::plan(&cx, &config, &desired("r1", 5)).unwrap();
    assert_eq!(plan.actions.len(), 1);
    assert_eq!(plan.actions[0].summary, "scale revision r1 to 5 pods");

    // Another image, behind the host's back: it is told with whose it is, and refused.
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "other"}]}}}});
    model.meddle("kubectl-patch", "deployments", R1, &image);
    let plan = Kubernetes::plan(&cx, &config, &desired("r1", 2)).unwrap();
    assert_eq!((plan.actions.len(), plan.actions[0].kind), (1, ActionKind::Replace));
    assert!(plan.actions[0].summary.contains("will be refused"), "{plan:?}");
    assert!(plan.actions[0].summary.contains("conflict with \"kubectl-patch\""), "{plan:?}");
    let failure = deploy(&model, &config, "r1", 2).unwrap_err();
    assert_eq!(
        (failure.code, failure.retry, failure.path.as_deref()),
        (FailureCode::Conflict, Retry::Never, Some("/conflicts"))
    );
    assert!(failure.message.contains("kubectl-patch") && failure.message.contains("conflicts: take"), "{failure}");
    assert_eq!(model.object("deployments", R1)["spec"]["template"]["spec"]["containers"][0]["image"], "other");
    model.meddle("kubectl-scale", "deployments", R1, &json!({"spec": {"replicas": 3}}));
    assert_eq!(deploy(&model, &config, "r1", 2).unwrap_err().code, FailureCode::Conflict);
    assert_eq!(model.object("deployments", R1)["spec"]["replicas"], 3, "what is refused has changed nothing");

    // Or taken, where the operator says so; the plan says that it is lost.
    let taking = gateway(json!({"conflicts": "take"}));
    let plan = Kubernetes::plan(&cx, &taking, &desired("r1", 2)).unwrap();
    assert!(plan.actions[0].irreversible.as_ref().unwrap().contains("kubectl-patch"), "{plan:?}");
    done(deploy(&model, &taking, "r1", 2));
    assert_eq!(Kubernetes::plan(&cx, &config, &desired("r1", 2)).unwrap().actions, []);
}

#[test]
fn the_number_of_pods_and_the_traffic_are_never_somebody_elses() {
    let model = Model::new();
    let config = gateway(json!({}));
    done(deploy(&model, &config, "r1", 2));
    done(share(&model, &config, &[("r1", 100.0)]));
    model.meddle("kubectl", "deployments", R1, &json!({"spec": {"replicas": 7}}));
    model.meddle("kubectl", "httproutes", FRONT, &json!({"spec": {"rules": []}}));
    let cx = model.host().provider_context();
    assert_eq!(shares(&model, &config), []);
    let scaling = Scaling { service: service(), revision: "r1".into(), replicas: 3 };
    done(Kubernetes::apply(&cx, &config, "k", &Action::Scale(scaling), None));
    assert_eq!(model.object("deployments", R1)["spec"]["replicas"], 3);
    model.meddle("kubectl", "deployments", R1, &json!({"spec": {"replicas": 7}}));
    done(deploy(&model, &config, "r1", 2));
    assert_eq!(model.object("deployments", R1)["spec"]["replicas"], 2);
    done(share(&model, &config, &[("r1", 100.0)]));
    assert_eq!(shares(&model, &config), [("r1".into(), 100.0, "100 %".into())]);
}

#[test]
fn what_is_not_ours_is_left_alone() {
    for (kind, name) in [("deployments", R1), ("services", R1), ("services", FRONT), ("httproutes", FRONT)] {
        let model = Model::new();
        let config = gateway(json!({}));
        model.meddle("kubectl", kind, name, &json!({"metadata": {"labels": {"app": "x"}}, "spec": {"x": 1}}));
        let cx = model.host().provider_context();
        let failure = Kubernetes::plan(&cx, &config, &desired("r1", 2)).unwrap_err();
        assert_eq!((failure.code, failure.retry), (FailureCode::Conflict, Retry::Never), "{kind} {name}");
        assert!(failure.message.contains("not ours"), "{failure}");
        let failed = deploy(&model, &config, "r1", 2).and_then(|_| share(&model, &config, &[("r1", 100.0)]));
        assert_eq!(failed.unwrap_err().code, FailureCode::Conflict, "{kind} {name}");
        assert_eq!(model.object(kind, name)["spec"], json!({"x": 1}));
    }
}

#[test]
fn a_gateway_that_refuses_a_route_is_heard_and_one_that_is_slow_waited_for() {
    let model = Model::new();
    let config = gateway(json!({}));
    done(deploy(&model, &config, "r1", 1));
    model.0.borrow_mut().accepts = "";
    assert_eq!(running(share(&model, &config, &[("r1", 100.0)])), "the gateway takes the route shop-prod-web");
    model.0.borrow_mut().accepts = "False";
    let failure = share(&model, &config, &[("r1", 100.0)]).unwrap_err();
    assert_eq!(failure.code, FailureCode::Unhealthy);
    assert!(failure.message.contains("no listener has this host"), "{failure}");

    model.0.borrow_mut().accepts = "";
    let cx = model.host().provider_context();
    let state =
        basb_cloud_kit::encode_state(&basb_cloud_kit::Waiting::begin("accepted".to_owned(), basb_plugin::Timestamp(0)));
    let weights = [("r1".to_owned(), basb_plugin::Weight::FULL)];
    let failure = Kubernetes::traffic(&cx, &config, "k", &service(), &weights, Some(&state)).unwrap_err();
    assert_eq!((failure.code, failure.retry), (FailureCode::TimedOut, Retry::Never));
    assert!(failure.message.contains("parentRefs"), "{failure}");
}

#[test]
fn a_revision_is_deployed_when_the_gateways_lead_to_it_alone() {
    let model = Model::new();
    let config = gateway(json!({"preview": {"host": "{revision}.preview.example"}, "gateway":
        {"parentRefs": [{"name": "main"}], "acceptance": "30s"}}));
    let says = |conditions: serde_json::Value| {
        model.0.borrow_mut().says.insert(R1.into(), conditions);
    };
    let at = |seconds: u64, state: Option<&str>| {
        let cx = model.host().at(Timestamp(seconds * 1_000)).provider_context();
        Kubernetes::apply(&cx, &config, "key", &Action::Deploy(Box::new(desired("r1", 1))), state)
    };
    let state = |progress: Result<Progress, Failure>| match progress {
        Ok(Progress::Running(pending)) => pending.state,
        other => panic!("{other:?}"),
    };
    let begun = |step: &str, at: u64| encode_state(&Waiting::begin(step.to_owned(), Timestamp(at * 1_000)));

    // No gateway has looked: it goes on, for as long as a route may take, and then it has failed.
    says(json!([]));
    assert_eq!(running(at(100, None)), "the gateway takes the route shop-prod-web-r1");
    let first = state(at(100, None));
    let second = state(at(130, Some(&first)));
    let failure = at(131, Some(&second)).unwrap_err();
    assert_eq!((failure.code, failure.retry), (FailureCode::TimedOut, Retry::Never));
    assert!(failure.message.contains("the route shop-prod-web-r1 within 30 s"), "{failure}");
    // What an older Deployment was waited for does not count.
    running(at(131, Some(&begun("old-one-gone", 1))));

    // One that sees the route before the Service looks again; if that is all that it ever says, it is passed on.
    let accepted = json!({"type": "Accepted", "status": "True", "reason": "Accepted", "message": ""});
    let unresolved = json!({"type": "ResolvedRefs", "status": "False", "reason": "BackendNotFound",
        "message": "there is no Service shop-prod-web-r1"});
    says(json!([accepted, unresolved]));
    running(at(100, None));
    let failure = at(131, Some(&first)).unwrap_err();
    assert_eq!(failure.code, FailureCode::TimedOut);
    assert!(failure.message.contains("there is no Service shop-prod-web-r1 (BackendNotFound)"), "{failure}");

    // One that refuses it is heard at once.
    let refused = json!({"type": "Accepted", "status": "False", "reason": "NoMatchingListenerHostname",
        "message": "no listener has r1.preview.example"});
    says(json!([refused]));
    let failure = at(100, None).unwrap_err();
    assert_eq!((failure.code, failure.retry), (FailureCode::Unhealthy, Retry::Never));
    assert_eq!(
        failure.message,
        "the gateway refuses the route shop-prod-web-r1: no listener has r1.preview.example (NoMatchingListenerHostname)"
    );

    says(json!([accepted]));
    let Progress::Done(outcome) = at(101, Some(&first)).unwrap() else { panic!("it is done") };
    let preview = ("preview-url".to_owned(), "https://r1.preview.example".to_owned());
    assert!(outcome.outputs.contains(&preview), "{outcome:?}");
}

#[test]
fn an_older_gateway_api_does_and_none_is_told() {
    let model = Model::new();
    model.0.borrow_mut().gateway = Some("v1beta1");
    let config = gateway(json!({}));
    done(deploy(&model, &config, "r1", 1));
    assert_eq!(model.names("httproutes"), [R1]);
    model.0.borrow_mut().gateway = None;
    let cx = model.host().provider_context();
    let plan = Kubernetes::plan(&cx, &config, &desired("r1", 1)).unwrap();
    assert!(
        plan.actions[0].summary.contains("by the numbers of pods, since the cluster has no Gateway API"),
        "{plan:?}"
    );
    let failure = Kubernetes::plan(&cx, &gateway(json!({"traffic": "gateway"})), &desired("r1", 1)).unwrap_err();
    assert_eq!((failure.code, failure.path.as_deref()), (FailureCode::NotFound, Some("/traffic")));
}

#[test]
fn lost_answers_and_other_writers_change_nothing_twice() {
    for lost in ["PATCH deployments", "PATCH services", "PATCH httproutes"] {
        let model = Model::new();
        let config = gateway(json!({}));
        model.fault(lost, Fault::Lost);
        let failure = deploy(&model, &config, "r1", 2).unwrap_err();
        assert_eq!(failure.code, FailureCode::TimedOut, "{lost}");
        assert_ne!(failure.retry, Retry::Never, "{lost}");
        done(deploy(&model, &config, "r1", 2));
        let before = model.object("deployments", R1);
        done(deploy(&model, &config, "r1", 2));
        assert_eq!(model.object("deployments", R1), before, "the same again changes nothing");
        assert_eq!(model.names("deployments"), [R1]);
    }
    // A removal whose answer was lost goes on; one that another write came between is made again.
    let model = Model::new();
    let config = gateway(json!({}));
    done(deploy(&model, &config, "r1", 2));
    model.fault("DELETE deployments", Fault::Lost);
    assert_eq!(retire(&model, &config, "r1").unwrap_err().code, FailureCode::TimedOut);
    retire(&model, &config, "r1").unwrap();
    done(deploy(&model, &config, "r2", 2));
    model.fault("DELETE", Fault::Before(Ok(status(409, "Conflict", "the precondition does not hold", json!({})))));
    let failure = retire(&model, &config, "r2").unwrap_err();
    assert_eq!(failure.code, FailureCode::Conflict);
    assert_ne!(failure.retry, Retry::Never);
    retire(&model, &config, "r2").unwrap();
    assert_eq!(model.names("deployments"), [""; 0]);
}

#[test]
fn a_name_that_is_still_being_removed_is_waited_for() {
    let model = Model::new();
    let config = gateway(json!({}));
    done(deploy(&model, &config, "r1", 2));
    model.0.borrow_mut().lingers = 4;
    let cx = model.host().provider_context();
    let retired = Kubernetes::retire(&cx, &config, "k", &service(), "r1", None);
    assert!(running(retired).contains("2 pods left"));
    assert!(running(deploy(&model, &config, "r1", 2)).contains("removed before"));
    let failure = Kubernetes::plan(&cx, &config, &desired("r1", 2)).unwrap_err();
    assert_eq!(failure.code, FailureCode::Conflict);
    assert_ne!(failure.retry, Retry::Never);
}
