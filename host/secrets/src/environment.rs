//! The host's environment variables, or others in their place.

use basb_redact::SecretValue;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where variables are looked up.
#[derive(Debug, Clone, Default)]
pub enum Environment {
    /// The environment of this process.
    #[default]
    Process,
    /// These and no others, for tests and for hosts that hold their own.
    Fixed(Arc<BTreeMap<String, SecretValue>>),
}

impl Environment {
    /// The value of a variable, if it is set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<SecretValue> {
        match self {
            Self::Process => std::env::var_os(name).map(|value| SecretValue::new(value.into_vec())),
            Self::Fixed(values) => values.get(name).cloned(),
        }
    }

    /// The path that a deployment file means: `~/` is the home folder, relative ones start from `base`.
    pub(crate) fn path(&self, base: &Path, text: &str) -> PathBuf {
        if let Some(rest) = text.strip_prefix("~/")
            && let Some(home) = self.get("HOME")
            && let Some(home) = home.expose_text()
        {
            return Path::new(home).join(rest);
        }
        base.join(text)
    }
}
