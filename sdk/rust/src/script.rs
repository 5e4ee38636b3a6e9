//! Rollouts that are a list of actions, worked through one at a time.
//!
//! Most strategies are that: they compile their configuration into a [`Script`], and leave to it what is the same for
//! all of them: an analysis that does not pass, a gate whose time is up, instances that died since they were counted.

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::strategy::{Action, Decision, Gate, LastOutcome, OnTimeout, Position, RolloutView, Scaling};
use crate::values::{Verdict, Weight};

/// One action of a script.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// The step of the configuration that it belongs to, from 1.
    pub step: u32,
    /// The step in a few words.
    pub label: String,
    /// What to do.
    pub action: Action,
    /// For a change of weight: how many instances of the candidate must be available before.
    pub needs: u32,
}

/// A rollout as a list of actions.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Script {
    stages: Vec<Stage>,
}

/// What a [`Script`] remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScriptState {
    /// The stage at hand, from 0.
    at: usize,
    /// What is being done in its place, if anything is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instead: Option<Instead>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Instead {
    /// Instances that died are brought back before the weight rises.
    Repair,
    /// A human decides about an analysis that decided nothing.
    Human,
    /// The stable revision gets back the instances that it needs for all of the traffic, before the abort.
    Restore(String),
}

impl Script {
    /// Without actions.
    pub fn new() -> Script {
        Script::default()
    }

    /// Adds an action.
    pub fn push(&mut self, step: u32, label: &str, action: Action) {
        self.stages.push(Stage { step, label: label.to_owned(), action, needs: 0 });
    }

    /// Adds a change of weight that needs so many instances of the candidate to be available.
    pub fn push_weight(&mut self, step: u32, label: &str, weight: Weight, needs: u32) {
        let needs = if weight == Weight::ZERO { 0 } else { needs.max(1) };
        self.stages.push(Stage { step, label: label.to_owned(), action: Action::SetWeight(weight), needs });
    }

    /// Its actions.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// What to do next.
    ///
    /// # Errors
    /// [`crate::FailureCode::Invalid`] where the state belongs to another configuration.
    pub fn next(&self, view: &RolloutView, state: Option<ScriptState>) -> Result<Decision<ScriptState>, Failure> {
        let Some(state) = state else { return self.begin(0, view) };
        let stage = self.stage(state.at)?;
        match (view.last, state.instead) {
            // Asked again before anything was done.
            (LastOutcome::None, None) => self.begin(state.at, view),
            (LastOutcome::None, Some(Instead::Human)) => self.ask(state.at),
            (LastOutcome::None, Some(Instead::Repair)) => self.begin(state.at, view),

            // Restored or not: a stable revision that does not come up must not hold the traffic at the candidate.
            (_, Some(Instead::Restore(reason))) => {
                self.decide(state.at, Some(Instead::Restore(reason.clone())), Action::Abort(reason))
            }
            (LastOutcome::Judged(Verdict::Pass), None) => self.begin(state.at + 1, view),
            (LastOutcome::Judged(verdict), _) if verdict != Verdict::Pass => self.judged(state.at, verdict, view),
            (LastOutcome::TimedOut, Some(Instead::Human)) => {
                self.abort(state.at, view, "the analysis was inconclusive and nobody decided in time".into())
            }
            (LastOutcome::TimedOut, _) => match &stage.action {
                Action::AwaitPromotion(Gate { on_timeout: OnTimeout::Abort, reason, .. }) => {
                    self.abort(state.at, view, format!("nobody promoted in time: {reason}"))
                }
                _ => self.begin(state.at + 1, view),
            },
            // The stage itself is still to be done.
            (_, Some(Instead::Repair)) => self.begin(state.at, view),
            // An analysis that a human decided about is over; anything else was cut off by one in the background.
            (_, Some(Instead::Human)) if matches!(stage.action, Action::Analyse(_)) => self.begin(state.at + 1, view),
            (_, Some(Instead::Human)) => self.begin(state.at, view),
            (_, None) => self.begin(state.at + 1, view),
        }
    }

    fn begin(&self, at: usize, view: &RolloutView) -> Result<Decision<ScriptState>, Failure> {
        let stage = self.stage(at)?;
        if stage.needs > view.candidate.available {
            let repair = Scaling { candidate: Some(stage.needs.max(view.candidate.desired)), stable: None };
            return self.decide(at, Some(Instead::Repair), Action::Scale(repair));
        }
        self.decide(at, None, stage.action.clone())
    }

    fn judged(&self, at: usize, verdict: Verdict, view: &RolloutView) -> Result<Decision<ScriptState>, Failure> {
        let what = match &self.stage(at)?.action {
            Action::Analyse(names) => format!("the analysis {}", quoted(names)),
            _ => "the analysis in the background".to_owned(),
        };
        match verdict {
            Verdict::Inconclusive => self.ask(at),
            Verdict::Pass => self.begin(at + 1, view),
            Verdict::Fail => self.abort(at, view, format!("{what} failed")),
            Verdict::Error => self.abort(at, view, format!("{what} could not measure")),
            Verdict::NoData => self.abort(at, view, format!("{what} found no data")),
        }
    }

    fn ask(&self, at: usize) -> Result<Decision<ScriptState>, Failure> {
        let gate = Gate {
            reason: "the analysis was inconclusive: promote or abort".into(),
            timeout: None,
            on_timeout: OnTimeout::Abort,
        };
        self.decide(at, Some(Instead::Human), Action::AwaitPromotion(gate))
    }

    /// Back to the stable revision, but not before it can carry all of the traffic.
    fn abort(&self, at: usize, view: &RolloutView, reason: String) -> Result<Decision<ScriptState>, Failure> {
        let full = view.service.replicas;
        match &view.stable {
            Some(stable) if stable.available < full => {
                let restore = Scaling { candidate: None, stable: Some(full) };
                self.decide(at, Some(Instead::Restore(reason)), Action::Scale(restore))
            }
            _ => self.decide(at, Some(Instead::Restore(reason.clone())), Action::Abort(reason)),
        }
    }

    fn decide(&self, at: usize, instead: Option<Instead>, action: Action) -> Result<Decision<ScriptState>, Failure> {
        let stage = self.stage(at)?;
        let steps = self.stages.last().map_or(0, |last| last.step);
        let position = Position { step: stage.step, steps, label: stage.label.clone() };
        Ok(Decision { action, state: ScriptState { at, instead }, position })
    }

    fn stage(&self, at: usize) -> Result<&Stage, Failure> {
        self.stages.get(at).ok_or_else(|| {
            Failure::invalid(format!(
                "the rollout is at its action {at} of {}: its state belongs to another configuration",
                self.stages.len()
            ))
        })
    }
}

/// The names in backticks, with commas between.
fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
