//! The outcome of a check, and how several become one.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The outcome of a check. The order is from best to worst; only [`Verdict::Pass`] ever moves traffic forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The condition for success was met.
    Pass,
    /// Neither success nor failure: a human decides.
    Inconclusive,
    /// There was nothing to judge.
    NoData,
    /// The measurement itself failed.
    Error,
    /// The condition for failure was met.
    Fail,
}

impl Verdict {
    /// Whether traffic may move forward.
    #[must_use]
    pub fn moves_forward(self) -> bool {
        matches!(self, Self::Pass)
    }

    /// The worst of several. None at all is [`Verdict::NoData`]: what was never checked has not passed.
    #[must_use]
    pub fn worst(verdicts: impl IntoIterator<Item = Self>) -> Self {
        verdicts.into_iter().max().unwrap_or(Self::NoData)
    }

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Inconclusive => "inconclusive",
            Self::NoData => "no-data",
            Self::Error => "error",
            Self::Fail => "fail",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_measured_is_not_a_pass() {
        assert_eq!(Verdict::worst([]), Verdict::NoData);
        assert_eq!(Verdict::worst([Verdict::Pass, Verdict::NoData]), Verdict::NoData);
        assert_eq!(Verdict::worst([Verdict::Pass, Verdict::Fail, Verdict::Error]), Verdict::Fail);
        assert!(
            [Verdict::Inconclusive, Verdict::NoData, Verdict::Error, Verdict::Fail].iter().all(|v| !v.moves_forward())
        );
    }
}
