//! Events: the one model behind the terminal, the JSON stream, notifications and the audit, so that they cannot
//! disagree. An event is derived from the run's history and holds nothing that the journal does not.

use crate::run::{Phase, RunOutcome, ServiceOutcome};
use crate::{Digest, Millis, PluginName, RevisionId, RunId, ServiceName, Timestamp, Verdict, Weight};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the JSON form. Readers must ignore fields that they do not know.
pub const EVENT_VERSION: u32 = 1;

/// Something that happened in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// [`EVENT_VERSION`].
    pub version: u32,
    /// The journal entry it comes from.
    pub seq: u64,
    /// Which of the events of that entry it is.
    pub part: u32,
    /// When, in milliseconds since the Unix epoch.
    pub at: Timestamp,
    /// The run.
    pub run: RunId,
    /// The service, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// What happened.
    #[serde(flatten)]
    pub body: Body,
}

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth attention.
    Warning,
    /// Something failed.
    Error,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all_fields = "camelCase")]
pub enum Body {
    /// The run began.
    #[serde(rename = "run.started")]
    RunStarted {
        /// The deployment.
        deployment: ServiceName,
        /// The environment.
        environment: PluginName,
        /// The services, with the revision that each is to get.
        services: BTreeMap<ServiceName, RevisionId>,
        /// Every plugin that takes part, as `name version sha256:…`.
        plugins: BTreeMap<PluginName, String>,
    },
    /// An unfinished run goes on.
    #[serde(rename = "run.resumed")]
    RunResumed {},
    /// The run ended.
    #[serde(rename = "run.finished")]
    RunFinished {
        /// How.
        outcome: RunOutcome,
        /// What became of each service.
        services: BTreeMap<ServiceName, ServiceOutcome>,
        /// How long it took.
        took: Millis,
    },
    /// A service entered a phase.
    #[serde(rename = "phase.started")]
    PhaseStarted {
        /// Which.
        phase: Phase,
        /// The candidate.
        revision: RevisionId,
    },
    /// A probe measured, in readiness or verification.
    #[serde(rename = "probe.measured")]
    ProbeMeasured {
        /// Which probe.
        probe: PluginName,
        /// For which phase.
        phase: Phase,
        /// What it came to.
        verdict: Verdict,
        /// What was seen.
        summary: String,
    },
    /// A strategy decided.
    #[serde(rename = "step.started")]
    StepStarted {
        /// From 1.
        step: u32,
        /// How many there are.
        steps: u32,
        /// In a few words.
        label: String,
    },
    /// A revision has so many instances that can take traffic.
    #[serde(rename = "revision.available")]
    RevisionAvailable {
        /// Which revision.
        revision: RevisionId,
        /// How many can take traffic.
        available: u32,
        /// How many there should be.
        desired: u32,
    },
    /// Shares of traffic were set and verified.
    #[serde(rename = "traffic.shifted")]
    TrafficShifted {
        /// The verified shares.
        weights: BTreeMap<RevisionId, Weight>,
        /// The candidate's.
        candidate: Weight,
    },
    /// One measurement of an analysis.
    #[serde(rename = "metric.measured")]
    MetricMeasured {
        /// The analysis.
        analysis: PluginName,
        /// The metric.
        metric: PluginName,
        /// What it was judged to be.
        verdict: Verdict,
        /// Why.
        summary: String,
        /// The measured values.
        values: BTreeMap<String, f64>,
        /// How many measurements there are so far.
        taken: u32,
    },
    /// Analyses came to their verdict.
    #[serde(rename = "analysis.finished")]
    AnalysisFinished {
        /// Which.
        analyses: Vec<PluginName>,
        /// What they came to.
        verdict: Verdict,
        /// Why.
        reason: String,
    },
    /// A named stop for a human.
    #[serde(rename = "gate.opened")]
    GateOpened {
        /// What is to be decided.
        reason: String,
        /// Until when.
        until: Option<Timestamp>,
        /// How many people must agree, where anybody's promotion is not enough.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        needs: Option<u32>,
        /// The plan that they must agree to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        plan: Option<Digest>,
    },
    /// Somebody agreed at a gate.
    #[serde(rename = "gate.approved")]
    GateApproved {
        /// The gate.
        gate: String,
        /// Who agreed.
        by: String,
        /// How many have.
        have: u32,
        /// How many must.
        needed: u32,
        /// To which plan.
        plan: Digest,
        /// Who wrote it down.
        asked: String,
    },
    /// A gate let the rollout go on.
    #[serde(rename = "gate.passed")]
    GatePassed {
        /// By whom or what.
        by: String,
    },
    /// An operator cut a pause of the strategy short.
    #[serde(rename = "pause.ended")]
    PauseEnded {
        /// Who.
        by: String,
    },
    /// An operator asked that nothing new begins.
    #[serde(rename = "service.paused")]
    Paused {
        /// Who.
        by: String,
    },
    /// An operator let it go on.
    #[serde(rename = "service.resumed")]
    Resumed {
        /// Who.
        by: String,
        /// How long it was paused.
        after: Millis,
    },
    /// An operator had the rest of the steps skipped.
    #[serde(rename = "rollout.skipped")]
    RolloutSkipped {
        /// Who.
        by: String,
    },
    /// An operator had something tried at once that waited for its next attempt.
    #[serde(rename = "effect.hurried")]
    EffectHurried {
        /// What.
        effect: String,
        /// Who.
        by: String,
    },
    /// What an operator asked for came to nothing.
    #[serde(rename = "request.refused")]
    RequestRefused {
        /// What was asked for.
        verb: String,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// Every service of a group is there: all of them become stable.
    #[serde(rename = "group.promoted")]
    GroupPromoted {
        /// The group.
        group: PluginName,
        /// Its services.
        services: Vec<ServiceName>,
    },
    /// A service of a group failed: all of them go back.
    #[serde(rename = "group.failed")]
    GroupFailed {
        /// The group.
        group: PluginName,
        /// That service.
        because: ServiceName,
        /// What became of it.
        reason: String,
    },
    /// Something failed and will be tried again.
    #[serde(rename = "effect.retried")]
    EffectRetried {
        /// What.
        effect: String,
        /// What went wrong.
        message: String,
        /// The number of the next attempt.
        attempt: u32,
    },
    /// The candidate became stable.
    #[serde(rename = "service.promoted")]
    Promoted {
        /// The revision.
        revision: RevisionId,
        /// The one before.
        previous: Option<RevisionId>,
    },
    /// Nothing differs from what is there.
    #[serde(rename = "service.unchanged")]
    Unchanged {
        /// The revision.
        revision: RevisionId,
    },
    /// A revision that was stable before is brought back, without steps.
    #[serde(rename = "service.reverting")]
    Reverting {
        /// That revision.
        revision: RevisionId,
        /// The stable one that it takes the place of; none when nothing of that can take traffic.
        from: Option<RevisionId>,
    },
    /// The rollout was given up; traffic goes back.
    #[serde(rename = "service.aborted")]
    Aborted {
        /// The revision that was given up.
        revision: RevisionId,
        /// The one that traffic goes back to.
        target: Option<RevisionId>,
        /// Why.
        reason: String,
    },
    /// All traffic is back on the stable revision, and that was verified.
    #[serde(rename = "service.rolled-back")]
    RolledBack {
        /// The revision that has all traffic again.
        revision: Option<RevisionId>,
        /// How long after the abort.
        took: Millis,
        /// What could not be undone.
        not_undone: Vec<String>,
    },
    /// The way back failed: a human is needed.
    #[serde(rename = "service.rollback-failed")]
    RollbackFailed {
        /// Why.
        reason: String,
    },
    /// A service failed before anything was changed.
    #[serde(rename = "service.failed")]
    Failed {
        /// Why.
        reason: String,
    },
    /// A service was not started, because one that it depends on did not succeed.
    #[serde(rename = "service.skipped")]
    Skipped {
        /// That one.
        because: ServiceName,
    },
    /// A revision is gone.
    #[serde(rename = "revision.retired")]
    Retired {
        /// Which.
        revision: RevisionId,
    },
    /// What is there is not what the journal says.
    #[serde(rename = "drift.found")]
    DriftFound {
        /// What differs.
        message: String,
    },
    /// Something needs a human's attention.
    #[serde(rename = "incident.opened")]
    IncidentOpened {
        /// What happened.
        title: String,
        /// The revision it is about.
        revision: RevisionId,
    },
    /// Worth attention, without consequence for the run.
    #[serde(rename = "warning")]
    Warning {
        /// What.
        message: String,
    },
}

impl Event {
    /// The same for every delivery of the same event: what notifiers tell repeats by.
    #[must_use]
    pub fn key(&self) -> String {
        Digest::of(format!("{}/{}/{}", self.run, self.seq, self.part).as_bytes()).short().to_owned()
    }
}

/// The kinds of events: one list for what is written and what may be asked for.
macro_rules! kinds {
    ($($pattern:pat => $kind:literal,)*) => {
        /// Every kind.
        pub const KINDS: &[&str] = &[$($kind),*];

        /// The event's kind, as in its JSON form.
        #[must_use]
        pub fn kind(&self) -> &'static str {
            match self {
                $($pattern => $kind,)*
            }
        }
    };
}

impl Body {
    /// How much it matters.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::Failed { .. }
            | Self::RollbackFailed { .. }
            | Self::Aborted { .. }
            | Self::GroupFailed { .. }
            | Self::IncidentOpened { .. } => Severity::Error,
            Self::RunFinished { outcome, .. } if *outcome != RunOutcome::Done => Severity::Error,
            Self::AnalysisFinished { verdict, .. }
            | Self::ProbeMeasured { verdict, .. }
            | Self::MetricMeasured { verdict, .. }
                if !verdict.moves_forward() =>
            {
                Severity::Warning
            }
            Self::EffectRetried { .. }
            | Self::Skipped { .. }
            | Self::GateOpened { .. }
            | Self::Paused { .. }
            | Self::RolloutSkipped { .. }
            | Self::RequestRefused { .. }
            | Self::DriftFound { .. }
            | Self::Warning { .. }
            | Self::RolledBack { .. } => Severity::Warning,
            _ => Severity::Info,
        }
    }

    kinds! {
        Self::RunStarted { .. } => "run.started",
        Self::RunResumed {} => "run.resumed",
        Self::RunFinished { .. } => "run.finished",
        Self::PhaseStarted { .. } => "phase.started",
        Self::ProbeMeasured { .. } => "probe.measured",
        Self::StepStarted { .. } => "step.started",
        Self::RevisionAvailable { .. } => "revision.available",
        Self::TrafficShifted { .. } => "traffic.shifted",
        Self::MetricMeasured { .. } => "metric.measured",
        Self::AnalysisFinished { .. } => "analysis.finished",
        Self::GateOpened { .. } => "gate.opened",
        Self::GateApproved { .. } => "gate.approved",
        Self::GatePassed { .. } => "gate.passed",
        Self::PauseEnded { .. } => "pause.ended",
        Self::Paused { .. } => "service.paused",
        Self::Resumed { .. } => "service.resumed",
        Self::RolloutSkipped { .. } => "rollout.skipped",
        Self::EffectHurried { .. } => "effect.hurried",
        Self::RequestRefused { .. } => "request.refused",
        Self::GroupPromoted { .. } => "group.promoted",
        Self::GroupFailed { .. } => "group.failed",
        Self::EffectRetried { .. } => "effect.retried",
        Self::Promoted { .. } => "service.promoted",
        Self::Unchanged { .. } => "service.unchanged",
        Self::Reverting { .. } => "service.reverting",
        Self::Aborted { .. } => "service.aborted",
        Self::RolledBack { .. } => "service.rolled-back",
        Self::RollbackFailed { .. } => "service.rollback-failed",
        Self::Failed { .. } => "service.failed",
        Self::Skipped { .. } => "service.skipped",
        Self::Retired { .. } => "revision.retired",
        Self::DriftFound { .. } => "drift.found",
        Self::IncidentOpened { .. } => "incident.opened",
        Self::Warning { .. } => "warning",
    }

    /// The revision it is about, if it is about one.
    #[must_use]
    pub fn revision(&self) -> Option<&RevisionId> {
        match self {
            Self::PhaseStarted { revision, .. }
            | Self::RevisionAvailable { revision, .. }
            | Self::Promoted { revision, .. }
            | Self::Unchanged { revision }
            | Self::Reverting { revision, .. }
            | Self::Aborted { revision, .. }
            | Self::Retired { revision }
            | Self::IncidentOpened { revision, .. } => Some(revision),
            Self::RolledBack { revision, .. } => revision.as_ref(),
            _ => None,
        }
    }

    /// What happened, for a person: one line, and more where a text of a plugin in it has more.
    #[must_use]
    pub fn title(&self) -> String {
        match self {
            Self::RunStarted { deployment, environment, services, .. } => {
                let count = services.len();
                let services = if count == 1 { "service" } else { "services" };
                format!("deploying {deployment} to {environment}: {count} {services}")
            }
            Self::RunResumed {} => "going on where the run stopped".to_owned(),
            Self::RunFinished { outcome, took, .. } => format!("{} after {took}", outcome.sentence()),
            Self::PhaseStarted { phase, revision } => format!("{phase} {revision}"),
            Self::ProbeMeasured { probe, phase, verdict, summary } => {
                format!("{phase}: probe {probe}: {verdict}: {summary}")
            }
            Self::StepStarted { step, steps, label } => format!("step {step}/{steps}: {label}"),
            Self::RevisionAvailable { revision, available, desired } => {
                format!("{revision}: {available} of {desired} instances available")
            }
            Self::TrafficShifted { weights, .. } => {
                let shares: Vec<String> =
                    weights.iter().map(|(revision, weight)| format!("{revision} {weight}")).collect();
                if shares.is_empty() { "no traffic".to_owned() } else { format!("traffic {}", shares.join(", ")) }
            }
            Self::MetricMeasured { analysis, metric, verdict, summary, taken, .. } => {
                format!("analysis {analysis}: {metric} #{taken}: {verdict}: {summary}")
            }
            Self::AnalysisFinished { analyses, verdict, reason } => {
                let names: Vec<&str> = analyses.iter().map(PluginName::as_str).collect();
                format!("analysis {}: {verdict}: {reason}", names.join(", "))
            }
            Self::GateOpened { reason, until, needs, .. } => {
                let what = needs.map_or_else(|| "a promotion".to_owned(), approvals);
                match until {
                    Some(until) => format!("waiting for {what} until {until}: {reason}"),
                    None => format!("waiting for {what}: {reason}"),
                }
            }
            Self::GateApproved { gate, by, have, needed, plan, .. } => {
                format!("{by} approves plan {} at gate {gate}: {have} of {needed}", plan.short())
            }
            Self::PauseEnded { by } => format!("the pause ends early: {by} asked for it"),
            Self::Paused { by } => format!("paused by {by}: nothing new begins"),
            Self::Resumed { by, after } => format!("resumed by {by} after {after}"),
            Self::RolloutSkipped { by } => format!("{by} had the rest of the steps skipped"),
            Self::EffectHurried { effect, by } => format!("{effect}: tried now, {by} asked for it"),
            Self::RequestRefused { verb, by, reason } => format!("`{verb}` by {by} came to nothing: {reason}"),
            Self::GroupPromoted { group, services } => {
                format!("group {group} is complete: {} become stable together", names(services))
            }
            Self::GroupFailed { group, because, reason } => {
                format!("group {group} goes back as a whole: {because}: {reason}")
            }
            Self::GatePassed { by } => format!("gate passed: {by}"),
            Self::EffectRetried { effect, message, attempt } => {
                format!("{effect}: {message}; attempt {attempt} follows")
            }
            Self::Promoted { revision, previous } => match previous {
                Some(previous) => format!("{revision} is stable, in place of {previous}"),
                None => format!("{revision} is stable"),
            },
            Self::Unchanged { revision } => format!("{revision} is already there, unchanged"),
            Self::Reverting { revision, from } => match from {
                Some(from) => format!("back from {from} to {revision}, without steps"),
                None => format!("back to {revision}, without steps"),
            },
            Self::Aborted { revision, target, reason } => match target {
                Some(target) => format!("giving {revision} up, back to {target}: {reason}"),
                None => format!("giving {revision} up: {reason}"),
            },
            Self::RolledBack { revision, took, not_undone } => {
                let back = match revision {
                    Some(revision) => format!("rolled back: all traffic is on {revision} again, verified after {took}"),
                    None => "rolled back: there was no stable revision, so nothing has traffic".to_owned(),
                };
                if not_undone.is_empty() { back } else { format!("{back}; not undone: {}", not_undone.join("; ")) }
            }
            Self::RollbackFailed { reason } => format!("the rollback failed, a human is needed: {reason}"),
            Self::Failed { reason } => format!("failed before anything was changed: {reason}"),
            Self::Skipped { because } => format!("not started: it depends on {because}, which did not succeed"),
            Self::Retired { revision } => format!("{revision} retired"),
            Self::DriftFound { message } => format!("drift: {message}"),
            Self::IncidentOpened { title, .. } => format!("incident: {title}"),
            Self::Warning { message } => message.clone(),
        }
    }
}

/// `an approval`, `2 approvals`.
fn approvals(count: u32) -> String {
    if count == 1 { "an approval".to_owned() } else { format!("{count} approvals") }
}

fn names(services: &[ServiceName]) -> String {
    services.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(", ")
}
