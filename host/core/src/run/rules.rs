//! Which rules a run goes by: those of the version of the records that it began with. What was recorded then means what it
//! meant then, and a run that is taken up again ends as it would have ended.

use super::RunStart;

/// The rules of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rules {
    /// Of versions 1 and 2: only what is recorded decides whether a run waits at its environment's gate, a service that is
    /// as it should be leaves other revisions alone, and the time of gates runs on in a pause.
    UpTo2,
    /// Of version 3.
    Now,
}

impl RunStart {
    /// The rules that the run goes by.
    pub(super) fn rules(&self) -> Rules {
        if self.version < 3 { Rules::UpTo2 } else { Rules::Now }
    }
}
