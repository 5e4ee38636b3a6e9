//! User name and password for what is no HTTP: the login at a mail server.
//!
//! Stops a password from being used where it is not bound to: the credential must be this plugin's, of the kind `basic`,
//! and bound to this very host and port.

use super::Credentials;
use crate::choose::known;
use crate::config::Kind;
use crate::destination::Binding;
use crate::{CredentialError, CredentialName};
use basb_redact::SecretValue;
use std::net::IpAddr;

impl Credentials {
    /// User name and password of a credential of the kind `basic` for a server that is no HTTP server.
    ///
    /// # Errors
    /// [`CredentialError`]: the plugin may not use it, it is of another kind, it is not bound to this host and port, or its
    /// secret is missing.
    pub async fn login(
        &self,
        allowed: &[CredentialName],
        name: &CredentialName,
        host: &str,
        port: u16,
    ) -> Result<(String, SecretValue), CredentialError> {
        if !allowed.contains(name) {
            return Err(CredentialError::new(
                "credential/not-bound",
                format!("the credential `{name}` was not given to this plugin"),
                format!("if it is meant to use it, write:\n{}", crate::error::use_lines(&[name])),
            ));
        }
        let credential = known(&self.inner.config, name)?;
        let Kind::Basic { username, password } = &credential.kind else {
            return Err(CredentialError::new(
                "credential/conflict",
                format!(
                    "the credential `{name}` is of the kind `{}`, but a login needs `basic`",
                    credential.kind.key()
                ),
                "name a credential with `basic: { username: …, password: SECRET }`",
            ));
        };
        let bare = host.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(host);
        let covers = |binding: &Binding| match (binding, bare.parse::<IpAddr>()) {
            (Binding::Host { host, port: bound, .. }, Ok(address)) => *bound == port && host.covers_address(address),
            (Binding::Host { host, port: bound, .. }, Err(_)) => {
                *bound == port && host.covers_name(&bare.to_ascii_lowercase())
            }
            (Binding::Socket(_), _) => false,
        };
        if !credential.to.iter().any(covers) {
            let shown = basb_grants::printable(host, 253);
            return Err(CredentialError::new(
                "credential/not-bound",
                format!("the credential `{name}` is not bound to {shown}:{port}"),
                format!("add to its `to`: {{ host: {}, port: {port} }}", basb_grants::yaml_value(&shown)),
            ));
        }
        let value = self.inner.source.secret(password).await?;
        super::not_empty(password, &value)?;
        Ok((username.clone(), value))
    }
}
