//! What may be done with a container engine (Docker, Podman) whose socket is granted.
//!
//! Stops a socket from being granted whole: whoever may send any request to a container engine is root on its machine. Each
//! privilege has a word of its own, none is there unless it is written, and there is no word for all of them.

use crate::{Access, TextPattern};
use std::collections::BTreeSet;
use std::fmt;

/// Operations on containers, judged by their bodies.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainersGrant {
    /// The names of the containers that may be made, looked at, started, stopped and removed; at least one.
    pub names: Vec<TextPattern>,
    /// The images that they may be made of; at least one.
    pub images: Vec<TextPattern>,
    /// What of the machine they may share.
    pub allow: BTreeSet<Privilege>,
    /// What of the machine's files they may see.
    pub binds: Vec<BindGrant>,
    /// Named volumes that they may use.
    pub volumes: BTreeSet<String>,
    /// Linux capabilities that they may have beyond the engine's own set, without `CAP_`.
    pub capabilities: BTreeSet<String>,
    /// Devices of the machine that they may use.
    pub devices: BTreeSet<String>,
}

/// What a container may share with its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Privilege {
    /// Its network: it reaches whatever listens there, on loopback too.
    HostNetwork,
    /// Its processes: it sees them, and as root it reads their memory.
    HostPid,
    /// Everything: root on the machine.
    Privileged,
}

impl Privilege {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::HostNetwork, Self::HostPid, Self::Privileged];

    /// As in a grant.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HostNetwork => "host-network",
            Self::HostPid => "host-pid",
            Self::Privileged => "privileged",
        }
    }
}

/// A file or folder of the machine. It covers itself only: below a folder that a container can write to, a link could lead
/// anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindGrant {
    /// Absolute.
    pub path: String,
    /// What containers may do with it.
    pub access: Access,
}

impl fmt::Display for ContainersGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
            items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
        }
        write!(f, "containers {} of {}", list(&self.names), list(&self.images))?;
        for privilege in &self.allow {
            write!(f, ", {}", privilege.as_str())?;
        }
        for bind in &self.binds {
            let access = if bind.access == Access::Read { "reading" } else { "reading and writing" };
            write!(f, ", {access} {} of the machine", bind.path)?;
        }
        for (what, names) in
            [("volumes", &self.volumes), ("capabilities", &self.capabilities), ("devices", &self.devices)]
        {
            if !names.is_empty() {
                write!(f, ", {what} {}", list(names))?;
            }
        }
        Ok(())
    }
}
