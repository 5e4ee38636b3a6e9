//! The benchmarks of basb-host, a subcommand each. Figures mean something for release builds only.
//!
//! **Must never** report a figure without the one that it is compared with, measured in the same run.

mod haproxy;
mod load;
mod load_reply;
mod plugin_call;
mod policy;
mod rollout;
mod scale;

use clap::{Parser, Subcommand};
use std::io::Write as _;
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "The benchmarks of basb-host")]
struct Args {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// What a call of a plugin costs, beside a bare wasmtime call of the same component
    PluginCall(plugin_call::Args),
    /// What the door to the network costs a request itself
    Policy(policy::Args),
    /// A canary under load, a rollback, and the proxy beside HAProxy
    Rollout(rollout::Args),
    /// Deployments of thousands of services, beside Terraform
    Scale(scale::Args),
    /// The trivial service that the rollout benchmark puts behind both proxies
    #[command(hide = true)]
    RolloutUpstream(rollout::upstream::Args),
}

/// What can go wrong: any of it ends the run.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How a report is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

fn main() -> ExitCode {
    // Plugins are compiled by this program once more, in a process of its own.
    basb_runtime::compiler::serve_if_asked();
    let done = match Args::parse().bench {
        Bench::PluginCall(args) => plugin_call::run(&args),
        Bench::Policy(args) => policy::run(&args),
        Bench::Rollout(args) => rollout::run(&args),
        Bench::Scale(args) => scale::run(&args),
        Bench::RolloutUpstream(args) => rollout::upstream::run(&args),
    };
    match done {
        Ok(report) => {
            let mut out = std::io::stdout().lock();
            if writeln!(out, "{report}").is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}
