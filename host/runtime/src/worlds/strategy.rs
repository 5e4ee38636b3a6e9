//! `world strategy-plugin`: how a candidate gets its traffic; pure.

use crate::wit::strategy::{Decision, RolloutView, ServiceView, StepPreview};
use crate::wit::types::{Failure, Problem};

super::world! {
    /// A strategy.
    Strategy, Strategy, strategy;
    /// Everything that is wrong with a configuration for this service.
    "validate" 0 pub fn validate(config: String, service: ServiceView) -> Vec<Problem>;
    /// The steps that a rollout would take.
    "preview" 1 pub fn preview(config: String, service: ServiceView) -> Result<Vec<StepPreview>, Failure>;
    /// What to do next. `state` is what the last decision said to remember; none at the start of a rollout.
    "next" 2 pub fn next(config: String, view: RolloutView, state: Option<String>) -> Result<Decision, Failure>;
}
