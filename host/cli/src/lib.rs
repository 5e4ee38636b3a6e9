//! The command line of basb-host: reads what is asked, calls the engine, shows what came of it.
//!
//! It is a library, so that the crash tests can be this very program with an observer of the journal's commits set
//! before it begins; the binary `basb-host` calls [`main`] and nothing else.
//!
//! **Must never** decide anything about a release, and must print through its one printer only.

mod args;
mod commands;
mod exit;
mod printer;
mod screen;
mod view;

use args::{AgentCommand, Cli, Command, EnvCommand, PluginCommand};
use basb_core::run::Verb;
use clap::{CommandFactory, Parser};
use exit::{CliError, Exit};
use printer::Printer;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Everything that the program does, from its command line to its exit code.
#[must_use]
pub fn main() -> ExitCode {
    // Before anything else: this program is also its own compiler of plugins and keeper of granted programs, each in a
    // process of its own.
    basb_runtime::compiler::serve_if_asked();
    basb_capabilities::exec::keeper::serve_if_asked();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // clap's own codes: 0 for help and version, 2 for a wrong command line, which here means something else.
            let code = if e.use_stderr() { Exit::Error } else { Exit::Done };
            let shown = e.print().is_ok();
            return if shown { code.into() } else { Exit::Error.into() };
        }
    };
    let printer = Printer::new(&cli.global);
    log_to_stderr(cli.global.verbose);
    match dispatch(&cli, printer) {
        Ok(exit) => exit.into(),
        Err(e) => {
            e.show(&printer);
            Exit::Error.into()
        }
    }
}

fn log_to_stderr(verbose: u8) {
    let default = match verbose {
        0 => "error",
        1 => "warn,basb=info,plugin=info",
        2 => "info,basb=debug,plugin=debug",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_env("BASB_HOST_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| printer::LogWriter).without_time().init();
}

fn dispatch(cli: &Cli, printer: Printer) -> Result<Exit, CliError> {
    // What needs no runtime, no state and no plugin answers at once.
    match &cli.command {
        Command::Schema => {
            printer.json_pretty(&basb_engine::deployment_schema());
            return Ok(Exit::Done);
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "basb-host", &mut script);
            printer.raw(&script);
            return Ok(Exit::Done);
        }
        Command::Plugin(PluginCommand::Inspect { source }) => return commands::plugin::inspect(source, printer),
        Command::Plugin(PluginCommand::List) => return commands::plugin::list(printer),
        Command::Plugin(PluginCommand::New(args)) => return commands::authoring::new(args, printer),
        Command::Plugin(PluginCommand::Build { folder, out }) => {
            return commands::authoring::build(folder, out.as_deref(), printer);
        }
        Command::State(command) => return commands::state::run(command, cli.global.state.as_deref(), printer),
        Command::Plugin(PluginCommand::Update(args)) => return commands::lock::update(args, printer),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| {
        CliError::plain(
            "cli/no-threads",
            format!("the async runtime cannot be started: {e}"),
            "check the limits of this user",
        )
    })?;
    runtime.block_on(async {
        let state = cli.global.state.as_deref();
        match &cli.command {
            Command::Validate(file) => commands::validate::run(file, state, printer).await,
            Command::Plan { file, out } => commands::plan::run(file, out.as_deref(), state, printer).await,
            Command::Drift(file) => commands::drift::run(file, state, printer).await,
            Command::Run { file, new } => commands::run::run(file, *new, state, printer).await,
            Command::Import(file) => commands::import::run(file, state, printer).await,
            Command::Undo(args) => commands::undo::undo(args, state, printer).await,
            Command::Revisions(args) => commands::undo::revisions(args, state, printer).await,
            Command::Env(EnvCommand::Promote(args)) => commands::env::promote(args, state, printer).await,
            Command::Status { watch } => commands::status::run(*watch, state, printer).await,
            Command::History { deployment, limit } => {
                commands::history::history(deployment.as_deref(), *limit, state, printer).await
            }
            Command::Show { run } => commands::history::show(run.as_deref(), state, printer).await,
            Command::Logs { service, revision, tail, follow } => {
                let what =
                    commands::logs::What { service, revision: revision.as_deref(), tail: *tail, follow: *follow };
                commands::logs::run(what, state, printer).await
            }
            Command::Promote { verb, full } => {
                let which = if *full { Verb::PromoteFull } else { Verb::Promote };
                commands::verbs::ask(verb, which, state, printer).await
            }
            Command::Pause(verb) => commands::verbs::ask(verb, Verb::Pause, state, printer).await,
            Command::Resume(verb) => commands::verbs::ask(verb, Verb::Resume, state, printer).await,
            Command::Abort(verb) => commands::verbs::ask(verb, Verb::Abort, state, printer).await,
            Command::Stop(args) => commands::verbs::stop(args, state, printer).await,
            Command::Retry(verb) => commands::verbs::retry(verb, state, printer).await,
            Command::Approve(args) => commands::verbs::approve(args, state, printer).await,
            Command::Unlock(args) => commands::verbs::unlock(args, state, printer).await,
            Command::Replay { run, plugins } => commands::tapes::replay(run.as_deref(), plugins, state, printer).await,
            Command::Backtest(args) => commands::tapes::backtest(args, state, printer).await,
            Command::Postmortem { run } => commands::tapes::postmortem(run.as_deref(), state, printer).await,
            Command::Tape(command) => commands::tapes::tape(command, state, printer).await,
            Command::Audit(args) => commands::audit::run(args, state, printer).await,
            Command::Plugin(PluginCommand::Record { run, plugin, out }) => {
                commands::conformance::record(run, plugin, out.as_deref(), state, printer).await
            }
            Command::Plugin(PluginCommand::Test(args)) => commands::conformance::test(args, state, printer).await,
            Command::Agent(AgentCommand::Start) => commands::agent::start(state, printer).await,
            Command::Agent(AgentCommand::Stop { services }) => commands::agent::stop(*services, state, printer).await,
            Command::Agent(AgentCommand::Status) => commands::agent::status(state, printer).await,
            Command::Agent(AgentCommand::Serve) => commands::agent::serve(state).await,
            Command::Schema | Command::Completions { .. } | Command::Plugin(_) | Command::State(_) => Ok(Exit::Done),
        }
    })
}
