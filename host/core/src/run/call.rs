//! What a plugin's call did outside: the part of the journal that security teams read. It decides nothing about a run.

use crate::{Digest, PluginName, Timestamp};
use serde::{Deserialize, Serialize};

/// One call of a plugin, with everything that it had the host do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginCall {
    /// The plugin's name in the deployment file.
    pub plugin: PluginName,
    /// The digest of its bytes.
    pub digest: Digest,
    /// The exported function, such as `apply`.
    pub function: String,
    /// When it was called.
    pub at: Timestamp,
    /// How long it took, in microseconds.
    pub micros: u64,
    /// `ok`, or the code of what ended it.
    pub outcome: String,
    /// Everything that it had the host do, the log aside, in the order in which it began.
    pub calls: Vec<OutsideCall>,
    /// Its tape; none before tapes were kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tape: Option<TapeMark>,
}

/// The tape of a call, as its record knows it: the tape's text may be dropped, or changed by somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TapeMark {
    /// The number of the call within its run, from 1.
    pub call: u64,
    /// The SHA-256 of its text.
    pub sha256: Digest,
    /// A short check sum of each of its exchanges, in order: where the text was changed, they tell where.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<String>,
}

/// One thing that a call had the host do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutsideCall {
    /// By which capability: `http`, `tcp`, `files`, `exec` or `smtp`.
    pub capability: String,
    /// What and where to, such as `GET https://example.com/health`; without a query, which may hold secrets.
    pub what: String,
    /// Whether it was let through.
    pub verdict: Admission,
    /// What came of it, such as `200`, `denied` or `timed out`.
    pub outcome: String,
    /// From the start of the plugin's call to its own, in microseconds.
    pub after_micros: u64,
    /// How long it took, in microseconds.
    pub took_micros: u64,
    /// What was sent, in bytes: a request's body, a file's content, a program's input.
    pub sent: u64,
    /// What came back, in bytes.
    pub received: u64,
    /// The credentials that the host added, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<PluginName>,
}

/// Whether something was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Admission {
    /// The grant covers it.
    Allowed,
    /// It does not, or something else forbids it: nothing left the host.
    Denied,
}
