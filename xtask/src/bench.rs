//! The benchmarks: built in release, then run by the program `basb-bench`.

use crate::shell::{self, Done, cargo, root, target};
use std::process::Command;

/// How the figures are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// Builds and runs a benchmark.
pub fn run(what: &str, form: Form, more: &[String]) -> Done {
    if !["rollout", "plugin-call"].contains(&what) {
        return Err(format!("there is no benchmark `{what}`: there are rollout and plugin-call"));
    }
    crate::setup::run_if_needed()?;
    shell::run(&mut cargo([
        "build",
        "--release",
        "--locked",
        "-p",
        "basb-host",
        "-p",
        "second-brain",
        "-p",
        "basb-bench",
    ]))?;
    let release = target().join("release");
    let example = root().join("examples/second-brain/deployment.yaml");
    let mut bench = Command::new(release.join("basb-bench"));
    bench.arg(what).arg("--bin").arg(release.join("basb-host"));
    if what == "rollout" {
        bench.arg("--example").arg(release.join("second-brain"));
    }
    bench.arg("--file").arg(example);
    if form == Form::Json {
        bench.arg("--json");
    }
    shell::run(bench.args(more))
}
