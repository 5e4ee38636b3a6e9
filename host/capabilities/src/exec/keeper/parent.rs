//! The host's side: starts the keeper, tells it what to start, hears what came of it.

use super::{Keeper, Order, Told};
use rustix::process::{Pid, Signal, kill_process_group};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

/// How long a keeper has to end everything after the call before it is ended itself.
const GRACE: Duration = Duration::from_secs(15);

/// Why a program did not run to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::exec) enum KeeperError {
    /// The file has another digest.
    #[error("its digest is {found}")]
    Differs {
        /// Its hexadecimal digits.
        found: String,
    },
    /// It cannot be started.
    #[error("{0}")]
    NotStarted(String),
    /// The keeper is gone without a word.
    #[error("its keeper was ended from outside")]
    Lost,
    /// Processes that the program started could not be ended.
    #[error("it left {0} processes behind that cannot be ended: they run as another user")]
    Left(usize),
}

/// A program that runs under a keeper. Dropped, it ends, and everything it started with it.
#[derive(Debug)]
pub(in crate::exec) struct Kept {
    keeper: Option<Child>,
    told: BufReader<UnixStream>,
    group: Option<Pid>,
    /// Its standard output.
    pub(in crate::exec) stdout: Option<ChildStdout>,
    /// Its error output.
    pub(in crate::exec) stderr: Option<ChildStderr>,
}

/// What is to be started.
#[derive(Debug, Clone, Copy)]
pub(in crate::exec) struct Program<'a> {
    pub(in crate::exec) path: &'a Path,
    pub(in crate::exec) sha256: Option<&'a str>,
    pub(in crate::exec) args: &'a [String],
    pub(in crate::exec) env: &'a [(String, String)],
    pub(in crate::exec) folder: &'a Path,
    pub(in crate::exec) input: &'a [u8],
}

impl Kept {
    /// Starts a program under a keeper.
    ///
    /// # Errors
    /// Why it does not run.
    pub(in crate::exec) async fn start(keeper: &Keeper, program: Program<'_>) -> Result<Self, KeeperError> {
        let not_started = |error: std::io::Error| KeeperError::NotStarted(error.to_string());
        let (own, other) = std::os::unix::net::UnixStream::pair().map_err(not_started)?;
        own.set_nonblocking(true).map_err(not_started)?;
        let mut child = Command::new(&keeper.program)
            .args(&keeper.args)
            .env_clear()
            .current_dir(program.folder)
            .stdin(Stdio::from(OwnedFd::from(other)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // It ends by itself, after everything that it keeps.
            .kill_on_drop(false)
            .spawn()
            .map_err(not_started)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let told = BufReader::new(UnixStream::from_std(own).map_err(not_started)?);
        let mut kept = Self { keeper: Some(child), told, group: None, stdout, stderr };
        // A keeper that does not take its order says why, or is none.
        let _ = kept.order(program).await;
        match kept.hear().await {
            Some(Told::Started { group }) => {
                kept.group = Pid::from_raw(group);
                Ok(kept)
            }
            Some(Told::Differs { found }) => Err(KeeperError::Differs { found }),
            Some(Told::NotStarted { why }) => Err(KeeperError::NotStarted(why)),
            Some(Told::Ended { .. }) | None => Err(KeeperError::NotStarted(format!(
                "{} is no keeper: its `main` has to begin with `basb_capabilities::exec::keeper::serve_if_asked()`",
                keeper.program.display()
            ))),
        }
    }

    async fn order(&mut self, program: Program<'_>) -> std::io::Result<()> {
        let order = Order {
            path: program.path.to_string_lossy().into_owned(),
            sha256: program.sha256.map(str::to_owned),
            args: program.args.to_vec(),
            env: program.env.to_vec(),
            input_bytes: program.input.len(),
        };
        let order = serde_json::to_vec(&order)?;
        let host = self.told.get_mut();
        host.write_all(&(order.len() as u64).to_be_bytes()).await?;
        host.write_all(&order).await?;
        host.write_all(program.input).await
    }

    async fn hear(&mut self) -> Option<Told> {
        let mut line = String::new();
        self.told.read_line(&mut line).await.ok()?;
        serde_json::from_str(&line).ok()
    }

    /// Waits for the end of the program and of everything it started; its exit status, and none after a signal.
    ///
    /// # Errors
    /// [`KeeperError::Lost`], [`KeeperError::Left`].
    pub(in crate::exec) async fn ended(&mut self) -> Result<Option<i32>, KeeperError> {
        match self.hear().await {
            Some(Told::Ended { status, left: 0 }) => {
                self.group = None;
                Ok(status)
            }
            Some(Told::Ended { left, .. }) => Err(KeeperError::Left(left)),
            _ => {
                if let Some(group) = self.group.take() {
                    // Gone already is what is wanted.
                    let _ = kill_process_group(group, Signal::KILL);
                }
                Err(KeeperError::Lost)
            }
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let Some(mut keeper) = self.keeper.take() else { return };
        let group = self.group.take();
        let end = move |keeper: &mut Child| {
            if let Some(group) = group {
                // Gone already is what is wanted.
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = keeper.start_kill();
        };
        // The socket closes with this, which tells the keeper to end everything; one that was halted does not hear it.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                let _detached = runtime.spawn(async move {
                    if tokio::time::timeout(GRACE, keeper.wait()).await.is_err() {
                        end(&mut keeper);
                    }
                });
            }
            Err(_) => end(&mut keeper),
        }
    }
}
