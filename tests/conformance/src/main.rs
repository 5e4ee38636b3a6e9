//! The conformance kit over every default provider, probe and notifier, and over a provider with seeded bugs, each of
//! which it must catch: `cargo xtask conformance`.
//!
//! **Must never** count a bug as caught where the kit did not run, or leave out a default plugin that has an outside.
//!
//! | To see | go to |
//! |---|---|
//! | which plugins are certified, and how | [`plugins`], `kits/` |
//! | which bugs are seeded | [`seeded`], `tests/guests/cloud-provider` |
//! | the table in `docs/conformance.md` | [`table`] |

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test: what fails here fails the whole")]

mod plugins;
mod seeded;
mod serve;
mod table;

use basb_conformance::report::Report;
use clap::{Parser, Subcommand};
use serde_json::json;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(
    name = "basb-conformance-matrix",
    about = "The conformance kit over every default plugin and over seeded bugs"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Certify all default plugins, and look for all seeded bugs
    Run {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        /// Only plugins and bugs whose name contains this
        #[arg(long, default_value = "")]
        only: String,
        /// Where guests are kept, and the code that is compiled from plugins
        #[arg(long)]
        folder: PathBuf,
        /// Write the table into this file
        #[arg(long)]
        table: Option<PathBuf>,
    },
    /// Certify a provider over a counterpart that is another process: some exchanges, two faults
    External {
        /// Where code is kept that is compiled from plugins
        #[arg(long)]
        folder: PathBuf,
    },
    /// Serve a scripted counterpart on 127.0.0.1, as an external one
    Serve {
        /// The script
        script: PathBuf,
        /// The port
        port: u16,
    },
    /// Build the provider with the seeded bugs into a file
    Guest {
        /// The file
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    // The compiler of the host under test is this program once more.
    basb_runtime::compiler::serve_if_asked();
    basb_capabilities::exec::keeper::serve_if_asked();
    match Cli::parse().command {
        Command::Serve { script, port } => {
            tokio::runtime::Runtime::new().unwrap().block_on(serve::serve(&script, port));
            ExitCode::SUCCESS
        }
        Command::External { folder } => {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let report = runtime.block_on(seeded::over_a_process(&folder.join("cache")));
            say(&report.json().to_string());
            if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Command::Guest { file } => {
            std::fs::write(&file, basb_guest_build::build(seeded::GUEST)).unwrap();
            ExitCode::SUCCESS
        }
        Command::Run { json, only, folder, table } => {
            std::fs::create_dir_all(&folder).unwrap();
            let cache = folder.join("cache");
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let plugins = runtime.block_on(plugins::certify_all(&only, &cache));
            let seeded = runtime.block_on(seeded::look_for_all(&only, &cache));
            let caught = seeded.iter().filter(|bug| bug.caught.is_some()).count();
            let passed = plugins.iter().all(plugins::Certified::passed) && caught == seeded.len();
            if let Some(file) = table {
                std::fs::write(&file, table::document(&plugins, &seeded)).unwrap();
            }
            if json {
                let one = |plugin: &plugins::Certified| {
                    let report = plugin.report.as_ref();
                    json!({
                        "name": plugin.name,
                        "faults": report.map_or(0, Report::injected),
                        "passed": plugin.passed(),
                        "why": report.is_none().then_some("it has no kit file yet"),
                        "report": report.map(Report::json),
                    })
                };
                let bug = |bug: &seeded::Bug| json!({ "name": bug.name, "caughtBy": bug.caught });
                let document = json!({
                    "version": 1,
                    "plugins": plugins.iter().map(one).collect::<Vec<_>>(),
                    "seeded_bugs": {
                        "total": seeded.len(), "caught": caught, "bugs": seeded.iter().map(bug).collect::<Vec<_>>(),
                    },
                });
                say(&document.to_string());
            } else {
                for plugin in &plugins {
                    match &plugin.report {
                        Some(report) => say(&report.text()),
                        None => say(&format!("{}: NOT CERTIFIED: it has no kit file yet", plugin.name)),
                    }
                }
                for bug in &seeded {
                    let how = bug.caught.as_deref().unwrap_or("NOT CAUGHT");
                    say(&format!("seeded bug {:<24} {how}", bug.name));
                }
                say(&format!("{caught} of {} seeded bugs are caught", seeded.len()));
            }
            if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

/// Writes a line to standard output.
fn say(text: &str) {
    // Nobody to tell when standard output is gone.
    let _ = writeln!(std::io::stdout(), "{text}");
}
