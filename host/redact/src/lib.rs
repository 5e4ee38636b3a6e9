//! What a secret is, and how every form of it is kept out of everything that leaves the host: answers to plugins, logs,
//! errors, events, the journal, tapes, the terminal.
//!
//! **Must never** show a secret: no `Display`, no `Serialize`, a `Debug` without the value.

mod redactor;
mod secret;

pub use redactor::{RedactStream, Redactor};
pub use secret::{SecretName, SecretValue};
