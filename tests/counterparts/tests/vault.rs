//! Vault: KV version 1 and AppRole with a real server, RustyVault; KV version 2, leases and refusals with a model of the
//! documented API.

use basb_counterparts::vault_model::{State, VaultModel, Version};
use basb_counterparts::{SecretsOf, rustyvault};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

async fn expect(secrets: &SecretsOf, name: &str, code: &str, text: &str) {
    let (found, said) = secrets.error(name).await;
    assert!(found == code && said.contains(text), "{name}: {said}");
    assert!(!said.contains("cAnArY"), "{said}");
}

#[tokio::test]
async fn kv_version_1_of_a_real_server() {
    let folder = tempfile::tempdir().unwrap();
    let Some(vault) = rustyvault::start(folder.path()).await else { return };
    let data = json!({"password": "cAnArY-db", "port": 5432, "nested": {"a": "cAnArY-nested"}});
    vault.ok("POST", "secret/apps/db", &data).await;
    let stores =
        json!({"team": {"vault": {"address": vault.address.as_str(), "version": 1, "token": {"env": "VAULT_TOKEN"}}}});
    let secrets = json!({
        "db": {"store": "team", "key": "apps/db", "field": "password"},
        "port": {"store": "team", "key": "apps/db", "field": "port"},
        "nested": {"store": "team", "key": "apps/db", "field": "nested"},
        "field": {"store": "team", "key": "apps/db", "field": "pasword"},
        "missing": {"store": "team", "key": "apps/nope", "field": "x"},
    });
    let good = SecretsOf::new(&stores, &secrets, &[("VAULT_TOKEN", &vault.root_token)], Path::new("/"));
    assert_eq!(good.text("db").await.unwrap(), "cAnArY-db");
    assert_eq!(good.text("port").await.unwrap(), "5432");
    assert_eq!(good.text("nested").await.unwrap(), r#"{"a":"cAnArY-nested"}"#);
    assert_eq!(good.redactor.find(vault.root_token.as_bytes()).unwrap().as_str(), "store-team");
    expect(&good, "field", "secret/field", "did you mean `password`").await;
    expect(&good, "missing", "secret/missing", "version: 2").await;
    let wrong = SecretsOf::new(&stores, &secrets, &[("VAULT_TOKEN", "hvs.cAnArY")], Path::new("/"));
    expect(&wrong, "db", "secret/denied", "Permission denied").await;
    let unset = SecretsOf::new(&stores, &secrets, &[], Path::new("/"));
    expect(&unset, "db", "secret/store-credentials", "export VAULT_TOKEN=").await;
    vault.ok("PUT", "sys/seal", &json!({})).await;
    let sealed = SecretsOf::new(&stores, &secrets, &[("VAULT_TOKEN", &vault.root_token)], Path::new("/"));
    expect(&sealed, "db", "secret/store-unavailable", "unseal").await;
}

#[tokio::test]
async fn approle_of_a_real_server() {
    let folder = tempfile::tempdir().unwrap();
    let Some(vault) = rustyvault::start(folder.path()).await else { return };
    vault.ok("POST", "secret/apps/db", &json!({"password": "cAnArY-db"})).await;
    let (role_id, secret_id) = vault.role("deployer", "1h").await;
    let file = folder.path().join("secret-id");
    let stores = |role_id: &str| {
        let role = json!({"roleId": role_id, "secretId": {"file": "secret-id"}});
        json!({"team": {"vault": {"address": vault.address.as_str(), "version": 1, "appRole": role}}})
    };
    let secrets = json!({"db": {"store": "team", "key": "apps/db", "field": "password"}});
    std::fs::write(&file, format!("{secret_id}\n")).unwrap();
    let good = SecretsOf::new(&stores(&role_id), &secrets, &[], folder.path());
    assert_eq!(good.text("db").await.unwrap(), "cAnArY-db");
    assert_eq!(good.redactor.find(secret_id.as_bytes()).unwrap().as_str(), "store-team");
    std::fs::write(&file, "cAnArY-wrong").unwrap();
    let wrong = SecretsOf::new(&stores(&role_id), &secrets, &[], folder.path());
    expect(&wrong, "db", "secret/store-credentials", "refuses the AppRole login").await;
}

fn state() -> State {
    let secret = |path: &str| (String::new(), path.to_owned());
    let here = |value: Value| Version::Here(value);
    State {
        root_token: "hvs.cAnArY-root".to_owned(),
        secrets: BTreeMap::from([
            (
                secret("secret/apps/db"),
                vec![here(json!({"password": "cAnArY-1"})), here(json!({"password": "cAnArY-2"}))],
            ),
            (secret("secret/apps/deleted"), vec![here(json!({"password": "cAnArY-old"})), Version::Deleted]),
            (secret("secret/apps/destroyed"), vec![Version::Destroyed]),
            (secret("secret/apps/for-root"), vec![here(json!({"password": "cAnArY-for-root"}))]),
            (secret("team/kv/odd%20name"), vec![here(json!({"password": "cAnArY-odd"}))]),
            (("team-a".to_owned(), "secret/apps/db".to_owned()), vec![here(json!({"password": "cAnArY-team-a"}))]),
        ]),
        forbidden: vec!["secret/apps/for-root".to_owned()],
        role: Some(("role-1".to_owned(), "cAnArY-secret-id".to_owned())),
        ..State::default()
    }
}

fn names() -> Value {
    let at = |key: &str| json!({"store": "team", "key": key, "field": "password"});
    json!({
        "db": at("apps/db"),
        "first": {"store": "team", "key": "apps/db", "field": "password", "version": 1},
        "ninth": {"store": "team", "key": "apps/db", "field": "password", "version": 9},
        "deleted": at("apps/deleted"),
        "undeleted": {"store": "team", "key": "apps/deleted", "field": "password", "version": 1},
        "destroyed": at("apps/destroyed"),
        "for-root": at("apps/for-root"),
        "missing": at("apps/nope"),
        "odd": at("odd name"),
    })
}

/// The store `team`, with these further keys.
fn store(model: &VaultModel, further: Value) -> Value {
    let mut vault = json!({"address": model.server.url.as_str()});
    for (key, value) in further.as_object().unwrap() {
        vault[key] = value.clone();
    }
    json!({ "team": {"vault": vault} })
}

fn with_token(model: &VaultModel, further: Value) -> SecretsOf {
    let mut further = further;
    further["token"] = json!({"env": "VAULT_TOKEN"});
    SecretsOf::new(&store(model, further), &names(), &[("VAULT_TOKEN", "hvs.cAnArY-root")], Path::new("/"))
}

#[tokio::test]
async fn kv_version_2_of_the_model() {
    let model = VaultModel::start(state()).await;
    let secrets = with_token(&model, json!({}));
    assert_eq!(secrets.text("db").await.unwrap(), "cAnArY-2");
    assert_eq!(secrets.text("first").await.unwrap(), "cAnArY-1");
    assert_eq!(secrets.text("undeleted").await.unwrap(), "cAnArY-old");
    expect(&secrets, "deleted", "secret/deleted", "vault kv undelete -versions=2").await;
    expect(&secrets, "destroyed", "secret/deleted", "destroyed").await;
    expect(&secrets, "missing", "secret/missing", "version: 1").await;
    expect(&secrets, "ninth", "secret/missing", "in version 9").await;
    // The mount's own path, and a name that has to be escaped.
    let other = with_token(&model, json!({"mount": "team/kv"}));
    assert_eq!(other.text("odd").await.unwrap(), "cAnArY-odd");
    let namespace = with_token(&model, json!({"namespace": "team-a"}));
    assert_eq!(namespace.text("db").await.unwrap(), "cAnArY-team-a");
    // A mount of the other version says so.
    let plain = json!({"db": {"store": "team", "key": "apps/db", "field": "password"}});
    let version_1 = store(&model, json!({"version": 1, "token": {"env": "VAULT_TOKEN"}}));
    let secrets = SecretsOf::new(&version_1, &plain, &[("VAULT_TOKEN", "hvs.cAnArY-root")], Path::new("/"));
    let (code, said) = secrets.error("db").await;
    assert!(code == "secret/missing" && said.contains("versioned") && said.contains("version: 2"), "{said}");
    model.state().sealed = true;
    expect(&with_token(&model, json!({})), "db", "secret/store-unavailable", "is sealed").await;
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let model = VaultModel::start(State { busy: 2, ..state() }).await;
    assert_eq!(with_token(&model, json!({})).text("db").await.unwrap(), "cAnArY-2");
    assert_eq!(model.server.received().len(), 3);
}

fn with_role(model: &VaultModel, secret_id: &str) -> SecretsOf {
    let role = json!({"appRole": {"roleId": "role-1", "secretId": {"env": "SECRET_ID"}}});
    SecretsOf::new(&store(model, role), &names(), &[("SECRET_ID", secret_id)], Path::new("/"))
}

#[tokio::test]
async fn one_login_serves_all_reads_until_its_lease_ends() {
    let model = VaultModel::start(State { lease: 3600, ..state() }).await;
    let secrets = with_role(&model, "cAnArY-secret-id");
    let (db, first) = tokio::join!(secrets.text("db"), secrets.text("first"));
    assert_eq!((db.unwrap().as_str(), first.unwrap().as_str()), ("cAnArY-2", "cAnArY-1"));
    assert_eq!(model.state().logins, 1);
    assert_eq!(secrets.redactor.find(b"hvs.issued-token-1").unwrap().as_str(), "store-team");
    expect(&secrets, "for-root", "secret/denied", "path \"secret/data/apps/for-root\"").await;
    // A lease of a few seconds is as good as over: the next read logs in again.
    let short = VaultModel::start(State { lease: 5, ..state() }).await;
    let secrets = with_role(&short, "cAnArY-secret-id");
    secrets.text("db").await.unwrap();
    secrets.text("first").await.unwrap();
    assert_eq!(short.state().logins, 2);
}

#[tokio::test]
async fn a_revoked_token_is_replaced_once() {
    let model = VaultModel::start(state()).await;
    let secrets = with_role(&model, "cAnArY-secret-id");
    secrets.text("db").await.unwrap();
    model.state().tokens.clear();
    assert_eq!(secrets.text("first").await.unwrap(), "cAnArY-1");
    assert_eq!(model.state().logins, 2);
    // And what is forbidden stays it: one more login to be sure, not one for each of many.
    expect(&secrets, "for-root", "secret/denied", "permission denied").await;
    assert!(model.state().logins <= 3);
    let wrong = with_role(&model, "cAnArY-wrong-id");
    expect(&wrong, "db", "secret/store-credentials", "invalid role or secret ID").await;
}

#[tokio::test]
async fn every_request_says_that_it_is_one_and_carries_its_token_in_one_header_only() {
    let model = VaultModel::start(state()).await;
    let secrets = with_role(&model, "cAnArY-secret-id");
    secrets.text("db").await.unwrap();
    let received = model.server.received();
    assert_eq!(received.len(), 2);
    for request in &received {
        assert_eq!(request.header("x-vault-request"), "true");
        assert!(!format!("{}?{}", request.path, request.query).contains("cAnArY"), "{request:?}");
    }
    assert_eq!(received[0].header("x-vault-token"), "");
    assert_eq!(received[1].header("x-vault-token"), "hvs.issued-token-1");
}
