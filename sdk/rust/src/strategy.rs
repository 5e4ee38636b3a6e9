//! Strategies: how a candidate gets its traffic. Pure functions from what there is to what to do next.
//!
//! A strategy proposes; the host carries out, and refuses what would break a rollout invariant.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::values::{Extras, Problem, Timestamp, Verdict, Weight};

pub use crate::bindings::pure::exports::basb::host::strategy::{OnTimeout, Position, Scaling};

/// How a candidate gets its traffic.
pub trait Strategy {
    /// The configuration; the host has checked it against the schema in the manifest.
    type Config: DeserializeOwned;
    /// What to remember between two decisions. It must be all that is needed to go on after a crash.
    type State: Serialize + DeserializeOwned;

    /// Everything that is wrong with a configuration for this service.
    fn validate(config: &Self::Config, service: &ServiceView) -> Vec<Problem>;

    /// The steps that a rollout would take.
    ///
    /// # Errors
    /// Where the configuration does not fit the service.
    fn preview(config: &Self::Config, service: &ServiceView) -> Result<Vec<StepPreview>, Failure>;

    /// What to do next. `state` is what the last decision said to remember; none at the start of a rollout.
    ///
    /// # Errors
    /// Where the view makes no sense to the strategy; the host then aborts.
    fn next(
        config: &Self::Config,
        view: &RolloutView,
        state: Option<Self::State>,
    ) -> Result<Decision<Self::State>, Failure>;
}

/// What a strategy may know of the service before anything runs.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceView {
    /// The service's name.
    pub name: String,
    /// How many instances it has in full.
    pub replicas: u32,
    /// What its provider can do, as in its `describe`.
    pub abilities: Vec<String>,
    /// The smallest change of weight that the provider can make.
    pub weight_granularity: Weight,
    /// The names of the analyses in the deployment file.
    pub analyses: Vec<String>,
    /// Whether there is no stable revision yet.
    pub initial: bool,
}

/// Analyses by name, as strategies have them in their configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Analysis {
    /// Names of analyses in the deployment file.
    pub templates: Vec<String>,
}

impl ServiceView {
    /// Whether the provider can do this, such as `split-traffic`.
    pub fn can(&self, ability: &str) -> bool {
        self.abilities.iter().any(|known| known == ability)
    }

    /// What is wrong with the number of instances: a rollout moves traffic between some.
    pub fn check_replicas(&self) -> Vec<Problem> {
        let none = || Problem::error("", "a rollout needs a service with at least one instance");
        if self.replicas == 0 { vec![none()] } else { Vec::new() }
    }

    /// What is wrong with names of analyses at this JSON pointer: each must be in the deployment file.
    pub fn check_analyses(&self, names: &[String], path: &str) -> Vec<Problem> {
        if names.is_empty() {
            return vec![Problem::error(path, "names no analysis: write at least one, or leave the analysis out")];
        }
        let unknown = names.iter().enumerate().filter(|(_, name)| !self.analyses.contains(name));
        unknown
            .map(|(at, name)| {
                let message = match (closest(name, &self.analyses), self.analyses.as_slice()) {
                    (_, []) => format!("there is no analysis `{name}`: the deployment file has none under `analyses`"),
                    (Some(near), known) => {
                        format!("there is no analysis `{name}`; did you mean `{near}`? known: {}", known.join(", "))
                    }
                    (None, known) => format!("there is no analysis `{name}`; known: {}", known.join(", ")),
                };
                Problem::error(format!("{path}/{at}"), message)
            })
            .collect()
    }
}

/// The name that is most like this one, if any is like it at all.
fn closest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let near = known.iter().map(|other| (strsim::damerau_levenshtein(name, other), other.as_str())).min()?;
    (near.0 <= 1 + name.len() / 4).then_some(near.1)
}

/// One revision, as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Side {
    /// Its id.
    pub revision: String,
    /// How many instances there should be.
    pub desired: u32,
    /// How many of them can take traffic.
    pub available: u32,
    /// Its verified share of traffic.
    pub weight: Weight,
}

/// What became of the last action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastOutcome {
    /// There was none: this is the first call.
    None,
    /// It was carried out and verified.
    Done,
    /// The analysis came to this.
    Judged(Verdict),
    /// A human let it go on.
    Promoted,
    /// A gate's time was up.
    TimedOut,
}

/// What there is.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutView {
    /// The service.
    pub service: ServiceView,
    /// The time.
    pub now: Timestamp,
    /// The revision that is to be rolled out.
    pub candidate: Side,
    /// The last verified revision, if there is one.
    pub stable: Option<Side>,
    /// What became of the last action.
    pub last: LastOutcome,
    /// Named values for which no field exists yet.
    pub extras: Extras,
}

/// A stop for a human.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// What is to be decided.
    pub reason: String,
    /// How long to wait; none waits without end.
    pub timeout: Option<Duration>,
    /// What happens then.
    pub on_timeout: OnTimeout,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Change how many instances there are; the host goes on once they are available.
    Scale(Scaling),
    /// Give the candidate this share of traffic, and the stable revision the rest.
    SetWeight(Weight),
    /// Run analyses to their end.
    Analyse(Vec<String>),
    /// Run analyses beside the following steps; a verdict other than `pass` ends them.
    Watch(Vec<String>),
    /// Wait.
    Pause(Duration),
    /// Wait for a human.
    AwaitPromotion(Gate),
    /// The candidate becomes stable. It must have all of the traffic.
    Promote,
    /// Back to the stable revision, for this reason.
    Abort(String),
}

/// What to do next, and what to remember.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision<S> {
    /// What to do.
    pub action: Action,
    /// What to remember.
    pub state: S,
    /// Where the rollout is.
    pub position: Position,
}

/// A step, for the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct StepPreview {
    /// In one line.
    pub summary: String,
    /// The weight wanted after it, if it changes it.
    pub weight: Option<Weight>,
    /// The weight that can be achieved, where it differs.
    pub achieved: Option<Weight>,
    /// How long it takes at the least.
    pub duration: Option<Duration>,
}

impl StepPreview {
    /// A step that changes no weight and takes no time of its own.
    pub fn new(summary: impl Into<String>) -> StepPreview {
        StepPreview { summary: summary.into(), weight: None, achieved: None, duration: None }
    }

    /// The weight wanted after it.
    #[must_use]
    pub fn weight(mut self, weight: Weight) -> StepPreview {
        self.weight = Some(weight);
        self
    }

    /// How long it takes at the least.
    #[must_use]
    pub fn duration(mut self, duration: Duration) -> StepPreview {
        self.duration = Some(duration);
        self
    }
}
