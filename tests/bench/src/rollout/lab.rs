//! Where the benchmark works, and how everything that it started is stopped again.

use super::Args;
use crate::Result;
use basb_agent::api::{ServiceName, ServiceState, StopServices};
use basb_agent::client::Client;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// A temporary folder, the agents whose state is in it, and the arguments.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) args: Args,
    folder: TempDir,
    agents: Mutex<Vec<Known>>,
}

/// An agent that was, or may have been, started.
#[derive(Debug)]
struct Known {
    state: PathBuf,
    /// When it is a child of ours.
    child: Option<Child>,
}

const PATIENCE: Duration = Duration::from_secs(30);

impl Lab {
    /// An empty one.
    pub(crate) fn new(args: &Args) -> Result<Self> {
        let args = args.with_absolute_paths()?;
        Ok(Self { args, folder: tempfile::Builder::new().prefix("basb-bench-").tempdir()?, agents: Mutex::default() })
    }

    /// A folder in it, made when it is not there.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// The agent that `basb-host --state STATE` uses, to be stopped at the end.
    pub(crate) fn agent_of(&self, state: &Path) -> Client {
        self.remember(state.join("agent"), None)
    }

    /// Starts an agent of its own, as a child.
    pub(crate) async fn start_agent(&self, state: &Path) -> Result<Client> {
        let log = std::fs::File::create(state.join("serve.log"))?;
        let child = Command::new(&self.args.bin)
            .arg("--state")
            .arg(state)
            .args(["agent", "serve"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // An interrupt from the terminal is for us: we stop it in order.
            .process_group(0)
            .spawn()?;
        let client = self.remember(state.join("agent"), Some(child));
        let until = Instant::now() + PATIENCE;
        while client.agent().await.is_err() {
            if Instant::now() > until {
                let log = std::fs::read_to_string(state.join("serve.log")).unwrap_or_default();
                return Err(format!("the agent did not answer within 30 s: {log}").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(client)
    }

    fn remember(&self, state: PathBuf, child: Option<Child>) -> Client {
        let client = Client::new(&state);
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        agents.push(Known { state, child });
        client
    }

    /// Stops every agent with its services, and kills what does not stop. Says what could not be stopped in order.
    pub(crate) async fn stop_all(&self) -> Result<()> {
        let known = std::mem::take(&mut *self.agents.lock().unwrap_or_else(PoisonError::into_inner));
        let mut problems = Vec::new();
        for agent in known {
            if let Err(problem) = stop(agent).await {
                problems.push(problem.to_string());
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems.join("; ").into()) }
    }
}

async fn stop(mut agent: Known) -> Result<()> {
    let client = Client::new(&agent.state);
    // One that does not answer was never started, or is ending already.
    let ended = match client.agent().await {
        Ok(info) => ask_to_stop(&client, info.pid).await,
        Err(_) => Ok(()),
    };
    if let Some(child) = &mut agent.child
        && tokio::time::timeout(PATIENCE, child.wait()).await.is_err()
    {
        child.kill().await?;
    }
    // Nothing is left to kill when all went well.
    kill_services(&agent.state);
    ended
}

async fn ask_to_stop(client: &Client, pid: u32) -> Result<()> {
    let asked = client.stop(StopServices::Stop).await;
    let until = Instant::now() + PATIENCE;
    while asked.is_ok() && Instant::now() < until {
        if client.agent().await.is_err() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
    Err("the agent did not stop when it was asked to, and was killed".into())
}

/// Kills the processes that an agent's state names, each made sure of by the time at which it was started.
fn kill_services(state: &Path) {
    let text = std::fs::read(state.join("agent.json")).unwrap_or_default();
    kill_named(&serde_json::from_slice(&text).unwrap_or_default());
}

fn kill_named(state: &serde_json::Value) {
    match state {
        serde_json::Value::Object(fields) => {
            let number = |name: &str| fields.get(name).and_then(serde_json::Value::as_u64);
            if let (Some(pid), Some(started)) = (number("pid"), number("startTime"))
                && start_time(pid) == Some(started)
                && let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw)
            {
                let _ = kill_process_group(pid, Signal::KILL);
            }
            fields.values().for_each(kill_named);
        }
        serde_json::Value::Array(values) => values.iter().for_each(kill_named),
        _ => {}
    }
}

/// Field 22 of `/proc/PID/stat`.
fn start_time(pid: u64) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Polls a service until it is as wanted.
pub(crate) async fn wait_for(
    client: &Client,
    service: &ServiceName,
    what: &str,
    wanted: impl Fn(&ServiceState) -> bool,
) -> Result<ServiceState> {
    let until = Instant::now() + PATIENCE;
    loop {
        let state = client.service(service).await?;
        if wanted(&state) {
            return Ok(state);
        }
        if Instant::now() > until {
            return Err(
                format!("gave up waiting until {what}; the service is {}", serde_json::to_string(&state)?).into()
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
