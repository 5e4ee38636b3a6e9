//! A request on its way out, and what was added to it.

use crate::CredentialName;
use crate::tokens::Fetched;
use basb_redact::SecretValue;
use bytes::Bytes;
use http::{HeaderMap, Method};
use std::fmt;
use url::Url;

/// Where a request goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Over the network; the URL says where.
    Network,
    /// To the unix socket that the host knows by this name.
    Socket(String),
}

/// A request on its way out: the grant covers it, nothing is added yet.
///
/// Shown without path, query, values and body, which hold secrets once credentials are applied.
#[derive(Clone)]
pub struct Outgoing {
    /// Its method.
    pub method: Method,
    /// Where to; may hold placeholders in path and query.
    pub url: Url,
    /// Its headers; may hold placeholders.
    pub headers: HeaderMap,
    /// Its body; may hold placeholders.
    pub body: Bytes,
    /// By which way it goes.
    pub place: Place,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("method", &self.method)
            .field("to", &crate::destination::shown(self))
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

/// A client certificate with its key (mTLS), as PEM.
#[derive(Debug, Clone)]
pub struct ClientIdentity {
    /// Which credential it belongs to: connections made with it are used for nothing else.
    pub credential: CredentialName,
    /// The certificate chain, as PEM.
    pub certificate: SecretValue,
    /// The private key, as PEM.
    pub key: SecretValue,
}

/// Who vouches for whom a request is sent to.
#[derive(Debug, Clone)]
pub struct Authority {
    /// Which credential says so: connections made under it are used for nothing else.
    pub credential: CredentialName,
    /// The certificates, as PEM.
    pub certificates: SecretValue,
}

/// What was added to a request.
#[derive(Debug, Clone, Default)]
pub struct Applied {
    /// The credentials that were used, for the record.
    pub credentials: Vec<CredentialName>,
    /// What to show in the TLS handshake.
    pub identity: Option<ClientIdentity>,
    /// Whom to believe in the TLS handshake; nothing for those whom the system believes.
    pub authority: Option<Authority>,
    /// Which of the credentials were tokens or temporary keys that had to be fetched: a destination may refuse one that
    /// was withdrawn before its end. See [`crate::Credentials::refused`].
    pub fetched: FetchedCredentials,
}

/// The tokens and temporary keys that a request went out with, without their values.
#[derive(Debug, Clone, Default)]
pub struct FetchedCredentials(pub(crate) Vec<(CredentialName, Fetched)>);

impl FetchedCredentials {
    /// Whether there are none: a refusal is final then.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there are temporary keys among them, which AWS's services refuse in words of their own.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        self.0.iter().any(|(_, fetched)| matches!(fetched, Fetched::Keys(_)))
    }

    /// The destination accepted them.
    pub fn accepted(&self) {
        self.0.iter().for_each(|(_, fetched)| fetched.accepted());
    }
}
