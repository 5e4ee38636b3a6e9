//! Where a service's release is, and what became of services and of the run.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The phases of a service's release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Waiting for the services that it depends on.
    Waiting,
    /// Is everything there that the release needs?
    Readiness,
    /// The revision is made.
    Deploy,
    /// Traffic moves.
    Rollout,
    /// Does it do what it should?
    Verify,
    /// Does it go on doing so?
    Bake,
    /// Waiting for the rest of its group.
    Held,
    /// It is written down, and the old revision goes.
    Record,
    /// Traffic goes back.
    Rollback,
    /// It is over.
    Done,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Readiness => "readiness",
            Self::Deploy => "deploy",
            Self::Rollout => "rollout",
            Self::Verify => "verify",
            Self::Bake => "bake",
            Self::Held => "held",
            Self::Record => "record",
            Self::Rollback => "rollback",
            Self::Done => "done",
        })
    }
}

/// What became of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceOutcome {
    /// The candidate is stable.
    Promoted,
    /// Nothing differed.
    Unchanged,
    /// It was not started.
    Skipped,
    /// It failed before anything was changed.
    Failed,
    /// It is back on the stable revision, verified.
    RolledBack,
    /// The way back failed.
    RollbackFailed,
}

impl ServiceOutcome {
    /// Whether services that depend on it may start.
    #[must_use]
    pub fn succeeded(self) -> bool {
        matches!(self, Self::Promoted | Self::Unchanged)
    }
}

/// What became of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunOutcome {
    /// Every service is as it should be.
    Done,
    /// Something failed before anything was changed.
    Failed,
    /// A service is back on its stable revision.
    RolledBack,
    /// The way back failed.
    RollbackFailed,
    /// A newer run took its place before it came to an end.
    Superseded,
}

impl RunOutcome {
    /// The word for it, as in its JSON form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::RolledBack => "rolled-back",
            Self::RollbackFailed => "rollback-failed",
            Self::Superseded => "superseded",
        }
    }

    /// What it is, for a person.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::RolledBack => "aborted and rolled back",
            Self::RollbackFailed => "aborted, and the rollback failed",
            Self::Superseded => "superseded by a newer run",
        }
    }
}
