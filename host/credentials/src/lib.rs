//! Credentials at the door: signs and completes a request on its way out, for the destinations that a credential is bound
//! to and for no other. A plugin never sees what is added here.
//!
//! **Must never** use a credential for a destination it is not bound to, for a plugin it was not given to, or put any
//! part of one into an error.

mod config;
mod credentials;
mod outgoing;
pub mod placeholder;

pub use config::CredentialsConfig;
pub use credentials::{CredentialError, Credentials};
pub use outgoing::{Applied, ClientIdentity, Outgoing, Place};

/// The name of a credential in the deployment file.
pub type CredentialName = basb_core::PluginName;
