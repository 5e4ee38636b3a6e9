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
use crate::printer::{Form, Printer};
use basb_core::RunId;
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

/// With `--json`: what a command decided to do, as one line before the events of the run that does it. It has a `kind` as
/// they have, which is none of theirs, so that who reads a stream can tell it from them.
pub fn decided(kind: &str, run: Option<&RunId>, what: serde_json::Value, printer: Printer) {
    if printer.form() == Form::Json {
        printer.json(&decision(kind, run, what));
    }
}

fn decision(kind: &str, run: Option<&RunId>, what: serde_json::Value) -> serde_json::Value {
    let mut line = serde_json::json!({ "version": 1, "run": run, "kind": kind });
    if let (Some(line), serde_json::Value::Object(mut what)) = (line.as_object_mut(), what) {
        line.append(&mut what);
    }
    line
}

/// Writes a new file. One that is there may be anything, such as what was meant to be read: it is left alone.
pub fn write_new(path: &Path, text: &str) -> Result<(), CliError> {
    use std::io::Write as _;
    let made = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    made.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|e| {
        let shown = path.display();
        if e.kind() == std::io::ErrorKind::AlreadyExists {
            let message = format!("{shown} is there already, and nothing is written over");
            return CliError::plain("cli/file", message, "give another name, or remove that file");
        }
        CliError::plain("cli/file", format!("{shown} cannot be written: {e}"), "check the path")
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_decision_is_a_line_of_a_stream() {
        let run = RunId::new("01m823eay0f8wpf5k3t65bvmqy").unwrap();
        assert_eq!(
            decision("undo.decided", Some(&run), json!({ "undone": [] })),
            json!({ "version": 1, "run": run, "kind": "undo.decided", "undone": [] })
        );
        assert_eq!(decision("undo.decided", None, json!({ "undone": [] }))["run"], json!(null));
    }
}
