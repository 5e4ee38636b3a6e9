//! What the parser says.

use crate::SecretsConfig;
use serde_json::{Value, json};

fn stores() -> Value {
    json!({
        "file": {"age": {"file": "secrets.age", "identity": {"file": "~/.config/basb/key.txt"}}},
        "team": {"vault": {"address": "https://vault.example.com:8200", "token": {"env": "VAULT_TOKEN"}}},
        "old": {"vault": {"address": "https://vault.example.com:8200", "version": 1, "token": {"env": "VAULT_TOKEN"}}},
        "cloud": {"awsSecretsManager": {"region": "eu-west-1", "accessKeyId": {"env": "ID"}, "secretAccessKey": {"env": "KEY"}}},
        "pass": {"exec": {"command": ["/usr/bin/pass", "show", "{key}"], "timeout": "10s"}},
    })
}

fn problems(stores: &Value, secrets: &Value) -> Vec<(String, String)> {
    let found = SecretsConfig::parse(stores, secrets).expect_err(&format!("{stores} {secrets}"));
    found.into_iter().map(|p| (p.pointer, format!("{}; {}", p.message, p.help))).collect()
}

#[test]
fn all_kinds_are_read() {
    let secrets = json!({
        "slack-url": {"store": "env", "key": "SLACK_WEBHOOK"},
        "db": {"store": "team", "key": "apps/db", "field": "password", "version": 3},
        "api": {"store": "cloud", "key": "api", "stage": "AWSPREVIOUS"},
        "a": {"store": "file", "key": "."},
        "b": {"store": "pass", "key": "web/b"},
    });
    let config = SecretsConfig::parse(&stores(), &secrets).unwrap();
    assert_eq!(config.names().len(), 5);
    let name = config.names().into_iter().find(|n| n.as_str() == "db").unwrap();
    assert_eq!(config.origin(&name).unwrap(), "store `team` (Vault at https://vault.example.com:8200), key `apps/db`");
    assert!(SecretsConfig::parse(&Value::Null, &Value::Null).unwrap().names().is_empty());
}

#[test]
fn regions_have_their_own_endpoints() {
    for (region, host) in [
        ("eu-west-1", "https://secretsmanager.eu-west-1.amazonaws.com/"),
        ("cn-north-1", "https://secretsmanager.cn-north-1.amazonaws.com.cn/"),
    ] {
        let mut stores = stores();
        stores["cloud"]["awsSecretsManager"]["region"] = region.into();
        let config = SecretsConfig::parse(&stores, &Value::Null).unwrap();
        assert!(format!("{config:?}").contains(host.trim_end_matches('/').trim_start_matches("https://")), "{region}");
    }
}

#[test]
fn nothing_unknown_is_ignored_and_everything_has_its_place() {
    let aws = |key: &str, value: Value| {
        let mut all = stores();
        all["cloud"]["awsSecretsManager"][key] = value;
        all
    };
    let vault = |key: &str, value: Value| {
        let mut all = stores();
        all["team"]["vault"][key] = value;
        all
    };
    let cases = [
        (json!({"env": {}}), "/secretStores/env", "always there"),
        (json!({"t": {"valt": {}}}), "/secretStores/t/valt", "did you mean `vault`"),
        (json!({"t": {"awssecretsmanager": {}}}), "/secretStores/t/awssecretsmanager", "`awsSecretsManager`"),
        (json!({"T": {"exec": {"command": ["/x"]}}}), "/secretStores/T", "only a-z"),
        (json!({"a".repeat(58): {"exec": {"command": ["/x"]}}}), &format!("/secretStores/{}", "a".repeat(58)), "57"),
        (json!("x"), "/secretStores", "write names"),
        (vault("adress", json!("x")), "/secretStores/team/vault/adress", "did you mean `address`"),
        (vault("address", json!("vault.example.com")), "/secretStores/team/vault/address", "not an http or https"),
        (vault("address", json!("http://vault.example.com")), "/secretStores/team/vault/address", "not encrypted"),
        (vault("address", json!("http://127.0.0.1.example.com")), "/secretStores/team/vault/address", "not encrypted"),
        (vault("address", json!("https://a:b@vault.example.com")), "/secretStores/team/vault/address", "a user"),
        (vault("mount", json!("a/../sys")), "/secretStores/team/vault/mount", "not a path"),
        (vault("version", json!(3)), "/secretStores/team/vault/version", "`1` or `2`"),
        (vault("token", json!("hvs.canary")), "/secretStores/team/vault/token", "never what it is"),
        (vault("token", json!({"env": "hvs.canary"})), "/secretStores/team/vault/token/env", "not the name"),
        (vault("appRole", json!({})), "/secretStores/team/vault", "exactly one of"),
        (
            aws("region", json!("eu-west-1.evil.example/")),
            "/secretStores/cloud/awsSecretsManager/region",
            "not a region",
        ),
        (aws("endpoint", json!("http://a.example")), "/secretStores/cloud/awsSecretsManager/endpoint", "not encrypted"),
        (aws("accessKeyID", json!({"env": "A"})), "/secretStores/cloud/awsSecretsManager/accessKeyID", "`accessKeyId`"),
        (json!({"e": {"exec": {"command": ["pass"]}}}), "/secretStores/e/exec/command/0", "not absolute"),
        (json!({"e": {"exec": {"command": ["/x"], "timeout": "6m"}}}), "/secretStores/e/exec/timeout", "at most `5m`"),
        (json!({"e": {"exec": {"command": ["/x"], "timeout": "0s"}}}), "/secretStores/e/exec/timeout", "is 0"),
        (
            json!({"e": {"exec": {"command": ["/x"], "env": ["A=canary"]}}}),
            "/secretStores/e/exec/env/0",
            "not the name",
        ),
        (json!({"f": {"age": {"file": "x", "identity": {}}}}), "/secretStores/f/age/identity", "{env: NAME}"),
    ];
    for (stores, pointer, text) in cases {
        let found = problems(&stores, &Value::Null);
        assert!(found.iter().any(|(at, message)| at == pointer && message.contains(text)), "{stores}: {found:?}");
        assert!(!format!("{found:?}").contains("canary"), "{found:?}");
    }
    let secrets = [
        (json!({"a": {"store": "teem", "key": "x"}}), "/secrets/a/store", "did you mean `team`"),
        (json!({"a": {"store": "nope", "key": "x"}}), "/secrets/a/store", "there are cloud, env"),
        (json!({"a": {"store": "env", "key": "A=canary"}}), "/secrets/a/key", "not the name"),
        (json!({"a": {"store": "env", "key": "A", "stage": "x"}}), "/secrets/a/stage", "AWS"),
        (json!({"a": {"store": "file", "key": "A", "version": 1}}), "/secrets/a/version", "keeps no versions"),
        (json!({"a": {"store": "old", "key": "A", "version": 1}}), "/secrets/a/version", "keeps no versions"),
        (json!({"a": {"store": "team", "key": "A", "version": "x"}}), "/secrets/a/version", "a number from 1"),
        (json!({"a": {"store": "cloud", "key": "A", "version": 1}}), "/secrets/a/version", "list-secret-version-ids"),
        (json!({"a": {"store": "team", "key": "/apps/db"}}), "/secrets/a/key", "not a path"),
        (json!({"a": {"store": "team", "key": "../sys/x"}}), "/secrets/a/key", "not a path"),
        (json!({"a": {"store": "pass", "key": "--clip"}}), "/secrets/a/key", "an option"),
        (json!({"a": {"store": "env", "key": "A", "feld": "x"}}), "/secrets/a/feld", "did you mean `field`"),
        (json!({"a/b": {"store": "env", "key": "A"}}), "/secrets/a~1b", "only a-z"),
        (json!({"a": {"store": "env", "key": 3}}), "/secrets/a/key", "must be text"),
    ];
    for (secrets, pointer, text) in secrets {
        let found = problems(&stores(), &secrets);
        assert!(found.iter().any(|(at, message)| at == pointer && message.contains(text)), "{secrets}: {found:?}");
        assert!(!format!("{found:?}").contains("canary"), "{found:?}");
    }
}

#[test]
fn everything_wrong_is_said_at_once() {
    let stores = json!({
        "t": {"vault": {"address": "nope", "mount": "/", "x": 1}},
        "u": {"exec": {"command": ["x"], "sha256": "y"}},
    });
    let secrets = json!({"a": {"store": "w", "key": "k", "y": 1}, "b": {"store": "t"}});
    let found = problems(&stores, &secrets);
    let places: Vec<&str> = found.iter().map(|(at, _)| at.as_str()).collect();
    for expected in [
        "/secretStores/t/vault/address",
        "/secretStores/t/vault/mount",
        "/secretStores/t/vault/x",
        "/secretStores/t/vault",
        "/secretStores/u/exec/command/0",
        "/secretStores/u/exec/sha256",
        "/secrets/a/store",
        "/secrets/a/y",
        "/secrets/b",
    ] {
        assert!(places.contains(&expected), "{expected}: {places:?}");
    }
}
