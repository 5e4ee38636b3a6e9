//! Resource limits of a process that waits at the gate.

use std::io;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::api::Limits;

/// Bounds what a process (and what it starts) may use. The process must not have run its program yet.
pub(crate) fn apply(pid: u32, limits: &Limits) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if pid.is_none() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a process id"));
    }
    let bounds = [
        (Resource::Data, limits.memory_mb.map(|mebibytes| mebibytes.saturating_mul(1024 * 1024))),
        (Resource::Nofile, limits.open_files),
        (Resource::Nproc, limits.processes),
    ];
    for (resource, bound) in bounds {
        if bound.is_some() {
            prlimit(pid, resource, Rlimit { current: bound, maximum: bound })?;
        }
    }
    // A crashing service must not fill the disk with core files.
    prlimit(pid, Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(())
}
