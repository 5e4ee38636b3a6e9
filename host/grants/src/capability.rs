//! The names of the capabilities.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Something a plugin may ask the host for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Capability {
    /// Writing to the host's log; needs no grant.
    Log,
    /// HTTP requests.
    Http,
    /// One exchange over TCP.
    Tcp,
    /// Running programs.
    Exec,
    /// Files in folders.
    Files,
    /// Mail.
    Smtp,
}

impl Capability {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Log, Self::Http, Self::Tcp, Self::Exec, Self::Files, Self::Smtp];

    /// Its name in grants, in manifests and in WIT.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Exec => "exec",
            Self::Files => "files",
            Self::Smtp => "smtp",
        }
    }

    /// The capability with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|capability| capability.name() == name)
    }

    /// Whether the operator has to grant it.
    #[must_use]
    pub fn needs_grant(self) -> bool {
        self != Self::Log
    }

    /// An entry for `grants` that shows its form, as lines of YAML without indentation.
    #[must_use]
    pub fn example(self) -> &'static str {
        match self {
            Self::Log => "",
            Self::Http => "http:\n  - host: HOST\n    methods: [GET]\n    path: /**",
            Self::Tcp => "tcp:\n  - host: HOST\n    port: PORT",
            Self::Exec => "exec:\n  - program: NAME\n    path: /usr/bin/PROGRAM\n    args: [ARGUMENT]",
            Self::Files => "files:\n  - folder: NAME\n    path: ./FOLDER\n    access: read",
            Self::Smtp => "smtp:\n  - server: NAME\n    host: HOST\n    port: 587",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
