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
    /// The members that may have changed since their group was looked at, by their seats.
    touched: BTreeMap<PluginName, BTreeSet<usize>>,
}

/// A group. A turn costs what changed in it, and not how large it is.
#[derive(Debug)]
struct GroupRun {
    /// Those that take part in the run, in the order of the deployment file.
    members: Vec<ServiceName>,
    /// Where each of them is in that order.
    seats: BTreeMap<ServiceName, usize>,
    /// Those that have come as far as they can alone.
    there: BTreeSet<usize>,
    /// Whether it has more than one member in the file.
    shared: bool,
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

impl GroupRun {
    fn of(services: &[ServiceName], start: &RunStart) -> Self {
        let takes_part =
            |name: &ServiceName| start.services.contains_key(name) && start.deployment.services.contains_key(name);
        let (mut members, mut seats) = (Vec::new(), BTreeMap::new());
        for service in services.iter().filter(|service| takes_part(service)) {
            seats.entry(service.clone()).or_insert_with(|| {
                members.push(service.clone());
                members.len().saturating_sub(1)
            });
        }
        Self { members, seats, there: BTreeSet::new(), shared: services.len() > 1, state: State::Open }
    }

    /// The seats of those that a service depends on.
    fn dependencies<'a>(&'a self, service: &'a ServiceRun) -> impl Iterator<Item = usize> + 'a {
        service.spec().depends_on.iter().filter_map(|name| self.seats.get(name).copied())
    }
}

impl Groups {
    /// Those of a run at its start: every member is to be looked at once.
    pub(super) fn of(start: &RunStart) -> Self {
        let groups = start.deployment.groups.iter();
        let all: BTreeMap<_, _> =
            groups.map(|(name, group)| (name.clone(), GroupRun::of(&group.services, start))).collect();
        let touched = all.iter().map(|(name, group)| (name.clone(), (0..group.members.len()).collect())).collect();
        Self { all, touched }
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
        if let Some(name) = self.services.get(service).and_then(|run| run.group.as_ref())
            && let Some(seat) = self.groups.all.get(name).and_then(|group| group.seats.get(service))
        {
            self.groups.touched.entry(name.clone()).or_default().insert(*seat);
        }
        self.note(service);
    }

    /// Takes groups further of whose services something changed. Returns whether something changed by that.
    pub(super) fn settle_groups(&mut self, at: Timestamp, bodies: &mut Vec<(Option<ServiceName>, Body)>) -> bool {
        let mut changed = false;
        while let Some((name, touched)) = self.groups.touched.pop_first() {
            let Some(mut group) = self.groups.all.remove(&name) else { continue };
            changed |= self.settle_group(&name, &mut group, touched, at, bodies);
            self.groups.all.insert(name, group);
        }
        changed
    }

    fn settle_group(
        &mut self,
        name: &PluginName,
        group: &mut GroupRun,
        touched: BTreeSet<usize>,
        at: Timestamp,
        bodies: &mut Vec<(Option<ServiceName>, Body)>,
    ) -> bool {
        let was_open = group.state == State::Open;
        if was_open {
            group.state = self.judge_group(group, &touched);
        }
        match &group.state {
            State::Open => false,
            State::Promoted => {
                if was_open {
                    self.promote_group(name, &group.members, at, bodies);
                }
                was_open
            }
            State::Failed { because, reason } => {
                if was_open && group.shared {
                    let (because, reason) = (because.clone(), reason.clone());
                    bodies.push((None, Body::GroupFailed { group: name.clone(), because, reason }));
                }
                let look = if was_open { (0..group.members.len()).collect() } else { touched };
                self.take_group_back((name, group), (because, reason), look, at, bodies)
            }
        }
    }

    /// Looks at the members that may have changed: the first one that failed, or whether all are there now.
    fn judge_group(&self, group: &mut GroupRun, touched: &BTreeSet<usize>) -> State {
        for seat in touched {
            let Some(run) = group.members.get(*seat).and_then(|member| self.services.get(member)) else { continue };
            if let Some(reason) = run.failed_group() {
                return State::Failed { because: run.name().clone(), reason };
            }
            if run.is_there() {
                group.there.insert(*seat);
            } else {
                group.there.remove(seat);
            }
        }
        if group.there.len() == group.members.len() { State::Promoted } else { State::Open }
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

    /// Takes those further on their way back whose turn may have come: these members, and what they depend on. In rounds
    /// over them in their order, until a round changes nothing. Returns whether something changed.
    fn take_group_back(
        &mut self,
        (name, group): (&PluginName, &GroupRun),
        (because, reason): (&ServiceName, &str),
        mut round: BTreeSet<usize>,
        at: Timestamp,
        bodies: &mut Vec<(Option<ServiceName>, Body)>,
    ) -> bool {
        let runs = round.iter().filter_map(|seat| self.services.get(group.members.get(*seat)?));
        let below: Vec<usize> = runs.flat_map(|run| group.dependencies(run)).collect();
        round.extend(below);
        let mut changed = false;
        while !round.is_empty() {
            let mut next = BTreeSet::new();
            while let Some(seat) = round.pop_first() {
                let Some(member) = group.members.get(seat) else { continue };
                if !self.take_back(name, member, (because, reason), at, bodies) {
                    continue;
                }
                changed = true;
                let Some(run) = self.services.get(member) else { continue };
                for dependency in group.dependencies(run) {
                    if dependency > seat {
                        round.insert(dependency)
                    } else {
                        next.insert(dependency)
                    };
                }
            }
            round = next;
        }
        changed
    }

    /// Takes one member back as far as it gets now. Returns whether it changed.
    fn take_back(
        &mut self,
        group: &PluginName,
        member: &ServiceName,
        (because, reason): (&ServiceName, &str),
        at: Timestamp,
        bodies: &mut Vec<(Option<ServiceName>, Body)>,
    ) -> bool {
        let Some(run) = self.services.get_mut(member).filter(|r| r.outcome.is_none() && r.is_grouped()) else {
            return false;
        };
        let (mut changed, mut out) = (false, Vec::new());
        if run.phase() == Phase::Waiting {
            out.extend(run.skip(because.clone()));
            changed = true;
        } else if !run.is_going_back() {
            out.extend(run.leave(&format!("its group {group} goes back: {because}: {reason}"), at));
            changed = true;
        }
        if run.retreat.is_some() {
            let blocked = self.blocked_by(member, group);
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

#[cfg(test)]
impl Run {
    /// Whether the groups are where looking at every member would have taken them. For tests.
    pub(super) fn groups_are_right(&self) -> Result<(), String> {
        for (name, group) in &self.groups.all {
            let runs = || group.members.iter().filter_map(|member| self.services.get(member));
            match &group.state {
                State::Promoted => {}
                State::Open => {
                    if let Some(failed) = runs().find(|run| run.failed_group().is_some()) {
                        return Err(format!("group {name} is open, and {} has failed", failed.name()));
                    }
                    let there: BTreeSet<usize> =
                        runs().enumerate().filter(|(_, run)| run.is_there()).map(|(seat, _)| seat).collect();
                    if there != group.there || there.len() == group.members.len() {
                        return Err(format!("group {name} is open with {:?} there instead of {there:?}", group.there));
                    }
                }
                State::Failed { .. } => {
                    let stays = |run: &&ServiceRun| {
                        let turn = || !matches!(self.blocked_by(run.name(), name), Blocked::Yet);
                        let forgotten = run.phase() == Phase::Waiting || !run.is_going_back();
                        run.outcome.is_none() && run.is_grouped() && (forgotten || run.retreat.is_some() && turn())
                    };
                    if let Some(run) = runs().find(stays) {
                        return Err(format!("group {name} goes back, and {} does not", run.name()));
                    }
                }
            }
        }
        Ok(())
    }
}
