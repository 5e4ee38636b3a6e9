//! The conformance kit over the default plugins and the seeded bugs: built, then run by `basb-conformance-matrix`.

use crate::bench::Form;
use crate::shell::{self, Done, root, target};
use std::process::Command;

/// What is done with the table in `docs/conformance.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// It is written.
    Write,
    /// It is left as it is.
    Leave,
}

/// Builds and runs it. Fails when a plugin does not pass, or a bug is not caught.
pub fn run(only: &str, form: Form, table: Table) -> Done {
    crate::setup::run_if_needed()?;
    crate::build::workspace()?;
    run_built(only, form, table)
}

/// Runs what was built before.
pub fn run_built(only: &str, form: Form, table: Table) -> Done {
    let mut matrix = Command::new(target().join("debug/basb-conformance-matrix"));
    matrix.arg("run").arg("--folder").arg(target().join("conformance"));
    if !only.is_empty() {
        matrix.args(["--only", only]);
    }
    if form == Form::Json {
        matrix.arg("--json");
    }
    // A part of the matrix is no table.
    if table == Table::Write && only.is_empty() {
        matrix.arg("--table").arg(root().join("docs/conformance.md"));
    }
    shell::run(&mut matrix)
}
