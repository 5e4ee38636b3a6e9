//! `basb-host import`.

use super::run::drive;
use super::{decided, prepare, session};
use crate::args::FileArgs;
use crate::exit::{CliError, Exit};
use crate::printer::Printer;
use basb_engine::{Fate, Imported, RunChoice};
use std::path::Path;

/// Takes what exists for what is stable.
pub async fn run(file: &FileArgs, state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    let session = session(state)?;
    let prepared = prepare(&session, file, printer).await?;
    let (prepared, imported) = session.import(prepared).await?;
    let started = session.start(prepared, RunChoice::ContinueIfUnfinished).await?;
    started.messages().iter().for_each(|message| printer.note(message));
    imported.iter().for_each(|it| say(it, printer));
    let what = serde_json::json!({ "imported": imported });
    decided("import.decided", Some(started.id()), what, printer);
    drive(&session, started, printer).await
}

fn say(imported: &Imported, printer: Printer) {
    let service = &imported.service;
    match &imported.fate {
        Fate::Adopted { revision, unknown, .. } => {
            printer.note(&format!("{service}: {revision} is there with all of the traffic; it is not known:"));
            unknown.iter().for_each(|what| printer.note(&format!("    {what}")));
        }
        Fate::Absent => printer.note(&format!("{service}: nothing is there")),
        Fate::Refused { reason } => printer.note(&format!("{service}: not adopted: {reason}")),
    }
}
