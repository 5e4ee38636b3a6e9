//! The kinds of stores. None of them teaches the redactor what it reads: [`crate::Secrets`] does, before it hands it out.

mod age;
mod aws;
mod env;
mod exec;
mod vault;

use crate::config::{Item, StoreConfig};
use crate::environment::Environment;
use crate::error::StoreError;
use crate::field::Raw;
use crate::own::Own;

/// A store.
pub(crate) enum Store {
    Env(Environment),
    Age(age::AgeFile),
    Vault(vault::Vault),
    Aws(aws::SecretsManager),
    Exec(exec::Program),
}

impl Store {
    pub fn new(config: StoreConfig, own: Own) -> Self {
        match config {
            StoreConfig::Age(config) => Self::Age(age::AgeFile::new(config, own)),
            StoreConfig::Vault(config) => Self::Vault(vault::Vault::new(config, own)),
            StoreConfig::Aws(config) => Self::Aws(aws::SecretsManager::new(config, own)),
            StoreConfig::Exec(config) => Self::Exec(exec::Program::new(config, own)),
        }
    }

    pub fn environment(environment: Environment) -> Self {
        Self::Env(environment)
    }

    /// Reads one secret; `what` names it in errors.
    pub async fn read(&self, item: &Item, what: &str) -> Result<Raw, StoreError> {
        match self {
            Self::Env(environment) => env::read(environment, item),
            Self::Age(file) => file.read(item, what).await,
            Self::Vault(vault) => vault.read(item, what).await,
            Self::Aws(manager) => manager.read(item, what).await,
            Self::Exec(program) => program.read(item, what).await,
        }
    }
}
