//! Reads the two sections from JSON, and says of everything that is wrong where it is and what to write instead.
//!
//! No message quotes a value from a place where somebody may have pasted a secret instead of saying where it is.

mod reader;
mod secret;
mod store;

use crate::config::{SecretsConfig, StoreConfig, StoreName};
use crate::{ConfigProblem, config};
use basb_redact::SecretName;
use reader::Reader;
use serde_json::Value;
use std::collections::BTreeMap;

/// The store that needs no entry.
pub(crate) const ENV: &str = "env";
/// The longest name of a store: the redactor knows its own credentials as `store-NAME`, which is a name too.
pub(crate) const LONGEST_STORE_NAME: usize = basb_core::id::MAX_NAME - "store-".len();

/// What is known of a store while the secrets are read.
enum Known {
    Env,
    Age,
    Vault(config::KvVersion),
    Aws,
    Exec,
    /// It is there, but something is wrong with it.
    Broken,
}

/// Both sections.
pub(crate) fn sections(stores: &Value, secrets: &Value) -> Result<SecretsConfig, Vec<ConfigProblem>> {
    let mut reader = Reader::default();
    let mut known: BTreeMap<String, Known> = BTreeMap::from([(ENV.to_owned(), Known::Env)]);
    let mut config = SecretsConfig::default();
    for (at, name, value) in reader.entries("/secretStores", stores, "`team: {vault: {…}}`") {
        if name == ENV {
            reader.wrong(&at, "the store `env` is always there", "remove it, or give it another name");
            continue;
        }
        let valid = reader.name::<StoreName>(&at, name, StoreName::new);
        if name.len() > LONGEST_STORE_NAME {
            reader.wrong(&at, format!("`{name}` is too long"), format!("use at most {LONGEST_STORE_NAME} characters"));
        }
        let read = reader.store(&at, value);
        let kind = match &read {
            None => Known::Broken,
            Some(StoreConfig::Age(_)) => Known::Age,
            Some(StoreConfig::Vault(vault)) => Known::Vault(vault.version),
            Some(StoreConfig::Aws(_)) => Known::Aws,
            Some(StoreConfig::Exec(_)) => Known::Exec,
        };
        known.insert(name.to_owned(), kind);
        if let (Some(name), Some(store)) = (valid, read) {
            config.stores.insert(name, store);
        }
    }
    for (at, name, value) in reader.entries("/secrets", secrets, "`db: {store: env, key: DB_PASSWORD}`") {
        let valid = reader.name::<SecretName>(&at, name, SecretName::new);
        if let (Some(name), Some(item)) = (valid, reader.secret(&at, value, &known)) {
            config.secrets.insert(name, item);
        }
    }
    if reader.problems.is_empty() { Ok(config) } else { Err(reader.problems) }
}

#[cfg(test)]
mod tests;
