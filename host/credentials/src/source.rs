//! What this crate needs of the keeper of secrets.

use basb_redact::{SecretName, SecretValue, TooShort};
use basb_secrets::{SecretError, Secrets};
use futures_util::future::BoxFuture;
use std::fmt;

/// Keeps secrets, and keeps them out of what is shown. [`Secrets`] does; a test may bring its own.
pub trait SecretSource: Send + Sync + fmt::Debug {
    /// The value of a secret, known to the redactor before it is returned.
    ///
    /// # Errors
    /// [`SecretError`].
    fn secret<'a>(&'a self, name: &'a SecretName) -> BoxFuture<'a, Result<SecretValue, SecretError>>;

    /// Learns a value that was made from secrets: a token, temporary keys. Shown as `[secret NAME]` from then on, with the
    /// name of the credential.
    ///
    /// # Errors
    /// The value is too short to be told from other text.
    fn learn(&self, name: &SecretName, value: &SecretValue) -> Result<(), TooShort>;

    /// `text` without any known secret.
    fn redacted(&self, text: &str) -> String;
}

impl SecretSource for Secrets {
    fn secret<'a>(&'a self, name: &'a SecretName) -> BoxFuture<'a, Result<SecretValue, SecretError>> {
        Box::pin(self.get(name))
    }

    fn learn(&self, name: &SecretName, value: &SecretValue) -> Result<(), TooShort> {
        self.redactor().learn(name, value)
    }

    fn redacted(&self, text: &str) -> String {
        self.redactor().text(text).into_owned()
    }
}
