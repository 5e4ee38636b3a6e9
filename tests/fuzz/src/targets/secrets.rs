//! The sections `secretStores` and `secrets` of a deployment file, as JSON.

use super::leads_somewhere;
use crate::Target;
use basb_secrets::{SecretsConfig, secrets_schema, stores_schema};
use serde_json::Value;
use std::sync::LazyLock;

pub(crate) const TARGET: Target = Target {
    name: "secrets",
    run,
    more: &[],
    words: &[
        "\"secretStores\"",
        "\"secrets\"",
        "\"env\"",
        "\"age\"",
        "\"vault\"",
        "\"aws\"",
        "\"exec\"",
        "\"file\"",
        "\"identity\"",
        "\"passphrase\"",
        "\"address\"",
        "\"mount\"",
        "\"version\"",
        "\"token\"",
        "\"appRole\"",
        "\"namespace\"",
        "\"region\"",
        "\"endpoint\"",
        "\"program\"",
        "\"args\"",
        "\"{key}\"",
        "\"sha256\"",
        "\"timeout\"",
        "\"store\"",
        "\"key\"",
        "\"field\"",
        "\"stage\"",
        "\"5s\"",
        "https://vault.example.com:8200",
        "/usr/bin/pass",
        "~/",
        "..",
        "@",
        "{}",
        "[]",
        "null",
    ],
};

static SCHEMAS: LazyLock<[jsonschema::Validator; 2]> = LazyLock::new(|| {
    [stores_schema(), secrets_schema()]
        .map(|schema| jsonschema::validator_for(schema.as_value()).expect("the schema of a section is a schema"))
});

fn run(input: &[u8]) {
    let Ok(document) = serde_json::from_slice::<Value>(input) else { return };
    let (stores, secrets) = (&document["secretStores"], &document["secrets"]);
    match SecretsConfig::parse(stores, secrets) {
        Ok(config) => {
            for name in config.names() {
                assert!(secrets.get(name.as_str()).is_some(), "{name}");
                assert!(config.origin(&name).is_some(), "{name} comes from nowhere: {document}");
            }
            assert_eq!(config.names().len(), secrets.as_object().map_or(0, serde_json::Map::len));
            for (schema, value) in SCHEMAS.iter().zip([stores, secrets]) {
                assert!(value.is_null() || schema.is_valid(value), "read, but not by the schema: {value}");
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems {
                assert!(leads_somewhere(&document, &problem.pointer), "{problem:?} in {document}");
                assert!(!problem.message.is_empty() && !problem.help.is_empty());
            }
        }
    }
}
