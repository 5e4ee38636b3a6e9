//! Where secrets come from: the environment, an age-encrypted file, HashiCorp Vault, AWS Secrets Manager, a program.
//!
//! **Must never** keep a secret on disk, put one into an error, or read one that no plugin of the run needs.

mod config;
mod secrets;
mod transport;

pub use config::{ConfigProblem, SecretsConfig};
pub use secrets::{SecretError, Secrets};
pub use transport::{Answer, Ask, Transport, TransportError};
