//! `basb-host validate`.

use super::{prepare, session};
use crate::args::FileArgs;
use crate::exit::{CliError, Exit};
use crate::printer::{Form, Printer};
use std::path::Path;

/// Checks a deployment file and every plugin it uses.
pub async fn run(file: &FileArgs, state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    let session = session(state)?;
    let prepared = prepare(&session, file, printer).await?;
    let deployment = &prepared.deployment;
    match printer.form() {
        Form::Json => printer.json(&serde_json::json!({
            "version": 1,
            "valid": true,
            "deployment": deployment.name,
            "environment": deployment.environment,
            "services": deployment.services.keys().collect::<Vec<_>>(),
            "warnings": prepared.warnings,
        })),
        Form::Text => printer.line(&format!(
            "{} is valid: {}, {}, environment {}",
            file.file.display(),
            super::counted(deployment.services.len(), "service"),
            super::counted(prepared.plugins.len(), "plugin"),
            deployment.environment
        )),
    }
    Ok(Exit::Done)
}
