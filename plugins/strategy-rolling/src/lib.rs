//! Rolling: instances are replaced in batches, and the traffic moves with them.
//!
//! Each batch adds instances of the candidate, moves the traffic to where it will be when the batch is over, and only
//! then takes instances from the stable revision. The last of those stay for the host to retire.
//!
//! What it must **never** do: leave a revision with less than the instances that its share of the traffic needs, or go
//! beyond `maxSurge` and `maxUnavailable`.

use basb_plugin::config::Amount;
use basb_plugin::script::{Script, ScriptState};
use basb_plugin::strategy::{Action, Analysis, Decision, RolloutView, Scaling, ServiceView, StepPreview, Strategy};
use basb_plugin::{Failure, Problem, Weight};
use serde::Deserialize;

/// The rolling strategy.
#[derive(Debug)]
pub struct Rolling;

/// The configuration of a rolling update.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// How many instances there may be beyond the full number.
    pub max_surge: Amount,
    /// How many instances may be missing.
    pub max_unavailable: Amount,
    /// The most instances replaced in one batch.
    pub max_parallel: Option<u32>,
    /// Analyses after every batch.
    pub analysis: Option<Analysis>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            max_surge: Amount::Percent(25),
            max_unavailable: Amount::Percent(25),
            max_parallel: None,
            analysis: None,
        }
    }
}

impl Strategy for Rolling {
    type Config = Config;
    type State = ScriptState;

    fn validate(config: &Config, service: &ServiceView) -> Vec<Problem> {
        let mut problems = service.check_replicas();
        if config.max_surge.is_zero() && config.max_unavailable.is_zero() {
            let message = "`maxSurge` and `maxUnavailable` are both 0: nothing could ever be replaced";
            problems.push(Problem::error("/maxSurge", message));
        }
        if config.max_parallel == Some(0) {
            problems.push(Problem::error("/maxParallel", "at least 1: a batch needs an instance"));
        }
        let missing = config.max_unavailable.of_rounded_down(service.replicas);
        let half = service.replicas.div_ceil(2);
        if missing > half && !service.initial {
            let message = format!(
                "{missing} of {} instances may be missing, and the host lets at the most {half} be: half, rounded up",
                service.replicas
            );
            problems.push(Problem::error("/maxUnavailable", message));
        }
        if let Some(analysis) = &config.analysis {
            problems.extend(service.check_analyses(&analysis.templates, "/analysis/templates"));
        }
        problems
    }

    fn preview(config: &Config, service: &ServiceView) -> Result<Vec<StepPreview>, Failure> {
        Ok(compile(config, service).1)
    }

    fn next(config: &Config, view: &RolloutView, state: Option<ScriptState>) -> Result<Decision<ScriptState>, Failure> {
        compile(config, &view.service).0.next(view, state)
    }
}

/// The script, and what its steps look like in a plan.
fn compile(config: &Config, service: &ServiceView) -> (Script, Vec<StepPreview>) {
    let replicas = service.replicas.max(1);
    let mut rollout = Rollout::new(config, service, replicas);
    if service.initial {
        rollout.scale_candidate(replicas);
        rollout.set_weight(Weight::FULL);
        rollout.script.push(1, "promote", Action::Promote);
        let shown = format!("first revision: {replicas} instances and all of the traffic at once");
        rollout.preview.push(StepPreview::new(shown).weight(Weight::FULL));
        return (rollout.script, rollout.preview);
    }
    while rollout.candidate < replicas || rollout.weight < Weight::FULL {
        rollout.batch();
    }
    rollout.script.push(rollout.step, "promote", Action::Promote);
    rollout.preview.push(StepPreview::new("promote"));
    (rollout.script, rollout.preview)
}

struct Rollout<'a> {
    service: &'a ServiceView,
    analysis: Option<&'a Analysis>,
    replicas: u32,
    most: u32,
    least: u32,
    parallel: u32,
    script: Script,
    preview: Vec<StepPreview>,
    step: u32,
    /// What the script has brought about so far.
    candidate: u32,
    stable: u32,
    weight: Weight,
}

impl<'a> Rollout<'a> {
    fn new(config: &'a Config, service: &'a ServiceView, replicas: u32) -> Rollout<'a> {
        let surge = config.max_surge.of_rounded_up(replicas);
        // At least one instance stays, or there would be nobody to answer.
        let missing = config.max_unavailable.of_rounded_down(replicas).min(replicas - 1);
        // A share of a small service may round both down to nothing, which could never move.
        let surge = if surge == 0 && missing == 0 { 1 } else { surge };
        Rollout {
            service,
            analysis: config.analysis.as_ref(),
            replicas,
            most: replicas.saturating_add(surge),
            least: replicas - missing,
            parallel: config.max_parallel.map_or(replicas, |parallel| parallel.max(1)),
            script: Script::new(),
            preview: Vec::new(),
            step: 1,
            candidate: 0,
            stable: replicas,
            weight: Weight::ZERO,
        }
    }

    fn batch(&mut self) {
        let room = self.most.saturating_sub(self.candidate + self.stable);
        let more = room.min(self.replicas - self.candidate).min(self.parallel);
        self.scale_candidate(self.candidate + more);

        let spare = (self.candidate + self.stable).saturating_sub(self.least);
        let fewer = spare.min(self.stable).min(self.parallel);
        let stable = self.stable - fewer;
        if self.service.can("split-traffic") {
            let granularity = self.service.weight_granularity;
            self.set_weight(Weight::share(self.candidate, stable, granularity));
            // The last instances of the stable revision are left to retire, unless the candidate needs their room.
            if stable > 0 || self.candidate < self.replicas {
                self.scale_stable(stable);
            }
        } else {
            self.scale_stable(stable);
            self.set_weight(Weight::share(self.candidate, stable, Weight::from_hundredths(1)));
        }
        if let (Some(analysis), true) = (self.analysis, self.weight > Weight::ZERO) {
            self.script.push(self.step, "analysis", Action::Analyse(analysis.templates.clone()));
        }
        let checked = self
            .analysis
            .map_or(String::new(), |analysis| format!(", then analysis {}", analysis.templates.join(", ")));
        let shown = format!(
            "{} of {} instances replaced, {} of the traffic{checked}",
            self.candidate, self.replicas, self.weight
        );
        self.preview.push(StepPreview::new(shown).weight(self.weight));
        self.step += 1;
    }

    fn set_weight(&mut self, weight: Weight) {
        if weight != self.weight {
            self.script.push_weight(self.step, &format!("{weight} of the traffic"), weight, self.candidate);
            self.weight = weight;
        }
    }

    fn scale_candidate(&mut self, count: u32) {
        if count != self.candidate {
            let scaling = Scaling { candidate: Some(count), stable: None };
            self.script.push(self.step, &format!("{count} of the candidate"), Action::Scale(scaling));
            self.candidate = count;
        }
    }

    fn scale_stable(&mut self, count: u32) {
        if count != self.stable {
            let scaling = Scaling { candidate: None, stable: Some(count) };
            self.script.push(self.step, &format!("{count} of the stable revision"), Action::Scale(scaling));
            self.stable = count;
        }
    }
}

basb_plugin::export!(Rolling as strategy);
