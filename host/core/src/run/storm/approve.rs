//! The gate of an environment, at chosen moments: a run that seems to have nothing to change asks nobody, and one that
//! turns out to repair something changes nothing before it was approved.

use super::plan::{revision, sample, service_name, simple};
use crate::event::Body;
use crate::model::{Approve, Group, Quorum};
use crate::run::{
    Effect, Failure, Observed, ObservedRevision, OnTimeout, Order, Outcome, Phase, RECORD_VERSION, Record, Run,
    RunOutcome, RunStart, ServiceOutcome, StartMode, Verb,
};
use crate::{Millis, PluginName, RevisionId, ServiceName, Timestamp, Verdict, Weight};
use std::collections::BTreeMap;

/// A run of services whose stable revision is the wanted one, with what is there of each.
pub(super) struct Several {
    pub(super) run: Run,
    pub(super) seq: u64,
    pub(super) clock: u64,
    pub(super) there: BTreeMap<ServiceName, Vec<ObservedRevision>>,
    pub(super) told: Vec<(Option<ServiceName>, Body)>,
    /// What was changed, in order.
    pub(super) changed: Vec<String>,
}

pub(super) fn instances(name: &str, available: u32, weight: Weight) -> ObservedRevision {
    ObservedRevision { revision: revision(name), desired: 4, available, weight }
}

/// Services of these names with these dependencies: all of them are what they should be by what is recorded.
pub(super) fn recorded(services: &[(&str, &[&str])]) -> RunStart {
    let mut start = simple();
    let (mut from, spec) =
        (start.services[&service_name("a")].clone(), start.deployment.services[&service_name("a")].clone());
    if let Some(stable) = &mut from.stable {
        stable.revision = from.candidate.clone();
    }
    start.services.clear();
    start.deployment.services.clear();
    for (name, depends_on) in services {
        let mut spec = (*spec).clone();
        spec.depends_on = depends_on.iter().map(|d| service_name(d)).collect();
        start.deployment.services.insert(service_name(name), spec.into());
        start.services.insert(service_name(name), from.clone());
    }
    start
}

fn approved_by(approvals: u32, timeout: Option<Millis>, on_timeout: OnTimeout) -> Approve {
    Approve { quorum: Quorum { approvals, approvers: Vec::new() }, timeout, on_timeout }
}

impl Several {
    pub(super) fn new(start: RunStart) -> Self {
        let there = start.services.keys().map(|s| (s.clone(), vec![instances("new", 4, Weight::FULL)])).collect();
        let (run, first) = Run::begin(Timestamp(0), 1, &Record::Started(Box::new(start))).unwrap();
        let told = first.into_iter().map(|e| (e.service, e.body)).collect();
        Self { run, seq: 1, clock: 0, there, told, changed: Vec::new() }
    }

    pub(super) fn push(&mut self, record: &Record) {
        self.seq += 1;
        let events = self.run.apply(Timestamp(self.clock), self.seq, record);
        self.run.agenda_is_right().unwrap();
        self.told.extend(events.into_iter().map(|e| (e.service, e.body)));
    }

    pub(super) fn ask(&mut self, service: Option<&str>, verb: Verb) {
        let service = service.map(service_name);
        self.push(&Record::Request { service, verb, by: "ann@box pid 1".into(), order: None });
    }

    fn approve(&mut self, by: &str) {
        let plan = self.run.start().plan_digest();
        let gate = self.run.start().deployment.environment.to_string();
        self.push(&Record::Approval { gate, by: by.into(), plan, order: None, asked: "x@box pid 1".into() });
    }

    pub(super) fn answer(&mut self, service: &ServiceName, order: &Order) -> Outcome {
        let all = self.there.get_mut(service).unwrap();
        if order.effect.mutates() {
            self.changed.push(format!("{service}: {}", order.effect));
        }
        match &order.effect {
            Effect::Observe | Effect::VerifyTraffic { .. } => {
                Outcome::Observed { observed: Some(Observed { url: None, revisions: all.clone() }) }
            }
            Effect::Deploy { revision, .. } => {
                all.retain(|r| r.revision != *revision);
                all.push(ObservedRevision { weight: Weight::ZERO, ..instances(revision.as_str(), 4, Weight::ZERO) });
                Outcome::Done { summary: String::new() }
            }
            Effect::SetTraffic { weights } => {
                for one in all {
                    one.weight = weights.get(&one.revision).copied().unwrap_or(Weight::ZERO);
                }
                Outcome::Done { summary: String::new() }
            }
            Effect::Retire { revision } => {
                all.retain(|r| r.revision != *revision);
                Outcome::Done { summary: String::new() }
            }
            Effect::AwaitAvailable { .. } => Outcome::Available { available: 4, desired: 4 },
            Effect::Probe { .. } => Outcome::Measured { sample: sample(Verdict::Pass) },
            Effect::Wait { .. } => Outcome::Elapsed,
            _ => Outcome::Done { summary: String::new() },
        }
    }

    /// Carries out whatever is wanted, until nothing is.
    pub(super) fn play(&mut self) {
        loop {
            let decision = self.run.decide();
            if let Some(outcome) = decision.finish {
                return self.push(&Record::Finished(outcome));
            }
            let Some((service, order)) = decision.orders.into_iter().next() else { return };
            if order.effect.mutates() {
                self.push(&Record::Intent { service: service.clone(), order: order.clone() });
            } else {
                self.run.handed_out(&service, &order);
            }
            let outcome = self.answer(&service, &order);
            self.push(&Record::Outcome { service, id: order.id, outcome });
        }
    }

    pub(super) fn count(&self, kind: &str) -> usize {
        self.told.iter().filter(|(_, body)| body.kind() == kind).count()
    }

    pub(super) fn outcome(&self, service: &str) -> Option<ServiceOutcome> {
        self.run.services()[&service_name(service)].outcome()
    }
}

fn gone(several: &mut Several, service: &str) {
    several.there.insert(service_name(service), Vec::new());
}

#[test]
fn what_is_as_it_was_recorded_asks_nobody() {
    let mut start = recorded(&[("a", &[]), ("b", &["a"])]);
    start.deployment.approve = Some(approved_by(1, None, OnTimeout::Abort));
    let mut several = Several::new(start);
    several.play();
    assert_eq!((several.count("gate.opened"), several.count("service.unchanged")), (0, 2));
    assert_eq!(several.run.finished(), Some(RunOutcome::Done));
}

#[test]
fn a_repair_waits_for_the_gate_and_looks_again() {
    let mut start = recorded(&[("a", &[]), ("b", &["a"]), ("c", &["b"]), ("d", &[])]);
    start.deployment.approve = Some(approved_by(2, None, OnTimeout::Abort));
    let mut several = Several::new(start);
    gone(&mut several, "b");
    gone(&mut several, "d");
    several.play();
    // What is right is found right, what is not waits, and what depends on that waits for it.
    assert_eq!(several.outcome("a"), Some(ServiceOutcome::Unchanged));
    assert_eq!((several.count("gate.opened"), several.count("drift.found")), (1, 2));
    assert_eq!(several.changed, Vec::<String>::new());
    assert!(several.run.waits_for_humans());
    let gates = several.run.gates();
    assert_eq!((gates.len(), gates[0].name.as_str(), gates[0].service.clone()), (1, "production", None));
    let refused = several.run.would(None, Verb::Promote, None, Timestamp(0)).unwrap_err();
    assert!(refused.contains("nothing is repaired before `production` may be changed, 0 of 2"), "{refused}");
    several.approve("ann");
    several.play();
    assert_eq!(several.changed, Vec::<String>::new(), "one of two");
    // A crash at the gate forgets nothing of it.
    several.push(&Record::Resumed);
    several.play();
    assert_eq!(several.run.gates()[0].approvals, ["ann"]);
    // Meanwhile somebody made `d` right.
    several.there.insert(service_name("d"), vec![instances("new", 4, Weight::FULL)]);
    several.approve("ben");
    several.play();
    assert_eq!(several.count("gate.passed"), 1);
    assert_eq!(several.outcome("d"), Some(ServiceOutcome::Unchanged), "it is looked at again");
    assert_eq!(several.outcome("b"), Some(ServiceOutcome::Promoted));
    assert!(several.changed.iter().all(|c| c.starts_with("b: ")), "{:?}", several.changed);
    assert_eq!((several.count("drift.found"), several.outcome("c")), (2, Some(ServiceOutcome::Unchanged)));
    assert_eq!(several.run.finished(), Some(RunOutcome::Done));
}

#[test]
fn a_repair_that_nobody_approves_changes_nothing() {
    for on_timeout in [OnTimeout::Abort, OnTimeout::Promote] {
        let mut start = recorded(&[("a", &[])]);
        start.deployment.approve = Some(approved_by(1, Some(Millis(1000)), on_timeout));
        start.deployment.groups = [(PluginName::new("g").unwrap(), Group { services: vec![service_name("a")] })].into();
        let mut several = Several::new(start);
        gone(&mut several, "a");
        several.clock = 500;
        several.play();
        // Its time begins when it opens.
        assert_eq!(several.run.decide().gate_until, Some(Timestamp(1500)));
        assert!(!several.run.waits_for_humans(), "its time is waited for");
        several.clock = 1499;
        several.push(&Record::GateElapsed);
        assert_eq!(several.run.gates().len(), 1, "its time is not up");
        // Nobody was at work to see the end of its time: whoever comes now is too late all the same.
        several.clock = 1500;
        several.approve("ann");
        assert_eq!((several.count("request.refused"), several.run.gates().len()), (1, 1));
        several.push(&Record::GateElapsed);
        several.play();
        let wanted = match on_timeout {
            OnTimeout::Abort => (ServiceOutcome::Failed, true),
            OnTimeout::Promote => (ServiceOutcome::Promoted, false),
        };
        assert_eq!((several.outcome("a").unwrap(), several.changed.is_empty()), wanted);
    }
}

/// A probe for readiness that nobody can answer would keep a service that is down from ever being repaired.
#[test]
fn what_is_down_is_repaired_whatever_readiness_asks() {
    let ready = |version: u32, candidate: &str| {
        let mut start = recorded(&[("a", &[])]);
        let probe = PluginName::new("health").unwrap();
        let mut spec = (*start.deployment.services[&service_name("a")]).clone();
        spec.readiness = vec![probe];
        start.deployment.services.insert(service_name("a"), spec.into());
        start.services.values_mut().for_each(|s| s.candidate = revision(candidate));
        start.version = version;
        Several::new(start)
    };
    let asked = |several: &Several| several.count("probe.measured");
    for there in [Vec::new(), vec![instances("new", 0, Weight::FULL)], vec![instances("new", 4, Weight::ZERO)]] {
        let mut several = ready(RECORD_VERSION, "new");
        several.there.insert(service_name("a"), there);
        several.play();
        assert_eq!((asked(&several), several.outcome("a")), (0, Some(ServiceOutcome::Promoted)));
    }
    // Who can answer is asked, and a run of an older version goes by its own rules.
    let mut several = ready(RECORD_VERSION, "new");
    several.play();
    assert_eq!((asked(&several), several.outcome("a")), (1, Some(ServiceOutcome::Unchanged)));
    let mut several = ready(2, "new");
    gone(&mut several, "a");
    several.play();
    assert_eq!(asked(&several), 1);
}

#[test]
fn an_abort_at_the_gate_changes_nothing() {
    let mut start = recorded(&[("a", &[]), ("b", &[])]);
    start.deployment.approve = Some(approved_by(1, None, OnTimeout::Abort));
    let mut several = Several::new(start);
    gone(&mut several, "a");
    gone(&mut several, "b");
    several.play();
    several.ask(Some("a"), Verb::Abort);
    several.play();
    assert_eq!((several.outcome("a"), several.outcome("b")), (Some(ServiceOutcome::Failed), None));
    several.approve("ann");
    several.play();
    assert!(several.changed.iter().all(|c| c.starts_with("b: ")), "{:?}", several.changed);
    assert_eq!(several.run.finished(), Some(RunOutcome::Failed));
}

/// A run that began under the rules of version 2 goes on by them: its journal says that it was not asked for.
#[test]
fn a_run_of_version_2_repairs_as_it_did() {
    let mut start = recorded(&[("a", &[])]);
    start.deployment.approve = Some(approved_by(1, None, OnTimeout::Abort));
    start.version = 2;
    let mut several = Several::new(start);
    gone(&mut several, "a");
    several.play();
    assert_eq!((several.count("gate.opened"), several.run.finished()), (0, Some(RunOutcome::Done)));
    assert_eq!(several.run.services()[&service_name("a")].phase(), Phase::Done);
    let new: RevisionId = revision("new");
    assert_eq!(several.there[&service_name("a")][0].revision, new);
}

#[test]
fn what_the_provider_would_change_around_the_same_revision_is_changed_after_the_gate() {
    let mut start = recorded(&[("a", &[]), ("b", &["a"])]);
    start.services.get_mut(&service_name("a")).unwrap().outdated = vec!["update the rule".to_owned()];
    let mut several = Several::new(start.clone());
    several.play();
    assert_eq!(several.count("gate.opened"), 0, "there is none");
    assert!(several.changed.contains(&"a: deploy new".to_owned()), "{:?}", several.changed);
    assert!(several.changed.iter().all(|c| c.starts_with("a: ")), "{:?}", several.changed);
    let told = several.told.iter().any(
        |(_, body)| matches!(body, Body::DriftFound { message } if message.ends_with("would change: update the rule")),
    );
    assert!(told, "{:?}", several.told);
    assert_eq!(several.outcome("a"), Some(ServiceOutcome::Promoted));
    assert_eq!(several.outcome("b"), Some(ServiceOutcome::Unchanged));
    // It is said, and then waits for the gate like what turns out to need a repair.
    start.deployment.approve = Some(approved_by(1, None, OnTimeout::Abort));
    let mut several = Several::new(start);
    several.play();
    assert_eq!((several.count("drift.found"), several.count("gate.opened"), several.changed.len()), (1, 1, 0));
    assert_eq!(several.outcome("b"), None, "it depends on what waits");
    several.approve("ann");
    several.play();
    assert_eq!(several.run.finished(), Some(RunOutcome::Done));
}

/// With what is left over of a rollout beside the one that is stable.
fn left_over(approve: Option<Approve>) -> Several {
    let mut start = recorded(&[("a", &[]), ("b", &["a"])]);
    start.deployment.approve = approve;
    let mut several = Several::new(start);
    several.there.get_mut(&service_name("a")).unwrap().push(instances("mid", 4, Weight::ZERO));
    several.there.get_mut(&service_name("a")).unwrap().push(instances("old", 0, Weight::ZERO));
    several
}

#[test]
fn what_is_left_over_is_removed_and_nothing_else() {
    let mut several = left_over(None);
    several.play();
    assert_eq!(several.changed, ["a: retire mid", "a: retire old"]);
    let kinds: Vec<&str> =
        several.told.iter().filter(|(s, _)| *s == Some(service_name("a"))).map(|(_, body)| body.kind()).collect();
    let retired = "revision.retired";
    let wanted = ["phase.started", "drift.found", "phase.started", retired, retired, "service.unchanged"];
    assert_eq!(kinds, wanted);
    assert_eq!(
        (several.outcome("b"), several.run.finished()),
        (Some(ServiceOutcome::Unchanged), Some(RunOutcome::Done))
    );
    // And once is enough.
    let there = several.there.clone();
    let mut again = Several::new(recorded(&[("a", &[]), ("b", &["a"])]));
    again.there = there;
    again.play();
    assert_eq!((again.changed.len(), again.count("drift.found")), (0, 0));
}

#[test]
fn what_is_left_over_is_not_removed_before_it_is_approved() {
    let mut several = left_over(Some(approved_by(1, None, OnTimeout::Abort)));
    several.play();
    assert_eq!((several.count("gate.opened"), several.changed.len()), (1, 0));
    several.approve("ann");
    several.play();
    assert_eq!((several.changed.len(), several.run.finished()), (2, Some(RunOutcome::Done)));
}

#[test]
fn what_cannot_be_removed_is_said_and_left() {
    let mut several = left_over(None);
    let mut attempts = 0;
    loop {
        let decision = several.run.decide();
        if let Some(outcome) = decision.finish {
            assert_eq!(outcome, RunOutcome::Done);
            break;
        }
        let (service, order) = decision.orders.into_iter().next().unwrap();
        several.clock = several.clock.max(order.not_before.0);
        several.push(&Record::Intent { service: service.clone(), order: order.clone() });
        let outcome = match &order.effect {
            Effect::Retire { revision } if revision.as_str() == "mid" => {
                attempts += 1;
                let retry_after = (attempts < 3).then_some(Millis(10));
                // Nothing goes back because of it.
                several.ask(Some("a"), Verb::Abort);
                let failure = Failure { code: "provider/conflict".into(), message: "in use".into(), retry_after };
                Outcome::Failed { failure }
            }
            _ => several.answer(&service, &order),
        };
        several.push(&Record::Outcome { service, id: order.id, outcome });
    }
    assert_eq!((attempts, several.count("warning"), several.count("request.refused")), (3, 1, 3));
    assert_eq!(
        (several.changed.as_slice(), several.outcome("a")),
        (&["a: retire old".to_owned()][..], Some(ServiceOutcome::Unchanged))
    );
}

/// A candidate that is kept for good after an abort is not left over, an undo touches nothing that is stable already, and a
/// run of version 2 goes on by its rules.
#[test]
fn what_is_kept_on_purpose_stays() {
    let kept = |start: &mut RunStart| {
        let mut spec = (*start.deployment.services[&service_name("a")]).clone();
        spec.abort_scale_down_delay = None;
        start.deployment.services.insert(service_name("a"), spec.into());
    };
    let undo = |start: &mut RunStart| start.services.values_mut().for_each(|s| s.mode = StartMode::Revert);
    let old = |start: &mut RunStart| start.version = 2;
    for change in [&kept as &dyn Fn(&mut RunStart), &undo, &old] {
        let mut start = recorded(&[("a", &[])]);
        change(&mut start);
        let mut several = Several::new(start);
        several.there.get_mut(&service_name("a")).unwrap().push(instances("mid", 4, Weight::ZERO));
        several.play();
        assert_eq!(
            (several.changed.len(), several.count("drift.found"), several.count("service.unchanged")),
            (0, 0, 1)
        );
    }
    // A repair does not touch it either.
    let mut start = recorded(&[("a", &[])]);
    kept(&mut start);
    let mut several = Several::new(start);
    several.there.insert(service_name("a"), vec![instances("mid", 4, Weight::ZERO), instances("new", 4, Weight::ZERO)]);
    several.play();
    assert_eq!(several.outcome("a"), Some(ServiceOutcome::Promoted));
    assert!(several.there[&service_name("a")].iter().any(|r| r.revision == revision("mid")));
}

/// The time of the run's own gate stands still while everything that is left is paused.
#[test]
fn the_time_of_the_runs_gate_stands_still_in_a_pause() {
    for gone_first in [false, true] {
        let mut start = recorded(&[("a", &[]), ("b", &[])]);
        start.deployment.approve = Some(approved_by(1, Some(Millis(1000)), OnTimeout::Promote));
        if !gone_first {
            // By what is recorded something is to be done: the gate is open from the start.
            start.services.values_mut().for_each(|s| s.candidate = revision("newer"));
        }
        let mut several = Several::new(start);
        gone(&mut several, "a");
        gone(&mut several, "b");
        several.play();
        let until = |several: &Several| several.run.decide().gate_until.map(|until| until.0);
        assert_eq!(until(&several), Some(1000));
        several.clock = 300;
        several.ask(Some("a"), Verb::Pause);
        assert_eq!(until(&several), Some(1000), "not all of it is paused");
        assert!(!several.run.waits_for_humans(), "its time is waited for");
        several.clock = 400;
        several.ask(Some("b"), Verb::Pause);
        assert_eq!((until(&several), several.run.gates()[0].until), (None, None));
        assert!(several.run.waits_for_humans());
        // One that rang when the pause was asked for means nothing, and neither does a process that ends.
        several.clock = 3000;
        several.push(&Record::GateElapsed);
        several.push(&Record::Resumed);
        assert_eq!((several.run.gates().len(), until(&several)), (1, None));
        several.clock = 4400;
        several.ask(Some("b"), Verb::Resume);
        assert_eq!(until(&several), Some(5000), "as much is left as there was");
        several.clock = 4999;
        several.push(&Record::GateElapsed);
        assert_eq!(several.run.gates().len(), 1);
        several.clock = 5000;
        several.push(&Record::GateElapsed);
        assert_eq!((several.run.gates().len(), several.count("gate.passed")), (0, 1));
        several.play();
        // Somebody who is paused stays paused, with leave to go on.
        assert_eq!(several.outcome("a"), None);
        assert!(several.changed.iter().all(|c| c.starts_with("b: ")), "{:?}", several.changed);
        several.ask(Some("a"), Verb::Abort);
        several.play();
    }
}
