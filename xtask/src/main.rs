//! `cargo xtask …`: sets up, demonstrates, tests and measures basb-host.
//!
//! **Must never** need anything but rustup and a C compiler for `demo` and `test`; what else a benchmark compares with is
//! asked for by name when it is missing.

mod bench;
mod demo;
mod setup;
mod shell;
mod test;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Sets up, demonstrates, tests and measures basb-host")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add what is missing: the WebAssembly targets
    Setup,
    /// Deploy four real MCP services, roll a new version out under load, let a broken one be rolled back
    Demo {
        /// Keep the services running, and the state, at the end
        #[arg(long)]
        keep: bool,
    },
    /// Everything that CI runs
    Test {
        /// Only these: fmt, clippy, unit, end-to-end, docs
        only: Vec<String>,
    },
    /// Measure, with a release build
    Bench {
        /// What: rollout, plugin-call
        what: String,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        /// Further arguments for the benchmark
        #[arg(last = true)]
        more: Vec<String>,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Setup => setup::run(),
        Command::Demo { keep } => demo::run(if keep { demo::After::Keep } else { demo::After::CleanUp }),
        Command::Test { only } => test::run(&only),
        Command::Bench { what, json, more } => {
            bench::run(&what, if json { bench::Form::Json } else { bench::Form::Text }, &more)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            shell::say(&format!("error: {message}"));
            ExitCode::FAILURE
        }
    }
}
