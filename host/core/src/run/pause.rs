//! Pauses: nothing new begins, what is under way ends, and the time does not count. The way back is never held up.

use super::rules::Rules;
use super::service::{Current, ServiceRun};
use super::{Effect, Phase, Verb};
use crate::event::Body;
use crate::{Millis, Timestamp};

/// A pause that an operator asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paused {
    /// Since when.
    pub since: Timestamp,
    /// Who asked for it, as `user@host pid N`.
    pub by: String,
}

impl ServiceRun {
    /// The pause that it is in.
    #[must_use]
    pub fn paused(&self) -> Option<&Paused> {
        self.paused.as_ref()
    }

    /// Whether it is in a pause, and not over.
    pub(super) fn is_paused(&self) -> bool {
        self.paused.is_some() && self.outcome.is_none()
    }

    /// Whether the pause holds something up: not on the way back, nor on the way to it.
    pub(super) fn is_held_back(&self) -> bool {
        self.paused.is_some() && self.phase != Phase::Rollback && self.pending_rollback.is_none()
    }

    /// Whether this effect is not to be handed out now. What goes on at the counterpart is asked after until it ends.
    pub(super) fn holds_back(&self, current: &Current) -> bool {
        self.is_held_back() && current.order.state.is_none()
    }

    /// Whether nothing but time is under way: a process that follows it can end.
    pub(super) fn rests(&self) -> bool {
        let timer = |c: &Current| {
            !c.handed_out && self.holds_back(c)
                || matches!(c.order.effect, Effect::Wait { .. } | Effect::AwaitGate { .. })
        };
        let measures = self.analysis.iter().chain(&self.watch).any(super::analyses::Analyses::is_measuring);
        self.is_held_back() && self.current.as_ref().is_none_or(timer) && !measures
    }

    pub(super) fn pause(&mut self, by: &str, out: &mut Vec<Body>) {
        self.paused = Some(Paused { since: self.now, by: by.to_owned() });
        // What has not begun is taken back: another attempt that waits for its time, measurements that are not due.
        if let Some(current) = self.current.as_mut().filter(|c| c.order.attempt > 1 && c.order.not_before > self.now) {
            current.handed_out = false;
        }
        // So is the time of a gate.
        if self.timed_gate().is_some()
            && let Some(current) = &mut self.current
        {
            current.handed_out = false;
        }
        for analyses in self.analysis.iter_mut().chain(&mut self.watch) {
            analyses.withdraw(self.now);
        }
        out.push(Body::Paused { by: by.to_owned() });
    }

    /// Goes on: every deadline is as far away as it was.
    pub(super) fn resume(&mut self, by: &str, out: &mut Vec<Body>) {
        let Some(paused) = self.paused.take() else { return };
        let now = self.now;
        out.push(Body::Resumed { by: by.to_owned(), after: now.since(paused.since) });
        if self.phase == Phase::Rollback {
            return;
        }
        for analyses in self.analysis.iter_mut().chain(&mut self.watch) {
            analyses.shift(paused.since, now);
        }
        if let Some(mut current) = self.current.take() {
            let lost = now.since(paused.since.max(current.since));
            current.since = current.since.plus(lost);
            self.current = Some(self.with_more_time(current, lost));
        }
    }

    /// An effect with a deadline is handed out anew with a later one: it only looks, so nothing is done twice.
    ///
    /// A gate keeps its number: it is the gate that people were told of, and its approvals are for.
    fn with_more_time(&mut self, mut current: Current, more: Millis) -> Current {
        match &mut current.order.effect {
            Effect::AwaitGate { until: Some(until), .. } if self.rules == Rules::Now => {
                *until = until.plus(more);
                current.handed_out = false;
                return current;
            }
            Effect::AwaitAvailable { until, .. } | Effect::VerifyTraffic { until, .. } => *until = until.plus(more),
            _ => return current,
        }
        let since = current.since;
        Current::new(self.numbered(current.order.effect, self.now, current.order.attempt), since)
    }

    /// Until when the gate waits that it is at, where that is for a time only that stands still in a pause.
    fn timed_gate(&self) -> Option<Timestamp> {
        self.gate().and_then(|(_, until)| until).filter(|_| self.rules == Rules::Now)
    }

    /// Whether the time of its gate is not up, whatever a timer says that was set before the pause.
    pub(super) fn has_time_at_gate(&self) -> bool {
        self.timed_gate().is_some_and(|until| self.is_held_back() || self.now < until)
    }

    /// What was looked for is not there, but in a pause that is no failure: it is looked for again when it goes on.
    pub(super) fn look_again_later(&mut self) {
        if let Some(current) = self.current.take() {
            let since = current.since;
            self.current =
                Some(Current::new(self.numbered(current.order.effect, self.now, current.order.attempt), since));
        }
    }

    /// How long an effect has been under way, pauses aside.
    pub(super) fn working_time(&self, current: &Current) -> Millis {
        let until = self.paused.as_ref().filter(|_| self.is_held_back()).map_or(self.now, |p| p.since.min(self.now));
        until.since(current.since)
    }

    /// Why it cannot be paused, or what a pause means for it.
    pub(super) fn would_pause(&self) -> Result<String, String> {
        match &self.paused {
            Some(paused) => Err(format!("it is paused already, by {} since {}", paused.by, paused.since)),
            None if self.is_going_back() => Err("it is on its way back, which no pause holds up".to_owned()),
            None if self.phase == Phase::Record && self.is_grouped() && !self.marked => {
                Err("its group is being recorded as stable".to_owned())
            }
            None => Ok(match self.doing().filter(|_| self.current.as_ref().is_some_and(|c| c.handed_out)) {
                Some(doing) => format!("paused; what is under way ends: {doing}"),
                None => "paused".to_owned(),
            }),
        }
    }

    /// Why it cannot go on, or what going on means.
    pub(super) fn would_resume(&self, at: Timestamp) -> Result<String, String> {
        match &self.paused {
            Some(paused) => Ok(format!("resumed after {}", at.since(paused.since))),
            None => Err(format!("it is not paused: `{}` is for a service that is", Verb::Resume)),
        }
    }
}
