//! The phases of a release and what is to be done in each; a phase ends when its queue is empty.

use super::analyses::Analyses;
use super::invariant;
use super::rules::Rules;
use super::service::{Current, Pace, Seen, ServiceRun, Todo};
use super::{Action, Effect, Gate, Last, Order, Phase, Position, RolloutView, ServiceOutcome};
use crate::analysis::Stop;
use crate::event::Body;
use crate::{Millis, PluginName, RevisionId, Timestamp, Weight};
use std::collections::BTreeMap;

/// What a strategy's pause waits for, in its effect.
pub(super) const PAUSE: &str = "pause";
/// How long shares of traffic may take to be as they were set.
const VERIFY_WITHIN: Millis = Millis::secs(60);

/// How often a strategy may be asked in one rollout. One that always wants one thing more would never end.
const MAX_DECISIONS: u32 = 1000;

impl ServiceRun {
    pub(super) fn decided(&mut self, action: &Action, state: &str, position: &Position, out: &mut Vec<Body>) {
        self.decisions = self.decisions.saturating_add(1);
        if self.decisions > MAX_DECISIONS {
            self.give_up(format!("the strategy came to no end in {MAX_DECISIONS} steps"), out);
            return;
        }
        self.strategy_state = Some(state.to_owned());
        if self.position.as_ref() != Some(position) {
            let Position { step, steps, label } = position.clone();
            out.push(Body::StepStarted { step, steps, label });
            self.position = Some(position.clone());
        }
        if let Err(violation) = invariant::check(action, &self.view(), self.spec.replicas) {
            self.give_up(violation.to_string(), out);
            return;
        }
        if let Action::Analyse { analyses } | Action::Watch { analyses } = action {
            let unknown = analyses.iter().find(|name| !self.known_analyses.contains_key(*name));
            if analyses.is_empty() || unknown.is_some() {
                let named = unknown.map_or_else(|| "none".to_owned(), |name| format!("`{name}`, which does not exist"));
                self.give_up(format!("the strategy wants an analysis and names {named}"), out);
                return;
            }
        }
        self.after = Last::Done;
        let candidate = self.candidate.revision.clone();
        match action {
            Action::Scale { candidate: wanted, stable: wanted_stable } => {
                let stable = self.stable.as_ref().map(|s| s.revision.clone());
                for (revision, wanted) in [(Some(candidate), wanted), (stable, wanted_stable)] {
                    if let (Some(revision), Some(wanted)) = (revision, *wanted) {
                        self.queue.push_back(Todo::Scale(revision.clone(), wanted));
                        self.queue.push_back(Todo::Await(revision, wanted));
                    }
                }
            }
            Action::SetWeight { weight } => {
                let mut weights = BTreeMap::new();
                if let Some(stable) = &self.stable
                    && !weight.rest().is_zero()
                {
                    weights.insert(stable.revision.clone(), weight.rest());
                }
                if !weight.is_zero() {
                    weights.insert(candidate, *weight);
                }
                self.queue.push_back(Todo::Traffic(weights.clone()));
                self.queue.push_back(Todo::VerifyTraffic(weights));
            }
            Action::Analyse { analyses } => match self.never_ends(analyses) {
                Some(reason) => self.give_up(reason, out),
                None => {
                    self.analysis = Some(Analyses::start(analyses, &self.known_analyses, Stop::AtCount, self.now));
                }
            },
            Action::Watch { analyses } => {
                self.watch = Some(Analyses::start(analyses, &self.known_analyses, Stop::AtCount, self.now));
            }
            Action::Pause { duration } => self.queue.push_back(Todo::Wait(*duration, PAUSE.to_owned())),
            Action::AwaitPromotion { gate } => self.queue.push_back(Todo::Gate(gate.clone())),
            Action::Promote => {
                if let Some(watch) = &self.watch {
                    // A background analysis that has not come to an end gets one more full interval first.
                    let reason = "one more interval of the background analysis".to_owned();
                    self.queue.push_back(Todo::Wait(watch.longest_interval(), reason));
                }
                self.concluding = true;
            }
            Action::Abort { reason } => self.give_up(reason.clone(), out),
        }
    }

    /// Why one of these analyses would keep a step from ever ending.
    fn never_ends(&self, analyses: &[PluginName]) -> Option<String> {
        let (name, metric) = analyses
            .iter()
            .filter_map(|name| Some((name, self.known_analyses.get(name)?)))
            .flat_map(|(name, analysis)| analysis.metrics.iter().map(move |metric| (name, metric)))
            .find(|(_, metric)| metric.is_endless() && self.rules == Rules::Now)?;
        let metric = &metric.name;
        Some(format!(
            "analysis {name} is a step and would never end: its metric {metric} has an `interval` and no `count`; add a count, or \
             run it beside the steps"
        ))
    }

    pub(super) fn view(&self) -> RolloutView {
        RolloutView { now: self.now, candidate: self.candidate.clone(), stable: self.stable.clone(), last: self.last }
    }

    pub(super) fn enter(&mut self, phase: Phase, out: &mut Vec<Body>) {
        self.phase = phase;
        self.queue.clear();
        out.push(Body::PhaseStarted { phase, revision: self.candidate.revision.clone() });
        let candidate = self.candidate.revision.clone();
        match phase {
            Phase::Readiness => self.look_at_readiness(),
            Phase::Deploy if self.repair || self.reverts() => self.queue.extend(self.in_one_go()),
            Phase::Deploy => {
                if let Some(stable) = self.stable.clone().filter(|s| s.weight != Weight::FULL) {
                    // A rollout that ended half-way is undone first: this one starts at step 0 from the last stable.
                    self.queue.extend(self.traffic_back(&stable));
                }
                self.queue.push_back(Todo::Deploy(candidate, self.candidate.desired));
            }
            Phase::Rollout if self.pace == Pace::InFull => self.rest_in_full(),
            Phase::Rollout => self.queue.extend([Todo::Observe, Todo::Next]),
            Phase::Verify => self.queue.extend(self.spec.verify.iter().cloned().map(Todo::Probe)),
            Phase::Bake => {
                if let Some(bake) = self.spec.bake.clone() {
                    let stop = Stop::At(self.now.plus(bake.duration));
                    if bake.analyses.is_empty() {
                        self.queue.push_back(Todo::Wait(bake.duration, "bake".to_owned()));
                    } else {
                        self.analysis = Some(Analyses::start(&bake.analyses, &self.known_analyses, stop, self.now));
                    }
                }
            }
            Phase::Record => {
                self.queue.push_back(Todo::MarkStable(candidate.clone()));
                let old: Vec<RevisionId> = self
                    .stable
                    .iter()
                    .map(|s| s.revision.clone())
                    .chain(self.strays.iter().filter(|_| !self.keeps_what_is_there()).cloned())
                    .filter(|r| *r != candidate)
                    .collect();
                if !old.is_empty() {
                    self.queue.push_back(Todo::Wait(self.spec.scale_down_delay, "keep the old revision".to_owned()));
                    self.queue.extend(old.into_iter().map(Todo::Retire));
                }
            }
            Phase::Waiting | Phase::Held | Phase::Rollback | Phase::Done => {}
        }
    }

    /// What is there, and whether it is in the state for a release.
    pub(super) fn look_at_readiness(&mut self) {
        self.queue.push_back(Todo::Observe);
        // What a revert leaves is no measure for whether it may begin.
        if self.stable.is_some() && !self.reverts() {
            self.queue.extend(self.spec.readiness.iter().cloned().map(Todo::Probe));
        }
    }

    pub(super) fn numbered(&mut self, effect: Effect, not_before: Timestamp, attempt: u32) -> Order {
        let id = self.next_id;
        self.next_id = self.next_id.saturating_add(1);
        Order { id, effect, not_before, attempt, state: None }
    }

    pub(super) fn arm(&mut self, todo: Todo, out: &mut Vec<Body>) -> Effect {
        let now = self.now;
        match todo {
            Todo::Observe => Effect::Observe,
            Todo::Probe(probe) => Effect::Probe { probe, phase: self.phase },
            Todo::Deploy(revision, replicas) => Effect::Deploy { revision, replicas },
            Todo::Scale(revision, replicas) => Effect::Scale { revision, replicas },
            Todo::Await(revision, replicas) => {
                Effect::AwaitAvailable { revision, replicas, until: now.plus(self.spec.progress_deadline) }
            }
            Todo::Traffic(weights) => Effect::SetTraffic { weights },
            Todo::VerifyTraffic(weights) => {
                let within = VERIFY_WITHIN.min(self.spec.progress_deadline);
                Effect::VerifyTraffic { weights, until: now.plus(within) }
            }
            Todo::Next => Effect::NextStep { view: Box::new(self.view()), state: self.strategy_state.clone() },
            Todo::Wait(duration, reason) => Effect::Wait { until: now.plus(duration), reason },
            Todo::Gate(gate) => {
                let until = gate.timeout.map(|t| now.plus(t));
                let gate = Gate { quorum: self.spec.gates.clone(), ..gate };
                // Whatever ended the one before: nobody has agreed to this one yet.
                self.approvals.clear();
                out.push(self.gate_opened(&gate, until));
                Effect::AwaitGate { gate, until }
            }
            Todo::MarkStable(revision) => Effect::MarkStable { revision },
            Todo::Retire(revision) => Effect::Retire { revision },
        }
    }

    /// Takes the next thing from the queue, or goes on to the next phase when the queue is empty.
    pub(super) fn advance(&mut self, out: &mut Vec<Body>) {
        while self.outcome.is_none()
            && self.current.is_none()
            && self.analysis.is_none()
            && self.retreat.is_none()
            && !self.asks_leave()
            && !matches!(self.phase, Phase::Held | Phase::Waiting)
        {
            match self.queue.pop_front() {
                Some(Todo::Wait(Millis::ZERO, _)) => {}
                Some(todo) => {
                    let effect = self.arm(todo, out);
                    let order = self.numbered(effect, self.now, 1);
                    self.current = Some(Current::new(order, self.now));
                }
                None => self.drained(out),
            }
        }
        let mut next_id = self.next_id;
        for analyses in self.analysis.iter_mut().chain(&mut self.watch) {
            analyses.number(&mut next_id);
        }
        self.next_id = next_id;
    }

    pub(super) fn drained(&mut self, out: &mut Vec<Body>) {
        match self.phase {
            Phase::Readiness => self.ready(out),
            Phase::Deploy if self.repair || self.reverts() => self.enter(Phase::Verify, out),
            Phase::Deploy => self.enter(Phase::Rollout, out),
            Phase::Rollout if self.concluding => self.conclude(out),
            Phase::Rollout => {
                self.last = self.after;
                // In a pause it would be of the time before it.
                if self.seen == Seen::Before || self.is_held_back() {
                    self.queue.push_back(Todo::Observe);
                }
                self.queue.push_back(Todo::Next);
            }
            Phase::Verify if self.spec.bake.is_some() && !self.reverts() => self.enter(Phase::Bake, out),
            Phase::Verify | Phase::Bake if self.is_grouped() => self.enter(Phase::Held, out),
            Phase::Verify | Phase::Bake => self.enter(Phase::Record, out),
            Phase::Record if self.clearing => self.unchanged(out),
            Phase::Record => self.finish(ServiceOutcome::Promoted),
            Phase::Rollback => self.finish(ServiceOutcome::RolledBack),
            Phase::Waiting | Phase::Held | Phase::Done => self.finish(ServiceOutcome::Failed),
        }
    }

    /// Whether the strategy is asked once what is under way has come to its end.
    pub(super) fn asks_next(&self) -> bool {
        self.phase == Phase::Rollout && !self.concluding && self.queue.is_empty() && self.analysis.is_none()
    }

    /// What is there decides how the release goes: not at all, as a repair, or as a rollout.
    pub(super) fn ready(&mut self, out: &mut Vec<Body>) {
        let same = self.stable.as_ref().is_some_and(|s| s.revision == self.candidate.revision);
        if (self.adopts() || !same) && self.must_wait_for_leave() {
            return;
        }
        if self.adopts() {
            self.adopt(out);
            return;
        }
        if same {
            let c = &self.candidate;
            let replicas = self.spec.replicas;
            let same_size = self.stable_start.as_ref().is_some_and(|s| s.replicas == replicas);
            let full = c.desired == replicas && c.available >= replicas && c.weight == Weight::FULL && same_size;
            if full && self.outdated.is_empty() {
                let left_over = self.to_clear_away();
                if left_over.is_empty() {
                    self.unchanged(out);
                } else {
                    self.clear_away(left_over, out);
                }
                return;
            }
            // Another number of instances in the file is what the operator asks for; anything else is drift.
            if full {
                let message = format!("around {} the provider would change: {}", c.revision, self.outdated.join("; "));
                self.tell_drift(message, out);
            } else if same_size {
                let message = format!(
                    "{} should have {replicas} instances and all traffic; it has {} of {} available and {}",
                    c.revision, c.available, c.desired, c.weight
                );
                self.tell_drift(message, out);
            }
            if self.must_wait_for_leave() {
                return;
            }
            self.repair = true;
        } else if let Some(stable) = self.stable.clone().filter(|s| s.available == 0) {
            let message =
                format!("no instance of the stable revision {} can take traffic: it is no way back", stable.revision);
            out.push(Body::DriftFound { message });
            self.strays.push(stable.revision);
            self.stable = None;
        }
        if self.reverts() && !self.repair {
            self.say_revert(out);
        }
        self.enter(Phase::Deploy, out);
    }

    /// Ends as it began: everything is as it should be.
    pub(super) fn unchanged(&mut self, out: &mut Vec<Body>) {
        out.push(Body::Unchanged { revision: self.candidate.revision.clone() });
        self.finish(ServiceOutcome::Unchanged);
    }

    /// Says what differs; once, also where it is looked at again after a gate.
    pub(super) fn tell_drift(&mut self, message: String, out: &mut Vec<Body>) {
        if self.told.as_ref() != Some(&message) {
            out.push(Body::DriftFound { message: message.clone() });
            self.told = Some(message);
        }
    }

    pub(super) fn conclude(&mut self, out: &mut Vec<Body>) {
        self.concluding = false;
        if let Some(mut watch) = self.watch.take() {
            let (verdict, reason) = watch.close();
            out.push(Body::AnalysisFinished { analyses: watch.names().to_vec(), verdict, reason: reason.clone() });
            if !verdict.moves_forward() {
                self.give_up(format!("analysis: {verdict}: {reason}"), out);
                return;
            }
        }
        self.enter(Phase::Verify, out);
    }

    pub(super) fn finish(&mut self, outcome: ServiceOutcome) {
        self.phase = Phase::Done;
        self.queue.clear();
        self.current = None;
        self.analysis = None;
        self.watch = None;
        self.retreat = None;
        self.paused = None;
        self.outcome = Some(outcome);
    }
}
