//! Who asks, what it was granted, and what it has used up: the part of a request that the plugin has no say in.

use crate::{Capability, Grants};
use basb_core::Digest;
use basb_credentials::CredentialName;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

/// Something that a call had the host do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCall {
    /// By which capability.
    pub capability: Capability,
    /// What, such as `GET https://example.com/health`; without a query, which may hold secrets.
    pub what: String,
    /// What came of it, such as `200` or `denied`; `no answer yet` while it goes on.
    pub outcome: String,
}

/// What a call has used up and done.
#[derive(Debug, Default)]
pub struct Counters {
    requests: AtomicU32,
    log_bytes: AtomicU64,
    lines: Mutex<VecDeque<LogLine>>,
    calls: Mutex<Calls>,
}

#[derive(Debug, Default)]
struct Calls {
    total: u64,
    kept: VecDeque<HostCall>,
}

/// The number of a host call within its call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallNumber(u64);

impl Counters {
    /// Counts one request; `false` when there were `limit` before.
    pub(crate) fn take_request(&self, limit: u32) -> Taken {
        let before = self.requests.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < limit).then_some(n + 1));
        if before.is_ok() { Taken::Yes } else { Taken::Exhausted }
    }

    /// Counts the bytes of a log line.
    pub(crate) fn take_log_bytes(&self, bytes: u64, limit: u64) -> Taken {
        let before = self.log_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) <= limit { Taken::Yes } else { Taken::Exhausted }
    }

    pub(crate) fn keep_line(&self, line: LogLine, keep: usize) {
        let mut lines = lock(&self.lines);
        if lines.len() >= keep {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// Notes that a host call begins, so that one which never ends is seen too.
    pub(crate) fn begin(&self, capability: Capability, what: String, keep: usize) -> CallNumber {
        let mut calls = lock(&self.calls);
        calls.total += 1;
        if calls.kept.len() >= keep {
            calls.kept.pop_front();
        }
        calls.kept.push_back(HostCall { capability, what, outcome: "no answer yet".to_owned() });
        CallNumber(calls.total)
    }

    /// Notes what came of a host call.
    pub(crate) fn finish(&self, number: CallNumber, outcome: String) {
        let mut calls = lock(&self.calls);
        let first = calls.total.saturating_sub(calls.kept.len() as u64) + 1;
        let index = number.0.checked_sub(first).and_then(|n| usize::try_from(n).ok());
        if let Some(call) = index.and_then(|index| calls.kept.get_mut(index)) {
            call.outcome = outcome;
        }
    }

    /// The last lines that the plugin wrote, oldest first.
    #[must_use]
    pub fn last_lines(&self) -> Vec<LogLine> {
        lock(&self.lines).iter().cloned().collect()
    }

    /// The last host calls, oldest first.
    #[must_use]
    pub fn last_calls(&self) -> Vec<HostCall> {
        lock(&self.calls).kept.iter().cloned().collect()
    }

    /// How many host calls there were, the log aside.
    #[must_use]
    pub fn host_calls(&self) -> u64 {
        lock(&self.calls).total
    }
}

/// Whether something was left of an allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Yes,
    Exhausted,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_calls_are_kept_with_their_outcomes() {
        let counters = Counters::default();
        let numbers: Vec<_> = (0..5).map(|i| counters.begin(Capability::Http, format!("GET {i}"), 3)).collect();
        for number in &numbers {
            counters.finish(*number, "200".to_owned());
        }
        counters.begin(Capability::Http, "GET last".to_owned(), 3);
        let seen: Vec<_> = counters.last_calls().into_iter().map(|c| (c.what, c.outcome)).collect();
        assert_eq!(seen[0], ("GET 3".to_owned(), "200".to_owned()));
        assert_eq!(seen[2], ("GET last".to_owned(), "no answer yet".to_owned()));
        assert_eq!(counters.host_calls(), 6);
    }
}
