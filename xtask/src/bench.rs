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
    // The one that measures a part of the host in its own process needs no other program.
    let packages: &[&str] = match what {
        "policy" => &["basb-bench"],
        "rollout" | "plugin-call" => &["basb-host", "second-brain", "basb-bench"],
        "scale" => &["basb-host", "basb-bench"],
        _ => return Err(format!("there is no benchmark `{what}`: there are rollout, plugin-call, policy and scale")),
    };
    crate::setup::run_if_needed()?;
    let mut build = cargo(["build", "--release", "--locked"]);
    for package in packages {
        build.args(["-p", package]);
    }
    shell::run(&mut build)?;
    let release = target().join("release");
    let example = root().join("examples/second-brain/deployment.yaml");
    let mut bench = Command::new(release.join("basb-bench"));
    bench.arg(what);
    if what != "policy" {
        bench.arg("--bin").arg(release.join("basb-host")).arg("--file").arg(example);
    }
    if what == "rollout" {
        bench.arg("--example").arg(release.join("second-brain"));
    }
    if form == Form::Json {
        bench.arg("--json");
    }
    shell::run(bench.args(more))
}
