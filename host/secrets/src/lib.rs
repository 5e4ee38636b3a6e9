//! Where secrets come from: the environment, an age-encrypted file, HashiCorp Vault, AWS Secrets Manager, a program.
//!
//! **Must never** keep a secret on disk, put one into an error, or read one that no plugin of the run needs.
//!
//! The attack it stops: a credential that leaks on the way from its store to the door. What a store holds reaches nobody
//! before the redactor knows it; what a store or a library says of a failure is shown only where it cannot hold a value,
//! cut short and redacted; the stores' own credentials (tokens, keys, identities) are secrets of the redactor too.
//!
//! Each kind of store is a file under `store/`. Reading the deployment file is `parse`, its JSON Schema `schema`.

mod config;
mod environment;
mod error;
mod field;
mod own;
mod parse;
pub mod reading;
mod schema;
mod secrets;
mod store;
mod transport;

pub use config::{ConfigProblem, SecretsConfig};
pub use environment::Environment;
pub use error::SecretError;
pub use schema::{secrets_schema, stores_schema};
pub use secrets::Secrets;
pub use transport::{Answer, Ask, Transport, TransportError};
