//! The unix socket's address: a path when it is short enough, the same path through `/proc/self/fd` when it is not.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use crate::error::AgentError;

/// The socket's name within the state folder.
pub(crate) const SOCKET: &str = "agent.sock";

/// A socket address holds 108 bytes with the terminating zero; some room is left for platforms with fewer.
const LONGEST: usize = 100;

/// Where to bind or connect. The folder must stay open until that is done.
#[derive(Debug)]
pub(crate) struct SocketPath {
    path: PathBuf,
    _folder: Option<File>,
}

impl SocketPath {
    /// The socket of a state folder.
    pub(crate) fn of(state_dir: &Path) -> Result<Self, AgentError> {
        let direct = state_dir.join(SOCKET);
        if direct.as_os_str().len() <= LONGEST {
            return Ok(Self { path: direct, _folder: None });
        }
        let folder = File::open(state_dir).map_err(|error| AgentError::io("open", state_dir, error))?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()));
        Ok(Self { path, _folder: Some(folder) })
    }

    /// A path short enough for a socket address.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
