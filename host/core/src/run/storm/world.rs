//! A model of a provider that checks, at the moment of each effect and from what is really there, what no run may do.

use super::plan::{Before, name, revision, sample};
use super::reel::Reel;
use crate::run::invariant::{allowed_missing, needed};
use crate::run::{
    Action, Effect, Failure, Gate, Last, Observed, ObservedRevision, OnTimeout, Order, Outcome, Phase, Position,
    RolloutView, Run, StartMode,
};
use crate::{Millis, RevisionId, ServiceName, Verdict, Weight};
use std::collections::{BTreeMap, BTreeSet};

/// After so many decisions a strategy has had its say.
const MOST_STEPS: u32 = 25;

/// A revision, as it is.
#[derive(Debug, Clone, Default)]
pub struct Instances {
    pub desired: u32,
    pub available: u32,
    pub weight: u16,
}

/// What is there.
#[derive(Debug, Default)]
pub struct Cloud {
    pub services: BTreeMap<ServiceName, BTreeMap<RevisionId, Instances>>,
    /// The shares that were verified last, until others are set.
    verified: BTreeMap<ServiceName, BTreeMap<RevisionId, Weight>>,
    /// The services whose last analysis has not been passed, by a verdict or by a person.
    pub unjudged: BTreeSet<ServiceName>,
    steps: BTreeMap<ServiceName, u32>,
    pub changed: BTreeSet<ServiceName>,
}

/// How a case goes.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// So many of 100 effects fail.
    pub faults: usize,
    /// So many of 100 decisions of a strategy are made without sense.
    pub wild: usize,
}

impl Cloud {
    fn fails(reel: &mut Reel, weather: Weather) -> Option<Outcome> {
        reel.chance(weather.faults).then(|| Outcome::Failed {
            failure: Failure {
                code: "provider/unavailable".into(),
                message: "boom".into(),
                retry_after: reel.chance(70).then_some(Millis(5)),
            },
        })
    }

    /// Carries an effect out, with whatever may go wrong. A crash takes the outcome away; what happened has happened.
    pub fn carry_out(
        &mut self,
        run: &Run,
        service: &ServiceName,
        order: &Order,
        before: Before,
        reel: &mut Reel,
        weather: Weather,
    ) -> Outcome {
        let mutates = order.effect.mutates();
        if mutates {
            if matches!(before, Before::Same) {
                // Invariant 7.
                panic!("{service} is as it should be and is changed: {}", order.effect);
            }
            if matches!(before, Before::LeftOver) {
                // Nothing but what is left over goes.
                assert_eq!(order.effect, Effect::Retire { revision: revision("mid") }, "{service}");
            }
            self.changed.insert(service.clone());
            if reel.chance(5)
                && let Some(failed) = Self::fails(reel, weather)
            {
                return failed;
            }
            if order.state.is_none() && reel.chance(10) {
                return Outcome::Running { state: "x".into(), note: "working".into(), poll_after: Millis(3) };
            }
        }
        let outcome = self.happens(run, service, order, before, reel, weather);
        // A failure after the effect: it happened, but nobody knows.
        if mutates { Self::fails(reel, weather).unwrap_or(outcome) } else { outcome }
    }

    fn happens(
        &mut self,
        run: &Run,
        service: &ServiceName,
        order: &Order,
        before: Before,
        reel: &mut Reel,
        weather: Weather,
    ) -> Outcome {
        let it = &run.services()[service];
        let (replicas, phase) = (it.spec().replicas, it.phase());
        let done = || Outcome::Done { summary: String::new() };
        match &order.effect {
            Effect::Observe => Outcome::Observed { observed: Some(self.observe(service)) },
            Effect::Deploy { revision, replicas: wanted } | Effect::Scale { revision, replicas: wanted } => {
                self.scale(service, revision, *wanted, replicas, phase);
                done()
            }
            Effect::AwaitAvailable { revision, replicas, .. } => {
                let it = self.services[service].get(revision).cloned().unwrap_or_default();
                if it.available >= *replicas && !reel.chance(weather.faults / 2) {
                    Outcome::Available { available: it.available, desired: it.desired }
                } else {
                    Outcome::Unavailable { available: it.available, message: "slow".into() }
                }
            }
            Effect::SetTraffic { weights } => {
                self.set_traffic(service, weights, replicas, phase);
                done()
            }
            Effect::VerifyTraffic { weights, .. } => {
                let seen: BTreeMap<_, _> = self.services[service]
                    .iter()
                    .filter(|(_, i)| i.weight > 0)
                    .map(|(r, i)| (r.clone(), Weight::new(i.weight).unwrap()))
                    .collect();
                if seen != *weights {
                    return Outcome::Unavailable { available: 0, message: "not as it was set".into() };
                }
                self.verified.insert(service.clone(), seen);
                Outcome::Observed { observed: Some(self.observe(service)) }
            }
            Effect::NextStep { view, state } => {
                // Invariants 5 and 6: a rollout begins at step 0 from the last stable revision, a revert has no steps.
                let steps = self.steps.entry(service.clone()).or_default();
                assert_eq!(run.start().services[service].mode, StartMode::Rollout, "a revert asks no strategy");
                assert_eq!(state.is_none(), *steps == 0, "the first decision knows nothing from before");
                if *steps == 0 {
                    assert_eq!(view.last, Last::None);
                    assert!(view.candidate.weight.is_zero(), "it begins without traffic");
                    assert!(view.stable.as_ref().is_none_or(|s| s.revision == revision("old")));
                    if before == Before::HalfWay {
                        assert_eq!(view.stable.as_ref().unwrap().weight, Weight::FULL, "half-way traffic is put back");
                    }
                }
                *steps += 1;
                let action = if *steps > MOST_STEPS {
                    Action::Abort { reason: "no end".into() }
                } else if reel.chance(weather.wild) {
                    wild(reel, replicas)
                } else {
                    sensible(view, replicas, reel)
                };
                if matches!(action, Action::Analyse { .. }) {
                    self.unjudged.insert(service.clone());
                }
                let position = Position { step: *steps, steps: MOST_STEPS, label: "x".into() };
                Outcome::Decided { action, state: "{}".into(), position }
            }
            Effect::Measure { .. } | Effect::Probe { .. } => {
                let bad = [Verdict::Fail, Verdict::Error, Verdict::NoData, Verdict::Inconclusive];
                let verdict = if reel.chance(weather.faults) { *reel.one(&bad) } else { Verdict::Pass };
                Outcome::Measured { sample: sample(verdict) }
            }
            Effect::Wait { .. } | Effect::AwaitGate { .. } => Outcome::Elapsed,
            Effect::MarkStable { revision } => {
                assert_eq!(self.services[service][revision].weight, 10_000, "stable without all of the traffic");
                assert_ne!(revision.as_str(), "mid", "what was never verified is not made stable");
                done()
            }
            Effect::Retire { revision } => {
                let weight = self.services[service].get(revision).map_or(0, |i| i.weight);
                assert_eq!(weight, 0, "{revision} is retired with traffic");
                self.verified_without(service, revision, "retired");
                self.services.get_mut(service).unwrap().remove(revision);
                done()
            }
        }
    }

    fn observe(&self, service: &ServiceName) -> Observed {
        let one = |(revision, i): (&RevisionId, &Instances)| ObservedRevision {
            revision: revision.clone(),
            desired: i.desired,
            available: i.available,
            weight: Weight::new(i.weight).unwrap(),
        };
        Observed { url: None, revisions: self.services[service].iter().map(one).collect() }
    }

    /// Invariants 3 and 4: what carries traffic keeps the instances for it, by the shares that were verified.
    fn scale(&mut self, service: &ServiceName, revision: &RevisionId, wanted: u32, replicas: u32, phase: Phase) {
        let known = self.verified.get(service).cloned();
        let it = self.services.get_mut(service).unwrap().entry(revision.clone()).or_default();
        let weight = Weight::new(it.weight).unwrap();
        let share = known.map_or(weight, |v| v.get(revision).copied().unwrap_or(Weight::ZERO).max(weight));
        if wanted < it.desired && !share.is_zero() {
            let floor = needed(replicas, share).saturating_sub(allowed_missing(replicas)).max(1);
            assert!(wanted >= floor, "{revision} shrinks to {wanted} with {share}, which needs {floor} ({phase})");
        }
        it.desired = wanted;
        it.available = wanted;
    }

    fn set_traffic(
        &mut self,
        service: &ServiceName,
        weights: &BTreeMap<RevisionId, Weight>,
        replicas: u32,
        phase: Phase,
    ) {
        let unjudged = self.unjudged.contains(service);
        let there = self.services.get_mut(service).unwrap();
        for (revision, weight) in weights {
            let it = there.get(revision).cloned().unwrap_or_default();
            // Invariant 1.
            assert!(weight.is_zero() || it.available > 0, "{weight} on {revision} without an instance");
            if weight.hundredths() > it.weight {
                // Invariant 2; on the way back what can take traffic takes it.
                let floor = needed(replicas, *weight).saturating_sub(allowed_missing(replicas));
                assert!(
                    it.available >= floor || phase == Phase::Rollback,
                    "{weight} on {revision} with {} instances, which needs {floor} ({phase})",
                    it.available
                );
                // Invariant 5: what was left half-way gets nothing more.
                assert_ne!(revision.as_str(), "mid", "traffic for a rollout that was given up");
                // Only a pass moves forward.
                let forward = revision.as_str() == "new" && phase == Phase::Rollout;
                assert!(!(forward && unjudged), "moved on without a pass");
            }
        }
        for (revision, it) in there.iter_mut() {
            it.weight = weights.get(revision).map_or(0, |w| w.hundredths());
        }
        self.verified.remove(service);
    }

    fn verified_without(&self, service: &ServiceName, revision: &RevisionId, what: &str) {
        // Shares that were never set in this run are as they were seen.
        if let Some(shares) = self.verified.get(service) {
            assert!(!shares.contains_key(revision), "{revision} is {what} before its share was verified to be gone");
        }
    }
}

fn wild(reel: &mut Reel, replicas: u32) -> Action {
    let some = |reel: &mut Reel| Some(u32::try_from(reel.below(replicas as usize + 2)).unwrap());
    match reel.below(11) {
        0 => Action::Promote,
        1 | 2 => Action::Scale { candidate: some(reel), stable: None },
        3 => Action::Scale { candidate: None, stable: some(reel) },
        4 => Action::Analyse { analyses: vec![name("healthy")] },
        5 => Action::Watch { analyses: vec![name("healthy")] },
        6 if reel.chance(20) => Action::Abort { reason: "why not".into() },
        7 => Action::Pause { duration: Millis(7) },
        8 => Action::AwaitPromotion { gate: gate(reel) },
        _ => Action::SetWeight { weight: Weight::new(u16::try_from(reel.below(10_001)).unwrap()).unwrap() },
    }
}

fn gate(reel: &mut Reel) -> Gate {
    Gate {
        reason: "go on?".into(),
        timeout: reel.chance(50).then_some(Millis(30)),
        on_timeout: if reel.chance(50) { OnTimeout::Abort } else { OnTimeout::Promote },
        quorum: None,
    }
}

fn sensible(view: &RolloutView, replicas: u32, reel: &mut Reel) -> Action {
    let c = &view.candidate;
    if c.available < replicas {
        return Action::Scale { candidate: Some(replicas), stable: None };
    }
    if view.stable.is_none() || (c.weight.hundredths() > 0 && view.last != Last::Done) {
        let all = c.weight == Weight::FULL;
        return if all { Action::Promote } else { Action::SetWeight { weight: Weight::FULL } };
    }
    match (c.weight.hundredths(), reel.below(4)) {
        (0, _) => Action::SetWeight { weight: Weight::new(5000).unwrap() },
        (10_000, _) => Action::Promote,
        (_, 0) => Action::Pause { duration: Millis(7) },
        (_, 1) => Action::AwaitPromotion { gate: gate(reel) },
        (_, 2) => Action::SetWeight { weight: Weight::FULL },
        _ => Action::Analyse { analyses: vec![name("healthy")] },
    }
}
