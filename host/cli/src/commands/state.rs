//! `basb-host state`: care for what outlives a process. None of it opens the journal as runs do: it may be damaged.

use super::counted;
use crate::args::StateCommand;
use crate::exit::{CliError, Exit};
use crate::printer::{Form, Printer};
use basb_engine::{RestoredState, StateDir, Unkept, backup_state, recover_journal, restore_journal};
use basb_journal::FILE_NAME;
use basb_journal::care::{Checked, Recovered, Replace, check};
use serde_json::{Value, json};
use std::path::Path;

/// Does it.
pub fn run(command: &StateCommand, state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    let state = StateDir::open(state)?;
    let journal = state.journal();
    match command {
        StateCommand::Check { file } => {
            let found = check(file.as_deref().unwrap_or(&journal.join(FILE_NAME)))?;
            show_checked(&found, printer);
            if found.is_whole() {
                return Ok(Exit::Done);
            }
            printer.error(&format!("error: {} is damaged", found.file.display()));
            printer.error(
                "hint: `basb-host state recover` makes a whole journal of what is left and keeps the damaged one\n      \
                 `basb-host state restore FILE` goes back to a back-up",
            );
            printer.error("code: journal/corrupted");
            Ok(Exit::Error)
        }
        StateCommand::Backup { file } => {
            let made = backup_state(&state, file)?;
            let journal = &made.checked;
            match printer.form() {
                Form::Json => printer.json(&json!({
                    "version": 1, "backup": checked(journal), "plugins": made.plugins, "unkept": made.unkept,
                })),
                Form::Text => printer.line(&format!(
                    "{}: {}, with {}",
                    journal.file.display(),
                    what(journal),
                    counted(made.plugins, "plugin")
                )),
            }
            tell_unkept(&made.unkept, printer);
            Ok(Exit::Done)
        }
        StateCommand::Restore { file, replace } => {
            let replace = if *replace { Replace::Any } else { Replace::OnlyEmpty };
            let RestoredState { journal: restored, plugins, unkept } = restore_journal(&state, file, replace)?;
            match printer.form() {
                Form::Json => printer.json(&json!({
                    "version": 1, "journal": checked(&restored.checked), "kept": restored.kept, "closed": restored.closed,
                    "plugins": plugins, "unkept": unkept,
                })),
                Form::Text => printer.line(&format!(
                    "{}: {}, with {}",
                    restored.checked.file.display(),
                    what(&restored.checked),
                    counted(plugins, "plugin")
                )),
            }
            tell_unkept(&unkept, printer);
            if let Some(kept) = &restored.kept {
                printer.note(&format!("the journal that was there is kept: {}", kept.display()));
            }
            if !restored.closed.is_empty() {
                let closed: Vec<&str> = restored.closed.iter().map(basb_core::RunId::as_str).collect();
                printer.note(&format!(
                    "closed as superseded, since it is not known what they did after the back-up: {}",
                    closed.join(", ")
                ));
            }
            printer.note("what happened since the back-up is not in it: `basb-host drift` before `basb-host run` shows what differs");
            Ok(Exit::Done)
        }
        StateCommand::Recover => {
            match recover_journal(&state)? {
                None => {
                    if printer.form() == Form::Json {
                        printer.json(&json!({ "version": 1, "damage": [] }));
                    }
                    printer.note("the journal is whole: nothing was done");
                }
                Some(recovered) => show_recovered(&recovered, printer),
            }
            Ok(Exit::Done)
        }
    }
}

fn tell_unkept(unkept: &[Unkept], printer: Printer) {
    for plugin in unkept {
        let runs: Vec<&str> = plugin.runs.iter().map(basb_core::RunId::as_str).collect();
        printer.note(&format!(
            "the plugin {} ({}) is not kept: `basb-host replay` needs it with `--plugin FILE` for {}",
            plugin.name,
            plugin.digest,
            runs.join(", ")
        ));
    }
}

fn what(checked: &Checked) -> String {
    format!("{}, {}, {} bytes", counted(checked.runs.len(), "run"), entries(checked.entries), checked.bytes)
}

fn entries(count: u64) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}

fn checked(found: &Checked) -> Value {
    let broken: Vec<Value> = found.broken().map(|b| json!({ "run": b.run, "entry": b.seq, "why": b.why })).collect();
    json!({
        "file": found.file, "bytes": found.bytes, "format": found.format, "runs": found.runs.len(),
        "entries": found.entries, "damage": found.damage, "broken": broken,
    })
}

fn show_checked(found: &Checked, printer: Printer) {
    if printer.form() == Form::Json {
        printer.json(&json!({ "version": 1, "whole": found.is_whole(), "journal": checked(found) }));
        return;
    }
    // What cannot be read was not counted.
    let holds = if found.damage.is_empty() { what(found) } else { format!("{} bytes", found.bytes) };
    printer.line(&format!("{}: {holds}", found.file.display()));
    found.damage.iter().for_each(|line| printer.line(&format!("  damaged: {line}")));
    found.broken().for_each(|b| printer.line(&format!("  broken: {b}")));
    if found.is_whole() {
        printer.line("  the file is whole, and every run is as it was written");
    }
}

fn show_recovered(recovered: &Recovered, printer: Printer) {
    let closed: Vec<&str> = recovered.runs.iter().filter(|r| r.closed).map(|r| r.run.as_str()).collect();
    match printer.form() {
        Form::Json => {
            let runs: Vec<Value> = recovered
                .runs
                .iter()
                .map(|r| json!({ "run": r.run, "saved": r.saved, "had": r.had, "closed": r.closed }))
                .collect();
            printer.json(&json!({
                "version": 1, "damage": recovered.damage, "kept": recovered.kept, "lost": recovered.lost, "runs": runs,
                "journal": checked(&recovered.checked),
            }));
        }
        Form::Text => {
            printer.line(&format!("{}: {}", recovered.checked.file.display(), what(&recovered.checked)));
            recovered.damage.iter().for_each(|line| printer.line(&format!("  was damaged: {line}")));
            recovered.lost.iter().for_each(|line| printer.line(&format!("  lost: {line}")));
            if recovered.lost.is_empty() {
                printer.line("  nothing was lost");
            }
        }
    }
    printer.note(&format!("the damaged journal is kept: {}", recovered.kept.display()));
    if !closed.is_empty() {
        printer.note(&format!(
            "closed as superseded, since going on without what is lost could do things twice: {}",
            closed.join(", ")
        ));
    }
    printer.note(
        "`basb-host drift` shows what differs from what is left; `basb-host import` adopts what is not known any more",
    );
}
