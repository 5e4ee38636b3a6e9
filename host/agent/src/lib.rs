//! The one-machine cloud: a supervisor for service processes with a weighted HTTP reverse proxy in front, driven
//! through an HTTP/JSON API on a unix socket.
//!
//! It starts, watches, restarts, limits and retires the processes of each *revision* of a *service*, keeps their
//! logs, and splits the requests that reach the service's address between its revisions by *weight*.
//!
//! It must never:
//! - break a request that is in flight because weights moved or a revision retired;
//! - send a request to a revision whose weight is zero (except through that revision's own preview address);
//! - repeat a request that may already have had an effect (anything but an idempotent method);
//! - stop a service process because the agent itself stopped, crashed or restarted;
//! - start a process it could lose track of: the intent is on disk before the process runs;
//! - listen beyond loopback unless its options say so.
//!
//! Where to look: [`server::serve`] runs an agent, [`client::Client`] talks to one, [`client::ensure_running`] makes
//! sure there is one, and [`api`] holds the types they exchange.

pub mod api;
pub mod client;
mod ensure;
pub mod error;
pub mod ids;
mod proxy;
pub mod server;
mod socket;
mod state;
mod supervisor;

pub use error::AgentError;

/// The version of the HTTP API that this crate speaks.
pub const API_VERSION: u32 = 1;
