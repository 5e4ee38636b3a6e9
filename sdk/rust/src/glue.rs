//! From the canonical ABI's types to the traits' and back. Reached only through the export macro.

use std::marker::PhantomData;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::bindings::host::basb::host::types as wire;
use crate::context::Context;
use crate::failure::Failure;
use crate::values::{Problem, Timestamp, Weight, millis};
use crate::{generator, judge, notifier, panic, probe, provider, strategy};

/// Stands for the plugin's type on the generated side.
#[derive(Debug)]
pub struct Exported<T>(PhantomData<T>);

// As bytes, here and for responses: one JSON parser in the component and not two.
fn config<C: DeserializeOwned>(json: &str) -> Result<C, Failure> {
    serde_json::from_slice(json.as_bytes())
        .map_err(|error| Failure::invalid(format!("the configuration does not fit: {error}")))
}

/// The pure worlds export `types` where the others import it, and therefore have their own copy of what is in it.
mod pure_types {
    use crate::bindings::pure::exports::basb::host::types as pure;
    use crate::values::millis;
    use crate::{Failure, FailureCode, Problem, Retry, Severity, Verdict};

    impl From<Failure> for pure::Failure {
        fn from(failure: Failure) -> pure::Failure {
            pure::Failure {
                code: match failure.code {
                    FailureCode::Invalid => pure::FailureCode::Invalid,
                    FailureCode::Denied => pure::FailureCode::Denied,
                    FailureCode::NotFound => pure::FailureCode::NotFound,
                    FailureCode::Conflict => pure::FailureCode::Conflict,
                    FailureCode::Throttled => pure::FailureCode::Throttled,
                    FailureCode::Unavailable => pure::FailureCode::Unavailable,
                    FailureCode::TimedOut => pure::FailureCode::TimedOut,
                    FailureCode::Unhealthy => pure::FailureCode::Unhealthy,
                    FailureCode::Other => pure::FailureCode::Other,
                },
                message: failure.message,
                retry: match failure.retry {
                    Retry::Never => pure::Retry::Never,
                    Retry::After(after) => pure::Retry::After(millis(after)),
                },
                path: failure.path,
                extras: failure.extras,
            }
        }
    }

    impl From<Verdict> for pure::Verdict {
        fn from(verdict: Verdict) -> pure::Verdict {
            match verdict {
                Verdict::Pass => pure::Verdict::Pass,
                Verdict::Fail => pure::Verdict::Fail,
                Verdict::Inconclusive => pure::Verdict::Inconclusive,
                Verdict::Error => pure::Verdict::Error,
                Verdict::NoData => pure::Verdict::NoData,
            }
        }
    }

    impl From<pure::Verdict> for Verdict {
        fn from(verdict: pure::Verdict) -> Verdict {
            match verdict {
                pure::Verdict::Pass => Verdict::Pass,
                pure::Verdict::Fail => Verdict::Fail,
                pure::Verdict::Inconclusive => Verdict::Inconclusive,
                pure::Verdict::Error => Verdict::Error,
                pure::Verdict::NoData => Verdict::NoData,
            }
        }
    }

    impl From<Problem> for pure::Problem {
        fn from(problem: Problem) -> pure::Problem {
            pure::Problem {
                path: problem.path,
                message: problem.message,
                severity: match problem.severity {
                    Severity::Info => pure::Severity::Info,
                    Severity::Warning => pure::Severity::Warning,
                    Severity::Error => pure::Severity::Error,
                },
            }
        }
    }
}

mod probe_world {
    use super::{Context, Exported, config, panic, probe, wire};
    use crate::bindings::probe::exports::basb::host::probe as out;

    impl<T: probe::Probe> out::Guest for Exported<T> {
        fn describe() -> out::Info {
            panic::install();
            T::describe()
        }

        fn check(cx: wire::CallContext, target: out::Target) -> out::Measurement {
            panic::install();
            let (cx, json) = Context::live(cx);
            config(&json).and_then(|config| T::check(&cx, &config, &target)).unwrap_or_else(Into::into)
        }
    }
}

mod notifier_world {
    use super::{Context, Exported, config, notifier, panic, wire};
    use crate::bindings::notifier::exports::basb::host::notifier as out;

    impl<T: notifier::Notifier> out::Guest for Exported<T> {
        fn describe() -> out::Info {
            panic::install();
            T::describe()
        }

        fn notify(cx: wire::CallContext, event: out::Event) -> Result<out::Receipt, wire::Failure> {
            panic::install();
            let (cx, json) = Context::live(cx);
            Ok(config(&json).and_then(|config| T::notify(&cx, &config, &event.into()))?)
        }
    }
}

mod generator_world {
    use super::{Exported, Failure, config, generator, panic};
    use crate::bindings::pure::exports::basb::host::{generator as out, types as wire};

    impl<T: generator::Generator> out::Guest for Exported<T> {
        fn describe() -> out::Info {
            panic::install();
            T::describe()
        }

        fn generate(json: String, model: String) -> Result<Vec<out::Document>, wire::Failure> {
            panic::install();
            let rendered = serde_json::from_slice(model.as_bytes())
                .map_err(|error| Failure::invalid(format!("the model is not JSON: {error}")))
                .and_then(|model| T::generate(&config(&json)?, &model));
            Ok(rendered?)
        }
    }
}

mod judge_world {
    use super::{Exported, config, judge, panic};
    use crate::bindings::pure::exports::basb::host::{judge as out, types as wire};

    impl<T: judge::Judge> out::Guest for Exported<T> {
        fn judge(json: String, series: Vec<out::Series>) -> Result<out::Judgement, wire::Failure> {
            panic::install();
            let series: Vec<judge::Series> = series.into_iter().map(Into::into).collect();
            let judgement = config(&json).and_then(|config| T::judge(&config, &series))?;
            Ok(judgement.into())
        }
    }

    impl From<out::Series> for judge::Series {
        fn from(series: out::Series) -> judge::Series {
            judge::Series {
                metric: series.metric,
                baseline: series.baseline,
                candidate: series.candidate,
                extras: series.extras,
            }
        }
    }

    impl From<judge::Judgement> for out::Judgement {
        fn from(judgement: judge::Judgement) -> out::Judgement {
            out::Judgement {
                verdict: judgement.verdict.into(),
                score: judgement.score,
                metrics: judgement
                    .metrics
                    .into_iter()
                    .map(|metric| out::MetricJudgement {
                        metric: metric.metric,
                        verdict: metric.verdict.into(),
                        reason: metric.reason,
                    })
                    .collect(),
            }
        }
    }
}

mod strategy_world {
    use super::{Duration, Exported, Failure, Problem, Timestamp, Weight, config, millis, panic, strategy};
    use crate::bindings::pure::exports::basb::host::{strategy as out, types as wire};

    impl<T: strategy::Strategy> out::Guest for Exported<T> {
        fn validate(json: String, service: out::ServiceView) -> Vec<wire::Problem> {
            panic::install();
            let problems = match config(&json) {
                Ok(config) => T::validate(&config, &service.into()),
                Err(failure) => vec![Problem::error("", failure.message)],
            };
            problems.into_iter().map(Into::into).collect()
        }

        fn preview(json: String, service: out::ServiceView) -> Result<Vec<out::StepPreview>, wire::Failure> {
            panic::install();
            let steps = config(&json).and_then(|config| T::preview(&config, &service.into()))?;
            Ok(steps.into_iter().map(Into::into).collect())
        }

        fn next(json: String, view: out::RolloutView, state: Option<String>) -> Result<out::Decision, wire::Failure> {
            panic::install();
            Ok(decide::<T>(&json, view, state)?)
        }
    }

    fn decide<T: strategy::Strategy>(
        json: &str,
        view: out::RolloutView,
        state: Option<String>,
    ) -> Result<out::Decision, Failure> {
        let state =
            match state {
                Some(text) => Some(serde_json::from_slice(text.as_bytes()).map_err(|error| {
                    Failure::invalid(format!("the remembered state is not this strategy's: {error}"))
                })?),
                None => None,
            };
        let decision = T::next(&config(json)?, &view.into(), state)?;
        let state = serde_json::to_string(&decision.state)
            .map_err(|error| Failure::other(format!("the state cannot be written as JSON: {error}")))?;
        Ok(out::Decision { action: decision.action.into(), state, position: decision.position })
    }

    impl From<out::ServiceView> for strategy::ServiceView {
        fn from(view: out::ServiceView) -> strategy::ServiceView {
            strategy::ServiceView {
                name: view.name,
                replicas: view.replicas,
                abilities: view.abilities,
                weight_granularity: Weight::from_hundredths(view.weight_granularity),
                analyses: view.analyses,
                initial: view.initial,
            }
        }
    }

    impl From<out::Side> for strategy::Side {
        fn from(side: out::Side) -> strategy::Side {
            strategy::Side {
                revision: side.revision,
                desired: side.desired,
                available: side.available,
                weight: Weight::from_hundredths(side.weight),
            }
        }
    }

    impl From<out::RolloutView> for strategy::RolloutView {
        fn from(view: out::RolloutView) -> strategy::RolloutView {
            strategy::RolloutView {
                service: view.service.into(),
                now: Timestamp(view.now),
                candidate: view.candidate.into(),
                stable: view.stable.map(Into::into),
                last: match view.last {
                    out::LastOutcome::None => strategy::LastOutcome::None,
                    out::LastOutcome::Done => strategy::LastOutcome::Done,
                    out::LastOutcome::Judged(verdict) => strategy::LastOutcome::Judged(verdict.into()),
                    out::LastOutcome::Promoted => strategy::LastOutcome::Promoted,
                    out::LastOutcome::TimedOut => strategy::LastOutcome::TimedOut,
                },
                extras: view.extras,
            }
        }
    }

    impl From<strategy::Action> for out::Action {
        fn from(action: strategy::Action) -> out::Action {
            match action {
                strategy::Action::Scale(scaling) => out::Action::Scale(scaling),
                strategy::Action::SetWeight(weight) => out::Action::SetWeight(weight.hundredths()),
                strategy::Action::Analyse(names) => out::Action::Analyse(out::AnalysisRequest { names }),
                strategy::Action::Watch(names) => out::Action::Watch(out::AnalysisRequest { names }),
                strategy::Action::Pause(duration) => out::Action::Pause(millis(duration)),
                strategy::Action::AwaitPromotion(gate) => out::Action::AwaitPromotion(out::Gate {
                    reason: gate.reason,
                    timeout: gate.timeout.map(millis),
                    on_timeout: gate.on_timeout,
                }),
                strategy::Action::Promote => out::Action::Promote,
                strategy::Action::Abort(reason) => out::Action::Abort(reason),
            }
        }
    }

    impl From<strategy::StepPreview> for out::StepPreview {
        fn from(step: strategy::StepPreview) -> out::StepPreview {
            out::StepPreview {
                summary: step.summary,
                weight: step.weight.map(Weight::hundredths),
                achieved: step.achieved.map(Weight::hundredths),
                duration: step.duration.map(|duration: Duration| millis(duration)),
            }
        }
    }
}

mod provider_world {
    use super::{Context, Duration, Exported, Failure, Weight, config, millis, panic, provider, wire};
    use crate::bindings::provider::exports::basb::host::provider as out;

    fn progress(result: Result<provider::Progress, Failure>) -> out::Progress {
        match result {
            Ok(provider::Progress::Done(outcome)) => out::Progress::Done(outcome),
            Ok(provider::Progress::Running(pending)) => out::Progress::Running(out::Pending {
                state: pending.state,
                poll_after: millis(pending.poll_after),
                note: pending.note,
            }),
            Err(failure) => out::Progress::Failed(failure.into()),
        }
    }

    impl<T: provider::Provider> out::Guest for Exported<T> {
        fn describe() -> out::Info {
            panic::install();
            let info = T::describe();
            out::Info {
                abilities: info.abilities,
                weight_granularity: info.weight_granularity.hundredths(),
                extras: info.extras,
            }
        }

        fn plan(cx: wire::CallContext, desired: out::Desired) -> Result<out::ServicePlan, wire::Failure> {
            panic::install();
            let (cx, json) = Context::live(cx);
            let plan = T::plan(&cx, &config(&json)?, &desired.into())?;
            Ok(out::ServicePlan { observed: plan.observed.map(Into::into), actions: plan.actions })
        }

        fn apply(cx: wire::CallContext, key: String, action: out::Action, state: Option<String>) -> out::Progress {
            panic::install();
            let (cx, json) = Context::live(cx);
            let action = match action {
                out::Action::Deploy(desired) => provider::Action::Deploy(Box::new(desired.into())),
                out::Action::Scale(scaling) => provider::Action::Scale(scaling),
            };
            progress(config(&json).and_then(|config| T::apply(&cx, &config, &key, &action, state.as_deref())))
        }

        fn read(cx: wire::CallContext, service: wire::ServiceRef) -> Result<Option<out::Observed>, wire::Failure> {
            panic::install();
            let (cx, json) = Context::live(cx);
            Ok(T::read(&cx, &config(&json)?, &service)?.map(Into::into))
        }

        fn traffic(
            cx: wire::CallContext,
            key: String,
            service: wire::ServiceRef,
            weights: Vec<(String, u16)>,
            state: Option<String>,
        ) -> out::Progress {
            panic::install();
            let (cx, json) = Context::live(cx);
            let weights: Vec<_> =
                weights.into_iter().map(|(revision, weight)| (revision, Weight::from_hundredths(weight))).collect();
            progress(
                config(&json).and_then(|config| T::traffic(&cx, &config, &key, &service, &weights, state.as_deref())),
            )
        }

        fn instances(
            cx: wire::CallContext,
            service: wire::ServiceRef,
            revision: String,
        ) -> Result<out::InstanceReport, wire::Failure> {
            panic::install();
            let (cx, json) = Context::live(cx);
            Ok(T::instances(&cx, &config(&json)?, &service, &revision)?)
        }

        fn retire(
            cx: wire::CallContext,
            key: String,
            service: wire::ServiceRef,
            revision: String,
            state: Option<String>,
        ) -> out::Progress {
            panic::install();
            let (cx, json) = Context::live(cx);
            progress(
                config(&json).and_then(|config| T::retire(&cx, &config, &key, &service, &revision, state.as_deref())),
            )
        }

        fn cancel(cx: wire::CallContext, key: String, state: String) -> out::Progress {
            panic::install();
            let (cx, json) = Context::live(cx);
            progress(config(&json).and_then(|config| T::cancel(&cx, &config, &key, &state)))
        }
    }

    impl From<out::Desired> for provider::Desired {
        fn from(desired: out::Desired) -> provider::Desired {
            let workload = desired.workload;
            provider::Desired {
                service: desired.service,
                listen: desired.listen,
                revision: desired.revision,
                workload: provider::Workload {
                    command: workload.command,
                    image: workload.image,
                    working_folder: workload.working_folder,
                    env: workload.env,
                    ready: workload.ready,
                    min_ready: Duration::from_millis(workload.min_ready),
                    stop_grace: Duration::from_millis(workload.stop_grace),
                    memory_limit: workload.memory_limit,
                    settings: workload.settings,
                },
                replicas: desired.replicas,
            }
        }
    }

    impl From<provider::Observed> for out::Observed {
        fn from(observed: provider::Observed) -> out::Observed {
            out::Observed {
                url: observed.url,
                revisions: observed
                    .revisions
                    .into_iter()
                    .map(|revision| out::ObservedRevision {
                        id: revision.id,
                        desired: revision.desired,
                        available: revision.available,
                        weight: revision.weight.hundredths(),
                        preview_url: revision.preview_url,
                        workload_digest: revision.workload_digest,
                        extras: revision.extras,
                    })
                    .collect(),
                version: observed.version,
                extras: observed.extras,
            }
        }
    }
}
