//! What is known of a plugin before it is judged.

use basb_core::Digest;
use basb_grants::Grants;
use basb_inspect::Inspection;
use basb_registry::{Difference, SignedBy};

/// A plugin to report on.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// Its name in the deployment file, or its source where there is none.
    pub name: &'a str,
    /// Where it comes from: `builtin:NAME` or a path.
    pub source: &'a str,
    /// Its bytes, or why they cannot be used.
    pub bytes: Result<Bytes<'a>, Unusable>,
    /// What the operator says of it; none where the file alone is looked at.
    pub operator: Option<Operator<'a>>,
}

/// What a plugin's bytes say.
#[derive(Debug, Clone, Copy)]
pub struct Bytes<'a> {
    /// Their digest.
    pub digest: &'a Digest,
    /// What is in them.
    pub inspection: &'a Inspection,
}

/// A file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// A stable code, such as `plugin/not-wasm`.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do next.
    pub help: String,
}

/// What a deployment file, and what is beside it, says of a plugin.
#[derive(Debug, Clone)]
pub struct Operator<'a> {
    /// What is granted.
    pub grants: &'a Grants,
    /// The credentials that the host may add to its requests: name, and where each may be used.
    pub credentials: Vec<(String, Vec<String>)>,
    /// Whether it is signed.
    pub signature: SignatureState,
    /// Whether it is the one that was agreed to.
    pub lock: LockState,
}

/// Whether a plugin is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureState {
    /// It is part of the host.
    Builtin,
    /// No key is pinned, so nothing was checked.
    NotDemanded,
    /// By this key.
    Signed(SignedBy),
    /// It does not load.
    Refused {
        /// A stable code, such as `signature/missing`.
        code: String,
        /// What is wrong.
        message: String,
        /// What to do next.
        help: String,
    },
}

/// Whether a plugin is the one that was agreed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockState {
    /// There is no lock file.
    NoFile,
    /// The lock file cannot be read, and why.
    Unreadable(String),
    /// It is.
    Same,
    /// It is not.
    Differs(Vec<Difference>),
    /// It could not be compared: its bytes, its manifest or its signature cannot be used.
    NotCompared,
}
