//! The measurements of one metric become one verdict.

use super::condition::{Sample, judge};
use crate::{
    Millis, Timestamp, Verdict,
    model::{DryRun, Metric},
};
use serde::{Deserialize, Serialize};

/// Time from a measurement that failed to the next: a counterpart that is down is not asked at full rate.
const ERROR_RETRY: Millis = Millis::secs(10);

/// When an endless metric ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stop {
    /// When its count is reached.
    AtCount,
    /// At this time: what it has measured until then decides.
    At(Timestamp),
}

/// One metric while it is measured.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricRun {
    metric: Metric,
    stop: Stop,
    started: Timestamp,
    next: Timestamp,
    passed: u32,
    failed: u32,
    inconclusive: u32,
    errors_in_row: u32,
    no_data_in_row: u32,
    passes_in_row: u32,
    taken: u32,
    ended: Option<(Verdict, String)>,
    last: Option<(Verdict, String)>,
}

impl MetricRun {
    /// Starts measuring.
    #[must_use]
    pub fn new(metric: Metric, stop: Stop, now: Timestamp) -> Self {
        Self {
            stop,
            started: now,
            next: now.plus(metric.initial_delay),
            metric,
            passed: 0,
            failed: 0,
            inconclusive: 0,
            errors_in_row: 0,
            no_data_in_row: 0,
            passes_in_row: 0,
            taken: 0,
            ended: None,
            last: None,
        }
    }

    /// What is measured.
    #[must_use]
    pub fn metric(&self) -> &Metric {
        &self.metric
    }

    /// Whether it has an effect on the analysis.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.metric.dry_run == DryRun::No
    }

    /// When the next measurement is due; none when the metric has ended.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        self.ended.is_none().then_some(self.next)
    }

    /// How many measurements were taken.
    #[must_use]
    pub fn taken(&self) -> u32 {
        self.taken
    }

    /// The final verdict, once there is one.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        self.ended.as_ref().map(|(verdict, _)| *verdict)
    }

    /// Why it ended as it did, or what the last measurement said.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.ended.as_ref().or(self.last.as_ref()).map_or("nothing was measured", |(_, reason)| reason)
    }

    /// Takes a measurement in, and says what it was judged to be.
    pub fn record(&mut self, sample: &Sample, at: Timestamp) -> (Verdict, String) {
        let (verdict, reason) = judge(&self.metric, sample);
        if self.ended.is_some() {
            return (verdict, reason);
        }
        self.taken = self.taken.saturating_add(1);
        self.errors_in_row = if verdict == Verdict::Error { self.errors_in_row.saturating_add(1) } else { 0 };
        self.no_data_in_row = if verdict == Verdict::NoData { self.no_data_in_row.saturating_add(1) } else { 0 };
        self.passes_in_row = if verdict == Verdict::Pass { self.passes_in_row.saturating_add(1) } else { 0 };
        match verdict {
            Verdict::Pass => self.passed = self.passed.saturating_add(1),
            Verdict::Fail => self.failed = self.failed.saturating_add(1),
            Verdict::Inconclusive => self.inconclusive = self.inconclusive.saturating_add(1),
            Verdict::Error | Verdict::NoData => {}
        }
        let pause = match verdict {
            Verdict::Error => self.metric.interval.unwrap_or(ERROR_RETRY).min(ERROR_RETRY),
            _ => self.metric.interval.unwrap_or(Millis::ZERO),
        };
        self.next = at.plus(pause);
        self.last = Some((verdict, reason.clone()));
        self.ended = self.end(&reason);
        (verdict, reason)
    }

    /// Moves its end and the next measurement later by the time of a pause, as far as it was started by then.
    pub fn shift(&mut self, from: Timestamp, to: Timestamp) {
        let paused = to.since(from.max(self.started));
        if let Stop::At(end) = self.stop {
            self.stop = Stop::At(end.plus(paused));
        }
        // One that was due in the pause is due now.
        self.next = if self.next > from { self.next.plus(paused) } else { self.next.max(to) };
    }

    /// Ends a metric whose time is up: what it has measured decides, and nothing measured is inconclusive.
    pub fn close(&mut self) {
        if self.ended.is_none() {
            let reason = self.reason().to_owned();
            self.ended = Some(self.settle(reason));
        }
    }

    /// Whether a pass can be given for what was measured so far.
    #[must_use]
    pub fn healthy_since(&self, after: Timestamp) -> bool {
        self.ended.is_none() && self.started <= after && self.passes_in_row > 0
    }

    /// The judged measurements.
    fn judged(&self) -> u32 {
        self.passed.saturating_add(self.failed).saturating_add(self.inconclusive)
    }

    /// The limits, in the order of `rollout-semantics`: a later one does not soften an earlier one.
    fn end(&self, reason: &str) -> Option<(Verdict, String)> {
        let m = &self.metric;
        if m.failure_limit.is_some_and(|limit| self.failed > limit) {
            return Some((Verdict::Fail, format!("{} of {} measurements failed: {reason}", self.failed, self.taken)));
        }
        if self.inconclusive > m.inconclusive_limit {
            return Some((Verdict::Inconclusive, reason.to_owned()));
        }
        if self.errors_in_row > m.consecutive_error_limit {
            return Some((Verdict::Error, format!("{} errors in a row: {reason}", self.errors_in_row)));
        }
        if self.no_data_in_row > m.consecutive_no_data_limit {
            return Some((Verdict::NoData, format!("no data {} times in a row: {reason}", self.no_data_in_row)));
        }
        if m.consecutive_success_limit > 0
            && self.passes_in_row >= m.consecutive_success_limit
            && self.judged() >= m.min_samples
        {
            return Some((Verdict::Pass, format!("{} passes in a row", self.passes_in_row)));
        }
        let wanted = match (m.count, m.interval, self.stop) {
            (_, _, Stop::At(end)) => return (self.next > end).then(|| self.settle(reason.to_owned())),
            (Some(count), _, _) => count,
            (None, None, _) => 1,
            (None, Some(_), _) => return None,
        };
        // Only judged measurements count: an error or an empty answer is measured again.
        (self.judged() >= wanted).then(|| self.settle(reason.to_owned()))
    }

    /// The verdict when no further measurement comes.
    fn settle(&self, reason: String) -> (Verdict, String) {
        let m = &self.metric;
        if self.judged() == 0 {
            return match self.last {
                Some((verdict, _)) => (verdict, reason),
                None => (Verdict::Inconclusive, "it ended before anything was measured".to_owned()),
            };
        }
        if self.errors_in_row > 0 {
            return (Verdict::Error, reason);
        }
        if self.no_data_in_row > 0 {
            return (Verdict::NoData, reason);
        }
        if self.judged() < m.min_samples {
            let why = format!("{} measurements, where {} are needed for a verdict", self.judged(), m.min_samples);
            return (Verdict::Inconclusive, why);
        }
        if m.consecutive_success_limit > 0 && self.passes_in_row < m.consecutive_success_limit {
            let verdict = if m.failure_limit.is_none() { Verdict::Fail } else { Verdict::Inconclusive };
            return (verdict, format!("never {} passes in a row", m.consecutive_success_limit));
        }
        if self.passed == 0 {
            return (Verdict::Inconclusive, "no measurement passed".to_owned());
        }
        (Verdict::Pass, format!("{} of {} measurements passed", self.passed, self.judged()))
    }
}

#[cfg(test)]
#[path = "metric_tests.rs"]
mod tests;
