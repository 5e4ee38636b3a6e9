//! Deployments of thousands of services: a three-step canary with one probe each, through a provider and a probe that do
//! nothing, so that what is measured is the host; beside Terraform with as many of its own `terraform_data`, which do
//! nothing either.
//!
//! **Must never** be kinder to the host than a user's run is: the real binary, its journal synced as ever and on a disk.

mod files;
mod measured;
mod report;
mod terraform;

use crate::{Form, Result};
use measured::{Measured, run_measured};
use report::{Reading, Report, Run};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// The `basb-host` binary
    #[arg(long, value_name = "PATH")]
    bin: PathBuf,
    /// How many services; can be given several times
    #[arg(long, default_values_t = [100, 1000, 5000, 20_000])]
    services: Vec<usize>,
    /// Whether they are one group, and become stable together or not at all
    #[arg(long, value_enum, default_value_t = files::Grouping::None)]
    group: files::Grouping,
    /// Canaries of each size; the best counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The largest number of resources for Terraform, whose time grows with the square; 0 leaves it out
    #[arg(long, default_value_t = 5000)]
    terraform_most: usize,
    /// Terraform [default: looked up in PATH]
    #[arg(long, default_value = "terraform", value_name = "PATH")]
    terraform: PathBuf,
    /// Where to work; must be on a disk [default: beside the binary]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Leave the files there
    #[arg(long)]
    keep: bool,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Not used: every benchmark is given one
    #[arg(long, hide = true)]
    file: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<String> {
    let bin = std::fs::canonicalize(&args.bin).map_err(|e| format!("{}: {e}", args.bin.display()))?;
    let beside = bin.parent().ok_or("the binary has no folder")?;
    let base = args.folder.as_deref().unwrap_or(beside);
    on_a_disk(base)?;
    let mut folder = tempfile::Builder::new().prefix("bench-scale-").tempdir_in(base)?;
    folder.disable_cleanup(args.keep);
    let plugins = files::plugins(folder.path())?;
    let mut report = Report::default();
    report.cores = std::thread::available_parallelism().map_or(1, usize::from);
    report.rounds = args.rounds;
    for services in &args.services {
        say(&format!("{services} services"));
        let home = folder.path().join(format!("basb-{services}"));
        std::fs::create_dir_all(&home)?;
        let host = Host { bin: &bin, home: &home };
        files::deployment(&home, &plugins, *services, args.group)?;
        report.runs.push(host.measure(*services, args.rounds)?);
    }
    report.unchanged_5000_s = report.runs.iter().find(|run| run.services == 5000).map(|run| run.unchanged_s);
    report.conclude();
    match terraform::version(&args.terraform) {
        _ if args.terraform_most == 0 => report.terraform_skipped = Some("left out by --terraform-most 0".to_owned()),
        Err(why) => report.terraform_skipped = Some(why),
        Ok(version) => {
            report.terraform_version = Some(version);
            for services in args.services.iter().filter(|services| **services <= args.terraform_most) {
                say(&format!("terraform, {services} resources"));
                let home = folder.path().join(format!("terraform-{services}"));
                std::fs::create_dir_all(&home)?;
                report.terraform.push(terraform::measure(&args.terraform, &home, *services)?);
            }
        }
    }
    if let Some(why) = &report.terraform_skipped {
        say(&format!("NOT COMPARED with terraform: {why}"));
    }
    Ok(match if args.json { Form::Json } else { Form::Text } {
        Form::Json => serde_json::to_string_pretty(&report)?,
        Form::Text => report.text(),
    })
}

/// The binary with a state folder of its own.
struct Host<'a> {
    bin: &'a Path,
    home: &'a Path,
}

impl Host<'_> {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.bin);
        command.args(args).arg("--state").arg(self.home.join("state")).current_dir(self.home);
        command
    }

    fn deploy(&self, release: u32) -> Result<Measured> {
        let release = format!("release={release}");
        run_measured(self.command(&["run", "deployment.yaml", "--set", &release]), &self.home.join("run.log"))
    }

    fn read(&self, args: &[&str]) -> Result<f64> {
        Ok(run_measured(self.command(args), &self.home.join("read.log"))?.wall_s)
    }

    fn measure(&self, services: usize, rounds: u32) -> Result<Run> {
        // The first release compiles the plugins, and skips the steps: there is nothing to protect yet.
        let first = self.deploy(1)?;
        let canaries =
            (2..=rounds.saturating_add(1)).map(|release| self.deploy(release)).collect::<Result<Vec<_>>>()?;
        let canary = measured::best(&canaries).ok_or("no round")?;
        let last = rounds.saturating_add(1);
        let same = (0..rounds).map(|_| self.deploy(last)).collect::<Result<Vec<_>>>()?;
        let unchanged = measured::best(&same).ok_or("no round")?;
        let run = self.newest_canary()?;
        let file = std::fs::metadata(self.home.join("state/journal/journal.sqlite3"))?.len();
        let reading = Reading {
            status_s: self.read(&["status", "--json"])?,
            history_s: self.read(&["history", "--json"])?,
            show_s: self.read(&["show", &run.0, "--json"])?,
        };
        let walls: Vec<f64> = canaries.iter().map(|measured| measured.wall_s).collect();
        Ok(Run::new(services, &first, &canary, walls, &unchanged, run.1, file, reading))
    }

    /// The id of the last run that changed something, and how many entries its journal has.
    fn newest_canary(&self) -> Result<(String, u64)> {
        let output = self.command(&["history", "--json"]).output()?;
        let history: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let runs = history.get("runs").and_then(|runs| runs.as_array()).ok_or("no history")?;
        let entries = |run: &serde_json::Value| run.get("entries").and_then(serde_json::Value::as_u64).unwrap_or(0);
        let longest = runs.iter().max_by_key(|run| entries(run)).ok_or("no run")?;
        let id = longest.get("run").and_then(|id| id.as_str()).ok_or("no id")?;
        Ok((id.to_owned(), entries(longest)))
    }
}

/// A sync on a file system in memory costs nothing, and proves nothing.
fn on_a_disk(folder: &Path) -> Result<()> {
    const TMPFS: i64 = 0x0102_1994;
    const RAMFS: i64 = 0x8584_58f6;
    let kind = rustix::fs::statfs(folder)?.f_type;
    if kind == TMPFS || kind == RAMFS {
        return Err(format!("{} is in memory: name a folder on a disk with --folder", folder.display()).into());
    }
    Ok(())
}

fn say(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{text}");
}
