//! Making sure that an agent runs.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::client::Client;
use crate::error::AgentError;
use crate::state::{create_private_folder, open_lock};
use crate::supervisor::logfile;

/// How long a started agent may take to answer. Adopting services is quick; a loaded machine may not be.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time between two looks at an agent that is coming or going.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Connects to the agent of a state folder, and starts one as `program args...` when there is none.
///
/// The started agent has its own process group, `/` as its working folder, and writes to `agent.log` in the state
/// folder; it outlives the caller. Two callers at the same time start one agent only. `args` must make the program run
/// [`crate::server::serve`] on the same folder; paths in it should be absolute.
///
/// # Errors
/// [`AgentError::StartFailed`] when the program does not come up within 30 s, with the end of its log;
/// [`AgentError::Io`] when the folder cannot be used.
pub async fn ensure_running<I, S>(state_dir: &Path, program: &Path, args: I) -> Result<Client, AgentError>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let client = Client::new(state_dir);
    if client.agent().await.is_ok() {
        return Ok(client);
    }
    create_private_folder(state_dir)?;
    let state_dir = std::fs::canonicalize(state_dir).map_err(|error| AgentError::io("resolve", state_dir, error))?;
    let client = Client::new(&state_dir);
    let until = Instant::now() + PATIENCE;

    // Whoever holds this starts the agent; everybody else waits for it, or for the answer, whichever is first.
    let lock = open_lock(&state_dir.join("agent.start.lock"))?;
    while flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        if client.agent().await.is_ok() {
            return Ok(client);
        }
        if Instant::now() > until {
            return Err(failed(program, "somebody else has been starting it for too long", &state_dir));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    if client.agent().await.is_ok() {
        return Ok(client);
    }
    let mut child = start(&state_dir, program, args)?;
    loop {
        if client.agent().await.is_ok() {
            return Ok(client);
        }
        if let Ok(Some(status)) = child.try_wait() {
            // It may have found another agent that somebody started by hand in the same moment.
            if client.agent().await.is_ok() {
                return Ok(client);
            }
            return Err(failed(program, &format!("it ended with {status}"), &state_dir));
        }
        if Instant::now() > until {
            let _ = child.kill();
            let _ = child.wait();
            return Err(failed(program, "it did not answer in time", &state_dir));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn agent_log(state_dir: &Path) -> PathBuf {
    state_dir.join("agent.log")
}

fn start<I, S>(state_dir: &Path, program: &Path, args: I) -> Result<Child, AgentError>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let log = agent_log(state_dir);
    // Nobody writes to it now, so this is the moment to bound it.
    let _ = logfile::rotate(&log, 1024 * 1024);
    let open = || {
        let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(&log);
        opened.map_err(|error| AgentError::io("open", &log, error))
    };
    Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(open()?)
        .stderr(open()?)
        .current_dir("/")
        .process_group(0)
        .spawn()
        .map_err(|error| failed(program, &format!("it cannot be started: {error}"), state_dir))
}

fn failed(program: &Path, why: &str, state_dir: &Path) -> AgentError {
    let log = agent_log(state_dir);
    let lines = logfile::last_lines(&log, 5);
    let mut why = format!("{why} (its log is {})", log.display());
    if !lines.is_empty() {
        why.push_str("; the log ends with: ");
        why.push_str(&lines.join(" | "));
    }
    AgentError::StartFailed { command: program.display().to_string(), why }
}
