//! Hostile guests and tricks against the host: built, then run by the program `basb-hostile`.

use crate::bench::Form;
use crate::shell::{self, Done, target};
use std::process::Command;

/// Builds and runs the hostile cases. Fails when one of them is not contained.
pub fn run(only: &str, form: Form) -> Done {
    crate::setup::run_if_needed()?;
    crate::build::workspace()?;
    run_built(only, form)
}

/// Runs the hostile cases that were built before.
pub fn run_built(only: &str, form: Form) -> Done {
    let mut hostile = Command::new(target().join("debug/basb-hostile"));
    hostile.arg("run").arg("--folder").arg(target().join("hostile"));
    if !only.is_empty() {
        hostile.args(["--only", only]);
    }
    if form == Form::Json {
        hostile.arg("--json");
    }
    shell::run(&mut hostile)
}
