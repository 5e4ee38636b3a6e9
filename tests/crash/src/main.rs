//! Kills the host and the agent anywhere, and counts what is lost or done twice: `cargo xtask crash`.
//!
//! Each disturbed run is compared with an undisturbed one: the effects that a cloud outside the host has on record, one by
//! one and in order, the state at the end, the notifications, the journal. What is random comes from a seed, which is said.
//!
//! **Must never** count a kill that did not happen, take an effect's absence for its success, listen on anything but
//! loopback, or leave a process behind.
//!
//! | To see | go to |
//! |---|---|
//! | the cloud that records every effect | [`cloud`], its provider in `tests/guests/recorder` |
//! | the host that kills itself at an entry | `bin/basb-host-crash.rs`, `host/journal/src/observer.rs` |
//! | a run on the recording cloud, disturbed and compared | [`recorded`] |
//! | the real services, the agent, and their users | [`local`], [`load`] |
//! | a call of many requests, killed between any two of them | [`in_call`] |
//! | what was asked of a run while its process was killed | [`asked`] |
//! | two runners on one state | [`fencing`] |
//! | what is run in CI, and what at length | [`parts`] |

#![expect(
    clippy::indexing_slicing,
    reason = "a program of tests: JSON that is not as expected reads as null, and the comparison tells"
)]

mod asked;
mod book;
mod cloud;
mod daily_log;
mod fencing;
mod host;
mod in_call;
mod load;
mod local;
mod parts;
mod recorded;
mod report;

use clap::{Parser, ValueEnum};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "basb-crash", about = "Kills the host and the agent anywhere, and counts what is lost or done twice")]
struct Cli {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Only parts whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// How much: what CI runs in three minutes, or everything
    #[arg(long, value_enum, default_value_t = Share::Whole)]
    share: Share,
    /// The seed of everything that is random; the time when left out
    #[arg(long)]
    seed: Option<u64>,
    /// So many runs at once; as many as there are processors when left out
    #[arg(long)]
    jobs: Option<usize>,
    /// Where everything is put; runs that went wrong are left there
    #[arg(long)]
    folder: PathBuf,
}

/// How much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Share {
    /// What CI runs.
    Ci,
    /// Everything.
    Whole,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = cli.seed.unwrap_or_else(|| now.map_or(1, |time| time.as_secs()));
    let jobs = cli.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, std::num::NonZero::get));
    let options = parts::Options { only: cli.only, share: cli.share, seed, jobs, folder: cli.folder };
    say(&format!("seed {seed}, {jobs} at once"));
    match parts::run(&options) {
        Ok(report) => {
            if cli.json {
                let text = serde_json::to_string_pretty(&report).unwrap_or_default();
                // Nobody to tell when standard output is gone.
                let _ = writeln!(std::io::stdout(), "{text}");
            }
            say(&format!(
                "{} kills: {} effects lost, {} done twice, {} ends differ, {} requests failed (seed {seed})",
                report.kills, report.lost, report.doubled, report.end_state_differs, report.failed_requests
            ));
            if report.good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(why) => {
            say(&format!("error: {why}"));
            ExitCode::FAILURE
        }
    }
}

/// Says how it goes, on standard error: standard output is for the report.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
