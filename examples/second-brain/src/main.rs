//! Four MCP services of a "Building a Second Brain" system over one vault of Markdown notes: the
//! real services that the host's examples and tests deploy.

mod release;
mod serve;
mod services;
mod text;
mod vault;

use std::{num::NonZeroU64, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::{
    release::Release,
    serve::{Endpoint, ServeError},
    services::{Brain, Kind},
    vault::Vault,
};

/// One of the four MCP services of a second brain, over Streamable HTTP at /mcp.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take notes into the Inbox.
    Capture(Options),
    /// File notes under Projects, Areas, Resources or Archives.
    Organize(Options),
    /// Highlight passages and write digests.
    Distill(Options),
    /// Assemble notes into drafts.
    Express(Options),
}

#[derive(Debug, Args)]
struct Options {
    /// The folder with the notes; made when it is missing.
    #[arg(long, env = "SECOND_BRAIN_VAULT", default_value = "vault")]
    vault: PathBuf,
    /// Address to listen on, as host:port; instead of --host and --port.
    #[arg(long)]
    listen: Option<String>,
    /// Host to listen on.
    #[arg(long, env = "HOST", default_value = "127.0.0.1")]
    host: String,
    /// Port to listen on; 0 takes a free one and logs it.
    #[arg(long, env = "PORT", default_value_t = 8080)]
    port: u16,
    /// More names that the Host header may have; loopback names are always allowed, on any port.
    #[arg(long, env = "SECOND_BRAIN_ALLOWED_HOSTS", value_delimiter = ',')]
    allow_host: Vec<String>,
    /// Which release to be; 3 is broken on purpose.
    #[arg(long, env = "SECOND_BRAIN_RELEASE", default_value = "2")]
    release: Release,
    /// In release 3, how many tool calls there are to one failure.
    #[arg(long, env = "SECOND_BRAIN_FAIL_EVERY", default_value = "4")]
    fail_every: NonZeroU64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    // rmcp reports every request at `info`.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,rmcp=error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    match run(cli.command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<(), ServeError> {
    let (kind, options) = match command {
        Command::Capture(options) => (Kind::Capture, options),
        Command::Organize(options) => (Kind::Organize, options),
        Command::Distill(options) => (Kind::Distill, options),
        Command::Express(options) => (Kind::Express, options),
    };
    let vault = Vault::open(&options.vault).map_err(|source| ServeError::Vault { path: options.vault, source })?;
    let brain = Brain::new(kind, options.release, vault, options.fail_every);
    let endpoint = match options.listen {
        Some(address) => Endpoint::Address(address),
        None => Endpoint::HostAndPort(options.host, options.port),
    };
    serve::serve(brain, &endpoint, &options.allow_host).await
}
