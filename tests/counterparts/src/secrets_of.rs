//! The secrets of a deployment file, as the host sets them up, with variables that a test chooses.

use crate::RealTransport;
use basb_redact::{Redactor, SecretName, SecretValue};
use basb_secrets::{Environment, SecretError, Secrets, SecretsConfig};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Secrets, and the redactor that learns them.
#[derive(Debug)]
pub struct SecretsOf {
    /// To be asked.
    pub secrets: Secrets,
    /// Knows what was read.
    pub redactor: Redactor,
}

impl SecretsOf {
    /// Sets up the sections `secretStores` and `secrets`; relative paths start from `base`.
    ///
    /// # Panics
    /// When something is wrong with the sections.
    #[must_use]
    pub fn new(stores: &Value, secrets: &Value, variables: &[(&str, &str)], base: &Path) -> Self {
        let config = SecretsConfig::parse(stores, secrets).unwrap_or_else(|problems| panic!("{problems:?}"));
        let variables: BTreeMap<_, _> =
            variables.iter().map(|(k, v)| ((*k).to_owned(), SecretValue::new(*v))).collect();
        let (redactor, environment) = (Redactor::default(), Environment::Fixed(Arc::new(variables)));
        let transport = RealTransport::new();
        let secrets = Secrets::with_environment(config, base.to_owned(), transport, redactor.clone(), environment);
        Self { secrets, redactor }
    }

    /// A secret's value, as text.
    ///
    /// # Errors
    /// As [`Secrets::get`].
    ///
    /// # Panics
    /// When it is not text, or the redactor does not know it.
    pub async fn text(&self, name: &str) -> Result<String, SecretError> {
        let name = SecretName::new(name).expect("a name");
        let value = self.secrets.get(&name).await?;
        assert!(self.redactor.find(value.expose()).is_some(), "the redactor knows `{name}` before anybody else");
        Ok(value.expose_text().expect("a secret that is text").to_owned())
    }

    /// Why a secret is not to be had: its code, and everything that is said.
    ///
    /// # Panics
    /// When it is to be had.
    pub async fn error(&self, name: &str) -> (&'static str, String) {
        let error = self.text(name).await.expect_err("an error");
        (error.code, format!("{error}; {}; {error:?}", error.help))
    }
}
