//! What holds for the whole app.

use basb_plugin::FailureCode;
use basb_plugin::provider::ActionKind;
use serde_json::json;

use super::{Caller, config, desired};

const IDENTITY: &str =
    "/subscriptions/s/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/pull";

#[test]
fn settings_are_made_compared_and_changed() {
    let mut caller = Caller::new();
    caller.config = config(json!({
        "workloadProfile": "Consumption",
        "identity": {"user": [IDENTITY]},
        "registries": [{"server": "contoso.azurecr.io", "identity": IDENTITY}],
        "secrets": [{"name": "token", "keyVaultUrl": "https://v.vault.azure.net/secrets/token", "identity": IDENTITY}],
        "env": {"REGION": "we"},
        "tags": {"team": "blue"},
    }));
    let mut wanted = desired("r1", 1);
    wanted.workload.settings = r#"{"secretEnv": {"TOKEN": "token"}}"#.into();
    let action = basb_plugin::provider::Action::Deploy(Box::new(wanted.clone()));
    caller.to_end(|state| caller.apply(&action, state)).unwrap();
    caller.traffic(&[("r1", 10_000)]).unwrap();
    {
        let state = caller.cloud.0.borrow();
        let app = state.app.as_ref().unwrap();
        assert_eq!(app["identity"], json!({"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}}}));
        assert_eq!(app["tags"]["team"], "blue");
        let env = app["properties"]["template"]["containers"][0]["env"].as_array().unwrap().clone();
        assert!(env.contains(&json!({"name": "TOKEN", "secretRef": "token"})), "{env:?}");
        assert!(env.contains(&json!({"name": "REGION", "value": "we"})), "{env:?}");
    }
    assert_eq!(caller.plan(&wanted).unwrap().actions, []);
    // Azure writes some words otherwise than they were sent, and adds what it knows.
    {
        let mut state = caller.cloud.0.borrow_mut();
        let app = state.app.as_mut().unwrap();
        app["properties"]["configuration"]["ingress"]["transport"] = "Auto".into();
        app["identity"]["userAssignedIdentities"][IDENTITY] = json!({"principalId": "p", "clientId": "c"});
        app["tags"]["added-by-policy"] = "yes".into();
        app["location"] = "West Europe".into();
    }
    assert_eq!(caller.plan(&wanted).unwrap().actions, []);
    caller.cloud.0.borrow_mut().app.as_mut().unwrap()["properties"]["configuration"]["ingress"]["external"] =
        false.into();
    caller.config.registries[0].server = "fabrikam.azurecr.io".into();
    let plan = caller.plan(&wanted).unwrap();
    assert_eq!(plan.actions.len(), 1);
    assert_eq!(plan.actions[0].kind, ActionKind::Update);
    assert!(plan.actions[0].irreversible.as_ref().unwrap().contains("a rollback does not change them back"));
    let paths: Vec<_> = plan.actions[0].changes.iter().map(|change| change.path.as_str()).collect();
    let registries = "app.configuration.registries";
    let (server, identity) = (format!("{registries}.0.server"), format!("{registries}.0.identity"));
    assert_eq!(paths, [registries, &server, &identity, "app.configuration.ingress.external"], "one goes, one comes");
    caller.cloud.changes();
    caller.to_end(|state| caller.apply(&action, state)).unwrap();
    assert_eq!(
        caller.cloud.changes(),
        ["PATCH", "PATCH"],
        "the settings; and the label, which a first release has not"
    );
    assert_eq!(caller.plan(&wanted).unwrap().actions, []);
    assert_eq!(caller.cloud.0.borrow().revisions.len(), 1);
}

#[test]
fn what_cannot_be_changed_is_refused() {
    for more in [json!({"environment": "other"}), json!({"location": "northeurope"})] {
        let mut caller = Caller::released();
        caller.config = config(more);
        assert_eq!(caller.deploy("r2", 1).unwrap_err().code, FailureCode::Conflict);
        assert_eq!(caller.cloud.changes(), [""; 0]);
    }
}

#[test]
fn what_the_schema_cannot_refuse_is_refused() {
    for (more, place) in [
        (json!({"subscription": "x".repeat(36)}), "/subscription"),
        (json!({"resourceGroup": "a/b"}), "/resourceGroup"),
        (json!({"environment": "a/b"}), "/environment"),
        (json!({"scale": {"min": 3, "max": 2}}), "/scale/max"),
        (json!({"label": "a--b"}), "/label"),
        (json!({"services": {"web": {"app": "A"}}}), "/services/web/app"),
    ] {
        let mut caller = Caller::new();
        caller.config = config(more);
        let failure = caller.plan(&desired("r1", 1)).unwrap_err();
        assert_eq!((failure.code, failure.path.as_deref()), (FailureCode::Invalid, Some(place)), "{failure:?}");
        assert_eq!(caller.cloud.0.borrow().requests.len(), 0);
    }
}

#[test]
fn the_written_addresses_go_first() {
    let mut caller = Caller::new();
    caller.config = config(json!({"services": {"web": {
        "url": "https://shop.example.com", "previewUrl": "https://next.example.com", "targetPort": 9000, "external": false,
    }}}));
    caller.deploy("r1", 1).unwrap();
    caller.traffic(&[("r1", 10_000)]).unwrap();
    caller.deploy("r2", 1).unwrap();
    assert_eq!(caller.read().unwrap().url.as_deref(), Some("https://shop.example.com"));
    assert_eq!(caller.instances("r2").preview_url.as_deref(), Some("https://next.example.com"));
    let state = caller.cloud.0.borrow();
    let ingress = &state.app.as_ref().unwrap()["properties"]["configuration"]["ingress"];
    assert_eq!((&ingress["targetPort"], &ingress["external"]), (&json!(9000), &json!(false)));
}
