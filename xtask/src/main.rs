//! `cargo xtask …`: sets up, demonstrates, tests and measures basb-host.
//!
//! **Must never** need anything but rustup and a C compiler for `demo` and `test`; what else a benchmark compares with is
//! asked for by name when it is missing.

mod apt;
mod bench;
mod build;
mod conformance;
mod containers;
mod counterparts;
mod crash;
mod demo;
mod fuzz;
mod hostile;
mod kubernetes;
mod languages;
mod providers;
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
    /// Add what is missing: the WebAssembly targets, or what else is named
    Setup {
        /// What: the real services that secrets and credentials are tested against, container engines, Kubernetes, or the tools of other languages
        #[arg(value_enum)]
        what: Option<Extra>,
    },
    /// Deploy four real MCP services, roll a new version out under load, let a broken one be rolled back
    Demo {
        /// Keep the services running, and the state, at the end
        #[arg(long)]
        keep: bool,
    },
    /// Everything that CI runs
    Test {
        /// Only these: fmt, clippy, unit, end-to-end, hostile, docs; and, only when they are named, providers, crash, conformance
        only: Vec<String>,
    },
    /// Search for inputs that readers stumble over, with libFuzzer and the nightly toolchain
    Fuzz {
        /// How long, for each target
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Only this one; can be given several times
        #[arg(long)]
        target: Vec<String>,
        /// How many at once
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Run hostile guests and tricks against the host: each must be contained
    Hostile {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        /// Only cases whose name contains this
        #[arg(long, default_value = "")]
        only: String,
    },
    /// Certify every default provider, probe and notifier, and look for seeded bugs; writes docs/conformance.md
    Conformance {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        /// Only plugins and bugs whose name contains this; `seeded` for all bugs. Writes no table
        #[arg(long, default_value = "")]
        only: String,
    },
    /// Deploy to every cloud and engine that can be had here; what is not installed is skipped, and that is said
    TestProviders {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        /// Only targets whose name contains this; those that take long, too, which are left out otherwise
        #[arg(long, default_value = "")]
        only: String,
    },
    /// Kill the host and the agent anywhere, resume, and count what is lost or done twice
    Crash {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        /// Only parts whose name contains this
        #[arg(long, default_value = "")]
        only: String,
        /// Only the share that CI runs
        #[arg(long)]
        share: bool,
        /// The seed of everything that is random; the time when left out
        #[arg(long)]
        seed: Option<u64>,
        /// So many runs at once; as many as there are processors when left out
        #[arg(long)]
        jobs: Option<usize>,
    },
    /// Measure, with a release build
    Bench {
        /// What: rollout, plugin-call, policy, scale
        what: String,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        /// Further arguments for the benchmark
        #[arg(last = true)]
        more: Vec<String>,
    },
}

/// What only some tests need.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Extra {
    /// moto, MiniStack, RustyVault and the age tools
    Counterparts,
    /// Docker and Podman
    Containers,
    /// API server, controller manager, scheduler and kubelet of Kubernetes, built from Debian's source package
    Kubernetes,
    /// fakecloud, an AWS with load balancers that lead requests: half an hour to build, or more
    Fakecloud,
    /// What makes components of JavaScript and Python
    Languages,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Setup { what: None } => setup::run(),
        Command::Setup { what: Some(Extra::Counterparts) } => counterparts::run(),
        Command::Setup { what: Some(Extra::Containers) } => containers::run(),
        Command::Setup { what: Some(Extra::Kubernetes) } => kubernetes::run(),
        Command::Setup { what: Some(Extra::Fakecloud) } => counterparts::fakecloud(),
        Command::Setup { what: Some(Extra::Languages) } => languages::run(),
        Command::Demo { keep } => demo::run(if keep { demo::After::Keep } else { demo::After::CleanUp }),
        Command::Test { only } => test::run(&only),
        Command::Fuzz { seconds, target, jobs, json } => {
            let form = if json { bench::Form::Json } else { bench::Form::Text };
            fuzz::run(&fuzz::Options { seconds, only: target, jobs, form })
        }
        Command::Bench { what, json, more } => {
            bench::run(&what, if json { bench::Form::Json } else { bench::Form::Text }, &more)
        }
        Command::TestProviders { json, only } => {
            providers::run(&only, if json { bench::Form::Json } else { bench::Form::Text })
        }
        Command::Crash { json, only, share, seed, jobs } => {
            let share = if share { crash::Share::Ci } else { crash::Share::Whole };
            let form = if json { bench::Form::Json } else { bench::Form::Text };
            crash::run(&crash::Options { only, share, seed, jobs, form })
        }
        Command::Conformance { json, only } => {
            let form = if json { bench::Form::Json } else { bench::Form::Text };
            conformance::run(&only, form, conformance::Table::Write)
        }
        Command::Hostile { json, only } => {
            hostile::run(&only, if json { bench::Form::Json } else { bench::Form::Text })
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
