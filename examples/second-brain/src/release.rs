//! What each release of the services changes, in one place.
//!
//! Release 1 is the first. Release 2 adds one tool to every service. Release 3 is release 2 with a
//! defect of the kind that passes every start-up check: it answers `/healthz` and `tools/list`, but
//! every n-th tool call fails.

use std::{
    num::NonZeroU64,
    sync::atomic::{AtomicU64, Ordering},
};

use rmcp::ErrorData;

/// The tools that release 1 does not have yet.
const SINCE_RELEASE_2: [&str; 4] = ["capture_quote", "suggest_category", "distill_queue", "preview_draft"];

/// A release of the services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Release {
    /// The first release.
    #[value(name = "1")]
    First,
    /// One more tool in every service.
    #[value(name = "2")]
    Second,
    /// Release 2, broken.
    #[value(name = "3")]
    Third,
}

impl Release {
    /// The release as a number.
    pub const fn number(self) -> u8 {
        match self {
            Self::First => 1,
            Self::Second => 2,
            Self::Third => 3,
        }
    }

    /// Whether the release has a tool.
    pub fn has_tool(self, name: &str) -> bool {
        self >= Self::Second || !SINCE_RELEASE_2.contains(&name)
    }

    /// The release's defect: for release 3, one failure in `every` calls.
    pub fn defect(self, every: NonZeroU64) -> Defect {
        Defect { every: (self == Self::Third).then_some(every), calls: AtomicU64::new(0) }
    }
}

/// Counts the tool calls of this process and fails every n-th one.
#[derive(Debug)]
pub struct Defect {
    every: Option<NonZeroU64>,
    calls: AtomicU64,
}

impl Defect {
    /// Called for each `tools/call`, before anything is done.
    ///
    /// The failure is what an rmcp service sends when a handler lets an error through with `?`: a
    /// JSON-RPC internal error (-32603), inside HTTP 200. A probe of status codes does not see it.
    pub fn strike(&self, tool: &str) -> Result<(), ErrorData> {
        let Some(every) = self.every else {
            return Ok(());
        };
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        if call.is_multiple_of(every.get()) {
            Err(ErrorData::internal_error(format!("{tool}: the vault index has an unexpected generation"), None))
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_release_3_fails_and_every_nth_time() {
        let four = NonZeroU64::new(4).unwrap();
        for release in [Release::First, Release::Second] {
            let defect = release.defect(four);
            assert!((0..20).all(|_| defect.strike("x").is_ok()));
        }
        let defect = Release::Third.defect(four);
        let failed: Vec<_> = (1..=12).filter(|_| defect.strike("x").is_err()).collect();
        assert_eq!(failed, [4, 8, 12]);
    }
}
