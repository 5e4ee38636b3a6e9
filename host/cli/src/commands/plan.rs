//! `basb-host plan`.

use super::{prepare, session};
use crate::args::FileArgs;
use crate::exit::{CliError, Exit};
use crate::printer::{Form, Printer};
use basb_engine::{Plan, ServicePlan};
use console::style;
use std::path::Path;

/// Shows what a run would do.
pub async fn run(file: &FileArgs, state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    let session = session(state)?;
    let prepared = prepare(&session, file, printer).await?;
    let plan = session.plan(&prepared).await?;
    match printer.form() {
        Form::Json => printer.json(&plan),
        Form::Text => show(&plan, printer),
    }
    Ok(if plan.is_empty() { Exit::Done } else { Exit::ChangesPending })
}

fn show(plan: &Plan, printer: Printer) {
    printer.line(&format!("{} on {}", style(&plan.deployment).bold(), plan.environment));
    for service in &plan.services {
        printer.line("");
        show_service(service, printer);
    }
    printer.line("");
    let changed = plan.services.iter().filter(|s| s.changes()).count();
    if plan.is_empty() {
        printer.line("nothing to do: everything is as the file says");
    } else {
        let what = match plan.services.len() {
            1 => "the service changes".to_owned(),
            all => format!("{changed} of {all} services change"),
        };
        printer.line(&format!("{what}; `basb-host run` does it"));
    }
}

fn show_service(service: &ServicePlan, printer: Printer) {
    let mark = if service.changes() { style("~").yellow() } else { style("=").green() };
    let from = match &service.stable {
        Some(stable) if *stable == service.candidate => format!("{stable}, as it is"),
        Some(stable) => format!("{stable} -> {}", service.candidate),
        None => format!("{} (first release)", service.candidate),
    };
    printer.line(&format!("{mark} {}  {from}", style(&service.service).bold()));
    for action in &service.actions {
        printer.line(&format!("    {} {}", action.kind, action.summary));
        for change in &action.changes {
            let side = |s: &Option<String>| s.clone().unwrap_or_else(|| "-".to_owned());
            printer.line(&format!("        {}: {} -> {}", change.path, side(&change.before), side(&change.after)));
        }
        if let Some(why) = &action.irreversible {
            printer.line(&format!("        {} cannot be undone: {why}", style("!").red()));
        }
    }
    if service.changes() {
        for (i, step) in service.steps.iter().enumerate() {
            let achieved = step.achieved.map_or(String::new(), |a| format!(" (achieves {a})"));
            printer.line(&format!("    step {}: {}{achieved}", i + 1, step.summary));
        }
    }
}
