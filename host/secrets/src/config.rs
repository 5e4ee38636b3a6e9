//! The sections `secretStores` and `secrets` of a deployment file.

use serde_json::Value;

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

/// Which secrets there are, and where each is to be had.
#[derive(Debug, Clone, Default)]
pub struct SecretsConfig {}

impl SecretsConfig {
    /// Reads the values of `secretStores` and `secrets`; `null` stands for none.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn parse(stores: &Value, secrets: &Value) -> Result<Self, Vec<ConfigProblem>> {
        let _ = (stores, secrets);
        Ok(Self::default())
    }

    /// The names of the secrets.
    #[must_use]
    pub fn names(&self) -> Vec<basb_redact::SecretName> {
        Vec::new()
    }
}
