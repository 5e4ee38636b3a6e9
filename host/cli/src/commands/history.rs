//! `basb-host history` and `basb-host show`.

use super::session;
use crate::exit::{CliError, Exit};
use crate::printer::{Form, Printer};
use crate::view::plain;
use basb_core::ServiceName;
use basb_engine::{history as list, show as rebuild};
use basb_journal::RunFilter;
use console::style;
use std::path::Path;

/// Lists runs.
pub async fn history(
    deployment: Option<&str>,
    limit: u32,
    state: Option<&Path>,
    printer: Printer,
) -> Result<Exit, CliError> {
    let session = session(state)?;
    let deployment = match deployment {
        Some(name) => Some(ServiceName::new(name).map_err(|e| {
            CliError::plain("cli/bad-name", e.to_string(), "write the deployment's name as in its file")
        })?),
        None => None,
    };
    let runs = list(session.journal(), RunFilter { deployment, ..RunFilter::default() }, limit).await?;
    if printer.form() == Form::Json {
        printer.json(&serde_json::json!({ "version": 1, "runs": runs }));
        return Ok(Exit::Done);
    }
    if runs.is_empty() {
        printer.note("no runs yet");
    }
    for run in runs {
        let at = run.started_at.to_string();
        let took = run.finished_at.map_or_else(|| "-".to_owned(), |end| end.since(run.started_at).to_string());
        printer.line(&format!(
            "{}  {}  {:24}  {:16}  {took:>8}{}{}",
            style(&run.run).bold(),
            at.get(..19).unwrap_or(&at).replace('T', " "),
            format!("{}/{}", run.deployment, run.environment),
            run.outcome,
            if run.cause.is_run() { String::new() } else { format!("  {}", run.cause) },
            if run.imported { "  imported" } else { "" }
        ));
    }
    Ok(Exit::Done)
}

/// Shows everything that happened in a run.
pub async fn show(run: Option<&str>, state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    let session = session(state)?;
    let id = match run {
        Some(run) => run.to_owned(),
        None => match list(session.journal(), RunFilter::default(), 1).await?.pop() {
            Some(newest) => newest.run.to_string(),
            None => {
                return Err(CliError::plain("cli/no-runs", "there are no runs yet", "start one with `basb-host run`"));
            }
        },
    };
    let view = rebuild(session.journal(), &id).await?;
    match printer.form() {
        Form::Json => view.events.iter().for_each(|event| printer.json(event)),
        Form::Text => {
            let start = view.run.start();
            printer.line(&format!(
                "run {}: {} on {}, {}",
                style(view.run.id()).bold(),
                start.deployment.name,
                start.deployment.environment,
                view.outcome().map_or("not finished", |o| o.sentence())
            ));
            for (name, plugin) in &start.plugins {
                printer.line(&format!("  plugin {name}: {plugin}"));
            }
            view.events.iter().for_each(|event| printer.line(&plain(event)));
        }
    }
    Ok(Exit::Done)
}
