//! Kills of the host and of the agent: built, then run by the program `basb-crash`.

use crate::bench::Form;
use crate::shell::{self, Done, target};
use std::process::Command;

/// How much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// What CI runs.
    Ci,
    /// Everything: the better part of two hours.
    Whole,
}

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Options {
    /// Only parts whose name contains this.
    pub only: String,
    /// How much.
    pub share: Share,
    /// The seed of everything that is random.
    pub seed: Option<u64>,
    /// So many runs at once.
    pub jobs: Option<usize>,
    /// How the report is printed.
    pub form: Form,
}

/// Builds and runs it. Fails when an effect is lost or done twice, an end differs, or a request fails.
pub fn run(options: &Options) -> Done {
    crate::setup::run_if_needed()?;
    crate::build::workspace()?;
    crash(options)
}

/// Runs what was built.
pub fn crash(options: &Options) -> Done {
    let mut crash = Command::new(target().join("debug/basb-crash"));
    crash.arg("--folder").arg(target().join("tmp/basb-crash"));
    crash.args(["--share", if options.share == Share::Ci { "ci" } else { "whole" }]);
    if !options.only.is_empty() {
        crash.args(["--only", &options.only]);
    }
    for (name, number) in [("--seed", options.seed), ("--jobs", options.jobs.map(|n| n as u64))] {
        if let Some(number) = number {
            crash.args([name.to_owned(), number.to_string()]);
        }
    }
    if options.form == Form::Json {
        crash.arg("--json");
    }
    shell::run(&mut crash)
}
