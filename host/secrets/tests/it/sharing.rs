//! Read once, when wanted, by whoever comes first.

use crate::network::{Network, answer};
use crate::{Setup, name, setup};
use futures_util::FutureExt;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

fn vault() -> Value {
    json!({"team": {"vault": {"address": "https://vault.example", "token": {"env": "VAULT_TOKEN"}}}})
}

fn vault_setup(network: Arc<Network>) -> Setup {
    let secrets = json!({
        "db": {"store": "team", "key": "apps/db", "field": "password"},
        "api": {"store": "team", "key": "apps/api", "field": "key"},
        "here": {"store": "env", "key": "HERE"},
        "not-here": {"store": "env", "key": "NOT_HERE"},
        "short": {"store": "env", "key": "SHORT"},
        "empty": {"store": "env", "key": "EMPTY"},
        "object": {"store": "env", "key": "OBJECT"},
        "field": {"store": "env", "key": "OBJECT", "field": "password"},
    });
    let variables = [
        ("VAULT_TOKEN", "hvs.token-of-the-store"),
        ("HERE", "value-that-is-here"),
        ("SHORT", "abc"),
        ("EMPTY", ""),
        ("OBJECT", r#"{"user": "app-user", "password": "inner-password"}"#),
    ];
    setup(vault(), secrets, &variables, network, Path::new("/"))
}

fn db() -> Value {
    json!({"data": {"data": {"password": "password-of-db"}, "metadata": {"version": 1}}})
}

#[tokio::test]
async fn concurrent_callers_share_one_read() {
    let setup = vault_setup(Network::gated(0, |_, _| answer(200, &db())));
    let callers: Vec<_> = (0..20).map(|_| setup.text("db")).collect();
    let opener = async {
        tokio::task::yield_now().await;
        setup.network.open();
    };
    let (values, ()) = tokio::join!(join_all(callers), opener);
    assert!(values.iter().all(|value| value.as_deref() == Ok("password-of-db")), "{values:?}");
    assert_eq!(setup.network.asked().len(), 1);
    // And what is known is not asked for again.
    setup.text("db").await.unwrap();
    assert_eq!(setup.network.asked().len(), 1);
}

#[tokio::test]
async fn who_waits_does_not_depend_on_who_came_first() {
    let setup = vault_setup(Network::gated(0, |_, _| answer(200, &db())));
    let wanted = name("db");
    let mut first = Box::pin(setup.secrets.get(&wanted));
    assert!((&mut first).now_or_never().is_none(), "there is no answer yet");
    drop(first);
    setup.network.open();
    assert_eq!(setup.text("db").await.unwrap(), "password-of-db");
    assert_eq!(setup.network.asked().len(), 1);
}

#[tokio::test]
async fn an_error_is_not_kept() {
    let setup = vault_setup(Network::new(|before, _| match before {
        0 => answer(404, &json!({"errors": []})),
        _ => answer(200, &db()),
    }));
    assert_eq!(setup.error("db").await.code, "secret/missing");
    assert_eq!(setup.text("db").await.unwrap(), "password-of-db");
}

#[tokio::test]
async fn only_what_is_wanted_is_read() {
    let setup = vault_setup(Network::new(|_, _| answer(200, &db())));
    setup.text("here").await.unwrap();
    assert!(setup.network.asked().is_empty());
    setup.text("db").await.unwrap();
    let paths: Vec<_> = setup.network.asked().iter().map(|ask| ask.url.path().to_owned()).collect();
    assert_eq!(paths, ["/v1/secret/data/apps/db"]);
}

#[tokio::test]
async fn the_redactor_knows_secrets_and_the_stores_own_credentials() {
    let setup = vault_setup(Network::new(|_, _| answer(200, &db())));
    assert!(setup.redactor.is_empty());
    setup.text("db").await.unwrap();
    setup.text("object").await.unwrap();
    let text = setup.redactor.text("password-of-db hvs.token-of-the-store inner-password app-user").into_owned();
    for gone in ["password-of-db", "hvs.token-of-the-store", "inner-password"] {
        assert!(!text.contains(gone), "{text}");
    }
    assert!(text.contains("store-team"), "{text}");
    assert!(text.contains("app-user"), "a user's name is not a secret: {text}");
}

#[tokio::test]
async fn all_errors_come_at_once_and_each_once() {
    let setup = vault_setup(Network::new(|_, _| answer(403, &json!({"errors": ["permission denied"]}))));
    let names = ["not-here", "here", "db", "short", "empty", "not-here", "nope"].map(name);
    let errors = setup.secrets.get_all(&names).await.unwrap_err();
    let found: Vec<_> = errors.iter().map(|e| (e.name.as_str(), e.code)).collect();
    assert_eq!(
        found,
        [
            ("db", "secret/denied"),
            ("empty", "secret/empty"),
            ("nope", "secret/unknown"),
            ("not-here", "secret/missing"),
            ("short", "secret/too-short"),
        ]
    );
    assert!(errors.iter().all(|e| !e.message.is_empty() && !e.help.is_empty()));
    setup.secrets.get_all(&[name("here"), name("field")]).await.unwrap();
}

#[tokio::test]
async fn what_may_pass_is_asked_for_again_and_not_for_ever() {
    let down = vault_setup(Network::new(|_, _| Err(basb_secrets::TransportError("connection refused".to_owned()))));
    let busy = vault_setup(Network::new(|before, _| match before {
        0 | 1 => answer(429, &json!({"errors": ["rate limit"]})),
        _ => answer(200, &db()),
    }));
    // At the same time: the pauses are real.
    let (error, text) = tokio::join!(down.error("db"), busy.text("db"));
    assert_eq!(error.code, "secret/store-unavailable");
    assert!(error.message.contains("connection refused") && error.message.contains("vault.example"), "{error:?}");
    assert_eq!(down.network.asked().len(), 4);

    assert_eq!(text.unwrap(), "password-of-db");
    assert_eq!(busy.network.asked().len(), 3);

    let denied = vault_setup(Network::new(|_, _| answer(403, &json!({"errors": ["permission denied"]}))));
    assert_eq!(denied.error("db").await.code, "secret/denied");
    assert_eq!(denied.network.asked().len(), 1, "a refusal stays one");
}
