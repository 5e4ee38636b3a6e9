//! What a plan tells, and that it changes nothing.

use basb_plugin::FailureCode;
use basb_plugin::provider::{ActionKind, Provider, ServicePlan};
use serde_json::json;

use super::cloud::{Fault, Model, NAME, error};
use super::{config, desired};
use crate::{Config, Gcp};

fn plan_of(model: &Model, config: &Config, revision: &str, replicas: u32) -> ServicePlan {
    Gcp::plan(&model.host().provider_context(), config, &desired(revision, replicas)).unwrap()
}

#[test]
fn a_plan_tells_every_change_and_sees_none_where_there_is_none() {
    let model = Model::new();
    let plan = |more, revision, replicas| plan_of(&model, &config(more), revision, replicas);
    let first = plan(json!({"ingress": "internal", "access": "public"}), "rev1", 2);
    assert_eq!(first.observed, None);
    assert_eq!((first.actions.len(), first.actions[0].kind), (1, ActionKind::Create));
    assert!(first.actions[0].summary.contains("which has all of its traffic"), "{:?}", first.actions);
    let changes: Vec<_> =
        first.actions[0].changes.iter().map(|c| (c.path.as_str(), c.after.clone().unwrap_or_default())).collect();
    for expected in [
        ("service.ingress", "INGRESS_TRAFFIC_INTERNAL_ONLY"),
        ("service.invokerIamDisabled", "true"),
        ("service.labels.basb-host_service", "web"),
        ("template.containers.0.args.1", "8080"),
        ("template.containers.0.startupProbe.httpGet.path", "/healthz"),
        ("template.env.COLOUR", "(a value)"),
    ] {
        assert!(changes.contains(&(expected.0, expected.1.to_owned())), "{expected:?} {changes:?}");
    }
    assert_eq!(model.changes(), ["dry POST services"], "Cloud Run was asked, and did nothing");
    assert!(model.0.borrow().service.is_none());

    model.deploy("k1", "rev1").unwrap();
    model.changes();
    assert_eq!(plan(json!({}), "rev1", 2).actions, []);
    assert_eq!(model.changes(), [""; 0]);
    let scaled = plan(json!({}), "rev1", 3);
    assert_eq!((scaled.actions.len(), scaled.actions[0].kind), (1, ActionKind::Update));
    assert_eq!(scaled.actions[0].changes[0].after.as_deref(), Some("3"));
    let other = plan(json!({"cpu": "2"}), "rev1", 2);
    assert_eq!((other.actions.len(), other.actions[0].kind), (1, ActionKind::Replace));
    let change = &other.actions[0].changes[0];
    assert_eq!(
        (change.path.as_str(), change.before.as_deref(), change.after.as_deref()),
        ("template.containers.0.resources.limits.cpu", Some("1"), Some("2"))
    );
    let next = plan(json!({}), "rev2", 2);
    assert_eq!(next.actions[0].kind, ActionKind::Create);
    let paths: Vec<_> = next.actions[0].changes.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(paths, ["template.env.COLOUR"], "beside what is there only that differs");
    let labels = plan(json!({"labels": {"team": "shop"}}), "rev1", 2);
    assert!(labels.actions[0].changes.iter().any(|change| change.path == "service.labels.team"), "{labels:?}");
    assert!(model.changes().iter().all(|change| change.starts_with("dry ")), "a plan reads");
}

#[test]
fn what_is_taken_out_of_the_configuration_is_shown_and_goes() {
    let model = Model::new();
    let with = |more| config(more);
    let first =
        with(json!({"labels": {"team": "shop", "cost": "7"}, "serviceAccount": "web@shop-1.iam.gserviceaccount.com",
        "vpc": {"network": "main"}}));
    model.deploy_with(&first, "k1", "rev1", 2).unwrap();
    let labels = |model: &Model| model.0.borrow().service.as_ref().unwrap()["labels"].clone();
    {
        // What others add is theirs, and so is another value of ours; what begins like our own is ours.
        let mut state = model.0.borrow_mut();
        let labels = &mut state.service.as_mut().unwrap()["labels"];
        (labels["theirs"], labels["cost"], labels["basb-host_old"]) = ("x".into(), "8".into(), "y".into());
    }
    let gone = |plan: &ServicePlan, path: &str| {
        let mut changes = plan.actions.iter().flat_map(|action| &action.changes);
        changes.any(|change| change.path == path && change.before.is_some() && change.after.is_none())
    };
    let next = plan_of(&model, &with(json!({})), "rev1", 2);
    for path in ["service.labels.team", "service.labels.basb-host_old", "template.serviceAccount", "template.vpcAccess"]
    {
        assert!(gone(&next, path), "{path} {next:?}");
    }
    for path in ["service.labels.theirs", "service.labels.cost", "service.labels.basb-host_service"] {
        assert!(!gone(&next, path), "{path} {next:?}");
    }
    model.deploy_with(&with(json!({})), "k2", "rev1", 2).unwrap();
    let left = labels(&model);
    assert_eq!((&left["theirs"], &left["cost"], &left["basb-host_service"]), (&json!("x"), &json!("8"), &json!("web")));
    assert!(left.get("team").is_none() && left.get("basb-host_old").is_none(), "{left}");
    assert_eq!(plan_of(&model, &with(json!({})), "rev1", 2).actions, [], "and a run has nothing to repair");

    // Where the revision stays as it is, the service's labels are put right all the same.
    model.0.borrow_mut().service.as_mut().unwrap()["labels"]["basb-host_old"] = "y".into();
    assert!(gone(&plan_of(&model, &with(json!({})), "rev1", 2), "service.labels.basb-host_old"));
    model.deploy("k3", "rev1").unwrap();
    assert!(labels(&model).get("basb-host_old").is_none());
    assert_eq!(plan_of(&model, &with(json!({})), "rev1", 2).actions, []);

    // Of a service that others made, all of them may be theirs.
    model.0.borrow_mut().service.as_mut().unwrap()["annotations"]["basb-host/adopted"] = "true".into();
    model.0.borrow_mut().service.as_mut().unwrap()["labels"]["basb-host_old"] = "y".into();
    assert_eq!(plan_of(&model, &with(json!({})), "rev1", 2).actions, []);
}

#[test]
fn what_cloud_run_would_refuse_is_told_by_the_plan() {
    let model = Model::new();
    let said = "spec.template.spec.containers[0].resources.limits.memory: Invalid value specified";
    model.fault("POST", Fault::Before(Ok(error(400, "INVALID_ARGUMENT", said))));
    let cx = model.host().provider_context();
    let failure = Gcp::plan(&cx, &config(json!({})), &desired("rev1", 1)).unwrap_err();
    assert_eq!(failure.code, FailureCode::Invalid);
    assert!(failure.message.contains(said), "{failure:?}");
    model.changes();
    plan_of(&model, &config(json!({"dryRun": "none"})), "rev1", 1);
    model.deploy("k1", "rev1").unwrap();
    model.changes();
    plan_of(&model, &config(json!({"dryRun": "none"})), "rev2", 1);
    assert_eq!(model.changes(), [""; 0], "who may not change may plan all the same");
    plan_of(&model, &config(json!({})), "rev2", 1);
    assert_eq!(model.changes(), [format!("dry PATCH services/{NAME} template")]);
}

#[test]
fn what_is_wrong_is_said_before_anything_is_asked() {
    let refused = |config: Config, change: fn(&mut basb_plugin::provider::Desired)| {
        let mut desired = desired("rev1", 1);
        change(&mut desired);
        let host = Model::new().host();
        let failure = Gcp::plan(&host.provider_context(), &config, &desired).unwrap_err();
        assert_eq!(failure.code, FailureCode::Invalid, "{failure:?}");
        assert_eq!(host.requests(), [], "{failure:?}");
        failure.message
    };
    let plain = || config(json!({}));
    assert!(refused(plain(), |d| d.workload.image = Some("web:latest".into())).contains("named by a tag"));
    assert!(refused(plain(), |d| d.workload.image = None).contains("give the service an `image`"));
    assert!(refused(plain(), |d| d.workload.settings = r#"{"cpus": 1}"#.into()).contains("unknown field `cpus`"));
    assert!(
        refused(plain(), |d| d.workload.env.push(("PORT".into(), "1".into())))
            .contains("sets the variable PORT itself")
    );
    assert!(refused(config(json!({"project": "a/../b"})), |_| ()).contains("no name of Google Cloud"));
    assert!(refused(config(json!({"vpc": {}})), |_| ()).contains("`network`, `subnetwork` or a `connector`"));
    assert!(refused(config(json!({"vpc": {"network": "n", "connector": "c"}})), |_| ()).contains("not both"));
    assert!(refused(config(json!({"minInstances": 3, "maxInstances": 2})), |_| ()).contains("smaller"));
    assert!(refused(config(json!({"labels": {"basb-host_service": "x"}})), |_| ()).contains("knows its own"));
    let long = "x".repeat(39);
    assert!(refused(config(json!({"services": {"web": {"service": long}}})), |_| ()).contains("longer than 38"));
}

#[test]
fn everything_that_is_configured_goes_out() {
    let model = Model::new();
    let config = config(json!({
        "serviceAccount": "web@shop-1.iam.gserviceaccount.com", "concurrency": 40, "timeout": "90s", "billing": "instance",
        "minInstances": 1, "maxInstances": 5, "executionEnvironment": "gen2", "startupBoost": "enabled",
        "vpc": {"network": "main", "subnetwork": "run", "egress": "all"}, "startTimeout": "30s",
        "secrets": {"TOKEN": {"secret": "token", "version": "3"}}, "env": {"A": "{port}"}, "labels": {"team": "shop"},
        "ingress": "internal-and-load-balancer", "access": "public"
    }));
    model.deploy_with(&config, "k1", "rev1", 2).unwrap();
    let service = model.0.borrow().service.clone().unwrap();
    let template = &service["template"];
    assert_eq!(service["ingress"], "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER");
    assert_eq!(service["invokerIamDisabled"], true);
    assert_eq!(template["serviceAccount"], "web@shop-1.iam.gserviceaccount.com");
    assert_eq!((&template["maxInstanceRequestConcurrency"], &template["timeout"]), (&json!(40), &json!("90s")));
    assert_eq!(template["scaling"], json!({"minInstanceCount": 1, "maxInstanceCount": 5}));
    assert_eq!(template["executionEnvironment"], "EXECUTION_ENVIRONMENT_GEN2");
    let interface = json!([{"network": "main", "subnetwork": "run"}]);
    assert_eq!(template["vpcAccess"], json!({"egress": "ALL_TRAFFIC", "networkInterfaces": interface}));
    assert_eq!(template["labels"]["team"], "shop");
    let container = &template["containers"][0];
    let secret = json!({"name": "TOKEN", "valueSource": {"secretKeyRef": {"secret": "token", "version": "3"}}});
    let env = container["env"].as_array().unwrap();
    assert!(env.contains(&json!({"name": "A", "value": "8080"})) && env.contains(&secret), "{env:?}");
    assert_eq!(
        (&container["resources"]["cpuIdle"], &container["resources"]["startupCpuBoost"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(container["startupProbe"]["failureThreshold"], 30);
}
