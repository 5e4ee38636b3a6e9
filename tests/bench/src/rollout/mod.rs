//! A canary under full load, the rollback of a broken release, and the proxy beside HAProxy, in one run.
//!
//! **Must never** leave anything running: whatever it starts it stops by process id, also when it fails.

mod canary;
mod compare;
mod lab;
mod report;
mod shares;
pub(crate) mod upstream;

use crate::{Form, Result};
use lab::Lab;
use report::{Other, Report};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// The `basb-host` binary
    #[arg(long, value_name = "PATH")]
    bin: PathBuf,
    /// The `second-brain` binary
    #[arg(long, value_name = "PATH")]
    example: PathBuf,
    /// The deployment file, with the variables `release`, `program` and `vault`
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// The service of the deployment that gets the load
    #[arg(long, default_value = "capture", value_name = "NAME")]
    service: String,
    /// HAProxy [default: looked up in PATH and /usr/sbin]
    #[arg(long = "haproxy", value_name = "PATH")]
    haproxy_program: Option<PathBuf>,
    /// Keep-alive connections of the load
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Rounds of each proxy
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(3..))]
    rounds: u32,
    /// Seconds that a round takes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    round_seconds: u64,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Only the comparison with HAProxy
    #[arg(long, hide = true)]
    compare_only: bool,
    /// Measure a debug build: to try the benchmark itself out
    #[arg(long, hide = true)]
    debug_build: bool,
    /// The program, or why there is none.
    #[arg(skip = Err(String::new()))]
    haproxy: std::result::Result<PathBuf, String>,
}

impl Args {
    fn with_absolute_paths(&self) -> Result<Self> {
        let mut args = self.clone();
        args.bin = there(&self.bin)?;
        args.example = there(&self.example)?;
        args.file = there(&self.file)?;
        args.haproxy = match &self.haproxy_program {
            Some(program) => Ok(there(program)?),
            None => find_haproxy(),
        };
        Ok(args)
    }

    fn round(&self) -> Duration {
        Duration::from_secs(self.round_seconds)
    }

    async fn haproxy_or_reason(&self) -> Other {
        match &self.haproxy {
            Ok(program) => Other { version: crate::haproxy::version(program).await.ok(), ..Other::default() },
            Err(why) => Other { skipped: Some(why.clone()), ..Other::default() },
        }
    }
}

fn there(path: &Path) -> Result<PathBuf> {
    Ok(std::fs::canonicalize(path).map_err(|error| format!("{}: {error}", path.display()))?)
}

fn find_haproxy() -> std::result::Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let mut programs = folders.map(|folder| folder.join("haproxy"));
    let why = "haproxy is not installed, so nothing is compared; install it (`apt-get install haproxy`) or name it \
               with --haproxy PATH";
    programs.find(|program| program.is_file()).ok_or_else(|| why.to_owned())
}

/// Measures everything.
pub(crate) fn run(args: &Args) -> Result<String> {
    if cfg!(debug_assertions) && !args.debug_build {
        return Err("this is a debug build, whose figures mean nothing; run `cargo xtask bench rollout`".into());
    }
    let lab = Lab::new(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let outcome = tokio::select! {
            outcome = all(&lab) => outcome,
            _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
            _ = terminate.recv() => Err("terminated".into()),
        };
        let stopped = lab.stop_all().await;
        let text = outcome?;
        stopped?;
        Ok(text)
    })
}

async fn all(lab: &Lab) -> Result<String> {
    let form = if lab.args.json { Form::Json } else { Form::Text };
    if lab.args.compare_only {
        let compared = compare::measure(lab).await?;
        let both = serde_json::json!({ "mcp": compared.mcp, "fast": compared.fast, "kill": compared.kill });
        return Ok(serde_json::to_string_pretty(&both)?);
    }
    let (canary, broken) = canary::measure(lab).await?;
    // The services of the deployment are not to take part in what follows.
    lab.stop_all().await?;
    let compared = compare::measure(lab).await?;
    let mut examples = canary.examples;
    examples.extend(compared.examples);
    let mcp = compared.mcp;
    let report = Report {
        requests: canary.requests,
        failed: canary.failed,
        max_share_error_pp: shares::largest_error(&canary.shares),
        shares: canary.shares,
        rps: mcp.rps,
        p99_ms: mcp.p99_ms,
        haproxy: mcp.haproxy,
        rps_ratio: mcp.rps_ratio,
        p99_ratio: mcp.p99_ratio,
        cpu_us: mcp.cpu_us,
        compared_failed: mcp.failed,
        compared_requests: mcp.requests,
        rounds: mcp.rounds,
        fast: compared.fast,
        kill: compared.kill,
        rollback_s: broken.rollback_s,
        broken,
        connections: lab.args.connections,
        examples,
    };
    Ok(match form {
        Form::Json => serde_json::to_string_pretty(&report)?,
        Form::Text => report::text(&report),
    })
}
