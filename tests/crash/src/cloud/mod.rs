//! The recording cloud: outside the host, and alive when the host is not.
//!
//! It behaves as real clouds do. What makes something new takes an idempotency key, and the same key again gets the same
//! answer without a second effect; what sets a whole needs none, and setting it to what it is changes nothing. Longer
//! work is an operation with a number, which has to be polled. Every effect is put on record in the order in which it
//! happened, with who asked for it.
//!
//! Each account is a cloud of its own, so that many runs can use one process at once; an account can be copied, so that
//! a prepared one is prepared once.

mod account;
mod server;

pub use account::{Account, Acts, Trap};
pub use server::Cloud;
