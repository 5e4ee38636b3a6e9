//! The command line: what can be said, not what it does.

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;

/// Deploys services through sandboxed WebAssembly plugins.
///
/// Exit codes: 0 done, 1 error, 2 changes pending (plan), 3 aborted and rolled back, 4 waiting on a gate,
/// 5 rollback failed.
#[derive(Debug, Parser)]
#[command(name = "basb-host", version, propagate_version = true, disable_help_subcommand = true)]
pub struct Cli {
    /// What every command understands.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command understands.
#[derive(Debug, Args)]
pub struct Global {
    /// The folder for journal, agent and compiled plugins [default: ~/.local/state/basb-host]
    #[arg(long, global = true, env = "BASB_HOST_STATE", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub state: Option<PathBuf>,
    /// Print data as JSON: one document, or one versioned event per line
    #[arg(long, global = true)]
    pub json: bool,
    /// When to use colour; NO_COLOR is honoured
    #[arg(long, global = true, value_enum, default_value_t = ColorWhen::Auto, value_name = "WHEN")]
    pub color: ColorWhen,
    /// Say more on standard error; twice for even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Say nothing but data and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Which deployment.
#[derive(Debug, Clone, Args)]
pub struct FileArgs {
    /// The deployment file; for `run` also a plan that `plan --out` wrote
    #[arg(default_value = "deployment.yaml", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// The environment; not needed when the file has one only, or names a default
    #[arg(short, long, value_name = "NAME")]
    pub environment: Option<String>,
    /// Set a variable of the file
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub sets: Vec<(String, String)>,
    /// Refuse to go on without a lock file, instead of writing one
    #[arg(long)]
    pub locked: bool,
}

impl FileArgs {
    /// What may be done where there is no lock file.
    pub fn policy(&self) -> basb_registry::Policy {
        if self.locked { basb_registry::Policy::Locked } else { basb_registry::Policy::TrustFirstUse }
    }
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE, such as `--set release=2`".to_owned()),
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a deployment file and every plugin it uses, without changing anything
    Validate(FileArgs),
    /// Show what a run would do, and what of it cannot be undone; exit code 2 when there is something to do
    Plan {
        /// Which deployment.
        #[command(flatten)]
        file: FileArgs,
        /// Write the plan into a file, which `run FILE` carries out only if nothing has moved since
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        out: Option<PathBuf>,
    },
    /// Compare what is there with what is stable, without changing anything; exit code 2 when something differs
    Drift(FileArgs),
    /// Deploy: readiness, rollout, verification, and the way back when anything fails
    Run {
        /// Which deployment.
        #[command(flatten)]
        file: FileArgs,
        /// Start afresh although a run is unfinished; that one ends as superseded
        #[arg(long)]
        new: bool,
    },
    /// Take what exists for what is stable, as a run of its own; changes nothing outside
    Import(FileArgs),
    /// Go back to what was stable before, in one go and verified
    Undo(UndoArgs),
    /// List the revisions that were stable, with the numbers that `undo` takes
    Revisions(RevisionsArgs),
    /// Environments
    #[command(subcommand)]
    Env(EnvCommand),
    /// Back up, restore, check and recover the journal
    #[command(subcommand)]
    State(StateCommand),
    /// Show what is deployed, and the runs that are not finished
    Status {
        /// Follow it
        #[arg(short, long)]
        watch: bool,
    },
    /// List runs, newest first
    History {
        /// Only of this deployment
        #[arg(long, value_name = "NAME")]
        deployment: Option<String>,
        /// No more than this
        #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
        limit: u32,
    },
    /// Show everything that happened in a run
    Show {
        /// Its id, or the beginning of it; the newest run when left out
        run: Option<String>,
    },
    /// Print the logs of a service of the one-machine cloud
    Logs {
        /// The service: NAME, or DEPLOYMENT.ENVIRONMENT.NAME
        service: String,
        /// Only of this revision
        #[arg(long, value_name = "ID")]
        revision: Option<String>,
        /// Only so many last lines of each instance
        #[arg(long, value_name = "N", default_value_t = 100)]
        tail: u32,
        /// Go on as lines are written
        #[arg(short, long)]
        follow: bool,
    },
    /// Let a gate pass, or end a pause of the strategy; goes on with a run that nobody is at work on
    Promote {
        /// Of which run.
        #[command(flatten)]
        verb: VerbArgs,
        /// Skip the rest of the steps; verification and bake stay
        #[arg(long)]
        full: bool,
    },
    /// Begin nothing new; what is under way ends, and the time does not count
    Pause(VerbArgs),
    /// Go on after a pause, or with a run that nobody is at work on
    Resume(VerbArgs),
    /// Abort an unfinished run: back to the stable revisions
    Abort(VerbArgs),
    /// Stop the process at work on a run, after the changes that are under way; the run can be taken up again
    Stop(StopArgs),
    /// Try now what waits for its next attempt; a finished run without success is begun once more
    Retry(VerbArgs),
    /// Agree at a gate, to the plan of the run
    Approve(ApproveArgs),
    /// Release a lease by force, saying who held it, where and since when
    Unlock(UnlockArgs),
    /// Play a run back offline: every call of a plugin over its tape, every decision from the records; exit code 1 when
    /// anything is not byte for byte what it was
    Replay {
        /// Its id, or the beginning of it; the newest run when left out
        run: Option<String>,
        /// A plugin of the run whose bytes are not kept: a component file; may be given several times
        #[arg(long = "plugin", value_name = "FILE", value_hint = ValueHint::FilePath)]
        plugins: Vec<PathBuf>,
    },
    /// Run another version of a plugin over the tapes of recorded runs, and show how it differs; exit code 1 when it does
    Backtest(BacktestArgs),
    /// Tell what happened in a run, as Markdown: timeline, cause, what was rolled back and what could not be undone
    Postmortem {
        /// Its id, or the beginning of it; the newest run when left out
        run: Option<String>,
    },
    /// What passed between plugins and the outside
    #[command(subcommand)]
    Tape(TapeCommand),
    /// Show what plugins can do and what they did, and check the record of it; runs no plugin
    Audit(AuditArgs),
    /// Print the JSON Schema of the deployment file
    Schema,
    /// The one-machine cloud
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Plugins
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Print a completion script for a shell
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// What an operator's verb is about.
#[derive(Debug, Clone, Args)]
pub struct VerbArgs {
    /// The run's id, or the beginning of it; the only unfinished run when left out
    pub run: Option<String>,
    /// Only this service
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
}

/// Which run to stop.
#[derive(Debug, Clone, Args)]
pub struct StopArgs {
    /// The run's id, or the beginning of it; the only unfinished run when left out
    pub run: Option<String>,
    /// At once: what is under way is made again when the run goes on
    #[arg(long)]
    pub now: bool,
}

/// What to agree to.
#[derive(Debug, Clone, Args)]
pub struct ApproveArgs {
    /// The gate: the environment's name, or that of a service; `status` shows those that are open
    pub gate: String,
    /// The run's id, or the beginning of it; the only unfinished run when left out
    pub run: Option<String>,
    /// The plan that is agreed to; refused when the run is another one
    #[arg(long, value_name = "DIGEST")]
    pub plan: Option<String>,
    /// Who agrees [default: the user of this process]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

/// Which lease to release.
#[derive(Debug, Clone, Args)]
pub struct UnlockArgs {
    /// DEPLOYMENT/ENVIRONMENT, or a run; the only lease that is held when left out
    pub what: Option<String>,
    /// Also when its holder lives on this machine: it stops at its next write
    #[arg(long)]
    pub even_if_alive: bool,
}

/// What to go back to.
#[derive(Debug, Clone, Args)]
pub struct UndoArgs {
    /// Which deployment.
    #[command(flatten)]
    pub file: FileArgs,
    /// A number or an id from `revisions`; what was stable before when left out
    #[arg(long, value_name = "N|ID")]
    pub to_revision: Option<String>,
    /// Only this service; may be repeated. All whose stable revision came with the newest one when left out
    #[arg(long, value_name = "NAME")]
    pub service: Vec<String>,
}

/// Whose revisions.
#[derive(Debug, Clone, Args)]
pub struct RevisionsArgs {
    /// Only of this service
    pub service: Option<String>,
    /// Only of this deployment
    #[arg(long, value_name = "NAME")]
    pub deployment: Option<String>,
    /// Only in this environment
    #[arg(short, long, value_name = "NAME")]
    pub environment: Option<String>,
}

/// What to do with environments.
#[derive(Debug, Subcommand)]
pub enum EnvCommand {
    /// Deploy in one environment exactly what is verified in another, through its own rollout and checks
    Promote(EnvPromoteArgs),
}

/// From which environment to which.
#[derive(Debug, Clone, Args)]
pub struct EnvPromoteArgs {
    /// Where it is verified
    pub from: String,
    /// Where it is to go
    pub to: String,
    /// The deployment file
    #[arg(default_value = "deployment.yaml", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Set a variable of the file
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub sets: Vec<(String, String)>,
    /// Refuse to go on without a lock file, instead of writing one
    #[arg(long)]
    pub locked: bool,
}

/// What to do with the journal's file.
#[derive(Debug, Subcommand)]
pub enum StateCommand {
    /// Look for damage in the whole file, and check every run; exit code 1 when something is wrong
    Check {
        /// Another file, such as a back-up
        #[arg(value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
    },
    /// Copy the journal, and the plugins of its runs, into a new file, while runs go on
    Backup {
        /// The file
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Put a back-up into the journal's place; what is there is kept beside it
    Restore {
        /// The back-up
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Also where the journal holds runs
        #[arg(long)]
        replace: bool,
    },
    /// Make a whole journal of what a damaged one still holds; the damaged one is kept
    Recover,
}

/// Which plugin over which runs.
#[derive(Debug, Clone, Args)]
pub struct BacktestArgs {
    /// The other version: a component file, or builtin:NAME
    pub plugin: String,
    /// The runs, by their ids; the newest ones when left out
    #[arg(long, value_name = "RUN", num_args = 1.., value_delimiter = ',')]
    pub runs: Vec<String>,
    /// So many of the newest runs, where none is named
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub last: u32,
    /// The name that the plugin has in the deployment files; that of its manifest when left out
    #[arg(long = "as", value_name = "NAME")]
    pub as_name: Option<String>,
}

/// What to do with tapes.
#[derive(Debug, Clone, Subcommand)]
pub enum TapeCommand {
    /// List the tapes of a run, or show one of them exchange by exchange
    Show {
        /// The run's id, or the beginning of it; the newest run when left out
        run: Option<String>,
        /// The number of the tape
        #[arg(requires = "run")]
        call: Option<u64>,
    },
    /// Write a run with its records and tapes to one file
    Export {
        /// The run's id, or the beginning of it
        run: String,
        /// The file
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Take the run in such a file over, to show, audit and replay it here
    Import {
        /// The file
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Drop the texts of old tapes of finished runs; their digests stay, so `audit verify` holds
    Prune {
        /// Only of this run
        run: Option<String>,
        /// Only of calls that are older than this, such as 30d; 0 for all
        #[arg(long, value_name = "TIME", value_parser = crate::commands::tapes::span)]
        older_than: basb_core::Millis,
    },
}

/// What to do with the one-machine cloud.
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Start it, if it is not running; services that it knows are taken up again
    Start,
    /// Stop it; services go on running unless `--services` is given
    Stop {
        /// Stop the services too
        #[arg(long)]
        services: bool,
    },
    /// Show it and its services
    Status,
    /// Be the agent, in the foreground
    Serve,
}

/// What to do with plugins.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Show what a plugin is and what it can ask for, from its bytes, without running it
    Inspect {
        /// A component file, or builtin:NAME
        source: String,
    },
    /// List the plugins that come with basb-host
    List,
    /// Show what differs from basb.lock, and agree to it; exit code 2 when something differs
    Update(UpdateArgs),
    /// Write a project of a plugin that builds, tests and certifies as it stands
    New(NewArgs),
    /// Build a project of a plugin: the component, with its manifest in it
    Build {
        /// The project
        #[arg(default_value = ".", value_hint = ValueHint::DirPath)]
        folder: PathBuf,
        /// The component's file [default: target/plugin/NAME.wasm]
        #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        out: Option<PathBuf>,
    },
    /// Make a kit file of what a plugin was asked for and answered in a run, for `plugin test`
    Record {
        /// The run's id, or the beginning of it
        run: String,
        /// The plugin's name in the deployment file
        plugin: String,
        /// The kit file [default: PLUGIN.recorded.json]
        #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        out: Option<PathBuf>,
    },
    /// Certify a provider, a probe or a notifier without a cloud: a fault at every exchange, one at a time; exit code 1
    /// when one of them changes what comes of it
    Test(TestArgs),
}

/// What to write.
#[derive(Debug, Clone, Args)]
pub struct NewArgs {
    /// What it makes
    #[arg(value_enum)]
    pub kind: NewKind,
    /// Its name, such as provider-acme: that of the folder, the package and the plugin
    pub name: String,
    /// Who publishes it
    #[arg(long, default_value = "unknown", value_name = "NAME")]
    pub publisher: String,
    /// A folder with the SDK, in place of its repository
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub sdk: Option<PathBuf>,
}

/// The kinds of plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NewKind {
    /// Makes services run somewhere
    Provider,
    /// Takes a measurement
    Probe,
    /// Delivers events
    Notifier,
    /// Decides how a candidate gets its traffic
    Strategy,
    /// Compares samples
    Judge,
    /// Renders documents
    Generator,
}

/// What to certify.
#[derive(Debug, Clone, Args)]
pub struct TestArgs {
    /// A component file, or builtin:NAME
    #[arg(required_unless_present = "schema", value_name = "FILE")]
    pub source: Option<String>,
    /// How: scenario and counterpart [default: conformance.yaml beside FILE, or in this folder]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub kit: Option<PathBuf>,
    /// Talk to this counterpart in place of the kit file's: http://127.0.0.1:PORT or unix:/path
    #[arg(long, value_name = "ADDRESS")]
    pub counterpart: Option<String>,
    /// Only this fault; may be repeated. 429 means 429 without Retry-After
    #[arg(long = "fault", value_name = "NAME", value_parser = fault)]
    pub faults: Vec<basb_conformance::fault::Fault>,
    /// Only every Nth exchange: a look at a slow counterpart, not a certificate
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub every: usize,
    /// Write the result as JUnit XML, too
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub junit: Option<PathBuf>,
    /// Print the JSON Schema of the kit file, and do nothing else
    #[arg(long)]
    pub schema: bool,
}

fn fault(word: &str) -> Result<basb_conformance::fault::Fault, String> {
    basb_conformance::fault::Fault::from_word(word).ok_or_else(|| {
        let all = basb_conformance::fault::Fault::ALL.map(basb_conformance::fault::Fault::word);
        format!("there are {}", all.join(", "))
    })
}

/// Which plugins to agree to.
#[derive(Debug, Clone, Args)]
pub struct UpdateArgs {
    /// The plugins, by their names in the deployment file; all of them when left out
    pub names: Vec<String>,
    /// The deployment file; basb.lock is beside it
    #[arg(short, long, default_value = "deployment.yaml", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// The environment; not needed when the file has one only, or names a default
    #[arg(short, long, value_name = "NAME")]
    pub environment: Option<String>,
    /// Set a variable of the file
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub sets: Vec<(String, String)>,
    /// Agree: write basb.lock
    #[arg(long)]
    pub accept: bool,
}

/// What to audit.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct AuditArgs {
    /// What else to do.
    #[command(subcommand)]
    pub command: Option<AuditCommand>,
    /// A component file, builtin:NAME, or a deployment file
    #[arg(default_value = "deployment.yaml", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub what: String,
    /// The environment of the deployment file; not needed when it has one only, or names a default
    #[arg(short, long, value_name = "NAME")]
    pub environment: Option<String>,
    /// Set a variable of the deployment file
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub sets: Vec<(String, String)>,
    /// Print SARIF 2.1.0, which code scanners read
    #[arg(long)]
    pub sarif: bool,
}

/// What else to audit.
#[derive(Debug, Clone, Subcommand)]
pub enum AuditCommand {
    /// Show what a new version can do that the old one could not
    Diff {
        /// A component file, builtin:NAME, or an entry of a lock file: basb.lock#NAME
        old: String,
        /// The same
        new: String,
    },
    /// Show what the plugins of a run had the host do: every call, from the journal
    Run {
        /// The run's id, or the beginning of it; the newest run when left out
        run: Option<String>,
        /// Only what was refused
        #[arg(long)]
        denied: bool,
    },
    /// Check that the journal is as it was written; exit code 1 when it is not
    Verify {
        /// The run's id, or the beginning of it; all runs when left out
        run: Option<String>,
    },
}
