//! One service on its way from readiness to stable, or back.
//!
//! Each phase is a queue of things to do; one is under way at a time, with the measurements of analyses beside it.
//! When the queue is empty the phase has succeeded and the next one fills it.

use super::analyses::Analyses;
use super::invariant;
use super::record::{
    Action, Effect, Failure, Gate, Last, Observed, OnTimeout, Order, Outcome, Phase, Position, RolloutView, RunStart,
    ServiceOutcome, ServiceStart, Side, StableRevision, StartMode, Verb,
};
use crate::analysis::{Sample, Stop};
use crate::event::Body;
use crate::model::{Analysis, Service};
use crate::{Millis, PluginName, RevisionId, ServiceName, Timestamp, Verdict, Weight};
use std::collections::{BTreeMap, VecDeque};

/// How often a failed effect is tried before it counts as failed.
const MAX_ATTEMPTS: u32 = 5;
/// How often a verification probe that gave no clear answer is asked again.
const VERIFY_ATTEMPTS: u32 = 3;
/// How long shares of traffic may take to be as they were set.
const VERIFY_WITHIN: Millis = Millis::secs(60);
/// The longest pause between two attempts.
const MAX_BACKOFF: Millis = Millis::secs(30);

/// How often a strategy may be asked in one rollout. One that always wants one thing more would never end.
const MAX_DECISIONS: u32 = 1000;

/// Something to do that has no number and no deadline yet.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Todo {
    Observe,
    Probe(PluginName),
    Deploy(RevisionId, u32),
    Scale(RevisionId, u32),
    Await(RevisionId, u32),
    Traffic(BTreeMap<RevisionId, Weight>),
    VerifyTraffic(BTreeMap<RevisionId, Weight>),
    Next,
    Wait(Millis, String),
    Gate(Gate),
    MarkStable(RevisionId),
    Retire(RevisionId),
}

#[derive(Debug)]
pub(super) struct Current {
    pub(super) order: Order,
    pub(super) handed_out: bool,
    pub(super) since: Timestamp,
}

/// A service, as far as the run's history goes.
#[derive(Debug)]
pub struct ServiceRun {
    name: ServiceName,
    pub(super) spec: Service,
    known_analyses: BTreeMap<PluginName, Analysis>,
    pub(super) candidate: Side,
    pub(super) stable: Option<Side>,
    stable_start: Option<StableRevision>,
    pub(super) mode: StartMode,
    pub(super) irreversible: Vec<String>,
    pub(super) phase: Phase,
    pub(super) queue: VecDeque<Todo>,
    pub(super) current: Option<Current>,
    next_id: u32,
    pub(super) analysis: Option<Analyses>,
    pub(super) watch: Option<Analyses>,
    decisions: u32,
    concluding: bool,
    strategy_state: Option<String>,
    last: Last,
    after: Last,
    position: Option<Position>,
    stable_facts: BTreeMap<PluginName, BTreeMap<String, String>>,
    strays: Vec<RevisionId>,
    pub(super) repair: bool,
    pub(super) touched_traffic: bool,
    pub(super) deployed: bool,
    pub(super) marked: bool,
    pub(super) pending_rollback: Option<String>,
    pub(super) rollback_began: Option<Timestamp>,
    pub(super) rolled_back: bool,
    pub(super) outcome: Option<ServiceOutcome>,
    now: Timestamp,
}

impl ServiceRun {
    pub(super) fn new(name: ServiceName, spec: Service, from: ServiceStart, start: &RunStart, now: Timestamp) -> Self {
        let side =
            |revision: &RevisionId| Side { revision: revision.clone(), desired: 0, available: 0, weight: Weight::ZERO };
        Self {
            name,
            spec,
            known_analyses: start.deployment.analyses.clone(),
            candidate: side(&from.candidate),
            stable: from.stable.as_ref().map(|s| side(&s.revision)),
            stable_start: from.stable,
            mode: from.mode,
            irreversible: from.irreversible,
            phase: Phase::Waiting,
            queue: VecDeque::new(),
            current: None,
            next_id: 1,
            analysis: None,
            watch: None,
            decisions: 0,
            concluding: false,
            strategy_state: None,
            last: Last::None,
            after: Last::Done,
            position: None,
            stable_facts: BTreeMap::new(),
            strays: Vec::new(),
            repair: false,
            touched_traffic: false,
            deployed: false,
            marked: false,
            pending_rollback: None,
            rollback_began: None,
            rolled_back: false,
            outcome: None,
            now,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &ServiceName {
        &self.name
    }

    /// What the deployment file says of it.
    #[must_use]
    pub fn spec(&self) -> &Service {
        &self.spec
    }

    /// Where it is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The revision that it is to get, as last seen.
    #[must_use]
    pub fn candidate(&self) -> &Side {
        &self.candidate
    }

    /// The revision that it falls back to, as last seen.
    #[must_use]
    pub fn stable(&self) -> Option<&Side> {
        self.stable.as_ref()
    }

    /// What each probe found in readiness, at the stable revision: what a candidate's measurements can be compared with.
    #[must_use]
    pub fn stable_facts(&self) -> &BTreeMap<PluginName, BTreeMap<String, String>> {
        &self.stable_facts
    }

    /// Where its rollout is.
    #[must_use]
    pub fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn outcome(&self) -> Option<ServiceOutcome> {
        self.outcome
    }

    /// Whether services that depend on it may start: known once it is stable, or has ended.
    #[must_use]
    pub fn settled(&self) -> Option<bool> {
        if self.marked { Some(true) } else { self.outcome.map(ServiceOutcome::succeeded) }
    }

    /// The gate that it waits at, and until when.
    #[must_use]
    pub fn gate(&self) -> Option<(&Gate, Option<Timestamp>)> {
        match &self.current.as_ref()?.order.effect {
            Effect::AwaitGate { gate, until } => Some((gate, *until)),
            _ => None,
        }
    }

    /// The effect with this number, while it is under way.
    #[must_use]
    pub fn effect(&self, id: u32) -> Option<&Effect> {
        self.current.as_ref().filter(|c| c.order.id == id).map(|c| &c.order.effect)
    }

    /// What is under way, in words.
    #[must_use]
    pub fn doing(&self) -> Option<String> {
        self.current.as_ref().map(|c| c.order.effect.to_string())
    }

    pub(super) fn orders(&self) -> Vec<Order> {
        if self.outcome.is_some() {
            return Vec::new();
        }
        let current = self.current.iter().filter(|c| !c.handed_out).map(|c| c.order.clone());
        let revision = match self.phase {
            Phase::Bake => None,
            _ => Some(&self.candidate.revision),
        };
        let beside = self.analysis.iter().chain(&self.watch).flat_map(|a| a.orders(revision));
        current.chain(beside).collect()
    }

    pub(super) fn wants(&self, id: u32) -> bool {
        self.current.as_ref().is_some_and(|c| c.order.id == id)
            || self.analysis.iter().chain(&self.watch).any(|a| a.has(id))
    }

    pub(super) fn intended(&mut self, order: &Order) {
        if let Some(current) = self.current.as_mut().filter(|c| c.order.id == order.id) {
            current.handed_out = true;
            // From here on it may have happened, whatever the outcome says.
            self.touched_traffic |= matches!(order.effect, Effect::SetTraffic { .. });
            self.deployed |=
                matches!(&order.effect, Effect::Deploy { revision, .. } if *revision == self.candidate.revision);
        } else if !self.analysis.as_mut().is_some_and(|a| a.intended(order.id)) {
            self.watch.as_mut().map(|w| w.intended(order.id));
        }
    }

    pub(super) fn reopen(&mut self) {
        if let Some(current) = &mut self.current {
            current.handed_out = false;
        }
        for analyses in self.analysis.iter_mut().chain(&mut self.watch) {
            analyses.reopen();
        }
    }

    pub(super) fn skip(&mut self, because: ServiceName) -> Vec<Body> {
        self.phase = Phase::Done;
        self.outcome = Some(ServiceOutcome::Skipped);
        vec![Body::Skipped { because }]
    }

    pub(super) fn begin(&mut self, at: Timestamp) -> Vec<Body> {
        self.now = at;
        let mut out = Vec::new();
        self.enter(Phase::Readiness, &mut out);
        self.advance(&mut out);
        out
    }

    pub(super) fn asked(&mut self, verb: Verb, by: &str, at: Timestamp) -> Vec<Body> {
        self.now = at;
        let mut out = Vec::new();
        if self.outcome.is_none() {
            match verb {
                Verb::Promote if self.gate().is_some() => {
                    self.pass_gate(by, Last::Promoted, &mut out);
                }
                Verb::Promote => {}
                Verb::Abort if !self.marked && self.phase != Phase::Rollback => {
                    self.give_up(format!("{by} asked for it"), &mut out)
                }
                Verb::Abort => {}
            }
            self.advance(&mut out);
        }
        out
    }

    /// Takes an outcome in. One for an effect that is not wanted any more changes nothing.
    pub(super) fn came_to(&mut self, id: u32, outcome: &Outcome, at: Timestamp) -> Vec<Body> {
        self.now = at;
        let mut out = Vec::new();
        if self.outcome.is_some() {
            return out;
        }
        if self.current.as_ref().is_some_and(|c| c.order.id == id) {
            self.current_came_to(outcome, &mut out);
        } else {
            self.measurement_came_to(id, outcome, &mut out);
        }
        self.advance(&mut out);
        out
    }

    fn measurement_came_to(&mut self, id: u32, outcome: &Outcome, out: &mut Vec<Body>) {
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
    fn judged(&mut self, verdict: Verdict, reason: String, out: &mut Vec<Body>) {
        match verdict {
            Verdict::Pass => self.after = Last::Judged(Verdict::Pass),
            Verdict::Inconclusive => self.queue.push_front(Todo::Gate(Gate {
                reason: format!("the analysis is inconclusive: {reason}"),
                timeout: None,
                on_timeout: OnTimeout::Abort,
            })),
            Verdict::Fail | Verdict::Error | Verdict::NoData => {
                self.give_up(format!("analysis: {verdict}: {reason}"), out);
            }
        }
    }

    fn current_came_to(&mut self, outcome: &Outcome, out: &mut Vec<Body>) {
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
            _ => {
                let Some(current) = self.current.take() else { return };
                self.done(current.order.effect, current.order.attempt, outcome, out);
                if let Some(reason) = self.pending_rollback.take() {
                    self.give_up(reason, out);
                }
            }
        }
    }

    /// Whether a provider's call has gone on for longer than a rollout may go without progress.
    fn is_stuck(&self, current: &Current) -> bool {
        self.now.since(current.since) > self.spec.progress_deadline
    }

    fn failed(&mut self, failure: &Failure, out: &mut Vec<Body>) {
        let now = self.now;
        let Some(current) = &mut self.current else { return };
        if self.pending_rollback.is_none()
            && let Some(after) = failure.retry_after
            && current.order.attempt < MAX_ATTEMPTS
        {
            let after = after.min(self.spec.progress_deadline);
            let backoff = Millis(500 << current.order.attempt.min(16)).min(MAX_BACKOFF).max(after);
            current.order.attempt = current.order.attempt.saturating_add(1);
            current.order.not_before = now.plus(backoff);
            current.handed_out = false;
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
        } else if self.marked || (self.rolled_back && matches!(effect, Effect::Retire { .. })) {
            // The release, or the way back, has succeeded; what could not be cleared away is said and left.
            out.push(Body::Warning { message: format!("{effect}: {}", failure.message) });
        } else {
            self.give_up(format!("{effect}: {} ({})", failure.message, failure.code), out);
        }
    }

    fn done(&mut self, effect: Effect, attempt: u32, outcome: &Outcome, out: &mut Vec<Body>) {
        match (effect, outcome) {
            (Effect::Observe, Outcome::Observed { observed }) => self.observed(observed.as_ref()),
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
            (Effect::VerifyTraffic { weights, .. }, Outcome::Done { .. }) => {
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

    fn pass_gate(&mut self, by: &str, last: Last, out: &mut Vec<Body>) {
        self.current = None;
        self.after = last;
        out.push(Body::GatePassed { by: by.to_owned() });
    }

    fn side_mut(&mut self, revision: &RevisionId, change: impl Fn(&mut Side)) {
        for side in std::iter::once(&mut self.candidate).chain(&mut self.stable) {
            if side.revision == *revision {
                change(side);
            }
        }
    }

    fn observed(&mut self, observed: Option<&Observed>) {
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

    /// Revisions of rollouts that were never finished. The stable one is none of them, even where it is no way back.
    pub(super) fn leftovers(&self) -> Vec<RevisionId> {
        let kept = self.stable_start.as_ref().map(|s| &s.revision);
        self.strays.iter().filter(|r| Some(*r) != kept).cloned().collect()
    }

    fn probed(&mut self, probe: PluginName, phase: Phase, sample: &Sample, attempt: u32, out: &mut Vec<Body>) {
        let verdict = sample.verdict;
        out.push(Body::ProbeMeasured { probe: probe.clone(), phase, verdict, summary: sample.summary.clone() });
        if phase == Phase::Readiness {
            self.stable_facts.insert(probe.clone(), sample.facts.clone());
        }
        match verdict {
            Verdict::Pass => {}
            Verdict::Error | Verdict::NoData | Verdict::Inconclusive if attempt < VERIFY_ATTEMPTS => {
                let effect = Effect::Probe { probe, phase };
                let order = self.order(effect, self.now.plus(Millis::secs(1)), attempt.saturating_add(1));
                self.current = Some(Current { order, handed_out: false, since: self.now });
            }
            _ => self.give_up(format!("probe {probe}: {verdict}: {}", sample.summary), out),
        }
    }

    fn decided(&mut self, action: &Action, state: &str, position: &Position, out: &mut Vec<Body>) {
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
            Action::Analyse { analyses } => {
                self.analysis = Some(Analyses::start(analyses, &self.known_analyses, Stop::AtCount, self.now));
            }
            Action::Watch { analyses } => {
                self.watch = Some(Analyses::start(analyses, &self.known_analyses, Stop::AtCount, self.now));
            }
            Action::Pause { duration } => self.queue.push_back(Todo::Wait(*duration, "pause".to_owned())),
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

    fn view(&self) -> RolloutView {
        RolloutView { now: self.now, candidate: self.candidate.clone(), stable: self.stable.clone(), last: self.last }
    }

    pub(super) fn enter(&mut self, phase: Phase, out: &mut Vec<Body>) {
        self.phase = phase;
        self.queue.clear();
        out.push(Body::PhaseStarted { phase, revision: self.candidate.revision.clone() });
        let candidate = self.candidate.revision.clone();
        match phase {
            Phase::Readiness => {
                self.queue.push_back(Todo::Observe);
                // What a revert leaves is no measure for whether it may begin.
                if self.stable.is_some() && !self.reverts() {
                    self.queue.extend(self.spec.readiness.iter().cloned().map(Todo::Probe));
                }
            }
            Phase::Deploy if self.repair || self.reverts() => self.queue.extend(self.in_one_go()),
            Phase::Deploy => {
                if let Some(stable) = self.stable.clone().filter(|s| s.weight != Weight::FULL) {
                    // A rollout that ended half-way is undone first: this one starts at step 0 from the last stable.
                    self.queue.extend(self.traffic_back(&stable));
                }
                self.queue.push_back(Todo::Deploy(candidate, self.candidate.desired));
            }
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
                    .chain(self.strays.iter().cloned())
                    .filter(|r| *r != candidate)
                    .collect();
                if !old.is_empty() {
                    self.queue.push_back(Todo::Wait(self.spec.scale_down_delay, "keep the old revision".to_owned()));
                    self.queue.extend(old.into_iter().map(Todo::Retire));
                }
            }
            Phase::Waiting | Phase::Rollback | Phase::Done => {}
        }
    }

    fn order(&mut self, effect: Effect, not_before: Timestamp, attempt: u32) -> Order {
        let id = self.next_id;
        self.next_id = self.next_id.saturating_add(1);
        Order { id, effect, not_before, attempt, state: None }
    }

    fn arm(&self, todo: Todo, out: &mut Vec<Body>) -> Effect {
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
                out.push(Body::GateOpened { reason: gate.reason.clone(), until });
                Effect::AwaitGate { gate, until }
            }
            Todo::MarkStable(revision) => Effect::MarkStable { revision },
            Todo::Retire(revision) => Effect::Retire { revision },
        }
    }

    /// Takes the next thing from the queue, or goes on to the next phase when the queue is empty.
    fn advance(&mut self, out: &mut Vec<Body>) {
        while self.outcome.is_none() && self.current.is_none() && self.analysis.is_none() {
            match self.queue.pop_front() {
                Some(Todo::Wait(Millis::ZERO, _)) => {}
                Some(todo) => {
                    let effect = self.arm(todo, out);
                    let order = self.order(effect, self.now, 1);
                    self.current = Some(Current { order, handed_out: false, since: self.now });
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

    fn drained(&mut self, out: &mut Vec<Body>) {
        match self.phase {
            Phase::Readiness => self.ready(out),
            Phase::Deploy if self.repair || self.reverts() => self.enter(Phase::Verify, out),
            Phase::Deploy => self.enter(Phase::Rollout, out),
            Phase::Rollout if self.concluding => self.conclude(out),
            Phase::Rollout => {
                self.last = self.after;
                self.queue.extend([Todo::Observe, Todo::Next]);
            }
            Phase::Verify if self.spec.bake.is_some() && !self.reverts() => self.enter(Phase::Bake, out),
            Phase::Verify => self.enter(Phase::Record, out),
            Phase::Bake => self.enter(Phase::Record, out),
            Phase::Record => self.finish(ServiceOutcome::Promoted),
            Phase::Rollback => self.finish(ServiceOutcome::RolledBack),
            Phase::Waiting | Phase::Done => self.finish(ServiceOutcome::Failed),
        }
    }

    /// What is there decides how the release goes: not at all, as a repair, or as a rollout.
    fn ready(&mut self, out: &mut Vec<Body>) {
        let same = self.stable.as_ref().is_some_and(|s| s.revision == self.candidate.revision);
        if same {
            let c = &self.candidate;
            let replicas = self.spec.replicas;
            let same_size = self.stable_start.as_ref().is_some_and(|s| s.replicas == replicas);
            if c.desired == replicas && c.available >= replicas && c.weight == Weight::FULL && same_size {
                out.push(Body::Unchanged { revision: c.revision.clone() });
                self.finish(ServiceOutcome::Unchanged);
                return;
            }
            // Another number of instances in the file is what the operator asks for; anything else is drift.
            if same_size {
                let message = format!(
                    "{} should have {replicas} instances and all traffic; it has {} of {} available and {}",
                    c.revision, c.available, c.desired, c.weight
                );
                out.push(Body::DriftFound { message });
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

    fn conclude(&mut self, out: &mut Vec<Body>) {
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
        self.outcome = Some(outcome);
    }

    pub(super) fn time(&self) -> Timestamp {
        self.now
    }
}
