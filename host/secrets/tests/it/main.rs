//! Secrets from their stores, with a network that does what each test says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it did not test"
)]

mod exec;
mod leaks;
mod network;
mod sharing;

use basb_redact::{Redactor, SecretName, SecretValue};
use basb_secrets::{Environment, SecretError, Secrets, SecretsConfig};
use network::Network;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// A deployment's secrets, and what knows them.
struct Setup {
    secrets: Secrets,
    redactor: Redactor,
    network: Arc<Network>,
}

fn name(name: &str) -> SecretName {
    SecretName::new(name).unwrap()
}

fn setup(stores: Value, secrets: Value, variables: &[(&str, &str)], network: Arc<Network>, base: &Path) -> Setup {
    let config = SecretsConfig::parse(&stores, &secrets).unwrap();
    let variables: BTreeMap<_, _> = variables.iter().map(|(k, v)| ((*k).to_owned(), SecretValue::new(*v))).collect();
    let (redactor, environment) = (Redactor::default(), Environment::Fixed(Arc::new(variables)));
    let secrets = Secrets::with_environment(config, base.to_owned(), network.clone(), redactor.clone(), environment);
    Setup { secrets, redactor, network }
}

impl Setup {
    async fn text(&self, secret: &str) -> Result<String, SecretError> {
        self.secrets.get(&name(secret)).await.map(|value| value.expose_text().unwrap().to_owned())
    }

    async fn error(&self, secret: &str) -> SecretError {
        self.secrets.get(&name(secret)).await.unwrap_err()
    }
}
