//! Who a process is, for leases and for the record of what was asked: `user@host pid N`.

use std::fmt;
use std::os::unix::fs::MetadataExt;

/// A process, as leases and records name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Whose it is.
    pub user: String,
    /// On which machine.
    pub host: String,
    /// Its number there.
    pub pid: u32,
    /// When it started, in clock ticks since boot: tells it from a later one with the same number.
    started: u64,
}

/// Whether a process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It does.
    Lives,
    /// It does not, for certain.
    Gone,
    /// It is on another machine, or does not name itself in a way that is known.
    Unknown,
}

impl Owner {
    /// This process.
    #[must_use]
    pub fn this() -> Self {
        let pid = std::process::id();
        Self { user: user(), host: host(), pid, started: started(pid).unwrap_or(0) }
    }

    /// What a lease says of its owner; nothing for one that no version of this program has written.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // The form of 0.1 before its release: `pid 1 (started 2) on host`.
        if let Some(rest) = text.strip_prefix("pid ") {
            let (pid, rest) = rest.split_once(" (started ")?;
            let (start, host) = rest.split_once(") on ")?;
            return Some(Self {
                user: "somebody".to_owned(),
                host: host.to_owned(),
                pid: pid.parse().ok()?,
                started: start.parse().ok()?,
            });
        }
        let (who, rest) = text.split_once(" pid ")?;
        let (user, host) = who.rsplit_once('@')?;
        let (pid, rest) = rest.split_once(" (started ")?;
        let start = rest.strip_suffix(')')?;
        Some(Self {
            user: user.to_owned(),
            host: host.to_owned(),
            pid: pid.parse().ok()?,
            started: start.parse().ok()?,
        })
    }

    /// How a lease names it.
    #[must_use]
    pub fn for_lease(&self) -> String {
        format!("{self} (started {})", self.started)
    }

    /// Whether it lives, as far as this machine can tell.
    #[must_use]
    pub fn life(&self) -> Life {
        if self.host != host() {
            Life::Unknown
        } else if started(self.pid) == Some(self.started) {
            Life::Lives
        } else {
            Life::Gone
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{} pid {}", self.user, self.host, self.pid)
    }
}

/// The name of this machine.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// The name of the user whose process this is, by its number and not by the environment, which anybody can set.
#[must_use]
pub fn user() -> String {
    let Ok(uid) = std::fs::metadata("/proc/self").map(|m| m.uid()) else { return "somebody".to_owned() };
    let all = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = all.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| format!("uid-{uid}"))
}

/// When a process started, in clock ticks since boot: field 22 of `/proc/PID/stat`, counted after the command's name.
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_reads_as_it_is_written() {
        let this = Owner::this();
        assert_eq!(Owner::parse(&this.for_lease()), Some(this.clone()));
        assert_eq!(this.life(), Life::Lives);
        assert_eq!(Owner { started: 1, ..this.clone() }.life(), Life::Gone, "another start time");
        assert_eq!(Owner { host: "elsewhere".into(), ..this }.life(), Life::Unknown);
        assert_eq!(Owner::parse("pid 7 (started 9) on box").unwrap().to_string(), "somebody@box pid 7");
        assert_eq!(Owner::parse("somebody"), None);
    }
}
