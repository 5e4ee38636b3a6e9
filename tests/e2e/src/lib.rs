//! End-to-end tests: the real `basb-host` binary, real services, real processes, one state folder for each test.
//!
//! **Must never** leave a process behind, listen on anything but loopback, share state between two tests, or wait for
//! a fixed time where something can be waited for.
//!
//! The binaries are those that lie beside the tests: `cargo build -p basb-host` and `cargo build -p second-brain` make
//! them, and [`program`] says so when they are missing.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "this crate is a part of tests, and a test fails by panicking"
)]

mod cloud;
mod command;
pub mod engine;
mod file;
pub mod foreign;
mod lab;
mod mcp;
mod wait;

pub use cloud::{Cloud, Instance, Revision, Service};
pub use command::{Events, Following, Output};
pub use file::{CANARY, FileOptions, Two, swap};
pub use lab::{Lab, free_port, program};
pub use mcp::{Load, LoadReport, Mcp};
pub use wait::{PATIENCE, wait_for};
