//! The configuration, and what is wrong with it.

use std::time::Duration;

use basb_plugin::config::{Amount, HumanDuration};
use basb_plugin::strategy::{Analysis, OnTimeout, ServiceView};
use basb_plugin::{Problem, Weight};
use serde::Deserialize;
use serde_json::Value;

/// The configuration of a canary rollout.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// The steps, each with exactly one key.
    pub steps: Vec<StepConfig>,
    /// Analyses beside the steps.
    pub analysis: Option<Background>,
    /// How many instances there may be beyond the full number, where traffic follows the instances.
    pub max_surge: Amount,
    /// How many instances may be missing, where traffic follows the instances.
    pub max_unavailable: Amount,
    /// Whether the stable revision shrinks while the weight rises.
    pub dynamic_stable_scale: bool,
    /// The least instances of the candidate while it has traffic.
    pub min_replicas: u32,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            steps: Vec::new(),
            analysis: None,
            max_surge: Amount::Percent(25),
            max_unavailable: Amount::Percent(25),
            dynamic_stable_scale: false,
            min_replicas: 1,
        }
    }
}

/// One step as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct StepConfig {
    set_weight: Option<f64>,
    pause: Option<PauseConfig>,
    set_canary_scale: Option<ScaleConfig>,
    analysis: Option<Analysis>,
    // Known to the field and recognised here, so that a file that has them is told so instead of "unknown key".
    set_header_route: Option<Value>,
    set_mirror_route: Option<Value>,
    experiment: Option<Value>,
    replica_progress_threshold: Option<Value>,
    plugin: Option<Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct PauseConfig {
    duration: Option<HumanDuration>,
    timeout: Option<HumanDuration>,
    on_timeout: Option<OnTimeoutConfig>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum OnTimeoutConfig {
    Abort,
    Continue,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ScaleConfig {
    replicas: Option<u32>,
    weight: Option<f64>,
    match_traffic_weight: Option<bool>,
}

/// Analyses beside the steps.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Background {
    /// Names of analyses in the deployment file.
    pub templates: Vec<String>,
    /// The step before which they begin, from 0.
    #[serde(default)]
    pub starting_step: usize,
}

/// One step as it is meant.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// The candidate's share of traffic.
    SetWeight(Weight),
    /// Wait.
    Pause(Duration),
    /// Wait for a human.
    Await {
        /// How long; none waits without end.
        timeout: Option<Duration>,
        /// What happens then.
        on_timeout: OnTimeout,
    },
    /// The candidate's size, apart from its traffic.
    SetCanaryScale(CanaryScale),
    /// Analyses, to their end.
    Analysis(Vec<String>),
}

/// The candidate's size, apart from its traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CanaryScale {
    /// So many instances.
    Replicas(u32),
    /// This share of the full number.
    Weight(Weight),
    /// As many as its share of traffic needs.
    MatchTrafficWeight,
}

impl CanaryScale {
    /// How many instances, when the traffic alone needs `matching`.
    pub fn count(self, replicas: u32, matching: u32) -> u32 {
        match self {
            CanaryScale::Replicas(count) => count,
            CanaryScale::Weight(weight) => weight.replicas_up(replicas),
            CanaryScale::MatchTrafficWeight => matching,
        }
    }
}

/// Names the keys of a step that are there.
macro_rules! keys {
    ($step:expr; $($field:ident $name:literal),* $(,)?) => {
        [$($step.$field.is_some().then_some($name)),*].into_iter().flatten().collect::<Vec<&str>>()
    };
}

impl StepConfig {
    /// What the step means.
    ///
    /// # Errors
    /// What is wrong with it: the path below the step, and the message.
    pub fn read(&self) -> Result<Step, (String, String)> {
        let wrong = |path: &str, message: String| Err((path.to_owned(), message));
        let keys = keys!(self;
            set_weight "setWeight",
            pause "pause",
            set_canary_scale "setCanaryScale",
            analysis "analysis",
            set_header_route "setHeaderRoute",
            set_mirror_route "setMirrorRoute",
            experiment "experiment",
            replica_progress_threshold "replicaProgressThreshold",
            plugin "plugin",
        );
        let key = match keys.as_slice() {
            [key] => *key,
            [] => return wrong("", format!("a step is exactly one of {SUPPORTED}; this one is empty")),
            several => {
                let several = several.join(", ");
                return wrong("", format!("a step is exactly one of {SUPPORTED}; this one has {several}: split it"));
            }
        };
        if let Some(percent) = self.set_weight {
            return percentage(percent).map(Step::SetWeight).map_err(|message| ("/setWeight".into(), message));
        }
        if let Some(pause) = &self.pause {
            return pause.read().map_err(|message| ("/pause".into(), message));
        }
        if let Some(scale) = &self.set_canary_scale {
            return scale.read().map(Step::SetCanaryScale).map_err(|message| ("/setCanaryScale".into(), message));
        }
        if let Some(analysis) = &self.analysis {
            return Ok(Step::Analysis(analysis.templates.clone()));
        }
        wrong(&format!("/{key}"), format!("`{key}` is not supported by this version; supported: {SUPPORTED}"))
    }
}

const SUPPORTED: &str = "`setWeight`, `pause`, `setCanaryScale`, `analysis`";

impl PauseConfig {
    fn read(&self) -> Result<Step, String> {
        match (self.duration, self.timeout, self.on_timeout) {
            (Some(duration), None, None) => Ok(Step::Pause(duration.0)),
            (Some(_), _, _) => {
                Err("a pause with `duration` ends by itself: remove `timeout` and `onTimeout`, or `duration`".into())
            }
            (None, None, Some(_)) => Err("`onTimeout` needs a `timeout`, such as `timeout: 30m`".into()),
            (None, timeout, on_timeout) => Ok(Step::Await {
                timeout: timeout.map(|timeout| timeout.0),
                on_timeout: match on_timeout {
                    Some(OnTimeoutConfig::Continue) => OnTimeout::Promote,
                    Some(OnTimeoutConfig::Abort) | None => OnTimeout::Abort,
                },
            }),
        }
    }
}

impl ScaleConfig {
    fn read(&self) -> Result<CanaryScale, String> {
        match (self.replicas, self.weight, self.match_traffic_weight) {
            (Some(replicas), None, None) => Ok(CanaryScale::Replicas(replicas)),
            (None, Some(percent), None) => percentage(percent).map(CanaryScale::Weight),
            (None, None, Some(true)) => Ok(CanaryScale::MatchTrafficWeight),
            (None, None, Some(false)) => {
                Err("`matchTrafficWeight: false` says nothing: write `replicas` or `weight`".into())
            }
            _ => Err("exactly one of `replicas`, `weight`, `matchTrafficWeight: true`".into()),
        }
    }
}

/// A percentage in tenths: finer ones would be lost on the way to a provider.
fn percentage(percent: f64) -> Result<Weight, String> {
    let weight = Weight::from_percent(percent).ok_or_else(|| format!("{percent} is not between 0 and 100"))?;
    // Compared as a number: 33.3 is no exact binary fraction.
    if (weight.percent() - percent).abs() > 1e-9 || weight.hundredths() % 10 != 0 {
        return Err(format!("{percent} is finer than a tenth of a percent: write one decimal at the most"));
    }
    Ok(weight)
}

/// Everything that is wrong with a configuration for this service.
pub fn validate(config: &Config, service: &ServiceView) -> Vec<Problem> {
    let mut problems = service.check_replicas();
    let splits = service.can("split-traffic");
    if config.max_surge.is_zero() && config.max_unavailable.is_zero() {
        let message = "`maxSurge` and `maxUnavailable` are both 0: nothing could ever be replaced";
        problems.push(Problem::error("/maxSurge", message));
    }
    if config.min_replicas == 0 {
        problems.push(Problem::error("/minReplicas", "at least 1: traffic needs an instance"));
    } else if config.min_replicas > service.replicas.max(1) {
        let message = format!("more than the service has in full ({}), which is used instead", service.replicas);
        problems.push(Problem::warning("/minReplicas", message));
    }
    if config.dynamic_stable_scale && !splits {
        let message = "needs a provider that can `split-traffic`: without it traffic follows the instances anyway";
        problems.push(Problem::error("/dynamicStableScale", message));
    }
    if config.steps.is_empty() {
        problems.push(Problem::warning("/steps", "no steps: the candidate gets all of the traffic at once"));
    }
    if let Some(background) = &config.analysis {
        problems.extend(service.check_analyses(&background.templates, "/analysis/templates"));
        if background.starting_step >= config.steps.len().max(1) {
            let message =
                format!("there are {} steps, counted from 0: the analysis would never begin", config.steps.len());
            problems.push(Problem::error("/analysis/startingStep", message));
        }
    }
    check_steps(config, service, &mut problems);
    problems
}

fn check_steps(config: &Config, service: &ServiceView, problems: &mut Vec<Problem>) {
    let splits = service.can("split-traffic");
    let mut weight = Weight::ZERO;
    let mut scale: Option<(usize, CanaryScale)> = None;
    for (at, step) in config.steps.iter().enumerate() {
        let path = format!("/steps/{at}");
        let step = match step.read() {
            Ok(step) => step,
            Err((below, message)) => {
                problems.push(Problem::error(format!("{path}{below}"), message));
                continue;
            }
        };
        match step {
            Step::SetWeight(next) => {
                let path = format!("{path}/setWeight");
                if next < weight {
                    let message = format!("goes down from {weight} to {next}: meant?");
                    problems.push(Problem::warning(path.clone(), message));
                }
                let grain = service.weight_granularity;
                if splits && grain > Weight::ZERO && next.hundredths() % grain.hundredths() != 0 {
                    let message = format!("the provider moves traffic in steps of {grain}, and {next} is none of them");
                    problems.push(Problem::error(path.clone(), message));
                }
                weight = next;
                check_capacity(scale, weight, at, service.replicas, problems);
            }
            Step::SetCanaryScale(next) => {
                if !splits {
                    let message = "needs a provider that can `split-traffic`: here traffic follows the instances";
                    problems.push(Problem::error(format!("{path}/setCanaryScale"), message));
                }
                scale = Some((at, next));
                check_capacity(scale, weight, at, service.replicas, problems);
            }
            Step::Analysis(names) => {
                problems.extend(service.check_analyses(&names, &format!("{path}/analysis/templates")));
            }
            Step::Pause(_) | Step::Await { .. } => {}
        }
    }
}

/// A candidate that is smaller than its share of traffic gets more than its instances can bear.
fn check_capacity(
    scale: Option<(usize, CanaryScale)>,
    weight: Weight,
    at: usize,
    replicas: u32,
    problems: &mut Vec<Problem>,
) {
    let Some((set_at, scale)) = scale else { return };
    let needed = weight.replicas_up(replicas);
    let count = scale.count(replicas, needed);
    if count < needed {
        let message = format!(
            "step {} leaves the candidate at {count} of {replicas} instances, and step {} gives it {weight} of the \
             traffic, which needs {needed}: raise the scale, or set `matchTrafficWeight: true` before",
            set_at + 1,
            at + 1
        );
        problems.push(Problem::error(format!("/steps/{set_at}/setCanaryScale"), message));
    }
}
