//! The secrets and credentials of a deployment: read from its file, given to the door, checked before anything changes.
//!
//! Only secrets that the credentials of a plugin in use need are ever read.

use crate::EngineError;
use basb_capabilities::Capabilities;
use basb_core::model::Deployment;
use basb_credentials::{CredentialName, Credentials, CredentialsConfig};
use basb_redact::{Redactor, SecretName};
use basb_secrets::{ConfigProblem, Secrets, SecretsConfig};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// The secrets and credentials of a deployment.
#[derive(Debug)]
pub struct Access {
    redactor: Redactor,
    secrets: Arc<Secrets>,
    needed: Vec<SecretName>,
}

impl Access {
    /// Reads the deployment's sections, and gives the door what it needs. Reads no secret yet.
    ///
    /// # Errors
    /// Everything that is wrong with the sections.
    pub fn of(deployment: &Deployment, capabilities: &Capabilities, base: &Path) -> Result<Self, Vec<ConfigProblem>> {
        let mut problems = Vec::new();
        let mut keep = |wrong: Vec<ConfigProblem>| problems.extend(wrong);
        let stores = SecretsConfig::parse(&deployment.secret_stores, &deployment.secrets).map_err(&mut keep).ok();
        let config = CredentialsConfig::parse(&deployment.credentials).map_err(&mut keep).ok();
        let (Some(stores), Some(config)) = (stores, config) else { return Err(problems) };
        let known: BTreeSet<SecretName> = stores.names().into_iter().collect();
        let used: BTreeSet<CredentialName> =
            deployment.plugins.values().flat_map(|plugin| plugin.credentials.iter().cloned()).collect();
        let used: Vec<CredentialName> = used.into_iter().collect();
        for credential in &used {
            for secret in config.secrets_of(std::slice::from_ref(credential)) {
                if !known.contains(&secret) {
                    problems.push(ConfigProblem {
                        pointer: format!("/credentials/{credential}"),
                        message: format!("there is no secret `{secret}`"),
                        help: format!("name it under `secrets`:\nsecrets:\n  {secret}: {{ store: env, key: NAME }}"),
                    });
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let needed = config.secrets_of(&used);
        let redactor = capabilities.redactor().clone();
        let transport = capabilities.transport();
        let secrets = Arc::new(Secrets::new(stores, base.to_owned(), Arc::clone(&transport), redactor.clone()));
        capabilities.use_credentials(Arc::new(Credentials::new(config, Arc::clone(&secrets), transport)));
        Ok(Self { redactor, secrets, needed })
    }

    /// What knows every secret that was read.
    #[must_use]
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Reads every secret that is needed, before anything is changed.
    ///
    /// # Errors
    /// [`EngineError::Secrets`] with all that are missing.
    pub async fn check(&self) -> Result<(), EngineError> {
        self.secrets.get_all(&self.needed).await.map_err(EngineError::Secrets)
    }
}

#[cfg(test)]
mod tests {
    use basb_core::PluginName;

    /// What the deployment file puts in a secret's place is what the door looks for.
    #[test]
    fn the_placeholder_is_one() {
        let name = PluginName::new("a-1").unwrap();
        assert_eq!(basb_spec::placeholder("a-1"), basb_credentials::placeholder::of(&name));
    }
}
