//! The run as a pure state machine: the history goes in, what to do next comes out.
//!
//! [`Run::apply`] takes one journal entry in and returns the events that it means; [`Run::decide`] says what is to be
//! carried out now. Resuming is applying the whole history and then [`Run::reopen`]: effects whose intent was written
//! and whose outcome was not are handed out again, under the number that they had.

mod adopt;
mod agenda;
mod analyses;
mod call;
mod clearing;
mod gate;
mod group;
pub mod invariant;
mod outcome;
mod pause;
mod phase;
mod phases;
mod plan;
mod record;
mod revert;
mod rollback;
mod rollout;
mod rules;
mod service;
mod verbs;

pub use call::{Admission, OutsideCall, PluginCall, TapeMark};
pub use gate::{Approved, OpenGate};
pub use pause::Paused;
pub use phase::{Phase, RunOutcome, ServiceOutcome};
pub use plan::plan_digest;
pub use record::*;
pub use rollout::*;
pub use service::ServiceRun;

use crate::event::{Body, EVENT_VERSION, Event};
use crate::model::Shared;
use crate::{RunId, ServiceName, Timestamp};
use agenda::Agenda;
use gate::Leave;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A run, as far as its history goes.
#[derive(Debug)]
pub struct Run {
    start: Arc<RunStart>,
    began: Timestamp,
    services: BTreeMap<ServiceName, ServiceRun>,
    groups: group::Groups,
    /// The run's own gate, while it is open.
    gate: Option<gate::RunGate>,
    /// The same of a run that seems to have nothing to change: it opens when a service turns out to need a repair.
    gate_ahead: Option<gate::RunGate>,
    agenda: Agenda,
    finished: Option<RunOutcome>,
    tapes: u64,
}

/// What is to be done now.
#[derive(Debug, Default, PartialEq)]
pub struct Decision {
    /// Effects to write down and carry out.
    pub orders: Vec<(ServiceName, Order)>,
    /// Set when nothing is left to do: write this down.
    pub finish: Option<RunOutcome>,
    /// At this time write [`Record::GateElapsed`] down, unless the gate has passed by then.
    pub gate_until: Option<Timestamp>,
}

/// Why a history cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// The first entry is not the run's start.
    #[error("the history does not begin with the run's start")]
    NoStart,
    /// It was written by a newer version.
    #[error("the history is of version {found}, and this program reads up to version {known}: use a newer basb-host")]
    Newer {
        /// The version found.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
}

impl Run {
    /// Begins with the first entry of a history.
    ///
    /// # Errors
    /// [`HistoryError`] when the entry is no start, or one from a newer version.
    pub fn begin(at: Timestamp, seq: u64, record: &Record) -> Result<(Self, Vec<Event>), HistoryError> {
        let Record::Started(start) = record else { return Err(HistoryError::NoStart) };
        Self::begin_with(at, seq, Arc::new((**start).clone()))
    }

    /// The same with the start that its first entry holds.
    ///
    /// # Errors
    /// [`HistoryError::Newer`] when it is from a newer version.
    pub fn begin_with(at: Timestamp, seq: u64, start: Arc<RunStart>) -> Result<(Self, Vec<Event>), HistoryError> {
        if start.version > RECORD_VERSION {
            return Err(HistoryError::Newer { found: start.version, known: RECORD_VERSION });
        }
        let groups = group::Groups::of(&start);
        let mut grouped = groups.by_service();
        let analyses = Shared::from(start.deployment.analyses.clone());
        let gate = gate::RunGate::at_the_start(&start, at);
        let gate_ahead = gate::RunGate::ahead(&start).filter(|_| gate.is_none());
        let (rules, leave) = (start.rules(), if gate_ahead.is_some() { Leave::Needed } else { Leave::Given });
        let services = start
            .services
            .iter()
            .filter_map(|(name, from)| {
                let spec = start.deployment.services.get(name)?;
                let mut run = ServiceRun::new(name.clone(), spec.clone(), from.clone(), analyses.clone(), at);
                run.group = grouped.remove(name);
                (run.rules, run.leave) = (rules, leave);
                Some((name.clone(), run))
            })
            .collect();
        let agenda = Agenda::default();
        let mut run = Self { start, began: at, services, groups, gate, gate_ahead, agenda, finished: None, tapes: 0 };
        let body = Body::RunStarted {
            deployment: run.start.deployment.name.clone(),
            environment: run.start.deployment.environment.clone(),
            services: run.start.services.iter().map(|(name, s)| (name.clone(), s.candidate.clone())).collect(),
            plugins: run.start.plugins.clone(),
        };
        let mut bodies = vec![(None, body)];
        bodies.extend(run.gate.as_ref().map(|gate| (None, gate.opened(run.start.plan_digest()))));
        run.open_agenda();
        bodies.extend(run.settle(at));
        let events = run.stamp(at, seq, bodies);
        Ok((run, events))
    }

    /// The run's id.
    #[must_use]
    pub fn id(&self) -> &RunId {
        &self.start.run
    }

    /// What the run started from.
    #[must_use]
    pub fn start(&self) -> &RunStart {
        &self.start
    }

    /// The same, to be held by others too.
    #[must_use]
    pub fn shared_start(&self) -> Arc<RunStart> {
        Arc::clone(&self.start)
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn finished(&self) -> Option<RunOutcome> {
        self.finished
    }

    /// How many of its plugins' calls have a tape: the number of the last one.
    #[must_use]
    pub fn tapes(&self) -> u64 {
        self.tapes
    }

    /// Its services.
    #[must_use]
    pub fn services(&self) -> &BTreeMap<ServiceName, ServiceRun> {
        &self.services
    }

    /// Takes one entry of the history in.
    pub fn apply(&mut self, at: Timestamp, seq: u64, record: &Record) -> Vec<Event> {
        let mut bodies = Vec::new();
        match record {
            // What a call did outside is for the audit; the run goes by its outcome.
            Record::Started(_) | Record::Called { .. } => {}
            Record::Taped { last, .. } => self.tapes = self.tapes.max(*last),
            Record::Resumed => {
                self.reopen();
                bodies.push((None, Body::RunResumed {}));
            }
            Record::Intent { service, order } => self.handed_out(service, order),
            Record::Outcome { service, id, outcome } => {
                if let Some(run) = self.services.get_mut(service) {
                    bodies.extend(run.came_to(*id, outcome, at).into_iter().map(|b| (Some(service.clone()), b)));
                    self.touched(service);
                }
            }
            Record::Request { service, verb, by, order } => {
                bodies.extend(self.requested(service.as_ref(), *verb, by, *order, at));
            }
            Record::Approval { gate, by, plan, order, asked } => {
                bodies.extend(self.approved((gate, by, plan, *order), asked, at));
            }
            Record::GateElapsed => bodies.extend(self.gate_elapsed(at)),
            Record::Finished(outcome) => {
                self.finished = Some(*outcome);
                bodies.push((
                    None,
                    Body::RunFinished {
                        outcome: *outcome,
                        services: self.services.iter().filter_map(|(n, s)| Some((n.clone(), s.outcome()?))).collect(),
                        took: at.since(self.began),
                    },
                ));
            }
        }
        bodies.extend(self.settle(at));
        self.stamp(at, seq, bodies)
    }

    /// Everything that follows for other services from what changed in some.
    fn settle(&mut self, at: Timestamp) -> Vec<(Option<ServiceName>, Body)> {
        let mut bodies = Vec::new();
        loop {
            let before = bodies.len();
            bodies.extend(self.release(at));
            bodies.extend(self.open_gate(at));
            if !self.settle_groups(at, &mut bodies) && bodies.len() == before {
                self.time_gate(at);
                return bodies;
            }
        }
    }

    /// The dependency that did not succeed, or that all have; nothing when neither is known yet.
    fn dependencies(&self, run: &ServiceRun) -> Option<Option<ServiceName>> {
        let settled = |name: &ServiceName| {
            let other = self.services.get(name)?;
            other.settled().or_else(|| other.is_held_for(run).then_some(true))
        };
        let depends_on = &run.spec().depends_on;
        match depends_on.iter().find(|d| settled(d) == Some(false)) {
            Some(failed) => Some(Some(failed.clone())),
            None => depends_on.iter().all(|d| settled(d).is_some()).then_some(None),
        }
    }

    /// What is to be done now. Effects that were handed out already are not handed out again.
    #[must_use]
    pub fn decide(&self) -> Decision {
        if self.finished.is_some() {
            return Decision::default();
        }
        let ready = self.agenda.ready().filter_map(|name| self.services.get_key_value(name));
        let orders = ready.flat_map(|(name, run)| run.orders().into_iter().map(|o| (name.clone(), o))).collect();
        let finish = (self.agenda.open() == 0).then(|| self.worst());
        let gate_until = self.gate.as_ref().and_then(gate::RunGate::until);
        Decision { orders, finish, gate_until }
    }

    /// Notes that an order was handed out: what its entry says, or, for one that changes nothing outside, without an
    /// entry of its own. Such an order follows from the entries before it; when the history is read again, it is simply
    /// handed out once more, unless its outcome is there too.
    pub fn handed_out(&mut self, service: &ServiceName, order: &Order) {
        if let Some(run) = self.services.get_mut(service) {
            run.intended(order);
            self.note(service);
        }
    }

    /// Whether an effect that was handed out is still wanted; one that is not may be dropped.
    #[must_use]
    pub fn wants(&self, service: &ServiceName, id: u32) -> bool {
        self.services.get(service).is_some_and(|s| s.wants(id))
    }

    /// Whether everything that is left waits for a human, without end: at a gate, or in a pause.
    #[must_use]
    pub fn waits_for_humans(&self) -> bool {
        // The time of the run's own gate goes on: what it comes to is waited for.
        if self.gate.as_ref().is_some_and(|gate| gate.until().is_some()) {
            return false;
        }
        self.agenda.waits_for_humans(usize::from(self.gate.is_some()))
    }

    /// Whether something outside is being changed at this time.
    #[must_use]
    pub fn is_changing(&self, at: Timestamp) -> bool {
        self.services.values().any(|run| run.is_changing(at))
    }

    /// Takes effects whose outcome is not known for not handed out, as after a crash.
    pub fn reopen(&mut self) {
        for run in self.services.values_mut() {
            run.reopen();
        }
        self.note_all();
    }

    fn worst(&self) -> RunOutcome {
        let mut worst = RunOutcome::Done;
        for outcome in self.services.values().filter_map(ServiceRun::outcome) {
            let this = match outcome {
                ServiceOutcome::Promoted | ServiceOutcome::Unchanged => RunOutcome::Done,
                ServiceOutcome::Skipped | ServiceOutcome::Failed => RunOutcome::Failed,
                ServiceOutcome::RolledBack => RunOutcome::RolledBack,
                ServiceOutcome::RollbackFailed => RunOutcome::RollbackFailed,
            };
            let rank = |o: RunOutcome| match o {
                RunOutcome::Done => 0,
                RunOutcome::Failed => 1,
                RunOutcome::RolledBack => 2,
                RunOutcome::RollbackFailed => 3,
                RunOutcome::Superseded => 4,
            };
            if rank(this) > rank(worst) {
                worst = this;
            }
        }
        worst
    }

    fn stamp(&self, at: Timestamp, seq: u64, bodies: Vec<(Option<ServiceName>, Body)>) -> Vec<Event> {
        let mut part = 0_u32;
        bodies
            .into_iter()
            .map(|(service, body)| {
                part = part.saturating_add(1);
                Event { version: EVENT_VERSION, seq, part, at, run: self.start.run.clone(), service, body }
            })
            .collect()
    }
}

#[cfg(test)]
mod many;
#[cfg(test)]
#[path = "simulation.rs"]
mod simulation;
#[cfg(test)]
mod storm;
