//! `basb-host undo` and `basb-host revisions`.

use super::run::drive;
use super::{decided, prepare, session, verbs};
use crate::args::{RevisionsArgs, UndoArgs};
use crate::exit::{CliError, Exit};
use crate::printer::{Form, Printer};
use basb_core::{PluginName, RevisionId, ServiceName};
use basb_engine::{BackTo, Cause, RunChoice, ServiceRevisions, Undone, Which};
use console::style;
use std::path::Path;

/// The line that says what an undo does to which service.
const DECIDED: &str = "undo.decided";

/// Goes back to what was stable before.
pub async fn undo(args: &UndoArgs, state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    let session = session(state)?;
    let to = back_to(args.to_revision.as_deref())?;
    let services = args.service.iter().map(|name| service_name(name)).collect::<Result<Vec<_>, _>>()?;
    let prepared = prepare(&session, &args.file, printer).await?;
    if let Some(run) = session.unfinished_undo(&prepared, &to, &services).await? {
        printer.note(&format!("run {run}, an undo, is unfinished: going on with it"));
        return verbs::go_on(&session, &run, printer).await;
    }
    let (prepared, undone) = session.undo(prepared, &to, &services).await?;
    undone.iter().for_each(|it| say(it, printer));
    if prepared.revisions.is_empty() {
        printer.note("nothing to do");
        decided(DECIDED, None, serde_json::json!({ "undone": undone }), printer);
        return Ok(Exit::Done);
    }
    let started = session.start(prepared, RunChoice::ContinueIfUnfinished).await?;
    started.messages().iter().for_each(|message| printer.note(message));
    decided(DECIDED, Some(started.id()), serde_json::json!({ "undone": undone }), printer);
    let exit = drive(&session, started, printer).await?;
    if exit == Exit::Done {
        printer.note("the file says what it said before: `basb-host run` would roll that out again");
    }
    Ok(exit)
}

fn say(undone: &Undone, printer: Printer) {
    let Undone { service, from, to, number } = undone;
    printer.note(&if undone.is_nothing() {
        format!("{service}: {to} is stable already")
    } else {
        format!("{service}: back from {from} to {to} (number {number}), without steps")
    });
}

fn back_to(asked: Option<&str>) -> Result<BackTo, CliError> {
    let Some(asked) = asked else { return Ok(BackTo::Previous) };
    if let Ok(number) = asked.parse() {
        return Ok(BackTo::Number(number));
    }
    RevisionId::new(asked).map(BackTo::Revision).map_err(|e| {
        CliError::plain("cli/bad-revision", e.to_string(), "write a number or an id from `basb-host revisions`")
    })
}

fn service_name(name: &str) -> Result<ServiceName, CliError> {
    ServiceName::new(name)
        .map_err(|e| CliError::plain("cli/bad-name", e.to_string(), "write the service's name as in its file"))
}

/// Lists what was stable.
pub async fn revisions(args: &RevisionsArgs, state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    let session = session(state)?;
    let environment = args.environment.as_deref().map(PluginName::new).transpose();
    let which = Which {
        service: args.service.as_deref().map(service_name).transpose()?,
        deployment: args.deployment.as_deref().map(service_name).transpose()?,
        environment: environment.map_err(|e| {
            CliError::plain("cli/bad-name", e.to_string(), "write the environment's name as in the file")
        })?,
    };
    let found = session.revisions(&which).await?;
    if printer.form() == Form::Json {
        printer.json(&serde_json::json!({ "version": 1, "services": found }));
        return Ok(Exit::Done);
    }
    if found.is_empty() {
        printer.note("nothing was stable yet");
    }
    for (at, service) in found.iter().enumerate() {
        if at > 0 {
            printer.line("");
        }
        show(service, printer);
    }
    Ok(Exit::Done)
}

fn show(service: &ServiceRevisions, printer: Printer) {
    printer.line(&format!("{}  {}/{}", style(&service.service).bold(), service.deployment, service.environment));
    for (at, line) in service.revisions.iter().enumerate() {
        let mark = if at == 0 { style("=").green() } else { style("-").dim() };
        let since = line.since.get(..19).unwrap_or(&line.since).replace('T', " ");
        let cause = match &line.cause {
            Cause::Run => String::new(),
            cause => format!("  {cause}"),
        };
        let stable = if at == 0 { "  stable" } else { "" };
        printer.line(&format!(
            "{mark} {:>4}  {}  since {since}  {}  run {}{cause}{stable}",
            line.number,
            line.revision,
            super::counted(line.replicas as usize, "instance"),
            line.run,
        ));
        if let Some(artefact) = &line.artefact {
            printer.line(&format!("        {artefact}"));
        }
    }
}
