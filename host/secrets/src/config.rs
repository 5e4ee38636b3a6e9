//! The sections `secretStores` and `secrets` of a deployment file, as read.

use crate::parse;
use basb_core::{Millis, PluginName};
use basb_redact::SecretName;
use serde_json::Value;
use std::collections::BTreeMap;
use url::Url;

/// The name of a store in the deployment file.
pub(crate) type StoreName = PluginName;

/// Something wrong with a section.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigProblem {
    /// The JSON pointer to what is wrong, from the root of the deployment file.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

/// Which secrets there are, and where each is to be had. Holds no secret.
#[derive(Debug, Clone, Default)]
pub struct SecretsConfig {
    pub(crate) stores: BTreeMap<StoreName, StoreConfig>,
    pub(crate) secrets: BTreeMap<SecretName, Item>,
}

impl SecretsConfig {
    /// Reads the values of `secretStores` and `secrets`; `null` stands for none.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn parse(stores: &Value, secrets: &Value) -> Result<Self, Vec<ConfigProblem>> {
        parse::sections(stores, secrets)
    }

    /// The names of the secrets.
    #[must_use]
    pub fn names(&self) -> Vec<SecretName> {
        self.secrets.keys().cloned().collect()
    }

    /// Where a secret comes from, for a person: ``store `team` (Vault at https://vault.example.com:8200), key `apps/db` ``.
    #[must_use]
    pub fn origin(&self, name: &SecretName) -> Option<String> {
        let item = self.secrets.get(name)?;
        let kind = self.stores.get(&item.store).map_or_else(|| "the environment".to_owned(), StoreConfig::place);
        Some(format!("store `{}` ({kind}), key `{}`", item.store, item.key))
    }
}

/// One secret: where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// Which store.
    pub store: StoreName,
    /// What the store calls it.
    pub key: String,
    /// The key inside the object that the store holds.
    pub field: Option<String>,
    /// AWS: the staging label.
    pub stage: Option<String>,
    /// Vault: the number of a version; AWS: the id of one.
    pub version: Option<String>,
}

/// One store. The environment needs no entry.
#[derive(Debug, Clone)]
pub(crate) enum StoreConfig {
    Age(AgeConfig),
    Vault(VaultConfig),
    Aws(AwsConfig),
    Exec(ExecConfig),
}

impl StoreConfig {
    /// What and where it is, for a person.
    pub fn place(&self) -> String {
        match self {
            Self::Age(config) => format!("the age file {}", config.file),
            Self::Vault(config) => format!("Vault at {}", origin(&config.address)),
            Self::Aws(config) => format!("AWS Secrets Manager at {}", origin(&config.endpoint)),
            Self::Exec(config) => format!("the program {}", config.program),
        }
    }
}

/// Scheme, host and port.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Where a store's own credential is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Held {
    /// In a variable of the environment.
    Env(String),
    /// In a file; relative to the deployment file, `~/` to the home folder.
    File(String),
}

/// A file that age encrypted.
#[derive(Debug, Clone)]
pub(crate) struct AgeConfig {
    pub file: String,
    pub unlock: Unlock,
}

/// What opens an age file.
#[derive(Debug, Clone)]
pub(crate) enum Unlock {
    Identity(Held),
    Passphrase(Held),
}

/// A KV engine of HashiCorp Vault or of what speaks its API.
#[derive(Debug, Clone)]
pub(crate) struct VaultConfig {
    /// Without the `/v1`.
    pub address: Url,
    /// The mount's path, segment by segment.
    pub mount: Vec<String>,
    pub version: KvVersion,
    pub auth: VaultAuth,
    pub namespace: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KvVersion {
    V1,
    V2,
}

#[derive(Debug, Clone)]
pub(crate) enum VaultAuth {
    Token(Held),
    AppRole { role_id: String, secret_id: Held },
}

#[derive(Debug, Clone)]
pub(crate) struct AwsConfig {
    pub region: String,
    pub access_key_id: Held,
    pub secret_access_key: Held,
    pub session_token: Option<Held>,
    /// The region's own unless written.
    pub endpoint: Url,
}

#[derive(Debug, Clone)]
pub(crate) struct ExecConfig {
    /// Absolute.
    pub program: String,
    /// `{key}` stands for the secret's key.
    pub args: Vec<String>,
    /// 64 lower-case hexadecimal digits.
    pub sha256: Option<String>,
    pub timeout: Millis,
    /// Variables that are passed on, beside `PATH` and `HOME`.
    pub env: Vec<String>,
}
