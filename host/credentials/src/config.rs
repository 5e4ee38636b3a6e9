//! The section `credentials` of a deployment file.

use crate::CredentialName;
use basb_redact::SecretName;
use basb_secrets::ConfigProblem;
use serde_json::Value;

/// The credentials of a deployment, and where each may be used.
#[derive(Debug, Clone, Default)]
pub struct CredentialsConfig {}

impl CredentialsConfig {
    /// Reads the value of `credentials`; `null` stands for none.
    ///
    /// # Errors
    /// Everything that is wrong with it, with pointers from the root of the deployment file.
    pub fn parse(value: &Value) -> Result<Self, Vec<ConfigProblem>> {
        let _ = value;
        Ok(Self::default())
    }

    /// The names of the credentials.
    #[must_use]
    pub fn names(&self) -> Vec<CredentialName> {
        Vec::new()
    }

    /// The secrets that these credentials need, each once.
    #[must_use]
    pub fn secrets_of(&self, names: &[CredentialName]) -> Vec<SecretName> {
        let _ = names;
        Vec::new()
    }
}
