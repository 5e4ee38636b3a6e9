//! What the journal holds: intents, outcomes and requests. Everything else is derived from them.

use super::PluginCall;
use super::phase::{Phase, RunOutcome};
use super::rollout::{Action, Gate, Observed, Position, RolloutView};
use crate::analysis::Sample;
use crate::model::{Deployment, Shared, Workload};
use crate::{Digest, Millis, PluginName, RevisionId, RunId, ServiceName, Timestamp, Weight};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The version of the records: of their JSON form, and of what a run decides by them. In runs of version 1 the outcome of
/// [`Effect::VerifyTraffic`] says that the shares are right and no more; from version 2 on it holds what was read, and
/// nothing is read twice. From version 3 on a repair waits at the gate of the environment, revisions that are left over are
/// removed where nothing else is to be done, the time of gates stands still in a pause, who comes after it does not let one pass,
/// readiness is not asked of a stable revision that cannot answer, and a step that no measurement could end is given up.
pub const RECORD_VERSION: u32 = 3;

/// One entry of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "camelCase")]
pub enum Record {
    /// The run began, with everything that it needs.
    Started(Box<RunStart>),
    /// The run was taken up again.
    Resumed,
    /// An effect is about to be carried out.
    Intent {
        /// For which service.
        service: ServiceName,
        /// The effect and its number.
        order: Order,
    },
    /// What became of it.
    Outcome {
        /// For which service.
        service: ServiceName,
        /// The effect's number.
        id: u32,
        /// What became of it.
        outcome: Outcome,
    },
    /// A plugin was called and had the host do something outside. For the audit; decides nothing.
    Called {
        /// For which service; none for a notifier.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<ServiceName>,
        /// The call.
        #[serde(flatten)]
        call: Box<PluginCall>,
    },
    /// The tapes of some calls, one after the other: a digest of them all, those that [`Record::Called`] names included.
    /// Decides nothing.
    Taped {
        /// The number of the first call.
        first: u64,
        /// The number of the last.
        last: u64,
        /// Over the number and the SHA-256 of each.
        sha256: Digest,
    },
    /// An operator asked for something.
    Request {
        /// For which service; none for all.
        service: Option<ServiceName>,
        /// What.
        verb: Verb,
        /// Who, as `user@host pid N`.
        by: String,
        /// The effect that it is meant for, where it is meant for one: it does nothing when that is over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        order: Option<u32>,
    },
    /// Somebody agreed at a gate.
    Approval {
        /// The gate: the environment's name for that of the run, the service's name for that of a service.
        gate: String,
        /// Who agrees.
        by: String,
        /// To which plan; one for another plan is worth nothing.
        plan: Digest,
        /// The effect that is the gate, for that of a service: it does nothing when that is over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        order: Option<u32>,
        /// Who wrote it down, as `user@host pid N`.
        asked: String,
    },
    /// The time of the run's own gate is up.
    GateElapsed,
    /// The run ended.
    Finished(RunOutcome),
}

/// What an operator can ask for while a run is not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verb {
    /// Let a gate pass, or end a pause of the strategy.
    Promote,
    /// Skip the rest of the steps; verification and bake stay.
    PromoteFull,
    /// Begin nothing new.
    Pause,
    /// Go on after a pause.
    Resume,
    /// Back to the stable revision.
    Abort,
    /// Try now what waits for its next attempt.
    Retry,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Promote => "promote",
            Self::PromoteFull => "promote --full",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Abort => "abort",
            Self::Retry => "retry",
        })
    }
}

/// Everything that a run needs, fixed at its start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunStart {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// The run.
    pub run: RunId,
    /// The deployment as it was read.
    pub deployment: Deployment,
    /// What each service starts from.
    pub services: BTreeMap<ServiceName, ServiceStart>,
    /// Every plugin that takes part, as `name version sha256:…`.
    pub plugins: BTreeMap<PluginName, String>,
    /// What the provider can do.
    pub abilities: Vec<String>,
    /// The smallest change of weight that it can make.
    pub granularity: Weight,
    /// What [`plan_digest`](super::plan_digest) gave when the run began: approvals are bound to it. Runs of earlier
    /// versions have none; see [`RunStart::plan_digest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Digest>,
}

/// What a service starts from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStart {
    /// The revision that the service is to get.
    pub candidate: RevisionId,
    /// The last verified revision.
    pub stable: Option<StableRevision>,
    /// How the candidate gets its traffic.
    #[serde(default, skip_serializing_if = "StartMode::is_rollout")]
    pub mode: StartMode,
    /// What the provider said that it cannot undo, once the candidate is deployed; for the record of a way back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub irreversible: Vec<String>,
    /// What the provider said that it would change of a candidate that is stable already, each in words: around the same
    /// workload, its own configuration may be another one. Empty where that is nothing, or where it did not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outdated: Vec<String>,
}

/// How a candidate gets its traffic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StartMode {
    /// Step by step, as the strategy says.
    #[default]
    Rollout,
    /// At once: the candidate was stable before and is brought back. Full capacity, then all of the traffic, then
    /// verification; no steps, no readiness probes of what is to be left, no bake.
    Revert,
    /// Not at all: it is there with all of the traffic, made by somebody else, and is taken for what is stable. Nothing
    /// is changed, and nothing is verified but that it is there.
    Adopt,
}

impl StartMode {
    /// Whether it is the usual one, which is not written down.
    #[must_use]
    pub fn is_rollout(&self) -> bool {
        *self == Self::Rollout
    }
}

/// A verified revision, with what is needed to bring it back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StableRevision {
    /// Its id.
    pub revision: RevisionId,
    /// How many instances it has in full.
    pub replicas: u32,
    /// What runs.
    pub workload: Shared<Workload>,
}

/// An effect with its number. The number, the run and the service make the idempotency key: the same effect taken up
/// again after a crash has the same key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// Counts from 1 within the service.
    pub id: u32,
    /// What is to be done.
    pub effect: Effect,
    /// Not before this time.
    pub not_before: Timestamp,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// Where a provider's call goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// Something that the pure core wants done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Effect {
    /// Read what is there.
    Observe,
    /// Measure once.
    Probe {
        /// Which probe.
        probe: PluginName,
        /// For which phase.
        phase: Phase,
    },
    /// Make the revision be there, with this many instances.
    Deploy {
        /// Which.
        revision: RevisionId,
        /// How many.
        replicas: u32,
    },
    /// Change how many instances a revision has.
    Scale {
        /// Which.
        revision: RevisionId,
        /// How many.
        replicas: u32,
    },
    /// Wait until so many instances can take traffic.
    AwaitAvailable {
        /// Which.
        revision: RevisionId,
        /// How many.
        replicas: u32,
        /// No longer than until then.
        until: Timestamp,
    },
    /// Set the shares of traffic.
    SetTraffic {
        /// The shares; revisions that are not named get none.
        weights: BTreeMap<RevisionId, Weight>,
    },
    /// Read until the shares are as they were set. What was read then is its outcome.
    VerifyTraffic {
        /// The shares.
        weights: BTreeMap<RevisionId, Weight>,
        /// No longer than until then.
        until: Timestamp,
    },
    /// Ask the strategy.
    NextStep {
        /// What there is.
        view: Box<RolloutView>,
        /// What the strategy said to remember.
        state: Option<String>,
    },
    /// Take one measurement of a metric.
    Measure {
        /// The analysis.
        analysis: PluginName,
        /// The metric.
        metric: PluginName,
        /// The probe.
        probe: PluginName,
        /// The revision that is measured alone; none measures what users reach.
        revision: Option<RevisionId>,
    },
    /// Let time pass.
    Wait {
        /// Until then.
        until: Timestamp,
        /// What for.
        reason: String,
    },
    /// Wait for a human.
    AwaitGate {
        /// What is to be decided.
        gate: Gate,
        /// No longer than until then.
        until: Option<Timestamp>,
    },
    /// Write down that the revision is stable.
    MarkStable {
        /// Which.
        revision: RevisionId,
    },
    /// Remove a revision that has no traffic.
    Retire {
        /// Which.
        revision: RevisionId,
    },
}

impl Effect {
    /// Whether it changes something outside, so that it must never be dropped half-way.
    #[must_use]
    pub fn mutates(&self) -> bool {
        matches!(
            self,
            Self::Deploy { .. }
                | Self::Scale { .. }
                | Self::SetTraffic { .. }
                | Self::Retire { .. }
                | Self::MarkStable { .. }
        )
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Observe => f.write_str("read what is there"),
            Self::Probe { probe, phase } => write!(f, "{phase}: probe {probe}"),
            Self::Deploy { revision, .. } => write!(f, "deploy {revision}"),
            Self::Scale { revision, replicas } => write!(f, "scale {revision} to {replicas}"),
            Self::AwaitAvailable { revision, replicas, .. } => write!(f, "wait for {replicas} instances of {revision}"),
            Self::SetTraffic { weights } | Self::VerifyTraffic { weights, .. } => {
                f.write_str(if matches!(self, Self::SetTraffic { .. }) { "set traffic" } else { "verify traffic" })?;
                for (revision, weight) in weights {
                    write!(f, " {revision}={weight}")?;
                }
                Ok(())
            }
            Self::NextStep { .. } => f.write_str("ask the strategy"),
            Self::Measure { analysis, metric, .. } => write!(f, "analysis {analysis}: measure {metric}"),
            Self::Wait { reason, .. } => write!(f, "wait: {reason}"),
            Self::AwaitGate { gate, .. } => write!(f, "wait for a promotion: {}", gate.reason),
            Self::MarkStable { revision } => write!(f, "mark {revision} stable"),
            Self::Retire { revision } => write!(f, "retire {revision}"),
        }
    }
}

/// What became of an effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Outcome {
    /// It was done.
    Done {
        /// In one line.
        summary: String,
    },
    /// It goes on at the counterpart; the state is what the next call needs.
    Running {
        /// The provider's own.
        state: String,
        /// What is being waited for.
        note: String,
        /// Call again after this time.
        poll_after: Millis,
    },
    /// What is there.
    Observed {
        /// Nothing, or this.
        observed: Option<Observed>,
    },
    /// So many instances can take traffic.
    Available {
        /// How many can.
        available: u32,
        /// How many there should be.
        desired: u32,
    },
    /// Not so many instances can take traffic, and more waiting is in vain.
    Unavailable {
        /// How many can.
        available: u32,
        /// What is wrong.
        message: String,
    },
    /// One measurement.
    Measured {
        /// The measurement.
        sample: Sample,
    },
    /// The strategy's decision.
    Decided {
        /// What to do.
        action: Action,
        /// What to remember.
        state: String,
        /// Where the rollout is.
        position: Position,
    },
    /// The time is up.
    Elapsed,
    /// It failed.
    Failed {
        /// Why.
        failure: Failure,
    },
}

/// Why an effect failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// A stable code, such as `provider/unavailable`.
    pub code: String,
    /// What happened and why.
    pub message: String,
    /// Try again after this time; none means that it will not help.
    pub retry_after: Option<Millis>,
}
