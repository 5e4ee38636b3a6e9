//! The agent as its callers and its services' users see it. Services are this very test binary, started again in the
//! role of an upstream; so is the agent where it has to be killed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr
)]

mod api;
mod external;
mod lives;
mod logs;
mod proxying;
mod support;
mod traffic;
mod upstream;

/// Not a test: what this binary does when it is started again in a role.
#[test]
fn role() {
    match std::env::var("BASB_TEST_ROLE").as_deref() {
        Ok("upstream") => upstream::main(),
        Ok("agent") => support::agent_main(),
        _ => {}
    }
}
