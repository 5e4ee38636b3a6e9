//! `basb-host plan`.

use super::{prepare, session};
use crate::args::FileArgs;
use crate::exit::{CliError, Exit};
use crate::printer::{Form, Printer};
use basb_engine::{Made, Plan, Prepared, ServicePlan, Session};
use console::style;
use std::path::Path;

/// Shows what a run would do; with `--out`, writes it down.
pub async fn run(
    file: &FileArgs,
    out: Option<&Path>,
    state: Option<&Path>,
    printer: Printer,
) -> Result<Exit, CliError> {
    let session = session(state)?;
    let prepared = prepare(&session, file, printer).await?;
    let plan = match out {
        None => session.plan(&prepared).await?,
        Some(out) => write(&session, &prepared, file, out, printer).await?,
    };
    match printer.form() {
        Form::Json => printer.json(&plan),
        Form::Text => show(&plan, printer),
    }
    Ok(if plan.is_empty() { Exit::Done } else { Exit::ChangesPending })
}

/// Writes the plan down, and returns it.
async fn write(
    session: &Session,
    prepared: &Prepared,
    file: &FileArgs,
    out: &Path,
    printer: Printer,
) -> Result<Plan, CliError> {
    let folder = super::lock::folder_of(out);
    let made = Made { at: basb_engine::now(), beside: Some(&folder), variables: &file.sets };
    let document = session.plan_file(prepared, &made).await?;
    document.write(out)?;
    printer.note(&format!(
        "written: {0}; `basb-host run {0}` does exactly this, or nothing when something has moved",
        out.display()
    ));
    Ok(document.plan())
}

fn show(plan: &Plan, printer: Printer) {
    printer.line(&format!("{} on {}", style(&plan.deployment).bold(), plan.environment));
    for service in &plan.services {
        printer.line("");
        show_service(service, printer);
    }
    if !plan.cannot_undo.is_empty() {
        printer.line("");
        printer.line(&format!("{} this cannot be undone:", style("!").red()));
        for it in &plan.cannot_undo {
            printer.line(&format!("    {}: {}: {}", style(&it.service).bold(), it.action, it.why));
        }
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
    for repair in &service.repairs {
        printer.line(&format!("    repair {repair}"));
    }
    for stray in &service.strays {
        printer.line(&format!("    delete revision {stray}, which is left over"));
    }
    if service.changes() {
        for (i, step) in service.steps.iter().enumerate() {
            let achieved = step.achieved.map_or(String::new(), |a| format!(" (achieves {a})"));
            printer.line(&format!("    step {}: {}{achieved}", i + 1, step.summary));
        }
    }
}
