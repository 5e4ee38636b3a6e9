//! Which plugin this is, and whether it is the one that somebody agreed to: the lock file, and publishers' signatures.
//!
//! | Module | What it holds |
//! |---|---|
//! | `resolve` | the plugins of a deployment: bytes, grants, signature, and what the lock file says of each |
//! | `entry`, `grant_lines` | what is written down of one plugin |
//! | `file`, `write`, `store` | the lock file: reading, writing, and its place on the disk |
//! | `compare` | what differs between two entries, and in which direction |
//! | `policy` | what a difference means for a run |
//! | `signature` | minisign signatures by pinned keys |
//!
//! **Must never** accept bytes that differ from the lock file or that lack a signature which a pinned key demands, read a
//! plugin's bytes twice (what was checked is what is returned, and is what must be loaded), or run a plugin.

mod compare;
mod entry;
mod file;
mod grant_lines;
mod policy;
mod resolve;
mod signature;
mod store;
mod write;

#[cfg(test)]
mod tests;

pub use compare::{Difference, Direction, What, compare};
pub use entry::{Facts, LockEntry, LockedSource};
pub use file::{LOCK_VERSION, LockError, LockFile, Locked, MAX_LOCK_BYTES, Scope};
pub use grant_lines::{credential_line, grant_lines};
pub use policy::{Decision, Differs, NewEnvironment, Policy, check};
pub use resolve::{Found, Refusal, Resolved, resolve};
pub use signature::{
    Pinned, PublisherError, Publishers, SignatureError, SignatureFile, SignedBy, read_signature, verify,
};
pub use store::{FILE_NAME, add_environment, read_lock, write_first_lock, write_lock};
