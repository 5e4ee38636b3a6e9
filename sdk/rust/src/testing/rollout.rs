//! Plays the host to a strategy, and watches the rollout invariants.

use serde_json::Value;

use crate::strategy::{Action, LastOutcome, RolloutView, Scaling, ServiceView, Side, Strategy};
use crate::values::{Timestamp, Verdict, Weight};

/// A service that a provider with split traffic runs.
pub fn service_view(replicas: u32) -> ServiceView {
    ServiceView {
        name: "capture".into(),
        replicas,
        abilities: vec!["split-traffic".into(), "preview-url".into()],
        weight_granularity: Weight::from_hundredths(1),
        analyses: vec!["health".into(), "load".into()],
        initial: false,
    }
}

/// How a simulated rollout ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// The candidate became stable.
    Promoted,
    /// Back to the stable revision, for this reason.
    Aborted(String),
}

/// What happened.
#[derive(Debug, Clone)]
pub struct Report {
    /// How it ended.
    pub ending: Ending,
    /// Every action, in order.
    pub actions: Vec<Action>,
    /// Every weight that was set, in percent.
    pub weights: Vec<f64>,
    /// The most instances that there were at once.
    pub most_instances: u32,
}

/// A host for a strategy: carries out what it says, and stops at the first broken invariant.
pub struct Simulation {
    /// The service.
    pub service: ServiceView,
    /// How many instances both sides together must have for all of the traffic: `replicas`, less what may be missing.
    pub capacity: u32,
    answer: Box<dyn FnMut(&Action) -> LastOutcome>,
    disturb: Box<dyn FnMut(&mut Side)>,
}

impl Simulation {
    /// Everything passes, and every gate is promoted.
    pub fn new(service: ServiceView) -> Simulation {
        let capacity = service.replicas;
        Simulation { service, capacity, answer: Box::new(fine), disturb: Box::new(|_| {}) }
    }

    /// How many instances all of the traffic needs.
    #[must_use]
    pub fn capacity(mut self, capacity: u32) -> Simulation {
        self.capacity = capacity;
        self
    }

    /// What comes of the actions that have an outcome of their own: analyses and gates.
    #[must_use]
    pub fn answer(mut self, answer: impl FnMut(&Action) -> LastOutcome + 'static) -> Simulation {
        self.answer = Box::new(answer);
        self
    }

    /// What happens to the candidate between two actions, such as an instance dying.
    #[must_use]
    pub fn disturb(mut self, disturb: impl FnMut(&mut Side) + 'static) -> Simulation {
        self.disturb = Box::new(disturb);
        self
    }

    /// Rolls out.
    ///
    /// # Errors
    /// The invariant that was broken, with the actions up to there; also a failure of the strategy, and a rollout that
    /// does not end.
    pub fn run<S: Strategy>(mut self, config: &Value) -> Result<Report, String>
    where
        S::Config: serde::de::DeserializeOwned,
    {
        let config: S::Config = serde_json::from_value(config.clone()).map_err(|error| error.to_string())?;
        let mut world = World::new(&self.service, self.capacity);
        let mut state: Option<S::State> = None;
        let mut last = LastOutcome::None;
        let mut report =
            Report { ending: Ending::Promoted, actions: Vec::new(), weights: Vec::new(), most_instances: 0 };
        for _ in 0..10_000 {
            let view = RolloutView {
                service: self.service.clone(),
                now: Timestamp(1_767_323_045_000 + report.actions.len() as u64),
                candidate: world.candidate.clone(),
                stable: world.stable.clone(),
                last,
                extras: Vec::new(),
            };
            // Through JSON, as it goes through the journal.
            let kept = state
                .take()
                .map(|state| serde_json::to_value(state).and_then(serde_json::from_value))
                .transpose()
                .map_err(|error| format!("the state does not survive JSON: {error}"))?;
            let decision = S::next(&config, &view, kept).map_err(|failure| failure.to_string())?;
            let at = &decision.position;
            if at.step == 0 || at.step > at.steps || at.label.is_empty() {
                return Err(format!("position {at:?} makes no sense"));
            }
            report.actions.push(decision.action.clone());
            let outcome = world.carry_out(&decision.action, &mut *self.answer);
            last = outcome.map_err(|broken| format!("{broken}\nafter {:#?}", report.actions))?;
            if let Action::SetWeight(weight) = decision.action {
                report.weights.push(weight.percent());
            }
            let stable = world.stable.as_ref().map_or(0, |stable| stable.desired);
            report.most_instances = report.most_instances.max(world.candidate.desired + stable);
            match decision.action {
                Action::Promote => return Ok(report),
                Action::Abort(reason) => {
                    report.ending = Ending::Aborted(reason);
                    return Ok(report);
                }
                _ => {}
            }
            state = Some(decision.state);
            (self.disturb)(&mut world.candidate);
        }
        Err(format!("the rollout does not end: {:?}", report.actions.get(..20)))
    }
}

fn fine(action: &Action) -> LastOutcome {
    match action {
        Action::Analyse(_) => LastOutcome::Judged(Verdict::Pass),
        Action::AwaitPromotion(_) => LastOutcome::Promoted,
        _ => LastOutcome::Done,
    }
}

struct World {
    candidate: Side,
    stable: Option<Side>,
    replicas: u32,
    capacity: u32,
    splits: bool,
}

impl World {
    fn new(service: &ServiceView, capacity: u32) -> World {
        let side = |revision: &str, instances, weight| Side {
            revision: revision.into(),
            desired: instances,
            available: instances,
            weight,
        };
        World {
            candidate: side("r2", 0, Weight::ZERO),
            stable: (!service.initial).then(|| side("r1", service.replicas, Weight::FULL)),
            replicas: service.replicas,
            capacity,
            splits: service.can("split-traffic"),
        }
    }

    fn carry_out(
        &mut self,
        action: &Action,
        answer: &mut dyn FnMut(&Action) -> LastOutcome,
    ) -> Result<LastOutcome, String> {
        match action {
            Action::Scale(scaling) => self.scale(scaling).map(|()| LastOutcome::Done),
            Action::SetWeight(weight) => self.set_weight(*weight).map(|()| LastOutcome::Done),
            Action::Promote if self.candidate.weight != Weight::FULL => {
                Err(format!("promoted at {} of the traffic", self.candidate.weight))
            }
            Action::Promote if self.candidate.desired != self.replicas => {
                Err(format!("promoted with {} of {} instances", self.candidate.desired, self.replicas))
            }
            Action::Abort(_) => {
                let stable = self.stable.as_ref().map_or(self.replicas, |stable| stable.available);
                if stable < self.replicas {
                    return Err(format!("aborted to {stable} of {} instances of the stable revision", self.replicas));
                }
                Ok(LastOutcome::Done)
            }
            other => Ok(answer(other)),
        }
    }

    fn scale(&mut self, scaling: &Scaling) -> Result<(), String> {
        if *scaling == (Scaling { candidate: None, stable: None }) {
            return Err("scales nothing".into());
        }
        if let Some(count) = scaling.candidate {
            self.candidate.desired = count;
            self.candidate.available = count;
        }
        if let Some(count) = scaling.stable {
            let stable = self.stable.as_mut().ok_or("scales a stable revision that is not there")?;
            stable.desired = count;
            stable.available = count;
        }
        if !self.splits {
            // Traffic follows the instances.
            let stable = self.stable.as_ref().map_or(0, |stable| stable.available);
            let weight = Weight::share(self.candidate.available, stable, Weight::from_hundredths(1));
            self.candidate.weight = weight;
            if let Some(stable) = &mut self.stable {
                stable.weight = weight.rest();
            }
            let all = self.candidate.available + self.stable.as_ref().map_or(0, |stable| stable.available);
            return if all < self.capacity && self.stable.is_some() {
                Err(format!("{all} instances for traffic that needs {}", self.capacity))
            } else {
                Ok(())
            };
        }
        self.check()
    }

    fn set_weight(&mut self, weight: Weight) -> Result<(), String> {
        if !self.splits {
            return if self.candidate.weight == weight {
                Ok(())
            } else {
                Err(format!("wants {weight} where the instances make {}", self.candidate.weight))
            };
        }
        self.candidate.weight = weight;
        if let Some(stable) = &mut self.stable {
            stable.weight = weight.rest();
        }
        self.check()
    }

    /// Each side has the instances that its share of the traffic needs.
    fn check(&self) -> Result<(), String> {
        for side in std::iter::once(&self.candidate).chain(&self.stable) {
            if side.weight > Weight::ZERO && side.available == 0 {
                return Err(format!("{} has {} and no instance", side.revision, side.weight));
            }
            let has = u64::from(side.available) * 10_000;
            // A hundredth of a percent of an instance is the rounding of a weight.
            let needs = u64::from(side.weight.hundredths()) * u64::from(self.capacity);
            if has + u64::from(self.capacity) < needs {
                return Err(format!(
                    "{} has {} with {} available of the {} that all of it needs",
                    side.revision, side.weight, side.available, self.capacity
                ));
            }
        }
        Ok(())
    }
}
