//! What operators can ask of a run while it is not finished. What a verb would do, and what it does, come from the same
//! functions, so that an answer cannot promise anything else than what happens.

use super::phases::PAUSE;
use super::service::{Pace, ServiceRun, Todo};
use super::{Effect, Last, Phase, Verb};
use super::{Run, ServiceOutcome};
use crate::event::Body;
use crate::{ServiceName, Timestamp, Weight};
use std::collections::BTreeMap;

/// How many reasons a refusal names.
const MOST_REASONS: usize = 3;

impl Run {
    /// What would come of a verb at this time: every service that it would act on, with what would happen to it.
    ///
    /// # Errors
    /// Why there is nothing to act on, in words for a person.
    pub fn would(
        &self,
        service: Option<&ServiceName>,
        verb: Verb,
        order: Option<u32>,
        at: Timestamp,
    ) -> Result<Vec<(ServiceName, String)>, String> {
        if let Some(outcome) = self.finished() {
            return Err(format!("the run is finished: {}", outcome.sentence()));
        }
        let asked: Vec<&ServiceRun> = match service {
            Some(name) => vec![self.services.get(name).ok_or_else(|| self.no_such_service(name))?],
            None => self.services.values().collect(),
        };
        let (mut acts, mut refusals) = (Vec::new(), Vec::new());
        for run in asked {
            match run.would(verb, order, at) {
                Ok(what) => acts.push((run.name().clone(), what)),
                Err(why) => refusals.push(format!("{}: {why}", run.name())),
            }
        }
        if !acts.is_empty() {
            return Ok(acts);
        }
        if let Some(gate) = self.gate.as_ref().filter(|_| matches!(verb, Verb::Promote | Verb::PromoteFull)) {
            return Err(gate.needs_approval());
        }
        let more = refusals.len().saturating_sub(MOST_REASONS);
        refusals.truncate(MOST_REASONS);
        if more > 0 {
            refusals.push(format!("and so on for {more} more"));
        }
        Err(refusals.join("; "))
    }

    fn no_such_service(&self, name: &ServiceName) -> String {
        let known: Vec<&str> = self.services.keys().take(10).map(ServiceName::as_str).collect();
        format!("there is no service `{name}` in this run; it has {}", known.join(", "))
    }

    /// Carries a request out.
    pub(super) fn requested(
        &mut self,
        service: Option<&ServiceName>,
        verb: Verb,
        by: &str,
        order: Option<u32>,
        at: Timestamp,
    ) -> Vec<(Option<ServiceName>, Body)> {
        let acts = match self.would(service, verb, order, at) {
            Ok(acts) => acts,
            Err(reason) => {
                let refused = Body::RequestRefused { verb: verb.to_string(), by: by.to_owned(), reason };
                return vec![(service.cloned(), refused)];
            }
        };
        let mut bodies = Vec::new();
        for (name, _) in acts {
            let Some(run) = self.services.get_mut(&name) else { continue };
            bodies.extend(run.act(verb, by, at).into_iter().map(|body| (Some(name.clone()), body)));
            self.touched(&name);
        }
        bodies
    }
}

impl ServiceRun {
    /// Whether it goes back, or is about to.
    pub(super) fn is_going_back(&self) -> bool {
        self.phase == Phase::Rollback || self.retreat.is_some() || self.pending_rollback.is_some()
    }

    /// What a verb would do, or why it would do nothing.
    fn would(&self, verb: Verb, order: Option<u32>, at: Timestamp) -> Result<String, String> {
        if let Some(outcome) = self.outcome {
            return Err(format!("it has ended: {}", ended(outcome)));
        }
        if order.is_some() && order != self.order() {
            return Err("what this was meant for is over".to_owned());
        }
        match verb {
            Verb::Promote => self.is_late_at_gate(at).map_or_else(|| self.would_promote(), Err),
            Verb::PromoteFull => self.is_late_at_gate(at).map_or_else(|| self.would_promote_in_full(), Err),
            Verb::Pause => self.would_pause(),
            Verb::Resume => self.would_resume(at),
            Verb::Abort => self.would_abort(),
            Verb::Retry => self.would_retry(at),
        }
    }

    fn would_promote(&self) -> Result<String, String> {
        let paused = if self.paused.is_some() { "; it stays paused until `resume`" } else { "" };
        if let Some((gate, _)) = self.gate() {
            return match &gate.quorum {
                Some(quorum) => {
                    let have = self.approvals.len();
                    let (needed, name) = (quorum.approvals, self.name());
                    Err(format!("its gate needs approvals, {have} of {needed} are there: `basb-host approve {name}`"))
                }
                None => Ok(format!("the gate passes: {}{paused}", gate.reason)),
            };
        }
        match self.strategy_pause() {
            Some(reason) => Ok(format!("the {reason} ends now{paused}")),
            None => Err("it waits at no gate and in no pause of its strategy".to_owned()),
        }
    }

    /// The pause of the strategy that it is in.
    fn strategy_pause(&self) -> Option<&str> {
        let current = self.current.as_ref().filter(|_| self.phase == Phase::Rollout)?;
        match &current.order.effect {
            // The wait for one more interval of an analysis beside the steps is none of the strategy's.
            Effect::Wait { reason, .. } if reason == PAUSE => Some(reason),
            _ => None,
        }
    }

    fn would_promote_in_full(&self) -> Result<String, String> {
        match self.phase {
            _ if self.is_going_back() => Err("it is on its way back".to_owned()),
            Phase::Waiting | Phase::Readiness | Phase::Deploy | Phase::Rollout if self.pace == Pace::InFull => {
                Err("the rest of its steps is skipped already".to_owned())
            }
            _ if self.repair || self.reverts() => Err("it takes no steps".to_owned()),
            Phase::Waiting | Phase::Readiness | Phase::Deploy | Phase::Rollout => match &self.spec.gates {
                Some(_) => Err("its gates need approvals, which `--full` would go round".to_owned()),
                None => Ok("the rest of the steps is skipped; verification and bake stay".to_owned()),
            },
            _ => Err("its rollout is over".to_owned()),
        }
    }

    fn would_abort(&self) -> Result<String, String> {
        match self.phase {
            _ if self.is_going_back() => Err("it is on its way back already".to_owned()),
            _ if self.marked => Err("it is stable already: `basb-host undo` brings an older revision back".to_owned()),
            _ if self.clearing => Err("it is as it should be; only what is left over beside it is removed".to_owned()),
            Phase::Record => Err("it is being recorded as stable".to_owned()),
            Phase::Waiting | Phase::Readiness => Ok("it ends before anything was changed".to_owned()),
            _ => Ok(match (&self.stable, self.group.as_ref().filter(|_| self.is_grouped())) {
                (Some(stable), None) => format!("back to {}", stable.revision),
                (Some(stable), Some(group)) => format!("back to {}, with its group {group}", stable.revision),
                (None, _) => "given up; there is no stable revision to go back to".to_owned(),
            }),
        }
    }

    fn would_retry(&self, at: Timestamp) -> Result<String, String> {
        match &self.current {
            Some(c) if c.order.attempt > 1 && c.order.not_before > at => {
                Ok(format!("{}: attempt {} is made now", c.order.effect, c.order.attempt))
            }
            _ => Err("nothing of it waits for another attempt".to_owned()),
        }
    }

    /// Does what [`ServiceRun::would`] said.
    fn act(&mut self, verb: Verb, by: &str, at: Timestamp) -> Vec<Body> {
        self.now = at;
        let mut out = Vec::new();
        match verb {
            Verb::Promote => self.pass_gate(by, Last::Promoted, &mut out),
            Verb::PromoteFull => self.skip_the_rest(by, &mut out),
            Verb::Pause => self.pause(by, &mut out),
            Verb::Resume => self.resume(by, &mut out),
            Verb::Abort => self.give_up(format!("{by} asked for it"), &mut out),
            Verb::Retry => self.hurry(by, &mut out),
        }
        self.advance(&mut out);
        out
    }

    /// The attempt that is waited for is made now, under the number that it has.
    fn hurry(&mut self, by: &str, out: &mut Vec<Body>) {
        let now = self.now;
        if let Some(current) = &mut self.current {
            current.order.not_before = now;
            current.handed_out = false;
            out.push(Body::EffectHurried { effect: current.order.effect.to_string(), by: by.to_owned() });
        }
    }

    /// To all of the traffic without further steps. A change that is under way ends first; an analysis is broken off,
    /// since it is what the operator skips.
    fn skip_the_rest(&mut self, by: &str, out: &mut Vec<Body>) {
        self.pace = Pace::InFull;
        out.push(Body::RolloutSkipped { by: by.to_owned() });
        if self.phase != Phase::Rollout {
            return;
        }
        if self.gate().is_some() {
            self.pass_gate(by, Last::Promoted, out);
        }
        self.analysis = None;
        self.watch = None;
        self.queue.clear();
        if self.current.as_ref().is_some_and(|c| !(c.in_doubt && c.order.effect.mutates())) {
            self.current = None;
        }
        self.rest_in_full();
    }

    /// What is left to do without steps: capacity first, then all of the traffic, verified.
    pub(super) fn rest_in_full(&mut self) {
        let (candidate, replicas) = (self.candidate.revision.clone(), self.spec.replicas);
        let all: BTreeMap<_, _> = [(candidate.clone(), Weight::FULL)].into();
        self.queue.extend([
            Todo::Scale(candidate.clone(), replicas),
            Todo::Await(candidate, replicas),
            Todo::Traffic(all.clone()),
            Todo::VerifyTraffic(all),
        ]);
        self.concluding = true;
    }
}

fn ended(outcome: ServiceOutcome) -> &'static str {
    match outcome {
        ServiceOutcome::Promoted => "promoted",
        ServiceOutcome::Unchanged => "unchanged",
        ServiceOutcome::Skipped => "not started",
        ServiceOutcome::Failed => "failed before anything was changed",
        ServiceOutcome::RolledBack => "rolled back",
        ServiceOutcome::RollbackFailed => "its rollback failed",
    }
}
