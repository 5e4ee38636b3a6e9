//! Who asks, what it was granted, and what it has used up: the part of a request that the plugin has no say in.

use crate::{Counters, Grants};
use basb_core::Digest;
use basb_credentials::CredentialName;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Instant;
use url::Url;

/// Who asks.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The plugin's name in the deployment file.
    pub plugin: Arc<str>,
    /// The digest of its bytes.
    pub digest: Arc<Digest>,
    /// The exported function that is running, such as `check`.
    pub call: &'static str,
}

/// Whether a call may change anything outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Whatever is granted.
    #[default]
    Normal,
    /// Only what reads: for `plan`, as an enforced dry run.
    ReadOnly,
    /// Nothing at all, whatever is granted: while a plugin is started or asked what it is, when there is no run yet that
    /// could be told of it.
    Sealed,
}

/// One call of one plugin. Everything a capability decides, it decides on this.
#[derive(Debug)]
pub struct CallScope {
    /// Who asks.
    pub caller: Caller,
    /// What the operator granted.
    pub grants: Arc<Grants>,
    /// The credentials that the host may add to its requests.
    pub credentials: Arc<[CredentialName]>,
    /// The URL that the host gave to this very call; `target: service` stands for its origin.
    pub target: Option<Url>,
    /// Whether it may change anything.
    pub mode: Mode,
    /// When the host cuts the call off.
    pub deadline: Instant,
    /// What it has used up.
    pub counters: Counters,
}

impl CallScope {
    /// A scope with fresh counters.
    #[must_use]
    pub fn new(caller: Caller, grants: Arc<Grants>, deadline: Instant) -> Self {
        Self {
            caller,
            grants,
            credentials: Arc::default(),
            target: None,
            mode: Mode::Normal,
            deadline,
            counters: Counters::default(),
        }
    }

    /// The same with these credentials.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Arc<[CredentialName]>) -> Self {
        self.credentials = credentials;
        self
    }

    /// The same with the target of this call.
    #[must_use]
    pub fn with_target(mut self, target: Option<Url>) -> Self {
        self.target = target;
        self
    }

    /// The same in this mode.
    #[must_use]
    pub fn with_mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }
}

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LogLevel {
    /// For the plugin's author.
    Debug,
    /// For the operator who looks.
    Info,
    /// For the operator who should look.
    Warn,
    /// For the operator who must look.
    Error,
}

/// A line that a plugin wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How much it matters.
    pub level: LogLevel,
    /// The text, without control characters.
    pub text: String,
}
