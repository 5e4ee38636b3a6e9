//! What is there, what a strategy may know of it, and what it may want.

use crate::model::Quorum;
use crate::{Millis, PluginName, RevisionId, Timestamp, Verdict, Weight};
use serde::{Deserialize, Serialize};

/// A service, as it is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observed {
    /// Where users reach it.
    pub url: Option<String>,
    /// Every revision that is there.
    pub revisions: Vec<ObservedRevision>,
}

/// A revision, as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedRevision {
    /// Its id.
    pub revision: RevisionId,
    /// How many instances there should be.
    pub desired: u32,
    /// How many can take traffic.
    pub available: u32,
    /// Its share of traffic.
    pub weight: Weight,
}

/// What a strategy may know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutView {
    /// The time.
    pub now: Timestamp,
    /// The revision that is to be rolled out.
    pub candidate: Side,
    /// The last verified revision.
    pub stable: Option<Side>,
    /// What became of the last action.
    pub last: Last,
}

/// One revision of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Side {
    /// Its id.
    pub revision: RevisionId,
    /// How many instances there should be.
    pub desired: u32,
    /// How many can take traffic.
    pub available: u32,
    /// Its verified share of traffic.
    pub weight: Weight,
}

/// What became of a strategy's last action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Last {
    /// There was none.
    None,
    /// It was carried out and verified.
    Done,
    /// The analysis came to this.
    Judged(Verdict),
    /// A human let it go on.
    Promoted,
    /// The gate's time was up, and that means to go on.
    TimedOut,
}

/// What a strategy wants done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Action {
    /// Change how many instances there are.
    Scale {
        /// Of the candidate.
        candidate: Option<u32>,
        /// Of the stable revision.
        stable: Option<u32>,
    },
    /// Give the candidate this share of traffic.
    SetWeight {
        /// The share.
        weight: Weight,
    },
    /// Run analyses to their end.
    Analyse {
        /// Which.
        analyses: Vec<PluginName>,
    },
    /// Run analyses beside the following steps.
    Watch {
        /// Which.
        analyses: Vec<PluginName>,
    },
    /// Wait.
    Pause {
        /// For so long.
        duration: Millis,
    },
    /// Wait for a human.
    AwaitPromotion {
        /// What for.
        gate: Gate,
    },
    /// The candidate becomes stable.
    Promote,
    /// Back to the stable revision.
    Abort {
        /// Why.
        reason: String,
    },
}

/// A stop for a human.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// What is to be decided.
    pub reason: String,
    /// How long to wait.
    pub timeout: Option<Millis>,
    /// What happens then.
    pub on_timeout: OnTimeout,
    /// Who must agree; none leaves it to anybody who promotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<Quorum>,
}

/// What happens when nobody answers in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnTimeout {
    /// Back to the stable revision.
    Abort,
    /// As if somebody had promoted.
    Promote,
}

/// Where a rollout is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Position {
    /// From 1.
    pub step: u32,
    /// How many there are.
    pub steps: u32,
    /// In a few words.
    pub label: String,
}
