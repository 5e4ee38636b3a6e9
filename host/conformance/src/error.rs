//! Why the kit cannot be run. What is wrong with the plugin is no error: it is in the report.

/// Why the kit cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct KitError {
    /// A code that stays the same from version to version.
    pub code: &'static str,
    /// What is wrong, and where.
    pub message: String,
    /// What to do next.
    pub next: String,
}

impl KitError {
    /// An error.
    #[must_use]
    pub fn new(code: &'static str, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self { code, message: message.into(), next: next.into() }
    }
}
