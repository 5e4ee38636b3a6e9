//! From what the load saw and when the weights changed: how exact the candidate's share was. Pure.

use crate::load::Sample;
use crate::load_reply::{Answer, Failure};
use serde::Serialize;

/// A verified change of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shift {
    /// When it had been verified, in microseconds since the Unix epoch.
    pub(crate) at: u64,
    /// The candidate's share from then on, in hundredths of a percent.
    pub(crate) candidate: u16,
}

/// The candidate's share while its weight did not change.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Share {
    /// What was set, in percent.
    pub(crate) weight: f64,
    /// What was measured, in percent.
    pub(crate) measured: f64,
    /// How many requests that is measured by.
    pub(crate) requests: u64,
}

impl Share {
    /// How far off it was, in percentage points.
    pub(crate) fn error_pp(&self) -> f64 {
        (self.measured - self.weight).abs()
    }
}

/// Left out after a change, in microseconds: requests that were chosen before it and end after it.
const AFTER: u64 = 50_000;

/// Left out before a change is known to be verified: it took effect a little earlier. Also in microseconds.
const BEFORE: u64 = 250_000;

/// Stretches with fewer requests than this say nothing about half a percentage point: with 16 connections a count is
/// off by up to 16 wherever the stretch is cut.
pub(crate) const ENOUGH: u64 = 3_500;

/// The shares between the changes, in order; `until` ends the last one. `of_candidate` knows its answers.
pub(crate) fn shares(
    samples: &[Sample],
    shifts: &[Shift],
    until: u64,
    of_candidate: impl Fn(Answer) -> bool,
) -> Vec<Share> {
    let ends = shifts.iter().skip(1).map(|shift| shift.at).chain([until]);
    shifts
        .iter()
        .zip(ends)
        .filter_map(|(shift, end)| {
            let (from, to) = (shift.at + AFTER, end.saturating_sub(BEFORE));
            let within = |sample: &&Sample| sample.began >= from && sample.ended <= to;
            let (mut requests, mut candidates) = (0_u64, 0_u64);
            for sample in samples.iter().filter(within) {
                requests += 1;
                candidates += u64::from(of_candidate(sample.answer));
            }
            let measured = 100.0 * candidates as f64 / requests as f64;
            (requests > 0).then(|| Share { weight: f64::from(shift.candidate) / 100.0, measured, requests })
        })
        .collect()
}

/// The largest error among the shares that are measured well enough; nothing when there is none.
pub(crate) fn largest_error(shares: &[Share]) -> Option<f64> {
    shares.iter().filter(|share| share.requests >= ENOUGH).map(Share::error_pp).reduce(f64::max)
}

/// What failed, and how much of it cannot have been the candidate's fault.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Failures {
    /// All of it.
    pub(crate) all: u64,
    /// Not reported by a service itself, or at a time when the candidate had no traffic.
    pub(crate) not_of_candidate: u64,
}

/// Failures while a broken candidate had traffic. A request counts as one without it when it ended before the first
/// change (less the margin), or began after the time at which all traffic was verified to be back.
pub(crate) fn failures(samples: &[Sample], first_shift: Option<u64>, back: Option<u64>) -> Failures {
    let mut failures = Failures::default();
    for sample in samples {
        let Answer::Failed(failure) = sample.answer else { continue };
        let before = first_shift.is_none_or(|at| sample.ended < at.saturating_sub(BEFORE));
        let after = back.is_some_and(|at| sample.began > at);
        failures.all += 1;
        failures.not_of_candidate += u64::from(before || after || failure != Failure::Service);
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(from: u64, to: u64, every: u64, candidate_each: u64) -> Vec<Sample> {
        (0..(to - from) / every)
            .map(|n| {
                let release = if candidate_each > 0 && n.is_multiple_of(candidate_each) { 2 } else { 1 };
                Sample { began: from + n * every, ended: from + n * every + 10, answer: Answer::Release(release) }
            })
            .collect()
    }

    #[test]
    fn shares_are_measured_between_the_changes_only() {
        let mut all = samples(0, 1_000_000, 100, 0);
        all.extend(samples(1_000_000, 2_000_000, 100, 10));
        all.extend(samples(2_000_000, 3_000_000, 100, 2));
        let shifts = [
            Shift { at: 0, candidate: 0 },
            // Verified a little after it took effect.
            Shift { at: 1_020_000, candidate: 1_000 },
            Shift { at: 2_200_000, candidate: 5_000 },
        ];
        let found = shares(&all, &shifts, 3_000_000, |answer| answer == Answer::Release(2));
        let measured: Vec<_> = found.iter().map(|share| (share.weight, share.measured.round())).collect();
        assert_eq!(measured, [(0.0, 0.0), (10.0, 10.0), (50.0, 50.0)]);
        assert!(largest_error(&found).unwrap() < 0.1);
        let wrong = [Shift { at: 0, candidate: 0 }, Shift { at: 1_020_000, candidate: 1_500 }];
        let found = shares(&all, &wrong, 2_000_000, |answer| answer == Answer::Release(2));
        assert!((largest_error(&found).unwrap() - 5.0).abs() < 0.1);
        assert_eq!(largest_error(&[Share { weight: 1.0, measured: 2.0, requests: 10 }]), None);
    }

    #[test]
    fn a_failure_is_the_candidates_only_while_it_has_traffic_and_when_a_service_said_it() {
        let failed = |at, failure| Sample { began: at, ended: at + 10, answer: Answer::Failed(failure) };
        let all = [
            failed(100, Failure::Service),
            failed(1_500_000, Failure::Service),
            failed(1_600_000, Failure::Transport),
            failed(2_500_000, Failure::Service),
            Sample { began: 5, ended: 6, answer: Answer::Release(1) },
        ];
        let found = failures(&all, Some(1_000_000), Some(2_000_000));
        assert_eq!(found, Failures { all: 4, not_of_candidate: 3 });
        assert_eq!(failures(&all, None, None).not_of_candidate, 4);
    }
}
