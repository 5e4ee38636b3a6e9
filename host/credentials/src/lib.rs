//! Credentials at the door: signs and completes a request on its way out, for the destinations that a credential is bound
//! to and for no other. A plugin never sees what is added here.
//!
//! **Must never** use a credential for a destination it is not bound to, for a plugin it was not given to, or put any
//! part of one into an error.
//!
//! The one entry is [`Credentials::apply`]. It chooses (`choose`, pure), replaces placeholders ([`placeholder`],
//! `substitute`), adds headers or a client certificate, and signs (`aws`). What has to be fetched, such as a token
//! (`oauth`, `tokens`), is kept in `cache`.

mod aws;
mod cache;
mod choose;
mod config;
mod credentials;
mod destination;
mod error;
mod oauth;
mod outgoing;
pub mod placeholder;
mod source;
mod substitute;
mod tokens;

pub use config::{CredentialsConfig, credentials_schema};
pub use credentials::{Credentials, Renewal};
pub use error::CredentialError;
pub use outgoing::{Applied, Authority, ClientIdentity, FetchedCredentials, Outgoing, Place};
pub use source::SecretSource;

/// The name of a credential in the deployment file.
pub type CredentialName = basb_core::PluginName;
