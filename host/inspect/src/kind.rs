//! The kinds of plugins: one for each world.

use basb_grants::Capability;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a plugin is: which world it implements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Talks to a cloud, a daemon, or an infrastructure tool.
    Provider,
    /// Decides how a candidate gets its traffic; pure.
    Strategy,
    /// Compares samples; pure.
    Judge,
    /// Takes measurements.
    Probe,
    /// Delivers events.
    Notifier,
    /// Renders documents; pure.
    Generator,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Provider, Self::Strategy, Self::Judge, Self::Probe, Self::Notifier, Self::Generator];

    /// Its name, which is that of the interface it exports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Strategy => "strategy",
            Self::Judge => "judge",
            Self::Probe => "probe",
            Self::Notifier => "notifier",
            Self::Generator => "generator",
        }
    }

    /// What its world may import: the ceiling of what it can ever do.
    #[must_use]
    pub fn may_import(self) -> &'static [Capability] {
        match self {
            Self::Provider => &[Capability::Log, Capability::Http, Capability::Exec, Capability::Files],
            Self::Strategy | Self::Judge | Self::Generator => &[],
            Self::Probe => &[Capability::Log, Capability::Http, Capability::Tcp, Capability::Exec],
            Self::Notifier => &[Capability::Log, Capability::Http, Capability::Smtp, Capability::Files],
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
