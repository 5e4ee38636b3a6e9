//! What a call had the host do: every single outside call, kept for the journal.
//!
//! Stops a plugin from acting unseen: a host call is in the record before anything is decided about it, so one that is
//! denied, that never ends or that is cut off is there too; and a flood of them ends in refusals that are counted, never
//! in entries that are dropped. Nothing here holds a secret: texts have been through the redactor, credentials are names.

use crate::{Capability, Limits, LogLine, printable};
use basb_credentials::CredentialName;
use basb_redact::Redactor;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The longest text of an entry, in bytes: 2,000 entries stay below two megabytes.
const TEXT_BYTES: usize = 400;

/// Whether the host let a host call through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The grant covers it: it went out, or would have.
    Allowed,
    /// It was stopped at the door: not granted, malformed, or over a bound.
    Denied,
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
    /// Whether it was let through.
    pub verdict: Verdict,
    /// When it began, since the start of the call.
    pub after: Duration,
    /// How long it took; while it goes on, how long it has taken.
    pub took: Duration,
    /// Bytes of the body, of the input or of the file that went out; what was added at the door included.
    pub sent: u64,
    /// Bytes of the body, of the output or of the file that came in, before anything was redacted.
    pub received: u64,
    /// The credentials that the host added, by name.
    pub credentials: Vec<CredentialName>,
}

/// What a call has used up and done.
#[derive(Debug)]
pub struct Counters {
    started: Instant,
    requests: AtomicU32,
    log_bytes: AtomicU64,
    lines: Mutex<VecDeque<LogLine>>,
    calls: Mutex<Calls>,
}

#[derive(Debug, Default)]
struct Calls {
    entries: Vec<Entry>,
    /// What was refused after the record was full, by capability.
    refused: Vec<(Capability, u64)>,
    /// How many of the last ones are shown with an error.
    shown: usize,
}

#[derive(Debug)]
struct Entry {
    call: HostCall,
    begun: Instant,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    UnderWay,
    Over,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            requests: AtomicU32::default(),
            log_bytes: AtomicU64::default(),
            lines: Mutex::default(),
            calls: Mutex::default(),
        }
    }
}

/// The entry of one host call while it goes on. It says `denied` until [`Recording::allow`] is called, so that whatever
/// ends the call early cannot make a refusal look like a permission.
#[derive(Debug)]
pub(crate) struct Recording<'a> {
    counters: &'a Counters,
    index: usize,
}

impl Recording<'_> {
    fn with(&self, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = lock(&self.counters.calls).entries.get_mut(self.index) {
            change(entry);
        }
    }

    /// The host call is let through, with this many bytes and these credentials.
    pub(crate) fn allow(&self, sent: u64, credentials: Vec<CredentialName>) {
        self.with(|entry| {
            entry.call.verdict = Verdict::Allowed;
            entry.call.sent = sent;
            entry.call.credentials = credentials;
        });
    }

    /// How many bytes came in.
    pub(crate) fn received(&self, bytes: u64) {
        self.with(|entry| entry.call.received = bytes);
    }

    /// The host call is stopped at the door after all: the place it leads to turned out to be out of reach.
    pub(crate) fn deny(&self) {
        self.with(|entry| entry.call.verdict = Verdict::Denied);
    }

    /// The host call is over.
    pub(crate) fn finish(self, outcome: &str) {
        self.with(|entry| {
            entry.call.outcome = printable(outcome, TEXT_BYTES);
            entry.call.took = entry.begun.elapsed();
            entry.state = State::Over;
        });
    }
}

impl Counters {
    /// Counts one request; [`Taken::Exhausted`] when there were `limit` before.
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

    /// Notes that a host call begins. `None` when the call has had its share of them: it must be refused then, and is
    /// counted.
    pub(crate) fn begin(
        &self,
        capability: Capability,
        what: &str,
        limits: &Limits,
        redactor: &Redactor,
    ) -> Option<Recording<'_>> {
        let begun = Instant::now();
        let mut calls = lock(&self.calls);
        calls.shown = limits.kept_calls;
        if calls.entries.len() >= limits.host_calls {
            match calls.refused.iter_mut().find(|(of, _)| *of == capability) {
                Some((_, count)) => *count += 1,
                None => calls.refused.push((capability, 1)),
            }
            return None;
        }
        let call = HostCall {
            capability,
            what: printable(&redactor.text(what), TEXT_BYTES),
            outcome: "no answer yet".to_owned(),
            verdict: Verdict::Denied,
            after: begun.saturating_duration_since(self.started),
            took: Duration::ZERO,
            sent: 0,
            received: 0,
            credentials: Vec::new(),
        };
        calls.entries.push(Entry { call, begun, state: State::UnderWay });
        Some(Recording { counters: self, index: calls.entries.len() - 1 })
    }

    /// The last lines that the plugin wrote, oldest first.
    #[must_use]
    pub fn last_lines(&self) -> Vec<LogLine> {
        lock(&self.lines).iter().cloned().collect()
    }

    /// Every host call, oldest first, the log aside; for the journal. Where there were more than [`Limits::host_calls`],
    /// the last entry says how many were refused for that reason.
    #[must_use]
    pub fn calls(&self) -> Vec<HostCall> {
        let calls = lock(&self.calls);
        let mut all: Vec<_> = calls.entries.iter().map(seen).collect();
        all.extend(self.refusals(&calls));
        all
    }

    /// The last host calls, oldest first; to be shown with an error.
    #[must_use]
    pub fn last_calls(&self) -> Vec<HostCall> {
        let calls = lock(&self.calls);
        let refusals = self.refusals(&calls);
        let room = calls.shown.saturating_sub(usize::from(refusals.is_some()));
        let skip = calls.entries.len().saturating_sub(room);
        calls.entries.iter().skip(skip).map(seen).chain(refusals).collect()
    }

    /// How many host calls there were, the log aside.
    #[must_use]
    pub fn host_calls(&self) -> u64 {
        let calls = lock(&self.calls);
        calls.refused.iter().fold(calls.entries.len() as u64, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// One entry for everything that was refused after the record was full.
    fn refusals(&self, calls: &Calls) -> Option<HostCall> {
        let (capability, _) = *calls.refused.first()?;
        let each: Vec<_> = calls.refused.iter().map(|(of, count)| format!("{count} of {of}")).collect();
        Some(HostCall {
            capability,
            what: format!("more host calls than one call may make: {}", each.join(", ")),
            outcome: "exhausted".to_owned(),
            verdict: Verdict::Denied,
            after: self.started.elapsed(),
            took: Duration::ZERO,
            sent: 0,
            received: 0,
            credentials: Vec::new(),
        })
    }
}

/// The entry as it is now.
fn seen(entry: &Entry) -> HostCall {
    let mut call = entry.call.clone();
    if entry.state == State::UnderWay {
        call.took = entry.begun.elapsed();
    }
    call
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

    fn limits(host_calls: usize, kept_calls: usize) -> Limits {
        Limits { host_calls, kept_calls, ..Limits::default() }
    }

    #[test]
    fn every_call_is_kept_and_the_last_are_shown() {
        let counters = Counters::default();
        let limits = limits(100, 3);
        let redactor = Redactor::default();
        let begin = |what: &str| counters.begin(Capability::Http, what, &limits, &redactor).unwrap();
        let open: Vec<_> = (0..5).map(|i| begin(&format!("GET {i}"))).collect();
        for recording in open {
            recording.allow(7, Vec::new());
            recording.finish("200");
        }
        let last = begin("GET last");
        let shown: Vec<_> = counters.last_calls().into_iter().map(|c| (c.what, c.outcome)).collect();
        assert_eq!(shown[0], ("GET 3".to_owned(), "200".to_owned()));
        assert_eq!(shown[2], ("GET last".to_owned(), "no answer yet".to_owned()));
        let all = counters.calls();
        assert_eq!((all.len(), counters.host_calls()), (6, 6));
        assert_eq!((all[0].verdict, all[0].sent), (Verdict::Allowed, 7));
        // Nobody has allowed it yet, and it may never end: it does not look like a permission.
        assert_eq!(all[5].verdict, Verdict::Denied);
        assert!(all.windows(2).all(|pair| pair[0].after <= pair[1].after));
        let _ = last;
        assert_eq!(counters.calls()[5].outcome, "no answer yet");
    }

    #[test]
    fn what_is_over_the_bound_is_refused_and_counted() {
        let counters = Counters::default();
        let limits = limits(3, 2);
        let redactor = Redactor::default();
        let begun = |capability| counters.begin(capability, "x", &limits, &redactor).is_some();
        assert!((0..3).all(|_| begun(Capability::Files)));
        assert!(!begun(Capability::Http) && !begun(Capability::Files) && !begun(Capability::Http));
        let all = counters.calls();
        assert_eq!(all.len(), 4);
        assert_eq!((all[3].outcome.as_str(), all[3].verdict), ("exhausted", Verdict::Denied));
        assert!(all[3].what.contains("2 of http, 1 of files"), "{}", all[3].what);
        assert_eq!(counters.host_calls(), 6);
        assert_eq!(counters.last_calls().len(), 2);
    }

    #[test]
    fn a_long_name_costs_no_more_than_a_short_one() {
        let counters = Counters::default();
        let _open = counters.begin(Capability::Http, &"x".repeat(1 << 20), &limits(1, 1), &Redactor::default());
        assert!(counters.calls()[0].what.len() < 500);
    }
}
