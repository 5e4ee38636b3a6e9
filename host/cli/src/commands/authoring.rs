//! `basb-host plugin new` and `plugin build`.

use crate::args::{NewArgs, NewKind};
use crate::exit::{CliError, Exit};
use crate::printer::{Form, Printer};
use basb_authoring::{Project, REPOSITORY, Sdk};
use basb_inspect::Kind;
use std::path::Path;

/// Writes a project.
pub fn new(args: &NewArgs, printer: Printer) -> Result<Exit, CliError> {
    let kind = match args.kind {
        NewKind::Provider => Kind::Provider,
        NewKind::Probe => Kind::Probe,
        NewKind::Notifier => Kind::Notifier,
        NewKind::Strategy => Kind::Strategy,
        NewKind::Judge => Kind::Judge,
        NewKind::Generator => Kind::Generator,
    };
    let sdk = args.sdk.clone().map_or_else(|| Sdk::Repository(REPOSITORY.to_owned()), Sdk::Folder);
    let project = Project { kind, name: args.name.clone(), publisher: args.publisher.clone(), sdk };
    let files = basb_authoring::write(&project, Path::new(&args.name))?;
    match printer.form() {
        Form::Json => {
            printer.json(&serde_json::json!({ "version": 1, "name": args.name, "kind": kind, "files": files }))
        }
        Form::Text => {
            for file in &files {
                printer.line(&file.display().to_string());
            }
            printer.line(&format!("next: `cd {}`, `cargo test`, `basb-host plugin build`", args.name));
        }
    }
    Ok(Exit::Done)
}

/// Builds one.
pub fn build(folder: &Path, out: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    let built = basb_authoring::build(folder, out)?;
    match printer.form() {
        Form::Json => printer.json(&serde_json::json!({
            "version": 1, "name": built.name, "file": built.path, "bytes": built.bytes.len(),
        })),
        Form::Text => printer.line(&format!("{} ({} bytes)", built.path.display(), built.bytes.len())),
    }
    Ok(Exit::Done)
}
