//! The other side of secrets and credentials, real where a real one can be had: moto, MiniStack and fakecloud (AWS), RustyVault (Vault's API),
//! the age tools; and models, called so, of what cannot be installed. Tests start them on free ports of 127.0.0.1.
//!
//! **Must never** be linked into the product, listen on anything but 127.0.0.1, or let a test that needs a counterpart
//! pass in silence: what is not installed is said on standard error, and fails when `BASB_COUNTERPARTS=require` is set.

pub mod age_tool;
pub mod emulator;
pub mod fakecloud;
pub mod install;
pub mod ministack;
pub mod model_server;
pub mod moto;
pub mod port;
pub mod process;
pub mod rustyvault;
pub mod secrets_of;
pub mod token_endpoint;
pub mod transport;
pub mod vault_model;

pub use secrets_of::SecretsOf;
pub use transport::RealTransport;
