//! Failures that tell the engine what to do and a person what happened.

use std::fmt;
use std::time::Duration;

use crate::bindings::host::basb::host::types as wire;
pub use crate::bindings::host::basb::host::types::FailureCode;
use crate::values::{Extras, millis};

/// Whether repeating a failed call can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Repeating it gives the same failure.
    Never,
    /// Repeat it no sooner than after this time.
    After(Duration),
}

/// A failure, with what a person needs to act on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// What kind of failure.
    pub code: FailureCode,
    /// What happened and why, in one sentence, with the counterpart's own words where there are any.
    pub message: String,
    /// Whether repeating helps.
    pub retry: Retry,
    /// The JSON pointer into the configuration that caused it, if one did.
    pub path: Option<String>,
    /// Named values for which no field exists yet.
    pub extras: Extras,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $code:ident, $retry:expr;)*) => {
        $($(#[$doc])* pub fn $name(message: impl Into<String>) -> Failure { Failure::new(FailureCode::$code, message, $retry) })*
    };
}

const SOON: Retry = Retry::After(Duration::from_secs(1));

impl Failure {
    /// Any failure.
    pub fn new(code: FailureCode, message: impl Into<String>, retry: Retry) -> Failure {
        Failure { code, message: message.into(), retry, path: None, extras: Vec::new() }
    }

    constructors! {
        /// The configuration or the request is wrong. Never repeated.
        invalid => Invalid, Retry::Never;
        /// Not allowed, by the host's grants or by the counterpart. Never repeated.
        denied => Denied, Retry::Never;
        /// What was named does not exist. Never repeated.
        not_found => NotFound, Retry::Never;
        /// Somebody else changed it in the meantime, or it exists with another content. Never repeated.
        conflict => Conflict, Retry::Never;
        /// Too many requests. Repeated after a second, unless [`Failure::retry_after`] says otherwise.
        throttled => Throttled, SOON;
        /// The counterpart cannot be reached or cannot answer now. Repeated after a second.
        unavailable => Unavailable, SOON;
        /// No answer in time: the effect is in doubt. Repeated after a second, with the same key.
        timed_out => TimedOut, SOON;
        /// A service did not become healthy. Never repeated.
        unhealthy => Unhealthy, Retry::Never;
        /// Anything else. Never repeated.
        other => Other, Retry::Never;
    }

    /// Repeat no sooner than after this time.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Failure {
        self.retry = Retry::After(after);
        self
    }

    /// Do not repeat.
    #[must_use]
    pub fn never_retry(mut self) -> Failure {
        self.retry = Retry::Never;
        self
    }

    /// The JSON pointer into the configuration that caused it.
    #[must_use]
    pub fn at(mut self, path: impl Into<String>) -> Failure {
        self.path = Some(path.into());
        self
    }

    /// What was being done, in front of the message.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Failure {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    /// A named value for which no field exists yet.
    #[must_use]
    pub fn extra(mut self, name: impl Into<String>, value: impl Into<String>) -> Failure {
        self.extras.push((name.into(), value.into()));
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for wire::Failure {
    fn from(failure: Failure) -> wire::Failure {
        wire::Failure {
            code: failure.code,
            message: failure.message,
            retry: match failure.retry {
                Retry::Never => wire::Retry::Never,
                Retry::After(after) => wire::Retry::After(millis(after)),
            },
            path: failure.path,
            extras: failure.extras,
        }
    }
}
