//! Gates: named stops for people. Where several must agree, an approval names the plan that it is for, and one for another
//! plan is worth nothing.

use super::Run;
use super::rules::Rules;
use super::service::ServiceRun;
use super::{Effect, Gate, Last, OnTimeout, Phase, RunStart};
use crate::event::Body;
use crate::model::Quorum;
use crate::{Digest, Millis, ServiceName, Timestamp};

/// The gate before anything is changed.
#[derive(Debug)]
pub(super) struct RunGate {
    name: String,
    quorum: Quorum,
    holds: Holds,
    timeout: Option<Millis>,
    until: Option<Timestamp>,
    /// Since when its time stands still.
    stands_since: Option<Timestamp>,
    on_timeout: OnTimeout,
    approvals: Vec<String>,
}

/// What a run's own gate holds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// Everything: what is recorded says that the run changes something.
    Everything,
    /// What changes something. Services that seem to be right are read, since nobody would know of a repair otherwise.
    Changes,
}

/// Whether a service may change something, as far as the run's own gate goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// It may: there is no gate, or it has passed.
    Given,
    /// It may read only.
    Needed,
    /// There is something to change, and it waits for the gate.
    Asked,
}

/// A gate that is open, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenGate {
    /// What `approve` calls it.
    pub name: String,
    /// The service that waits; none when all of the run does.
    pub service: Option<ServiceName>,
    /// The effect that it is; none for the run's own.
    pub order: Option<u32>,
    /// What is to be decided.
    pub reason: String,
    /// No longer than until then.
    pub until: Option<Timestamp>,
    /// Who has agreed.
    pub approvals: Vec<String>,
    /// Who must agree; none leaves it to anybody who promotes.
    pub quorum: Option<Quorum>,
}

/// What an approval would come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved {
    /// How many have agreed then.
    pub have: u32,
    /// How many must.
    pub needed: u32,
}

impl Approved {
    /// Whether the gate passes.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.have >= self.needed
    }
}

/// Counts one more approval, if it counts.
fn count(quorum: Option<&Quorum>, given: &[String], by: &str) -> Result<Approved, String> {
    let needed = quorum.map_or(1, |q| q.approvals.max(1));
    let may = quorum.map(|q| q.approvers.as_slice()).unwrap_or_default();
    if by.trim().is_empty() {
        return Err("an approval needs a name".to_owned());
    }
    if !may.is_empty() && !may.iter().any(|m| m == by) {
        return Err(format!("`{by}` is none of its approvers: {}", may.join(", ")));
    }
    if given.iter().any(|g| g == by) {
        return Err(format!("`{by}` has approved already, and {needed} different people are needed"));
    }
    let have = u32::try_from(given.len()).unwrap_or(u32::MAX).saturating_add(1);
    Ok(Approved { have, needed })
}

/// Why a gate whose time is up does not pass by who comes then.
fn time_is_up(until: Timestamp) -> String {
    format!("its time was up at {until}: `basb-host resume` lets happen what its `onTimeout` says")
}

impl ServiceRun {
    /// Why the gate that it is at does not pass any more by who comes now.
    pub(super) fn is_late_at_gate(&self, at: Timestamp) -> Option<String> {
        // In a pause its time stands still.
        let (_, until) = self.gate().filter(|_| self.paused().is_none() && self.rules == Rules::Now)?;
        until.filter(|until| *until <= at).map(time_is_up)
    }
}

impl RunGate {
    /// The gate of a run that changes something by what is recorded, where the environment has one: it is open from the
    /// start.
    pub(super) fn at_the_start(start: &RunStart, now: Timestamp) -> Option<Self> {
        let changes = start.services.iter().any(|(name, from)| {
            let replicas = start.deployment.services.get(name).map(|s| s.replicas);
            from.stable.as_ref().is_none_or(|s| s.revision != from.candidate || Some(s.replicas) != replicas)
        });
        let mut gate = Self::of(start, Holds::Everything).filter(|_| changes)?;
        gate.open(now);
        Some(gate)
    }

    /// The gate of a run that seems to have nothing to change. One that finds everything as it was recorded needs nobody's
    /// approval.
    pub(super) fn ahead(start: &RunStart) -> Option<Self> {
        Self::of(start, Holds::Changes).filter(|_| start.rules() == Rules::Now)
    }

    fn of(start: &RunStart, holds: Holds) -> Option<Self> {
        let approve = start.deployment.approve.as_ref()?;
        Some(Self {
            name: start.deployment.environment.to_string(),
            quorum: approve.quorum.clone(),
            holds,
            timeout: approve.timeout,
            until: None,
            stands_since: None,
            on_timeout: approve.on_timeout,
            approvals: Vec::new(),
        })
    }

    fn open(&mut self, now: Timestamp) {
        self.until = self.timeout.map(|timeout| now.plus(timeout));
    }

    /// Whether no service may begin before it has passed.
    pub(super) fn holds_everything(&self) -> bool {
        self.holds == Holds::Everything
    }

    fn reason(&self) -> String {
        format!("may {} be changed?", self.name)
    }

    /// That it is open, as an event.
    pub(super) fn opened(&self, plan: Digest) -> Body {
        let needs = Some(self.quorum.approvals);
        Body::GateOpened { reason: self.reason(), until: self.until, needs, plan: Some(plan) }
    }

    /// What to do about it.
    pub(super) fn needs_approval(&self) -> String {
        let (have, needed, name) = (self.approvals.len(), self.quorum.approvals, &self.name);
        let what = if self.holds_everything() { "nothing begins" } else { "nothing is repaired" };
        format!(
            "{what} before `{name}` may be changed, {have} of {needed} approvals are there: `basb-host approve {name}`"
        )
    }

    /// Until when it waits; none while its time stands still.
    pub(super) fn until(&self) -> Option<Timestamp> {
        self.until.filter(|_| self.stands_since.is_none())
    }

    /// Its time stands still from now on.
    fn stand(&mut self, now: Timestamp) {
        self.stands_since.get_or_insert(now);
    }

    /// Its time goes on: as much of it is left as there was.
    fn go_on(&mut self, now: Timestamp) {
        if let Some(since) = self.stands_since.take() {
            self.until = self.until.map(|until| until.plus(now.since(since)));
        }
    }
}

impl Run {
    /// The gates that are open: that of the run first, then those of its services by name.
    #[must_use]
    pub fn gates(&self) -> Vec<OpenGate> {
        let own = self.gate.iter().map(|gate| OpenGate {
            name: gate.name.clone(),
            service: None,
            order: None,
            reason: gate.reason(),
            until: gate.until(),
            approvals: gate.approvals.clone(),
            quorum: Some(gate.quorum.clone()),
        });
        let services = self.services.values().filter_map(|run| {
            let (gate, until) = run.gate()?;
            Some(OpenGate {
                name: run.name().to_string(),
                service: Some(run.name().clone()),
                order: run.order(),
                reason: gate.reason.clone(),
                // In a pause its time stands still.
                until: until.filter(|_| run.paused().is_none()),
                approvals: run.approvals.clone(),
                quorum: gate.quorum.clone(),
            })
        });
        own.chain(services).collect()
    }

    /// What an approval would come to now.
    ///
    /// # Errors
    /// Why it would come to nothing, in words for a person.
    pub fn would_approve(
        &self,
        gate: &str,
        by: &str,
        plan: &Digest,
        order: Option<u32>,
        at: Timestamp,
    ) -> Result<Approved, String> {
        if let Some(outcome) = self.finished() {
            return Err(format!("the run is finished: {}", outcome.sentence()));
        }
        let own = self.start.plan_digest();
        if *plan != own {
            return Err(format!("it is for plan {}, and this run is plan {}", plan.short(), own.short()));
        }
        let open = self.gates();
        let Some(found) = open.iter().find(|g| g.name == gate) else {
            let names: Vec<&str> = open.iter().map(|g| g.name.as_str()).collect();
            return Err(match names.as_slice() {
                [] => format!("there is no gate `{gate}`, nor any other that is open"),
                names => format!("there is no gate `{gate}`; open are: {}", names.join(", ")),
            });
        };
        if order.is_some() && order != found.order {
            return Err(format!("the gate of {gate} that it was meant for is over"));
        }
        // Nobody may have been at work to see it: what the gate then does is not for who comes late to decide.
        if let Some(until) = found.until.filter(|until| *until <= at && self.start.rules() == Rules::Now) {
            return Err(time_is_up(until));
        }
        count(found.quorum.as_ref(), &found.approvals, by)
    }

    /// Takes an approval in.
    pub(super) fn approved(
        &mut self,
        given: (&str, &str, &Digest, Option<u32>),
        asked: &str,
        at: Timestamp,
    ) -> Vec<(Option<ServiceName>, Body)> {
        let (gate, by, plan, order) = given;
        let service = self.services.keys().find(|name| name.as_str() == gate).cloned();
        let came_to = match self.would_approve(gate, by, plan, order, at) {
            Ok(came_to) => came_to,
            Err(reason) => {
                let verb = format!("approve {gate}");
                return vec![(None, Body::RequestRefused { verb, by: asked.to_owned(), reason })];
            }
        };
        let mut out = vec![Body::GateApproved {
            gate: gate.to_owned(),
            by: by.to_owned(),
            have: came_to.have,
            needed: came_to.needed,
            plan: plan.clone(),
            asked: asked.to_owned(),
        }];
        if let Some(own) = self.gate.as_mut().filter(|own| own.name == gate) {
            own.approvals.push(by.to_owned());
            if came_to.passes() {
                out.push(Body::GatePassed { by: own.approvals.join(", ") });
            }
            let mut bodies: Vec<_> = out.into_iter().map(|body| (None, body)).collect();
            if came_to.passes() {
                bodies.extend(self.leave_for_all(at));
            }
            return bodies;
        }
        if let Some((name, run)) = service.and_then(|name| Some((name.clone(), self.services.get_mut(&name)?))) {
            run.now = at;
            run.approvals.push(by.to_owned());
            if came_to.passes() {
                let all = run.approvals.join(", ");
                run.pass_gate(&all, Last::Promoted, &mut out);
                run.advance(&mut out);
            }
            self.touched(&name);
            return out.into_iter().map(|body| (Some(name.clone()), body)).collect();
        }
        Vec::new()
    }

    /// Opens the run's own gate as soon as a service turns out to need a change that nobody foresaw.
    pub(super) fn open_gate(&mut self, at: Timestamp) -> Option<(Option<ServiceName>, Body)> {
        if !self.agenda.asks_leave() {
            return None;
        }
        let mut gate = self.gate_ahead.take()?;
        gate.open(at);
        let opened = gate.opened(self.start.plan_digest());
        self.gate = Some(gate);
        Some((None, opened))
    }

    /// The time of the run's own gate stands still while everything that is left is paused.
    pub(super) fn time_gate(&mut self, at: Timestamp) {
        let Some(gate) = self.gate.as_mut().filter(|_| self.start.rules() == Rules::Now) else { return };
        if self.agenda.all_paused() { gate.stand(at) } else { gate.go_on(at) }
    }

    /// The run's own gate has passed.
    fn leave_for_all(&mut self, at: Timestamp) -> Vec<(Option<ServiceName>, Body)> {
        self.gate = None;
        let mut bodies = Vec::new();
        let names: Vec<ServiceName> = self.services.keys().cloned().collect();
        for name in names {
            if let Some(run) = self.services.get_mut(&name) {
                bodies.extend(run.given_leave(at).into_iter().map(|body| (Some(name.clone()), body)));
            }
            self.touched(&name);
        }
        bodies
    }

    /// The time of the run's own gate is up.
    pub(super) fn gate_elapsed(&mut self, at: Timestamp) -> Vec<(Option<ServiceName>, Body)> {
        if self.gate.as_ref().is_none_or(|gate| gate.until().is_none_or(|until| at < until)) {
            return Vec::new();
        }
        let Some(gate) = self.gate.take() else { return Vec::new() };
        let mut bodies = Vec::new();
        match gate.on_timeout {
            OnTimeout::Promote => {
                bodies.push((None, Body::GatePassed { by: "the timeout".to_owned() }));
                bodies.extend(self.leave_for_all(at));
            }
            OnTimeout::Abort => {
                let (have, needed) = (gate.approvals.len(), gate.quorum.approvals);
                let reason = format!("nobody approved in time: {have} of {needed} approvals for {}", gate.name);
                let names: Vec<ServiceName> = self.services.keys().cloned().collect();
                for name in names {
                    if let Some(run) = self.services.get_mut(&name) {
                        run.now = at;
                        let mut out = Vec::new();
                        run.give_up(reason.clone(), &mut out);
                        bodies.extend(out.into_iter().map(|body| (Some(name.clone()), body)));
                    }
                    self.touched(&name);
                }
            }
        }
        bodies
    }
}

impl ServiceRun {
    /// Whether it waits for the run's own gate, since it has something to change.
    pub(super) fn asks_leave(&self) -> bool {
        self.leave == Leave::Asked && self.outcome.is_none()
    }

    /// Asks for leave to change something. Returns whether it has to wait for it.
    pub(super) fn must_wait_for_leave(&mut self) -> bool {
        if self.leave == Leave::Given {
            return false;
        }
        self.leave = Leave::Asked;
        true
    }

    /// It may change something from now on. What it wanted to change was seen before people were asked, which may be long
    /// ago: it looks again, and is measured again.
    fn given_leave(&mut self, at: Timestamp) -> Vec<Body> {
        let asked = self.asks_leave();
        self.leave = Leave::Given;
        let mut out = Vec::new();
        if asked && self.phase == Phase::Readiness {
            self.now = at;
            self.look_at_readiness();
            self.advance(&mut out);
        }
        out
    }

    /// That its gate is open, as an event.
    pub(super) fn gate_opened(&self, gate: &Gate, until: Option<Timestamp>) -> Body {
        let needs = gate.quorum.as_ref().map(|q| q.approvals);
        Body::GateOpened { reason: gate.reason.clone(), until, needs, plan: None }
    }

    /// The gate, or the strategy's pause, that it waits at is over.
    pub(super) fn pass_gate(&mut self, by: &str, last: Last, out: &mut Vec<Body>) {
        let gate = self.current.take().is_some_and(|c| matches!(c.order.effect, Effect::AwaitGate { .. }));
        self.approvals.clear();
        // The strategy learns of a gate that somebody let pass; a pause that was cut short is simply over.
        self.after = if gate { last } else { Last::Done };
        let by = by.to_owned();
        out.push(if gate { Body::GatePassed { by } } else { Body::PauseEnded { by } });
    }
}
