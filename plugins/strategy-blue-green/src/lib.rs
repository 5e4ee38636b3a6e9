//! Blue-green: the candidate comes up beside the stable revision, is checked there, and gets all of the traffic at once.
//!
//! The stable revision keeps its instances until the candidate is promoted, so that a post-promotion analysis that does
//! not pass switches back at once.
//!
//! What it must **never** do: switch before the pre-promotion analysis has passed, however long that takes, or give the
//! candidate traffic before it has the instances for all of it.

use std::time::Duration;

use basb_plugin::config::HumanDuration;
use basb_plugin::script::{Script, ScriptState};
use basb_plugin::strategy::{
    Action, Analysis, Decision, Gate, OnTimeout, RolloutView, Scaling, ServiceView, StepPreview, Strategy,
};
use basb_plugin::{Failure, Problem, Weight};
use serde::Deserialize;

/// The blue-green strategy.
#[derive(Debug)]
pub struct BlueGreen;

/// The configuration of a blue-green rollout.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// The candidate's instances before the switch; all of them where it is not set.
    pub preview_replica_count: Option<u32>,
    /// Whether the switch happens by itself.
    pub auto_promotion_enabled: bool,
    /// How many seconds to wait for a look at the preview before the switch.
    pub auto_promotion_seconds: Option<u64>,
    /// Analyses before the switch.
    pub pre_promotion_analysis: Option<Analysis>,
    /// Analyses after the switch.
    pub post_promotion_analysis: Option<Analysis>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            preview_replica_count: None,
            auto_promotion_enabled: true,
            auto_promotion_seconds: None,
            pre_promotion_analysis: None,
            post_promotion_analysis: None,
        }
    }
}

impl Strategy for BlueGreen {
    type Config = Config;
    type State = ScriptState;

    fn validate(config: &Config, service: &ServiceView) -> Vec<Problem> {
        let mut problems = service.check_replicas();
        if !config.auto_promotion_enabled && config.auto_promotion_seconds.is_some() {
            let message = "`autoPromotionEnabled: false` waits for a human, so the seconds would never count: \
                           remove one of the two";
            problems.push(Problem::error("/autoPromotionSeconds", message));
        }
        match config.preview_replica_count {
            Some(0) => problems.push(Problem::error("/previewReplicaCount", "at least 1: a preview needs an instance")),
            Some(count) if count > service.replicas => {
                let message =
                    format!("more than the service has in full ({}), which is used instead", service.replicas);
                problems.push(Problem::warning("/previewReplicaCount", message));
            }
            _ => {}
        }
        if let Some(analysis) = &config.pre_promotion_analysis {
            problems.extend(service.check_analyses(&analysis.templates, "/prePromotionAnalysis/templates"));
            if !service.can("preview-url") {
                let message = "the provider has no `preview-url`: before the switch, probes cannot reach the candidate";
                problems.push(Problem::warning("/prePromotionAnalysis", message));
            }
        }
        if let Some(analysis) = &config.post_promotion_analysis {
            problems.extend(service.check_analyses(&analysis.templates, "/postPromotionAnalysis/templates"));
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
    let mut rollout = Rollout::default();
    let scale = |count| Action::Scale(Scaling { candidate: Some(count), stable: None });
    if service.initial {
        rollout.step("first revision", scale(replicas));
        rollout.shown(StepPreview::new(format!("first revision: {replicas} instances, without checks before")));
        rollout.switch(replicas);
        rollout.step("promote", Action::Promote);
        return (rollout.script, rollout.preview);
    }

    let preview = config.preview_replica_count.map_or(replicas, |count| count.clamp(1, replicas));
    rollout.step("preview", scale(preview));
    rollout.shown(StepPreview::new(format!("candidate beside the stable revision: {preview} of {replicas} instances")));
    if let Some(analysis) = &config.pre_promotion_analysis {
        rollout.step("pre-promotion analysis", Action::Analyse(analysis.templates.clone()));
        rollout.shown(StepPreview::new(format!("analysis {} before the switch", analysis.templates.join(", "))));
    }
    let wait = config.auto_promotion_seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs);
    if !config.auto_promotion_enabled {
        rollout.step("wait for promote", gate(None));
        rollout.shown(StepPreview::new("wait until somebody promotes"));
    } else if let Some(wait) = wait {
        rollout.step("wait before the switch", gate(Some(wait)));
        let shown = format!("switch after {}, or when somebody promotes", HumanDuration(wait));
        rollout.shown(StepPreview::new(shown));
    }
    if preview < replicas {
        rollout.step("full size", scale(replicas));
        rollout.shown(StepPreview::new(format!("candidate in full: {replicas} instances")));
    }
    rollout.switch(replicas);
    if let Some(analysis) = &config.post_promotion_analysis {
        rollout.step("post-promotion analysis", Action::Analyse(analysis.templates.clone()));
        let shown = format!("analysis {} after the switch, or back", analysis.templates.join(", "));
        rollout.shown(StepPreview::new(shown));
    }
    rollout.step("promote", Action::Promote);
    rollout.shown(StepPreview::new("promote"));
    (rollout.script, rollout.preview)
}

fn gate(timeout: Option<Duration>) -> Action {
    Action::AwaitPromotion(Gate {
        reason: "switch all of the traffic to the candidate?".into(),
        timeout,
        on_timeout: OnTimeout::Promote,
    })
}

#[derive(Default)]
struct Rollout {
    script: Script,
    preview: Vec<StepPreview>,
    steps: u32,
}

impl Rollout {
    fn step(&mut self, label: &str, action: Action) {
        self.steps += 1;
        self.script.push(self.steps, label, action);
    }

    fn switch(&mut self, replicas: u32) {
        self.steps += 1;
        self.script.push_weight(self.steps, "switch", Weight::FULL, replicas);
        self.shown(StepPreview::new("all of the traffic to the candidate at once").weight(Weight::FULL));
    }

    fn shown(&mut self, step: StepPreview) {
        self.preview.push(step);
    }
}

basb_plugin::export!(BlueGreen as strategy);
