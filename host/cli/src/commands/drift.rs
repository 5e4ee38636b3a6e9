//! `basb-host drift`.

use super::{counted, prepare, session};
use crate::args::FileArgs;
use crate::exit::{CliError, Exit};
use crate::printer::{Form, Printer};
use basb_engine::{DifferenceKind, DriftReport, ServiceDrift};
use console::style;
use std::path::Path;

/// Compares what is there with what is stable.
pub async fn run(file: &FileArgs, state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    let session = session(state)?;
    let prepared = prepare(&session, file, printer).await?;
    let report = session.drift(&prepared).await?;
    match printer.form() {
        Form::Json => printer.json(&report),
        Form::Text => show(&report, printer),
    }
    if report.services.iter().flat_map(|s| &s.differences).any(|d| d.kind == DifferenceKind::Workload) {
        printer.note(
            "a run goes by the id of a revision and leaves another workload under the same id as it is: roll a changed revision out",
        );
    }
    if let Some(run) = &report.unfinished {
        printer
            .note(&format!("run {run} is unfinished: what differs may be its half-way; `basb-host status` shows it"));
    }
    if report.unreadable() > 0 {
        // What is not known is not taken for what is right.
        printer.error(&format!("error: {} could not be read", counted(report.unreadable(), "service")));
        printer.error("hint: mend what the provider says; `basb-host agent start` starts the one-machine cloud");
        printer.error("code: drift/unreadable");
        return Ok(Exit::Error);
    }
    Ok(if report.is_empty() { Exit::Done } else { Exit::ChangesPending })
}

fn show(report: &DriftReport, printer: Printer) {
    printer.line(&format!("{} on {}", style(&report.deployment).bold(), report.environment));
    printer.line("");
    report.services.iter().for_each(|service| show_service(service, printer));
    let differing = report.services.iter().filter(|s| !s.differences.is_empty()).count();
    printer.line("");
    if report.is_empty() {
        let known = report.services.len().saturating_sub(report.unreadable());
        printer.line(&format!("no difference in {}", counted(known, "service")));
    } else {
        let one = differing == 1;
        let verb = if one { "differs" } else { "differ" };
        printer.line(&format!(
            "{} {verb} from what is stable; `basb-host run` repairs, `basb-host import` adopts",
            counted(differing, "service")
        ));
    }
}

fn show_service(service: &ServiceDrift, printer: Printer) {
    let mark = match (&service.unreadable, service.differences.is_empty()) {
        (Some(_), _) => style("?").red(),
        (None, true) => style("=").green(),
        (None, false) => style("~").yellow(),
    };
    let stable = match &service.stable {
        Some(stable) => format!("stable {stable}"),
        None => "nothing is stable".to_owned(),
    };
    let gone = if service.in_file { "" } else { ", not in the file any more" };
    printer.line(&format!("{mark} {}  {stable}{gone}", style(&service.service).bold()));
    if let Some(why) = &service.unreadable {
        printer.line(&format!("    not known: {} ({})", why.message, why.code));
    }
    for difference in &service.differences {
        printer.line(&format!("    {difference}"));
    }
}
