//! Exit codes, and errors on their way to people.

use crate::printer::{Form, Printer};
use basb_core::run::RunOutcome;
use basb_engine::EngineError;
use console::style;
use std::process::ExitCode;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything is as it should be.
    Done,
    /// Something failed; nothing was left half-way.
    Error,
    /// There is something to do.
    ChangesPending,
    /// Aborted, and back on the stable revision.
    RolledBack,
    /// Waiting for a human.
    AtGate,
    /// The way back failed.
    RollbackFailed,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::Error => 1,
            Exit::ChangesPending => 2,
            Exit::RolledBack => 3,
            Exit::AtGate => 4,
            Exit::RollbackFailed => 5,
        })
    }
}

impl From<RunOutcome> for Exit {
    fn from(outcome: RunOutcome) -> Self {
        match outcome {
            RunOutcome::Done => Self::Done,
            RunOutcome::Failed | RunOutcome::Superseded => Self::Error,
            RunOutcome::RolledBack => Self::RolledBack,
            RunOutcome::RollbackFailed => Self::RollbackFailed,
        }
    }
}

/// Something that went wrong, with what a person needs.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// In the engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Found by the command itself.
    #[error("{message}")]
    Plain {
        /// A stable code.
        code: &'static str,
        /// What is wrong.
        message: String,
        /// What to do next.
        next: String,
    },
}

impl From<basb_journal::JournalError> for CliError {
    fn from(e: basb_journal::JournalError) -> Self {
        Self::Engine(e.into())
    }
}

impl From<basb_agent::AgentError> for CliError {
    fn from(e: basb_agent::AgentError) -> Self {
        Self::Engine(e.into())
    }
}

impl From<basb_conformance::KitError> for CliError {
    fn from(e: basb_conformance::KitError) -> Self {
        Self::plain(e.code, e.message, e.next)
    }
}

impl From<basb_authoring::AuthoringError> for CliError {
    fn from(e: basb_authoring::AuthoringError) -> Self {
        Self::plain(e.code(), e.to_string(), e.next_step())
    }
}

impl CliError {
    /// One found by the command itself.
    pub fn plain(code: &'static str, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self::Plain { code, message: message.into(), next: next.into() }
    }

    fn code(&self) -> &str {
        match self {
            Self::Engine(e) => e.code(),
            Self::Plain { code, .. } => code,
        }
    }

    fn next_step(&self) -> String {
        match self {
            Self::Engine(e) => e.next_step(),
            Self::Plain { next, .. } => next.clone(),
        }
    }

    /// Shows it.
    pub fn show(&self, printer: &Printer) {
        if let Self::Engine(EngineError::Diagnostics(diagnostics)) = self {
            if printer.form() == Form::Json {
                printer.json(&serde_json::json!({ "version": 1, "diagnostics": diagnostics }));
            }
            printer.error(crate::commands::render(diagnostics).trim_end());
            return;
        }
        if printer.form() == Form::Json {
            let mut error = serde_json::json!({
                "version": 1,
                "error": { "code": self.code(), "message": self.to_string(), "next": self.next_step() },
            });
            if let (Self::Engine(EngineError::Stale(moved)), Some(fields)) = (self, error.as_object_mut()) {
                fields.insert("moved".to_owned(), serde_json::json!(moved));
            }
            printer.json(&error);
        }
        printer.error(&format!("{} {self}", style("error:").for_stderr().red().bold()));
        let mut hints = self.next_step();
        if !hints.is_empty() {
            hints = hints.replace('\n', "\n      ");
            printer.error(&format!("{} {hints}", style("hint:").for_stderr().cyan()));
        }
        printer.error(&format!("{} {}", style("code:").for_stderr().dim(), self.code()));
    }
}
