//! One file per command.

pub mod agent;
pub mod audit;
pub mod authoring;
pub mod conformance;
pub mod drift;
pub mod env;
pub mod history;
pub mod import;
pub mod lock;
pub mod logs;
pub mod plan;
pub mod plugin;
pub mod run;
pub mod state;
pub mod status;
pub mod tapes;
pub mod undo;
pub mod validate;
pub mod verbs;

use crate::args::FileArgs;
use crate::exit::CliError;
use crate::printer::Printer;
use basb_engine::{Prepared, Session, SessionOptions};
use std::path::{Path, PathBuf};

/// How this program starts the agent: itself.
pub fn agent_program() -> Result<PathBuf, CliError> {
    std::env::current_exe().map_err(|e| {
        CliError::plain(
            "cli/no-program",
            format!("the path of this program cannot be told: {e}"),
            "start it by its full path",
        )
    })
}

/// Opens the state.
pub fn session(state: Option<&Path>) -> Result<Session, CliError> {
    Ok(Session::open(SessionOptions {
        state: state.map(Path::to_owned),
        agent_program: agent_program()?,
        redactor: crate::printer::secrets().clone(),
    })?)
}

/// Reads a deployment file and everything it names, and says what somebody should look at.
pub async fn prepare(session: &Session, file: &FileArgs, printer: Printer) -> Result<Prepared, CliError> {
    let options = basb_spec::LoadOptions {
        path: file.file.clone(),
        environment: file.environment.clone(),
        sets: file.sets.clone(),
    };
    prepare_as(session, options, file.policy(), printer).await
}

/// The same, for what somebody else chose.
pub async fn prepare_as(
    session: &Session,
    options: basb_spec::LoadOptions,
    policy: basb_registry::Policy,
    printer: Printer,
) -> Result<Prepared, CliError> {
    let prepared = session.prepare(&options, policy).await?;
    for warning in &prepared.warnings {
        printer.note(render(warning).trim_end());
    }
    Ok(prepared)
}

/// A problem with its source excerpt.
pub fn render(diagnostic: &dyn miette::Diagnostic) -> String {
    let theme = if console::colors_enabled_stderr() {
        miette::GraphicalTheme::unicode()
    } else {
        miette::GraphicalTheme::unicode_nocolor()
    };
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = miette::GraphicalReportHandler::new_themed(theme).with_width(100).render_report(&mut text, diagnostic);
    text
}

/// `1 service`, `2 services`.
pub fn counted(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}
