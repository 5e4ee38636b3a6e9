//! A secret's name, which anybody may see, and its value, which nobody may.

use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The name of a secret in the deployment file: the same rules as for every other name there.
pub type SecretName = basb_core::PluginName;

/// A secret. Wiped from memory when the last copy goes; shown as `[secret]`.
#[derive(Clone)]
pub struct SecretValue(Arc<Zeroizing<Vec<u8>>>);

impl SecretValue {
    /// Wraps a value.
    #[must_use]
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Self(Arc::new(Zeroizing::new(value.into())))
    }

    /// The value, for the moment of its use.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The value as text, if it is UTF-8.
    #[must_use]
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
