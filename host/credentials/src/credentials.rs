//! The one place where a credential is put into a request.

use crate::{Applied, CredentialName, CredentialsConfig, Outgoing};
use basb_secrets::{Secrets, Transport};
use std::sync::Arc;
use std::time::SystemTime;

/// Why a request cannot be completed; nothing is sent then. Never holds any part of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {help}")]
pub struct CredentialError {
    /// The stable code, such as `credential/not-bound`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do, with lines to paste where lines would help.
    pub help: String,
}

/// The credentials of a deployment.
#[derive(Debug, Clone)]
pub struct Credentials {}

impl Credentials {
    /// Sets them up; asks nobody for anything yet.
    #[must_use]
    pub fn new(config: CredentialsConfig, secrets: Arc<Secrets>, transport: Arc<dyn Transport>) -> Self {
        let _ = (config, secrets, transport);
        Self {}
    }

    /// Completes a request of a plugin that may use these credentials: replaces placeholders, adds headers, signs.
    ///
    /// # Errors
    /// [`CredentialError`]: a placeholder that is not bound to this destination, a secret that is missing, a token that is
    /// refused.
    pub async fn apply(
        &self,
        allowed: &[CredentialName],
        request: &mut Outgoing,
        now: SystemTime,
    ) -> Result<Applied, CredentialError> {
        let _ = (allowed, request, now);
        Ok(Applied::default())
    }
}
