//! The model, the verdicts and the state machines that decide what a run does next.
//!
//! **Must never** do I/O, read a clock, draw a random number, start a thread, or depend on an async runtime or on
//! wasmtime: time comes in as a value, effects go out as values. That is what makes a run resumable, replayable and
//! testable over a hundred thousand random histories.

pub mod analysis;
pub mod event;
pub mod id;
pub mod model;
pub mod run;
pub mod units;
pub mod verdict;

pub use id::{Digest, NameError, PluginName, RevisionId, RunId, ServiceName};
pub use run::plan_digest;
pub use units::{Millis, Timestamp, Weight};
pub use verdict::Verdict;
