//! What asked for a run, kept beside its records: the records say what was done, this says why.

use basb_core::{PluginName, RunId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What asked for a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Cause {
    /// `basb-host run`.
    #[default]
    Run,
    /// `basb-host undo`: services go back to what was stable before.
    Undo,
    /// `basb-host import`: what was there is taken for stable, without verification.
    Import,
    /// `basb-host env promote`: what another environment had verified.
    Promotion {
        /// The environment that it was verified in.
        from: PluginName,
        /// The runs that verified it there.
        runs: Vec<RunId>,
    },
    /// One of a newer version.
    #[serde(other)]
    Other,
}

impl Cause {
    /// What was noted beside a run; the usual one when nothing was.
    #[must_use]
    pub fn noted(notes: &str) -> Self {
        #[derive(Deserialize)]
        struct Notes {
            #[serde(default)]
            cause: Cause,
        }
        serde_json::from_str(notes).map(|n: Notes| n.cause).unwrap_or_default()
    }

    /// Whether it is the usual one, which is not written down.
    #[must_use]
    pub fn is_run(&self) -> bool {
        *self == Self::Run
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run => f.write_str("run"),
            Self::Undo => f.write_str("undo"),
            Self::Import => f.write_str("import"),
            Self::Promotion { from, .. } => write!(f, "promoted from {from}"),
            Self::Other => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written_and_a_newer_one_is_known_to_be_unknown() {
        let promotion = Cause::Promotion { from: PluginName::new("staging").unwrap(), runs: vec![] };
        for cause in [Cause::Run, Cause::Undo, Cause::Import, promotion] {
            let text = serde_json::to_string(&cause).unwrap();
            assert_eq!(serde_json::from_str::<Cause>(&text).unwrap(), cause);
        }
        assert_eq!(serde_json::from_str::<Cause>(r#"{"kind":"teleport","to":"x"}"#).unwrap(), Cause::Other);
    }
}
