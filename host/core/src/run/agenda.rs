//! What is to be looked at in a run: kept up to date by what changes, so that a turn of a run of thousands of services
//! costs what changed and not what there is.
//!
//! Nothing in here is history. All of it follows from the services, and [`Run::apply`] brings it up to date for every
//! service that it touches; the simulation compares it with looking at all of them, after every entry.

use super::gate::RunGate;
use super::{Body, Run, ServiceName, ServiceRun, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// What a service does, as far as the whole run goes by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Standing {
    /// It waits for other services: those that it depends on, or those of its group.
    #[default]
    Waiting,
    /// Something is under way, or about to be.
    Busy,
    /// It waits for a human, without end: at a gate, or in a pause.
    Stopped,
    /// It has ended.
    Over,
}

/// What was last seen of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Noted {
    standing: Standing,
    orders: bool,
    settled: Option<bool>,
    held: bool,
    paused: bool,
    asks_leave: bool,
}

impl Noted {
    fn of(run: &ServiceRun) -> Self {
        let held = run.is_held_for(run);
        Self {
            standing: run.standing(),
            orders: run.has_orders(),
            settled: run.settled(),
            held,
            paused: run.is_paused(),
            asks_leave: run.asks_leave(),
        }
    }
}

/// What is to be looked at.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    /// The services with orders to hand out.
    ready: BTreeSet<ServiceName>,
    /// Those that depend on a service.
    dependents: BTreeMap<ServiceName, Vec<ServiceName>>,
    /// Those that became settled, or changed their mind, and whose dependents have not been looked at since.
    news: Vec<(ServiceName, bool)>,
    /// Whether all that wait are to be looked at once: nothing was let go so far.
    look_at_all: bool,
    waiting: usize,
    busy: usize,
    stopped: usize,
    /// Those that are paused, whatever they do.
    paused: usize,
    /// Those that wait for the run's own gate.
    asking: usize,
}

impl Agenda {
    /// How many services are not over.
    pub(super) fn open(&self) -> usize {
        self.waiting + self.busy + self.stopped
    }

    /// Whether everything that is left waits for a human, or for one that does; with so many stops of the run's own.
    pub(super) fn waits_for_humans(&self, own: usize) -> bool {
        self.busy == 0 && self.stopped.saturating_add(own) > 0
    }

    /// Whether everything that is left is paused.
    pub(super) fn all_paused(&self) -> bool {
        self.paused > 0 && self.paused == self.open()
    }

    /// Whether a service waits for the run's own gate.
    pub(super) fn asks_leave(&self) -> bool {
        self.asking > 0
    }

    /// The services that depend on this one.
    pub(super) fn dependents(&self, service: &ServiceName) -> impl Iterator<Item = &ServiceName> {
        self.dependents.get(service).into_iter().flatten()
    }

    /// The services with orders to hand out, by name.
    pub(super) fn ready(&self) -> impl Iterator<Item = &ServiceName> {
        self.ready.iter()
    }

    fn of(&mut self, standing: Standing) -> Option<&mut usize> {
        match standing {
            Standing::Waiting => Some(&mut self.waiting),
            Standing::Busy => Some(&mut self.busy),
            Standing::Stopped => Some(&mut self.stopped),
            Standing::Over => None,
        }
    }

    fn changed(&mut self, name: &ServiceName, was: Noted, is: Noted) {
        if was.standing != is.standing {
            if let Some(count) = self.of(was.standing) {
                *count = count.saturating_sub(1);
            }
            if let Some(count) = self.of(is.standing) {
                *count = count.saturating_add(1);
            }
        }
        for (was, is, count) in
            [(was.paused, is.paused, &mut self.paused), (was.asks_leave, is.asks_leave, &mut self.asking)]
        {
            if was != is {
                *count = if is { count.saturating_add(1) } else { count.saturating_sub(1) };
            }
        }
        if was.orders != is.orders {
            if is.orders {
                self.ready.insert(name.clone());
            } else {
                self.ready.remove(name);
            }
        }
        match is.settled {
            Some(succeeded) if was.settled != is.settled => self.news.push((name.clone(), succeeded)),
            // For those of its group it counts as settled from here on.
            None if is.held && !was.held => self.news.push((name.clone(), true)),
            _ => {}
        }
    }
}

impl Run {
    /// Fills the agenda.
    pub(super) fn open_agenda(&mut self) {
        let mut agenda = Agenda { look_at_all: true, ..Agenda::default() };
        for (name, run) in &mut self.services {
            run.noted = Noted::of(run);
            if let Some(count) = agenda.of(run.noted.standing) {
                *count = count.saturating_add(1);
            }
            let depends_on: BTreeSet<&ServiceName> = run.spec().depends_on.iter().collect();
            for dependency in depends_on {
                agenda.dependents.entry(dependency.clone()).or_default().push(name.clone());
            }
        }
        self.agenda = agenda;
    }

    /// Brings the agenda up to date with a service that may have changed.
    pub(super) fn note(&mut self, name: &ServiceName) {
        if let Some(run) = self.services.get_mut(name) {
            let (was, is) = (run.noted, Noted::of(run));
            if was != is {
                run.noted = is;
                self.agenda.changed(name, was, is);
            }
        }
    }

    /// The same with all of them.
    pub(super) fn note_all(&mut self) {
        for (name, run) in &mut self.services {
            let (was, is) = (run.noted, Noted::of(run));
            run.noted = is;
            self.agenda.changed(name, was, is);
        }
    }

    /// Lets services start whose dependencies are done, and skips those whose dependencies did not succeed; none of them
    /// before a gate that holds everything has passed.
    pub(super) fn release(&mut self, at: Timestamp) -> Vec<(Option<ServiceName>, Body)> {
        let mut bodies = Vec::new();
        if self.gate.as_ref().is_some_and(RunGate::holds_everything) {
            return bodies;
        }
        if std::mem::take(&mut self.agenda.look_at_all) {
            self.agenda.news.clear();
            let all = self.services.values().filter(|run| run.waits()).map(|run| run.name().clone()).collect();
            self.let_go(all, at, &mut bodies);
        }
        while !self.agenda.news.is_empty() {
            let mut look = BTreeSet::new();
            for (name, succeeded) in std::mem::take(&mut self.agenda.news) {
                for dependent in self.agenda.dependents(&name) {
                    let Some(run) = self.services.get(dependent) else { continue };
                    if run.waits() && (!succeeded || run.awaits(&name)) {
                        look.insert(dependent.clone());
                    }
                }
            }
            self.let_go(look, at, &mut bodies);
        }
        bodies
    }

    /// Lets those go, in order of their names, whose turn it is.
    fn let_go(&mut self, look: BTreeSet<ServiceName>, at: Timestamp, bodies: &mut Vec<(Option<ServiceName>, Body)>) {
        for name in look {
            let Some(verdict) = self.services.get(&name).and_then(|run| self.dependencies(run)) else {
                self.move_on(&name);
                continue;
            };
            let Some(run) = self.services.get_mut(&name) else { continue };
            let produced = match verdict {
                Some(because) => run.skip(because),
                None => run.begin(at),
            };
            bodies.extend(produced.into_iter().map(|body| (Some(name.clone()), body)));
            self.touched(&name);
        }
    }

    /// Notes up to where the dependencies of a service are met, so that it is looked at again when the next one is.
    fn move_on(&mut self, name: &ServiceName) {
        let Some(run) = self.services.get(name) else { return };
        let met =
            |dependency: &ServiceName| self.services.get(dependency).is_some_and(|other| other.settled() == Some(true));
        let more = run.spec().depends_on.iter().skip(run.dependencies_met).take_while(|d| met(d)).count();
        if let Some(run) = self.services.get_mut(name) {
            run.dependencies_met = run.dependencies_met.saturating_add(more);
        }
    }

    /// Whether nothing but what the agenda says is to be done: the same by looking at every service. For tests.
    #[cfg(test)]
    pub(super) fn agenda_is_right(&self) -> Result<(), String> {
        let open = self.services.values().filter(|s| s.outcome().is_none());
        let own = usize::from(self.gate.is_some());
        let timed = self.gate.as_ref().is_some_and(|gate| gate.until().is_some());
        let stopped = |s: &&ServiceRun| matches!(s.gate(), Some((_, None))) || s.rests();
        let stops = own + open.clone().filter(stopped).count();
        let held = |s: &ServiceRun| s.phase() == super::Phase::Held || s.retreat.is_some();
        let idle = |s: &ServiceRun| s.waits() || s.asks_leave() || held(s);
        let busy = open.clone().any(|s| !stopped(&s) && !idle(s));
        let orders: Vec<_> = self
            .services
            .iter()
            .flat_map(|(name, run)| run.orders().into_iter().map(|order| (name.clone(), order)))
            .collect();
        let gate = self.gate.as_ref().is_some_and(RunGate::holds_everything);
        let forgotten = open.clone().find(|s| !gate && s.waits() && self.dependencies(s).is_some());
        if self.finished.is_none() && self.decide().orders != orders {
            return Err(format!("orders: {:?} instead of {orders:?}", self.decide().orders));
        }
        if self.agenda.open() != open.clone().count() {
            return Err(format!("{} open instead of {}", self.agenda.open(), open.count()));
        }
        if self.waits_for_humans() != (stops > 0 && !busy && !timed) {
            return Err(format!("waits for humans: {}", self.waits_for_humans()));
        }
        if self.agenda.all_paused() != (open.clone().count() > 0 && open.clone().all(|s| s.paused().is_some())) {
            return Err(format!("all paused: {}", self.agenda.all_paused()));
        }
        if self.agenda.asks_leave() != open.clone().any(ServiceRun::asks_leave) {
            return Err(format!("asks leave: {}", self.agenda.asks_leave()));
        }
        if self.gate_ahead.is_some() && open.clone().any(ServiceRun::asks_leave) {
            return Err("a service waits for a gate that is not open".to_owned());
        }
        if let Some(service) = forgotten {
            return Err(format!("{} could go on", service.name()));
        }
        self.groups_are_right()
    }
}
