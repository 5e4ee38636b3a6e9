//! The JSON Schema of `secretStores` and `secrets`, for editors and for `basb-host schema`. What is accepted is decided in
//! `parse`; a test holds the two together.

#![expect(dead_code, reason = "these types are read by schemars only")]

use schemars::{JsonSchema, Schema, schema_for};
use serde_json::Value;
use std::collections::BTreeMap;

/// Where secrets come from. The store `env`, the environment of the host, is always there.
#[derive(JsonSchema)]
#[serde(transparent)]
#[schemars(extend("propertyNames" = {"pattern": "^[a-z0-9]([a-z0-9-]{0,55}[a-z0-9])?$", "not": {"const": "env"}}))]
struct Stores(BTreeMap<String, Store>);

/// A store: exactly one kind.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
enum Store {
    /// A file that age encrypted; inside is a YAML or JSON mapping from names to values.
    Age(Age),
    /// A KV engine of HashiCorp Vault, or of what speaks its API.
    Vault(Vault),
    /// AWS Secrets Manager.
    AwsSecretsManager(Aws),
    /// A program that prints the secret.
    Exec(Exec),
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["identity"]}, {"required": ["passphrase"]}]))]
struct Age {
    /// The encrypted file, relative to the deployment file; binary or armored.
    file: Line,
    /// Where the identity is that opens it: what `age-keygen` prints.
    identity: Option<Held>,
    /// Where the passphrase is that opens it.
    passphrase: Option<Held>,
}

#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["token"]}, {"required": ["appRole"]}]))]
struct Vault {
    /// Where Vault answers, without `/v1`. `https`, or `http` on this machine.
    #[schemars(regex(pattern = "^https?://[^@?#]+$"))]
    address: String,
    /// The path that the engine is mounted at; `secret` unless written.
    mount: Option<PathText>,
    /// The version of the KV engine; 2 unless written.
    #[schemars(range(min = 1, max = 2))]
    version: Option<u8>,
    /// Where the token is.
    token: Option<Held>,
    /// Log in with AppRole instead; again when the lease ends.
    app_role: Option<AppRole>,
    /// The namespace (Vault Enterprise).
    #[schemars(regex(pattern = "^[!-~]+$"))]
    namespace: Option<String>,
}

#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AppRole {
    /// The role's id, which is no secret.
    role_id: Line,
    /// Where the secret id is.
    secret_id: Held,
}

#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Aws {
    /// Such as `eu-west-1`.
    #[schemars(regex(pattern = "^[a-z0-9-]+$"))]
    region: String,
    /// Where the access key's id is.
    access_key_id: Held,
    /// Where the secret access key is.
    secret_access_key: Held,
    /// Where the session token is; none is sent when the variable is not set.
    session_token: Option<Held>,
    /// The region's own unless written. `https`, or `http` on this machine.
    #[schemars(regex(pattern = "^https?://[^@?#/]+/?$"))]
    endpoint: Option<String>,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct Exec {
    /// The program's absolute path and its arguments; `{key}` stands for the secret's key. There is no shell.
    #[schemars(length(min = 1), extend("prefixItems" = [{"type": "string", "pattern": "^/"}]))]
    command: Vec<String>,
    /// The digest that the program must have.
    #[schemars(regex(pattern = "^(sha256:)?[0-9a-f]{64}$"))]
    sha256: Option<String>,
    /// How long it may run, at most `5m`; `10s` unless written.
    #[schemars(regex(pattern = "^([0-9]+(ms|s|m|h|d))+$"))]
    timeout: Option<String>,
    /// Variables of the host's environment that it sees, beside `PATH` and `HOME`.
    env: Option<Vec<Variable>>,
}

/// Where a store's own credential is; never the credential itself.
#[derive(JsonSchema)]
#[serde(untagged)]
enum Held {
    /// In a variable.
    Env(HeldEnv),
    /// In a file.
    File(HeldFile),
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct HeldEnv {
    /// The variable's name.
    env: Variable,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct HeldFile {
    /// The file's path, relative to the deployment file; `~/` is the home folder.
    file: Line,
}

#[derive(JsonSchema)]
#[serde(transparent)]
struct Variable(#[schemars(regex(pattern = "^[A-Za-z_][A-Za-z0-9_]*$"))] String);

#[derive(JsonSchema)]
#[serde(transparent)]
struct Line(#[schemars(regex(pattern = r"^[^\x00-\x1f\x7f]+$"))] String);

#[derive(JsonSchema)]
#[serde(transparent)]
struct PathText(#[schemars(regex(pattern = r"^[^/\x00-\x1f\x7f]+(/[^/\x00-\x1f\x7f]+)*$"))] String);

/// The secrets, by the names that the rest of the file uses: `${secret.NAME}`.
#[derive(JsonSchema)]
#[serde(transparent)]
#[schemars(extend("propertyNames" = {"pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}))]
struct Secrets(BTreeMap<String, Secret>);

/// Where a secret is. Read only when a plugin of the run needs it.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct Secret {
    /// `env`, or a name from `secretStores`.
    store: Line,
    /// What the store calls it: a variable, a name in an age file (`.` for all of it), a path in Vault, the name or ARN of
    /// an AWS secret, what a program gets for `{key}`.
    key: Line,
    /// The key inside the JSON object that the store holds.
    field: Option<Line>,
    /// AWS: the staging label; `AWSCURRENT` unless written.
    stage: Option<Line>,
    /// Vault: the number of a version; AWS: the id of one. The newest unless written.
    version: Option<Version>,
}

#[derive(JsonSchema)]
#[serde(untagged)]
enum Version {
    /// Vault.
    Number(#[schemars(range(min = 1))] u32),
    /// AWS.
    Id(Line),
}

/// The JSON Schema of `secretStores`.
#[must_use]
pub fn stores_schema() -> Schema {
    without_null(schema_for!(Stores))
}

/// The JSON Schema of `secrets`.
#[must_use]
pub fn secrets_schema() -> Schema {
    without_null(schema_for!(Secrets))
}

/// A key that may be left out must not be written without a value: schemars says that it may.
fn without_null(schema: Schema) -> Schema {
    let mut value = schema.to_value();
    strip_null(&mut value);
    Schema::try_from(value.clone()).unwrap_or_else(|_| Schema::from(value.as_bool().unwrap_or(true)))
}

fn strip_null(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    map.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(options)) = map.get_mut("anyOf") {
                options.retain(|option| option.get("type").is_none_or(|name| name != "null"));
            }
            map.values_mut().for_each(strip_null);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_null),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use crate::SecretsConfig;
    use serde_json::{Value, json};

    #[test]
    fn the_schemas_and_the_parser_agree() {
        let compile = |schema| jsonschema::validator_for(&serde_json::to_value(schema).unwrap()).unwrap();
        let (stores_schema, secrets_schema) = (compile(super::stores_schema()), compile(super::secrets_schema()));
        let held = json!({"env": "A"});
        let vault = |change: Value| {
            let mut vault = json!({"address": "https://v.example", "token": held});
            for (key, value) in change.as_object().unwrap() {
                vault[key] = value.clone();
            }
            json!({"v": {"vault": vault}})
        };
        let exec = |exec: Value| json!({"e": {"exec": exec}});
        let aws = |change: Value| {
            let mut aws = json!({"region": "eu-west-1", "accessKeyId": held, "secretAccessKey": held});
            for (key, value) in change.as_object().unwrap() {
                aws[key] = value.clone();
            }
            json!({"a": {"awsSecretsManager": aws}})
        };
        let stores = [
            json!({}),
            json!({"f": {"age": {"file": "a", "identity": {"file": "~/k"}}}}),
            json!({"f": {"age": {"file": "a", "passphrase": held}}}),
            vault(json!({})),
            vault(json!({"mount": "team/kv", "version": 1, "namespace": "team-a/b"})),
            json!({"v": {"vault": {"address": "http://127.0.0.1:8200", "appRole": {"roleId": "r", "secretId": held}}}}),
            aws(json!({})),
            aws(json!({"sessionToken": held, "endpoint": "http://127.0.0.1:5555"})),
            exec(json!({"command": ["/bin/x"]})),
            exec(json!({"command": ["/bin/x", "{key}"], "sha256": "a".repeat(64), "timeout": "1m30s", "env": ["A_B"]})),
            // wrong
            json!([]),
            json!({"env": {"age": {"file": "a", "passphrase": held}}}),
            json!({"Team": {"age": {"file": "a", "passphrase": held}}}),
            json!({"t": {}}),
            json!({"t": null}),
            json!({"t": {"valt": {}}}),
            json!({"t": {"age": {"file": "a", "passphrase": held}, "exec": {"command": ["/x"]}}}),
            json!({"f": {"age": {"file": "a"}}}),
            json!({"f": {"age": {"file": "a", "identity": held, "passphrase": held}}}),
            json!({"f": {"age": {"file": "", "identity": held}}}),
            json!({"f": {"age": {"file": "a\u{0}", "identity": held}}}),
            json!({"f": {"age": {"file": "a", "identity": {"env": "1A"}}}}),
            json!({"f": {"age": {"file": "a", "identity": {"env": "A", "file": "b"}}}}),
            json!({"f": {"age": {"file": "a", "identity": "AGE-SECRET-KEY-1"}}}),
            json!({"f": {"age": {"file": "a", "identity": null}}}),
            vault(json!({"x": 1})),
            vault(json!({"address": "ftp://v.example"})),
            vault(json!({"address": "https://u:p@v.example"})),
            vault(json!({"address": "https://v.example/?a"})),
            vault(json!({"mount": "/secret"})),
            vault(json!({"mount": null})),
            vault(json!({"version": 3})),
            vault(json!({"version": "2"})),
            vault(json!({"version": null})),
            vault(json!({"namespace": "a b"})),
            vault(json!({"appRole": {"roleId": "r", "secretId": held}})),
            json!({"v": {"vault": {"address": "https://v.example", "appRole": {"roleId": "r"}}}}),
            aws(json!({"region": "EU"})),
            aws(json!({"sessionToken": "x"})),
            aws(json!({"endpoint": "https://a.example/x"})),
            exec(json!({"command": []})),
            exec(json!({"command": "/bin/x"})),
            exec(json!({"command": ["x"]})),
            exec(json!({"command": ["/x", 1]})),
            exec(json!({"command": ["/x"], "sha256": "12"})),
            exec(json!({"command": ["/x"], "timeout": "10"})),
            exec(json!({"command": ["/x"], "timeout": 10})),
            exec(json!({"command": ["/x"], "env": ["A=B"]})),
            exec(json!({"command": ["/x"], "env": [""]})),
        ];
        let mut fine = 0;
        for case in stores {
            let parsed = SecretsConfig::parse(&case, &Value::Null);
            fine += usize::from(parsed.is_ok());
            assert_eq!(stores_schema.is_valid(&case), parsed.is_ok(), "{case}: {parsed:?}");
        }
        assert_eq!(fine, 10, "the first ten are fine");
        let stores = json!({
            "v": {"vault": {"address": "https://v.example", "token": held}},
            "a": {"awsSecretsManager": {"region": "eu-west-1", "accessKeyId": held, "secretAccessKey": held}},
        });
        let secrets = [
            json!({}),
            json!({"a": {"store": "env", "key": "A"}}),
            json!({"a": {"store": "v", "key": "apps/db", "field": "password", "version": 3}}),
            json!({"a": {"store": "a", "key": "db", "stage": "AWSPREVIOUS", "version": "0".repeat(36)}}),
            // wrong
            json!({"A": {"store": "env", "key": "A"}}),
            json!({"a": {"store": "env"}}),
            json!({"a": {"key": "A"}}),
            json!({"a": {"store": "env", "key": ""}}),
            json!({"a": {"store": "env", "key": null}}),
            json!({"a": {"store": "env", "key": "A", "field": null}}),
            json!({"a": {"store": "env", "key": "A", "feild": "x"}}),
            json!({"a": {"store": "v", "key": "A", "version": 0}}),
            json!({"a": {"store": "v", "key": "A", "version": ""}}),
            json!({"a": {"store": "a", "key": "A", "stage": 1}}),
            json!({"a": "env:A"}),
            json!([]),
        ];
        for case in secrets {
            let parsed = SecretsConfig::parse(&stores, &case);
            assert_eq!(secrets_schema.is_valid(&case), parsed.is_ok(), "{case}: {parsed:?}");
        }
    }

    #[test]
    fn every_key_is_described() {
        fn walk(value: &Value, at: &str, missing: &mut Vec<String>) {
            if let Some(Value::Object(properties)) = value.get("properties") {
                for (key, property) in properties {
                    // A variant's only key is described by its variant.
                    if property.get("description").is_none() && value.get("description").is_none() {
                        missing.push(format!("{at}/{key}"));
                    }
                }
            }
            match value {
                Value::Object(map) => map.iter().for_each(|(key, inner)| walk(inner, &format!("{at}/{key}"), missing)),
                Value::Array(items) => items.iter().for_each(|inner| walk(inner, at, missing)),
                _ => {}
            }
        }
        let mut missing = Vec::new();
        for schema in [super::stores_schema(), super::secrets_schema()] {
            walk(&schema.to_value(), "", &mut missing);
        }
        assert!(missing.is_empty(), "{missing:?}");
    }
}
