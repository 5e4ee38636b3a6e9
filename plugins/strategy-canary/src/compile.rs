//! From the configuration to a script and its preview.

use basb_plugin::strategy::{Action, Gate, Scaling, ServiceView, StepPreview};
use basb_plugin::{Failure, Weight, config::HumanDuration, script::Script};

use crate::config::{CanaryScale, Config, Step};
use crate::replicas;

/// A script, and what its steps look like in a plan.
#[derive(Debug, Default)]
pub struct Compiled {
    /// What to do.
    pub script: Script,
    /// What a person sees of it.
    pub preview: Vec<StepPreview>,
}

/// Compiles.
///
/// # Errors
/// [`basb_plugin::FailureCode::Invalid`] where a step is none; the validation has said so with more words.
pub fn compile(config: &Config, service: &ServiceView) -> Result<Compiled, Failure> {
    if service.initial {
        return Ok(initial(service));
    }
    let mut steps = Vec::new();
    for (at, step) in config.steps.iter().enumerate() {
        let step = step.read().map_err(|(path, message)| {
            Failure::invalid(format!("step {}: {message}", at + 1)).at(format!("/steps/{at}{path}"))
        })?;
        steps.push(step);
    }
    let mut compiler = Compiler::new(config, service);
    for step in &steps {
        compiler.step(step);
    }
    compiler.finish();
    Ok(compiler.compiled)
}

/// There is nothing to compare with and nobody to protect: steps are skipped.
fn initial(service: &ServiceView) -> Compiled {
    let replicas = service.replicas.max(1);
    let mut compiled = Compiled::default();
    compiled.script.push(1, "first revision", Action::Scale(Scaling { candidate: Some(replicas), stable: None }));
    compiled.script.push_weight(1, "first revision", Weight::FULL, replicas);
    compiled.script.push(1, "promote", Action::Promote);
    compiled.preview.push(
        StepPreview::new(format!("first revision: {} and all of the traffic at once, without steps", many(replicas)))
            .weight(Weight::FULL),
    );
    compiled
}

struct Compiler<'a> {
    config: &'a Config,
    service: &'a ServiceView,
    compiled: Compiled,
    step: u32,
    replicas: u32,
    /// What the script has brought about so far.
    weight: Weight,
    candidate: u32,
    stable: u32,
    scale: CanaryScale,
}

impl<'a> Compiler<'a> {
    fn new(config: &'a Config, service: &'a ServiceView) -> Compiler<'a> {
        let replicas = service.replicas.max(1);
        Compiler {
            config,
            service,
            compiled: Compiled::default(),
            step: 0,
            replicas,
            weight: Weight::ZERO,
            candidate: 0,
            stable: replicas,
            scale: CanaryScale::MatchTrafficWeight,
        }
    }

    fn step(&mut self, step: &Step) {
        self.watch();
        self.step += 1;
        match step {
            Step::SetWeight(weight) => {
                let achieved = self.set_weight(*weight);
                let size = format!("{} of {}", self.candidate, many(self.replicas));
                let shown = if achieved == *weight {
                    format!("{weight} of the traffic to the candidate ({size})")
                } else {
                    format!("{weight} of the traffic to the candidate, as near as instances allow: {achieved} ({size})")
                };
                let mut preview = StepPreview::new(shown).weight(*weight);
                preview.achieved = (achieved != *weight).then_some(achieved);
                self.compiled.preview.push(preview);
            }
            Step::Pause(duration) => {
                let shown = HumanDuration(*duration);
                self.push(&format!("pause {shown}"), Action::Pause(*duration));
                self.compiled.preview.push(StepPreview::new(format!("wait {shown}")).duration(*duration));
            }
            Step::Await { timeout, on_timeout } => {
                let gate = Gate {
                    reason: format!("go on beyond {}?", self.weight),
                    timeout: *timeout,
                    on_timeout: *on_timeout,
                };
                self.push("wait for promote", Action::AwaitPromotion(gate));
                let shown = match timeout {
                    None => "wait until somebody promotes".to_owned(),
                    Some(timeout) => {
                        let then = match on_timeout {
                            basb_plugin::strategy::OnTimeout::Abort => "abort",
                            basb_plugin::strategy::OnTimeout::Promote => "go on",
                        };
                        format!("wait until somebody promotes, and {then} after {}", HumanDuration(*timeout))
                    }
                };
                self.compiled.preview.push(StepPreview::new(shown));
            }
            Step::SetCanaryScale(scale) => {
                self.scale = *scale;
                let count = self.wanted(self.weight);
                self.scale_candidate(count);
                let follows = if *scale == CanaryScale::MatchTrafficWeight { ", as its traffic needs" } else { "" };
                let shown = format!("{} of the candidate{follows}", many(count));
                self.compiled.preview.push(StepPreview::new(shown));
            }
            Step::Analysis(names) => {
                self.push("analysis", Action::Analyse(names.clone()));
                self.compiled.preview.push(StepPreview::new(format!("analysis {}", names.join(", "))));
            }
        }
    }

    fn finish(&mut self) {
        self.watch();
        self.step += 1;
        self.scale = CanaryScale::Replicas(self.replicas);
        self.set_weight(Weight::FULL);
        self.push("promote", Action::Promote);
        let shown = format!("all of the traffic to the candidate ({}), then promote", many(self.replicas));
        self.compiled.preview.push(StepPreview::new(shown).weight(Weight::FULL));
    }

    /// Begins the analyses beside the steps where they are to begin.
    fn watch(&mut self) {
        let Some(background) = &self.config.analysis else { return };
        if u32::try_from(background.starting_step) == Ok(self.step) && !self.is_watching() {
            let watch = Action::Watch(background.templates.clone());
            self.compiled.script.push(self.step + 1, "analysis beside the steps", watch);
        }
    }

    fn is_watching(&self) -> bool {
        self.compiled.script.stages().iter().any(|stage| matches!(stage.action, Action::Watch(_)))
    }

    /// Moves the traffic, with the instances before it where it rises, and after it where it falls.
    fn set_weight(&mut self, weight: Weight) -> Weight {
        if !self.service.can("split-traffic") {
            return self.share_by_replicas(weight);
        }
        let label = format!("{weight} of the traffic");
        let (candidate, stable) = (self.wanted(weight), self.stable_for(weight));
        self.scale_candidate(candidate.max(self.candidate));
        self.scale_stable(stable.max(self.stable));
        if weight != self.weight {
            self.compiled.script.push_weight(self.step, &label, weight, candidate);
            self.weight = weight;
        }
        self.scale_candidate(candidate);
        self.scale_stable(stable);
        weight
    }

    /// How many instances the candidate should have for this weight.
    fn wanted(&self, weight: Weight) -> u32 {
        let floor = if weight == Weight::ZERO { 0 } else { self.config.min_replicas.min(self.replicas) };
        let matching = weight.replicas_up(self.replicas).max(floor);
        self.scale.count(self.replicas, matching)
    }

    fn stable_for(&self, weight: Weight) -> u32 {
        // At the end the stable revision is whole until the candidate's promotion: there is nothing left to save.
        if self.config.dynamic_stable_scale && weight != Weight::FULL {
            weight.rest().replicas_up(self.replicas).max(self.config.min_replicas.min(self.replicas))
        } else if self.config.dynamic_stable_scale {
            self.stable
        } else {
            self.replicas
        }
    }

    fn share_by_replicas(&mut self, weight: Weight) -> Weight {
        let surge = self.config.max_surge.of_rounded_up(self.replicas);
        let missing = self.config.max_unavailable.of_rounded_down(self.replicas);
        // A share of a small service may round both down to nothing, which could never move.
        let surge = if surge == 0 && missing == 0 { 1 } else { surge };
        let (candidate, stable) = replicas::nearest(self.replicas, weight, surge);
        let (most, least) = (self.replicas + surge, self.replicas.saturating_sub(missing));
        while (self.candidate, self.stable) != (candidate, stable) {
            let before = (self.candidate, self.stable);
            let room = most.saturating_sub(self.candidate + self.stable);
            self.scale_candidate(self.candidate.max(candidate.min(self.candidate + room)));
            let room = most.saturating_sub(self.candidate + self.stable);
            self.scale_stable(self.stable.max(stable.min(self.stable + room)));
            let spare = (self.candidate + self.stable).saturating_sub(least);
            self.scale_stable(self.stable.min(stable.max(self.stable.saturating_sub(spare))));
            let spare = (self.candidate + self.stable).saturating_sub(least);
            self.scale_candidate(self.candidate.min(candidate.max(self.candidate.saturating_sub(spare))));
            if (self.candidate, self.stable) == before {
                break;
            }
        }
        let achieved = Weight::share(self.candidate, self.stable, Weight::from_hundredths(1));
        if achieved != self.weight {
            // The host verifies what the instances have made of it.
            self.compiled.script.push_weight(
                self.step,
                &format!("{achieved} of the traffic"),
                achieved,
                self.candidate,
            );
            self.weight = achieved;
        }
        achieved
    }

    fn scale_candidate(&mut self, count: u32) {
        if count != self.candidate {
            let scaling = Scaling { candidate: Some(count), stable: None };
            self.push(&format!("{} of the candidate", many(count)), Action::Scale(scaling));
            self.candidate = count;
        }
    }

    fn scale_stable(&mut self, count: u32) {
        if count != self.stable {
            let scaling = Scaling { candidate: None, stable: Some(count) };
            self.push(&format!("{} of the stable revision", many(count)), Action::Scale(scaling));
            self.stable = count;
        }
    }

    fn push(&mut self, label: &str, action: Action) {
        self.compiled.script.push(self.step.max(1), label, action);
    }
}

fn many(count: u32) -> String {
    if count == 1 { "1 instance".to_owned() } else { format!("{count} instances") }
}
