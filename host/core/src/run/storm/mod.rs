//! Everything at once: random plans, random faults, operators who ask for anything at any moment, crashes. The seven
//! rollout invariants are checked where effects happen (`world.rs`), what verbs, gates and groups promise here, and every
//! history is replayed from its start.

mod approve;
mod asked;
mod plan;
mod reel;
mod world;

use super::*;
use crate::event::Body;
use crate::{Digest, Verdict};
use plan::{Before, PEOPLE, revision};
use proptest::prelude::*;
use reel::Reel;
use std::collections::BTreeSet;
use world::{Cloud, Weather};

/// So many entries are more than any case needs: an operator puts an end to it before.
const LONG: usize = 1500;

/// A gate that waits for a time only.
#[derive(Debug)]
struct Timed {
    opened: u64,
    within: u64,
    paused: u64,
}

struct Storm {
    run: Run,
    cloud: Cloud,
    before: BTreeMap<ServiceName, Before>,
    history: Vec<(u64, Record)>,
    clock: u64,
    under_way: Vec<(ServiceName, Order)>,
    reel: Reel,
    weather: Weather,
    /// What must hold of approvals: who agreed to this very plan at the run's own gate.
    agreed: BTreeSet<String>,
    gate_timed_out: bool,
    /// The same of services.
    at_gates: BTreeMap<ServiceName, BTreeSet<String>>,
    /// The gates of services that wait for a time only: since when, for how long, and how long of it was a pause.
    timed: BTreeMap<ServiceName, Timed>,
    paused_since: BTreeMap<ServiceName, u64>,
    /// Services of which something could not be cleared away.
    warned: BTreeSet<ServiceName>,
    /// Groups all of whose services were there.
    promoted_groups: BTreeSet<crate::PluginName>,
}

impl Storm {
    fn new(bytes: Vec<u8>, weather: Weather) -> Self {
        let mut reel = Reel::new(bytes);
        let (start, cloud, before) = plan::plan(&mut reel);
        let first = Record::Started(Box::new(start));
        let (run, _) = Run::begin(Timestamp(0), 1, &first).unwrap();
        Self {
            run,
            cloud,
            before,
            history: vec![(0, first)],
            clock: 0,
            under_way: Vec::new(),
            reel,
            weather,
            agreed: BTreeSet::new(),
            gate_timed_out: false,
            at_gates: BTreeMap::new(),
            timed: BTreeMap::new(),
            paused_since: BTreeMap::new(),
            warned: BTreeSet::new(),
            promoted_groups: BTreeSet::new(),
        }
    }

    fn push(&mut self, record: Record) -> Vec<Event> {
        let seq = self.history.len() as u64 + 1;
        let events = self.run.apply(Timestamp(self.clock), seq, &record);
        self.run.agenda_is_right().unwrap();
        for event in &events {
            match (&event.service, &event.body) {
                (Some(service), Body::AnalysisFinished { verdict: Verdict::Pass, .. })
                | (Some(service), Body::GatePassed { .. } | Body::RolloutSkipped { .. }) => {
                    self.cloud.unjudged.remove(service);
                }
                (Some(service), Body::Warning { .. }) => drop(self.warned.insert(service.clone())),
                (_, Body::GroupPromoted { group, .. }) => drop(self.promoted_groups.insert(group.clone())),
                _ => {}
            }
            if let (Some(service), Body::GatePassed { by }) = (&event.service, &event.body) {
                let quorum = self.run.services()[service].spec().gates.clone();
                if let Some(quorum) = quorum.filter(|_| by != "the timeout") {
                    let have = self.at_gates.get(service).map_or(0, BTreeSet::len);
                    assert!(have >= quorum.approvals as usize, "{service} passed its gate with {have} approvals: {by}");
                }
            }
            if let (Some(service), Body::GateOpened { .. } | Body::GatePassed { .. }) = (&event.service, &event.body) {
                self.at_gates.remove(service);
            }
        }
        for event in &events {
            if let Some(service) = &event.service {
                self.time_gates(service, &event.body);
            }
        }
        self.history.push((self.clock, record));
        events
    }

    /// No gate is over for want of an answer before its time is up, pauses aside.
    fn time_gates(&mut self, service: &ServiceName, body: &Body) {
        let now = self.clock;
        match body {
            Body::GateOpened { until, .. } => {
                self.timed.remove(service);
                if let Some(until) = until {
                    let timed = Timed { opened: now, within: until.0 - now, paused: 0 };
                    self.timed.insert(service.clone(), timed);
                }
            }
            Body::Paused { .. } => drop(self.paused_since.insert(service.clone(), now)),
            Body::Resumed { .. } => {
                let since = self.paused_since.remove(service).unwrap();
                if let Some(timed) = self.timed.get_mut(service) {
                    timed.paused += now - since.max(timed.opened);
                }
            }
            Body::GatePassed { by } if by == "the timeout" => self.its_time_is_up(service),
            Body::Aborted { reason, .. } if reason.starts_with("nobody promoted in time") => {
                self.its_time_is_up(service);
            }
            _ => {}
        }
    }

    fn its_time_is_up(&self, service: &ServiceName) {
        let timed = &self.timed[service];
        assert!(!self.paused_since.contains_key(service), "{service}: its gate is over in a pause");
        assert!(self.clock >= timed.opened + timed.within + timed.paused, "{service}: {timed:?} at {}", self.clock);
    }

    fn hand_out(&mut self, service: ServiceName, order: Order) {
        let it = &self.run.services()[&service];
        // A pause holds everything up but what goes on at the counterpart, and the way back.
        let back = it.phase() == Phase::Rollback || it.pending_rollback.is_some();
        assert!(it.paused().is_none() || back || order.state.is_some(), "{service} is paused: {}", order.effect);
        let start = self.run.start();
        if let Some(approve) = &start.deployment.approve {
            let foreseen =
                start.services.iter().any(|(_, s)| s.stable.as_ref().is_none_or(|o| o.revision != s.candidate));
            let enough = self.agreed.len() >= approve.quorum.approvals as usize;
            let timed_out = self.gate_timed_out && approve.on_timeout == OnTimeout::Promote;
            let reads = matches!(order.effect, Effect::Observe | Effect::Probe { phase: Phase::Readiness, .. });
            // What nobody foresaw may be found by reading, and is not changed before somebody agreed either.
            assert!(enough || timed_out || (!foreseen && reads), "{service}: {} before it was approved", order.effect);
        }
        if it.phase() == Phase::Rollback && it.is_grouped() {
            for other in self.run.services().values().filter(|o| o.group() == it.group()) {
                let in_the_way = other.spec().depends_on.contains(&service) && other.outcome().is_none();
                assert!(!in_the_way, "{service} goes back before {}", other.name());
            }
        }
        self.push(Record::Intent { service: service.clone(), order: order.clone() });
        self.under_way.retain(|(s, o)| (s, o.id) != (&service, order.id));
        self.under_way.push((service, order));
    }

    /// Asks for something, and sees that what was promised is what happens.
    fn ask(&mut self, service: Option<ServiceName>, verb: Verb) {
        let at = Timestamp(self.clock);
        let order = service.as_ref().filter(|_| self.reel.chance(30)).and_then(|s| self.run.services()[s].order());
        let would = self.run.would(service.as_ref(), verb, order, at);
        let by = format!("ann@box pid {}", self.history.len());
        let events = self.push(Record::Request { service, verb, by: by.clone(), order });
        let refused = events.iter().any(|e| matches!(e.body, Body::RequestRefused { .. }));
        assert_eq!(would.is_err(), refused, "{verb}: {would:?} {events:?}");
        if let Ok(acts) = would {
            assert!(!acts.is_empty());
            let told = |name: &ServiceName| events.iter().any(|e| e.service.as_ref() == Some(name));
            // An abort may have to wait for what is under way; everything else is told at once.
            assert!(verb == Verb::Abort || acts.iter().all(|(name, _)| told(name)), "{verb}: {acts:?} {events:?}");
        }
    }

    fn approve(&mut self) {
        let gates = self.run.gates();
        let Some(gate) = (!gates.is_empty()).then(|| self.reel.one(&gates).clone()) else { return };
        let by = (*self.reel.one(&PEOPLE)).to_owned();
        let own = self.run.start().plan_digest();
        let plan = if self.reel.chance(80) { own.clone() } else { Digest::of(b"another plan") };
        let order = if self.reel.chance(80) { gate.order } else { Some(0) };
        let would = self.run.would_approve(&gate.name, &by, &plan, order, Timestamp(self.clock));
        let in_time = gate.until.is_none_or(|until| until.0 > self.clock);
        let meant = plan == own && (order == gate.order || order.is_none());
        if let Some(quorum) = gate.quorum.as_ref().filter(|_| in_time && meant) {
            let may = quorum.approvers.is_empty() || quorum.approvers.contains(&by);
            match &gate.service {
                _ if !may => {}
                None => drop(self.agreed.insert(by.clone())),
                Some(service) => drop(self.at_gates.entry(service.clone()).or_default().insert(by.clone())),
            }
        }
        let record = Record::Approval { gate: gate.name, by, plan, order, asked: "ann@box pid 1".into() };
        let events = self.push(record);
        let refused = events.iter().any(|e| matches!(e.body, Body::RequestRefused { .. }));
        assert_eq!(would.is_err(), refused, "{would:?} {events:?}");
        let passed = events.iter().any(|e| matches!(e.body, Body::GatePassed { .. }));
        assert_eq!(would.is_ok_and(|a| a.passes()), passed);
    }

    fn some_verb(&mut self) {
        if self.reel.chance(25) {
            return self.approve();
        }
        let verbs = [
            Verb::Promote,
            Verb::PromoteFull,
            Verb::Pause,
            Verb::Pause,
            Verb::Resume,
            Verb::Resume,
            Verb::Retry,
            Verb::Abort,
        ];
        let verb = *self.reel.one(&verbs);
        let names: Vec<ServiceName> = self.run.services().keys().cloned().collect();
        let service = self.reel.chance(60).then(|| self.reel.one(&names).clone());
        self.ask(service, verb);
    }

    /// The process dies: some of what was under way happened, and nobody knows.
    fn crash(&mut self) {
        for (service, order) in std::mem::take(&mut self.under_way) {
            if order.effect.mutates() && order.not_before.0 <= self.clock && self.reel.chance(50) {
                let before = self.before[&service];
                let (reel, weather) = (&mut self.reel, self.weather);
                let _ = self.cloud.carry_out(&self.run, &service, &order, before, reel, weather);
            }
        }
        self.clock += 10;
        self.push(Record::Resumed);
    }

    fn one_outcome(&mut self) {
        let can_end = |(_, o): &&(ServiceName, Order)| !matches!(o.effect, Effect::AwaitGate { until: None, .. });
        let ready: Vec<_> = self.under_way.iter().filter(can_end).cloned().collect();
        if ready.is_empty() {
            if let Some(until) = self.run.decide().gate_until {
                self.clock = self.clock.max(until.0);
                self.gate_timed_out = true;
                self.push(Record::GateElapsed);
                return;
            }
            panic!("nothing to do and not finished: {:#?}", self.run);
        }
        // Soonest first, with some disorder, as it is among tasks.
        let due = |o: &Order| match &o.effect {
            Effect::Wait { until, .. } | Effect::AwaitGate { until: Some(until), .. } => until.0,
            _ => o.not_before.0,
        };
        let (service, order) = if self.reel.chance(50) {
            self.reel.one(&ready).clone()
        } else {
            ready.iter().min_by_key(|(_, o)| due(o)).unwrap().clone()
        };
        self.clock = self.clock.max(due(&order)) + self.reel.below(4) as u64;
        let before = self.before[&service];
        let outcome = self.cloud.carry_out(&self.run, &service, &order, before, &mut self.reel, self.weather);
        self.under_way.retain(|(s, o)| (s, o.id) != (&service, order.id));
        self.push(Record::Outcome { service, id: order.id, outcome });
    }

    fn play_out(mut self) -> Self {
        loop {
            let decision = self.run.decide();
            if let Some(outcome) = decision.finish {
                self.push(Record::Finished(outcome));
                return self;
            }
            for (service, order) in decision.orders {
                self.hand_out(service, order);
            }
            assert!(self.run.decide().orders.is_empty(), "what was handed out is not handed out again");
            let run = &self.run;
            self.under_way.retain(|(service, order)| {
                let wanted = run.wants(service, order.id);
                let begun = order.not_before.0 <= self.clock;
                assert!(wanted || !(order.effect.mutates() && begun), "{service}: {} is dropped", order.effect);
                wanted
            });
            assert!(self.history.len() < 2 * LONG, "it does not come to an end: {:#?}", self.run);
            if self.history.len() > LONG {
                // An operator puts an end to it.
                self.weather = Weather { faults: 0, wild: 0 };
                let at = Timestamp(self.clock);
                for verb in [Verb::Abort, Verb::Resume] {
                    if self.run.would(None, verb, None, at).is_ok() {
                        self.ask(None, verb);
                    }
                }
                if self.run.decide().finish.is_none() && self.run.decide().orders.is_empty() {
                    self.one_outcome();
                }
            } else if self.run.waits_for_humans() {
                assert!(self.under_way.iter().all(|(_, o)| !o.effect.mutates() || o.not_before.0 > self.clock));
                self.clock += 5;
                self.some_verb();
            } else if self.reel.chance(4) {
                self.some_verb();
            } else if self.reel.chance(2) {
                self.crash();
            } else {
                self.one_outcome();
            }
        }
    }

    /// What the ends promise.
    fn check_ends(&self) {
        for (name, service) in self.run.services() {
            let there = &self.cloud.services[name];
            let weight = |r: &str| there.get(&revision(r)).map_or(0, |i| i.weight);
            let old = matches!(self.before[name], Before::Stable | Before::HalfWay);
            match service.outcome().unwrap() {
                ServiceOutcome::Promoted => assert_eq!(weight("new"), 10_000),
                ServiceOutcome::RolledBack if old => {
                    assert_eq!(weight("old"), 10_000, "promise 5: a rollback that says it worked has worked");
                    let replicas = service.spec().replicas;
                    assert!(there[&revision("old")].available >= replicas - replicas.div_ceil(2));
                }
                ServiceOutcome::RolledBack => assert_eq!(weight("new"), 0),
                ServiceOutcome::Unchanged if self.before[name] == Before::LeftOver => {
                    let start = &self.run.start().services[name];
                    let stays = start.mode == StartMode::Revert || service.spec().abort_scale_down_delay.is_none();
                    assert_eq!(weight("new"), 10_000);
                    assert_eq!(self.cloud.changed.contains(name), !stays, "{name}");
                    let kept = there.contains_key(&revision("mid"));
                    assert!(
                        if stays { kept } else { !kept || self.warned.contains(name) },
                        "{name} leaves it in silence"
                    );
                }
                ServiceOutcome::Failed | ServiceOutcome::Skipped | ServiceOutcome::Unchanged => {
                    assert!(!self.cloud.changed.contains(name), "{name} is changed");
                }
                ServiceOutcome::RollbackFailed => {}
            }
        }
        for (name, group) in &self.run.start().deployment.groups {
            let ends = group.services.iter().map(|s| &self.run.services()[s]).filter(|s| s.is_grouped());
            let promoted = |s: &ServiceRun| s.outcome() == Some(ServiceOutcome::Promoted);
            let all_there = self.promoted_groups.contains(name);
            for service in ends {
                if promoted(service) {
                    assert!(all_there, "{} became stable without its group", service.name());
                }
                let unable = [ServiceOutcome::Unchanged, ServiceOutcome::RollbackFailed];
                assert!(!all_there || promoted(service) || unable.contains(&service.outcome().unwrap()));
            }
        }
    }

    /// Promise 3, the pure half: at every point, a run rebuilt from the journal wants what the first one wanted.
    fn replay(&self) {
        let (mut again, _) = Run::begin(Timestamp(0), 1, &self.history[0].1).unwrap();
        for (seq, (clock, record)) in (2..).zip(self.history.iter().skip(1)) {
            if let Record::Intent { service, order } = record {
                let wanted = again.decide().orders;
                assert!(wanted.contains(&(service.clone(), order.clone())), "{wanted:?}\n{order:?}");
            }
            again.apply(Timestamp(*clock), seq, record);
            let text = serde_json::to_string(record).unwrap();
            assert_eq!(&serde_json::from_str::<Record>(&text).unwrap(), record);
        }
        assert_eq!(again.finished(), self.run.finished());
        for (name, service) in self.run.services() {
            assert_eq!(again.services()[name].outcome(), service.outcome());
        }
    }
}

/// How many cases: `PROPTEST_CASES` says, else a share in a debug build and all of them in a release build.
pub fn cases() -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok());
    asked.unwrap_or(if cfg!(debug_assertions) { 2000 } else { 100_000 })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 3000, ..Default::default() })]

    #[test]
    fn invariants_hold_whatever_operators_ask_for(
        faults in 0usize..30, wild in 0usize..60, bytes in prop::collection::vec(any::<u8>(), 30..200),
    ) {
        let storm = Storm::new(bytes, Weather { faults, wild }).play_out();
        storm.check_ends();
        storm.replay();
    }
}

/// The storm reaches what it is meant to: every end, every verb that acts, groups that are promoted and that go back.
#[test]
fn the_storm_reaches_every_corner() {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for i in 0..10_000_u32 {
        let mixed = |k: u32| (k * k * 37 + i * 101 + k * 13).wrapping_add(i.wrapping_mul(i).wrapping_mul(k));
        let bytes = (0..120_u32).map(|k| mixed(k).to_le_bytes()[1]).collect();
        let weather = Weather { faults: (i % 25) as usize, wild: (i % 50) as usize };
        let storm = Storm::new(bytes, weather).play_out();
        storm.check_ends();
        let (mut again, first) = Run::begin(Timestamp(0), 1, &storm.history[0].1).unwrap();
        seen.extend(first.iter().map(|e| e.body.kind().to_owned()));
        for (seq, (clock, record)) in (2..).zip(storm.history.iter().skip(1)) {
            seen.extend(again.apply(Timestamp(*clock), seq, record).iter().map(|e| e.body.kind().to_owned()));
        }
        seen.extend(storm.run.services().values().map(|s| format!("{:?}", s.outcome().unwrap())));
        seen.insert(format!("{:?}", storm.run.finished().unwrap()));
    }
    for wanted in [
        "gate.opened gate.approved gate.passed pause.ended service.paused service.resumed rollout.skipped effect.hurried request.refused",
        "group.promoted group.failed service.reverting run.resumed service.rolled-back service.rollback-failed",
        "Promoted Unchanged Skipped Failed RolledBack RollbackFailed Done",
    ] {
        for one in wanted.split(' ') {
            assert!(seen.contains(one), "{one} never happens: {seen:?}");
        }
    }
}
