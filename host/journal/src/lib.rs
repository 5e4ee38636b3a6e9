//! The append-only record of runs, and the little state that must never disagree with it: which revision of a service
//! is stable, which notifications are still to be delivered, who holds which lease, what operators asked of a run, which
//! calls of plugins are open. Beside the records lie the tapes of plugin calls.
//!
//! One SQLite file in one folder, shared by every process that opens it. What was acknowledged is on the disk; appends
//! of many callers become one transaction (see [`Journal::append`]); the records of a run are linked by hashes, so that
//! a gap, a change or a lost end is found by [`Journal::verify`].
//!
//! **Must never** look into a body (the engine owns its meaning), decide what a run does next, read a clock (time is
//! given by the caller), acknowledge what is not durable, change or remove a record or a tape's SHA-256, or delete a file that it cannot
//! read.

mod append;
pub mod care;
mod chain;
mod error;
mod import;
mod journal;
mod lease;
mod mailbox;
mod memory;
mod observer;
mod open;
mod outbox;
mod row;
mod runs;
mod schema;
mod stable;
mod tapes;
mod worker;
mod workloads;

#[cfg(test)]
mod tests;

pub use append::{AfterFinish, Append, Finish, NewEntry, NewNotification, NewStable};
pub use chain::{Broken, Head, VerifyError};
pub use error::JournalError;
pub use import::ImportedRun;
pub use journal::{FILE_NAME, Journal};
pub use lease::{AcquireError, Fence, Held, Lease};
pub use mailbox::Request;
pub use memory::NewMemory;
pub use observer::{Commit, CommitObserver, CommitStage, observe_commits};
pub use outbox::{DELIVERIES, NextAttempt, Notification};
pub use runs::{Entry, Only, Origin, RunFilter, RunRecord, RunStart, RunState};
pub use schema::SCHEMA_VERSION;
pub use stable::{ServiceKey, StableRevision};
pub use tapes::{NewTape, OpenCall, OpenExchange, Pruned, StoredTape};
pub use workloads::NewWorkload;
