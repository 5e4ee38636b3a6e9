//! Terraform with as many of its built-in `terraform_data`: no provider, no network, its state in a file.

use super::measured::run_measured;
use super::report::Other;
use crate::Result;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// Its version, or why there is none.
pub(crate) fn version(program: &Path) -> std::result::Result<String, String> {
    let why = |e: &dyn std::fmt::Display| format!("`{}` cannot be run: {e}; install it to compare", program.display());
    let output = Command::new(program).args(["version", "-json"]).output().map_err(|e| why(&e))?;
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).map_err(|e| why(&e))?;
    said.get("terraform_version")
        .and_then(|version| version.as_str())
        .map(str::to_owned)
        .ok_or_else(|| why(&"it does not tell its version"))
}

/// Creates the resources, then finds that nothing changed.
pub(crate) fn measure(program: &Path, home: &Path, services: usize) -> Result<Other> {
    let mut text = String::from("variable \"release\" { default = \"1\" }\n");
    for number in 1..=services {
        writeln!(text, "resource \"terraform_data\" \"service_{number:05}\" {{\n  input = var.release\n}}")?;
    }
    std::fs::write(home.join("main.tf"), text)?;
    let command = |args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).current_dir(home).env("CHECKPOINT_DISABLE", "1").env("TF_IN_AUTOMATION", "1");
        command
    };
    let log = home.join("terraform.log");
    run_measured(command(&["init", "-input=false", "-no-color"]), &log)?;
    let apply = ["apply", "-auto-approve", "-input=false", "-no-color"];
    let created = run_measured(command(&apply), &log)?;
    let unchanged = run_measured(command(&apply), &log)?;
    Ok(Other {
        services,
        wall_s: created.wall_s,
        cpu_s: created.cpu_s,
        max_rss_mb: created.max_rss_mb,
        unchanged_s: unchanged.wall_s,
    })
}
