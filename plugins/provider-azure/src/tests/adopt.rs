//! Apps that others made: left alone, or adopted where the configuration names them.

use basb_plugin::FailureCode;
use basb_plugin::provider::{ActionKind, Provider};
use serde_json::{Value, json};

use super::cloud::Cloud;
use super::{Caller, config, desired, service};
use crate::{Azure, names};

/// An app that somebody's own program made.
fn theirs(cloud: &Cloud, app: &str, mode: &str, traffic: Value) {
    let mut state = cloud.0.borrow_mut();
    let template = json!({
        "revisionSuffix": "",
        "containers": [{"name": "main", "image": "web:7", "resources": {"cpu": 0.5, "memory": "1Gi"}}],
        "initContainers": [{"name": "init", "image": "init:1"}],
        "scale": {"minReplicas": 2, "maxReplicas": 4, "rules": [{"name": "queue", "custom": {"type": "queue"}}]},
    });
    let ingress = json!({"external": true, "targetPort": 8080, "transport": "Auto", "traffic": traffic,
        "fqdn": format!("{app}.happy-1.westeurope.azurecontainerapps.io")});
    let environment = format!(
        "/subscriptions/{}/resourceGroups/rg/providers/Microsoft.App/managedEnvironments/main",
        super::SUBSCRIPTION
    );
    let revision = |name: &str, active: bool, second: u32| {
        json!({"name": name, "properties": {"active": active, "createdTime": format!("2025-01-01T00:00:0{second}Z"),
            "provisioningState": "Provisioned", "healthState": "Healthy", "runningState": "Running", "template": template,
            "fqdn": format!("{name}.happy-1.westeurope.azurecontainerapps.io")}})
    };
    state.app = Some(json!({"name": app, "location": "West Europe", "tags": {"team": "red"},
        "identity": {"type": "SystemAssigned"}, "properties": {
        "provisioningState": "Succeeded", "managedEnvironmentId": environment,
        "latestRevisionName": format!("{app}--two"), "latestReadyRevisionName": format!("{app}--two"),
        "configuration": {"activeRevisionsMode": mode, "ingress": ingress,
            "secrets": [{"name": "old"}], "registries": [{"server": "theirs.example", "identity": "system"}]},
        "template": template,
    }}));
    state.revisions = vec![revision(&format!("{app}--one"), false, 1), revision(&format!("{app}--two"), true, 2)];
}

fn adopting(more: Value) -> Caller {
    let mut all = json!({"services": {"web": {"app": "legacy"}}});
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Caller { cloud: Cloud::new(), config: config(all) }
}

#[test]
fn an_app_that_is_not_ours_is_left_alone() {
    let caller = Caller::new();
    theirs(&caller.cloud, "shop-prod-web", "Multiple", json!([{"latestRevision": true, "weight": 100}]));
    let refused =
        [caller.deploy("r1", 1), caller.traffic(&[("r1", 10_000)]), caller.retire("r1"), caller.scale("r1", 2)];
    for failure in refused.map(Result::unwrap_err) {
        assert_eq!(failure.code, FailureCode::Conflict, "{failure:?}");
        assert!(failure.message.contains("services: { web: { app: shop-prod-web } }"), "{failure:?}");
    }
    assert_eq!(caller.plan(&desired("r1", 1)).unwrap_err().code, FailureCode::Conflict);
    assert_eq!(caller.cloud.changes(), [""; 0]);
    // Nor one of another deployment, whatever the configuration names.
    let caller = adopting(json!({}));
    theirs(&caller.cloud, "legacy", "Multiple", json!([{"latestRevision": true, "weight": 100}]));
    let owner = super::service();
    let other = basb_plugin::ServiceRef { deployment: "other".into(), ..owner };
    caller.cloud.0.borrow_mut().app.as_mut().unwrap()["tags"] = json!(names::tags(&caller.config, &other));
    let failure = caller.deploy("r1", 1).unwrap_err();
    assert!(failure.message.contains("belongs to service web of other/prod"), "{failure:?}");
    assert_eq!(caller.cloud.changes(), [""; 0]);
}

#[test]
fn an_adopted_app_is_pinned_before_the_first_canary() {
    for (mode, traffic) in [
        ("Multiple", json!([{"latestRevision": true, "weight": 100, "label": "live"}])),
        ("Multiple", Value::Null),
        ("Single", json!([{"latestRevision": true, "weight": 100}])),
    ] {
        let caller = adopting(json!({}));
        theirs(&caller.cloud, "legacy", mode, traffic.clone());
        let id = names::adopted("legacy--two");
        assert_eq!(caller.shares(), [(id.clone(), 10_000, (2, 2))], "what users reach can be adopted");
        let plans = caller.plans(&desired("r1", 1));
        let kinds: Vec<_> = plans.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [ActionKind::Update, ActionKind::Create], "{plans:?}");
        assert!(plans[0].1.contains("pinned to who has it now: legacy--two 100%"), "{plans:?}");
        let lost = caller.plan(&desired("r1", 1)).unwrap().actions.remove(0).irreversible;
        let followed = "that its traffic followed the latest revision is not kept anywhere";
        let expected = match mode {
            "Single" => format!("that legacy was in the mode Single, and {followed}"),
            _ => followed.to_owned(),
        };
        assert_eq!(lost, Some(expected), "{mode} {traffic}");
        caller.cloud.changes();
        let began = caller.cloud.0.borrow().revisions.len();
        caller.deploy("r1", 1).unwrap();
        assert_eq!(caller.cloud.changes(), ["PATCH", "PATCH", "PATCH"], "pinned, made, labelled");
        assert_eq!(caller.cloud.0.borrow().revisions.len(), began + 1);
        assert_eq!(caller.shares(), [("r1".into(), 0, (1, 1)), (id.clone(), 10_000, (2, 2))]);
        let state = caller.cloud.0.borrow();
        let app = state.app.as_ref().unwrap();
        assert_eq!(app["tags"], json!({"team": "red"}), "it is theirs");
        let template = &app["properties"]["template"];
        assert_eq!(template.get("initContainers"), None, "nothing of theirs is in ours: {template}");
        assert_eq!(template["scale"].get("rules"), None, "{template}");
        let labels: Vec<_> = app["properties"]["configuration"]["ingress"]["traffic"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|line| line["label"].as_str())
            .collect();
        assert_eq!(labels.contains(&"live"), traffic.to_string().contains("live"), "their label stays");
        drop(state);
        caller.traffic(&[("r1", 1_000), (&id, 9_000)]).unwrap();
        assert_eq!(caller.shares(), [("r1".into(), 1_000, (1, 1)), (id.clone(), 9_000, (2, 2))]);
        caller.traffic(&[("r1", 10_000)]).unwrap();
        caller.retire(&id).unwrap();
        assert_eq!(caller.shares(), [("r1".into(), 10_000, (1, 1))]);
        // And the app is theirs: it does not go with our last revision.
        caller.traffic(&[]).unwrap();
        caller.retire("r1").unwrap();
        assert!(caller.cloud.0.borrow().app.is_some());
    }
}

#[test]
fn what_pinning_does_not_keep_is_said_and_no_more() {
    let lost = |mode: &str, traffic: Value, ingress: bool| {
        let caller = adopting(json!({}));
        theirs(&caller.cloud, "legacy", mode, traffic);
        if !ingress {
            caller.cloud.0.borrow_mut().app.as_mut().unwrap()["properties"]["configuration"]["ingress"] = Value::Null;
        }
        let actions = caller.plan(&desired("r1", 1)).unwrap().actions;
        let lost: Vec<String> = actions.into_iter().filter_map(|action| action.irreversible).collect();
        lost.join("; ")
    };
    let named = || json!([{"revisionName": "legacy--two", "weight": 100}]);
    assert_eq!(lost("Multiple", named(), true), "", "it is pinned already");
    assert_eq!(lost("Single", json!([]), false), "that legacy was in the mode Single is not kept anywhere");
    // Whatever its table says, the mode leads everybody to the latest one.
    assert_eq!(
        lost("Single", named(), true),
        "that legacy was in the mode Single, and that its traffic followed the latest revision is not kept anywhere"
    );
}

#[test]
fn an_adopted_app_keeps_its_settings_and_secrets() {
    let caller = adopting(json!({"registries": [{"server": "ours.example", "identity": "system"}]}));
    theirs(&caller.cloud, "legacy", "Multiple", json!([{"revisionName": "legacy--two", "weight": 100}]));
    caller.deploy("r1", 1).unwrap();
    let registries = caller.cloud.0.borrow().app.as_ref().unwrap()["properties"]["configuration"]["registries"].clone();
    assert_eq!(registries.as_array().unwrap().len(), 2, "{registries}");
    let caller = adopting(json!({"secrets": [{"name": "s", "keyVaultUrl": "https://v.vault.azure.net/secrets/s"}]}));
    theirs(&caller.cloud, "legacy", "Multiple", json!([{"revisionName": "legacy--two", "weight": 100}]));
    let failure = caller.deploy("r1", 1).unwrap_err();
    assert!(failure.message.contains("secrets by others whose values Azure does not tell"), "{failure:?}");
    let mut caller = adopting(json!({}));
    theirs(&caller.cloud, "legacy", "Multiple", json!([{"revisionName": "legacy--two", "weight": 100}]));
    caller.config.ingress.target_port = 9_000;
    let failure = caller.plan(&desired("r1", 1)).unwrap_err();
    assert!(failure.message.contains("leads to port 8080"), "{failure:?}");
    // Its size is theirs too.
    let id = names::adopted("legacy--two");
    caller.scale(&id, 2).unwrap();
    assert_eq!(caller.scale(&id, 5).unwrap_err().code, FailureCode::Invalid);
}

/// What Azure Policy or Terraform make of an app's tags.
fn retag(caller: &Caller, tags: &Value) {
    caller.cloud.0.borrow_mut().app.as_mut().unwrap()["tags"] = tags.clone();
}

#[test]
fn the_way_back_is_not_held_up_by_others_tags() {
    for tags in [Value::Null, json!({"costs": "7"}), json!({"basb-host:deployment": "shop", "by": "policy"})] {
        let caller = Caller::released();
        caller.deploy("r2", 1).unwrap();
        caller.traffic(&[("r1", 5_000), ("r2", 5_000)]).unwrap();
        retag(&caller, &tags);
        caller.cloud.changes();
        caller.traffic(&[("r1", 10_000)]).unwrap();
        assert_eq!(caller.cloud.changes(), ["PATCH"], "its traffic and nothing else");
        assert_eq!(caller.shares(), [("r1".into(), 10_000, (1, 1)), ("r2".into(), 0, (1, 1))], "and read back");
        let host = caller.cloud.host();
        let weights = [("r1".to_owned(), basb_plugin::Weight::FULL)];
        Azure::traffic(&host.provider_context(), &caller.config, "key", &service(), &weights, None).unwrap();
        let told = host.log_lines();
        assert!(told.iter().any(|(_, line)| line.contains("somebody else changed them")), "{told:?}");
        // Nothing else of it is touched, and what would help is said.
        let failures = [
            caller.deploy("r3", 1).unwrap_err(),
            caller.retire("r2").unwrap_err(),
            caller.scale("r1", 2).unwrap_err(),
            caller.plan(&desired("r1", 1)).unwrap_err(),
        ];
        for failure in failures {
            assert_eq!(failure.code, FailureCode::Conflict, "{failure:?}");
            assert!(failure.message.contains("Put them back: basb-host:managed-by=basb-host"), "{failure:?}");
        }
        assert_eq!(caller.cloud.changes(), [""; 0]);
    }
    // What names somebody else is theirs, whatever is in it.
    for (key, value) in [("basb-host:deployment", "other"), ("basb-host:managed-by", "terraform")] {
        let caller = Caller::released();
        retag(&caller, &json!({key: value, "basb-host:service": "web"}));
        assert_eq!(caller.traffic(&[("r1", 10_000)]).unwrap_err().code, FailureCode::Conflict, "{key}");
    }
    // Nor is it enough that something calls itself like one of ours.
    type Change = fn(&mut Value);
    let forged: [Change; 3] = [
        |revision| revision["name"] = "shop-prod-web--r1-mine".into(),
        |revision| revision["properties"]["template"]["containers"][0]["name"] = "other".into(),
        |revision| revision["properties"]["template"]["containers"][0]["env"] = json!([]),
    ];
    for change in forged {
        let caller = Caller::released();
        retag(&caller, &Value::Null);
        {
            let mut state = caller.cloud.0.borrow_mut();
            change(&mut state.revisions[0]);
            let name = state.revisions[0]["name"].clone();
            let app = &mut state.app.as_mut().unwrap()["properties"];
            app["configuration"]["ingress"]["traffic"][0]["revisionName"] = name.clone();
            (app["latestRevisionName"], app["latestReadyRevisionName"]) = (name.clone(), name);
        }
        let failure = caller.traffic(&[("r1", 10_000)]).unwrap_err();
        assert!(failure.message.contains("was not made by basb-host"), "{failure:?}");
    }
}

#[test]
fn custom_domains_are_not_lost() {
    let caller = Caller::released();
    caller.cloud.0.borrow_mut().app.as_mut().unwrap()["properties"]["configuration"]["ingress"]["customDomains"] =
        json!([{"name": "www.example.com"}]);
    let failure = caller.traffic(&[]).unwrap_err();
    assert!(failure.message.contains("custom domains"), "{failure:?}");
    assert_eq!(caller.cloud.changes(), [""; 0]);
}
