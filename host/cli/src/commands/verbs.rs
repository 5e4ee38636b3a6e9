//! `basb-host promote` and `basb-host abort`: what an operator asks of an unfinished run.

use super::{run, session};
use crate::args::VerbArgs;
use crate::exit::{CliError, Exit};
use crate::printer::Printer;
use basb_core::run::Verb;
use std::path::Path;

/// Lets a gate pass, and goes on.
pub async fn promote(args: &VerbArgs, state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    ask(args, Verb::Promote, state, printer).await
}

/// Back to the stable revisions.
pub async fn abort(args: &VerbArgs, state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    ask(args, Verb::Abort, state, printer).await
}

async fn ask(args: &VerbArgs, verb: Verb, state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    let session = session(state)?;
    let service = match &args.service {
        Some(name) => Some(basb_core::ServiceName::new(name.clone()).map_err(|e| {
            CliError::plain("cli/bad-name", e.to_string(), "write the service's name as in the deployment file")
        })?),
        None => None,
    };
    match session.ask(args.run.as_deref(), service, verb).await? {
        None => {
            printer.note("the run is at work in another process, which takes the request up now");
            Ok(Exit::Done)
        }
        Some(started) => run::drive(&session, started, printer).await,
    }
}
