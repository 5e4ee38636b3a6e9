//! What goes wrong with secrets.

use basb_redact::Redactor;

/// Why a secret is not to be had. Never holds any part of a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("secret `{name}`: {message}")]
pub struct SecretError {
    /// Which.
    pub name: String,
    /// The stable code, such as `secret/missing`.
    pub code: &'static str,
    /// What is wrong, and where it was looked for.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// The section `secrets` has no such name.
pub(crate) const UNKNOWN: &str = "secret/unknown";
/// The store does not have it.
pub(crate) const MISSING: &str = "secret/missing";
/// It is there and empty.
pub(crate) const EMPTY: &str = "secret/empty";
/// The store had it, and somebody deleted it.
pub(crate) const DELETED: &str = "secret/deleted";
/// The store does not let these credentials have it.
pub(crate) const DENIED: &str = "secret/denied";
/// The field is not in it, or it has no fields.
pub(crate) const FIELD: &str = "secret/field";
/// It is shorter than the redactor can find.
pub(crate) const TOO_SHORT: &str = "secret/too-short";
/// It is longer than a secret may be.
pub(crate) const TOO_LONG: &str = "secret/too-long";
/// The store's own credentials are missing, cannot be used, or are refused.
pub(crate) const CREDENTIALS: &str = "secret/store-credentials";
/// The store does not answer, or says that it cannot for now.
pub(crate) const UNAVAILABLE: &str = "secret/store-unavailable";
/// The store answers with something else than it should.
pub(crate) const FAILED: &str = "secret/store-failed";
/// The store takes too long.
pub(crate) const TIMEOUT: &str = "secret/store-timeout";

/// Why a store does not give a secret: a [`SecretError`] without the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoreError {
    pub code: &'static str,
    pub message: String,
    pub help: String,
}

impl StoreError {
    pub fn new(code: &'static str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: help.into() }
    }
}

/// The longest text of somebody else that an error holds, in characters.
const QUOTED: usize = 300;

/// What somebody else said, made fit for an error: without secrets, in one line, not too long.
pub(crate) fn quoted(redactor: &Redactor, text: &str) -> String {
    // Redacted before it is cut: half a secret would not be found any more.
    let text = redactor.text(text);
    let text = text.trim();
    let mut out: String = text.chars().take(QUOTED).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().count() > QUOTED {
        out.push('…');
    }
    out
}
