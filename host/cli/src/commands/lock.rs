//! `basb-host plugin update`: what differs from the lock file, and agreeing to it.

use crate::args::UpdateArgs;
use crate::exit::{CliError, Exit};
use crate::printer::{Form, Printer};
use basb_core::PluginName;
use basb_engine::{EngineError, plugin_bytes};
use basb_registry::{LockFile, Refusal, Resolved, read_lock, resolve, write_lock};
use basb_spec::{Diagnostics, LoadOptions, Loaded};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// The folder of a deployment file, absolute: where its lock file is.
pub fn folder_of(file: &Path) -> PathBuf {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned())
}

/// Reads a deployment file.
pub fn load(file: &Path, environment: Option<&str>, sets: &[(String, String)]) -> Result<Loaded, CliError> {
    let environment = environment.map(str::to_owned);
    let options = LoadOptions { path: file.to_owned(), environment, sets: sets.to_vec() };
    Ok(basb_spec::load(&options).map_err(EngineError::Diagnostics)?)
}

/// The bytes of a plugin, as the registry asks for them.
pub fn bytes_of(source: &str, base: &Path) -> Result<Cow<'static, [u8]>, Refusal> {
    plugin_bytes(source, base).map_err(|e| Refusal {
        pointer: String::new(),
        code: e.code().to_owned(),
        message: e.to_string(),
        help: e.next_step(),
    })
}

/// Reads every plugin of a deployment; what cannot be used is told at its place in the file.
fn resolved(loaded: &Loaded, base: &Path) -> Result<Resolved, CliError> {
    resolve(&loaded.deployment, base, |source| bytes_of(source, base)).map_err(|refusals| {
        let all = refusals.into_iter().map(|r| {
            let help = (!r.help.is_empty()).then_some(r.help);
            loaded.source.diagnostic_at(&r.pointer, &r.code, r.message, help)
        });
        EngineError::Diagnostics(Diagnostics::new(all.collect())).into()
    })
}

/// Shows what differs from the lock file; with `--accept`, agrees to it.
pub fn update(args: &UpdateArgs, printer: Printer) -> Result<Exit, CliError> {
    let base = folder_of(&args.file);
    let loaded = load(&args.file, args.environment.as_deref(), &args.sets)?;
    let resolved = resolved(&loaded, &base)?;
    let now = resolved.locked();
    let names = wanted(args, &resolved)?;
    let lock = read_lock(&base).map_err(EngineError::from)?;
    let old = lock.clone().unwrap_or_default();
    let mut differences = old.check(&now);
    differences.retain(|name, _| names.as_ref().is_none_or(|names| names.contains(name)));
    // With names, nothing is said or done about any other plugin.
    let unused = if names.is_none() { old.unused(&now) } else { Vec::new() };
    let new: LockFile = match &names {
        None => old.clone().with(now.clone()),
        Some(names) => now
            .plugins
            .iter()
            .filter(|(name, _)| names.contains(name))
            .fold(old.clone(), |lock, (name, entry)| lock.with_plugin(&now.scope, name.clone(), entry.clone())),
    };
    let differs = !differences.is_empty() || lock.is_none();
    let written = if args.accept && (lock.is_none() || new != old) {
        Some(write_lock(&base, &new).map_err(EngineError::from)?)
    } else {
        None
    };
    match printer.form() {
        Form::Json => printer.json(&serde_json::json!({
            "version": 1,
            "deployment": now.scope.deployment,
            "environment": now.scope.environment,
            "plugins": differences,
            "unused": unused,
            "written": written,
        })),
        Form::Text => printer.raw(basb_audit::lock_text(&now.scope, &differences, &unused).as_bytes()),
    }
    match (written, differs) {
        (Some(file), _) => {
            printer.note(&format!("written: {}; look at it, and commit it", file.display()));
            Ok(Exit::Done)
        }
        (None, false) => Ok(Exit::Done),
        (None, true) => {
            printer.note("nothing was written; when you mean it, add --accept");
            Ok(Exit::ChangesPending)
        }
    }
}

/// The plugins that are meant; none for all.
fn wanted(args: &UpdateArgs, resolved: &Resolved) -> Result<Option<Vec<PluginName>>, CliError> {
    if args.names.is_empty() {
        return Ok(None);
    }
    let known = |name: &String| resolved.plugins.keys().find(|known| known.as_str() == name).cloned();
    let names: Result<Vec<PluginName>, CliError> = args
        .names
        .iter()
        .map(|name| {
            known(name).ok_or_else(|| {
                let all: Vec<&str> = resolved.plugins.keys().map(PluginName::as_str).collect();
                let message = format!("{} uses no plugin `{name}`", resolved.scope);
                CliError::plain("cli/no-such-plugin", message, format!("there are: {}", all.join(", ")))
            })
        })
        .collect();
    names.map(Some)
}
