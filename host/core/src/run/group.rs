//! Groups: services that become stable together or not at all. A member that has passed everything is held until all are
//! there; if one fails, all go back, and none before those of the group that depend on it.

use super::service::ServiceRun;
use super::{Phase, ServiceOutcome};
use super::{Run, RunStart};
use crate::event::Body;
use crate::{PluginName, ServiceName, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// The groups of a run.
#[derive(Debug, Default)]
pub(super) struct Groups {
    all: BTreeMap<PluginName, GroupRun>,
    /// Those of whose services something may have changed.
    touched: BTreeSet<PluginName>,
}

#[derive(Debug)]
struct GroupRun {
    members: Vec<ServiceName>,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Not all are there yet.
    Open,
    /// All were there.
    Promoted,
    /// One failed; the others go back for this reason.
    Failed { because: ServiceName, reason: String },
}

impl Groups {
    pub(super) fn of(start: &RunStart) -> Self {
        let all = start
            .deployment
            .groups
            .iter()
            .map(|(name, group)| (name.clone(), GroupRun { members: group.services.clone(), state: State::Open }))
            .collect();
        Self { all, touched: BTreeSet::new() }
    }

    /// The group that each service is in.
    pub(super) fn by_service(&self) -> BTreeMap<ServiceName, PluginName> {
        let members = |(name, group): (&PluginName, &GroupRun)| -> Vec<(ServiceName, PluginName)> {
            group.members.iter().map(|member| (member.clone(), name.clone())).collect()
        };
        self.all.iter().flat_map(members).collect()
    }
}

impl ServiceRun {
    /// Whether it becomes stable with its group only. A repair does not take part: it has nothing to go back to.
    pub(super) fn is_grouped(&self) -> bool {
        self.group.is_some() && !self.repair
    }

    /// Whether it counts as settled for a service of the same group.
    pub(super) fn is_held_for(&self, other: &Self) -> bool {
        self.phase == Phase::Held && self.retreat.is_none() && self.group.is_some() && self.group == other.group
    }

    /// Why its group cannot be promoted any more, if it is the reason.
    fn failed_group(&self) -> Option<String> {
        let why = || self.why.clone().unwrap_or_else(|| "it was given up".to_owned());
        match self.outcome {
            Some(ServiceOutcome::Skipped) => Some("it was not started".to_owned()),
            Some(ServiceOutcome::Failed | ServiceOutcome::RolledBack | ServiceOutcome::RollbackFailed) => Some(why()),
            Some(ServiceOutcome::Promoted | ServiceOutcome::Unchanged) => None,
            None => (self.is_grouped() && self.is_going_back()).then(why),
        }
    }

    /// Whether it has come as far as it can alone.
    fn is_there(&self) -> bool {
        match self.outcome {
            Some(outcome) => outcome.succeeded(),
            None if self.is_grouped() => self.phase == Phase::Held && self.paused.is_none() && !self.is_going_back(),
            // A repair is there when it is recorded.
            None => self.marked,
        }
    }

    /// Goes back with its group.
    fn leave(&mut self, reason: &str, at: Timestamp) -> Vec<Body> {
        self.now = at;
        let mut out = Vec::new();
        self.give_up(reason.to_owned(), &mut out);
        out
    }

    /// Becomes stable with its group.
    fn record(&mut self, at: Timestamp) -> Vec<Body> {
        self.now = at;
        let mut out = Vec::new();
        self.enter(Phase::Record, &mut out);
        self.advance(&mut out);
        out
    }
}

impl Run {
    /// Notes that a service may have changed.
    pub(super) fn touched(&mut self, service: &ServiceName) {
        if let Some(group) = self.services.get(service).and_then(|run| run.group.clone()) {
            self.groups.touched.insert(group);
        }
        self.note(service);
    }

    /// Takes groups further of whose services something changed. Returns whether something changed by that.
    pub(super) fn settle_groups(&mut self, at: Timestamp, bodies: &mut Vec<(Option<ServiceName>, Body)>) -> bool {
        let mut changed = false;
        while let Some(name) = self.groups.touched.pop_first() {
            let Some(group) = self.groups.all.get(&name) else { continue };
            let (members, state) = (group.members.clone(), group.state.clone());
            let next = match state {
                State::Open => self.judge_group(&members),
                other => other,
            };
            match &next {
                State::Open => {}
                State::Promoted if group_was_open(self, &name) => {
                    changed = true;
                    self.promote_group(&name, &members, at, bodies);
                }
                State::Promoted => {}
                State::Failed { because, reason } => {
                    if group_was_open(self, &name) && members.len() > 1 {
                        let (because, reason) = (because.clone(), reason.clone());
                        bodies.push((None, Body::GroupFailed { group: name.clone(), because, reason }));
                    }
                    while self.take_group_back(&name, &members, because, reason, at, bodies) {
                        changed = true;
                    }
                }
            }
            if let Some(group) = self.groups.all.get_mut(&name) {
                group.state = next;
            }
        }
        changed
    }

    fn judge_group(&self, members: &[ServiceName]) -> State {
        let runs = || members.iter().filter_map(|m| self.services.get(m));
        if let Some((because, reason)) = runs().find_map(|run| Some((run.name().clone(), run.failed_group()?))) {
            return State::Failed { because, reason };
        }
        if runs().all(ServiceRun::is_there) { State::Promoted } else { State::Open }
    }

    fn promote_group(
        &mut self,
        name: &PluginName,
        members: &[ServiceName],
        at: Timestamp,
        bodies: &mut Vec<(Option<ServiceName>, Body)>,
    ) {
        let held = |run: &ServiceRun| run.outcome.is_none() && run.phase == Phase::Held;
        let services: Vec<ServiceName> =
            members.iter().filter(|m| self.services.get(*m).is_some_and(held)).cloned().collect();
        if services.is_empty() {
            return;
        }
        bodies.push((None, Body::GroupPromoted { group: name.clone(), services: services.clone() }));
        for member in services {
            if let Some(run) = self.services.get_mut(&member) {
                bodies.extend(run.record(at).into_iter().map(|body| (Some(member.clone()), body)));
            }
            self.note(&member);
        }
    }

    /// One round of the way back. Returns whether it changed something.
    fn take_group_back(
        &mut self,
        name: &PluginName,
        members: &[ServiceName],
        because: &ServiceName,
        reason: &str,
        at: Timestamp,
        bodies: &mut Vec<(Option<ServiceName>, Body)>,
    ) -> bool {
        let mut changed = false;
        for member in members {
            let Some(run) = self.services.get_mut(member).filter(|r| r.outcome.is_none() && r.is_grouped()) else {
                continue;
            };
            let mut out = Vec::new();
            if run.phase() == Phase::Waiting {
                out.extend(run.skip(because.clone()));
                changed = true;
            } else if !run.is_going_back() {
                out.extend(run.leave(&format!("its group {name} goes back: {because}: {reason}"), at));
                changed = true;
            }
            if run.retreat.is_some() {
                let blocked = self.blocked_by(member, name);
                if let Some(run) = self.services.get_mut(member) {
                    match blocked {
                        Blocked::No => {
                            out.extend(run.start_back(at));
                            changed = true;
                        }
                        Blocked::ForGood(by) => {
                            out.extend(run.cannot_go_back(&by));
                            changed = true;
                        }
                        Blocked::Yet => {}
                    }
                }
            }
            bodies.extend(out.into_iter().map(|body| (Some(member.clone()), body)));
            self.note(member);
        }
        changed
    }

    /// Whether a member of the group that depends on this one is in the way of its way back.
    fn blocked_by(&self, member: &ServiceName, group: &PluginName) -> Blocked {
        let mut blocked = Blocked::No;
        let others = self.agenda.dependents(member).filter_map(|other| self.services.get(other));
        for other in others.filter(|other| other.group.as_ref() == Some(group)) {
            match other.outcome() {
                Some(ServiceOutcome::RollbackFailed) => return Blocked::ForGood(other.name().clone()),
                Some(_) => {}
                None => blocked = Blocked::Yet,
            }
        }
        blocked
    }
}

enum Blocked {
    No,
    Yet,
    ForGood(ServiceName),
}

fn group_was_open(run: &Run, name: &PluginName) -> bool {
    run.groups.all.get(name).is_some_and(|g| g.state == State::Open)
}
