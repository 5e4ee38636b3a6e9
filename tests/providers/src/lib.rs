//! The real `basb-host` binary deploys to clouds and engines: emulators and servers that nobody of this project wrote,
//! started on 127.0.0.1, each looked at by a second client of its own. `cargo xtask test-providers` runs them.
//!
//! **Must never** prove anything by a gap of a counterpart: what one does not check or do is said in `docs/providers`.

pub mod aws;
mod aws_site;
pub mod azure;
pub mod gcp;
pub mod kubelet;
pub mod kubernetes;
mod kubernetes_site;
pub mod python;
pub mod suite;
pub mod users;
