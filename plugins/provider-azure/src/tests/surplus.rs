//! What is taken out of the configuration.

use basb_plugin::provider::{Action, Desired, ServicePlan};
use serde_json::{Value, json};

use super::{Caller, config, desired};

const PULL: &str = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/pull";
const READ: &str = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/read";

fn secret(name: &str) -> Value {
    json!({"name": name, "keyVaultUrl": format!("https://v.vault.azure.net/secrets/{name}"), "identity": READ})
}

fn registry(server: &str) -> Value {
    json!({"server": server, "identity": PULL})
}

/// Everything that an app can have, released as r1.
fn full() -> Caller {
    let mut caller = Caller::new();
    caller.config = config(json!({
        "identity": {"user": [PULL, READ]},
        "registries": [registry("contoso.azurecr.io"), registry("fabrikam.azurecr.io")],
        "secrets": [secret("token"), secret("other")],
        "tags": {"team": "blue"},
    }));
    caller.deploy("r1", 1).unwrap();
    caller.traffic(&[("r1", 10_000)]).unwrap();
    caller.deploy("r1", 1).unwrap();
    assert_eq!(caller.plan(&desired("r1", 1)).unwrap().actions, []);
    caller.cloud.changes();
    caller
}

impl Caller {
    fn app(&self, pointer: &str) -> Value {
        self.cloud.0.borrow().app.as_ref().unwrap().pointer(pointer).cloned().unwrap_or_default()
    }

    fn change_app(&self, change: impl FnOnce(&mut Value)) {
        change(self.cloud.0.borrow_mut().app.as_mut().unwrap());
    }

    fn deploy_of(&self, desired: &Desired) {
        let action = Action::Deploy(Box::new(desired.clone()));
        self.to_end(|state| self.apply(&action, state)).unwrap();
    }
}

/// What a plan says goes: the path, and what was there.
fn goes(plan: &ServicePlan) -> Vec<(String, String)> {
    let changes = plan.actions.iter().flat_map(|action| &action.changes).filter(|change| change.after.is_none());
    changes.map(|change| (change.path.clone(), change.before.clone().unwrap())).collect()
}

fn pair(path: &str, before: &str) -> (String, String) {
    (path.to_owned(), before.to_owned())
}

#[test]
fn what_is_configured_no_more_is_shown_and_goes() {
    let mut caller = full();
    // As Azure writes it.
    caller.change_app(|app| {
        app["identity"]["userAssignedIdentities"] =
            json!({PULL.to_uppercase(): {"principalId": "p"}, READ: {"principalId": "q"}});
        app["tags"]["basb-host:old"] = "x".into();
        app["tags"]["theirs"] = "y".into();
    });
    caller.config = config(json!({"identity": {"user": [PULL]}, "registries": [registry("fabrikam.azurecr.io")]}));
    let plan = caller.plan(&desired("r1", 1)).unwrap();
    let expected = [
        pair("tags.basb-host:old", "x"),
        pair("identity.userAssignedIdentities", READ),
        pair("app.configuration.registries", "contoso.azurecr.io"),
        pair("app.configuration.secrets", "token"),
        pair("app.configuration.secrets", "other"),
    ];
    assert_eq!((goes(&plan), plan.actions.len()), (expected.to_vec(), 1), "{plan:?}");
    assert!(plan.actions[0].irreversible.is_some());
    assert_eq!(plan.actions[0].changes.len(), 5, "and nothing comes: {plan:?}");
    caller.deploy("r1", 1).unwrap();
    assert_eq!(caller.cloud.changes(), ["PATCH"]);
    let identity =
        json!({"type": "UserAssigned", "userAssignedIdentities": {PULL.to_uppercase(): {"principalId": "p"}}});
    assert_eq!(caller.app("/identity"), identity);
    assert_eq!(caller.app("/properties/configuration/registries"), json!([registry("fabrikam.azurecr.io")]));
    assert_eq!(caller.app("/properties/configuration/secrets"), json!([]));
    let tags = caller.app("/tags");
    // Nobody knows whose a tag is that is not named like ours.
    assert_eq!((&tags["theirs"], &tags["team"], &tags["basb-host:old"]), (&json!("y"), &json!("blue"), &Value::Null));
    assert_eq!(caller.plan(&desired("r1", 1)).unwrap().actions, [], "and a run has nothing to repair");

    // Nothing at all is configured any more. The system's identity is nobody's to take away then.
    for (kind, left) in [("UserAssigned", "None"), ("SystemAssigned, UserAssigned", "SystemAssigned")] {
        let mut caller = full();
        caller.change_app(|app| app["identity"]["type"] = kind.into());
        caller.config = config(json!({}));
        let plan = caller.plan(&desired("r1", 1)).unwrap();
        assert!(goes(&plan).contains(&pair("identity.userAssignedIdentities", PULL)), "{plan:?}");
        caller.deploy("r1", 1).unwrap();
        assert_eq!(caller.app("/identity"), json!({"type": left}));
        assert_eq!(caller.plan(&desired("r1", 1)).unwrap().actions, []);
    }
}

#[test]
fn what_is_gone_back_to_keeps_what_it_had() {
    let mut caller = full();
    let identity = caller.app("/identity");
    caller.config = config(json!({}));
    // A candidate beside it: whatever fails, r1 has its identity and its secrets.
    let plan = caller.plan(&desired("r2", 1)).unwrap();
    assert_eq!((goes(&plan).len(), plan.actions.len()), (0, 1), "{plan:?}");
    let said = &plan.actions[0].summary;
    assert!(said.contains(&format!("the identity {READ}")) && said.contains("the secret token"), "{said}");
    assert!(said.contains("the registry contoso.azurecr.io") && said.contains("goes with a later run"), "{said}");
    caller.deploy("r2", 1).unwrap();
    caller.traffic(&[("r1", 5_000), ("r2", 5_000)]).unwrap();
    assert_eq!(caller.app("/identity"), identity);
    caller.traffic(&[("r1", 10_000)]).unwrap();
    caller.retire("r2").unwrap();
    assert_eq!(caller.app("/identity"), identity);
    // Once it has taken over, they go.
    caller.deploy("r2", 1).unwrap();
    caller.traffic(&[("r2", 10_000)]).unwrap();
    caller.retire("r1").unwrap();
    assert_eq!(goes(&caller.plan(&desired("r2", 1)).unwrap()).len(), 6);
    caller.deploy("r2", 1).unwrap();
    assert_eq!(caller.app("/identity"), json!({"type": "None"}));
    assert_eq!(caller.plan(&desired("r2", 1)).unwrap().actions, []);
}

#[test]
fn what_is_used_stays_and_a_run_has_nothing_to_repair() {
    // A release that was rolled back, and is what the app was last made of, refers to a secret.
    let mut caller = full();
    let mut failed = desired("r2", 1);
    failed.workload.settings = r#"{"secretEnv": {"TOKEN": "token"}}"#.into();
    caller.deploy_of(&failed);
    caller.retire("r2").unwrap();
    caller.config = config(json!({}));
    caller.deploy("r1", 1).unwrap();
    assert_eq!(caller.app("/properties/configuration/secrets"), json!([secret("token")]));
    let users = caller.app("/identity/userAssignedIdentities");
    assert!(users.get(READ).is_some() && users.get(PULL).is_none(), "what the secret is read with stays: {users}");
    assert_eq!(caller.plan(&desired("r1", 1)).unwrap().actions, []);

    // What we could not have made is somebody else's.
    let mut caller = full();
    let theirs = json!({"server": "theirs.example", "username": "u", "passwordSecretRef": "pw", "identity": ""});
    caller.change_app(|app| {
        let configuration = &mut app["properties"]["configuration"];
        configuration["registries"].as_array_mut().unwrap().push(theirs.clone());
        configuration["secrets"].as_array_mut().unwrap().push(json!({"name": "pw", "keyVaultUrl": ""}));
    });
    caller.config = config(json!({"identity": {"user": [READ]}}));
    caller.deploy("r1", 1).unwrap();
    assert_eq!(caller.app("/properties/configuration/registries"), json!([theirs]));
    // A list is sent whole, and what Azure does not tell would be lost: so all of it stays.
    assert_eq!(caller.app("/properties/configuration/secrets").as_array().unwrap().len(), 3);
    assert_eq!(caller.app("/identity/userAssignedIdentities"), json!({READ: {}}));
    assert_eq!(caller.plan(&desired("r1", 1)).unwrap().actions, []);
    let failure = {
        caller.config.secrets = config(json!({"secrets": [secret("new")]})).secrets;
        caller.deploy("r1", 1).unwrap_err()
    };
    assert!(failure.message.contains("whose values Azure does not tell"), "{failure:?}");

    // An image comes from it.
    let mut caller = full();
    let mut wanted = desired("r2", 1);
    wanted.workload.image = Some(format!("contoso.azurecr.io/web@sha256:{}", "ab".repeat(32)));
    caller.deploy_of(&wanted);
    caller.traffic(&[("r2", 10_000)]).unwrap();
    caller.retire("r1").unwrap();
    caller.config = config(json!({}));
    caller.deploy_of(&wanted);
    assert_eq!(caller.app("/properties/configuration/registries"), json!([registry("contoso.azurecr.io")]));
    assert_eq!(caller.app("/identity/userAssignedIdentities"), json!({PULL: {}}));
    assert_eq!(caller.plan(&wanted).unwrap().actions, []);
}
