//! Hostile guests and tricks against the host, each of which must be contained: `cargo xtask hostile`.
//!
//! A case passes only if the expected kind of containment was seen, with a message that names plugin, digest and call
//! and says what to do; if nothing reached a server that it must not reach; if the process grew by less than the case's
//! bound; and if a well-behaved neighbour still works right afterwards. Each case runs in a process of its own, so that
//! one which brings the host down is a failure and not the end.
//!
//! **Must never** count as contained what did not run, listen on anything but loopback, or leave a process behind.
//!
//! | To see | go to |
//! |---|---|
//! | what is attacked, and how | [`cases`], a file for each part of the host |
//! | what a case must show | [`expect`], [`judge`] |
//! | how cases are isolated | [`parent`] |
//! | the servers of attackers and victims, and their names | [`server`], [`names`] |
//! | a host with a hostile guest and a neighbour | [`lab`] |
//! | a whole deployment with the real binary | [`deployment`] |
//! | the guests | `tests/guests/hostile-*`, `tests/guests/wat` |

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test: what fails here fails one case, which runs in a process of its own"
)]

mod case;
mod cases;
mod deployment;
mod expect;
mod guests;
mod judge;
mod lab;
mod memory;
mod names;
mod neighbour;
mod parent;
mod server;

use clap::{Parser, Subcommand};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "basb-hostile", about = "Hostile guests and tricks against the host: each must be contained")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run all cases, each in a process of its own
    Run {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        /// Only cases whose name contains this
        #[arg(long, default_value = "")]
        only: String,
        /// So many at once
        #[arg(long, default_value_t = 3)]
        jobs: usize,
        /// Where the guests are kept, and the code that is compiled from them
        #[arg(long)]
        folder: PathBuf,
    },
    /// Run one case in this process
    Case {
        /// Its name
        name: String,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        /// Where the guests are
        #[arg(long)]
        folder: PathBuf,
    },
    /// List the cases
    List,
}

fn main() -> ExitCode {
    // The compiler of the host under test and its keeper of programs are this program once more.
    basb_runtime::compiler::serve_if_asked();
    basb_capabilities::exec::keeper::serve_if_asked();
    match Cli::parse().command {
        Command::Run { json, only, jobs, folder } => {
            let options = parent::Options { only, jobs, folder };
            parent::run(&options, if json { parent::Form::Json } else { parent::Form::Text })
        }
        Command::Case { name, json, folder } => {
            let result = judge::run(&name, &folder);
            if json {
                say(&serde_json::to_string(&result).unwrap());
            } else {
                say(&serde_json::to_string_pretty(&result).unwrap());
            }
            if result.contained { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Command::List => {
            for case in cases::all() {
                say(&format!("{:<40} {}", case.name, case.attacks));
            }
            ExitCode::SUCCESS
        }
    }
}

/// Writes a line to standard output.
fn say(text: &str) {
    // Nobody to tell when standard output is gone.
    let _ = writeln!(std::io::stdout(), "{text}");
}
