//! Between the core's words and those of the plugins' interface.

use crate::bounds;
use crate::courier::Payload;
use basb_core::analysis::Sample;
use basb_core::event::Severity;
use basb_core::model::{Deployment, Readiness, Workload};
use basb_core::run::{
    Action, Failure, Gate, Last, Observed, ObservedRevision, OnTimeout, Outcome, Position, RolloutView, Side,
};
use basb_core::{Millis, PluginName, RevisionId, ServiceName, Verdict, Weight};
use basb_runtime::wit::{notifier, probe, provider, strategy, types};
use std::collections::BTreeMap;

/// A service, as plugins know it.
pub fn service_ref(deployment: &Deployment, service: &ServiceName) -> types::ServiceRef {
    types::ServiceRef {
        deployment: deployment.name.to_string(),
        environment: deployment.environment.to_string(),
        service: service.to_string(),
    }
}

/// What there should be.
pub fn desired(
    deployment: &Deployment,
    service: &ServiceName,
    listen: Option<&str>,
    revision: &RevisionId,
    workload: &Workload,
    replicas: u32,
) -> provider::Desired {
    provider::Desired {
        service: service_ref(deployment, service),
        listen: listen.map(str::to_owned),
        revision: revision.to_string(),
        workload: provider::Workload {
            command: workload.command.clone(),
            image: workload.image.clone(),
            working_folder: workload.working_folder.clone(),
            env: workload.env.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            ready: match &workload.ready {
                Readiness::None => provider::Readiness::None,
                Readiness::Tcp => provider::Readiness::Tcp,
                Readiness::Http(path) => provider::Readiness::Http(path.clone()),
            },
            min_ready: workload.min_ready.0,
            stop_grace: workload.stop_grace.0,
            memory_limit: workload.memory_limit,
            settings: if workload.settings.is_null() { "{}".to_owned() } else { workload.settings.to_string() },
        },
        replicas,
    }
}

/// Why a plugin's call failed, in the core's words.
pub fn failure(failure: types::Failure) -> Failure {
    let code = match failure.code {
        types::FailureCode::Invalid => "invalid",
        types::FailureCode::Denied => "denied",
        types::FailureCode::NotFound => "not-found",
        types::FailureCode::Conflict => "conflict",
        types::FailureCode::Throttled => "throttled",
        types::FailureCode::Unavailable => "unavailable",
        types::FailureCode::TimedOut => "timed-out",
        types::FailureCode::Unhealthy => "unhealthy",
        types::FailureCode::Other => "other",
    };
    Failure {
        code: format!("plugin/{code}"),
        message: bounds::text(failure.message),
        retry_after: match failure.retry {
            types::Retry::Never => None,
            types::Retry::After(ms) => Some(Millis(ms)),
        },
    }
}

/// How far a mutating call has come.
pub fn progress(progress: provider::Progress) -> Outcome {
    match progress {
        provider::Progress::Done(done) => Outcome::Done { summary: bounds::text(done.summary) },
        provider::Progress::Running(pending) => match bounds::state(pending.state) {
            Ok(state) => Outcome::Running {
                state,
                note: bounds::text(pending.note),
                poll_after: bounds::poll(Millis(pending.poll_after)),
            },
            Err(failure) => Outcome::Failed { failure },
        },
        provider::Progress::Failed(why) => Outcome::Failed { failure: failure(why) },
    }
}

/// A weight from outside: one over 100 % is a provider's mistake and is taken for 100 %.
fn weight(hundredths: u16) -> Weight {
    Weight::new(hundredths).unwrap_or(Weight::FULL)
}

/// A service, as it is. Revisions whose id cannot be ours are left out: they are not for us to touch.
pub fn observed(observed: provider::Observed) -> Observed {
    let revisions = observed.revisions.into_iter().filter_map(|r| {
        Some(ObservedRevision {
            revision: RevisionId::new(r.id).ok()?,
            desired: r.desired,
            available: r.available,
            weight: weight(r.weight),
        })
    });
    Observed { url: observed.url, revisions: revisions.collect() }
}

fn verdict(verdict: types::Verdict) -> Verdict {
    match verdict {
        types::Verdict::Pass => Verdict::Pass,
        types::Verdict::Fail => Verdict::Fail,
        types::Verdict::Inconclusive => Verdict::Inconclusive,
        types::Verdict::Error => Verdict::Error,
        types::Verdict::NoData => Verdict::NoData,
    }
}

/// One measurement. Values that are no finite numbers cannot be written down, so they are no data.
pub fn sample(measurement: probe::Measurement) -> Sample {
    let summary = bounds::text(measurement.summary);
    if let Err(why) = bounds::measurement(&measurement.values, &measurement.facts) {
        let (values, facts) = (BTreeMap::new(), BTreeMap::new());
        return Sample { verdict: Verdict::Error, summary: format!("{why}: {summary}"), values, facts };
    }
    let broken = measurement.values.iter().find(|(_, v)| !v.is_finite()).map(|(name, _)| name.clone());
    let values: BTreeMap<String, f64> = measurement.values.into_iter().filter(|(_, v)| v.is_finite()).collect();
    let facts = measurement.facts.into_iter().collect();
    match broken {
        None => Sample { verdict: verdict(measurement.verdict), summary, values, facts },
        Some(name) => Sample {
            verdict: Verdict::NoData,
            summary: format!("`{}` is not a number: {summary}", bounds::line(&name)),
            values,
            facts,
        },
    }
}

fn side(side: Side) -> strategy::Side {
    strategy::Side {
        revision: side.revision.to_string(),
        desired: side.desired,
        available: side.available,
        weight: side.weight.hundredths(),
    }
}

/// What a strategy may know.
pub fn rollout_view(service: strategy::ServiceView, view: RolloutView) -> strategy::RolloutView {
    let wit_verdict = |v| match v {
        Verdict::Pass => types::Verdict::Pass,
        Verdict::Fail => types::Verdict::Fail,
        Verdict::Inconclusive => types::Verdict::Inconclusive,
        Verdict::Error => types::Verdict::Error,
        Verdict::NoData => types::Verdict::NoData,
    };
    strategy::RolloutView {
        service,
        now: view.now.0,
        candidate: side(view.candidate),
        stable: view.stable.map(side),
        last: match view.last {
            Last::None => strategy::LastOutcome::None,
            Last::Done => strategy::LastOutcome::Done,
            Last::Judged(v) => strategy::LastOutcome::Judged(wit_verdict(v)),
            Last::Promoted => strategy::LastOutcome::Promoted,
            Last::TimedOut => strategy::LastOutcome::TimedOut,
        },
        extras: Vec::new(),
    }
}

/// More analyses than this at once are not looked at: no deployment file has so many.
const MOST_ANALYSES: usize = 1000;

/// A strategy's decision. One that names what cannot be a name is a failure of the plugin.
pub fn decision(decision: strategy::Decision) -> Outcome {
    let names = |request: strategy::AnalysisRequest| -> Result<Vec<PluginName>, String> {
        request.names.into_iter().take(MOST_ANALYSES).map(|n| PluginName::new(n).map_err(|e| e.to_string())).collect()
    };
    let action = match decision.action {
        strategy::Action::Scale(s) => Ok(Action::Scale { candidate: s.candidate, stable: s.stable }),
        strategy::Action::SetWeight(w) => {
            Weight::new(w).map(|weight| Action::SetWeight { weight }).map_err(|e| e.to_string())
        }
        strategy::Action::Analyse(request) => names(request).map(|analyses| Action::Analyse { analyses }),
        strategy::Action::Watch(request) => names(request).map(|analyses| Action::Watch { analyses }),
        strategy::Action::Pause(ms) => Ok(Action::Pause { duration: Millis(ms) }),
        strategy::Action::AwaitPromotion(gate) => Ok(Action::AwaitPromotion {
            gate: Gate {
                reason: bounds::line(&gate.reason),
                timeout: gate.timeout.map(Millis),
                on_timeout: match gate.on_timeout {
                    strategy::OnTimeout::Abort => OnTimeout::Abort,
                    strategy::OnTimeout::Promote => OnTimeout::Promote,
                },
                quorum: None,
            },
        }),
        strategy::Action::Promote => Ok(Action::Promote),
        strategy::Action::Abort(reason) => Ok(Action::Abort { reason: bounds::text(reason) }),
    };
    let state = match bounds::state(decision.state) {
        Ok(state) => state,
        Err(failure) => return Outcome::Failed { failure },
    };
    match action {
        Ok(action) => Outcome::Decided {
            action,
            state,
            position: Position {
                step: decision.position.step,
                steps: decision.position.steps,
                label: bounds::line(&decision.position.label),
            },
        },
        Err(message) => Outcome::Failed {
            failure: Failure {
                code: "plugin/invalid".to_owned(),
                message: bounds::text(format!("the strategy's decision cannot be used: {message}")),
                retry_after: None,
            },
        },
    }
}

/// An event, as notifiers get it.
pub fn notifier_event(payload: &Payload) -> notifier::Event {
    let event = &payload.event;
    notifier::Event {
        key: event.key(),
        at: event.at.0,
        kind: event.body.kind().to_owned(),
        severity: match event.body.severity() {
            Severity::Info => types::Severity::Info,
            Severity::Warning => types::Severity::Warning,
            Severity::Error => types::Severity::Error,
        },
        deployment: payload.deployment.clone(),
        environment: payload.environment.clone(),
        run: event.run.to_string(),
        service: event.service.as_ref().map(ToString::to_string),
        revision: event.body.revision().map(ToString::to_string),
        title: event.body.title(),
        data: serde_json::to_string(event).unwrap_or_else(|_| "{}".to_owned()),
    }
}
