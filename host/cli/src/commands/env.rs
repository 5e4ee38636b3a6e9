//! `basb-host env promote`: what one environment verified goes to another one.

use super::run::drive;
use super::{decided, session};
use crate::args::EnvPromoteArgs;
use crate::exit::{CliError, Exit};
use crate::printer::Printer;
use basb_core::PluginName;
use basb_engine::RunChoice;
use basb_spec::LoadOptions;
use std::path::Path;

/// Deploys in one environment what is verified in another.
pub async fn promote(args: &EnvPromoteArgs, state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    let session = session(state)?;
    if args.from == args.to {
        return Err(CliError::plain(
            "promotion/same-environment",
            format!("{} cannot be promoted to itself", args.from),
            "name two environments of the file: where it was verified, and where it is to go",
        ));
    }
    // Both must be in the file: a name with a mistake is told with what was meant.
    let from = super::lock::load(&args.file, Some(&args.from), &args.sets)?;
    let from: PluginName = from.deployment.environment;
    let options = LoadOptions { path: args.file.clone(), environment: Some(args.to.clone()), sets: args.sets.clone() };
    let policy = if args.locked { basb_registry::Policy::Locked } else { basb_registry::Policy::TrustFirstUse };
    let prepared = super::prepare_as(&session, options, policy, printer).await?;
    let (prepared, promoted) = session.promote_from(prepared, &from).await?;
    for it in &promoted {
        printer.note(&format!("{}: {} of {from}, {}", it.service, it.from, it.artefact));
    }
    let started = session.start(prepared, RunChoice::ContinueIfUnfinished).await?;
    started.messages().iter().for_each(|message| printer.note(message));
    let what = serde_json::json!({ "from": from, "to": args.to, "promoted": promoted });
    decided("promotion.decided", Some(started.id()), what, printer);
    drive(&session, started, printer).await
}
