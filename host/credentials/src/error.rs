//! What is said when a request cannot be completed.

use crate::CredentialName;
use basb_grants::{printable, yaml_value};
use basb_redact::{SecretName, TooShort};
use basb_secrets::SecretError;
use std::fmt::Write as _;

/// Why a request cannot be completed; nothing is sent then. Never holds any part of a secret.
///
/// The codes:
///
/// | Code | When |
/// |---|---|
/// | `credential/unknown` | a plugin is to use a credential that is not in the deployment file |
/// | `credential/conflict` | two credentials would set the same header for one destination |
/// | `credential/not-bound` | a placeholder is on its way to where no credential puts the secret |
/// | `credential/placeholder-place` | a placeholder stands where a secret is never put |
/// | `credential/placeholder-disguised` | a placeholder is written in another encoding |
/// | `credential/value` | the secret cannot stand where it is to be put |
/// | `credential/body` | a body that is to hold a secret is not what its content type says |
/// | `credential/destination` | with the secret in its place the request would go elsewhere |
/// | `credential/key` | a key or a certificate cannot be read |
/// | `credential/region` | the host name does not tell region and service to sign for |
/// | `credential/signing` | the request cannot be signed |
/// | `credential/token-unreachable` | the token endpoint does not answer |
/// | `credential/token-refused` | the token endpoint answers with an error |
/// | `credential/token-answer` | the token endpoint's answer cannot be understood |
///
/// Those of [`SecretError`] and of [`TooShort`] are passed on.
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

impl CredentialError {
    pub(crate) fn new(code: &'static str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: help.into() }
    }

    /// The secret of this credential cannot be used.
    pub(crate) fn value(secret: &SecretName, why: &str) -> Self {
        Self::new(
            "credential/value",
            format!("the secret `{secret}` {why}"),
            "look at what the store holds: often it is a line end or a space behind the value",
        )
    }
}

impl From<TooShort> for CredentialError {
    fn from(error: TooShort) -> Self {
        Self::new(
            TooShort::CODE,
            format!("what was made from secrets cannot be kept out of logs: {error}"),
            TooShort::HELP,
        )
    }
}

impl From<SecretError> for CredentialError {
    fn from(error: SecretError) -> Self {
        Self { code: error.code, message: error.to_string(), help: error.help }
    }
}

/// The lines of a credential that would put a secret into requests to this destination.
pub(crate) fn placeholder_lines(secret: &SecretName, destination: &str) -> String {
    format!("credentials:\n  {secret}:\n    to: [{destination}]\n    placeholder: {secret}\n{}", use_lines(&[secret]))
}

/// The lines that let a plugin use these credentials.
pub(crate) fn use_lines(names: &[&CredentialName]) -> String {
    let names: Vec<_> = names.iter().map(|name| name.as_str()).collect();
    format!("plugins:\n  PLUGIN:\n    credentials: [{}]", names.join(", "))
}

/// A destination as an entry of `to`.
pub(crate) fn to_entry(url: &url::Url) -> String {
    // An IPv6 address is full of colons, so everything that is not plainly a name is quoted.
    let mut out = format!("{{ host: {}", yaml_value(&printable(url.host_str().unwrap_or_default(), 253)));
    if url.scheme() == "http" {
        out.push_str(", scheme: http");
    }
    if let Some(port) = url.port() {
        let _ = write!(out, ", port: {port}");
    }
    out.push_str(" }");
    out
}
