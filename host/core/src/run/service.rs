//! One service on its way from readiness to stable, or back.
//!
//! Each phase is a queue of things to do; one is under way at a time, with the measurements of analyses beside it.
//! When the queue is empty the phase has succeeded and the next one fills it.

use super::agenda::{Noted, Standing};
use super::analyses::Analyses;
use super::gate::Leave;
use super::pause::Paused;
use super::rules::Rules;
use super::{
    Effect, Gate, Last, Order, Outcome, Phase, Position, ServiceOutcome, ServiceStart, Side, StableRevision, StartMode,
};
use crate::event::Body;
use crate::model::{Analysis, Service, Shared};
use crate::{Millis, PluginName, RevisionId, ServiceName, Timestamp, Weight};
use std::collections::{BTreeMap, VecDeque};

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
    /// It was handed out and its outcome is not known, also not after a crash: it may have happened.
    pub(super) in_doubt: bool,
    pub(super) since: Timestamp,
}

impl Current {
    /// Something that is to be handed out.
    pub(super) fn new(order: Order, since: Timestamp) -> Self {
        Self { order, handed_out: false, in_doubt: false, since }
    }
}

/// How a rollout goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// As the strategy says.
    Steps,
    /// To all of the traffic at once, since an operator asked for it.
    InFull,
}

/// How old what is known of the counterpart is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Something came to its end since it was read.
    Before,
    /// What just came to its end has read all of it.
    Now,
}

/// A service, as far as the run's history goes.
#[derive(Debug)]
pub struct ServiceRun {
    pub(super) name: ServiceName,
    pub(super) spec: Shared<Service>,
    pub(super) known_analyses: Shared<BTreeMap<PluginName, Analysis>>,
    pub(super) candidate: Side,
    pub(super) stable: Option<Side>,
    pub(super) stable_start: Option<StableRevision>,
    pub(super) mode: StartMode,
    pub(super) irreversible: Vec<String>,
    /// What the provider would change of a candidate that is stable already.
    pub(super) outdated: Vec<String>,
    pub(super) phase: Phase,
    pub(super) queue: VecDeque<Todo>,
    pub(super) current: Option<Current>,
    pub(super) next_id: u32,
    pub(super) analysis: Option<Analyses>,
    pub(super) watch: Option<Analyses>,
    pub(super) decisions: u32,
    pub(super) concluding: bool,
    pub(super) strategy_state: Option<String>,
    pub(super) last: Last,
    pub(super) after: Last,
    pub(super) position: Option<Position>,
    pub(super) stable_facts: BTreeMap<PluginName, BTreeMap<String, String>>,
    pub(super) strays: Vec<RevisionId>,
    pub(super) repair: bool,
    /// It is as it should be, and what is left over beside it is being removed.
    pub(super) clearing: bool,
    /// The difference that was told last.
    pub(super) told: Option<String>,
    pub(super) seen: Seen,
    pub(super) touched_traffic: bool,
    pub(super) deployed: bool,
    pub(super) marked: bool,
    pub(super) pending_rollback: Option<String>,
    pub(super) rollback_began: Option<Timestamp>,
    pub(super) rolled_back: bool,
    pub(super) outcome: Option<ServiceOutcome>,
    pub(super) paused: Option<Paused>,
    pub(super) pace: Pace,
    /// Who agreed at the gate that it waits at.
    pub(super) approvals: Vec<String>,
    /// Whether the run's own gate lets it change something.
    pub(super) leave: Leave,
    pub(super) rules: Rules,
    pub(super) group: Option<PluginName>,
    /// Why it is to go back, until the services of its group that depend on it are back.
    pub(super) retreat: Option<String>,
    /// Why it was given up, in the end.
    pub(super) why: Option<String>,
    pub(super) now: Timestamp,
    /// What the run's agenda knows of it.
    pub(super) noted: Noted,
    /// How many of the services that it depends on are known to be settled, from the first on.
    pub(super) dependencies_met: usize,
}

impl ServiceRun {
    pub(super) fn new(
        name: ServiceName,
        spec: Shared<Service>,
        from: ServiceStart,
        analyses: Shared<BTreeMap<PluginName, Analysis>>,
        now: Timestamp,
    ) -> Self {
        let side =
            |revision: &RevisionId| Side { revision: revision.clone(), desired: 0, available: 0, weight: Weight::ZERO };
        Self {
            name,
            spec,
            known_analyses: analyses,
            candidate: side(&from.candidate),
            stable: from.stable.as_ref().map(|s| side(&s.revision)),
            stable_start: from.stable,
            mode: from.mode,
            irreversible: from.irreversible,
            outdated: from.outdated,
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
            clearing: false,
            told: None,
            seen: Seen::Before,
            touched_traffic: false,
            deployed: false,
            marked: false,
            pending_rollback: None,
            rollback_began: None,
            rolled_back: false,
            outcome: None,
            paused: None,
            pace: Pace::Steps,
            approvals: Vec::new(),
            leave: Leave::Given,
            rules: Rules::Now,
            group: None,
            retreat: None,
            why: None,
            now,
            noted: Noted::default(),
            dependencies_met: 0,
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

    /// Whether it waits for services that it depends on.
    pub(super) fn waits(&self) -> bool {
        self.phase == Phase::Waiting && self.outcome.is_none()
    }

    /// Whether good news of a dependency may let it start: those before the first that is not met are settled for good,
    /// unless they only count as settled within a group.
    pub(super) fn awaits(&self, dependency: &ServiceName) -> bool {
        self.group.is_some() || self.spec.depends_on.get(self.dependencies_met) == Some(dependency)
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

    /// The number of the effect that is under way.
    #[must_use]
    pub fn order(&self) -> Option<u32> {
        self.current.as_ref().map(|c| c.order.id)
    }

    /// The effect with this number, while it is under way.
    #[must_use]
    pub fn effect(&self, id: u32) -> Option<&Effect> {
        self.current.as_ref().filter(|c| c.order.id == id).map(|c| &c.order.effect)
    }

    /// What is under way, in words.
    #[must_use]
    pub fn doing(&self) -> Option<String> {
        if self.retreat.is_some() {
            return Some("wait until the services of its group that depend on it are back".to_owned());
        }
        if self.phase == Phase::Held {
            return Some("wait for the rest of its group".to_owned());
        }
        if self.asks_leave() {
            return Some("wait until the run is approved".to_owned());
        }
        self.current.as_ref().map(|c| c.order.effect.to_string())
    }

    /// Why it was given up, if it was.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    /// The group that it is promoted with.
    #[must_use]
    pub fn group(&self) -> Option<&PluginName> {
        self.group.as_ref()
    }

    pub(super) fn orders(&self) -> Vec<Order> {
        if self.outcome.is_some() {
            return Vec::new();
        }
        let current = self.current.iter().filter(|c| !c.handed_out && !self.holds_back(c)).map(|c| c.order.clone());
        if self.is_held_back() {
            return current.collect();
        }
        let revision = match self.phase {
            Phase::Bake => None,
            _ => Some(&self.candidate.revision),
        };
        let beside = self.analysis.iter().chain(&self.watch).flat_map(|a| a.orders(revision));
        current.chain(beside).collect()
    }

    /// Whether [`ServiceRun::orders`] has any, without making them.
    pub(super) fn has_orders(&self) -> bool {
        let now = |c: &Current| !c.handed_out && !self.holds_back(c);
        let beside = || self.analysis.iter().chain(&self.watch).any(Analyses::has_orders);
        self.outcome.is_none() && (self.current.as_ref().is_some_and(now) || !self.is_held_back() && beside())
    }

    /// What it does, as far as the whole run goes by it.
    pub(super) fn standing(&self) -> Standing {
        if self.outcome.is_some() {
            Standing::Over
        } else if matches!(self.gate(), Some((_, None))) || self.rests() {
            Standing::Stopped
        } else if self.waits() || self.phase == Phase::Held || self.retreat.is_some() || self.asks_leave() {
            Standing::Waiting
        } else {
            Standing::Busy
        }
    }

    pub(super) fn wants(&self, id: u32) -> bool {
        self.current.as_ref().is_some_and(|c| c.order.id == id && (c.handed_out || !self.holds_back(c)))
            || self.analysis.iter().chain(&self.watch).any(|a| a.has(id))
    }

    /// Whether something outside is being changed at this time: what waits for its time has not begun.
    pub(super) fn is_changing(&self, at: Timestamp) -> bool {
        let changes = |c: &Current| c.handed_out && c.order.effect.mutates() && c.order.not_before <= at;
        self.outcome.is_none() && self.current.as_ref().is_some_and(changes)
    }

    pub(super) fn intended(&mut self, order: &Order) {
        if let Some(current) = self.current.as_mut().filter(|c| c.order.id == order.id) {
            current.handed_out = true;
            current.in_doubt = true;
            // From here on it may have happened, whatever the outcome says.
            self.touched_traffic |= matches!(order.effect, Effect::SetTraffic { .. });
            self.deployed |=
                matches!(&order.effect, Effect::Deploy { revision, .. } if *revision == self.candidate.revision);
            if let Effect::Scale { revision, replicas } = &order.effect {
                // Fewer instances may be there from now on, also when the answer is a failure.
                self.side_mut(revision, |side| {
                    side.desired = side.desired.min(*replicas);
                    side.available = side.available.min(*replicas);
                });
            }
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

    pub(super) fn time(&self) -> Timestamp {
        self.now
    }
}
