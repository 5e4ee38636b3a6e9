//! Random strategies and random faults against the rollout invariants, over a model of a provider.
//!
//! The model checks at the moment of each effect, from what is really there, what the run must never do. Every history
//! is also replayed from the start: a run rebuilt from its journal must want exactly the same.

use super::*;
use crate::analysis::Sample;
use crate::model::{Analysis, Bake, Deployment, DryRun, Metric, Readiness, Service, Use, Workload};
use crate::{Millis, PluginName, RevisionId, Verdict, Weight};
use proptest::prelude::*;
use std::collections::BTreeMap;

pub(super) fn name(n: &str) -> PluginName {
    PluginName::new(n).unwrap()
}
pub(super) fn revision(n: &str) -> RevisionId {
    RevisionId::new(n).unwrap()
}
fn workload() -> Workload {
    Workload {
        command: vec!["x".into()],
        image: None,
        working_folder: None,
        env: BTreeMap::new(),
        ready: Readiness::None,
        min_ready: Millis::ZERO,
        stop_grace: Millis::ZERO,
        memory_limit: None,
        settings: serde_json::Value::Null,
    }
}
pub(super) fn service(replicas: u32, depends_on: Vec<ServiceName>) -> Service {
    Service {
        workload: workload(),
        replicas,
        listen: None,
        depends_on,
        strategy: name("s"),
        readiness: vec![name("p")],
        verify: vec![name("p")],
        bake: Some(Bake { duration: Millis(1), analyses: vec![] }),
        gates: None,
        progress_deadline: Millis::secs(60),
        scale_down_delay: Millis::ZERO,
        abort_scale_down_delay: Some(Millis::ZERO),
    }
}
pub(super) fn start(replicas: u32, initial: bool, mode: StartMode) -> RunStart {
    let uses = Use { plugin: name("p"), config: serde_json::json!({}) };
    let metric = Metric {
        name: name("m"),
        probe: name("p"),
        interval: Some(Millis(10)),
        initial_delay: Millis::ZERO,
        count: Some(2),
        success_condition: Some("result.verdict == 'pass'".into()),
        failure_condition: Some("result.verdict == 'fail'".into()),
        failure_limit: Some(0),
        inconclusive_limit: 0,
        consecutive_error_limit: 1,
        consecutive_no_data_limit: 1,
        consecutive_success_limit: 0,
        min_samples: 1,
        dry_run: DryRun::No,
    };
    let names = [ServiceName::new("a").unwrap(), ServiceName::new("b").unwrap()];
    let stable =
        (!initial).then(|| StableRevision { revision: revision("old"), replicas, workload: workload().into() });
    let from =
        ServiceStart { candidate: revision("new"), stable, mode, irreversible: Vec::new(), outdated: Vec::new() };
    RunStart {
        version: RECORD_VERSION,
        run: RunId::new("run-1").unwrap(),
        deployment: Deployment {
            name: ServiceName::new("d").unwrap(),
            environment: name("local"),
            provider: uses.clone(),
            approve: None,
            groups: BTreeMap::new(),
            services: [
                (names[0].clone(), service(replicas, vec![]).into()),
                (names[1].clone(), service(replicas, vec![names[0].clone()]).into()),
            ]
            .into(),
            strategies: BTreeMap::new(),
            probes: BTreeMap::new(),
            analyses: [(name("healthy"), Analysis { metrics: vec![metric] })].into(),
            notifiers: BTreeMap::new(),
            plugins: BTreeMap::new(),
            secret_stores: serde_json::Value::Null,
            secrets: serde_json::Value::Null,
            credentials: serde_json::Value::Null,
            publishers: BTreeMap::new(),
            tapes: None,
        },
        services: names.iter().map(|n| (n.clone(), from.clone())).collect(),
        plugins: BTreeMap::new(),
        abilities: vec!["split-traffic".into()],
        granularity: Weight::new(1).unwrap(),
        plan: None,
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Revision {
    desired: u32,
    available: u32,
    weight: u16,
}

/// A provider and everything else that can answer, with a reel of random numbers deciding what goes wrong.
pub(super) struct World {
    pub(super) services: BTreeMap<ServiceName, BTreeMap<RevisionId, Revision>>,
    verified: BTreeMap<ServiceName, BTreeMap<RevisionId, Weight>>,
    reel: Vec<u8>,
    at: usize,
    faults: u8,
    passes_needed: BTreeMap<ServiceName, bool>,
}

impl World {
    pub(super) fn new(start: &RunStart, replicas: u32, initial: bool, faults: u8, reel: Vec<u8>) -> Self {
        let old = if initial {
            BTreeMap::new()
        } else {
            [(revision("old"), Revision { desired: replicas, available: replicas, weight: 10_000 })].into()
        };
        Self {
            services: start.services.keys().map(|s| (s.clone(), old.clone())).collect(),
            verified: BTreeMap::new(),
            reel,
            at: 0,
            faults,
            passes_needed: BTreeMap::new(),
        }
    }

    pub(super) fn roll(&mut self) -> u8 {
        self.at += 1;
        self.reel.get(self.at % self.reel.len()).copied().unwrap_or(0)
    }

    fn fails(&mut self) -> Option<Outcome> {
        let roll = self.roll();
        (roll < self.faults).then(|| Outcome::Failed {
            failure: Failure {
                code: "provider/unavailable".into(),
                message: "boom".into(),
                retry_after: (!roll.is_multiple_of(3)).then_some(Millis(5)),
            },
        })
    }

    fn strategy(&mut self, view: &RolloutView, replicas: u32, wild: bool) -> Action {
        let c = &view.candidate;
        if wild {
            return match self.roll() % 9 {
                0 => Action::Promote,
                1 | 2 => Action::Scale { candidate: Some(u32::from(self.roll()) % (replicas + 1)), stable: None },
                3 => Action::Scale { candidate: None, stable: Some(u32::from(self.roll()) % (replicas + 1)) },
                4 => Action::Analyse { analyses: vec![name("healthy")] },
                5 => Action::Watch { analyses: vec![name("healthy")] },
                6 => Action::Abort { reason: "why not".into() },
                _ => Action::SetWeight { weight: Weight::new(u16::from(self.roll()) * 40 % 10_001).unwrap() },
            };
        }
        if c.available < replicas {
            Action::Scale { candidate: Some(replicas), stable: None }
        } else if c.weight.hundredths() == 0 && view.stable.is_some() {
            Action::SetWeight { weight: Weight::new(5000).unwrap() }
        } else if c.weight != Weight::FULL && view.last == Last::Done && view.stable.is_some() {
            Action::Analyse { analyses: vec![name("healthy")] }
        } else if c.weight != Weight::FULL {
            Action::SetWeight { weight: Weight::FULL }
        } else {
            Action::Promote
        }
    }

    fn observe(&self, service: &ServiceName) -> Observed {
        let one = |(revision, it): (&RevisionId, &Revision)| ObservedRevision {
            revision: revision.clone(),
            desired: it.desired,
            available: it.available,
            weight: Weight::new(it.weight).unwrap(),
        };
        Observed { url: None, revisions: self.services[service].iter().map(one).collect() }
    }

    pub(super) fn carry_out(&mut self, run: &Run, service: &ServiceName, order: &Order, wild: bool) -> Outcome {
        let replicas = run.services()[service].spec().replicas;
        let before = self.roll().is_multiple_of(2);
        if order.effect.mutates()
            && before
            && let Some(failed) = self.fails()
        {
            return failed;
        }
        let phase = run.services()[service].phase();
        let done = || Outcome::Done { summary: String::new() };
        let outcome = match &order.effect {
            Effect::Observe => Outcome::Observed { observed: Some(self.observe(service)) },
            Effect::Deploy { revision, replicas } | Effect::Scale { revision, replicas } => {
                let all = self.services.get_mut(service).unwrap();
                let weight = all.get(revision).map_or(0, |r| r.weight);
                // Invariants 1 and 3: what carries traffic is not taken away.
                assert!(weight == 0 || *replicas > 0, "scaled to nothing under {weight}");
                let it = all.entry(revision.clone()).or_default();
                it.desired = *replicas;
                it.available = *replicas;
                done()
            }
            Effect::AwaitAvailable { revision, replicas, .. } => {
                let it = self.services[service].get(revision).cloned().unwrap_or_default();
                if it.available >= *replicas && self.roll() >= self.faults / 2 {
                    Outcome::Available { available: it.available, desired: it.desired }
                } else {
                    Outcome::Unavailable { available: it.available, message: "slow".into() }
                }
            }
            Effect::SetTraffic { weights } => {
                let all = self.services.get_mut(service).unwrap();
                for (r, w) in weights {
                    // Invariant 1.
                    assert!(
                        w.is_zero() || all.get(r).is_some_and(|r| r.available > 0),
                        "{w} on {r} without an instance"
                    );
                }
                for (r, s) in all.iter_mut() {
                    let wanted = weights.get(r).map_or(0, |w| w.hundredths());
                    if r.as_str() == "new" && wanted > s.weight && phase == Phase::Rollout {
                        // Promise 4: after an analysis, only a pass lets traffic move on.
                        assert!(!self.passes_needed.get(service).copied().unwrap_or(false), "moved on without a pass");
                    }
                    s.weight = wanted;
                }
                done()
            }
            Effect::VerifyTraffic { weights, .. } => {
                self.verified.insert(service.clone(), weights.clone());
                Outcome::Observed { observed: Some(self.observe(service)) }
            }
            Effect::NextStep { view, .. } => {
                assert!(!run.services()[service].reverts(), "a revert asks no strategy");
                let action = self.strategy(view, replicas, wild);
                if matches!(action, Action::Analyse { .. }) {
                    self.passes_needed.insert(service.clone(), true);
                }
                Outcome::Decided {
                    action,
                    state: "{}".into(),
                    position: Position { step: 1, steps: 1, label: "x".into() },
                }
            }
            Effect::Measure { .. } | Effect::Probe { .. } => {
                let roll = self.roll();
                let verdict = if roll >= self.faults {
                    Verdict::Pass
                } else {
                    [Verdict::Fail, Verdict::Error, Verdict::NoData, Verdict::Inconclusive][usize::from(roll % 4)]
                };
                if verdict == Verdict::Pass {
                    self.passes_needed.insert(service.clone(), false);
                }
                let summary = verdict.to_string();
                Outcome::Measured {
                    sample: Sample { verdict, summary, values: BTreeMap::new(), facts: BTreeMap::new() },
                }
            }
            Effect::Wait { .. } | Effect::AwaitGate { .. } => Outcome::Elapsed,
            Effect::MarkStable { revision } => {
                let it = &self.services[service][revision];
                assert_eq!(it.weight, 10_000, "promoted without all of the traffic");
                done()
            }
            Effect::Retire { revision } => {
                let all = self.services.get_mut(service).unwrap();
                assert!(all.get(revision).is_none_or(|r| r.weight == 0), "retired with traffic");
                all.remove(revision);
                done()
            }
        };
        // A failure after the effect: it happened, but nobody knows.
        if order.effect.mutates() && !before { self.fails().unwrap_or(outcome) } else { outcome }
    }
}

/// Runs to the end; the history is returned for replaying.
fn simulate(replicas: u32, initial: bool, wild: bool, faults: u8, reel: Vec<u8>) -> (Run, World, Vec<(u64, Record)>) {
    simulate_as(start(replicas, initial, StartMode::Rollout), replicas, initial, wild, faults, reel)
}

fn simulate_as(
    start: RunStart,
    replicas: u32,
    initial: bool,
    wild: bool,
    faults: u8,
    reel: Vec<u8>,
) -> (Run, World, Vec<(u64, Record)>) {
    let mut world = World::new(&start, replicas, initial, faults, reel);
    let first = Record::Started(Box::new(start));
    let (mut run, _) = Run::begin(Timestamp(0), 0, &first).unwrap();
    let mut history = vec![(0, first)];
    let mut clock = 0;
    let push = |run: &mut Run, history: &mut Vec<(u64, Record)>, clock: u64, record: Record| {
        run.apply(Timestamp(clock), history.len() as u64, &record);
        run.agenda_is_right().unwrap();
        history.push((clock, record));
    };
    let mut aborted = false;
    for _ in 0..3000 {
        let decision = run.decide();
        if let Some(outcome) = decision.finish {
            push(&mut run, &mut history, clock, Record::Finished(outcome));
            return (run, world, history);
        }
        // A strategy may go on for ever; an operator would stop it.
        if (clock > 20_000 || history.len() > 1000) && !aborted {
            aborted = true;
            let verb = Verb::Abort;
            push(
                &mut run,
                &mut history,
                clock,
                Record::Request { service: None, verb, by: "test".into(), order: None },
            );
            continue;
        }
        let Some((service, order)) = decision.orders.into_iter().min_by_key(|(_, o)| o.not_before) else {
            panic!("nothing to do and not finished: {run:?}")
        };
        clock = clock.max(order.not_before.0) + 1;
        push(&mut run, &mut history, clock, Record::Intent { service: service.clone(), order: order.clone() });
        let outcome = world.carry_out(&run, &service, &order, wild);
        push(&mut run, &mut history, clock, Record::Outcome { service, id: order.id, outcome });
    }
    panic!("it does not come to an end: {run:?}")
}

#[test]
fn a_release_without_faults_is_promoted() {
    for initial in [true, false] {
        let (run, world, history) = simulate(3, initial, false, 0, vec![200, 100, 250]);
        assert_eq!(run.finished(), Some(RunOutcome::Done), "{history:#?}");
        for revisions in world.services.values() {
            assert_eq!(revisions.len(), 1);
            assert_eq!(revisions[&revision("new")].weight, 10_000);
        }
    }
}

/// A revert goes to its end without a step, a bake or a readiness probe, and one that fails is back where it came from,
/// with what could not be undone by name.
#[test]
fn a_revert_takes_no_steps_and_a_failed_one_goes_back() {
    let mut ends = std::collections::BTreeSet::new();
    for i in 0..200_u32 {
        let mut start = start(3, false, StartMode::Revert);
        for service in start.services.values_mut() {
            service.irreversible = vec!["the bucket".into()];
        }
        let reel = (0..40_u32).map(|k| (k * k * 37 + i * 101 + k * 13).to_le_bytes()[0]).collect();
        let (run, world, history) = simulate_as(start, 3, false, true, 50, reel);
        let (mut again, _) = Run::begin(Timestamp(0), 1, &history[0].1).unwrap();
        for (seq, (clock, record)) in (2..).zip(history.iter().skip(1)) {
            for event in again.apply(Timestamp(*clock), seq, record) {
                match event.body {
                    Body::PhaseStarted { phase, .. } => assert!(!matches!(phase, Phase::Rollout | Phase::Bake)),
                    Body::StepStarted { .. } => panic!("a step"),
                    Body::ProbeMeasured { phase, .. } => assert_eq!(phase, Phase::Verify),
                    Body::RolledBack { not_undone, .. } => assert_eq!(not_undone, ["the bucket"]),
                    _ => {}
                }
            }
        }
        for (name, service) in run.services() {
            ends.insert(service.outcome().unwrap().succeeded());
            if service.outcome() == Some(ServiceOutcome::RolledBack) {
                assert_eq!(world.services[name][&revision("old")].weight, 10_000);
            }
        }
    }
    assert_eq!(ends.len(), 2, "some were brought back, and some failed");
}

#[test]
fn a_plan_has_the_digest_of_what_it_means() {
    let one = start(3, false, StartMode::Rollout);
    let digest = one.plan_digest();
    let mut same = one.clone();
    same.run = RunId::new("run-2").unwrap();
    same.services.values_mut().for_each(|s| s.irreversible = vec!["said later".into()]);
    assert_eq!(same.plan_digest(), digest, "neither the run's id nor the provider's words are part of it");
    let changes: [fn(&mut RunStart); 5] = [
        |s| s.deployment.services.values_mut().for_each(|s| s.replicas += 1),
        |s| s.services.values_mut().for_each(|s| s.candidate = revision("newer")),
        |s| s.services.values_mut().for_each(|s| s.stable = None),
        |s| s.services.values_mut().for_each(|s| s.mode = StartMode::Revert),
        |s| drop(s.plugins.insert(name("s"), "s 1.0.0 sha256:00".into())),
    ];
    for change in changes {
        let mut other = one.clone();
        change(&mut other);
        assert_ne!(other.plan_digest(), digest);
    }
    let written = RunStart { plan: Some(digest.clone()), ..one };
    let read: RunStart = serde_json::from_str(&serde_json::to_string(&written).unwrap()).unwrap();
    assert_eq!(read, written);
    assert_eq!(read.plan_digest(), digest);
}

fn golden(kind: &str, version: u32, name: &str) -> (String, String) {
    let path = format!("{}/golden/{kind}-v{version}-{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    (path, text)
}

/// Reads records of a file, and compares each with what is written of it again.
fn records_of(text: &str) -> Vec<Record> {
    let read = |line: &str| {
        let record: Record = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), line);
        record
    };
    text.lines().map(read).collect()
}

fn lines<T: serde::Serialize>(values: &[T]) -> String {
    values.iter().map(|value| serde_json::to_string(value).unwrap() + "\n").collect()
}

const ENDS: [(&str, u8, RunOutcome); 2] =
    [("promoted", 0, RunOutcome::Done), ("rolled-back", 60, RunOutcome::RolledBack)];

/// Formats that outlive a process: what version 1 wrote is read as it was, and means the events that it meant. The time
/// is not in the files of records: the events tell it, since each is of the time of its record.
#[test]
fn records_and_events_of_version_1_stay_as_they_are() {
    for (name, _, wanted) in ENDS {
        let records = records_of(&golden("records", 1, name).1);
        let events = golden("events", 1, name).1;
        let times: BTreeMap<u64, Timestamp> = events
            .lines()
            .map(|line| {
                let event: Event = serde_json::from_str(line).unwrap();
                assert_eq!(serde_json::to_string(&event).unwrap(), line);
                (event.seq, event.at)
            })
            .collect();
        let (mut run, mut told) = Run::begin(Timestamp(0), 1, &records[0]).unwrap();
        let mut clock = Timestamp(0);
        for (seq, record) in (1_u64..).zip(&records).skip(1) {
            // An effect that waits for its time, or for its time to be up, is not tried before it.
            clock = times.get(&seq).copied().unwrap_or(clock);
            told.extend(run.apply(clock, seq, record));
        }
        assert_eq!(run.finished(), Some(wanted), "{name}");
        assert!(lines(&told) == events, "{name}: the events of version 1 differ");
    }
}

/// What is written now must be what the newest version is, and a run that began with version 2 goes on as one of version 2.
/// `BLESS=1` writes the files anew, for a new version only.
#[test]
fn records_of_later_versions_stay_as_they_are() {
    // One run that is promoted, and one whose candidate fails.
    for (version, (name, faults, wanted)) in (2..=RECORD_VERSION).flat_map(|v| ENDS.map(|end| (v, end))) {
        // The first reel of a fixed row of them that leads to this end.
        let reel = |i: u32| (0..40_u32).map(|k| (k * k * 37 + i * 101 + k * 13).to_le_bytes()[0]).collect();
        let begun = || RunStart { version, ..start(2, false, StartMode::Rollout) };
        let history = (0..1000)
            .map(|i| simulate_as(begun(), 2, false, false, faults, reel(i)))
            .find_map(|(run, _, history)| (run.finished() == Some(wanted)).then_some(history))
            .unwrap();
        let records: Vec<Record> = history.into_iter().map(|(_, record)| record).collect();
        let text = lines(&records);
        let (path, mut kept) = golden("records", version, name);
        if std::env::var_os("BLESS").is_some() && version == RECORD_VERSION {
            std::fs::write(&path, &text).unwrap();
            kept.clone_from(&text);
        }
        assert!(kept == text, "{path} differs from what is written now; a new version is written with BLESS=1");
        assert_eq!(records_of(&kept), records);
    }
}

/// A counterpart that never finishes does not hold a run for ever.
#[test]
fn a_call_that_never_ends_is_given_up() {
    let start = start(1, true, StartMode::Rollout);
    let (mut run, _) = Run::begin(Timestamp(0), 1, &Record::Started(Box::new(start))).unwrap();
    let mut clock = 0;
    for seq in 2..10_000 {
        let decision = run.decide();
        if let Some(outcome) = decision.finish {
            assert_eq!(outcome, RunOutcome::RolledBack, "nothing ever had traffic; what is left is a warning");
            assert!(clock < 4 * 60_000, "it took {clock} ms");
            return;
        }
        let (service, order) = decision.orders.into_iter().next().unwrap();
        clock = clock.max(order.not_before.0) + 1;
        let outcome = match order.effect {
            Effect::Observe => Outcome::Observed { observed: None },
            _ => Outcome::Running { state: "x".into(), note: "working".into(), poll_after: Millis::secs(1) },
        };
        run.apply(Timestamp(clock), seq, &Record::Intent { service: service.clone(), order: order.clone() });
        run.apply(Timestamp(clock), seq, &Record::Outcome { service, id: order.id, outcome });
    }
    panic!("it never ended");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(debug_assertions) { 3000 } else { 100_000 }, ..Default::default() })]

    #[test]
    fn invariants_hold_over_random_strategies_and_faults(
        replicas in 1u32..9, initial: bool, wild: bool, faults in 0u8..120,
        reel in prop::collection::vec(any::<u8>(), 7..60),
    ) {
        let (run, world, history) = simulate(replicas, initial, wild, faults, reel);
        for (name, service) in run.services() {
            let there = &world.services[name];
            match service.outcome().unwrap() {
                ServiceOutcome::Promoted => prop_assert_eq!(there[&revision("new")].weight, 10_000),
                // Promise 5: a rollback that says it worked has worked.
                ServiceOutcome::RolledBack if initial => prop_assert!(there.values().all(|r| r.weight == 0)),
                ServiceOutcome::RolledBack => {
                    prop_assert_eq!(there[&revision("old")].weight, 10_000);
                    prop_assert!(there[&revision("old")].available >= replicas - replicas.div_ceil(2));
                }
                ServiceOutcome::Failed | ServiceOutcome::Skipped => {
                    prop_assert!(there.get(&revision("new")).is_none());
                }
                ServiceOutcome::Unchanged | ServiceOutcome::RollbackFailed => {}
            }
        }
        // Promise 3, the pure half: at every point, a run rebuilt from the journal wants what the first one wanted.
        let (mut again, _) = Run::begin(Timestamp(0), 0, &history[0].1).unwrap();
        for (i, (clock, record)) in history.iter().enumerate().skip(1) {
            if let Record::Intent { service, order } = record {
                let wanted = again.decide().orders;
                prop_assert!(wanted.contains(&(service.clone(), order.clone())), "{wanted:?}\n{order:?}\n{history:?}");
            }
            again.apply(Timestamp(*clock), i as u64, record);
            prop_assert_eq!(again.agenda_is_right(), Ok(()));
            let text = serde_json::to_string(record).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Record>(&text).unwrap(), record);
        }
        prop_assert_eq!(again.finished(), run.finished());
    }
}
