//! What came of an effect, and what it means for the service.

use super::rules::Rules;
use super::service::{Current, Seen, ServiceRun, Todo};
use super::{Effect, Failure, Gate, Last, Observed, OnTimeout, Outcome, Phase, Side};
use crate::analysis::Sample;
use crate::event::Body;
use crate::{Millis, PluginName, RevisionId, Verdict, Weight};
use std::collections::BTreeMap;

/// How often a failed effect is tried before it counts as failed.
const MAX_ATTEMPTS: u32 = 5;
/// How often a verification probe that gave no clear answer is asked again.
const VERIFY_ATTEMPTS: u32 = 3;
/// The longest pause between two attempts.
const MAX_BACKOFF: Millis = Millis::secs(30);

impl ServiceRun {
    pub(super) fn measurement_came_to(&mut self, id: u32, outcome: &Outcome, out: &mut Vec<Body>) {
        let sample = match outcome {
            Outcome::Measured { sample } => sample.clone(),
            Outcome::Failed { failure } => Sample {
                verdict: Verdict::Error,
                summary: failure.message.clone(),
                values: BTreeMap::new(),
                facts: BTreeMap::new(),
            },
            _ => return,
        };
        if let Some(analyses) = self.analysis.as_mut().filter(|a| a.has(id)) {
            out.extend(analyses.measured(id, &sample, self.now));
            if let Some((verdict, reason)) = analyses.verdict() {
                let analyses = analyses.names().to_vec();
                self.analysis = None;
                out.push(Body::AnalysisFinished { analyses, verdict, reason: reason.clone() });
                self.judged(verdict, reason, out);
            }
        } else if let Some(watch) = self.watch.as_mut().filter(|w| w.has(id)) {
            out.extend(watch.measured(id, &sample, self.now));
            if let Some((verdict, reason)) = watch.verdict().filter(|(verdict, _)| !verdict.moves_forward()) {
                let analyses = watch.names().to_vec();
                self.watch = None;
                out.push(Body::AnalysisFinished { analyses, verdict, reason: reason.clone() });
                self.judged(verdict, reason, out);
            }
        }
    }

    /// Only a pass moves forward: a failure goes back, and what is inconclusive is for a human to decide.
    pub(super) fn judged(&mut self, verdict: Verdict, reason: String, out: &mut Vec<Body>) {
        match verdict {
            Verdict::Pass => self.after = Last::Judged(Verdict::Pass),
            Verdict::Inconclusive => self.queue.push_front(Todo::Gate(Gate {
                reason: format!("the analysis is inconclusive: {reason}"),
                timeout: None,
                on_timeout: OnTimeout::Abort,
                quorum: None,
            })),
            Verdict::Fail | Verdict::Error | Verdict::NoData => {
                self.give_up(format!("analysis: {verdict}: {reason}"), out);
            }
        }
    }

    pub(super) fn current_came_to(&mut self, outcome: &Outcome, out: &mut Vec<Body>) {
        let now = self.now;
        match outcome {
            Outcome::Running { note, .. } if self.current.as_ref().is_some_and(|c| self.is_stuck(c)) => {
                let message = format!("no end after {}: {note}", self.spec.progress_deadline);
                self.failed(&Failure { code: "engine/no-progress".to_owned(), message, retry_after: None }, out);
            }
            Outcome::Running { state, poll_after, .. } => {
                if let Some(current) = &mut self.current {
                    current.order.state = Some(state.clone());
                    // One that wants to be left alone for longer than a rollout may stand still is looked at all the same.
                    current.order.not_before = now.plus((*poll_after).min(self.spec.progress_deadline));
                    current.handed_out = false;
                }
            }
            Outcome::Failed { failure } => self.failed(failure, out),
            Outcome::Unavailable { .. } if self.is_held_back() => self.look_again_later(),
            Outcome::Elapsed if self.has_time_at_gate() => {
                if let Some(current) = &mut self.current {
                    current.handed_out = false;
                }
            }
            _ => {
                let Some(current) = self.current.take() else { return };
                self.done(current.order.effect, current.order.attempt, outcome, out);
                if let Some(reason) = self.pending_rollback.take()
                    && !self.is_going_back()
                {
                    self.give_up(reason, out);
                }
            }
        }
    }

    /// Whether a provider's call has gone on for longer than a rollout may go without progress.
    pub(super) fn is_stuck(&self, current: &Current) -> bool {
        self.working_time(current) > self.spec.progress_deadline
    }

    pub(super) fn failed(&mut self, failure: &Failure, out: &mut Vec<Body>) {
        let now = self.now;
        // On the way back every attempt is made; forward, not for longer than a rollout may go without progress.
        let in_vain = !self.is_going_back() && self.current.as_ref().is_some_and(|current| self.is_stuck(current));
        let Some(current) = &mut self.current else { return };
        if self.pending_rollback.is_none()
            && !in_vain
            && let Some(after) = failure.retry_after
            && current.order.attempt < MAX_ATTEMPTS
        {
            let after = after.min(self.spec.progress_deadline);
            let backoff = Millis(500 << current.order.attempt.min(16)).min(MAX_BACKOFF).max(after);
            current.order.attempt = current.order.attempt.saturating_add(1);
            current.order.not_before = now.plus(backoff);
            current.handed_out = false;
            current.in_doubt = false;
            out.push(Body::EffectRetried {
                effect: current.order.effect.to_string(),
                message: failure.message.clone(),
                attempt: current.order.attempt,
            });
            return;
        }
        let effect = current.order.effect.clone();
        self.current = None;
        if let Some(reason) = self.pending_rollback.take() {
            self.give_up(reason, out);
        } else if self.marked || self.clearing || (self.rolled_back && matches!(effect, Effect::Retire { .. })) {
            // The release, or the way back, has succeeded, or there was none; what could not be cleared away is said and left.
            out.push(Body::Warning { message: format!("{effect}: {}", failure.message) });
        } else {
            self.give_up(format!("{effect}: {} ({})", failure.message, failure.code), out);
        }
    }

    pub(super) fn done(&mut self, effect: Effect, attempt: u32, outcome: &Outcome, out: &mut Vec<Body>) {
        self.seen = Seen::Before;
        match (effect, outcome) {
            (Effect::Observe, Outcome::Observed { observed }) => {
                self.observed(observed.as_ref());
                self.pass_over_what_nobody_answers();
            }
            (Effect::Probe { probe, phase }, Outcome::Measured { sample }) => {
                self.probed(probe, phase, sample, attempt, out);
            }
            (Effect::Scale { revision, replicas }, _) => self.side_mut(&revision, |side| side.desired = replicas),
            (Effect::AwaitAvailable { revision, .. }, Outcome::Available { available, desired }) => {
                self.side_mut(&revision, |side| side.available = *available);
                out.push(Body::RevisionAvailable { revision, available: *available, desired: *desired });
            }
            (Effect::AwaitAvailable { revision, .. }, Outcome::Unavailable { available, message }) => {
                self.side_mut(&revision, |side| side.available = *available);
                if self.phase != Phase::Rollback || *available == 0 {
                    self.give_up(format!("{revision} does not become available: {message}"), out);
                }
            }
            (Effect::VerifyTraffic { weights, .. }, Outcome::Done { .. } | Outcome::Observed { .. }) => {
                // Where a strategy is asked next, this is what it goes by.
                if let Outcome::Observed { observed } = outcome
                    && self.asks_next()
                {
                    self.observed(observed.as_ref());
                    self.seen = Seen::Now;
                }
                let share = |r: &RevisionId| weights.get(r).copied().unwrap_or(Weight::ZERO);
                self.candidate.weight = share(&self.candidate.revision);
                if let Some(stable) = &mut self.stable {
                    stable.weight = share(&stable.revision);
                }
                out.push(Body::TrafficShifted { weights, candidate: self.candidate.weight });
                self.traffic_verified(out);
            }
            (Effect::VerifyTraffic { .. }, Outcome::Unavailable { message, .. }) => {
                self.give_up(format!("the traffic is not as it was set: {message}"), out);
            }
            (Effect::NextStep { .. }, Outcome::Decided { action, state, position }) => {
                self.decided(action, state, position, out);
            }
            (Effect::AwaitGate { gate, .. }, Outcome::Elapsed) => match gate.on_timeout {
                OnTimeout::Abort => self.give_up(format!("nobody promoted in time: {}", gate.reason), out),
                OnTimeout::Promote => {
                    self.after = Last::TimedOut;
                    out.push(Body::GatePassed { by: "the timeout".to_owned() });
                }
            },
            (Effect::MarkStable { revision }, _) => {
                self.marked = true;
                let previous = self.stable.as_ref().map(|s| s.revision.clone()).filter(|r| *r != revision);
                out.push(Body::Promoted { revision, previous });
            }
            (Effect::Retire { revision }, _) => out.push(Body::Retired { revision }),
            (Effect::Deploy { .. } | Effect::SetTraffic { .. } | Effect::Wait { .. }, _) => {}
            (effect, _) => self.give_up(format!("{effect}: the answer does not fit the question"), out),
        }
    }

    pub(super) fn side_mut(&mut self, revision: &RevisionId, change: impl Fn(&mut Side)) {
        for side in std::iter::once(&mut self.candidate).chain(&mut self.stable) {
            if side.revision == *revision {
                change(side);
            }
        }
    }

    pub(super) fn observed(&mut self, observed: Option<&Observed>) {
        let found = |revision: &RevisionId| {
            observed.and_then(|o| o.revisions.iter().find(|r| r.revision == *revision)).map(|r| Side {
                revision: revision.clone(),
                desired: r.desired,
                available: r.available,
                weight: r.weight,
            })
        };
        let gone =
            |revision: &RevisionId| Side { revision: revision.clone(), desired: 0, available: 0, weight: Weight::ZERO };
        self.candidate = found(&self.candidate.revision).unwrap_or_else(|| gone(&self.candidate.revision));
        if let Some(stable) = &mut self.stable {
            *stable = found(&stable.revision).unwrap_or_else(|| gone(&stable.revision));
        }
        let known =
            |r: &RevisionId| *r == self.candidate.revision || self.stable.as_ref().is_some_and(|s| s.revision == *r);
        self.strays =
            observed.into_iter().flat_map(|o| &o.revisions).map(|r| r.revision.clone()).filter(|r| !known(r)).collect();
    }

    /// Readiness is asked of what is stable. Where nothing of that can answer, the answer is known: what there is to find out
    /// is that the service has to be repaired, and a probe that fails would keep it from that for good.
    fn pass_over_what_nobody_answers(&mut self) {
        let nobody = |stable: &Side| stable.available == 0 || stable.weight == Weight::ZERO;
        if self.rules == Rules::Now && self.phase == Phase::Readiness && self.stable.as_ref().is_some_and(nobody) {
            self.queue.retain(|todo| !matches!(todo, Todo::Probe(_)));
        }
    }

    /// Revisions of rollouts that were never finished. The stable one is none of them, even where it is no way back.
    pub(super) fn leftovers(&self) -> Vec<RevisionId> {
        let kept = self.stable_start.as_ref().map(|s| &s.revision);
        self.strays.iter().filter(|r| Some(*r) != kept).cloned().collect()
    }

    pub(super) fn probed(
        &mut self,
        probe: PluginName,
        phase: Phase,
        sample: &Sample,
        attempt: u32,
        out: &mut Vec<Body>,
    ) {
        let verdict = sample.verdict;
        out.push(Body::ProbeMeasured { probe: probe.clone(), phase, verdict, summary: sample.summary.clone() });
        if phase == Phase::Readiness {
            self.stable_facts.insert(probe.clone(), sample.facts.clone());
        }
        match verdict {
            Verdict::Pass => {}
            Verdict::Error | Verdict::NoData | Verdict::Inconclusive if attempt < VERIFY_ATTEMPTS => {
                let effect = Effect::Probe { probe, phase };
                let order = self.numbered(effect, self.now.plus(Millis::secs(1)), attempt.saturating_add(1));
                self.current = Some(Current::new(order, self.now));
            }
            _ => self.give_up(format!("probe {probe}: {verdict}: {}", sample.summary), out),
        }
    }
}
