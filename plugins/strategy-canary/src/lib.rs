//! Canary: the candidate gets traffic step by step, with pauses and analyses between.
//!
//! With a provider that splits traffic, a weight rises only after the candidate has the instances for it, and the stable
//! revision keeps all of its own until the end, or with `dynamicStableScale` loses them only after the lower weight was
//! verified. With one that does not, instances are replaced, and the share is as near as whole instances come.
//!
//! What it must **never** do: give the candidate traffic that its available instances cannot carry, or take a verdict
//! other than `pass` for leave to go on.

mod compile;
mod config;
mod replicas;

use basb_plugin::script::ScriptState;
use basb_plugin::strategy::{Decision, RolloutView, ServiceView, StepPreview, Strategy};
use basb_plugin::{Failure, Problem};

pub use config::Config;

/// The canary strategy.
#[derive(Debug)]
pub struct Canary;

impl Strategy for Canary {
    type Config = Config;
    type State = ScriptState;

    fn validate(config: &Config, service: &ServiceView) -> Vec<Problem> {
        config::validate(config, service)
    }

    fn preview(config: &Config, service: &ServiceView) -> Result<Vec<StepPreview>, Failure> {
        Ok(compile::compile(config, service)?.preview)
    }

    fn next(config: &Config, view: &RolloutView, state: Option<ScriptState>) -> Result<Decision<ScriptState>, Failure> {
        compile::compile(config, &view.service)?.script.next(view, state)
    }
}

basb_plugin::export!(Canary as strategy);
