//! A process that the agent watches: its own child, or one that it adopted.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use jiff::Timestamp;
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, pidfd_send_signal, waitid,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::api::LastExit;
use crate::state::SavedProcess;

/// A living process, held by a descriptor so that its id cannot be mistaken for a later process.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    start_time: u64,
    token: String,
    descriptor: AsyncFd<OwnedFd>,
}

impl Process {
    /// Takes hold of the process that `pid` names now. Must run within the agent's runtime.
    pub(crate) fn hold(pid: u32, token: &str) -> io::Result<Self> {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let handle = raw.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a process id"))?;
        let descriptor = watched(pidfd_open(handle, PidfdFlags::NONBLOCK)?)?;
        let start_time =
            start_time(pid).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the process has ended"))?;
        Ok(Self { pid: handle, start_time, token: token.to_owned(), descriptor })
    }

    /// Takes hold of a saved process, if it still lives.
    pub(crate) fn adopt(saved: SavedProcess, token: &str) -> Option<Self> {
        // The start time is read after the descriptor is open, so that both speak of the same process.
        let process = Self::hold(saved.pid, token).ok()?;
        (process.start_time == saved.start_time).then_some(process)
    }

    /// Its id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// What identifies it in the saved state.
    pub(crate) fn saved(&self) -> SavedProcess {
        SavedProcess { pid: self.pid(), start_time: self.start_time }
    }

    /// Waits until it has ended. What is left of its process group is killed then.
    pub(crate) async fn exited(&self) -> LastExit {
        loop {
            match self.descriptor.readable().await {
                Ok(_) => break,
                Err(error) => {
                    // Cannot happen while the runtime lives; looking now and then is as good.
                    tracing::warn!(%error, pid = self.pid(), "a process cannot be watched");
                    if start_time(self.pid()) != Some(self.start_time) {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        // Before it is reaped: until then nobody else can get its id, so the group is surely its own.
        if self.is_zombie() {
            let _ = kill_process_group(self.pid, Signal::KILL);
        } else {
            self.kill_leftovers();
        }
        let status = loop {
            match waitid(
                WaitId::PidFd(self.descriptor.get_ref().as_fd()),
                WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
            ) {
                Err(Errno::INTR) => {}
                other => break other,
            }
        };
        let (code, signal) = match status {
            Ok(Some(status)) => (status.exit_status(), status.terminating_signal()),
            // Adopted from an agent before us: init was told, not we.
            Ok(None) | Err(_) => (None, None),
        };
        LastExit { code, signal, at: Timestamp::now() }
    }

    fn is_zombie(&self) -> bool {
        stat(self.pid()).is_some_and(|(state, _, start)| state == b'Z' && start == self.start_time)
    }

    /// Kills what a process that init has already reaped left behind. Its id may belong to somebody else by now, so
    /// members are recognised by the token in their environment.
    fn kill_leftovers(&self) {
        for (pid, _) in super::adopt::with_token(&self.token) {
            if let Ok(left) = Self::hold(pid, &self.token) {
                let _ = pidfd_send_signal(left.descriptor.get_ref(), Signal::KILL);
            }
        }
    }

    /// Asks it to stop, with its process group.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends it, with its process group.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        // The group's id is the leader's: it is signalled only while the leader is still the process that we hold.
        let ours = start_time(self.pid()) == Some(self.start_time);
        if ours && kill_process_group(self.pid, signal).is_err() {
            // It leads no group: a descendant that was left behind.
            let _ = pidfd_send_signal(self.descriptor.get_ref(), signal);
        }
    }
}

#[expect(deprecated, reason = "its successor is unsafe for types whose descriptor may change; an OwnedFd's cannot")]
fn watched(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}

/// Clock ticks after boot at which a process started; nothing when it has ended (zombies included).
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    match stat(pid) {
        Some((b'Z' | b'X', _, _)) | None => None,
        Some((_, _, start)) => Some(start),
    }
}

/// Whether a process leads its process group.
pub(crate) fn leads_group(pid: u32) -> bool {
    stat(pid).is_some_and(|(_, group, _)| group == pid)
}

/// State, process group and start time of a process.
fn stat(pid: u32) -> Option<(u8, u32, u64)> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(text: &[u8]) -> Option<(u8, u32, u64)> {
    // The second field is the name in parentheses, and may itself hold parentheses and spaces: start after the last.
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(text.get(end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.bytes().next()?;
    let group = fields.nth(1)?.parse().ok()?;
    let start = fields.nth(16)?.parse().ok()?;
    Some((state, group, start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_survives_hostile_names() {
        let text = b"42 (a) R 1 ) b) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 2\n";
        assert_eq!(parse_stat(text), Some((b'S', 42, 987_654)));
        assert_eq!(parse_stat(b""), None);
    }

    #[test]
    fn this_process_has_a_start_time() {
        assert!(start_time(std::process::id()).is_some());
    }
}
