//! Drives the real binary over HTTP, as clients, probes and a proxy do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops where it is wrong"
)]

mod client;
mod durability;
mod protocol;
mod releases;
mod tools;
