//! Traffic by the numbers of pods behind one Service, and what pods say.

use basb_plugin::FailureCode;
use basb_plugin::provider::{Action, Provider, Scaling};
use serde_json::json;

use super::cluster::Model;
use super::{config, deploy, desired, done, retire, running, service, share, shares};
use crate::{Config, Kubernetes};

const FRONT: &str = "shop-prod-web";

fn replicas(model: &Model, revision: &str) -> u64 {
    model.object("deployments", &format!("shop-prod-web-{revision}"))["spec"]["replicas"].as_u64().unwrap()
}

fn scale(model: &Model, config: &Config, revision: &str, replicas: u32) {
    let cx = model.host().provider_context();
    let scaling = Scaling { service: service(), revision: revision.into(), replicas };
    done(Kubernetes::apply(&cx, config, "k", &Action::Scale(scaling), None));
}

#[test]
fn pods_make_the_nearest_share_and_what_is_made_is_told() {
    let model = Model::new();
    let config = config(json!({}));
    done(deploy(&model, &config, "r1", 4));
    assert_eq!(done(share(&model, &config, &[("r1", 100.0)])), "traffic: r1 100 %");
    let selector = || model.object("services", FRONT)["spec"]["selector"].clone();
    assert_eq!(selector()["basb-host/revision"], "r1");

    done(deploy(&model, &config, "r2", 1));
    let said = done(share(&model, &config, &[("r1", 90.0), ("r2", 10.0)]));
    assert_eq!(said, "traffic: r1 90 % (made by 4 pods: 80 %), r2 10 % (made by 1 pod: 20 %)");
    assert_eq!(selector().get("basb-host/revision"), None);
    let told = [("r1".to_owned(), 90.0, "80 %".to_owned()), ("r2".to_owned(), 10.0, "20 %".to_owned())];
    assert_eq!(shares(&model, &config), told);

    // Half and half: the older one is made smaller once the newer one is behind the Service too.
    scale(&model, &config, "r2", 2);
    assert_eq!(
        running(share(&model, &config, &[("r1", 50.0), ("r2", 50.0)])),
        "the pods that are too many for the shares end"
    );
    assert_eq!((replicas(&model, "r1"), replicas(&model, "r2")), (2, 2));
    let said = done(share(&model, &config, &[("r1", 50.0), ("r2", 50.0)]));
    assert_eq!(said, "traffic: r1 50 % (made by 2 pods: 50 %), r2 50 % (made by 2 pods: 50 %)");

    // Back: all traffic at once, then all pods.
    done(share(&model, &config, &[("r1", 100.0)]));
    assert_eq!((selector()["basb-host/revision"].clone(), replicas(&model, "r1")), (json!("r1"), 4));
    retire(&model, &config, "r2").unwrap();
    assert_eq!(shares(&model, &config), [("r1".into(), 100.0, "100 %".into())]);

    // Nobody at all.
    done(share(&model, &config, &[]));
    assert_eq!(shares(&model, &config), []);
    retire(&model, &config, "r1").unwrap();
    assert_eq!((model.names("services"), model.names("deployments")), (vec![], vec![]));
}

#[test]
fn who_needs_more_pods_gets_them_before_anybody_loses_one() {
    let model = Model::new();
    let config = config(json!({}));
    done(deploy(&model, &config, "r1", 4));
    done(share(&model, &config, &[("r1", 100.0)]));
    done(deploy(&model, &config, "r2", 2));
    model.0.borrow_mut().available.insert("shop-prod-web-r2".into(), 1);
    assert_eq!(running(share(&model, &config, &[("r1", 50.0), ("r2", 50.0)])), "the pods that make the shares come up");
    assert_eq!(replicas(&model, "r1"), 4);
    assert_eq!(shares(&model, &config), [("r1".into(), 100.0, "100 %".into())]);
}

#[test]
fn what_is_written_is_done_when_the_cluster_has_carried_it_out() {
    let model = Model::new();
    let config = config(json!({}));
    done(deploy(&model, &config, "r1", 2));
    done(deploy(&model, &config, "r2", 1));
    model.0.borrow_mut().slow = true;
    assert_eq!(running(share(&model, &config, &[("r1", 100.0)])), "the cluster leads users' Service there");
    assert_eq!(
        running(share(&model, &config, &[("r1", 66.0), ("r2", 34.0)])),
        "the cluster leads users' Service there"
    );
    // Back to one that has nobody: nothing is waited for.
    model.0.borrow_mut().available.insert("shop-prod-web-r1".into(), 0);
    done(share(&model, &config, &[("r1", 100.0)]));
    model.0.borrow_mut().slow = false;
    done(share(&model, &config, &[("r2", 100.0)]));
}

#[test]
fn the_nodes_are_given_the_time_that_they_need() {
    let model = Model::new();
    let config = config(json!({"propagation": "2s"}));
    done(deploy(&model, &config, "r1", 2));
    let weights = [("r1".to_owned(), basb_plugin::Weight::FULL)];
    let at = |seconds: u64, state: Option<&str>| {
        let cx = model.host().at(basb_plugin::Timestamp(seconds * 1_000)).provider_context();
        Kubernetes::traffic(&cx, &config, "k", &service(), &weights, state)
    };
    let basb_plugin::provider::Progress::Running(pending) = at(10, None).unwrap() else { panic!("it waits") };
    assert_eq!(running(at(11, Some(&pending.state))), "the nodes lead users there");
    done(at(12, Some(&pending.state)));
    // The same again changes nothing, and needs no time.
    done(at(13, None));
}

#[test]
fn a_number_that_somebody_changes_changes_what_is_told() {
    let model = Model::new();
    let config = config(json!({}));
    done(deploy(&model, &config, "r1", 4));
    done(deploy(&model, &config, "r2", 1));
    done(share(&model, &config, &[("r1", 90.0), ("r2", 10.0)]));
    model.meddle("kubectl", "deployments", "shop-prod-web-r2", &json!({"spec": {"replicas": 4}}));
    assert_eq!(shares(&model, &config), [("r1".into(), 50.0, "50 %".into()), ("r2".into(), 50.0, "50 %".into())]);
    // One that is to have nothing must have no pods: they would stand behind the same Service.
    done(deploy(&model, &config, "r3", 1));
    let failure = share(&model, &config, &[("r1", 50.0), ("r3", 50.0)]).unwrap_err();
    assert_eq!(failure.code, FailureCode::Conflict);
    assert!(failure.message.contains("r2 is to have no traffic"), "{failure}");
    scale(&model, &config, "r2", 0);
    running(share(&model, &config, &[("r1", 50.0), ("r3", 50.0)]));
    assert_eq!((replicas(&model, "r1"), replicas(&model, "r3")), (1, 1));
    let failure = share(&model, &config, &[("r1", 50.0), ("r2", 50.0)]).unwrap_err();
    assert!(failure.message.contains("r2 has no instances"), "{failure}");
}

#[test]
fn why_pods_do_not_come_up_is_told() {
    let model = Model::new();
    let config = config(json!({"preview": {"url": "http://{name}.{namespace}.svc"}}));
    let name = "shop-prod-web-r1";
    done(deploy(&model, &config, "r1", 2));
    model.0.borrow_mut().available.insert(name.into(), 0);
    let labels = model.object("deployments", name)["spec"]["template"]["metadata"]["labels"].clone();
    let pod = |at: &str, status: serde_json::Value| {
        let key = ("pods".to_owned(), format!("{name}-{at}"));
        let pod = json!({"metadata": {"name": format!("{name}-{at}"), "labels": labels}, "status": status});
        model.0.borrow_mut().objects.insert(key, pod);
    };
    pod(
        "a",
        json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/3 nodes are available"}]}),
    );
    pod(
        "b",
        json!({"phase": "Running", "containerStatuses": [{"name": "web", "restartCount": 4,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
        "lastState": {"terminated": {"reason": "Error", "exitCode": 3}}}]}),
    );
    pod("c", json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": []}));
    let cx = model.host().provider_context();
    let report = Kubernetes::instances(&cx, &config, &service(), "r1").unwrap();
    let told: Vec<_> = report
        .instances
        .iter()
        .map(|one| (one.state.as_str(), one.available, one.restarts, one.message.as_deref().unwrap_or("")))
        .collect();
    assert_eq!(
        told,
        [
            ("pending", false, 0, "not scheduled: 0/3 nodes are available"),
            ("running", false, 4, "web: CrashLoopBackOff: back-off 40s; web ended before with status 3 (Error)"),
            ("running", true, 0, ""),
        ]
    );
    assert!(!report.hopeless);
    assert_eq!(report.preview_url.as_deref(), Some("http://shop-prod-web-r1.shop.svc"));

    let given_up = json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
        "message": "ReplicaSet has timed out progressing."},
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}]);
    model.0.borrow_mut().conditions.insert(name.into(), given_up);
    let report = Kubernetes::instances(&cx, &config, &service(), "r1").unwrap();
    assert!(report.hopeless);
    let said: Vec<_> = report.instances.iter().rev().take(2).filter_map(|one| one.message.as_deref()).collect();
    assert_eq!(said, ["ReplicaSet has timed out progressing.", "exceeded quota"]);
    // Kubernetes looks at no deadline after a Deployment of no pods was complete: then ours counts, from the same moment.
    let lacking = |since: &str| {
        json!([{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
            {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable", "lastTransitionTime": since,
                "message": "Deployment does not have minimum availability."}])
    };
    for (since, hopeless) in [("2026-01-02T02:54:05Z", false), ("2026-01-02T02:54:04Z", true)] {
        model.0.borrow_mut().conditions.insert(name.into(), lacking(since));
        let report = Kubernetes::instances(&cx, &config, &service(), "r1").unwrap();
        assert_eq!(report.hopeless, hopeless, "{since}");
    }
    // What was said about an older template says nothing about this one.
    model.0.borrow_mut().unseen.push(name.into());
    let report = Kubernetes::instances(&cx, &config, &service(), "r1").unwrap();
    assert!(!report.hopeless && report.available == 0);
}

#[test]
fn lists_are_read_to_their_end() {
    let model = Model::new();
    let config = config(json!({}));
    for revision in ["r1", "r2", "r3", "r4", "r5"] {
        done(deploy(&model, &config, revision, 0));
    }
    let cx = model.host().provider_context();
    let observed = Kubernetes::read(&cx, &config, &service()).unwrap().unwrap();
    assert_eq!(observed.revisions.len(), 5);
    assert_eq!(basb_plugin::extra(&observed.extras, "traffic"), Some("by the numbers of pods"));
}

#[test]
fn what_is_wrong_is_said_before_the_first_request() {
    let refused = |config: Config, change: fn(&mut basb_plugin::provider::Desired)| {
        let mut desired = desired("r1", 1);
        change(&mut desired);
        let host = Model::new().host();
        let failure = Kubernetes::plan(&host.provider_context(), &config, &desired).unwrap_err();
        assert_eq!(failure.code, FailureCode::Invalid, "{failure:?}");
        assert_eq!(host.requests(), [], "{failure:?}");
        failure.message
    };
    let plain = || config(json!({}));
    assert!(refused(plain(), |d| d.workload.image = Some("web:latest".into())).contains("named by a tag"));
    assert!(refused(plain(), |d| d.workload.image = None).contains("give the service an `image`"));
    assert!(refused(plain(), |d| d.workload.settings = r#"{"cpu": 1}"#.into()).contains("unknown field `cpu`"));
    assert!(refused(plain(), |d| d.workload.settings = r#"{"scratch": ["tmp"]}"#.into()).contains("begin it with"));
    assert!(refused(config(json!({"traffic": "gateway"})), |_| ()).contains("parentRefs"));
    assert!(refused(config(json!({"preview": {"url": "http://x"}})), |_| ()).contains("{name}"));
    assert!(refused(config(json!({"preview": {"host": "{revision}.x"}})), |_| ()).contains("write `gateway`"));
    assert!(refused(config(json!({"namespace": "../x"})), |_| ()).contains("no name of a namespace"));
}
