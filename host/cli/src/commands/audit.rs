//! `basb-host audit`: what plugins can do, what they did, and whether the record of it is whole.

use super::lock::{bytes_of, folder_of, load};
use super::session;
use crate::args::{AuditArgs, AuditCommand};
use crate::exit::{CliError, Exit};
use crate::printer::{Form, Printer};
use basb_audit::{Bytes, LockState, Operator, Place, Report, RunState, Shown, Side, SignatureState, Subject, Unusable};
use basb_core::model::{Deployment, PluginSource};
use basb_core::run::{PluginCall, Record};
use basb_core::{Digest, PluginName, ServiceName, Timestamp};
use basb_credentials::CredentialsConfig;
use basb_engine::{EngineError, check_tapes, history as runs, plugin_bytes};
use basb_grants::Grants;
use basb_inspect::{Inspection, inspect};
use basb_journal::{RunFilter, VerifyError};
use basb_registry::{
    Facts, LockEntry, LockError, LockFile, LockedSource, Publishers, Scope, SignatureFile, compare, read_lock,
    read_signature, verify,
};
use basb_spec::{Diagnostics, Loaded};
use serde_json::Value;
use std::path::Path;

/// Does what was asked for.
pub async fn run(args: &AuditArgs, state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    match &args.command {
        None => report(args, printer),
        Some(AuditCommand::Diff { old, new }) => diff(old, new, printer),
        Some(AuditCommand::Run { run, denied }) => {
            let shown = if *denied { Shown::Denied } else { Shown::All };
            activity(run.as_deref(), shown, state, printer).await
        }
        Some(AuditCommand::Verify { run }) => integrity(run.as_deref(), state, printer).await,
    }
}

fn report(args: &AuditArgs, printer: Printer) -> Result<Exit, CliError> {
    let what = args.what.as_str();
    if is_plugin(what) {
        let report = one_file(what)?;
        return show(&report, args, printer, |source, _| Place { file: source.to_owned(), line: None });
    }
    let file = Path::new(what);
    let loaded = load(file, args.environment.as_deref(), &args.sets)?;
    let report = deployment(&loaded, &folder_of(file))?;
    show(&report, args, printer, |source, pointer| match pointer {
        Some(pointer) => {
            let line = u32::try_from(loaded.source.locate(pointer).line).ok();
            Place { file: what.to_owned(), line }
        }
        None => Place { file: source.to_owned(), line: None },
    })
}

fn show(
    report: &Report,
    args: &AuditArgs,
    printer: Printer,
    place: impl Fn(&str, Option<&str>) -> Place,
) -> Result<Exit, CliError> {
    if args.sarif {
        printer.json_pretty(&basb_audit::sarif(report, env!("CARGO_PKG_VERSION"), place));
    } else if printer.form() == Form::Json {
        printer.json(report);
    } else {
        printer.raw(report.text().as_bytes());
    }
    Ok(if report.summary.errors > 0 { Exit::Error } else { Exit::Done })
}

/// Whether it is a plugin rather than a deployment file: by its name, else by its first bytes.
fn is_plugin(what: &str) -> bool {
    use std::io::Read;
    let mut start = [0; 4];
    let mut begins = || std::fs::File::open(what).and_then(|mut file| file.read_exact(&mut start)).is_ok();
    what.starts_with("builtin:") || what.ends_with(".wasm") || (begins() && start == *b"\0asm")
}

fn one_file(source: &str) -> Result<Report, CliError> {
    let bytes = plugin_bytes(source, Path::new("."))?;
    let digest = Digest::of(&bytes);
    let inspected = inspect(&bytes);
    let bytes = match &inspected {
        Ok(inspection) => Ok(Bytes { digest: &digest, inspection }),
        Err(e) => {
            Err(Unusable { code: e.code().to_owned(), message: e.to_string(), help: "use another file".to_owned() })
        }
    };
    Ok(basb_audit::report(&[Subject { name: source, source, bytes, operator: None }]))
}

/// What was found out about a plugin of a deployment.
struct Known {
    name: PluginName,
    source: String,
    bytes: Result<(Digest, Inspection), Unusable>,
    grants: Grants,
    credentials: Vec<(String, Vec<String>)>,
    signature: SignatureState,
    lock: LockState,
}

/// What all plugins of a deployment have in common.
struct Common<'a> {
    deployment: &'a Deployment,
    scope: Scope,
    base: &'a Path,
    publishers: Publishers,
    credentials: CredentialsConfig,
    lock: Result<Option<LockFile>, LockError>,
}

fn deployment(loaded: &Loaded, base: &Path) -> Result<Report, CliError> {
    let deployment = &loaded.deployment;
    let mut wrong = Vec::new();
    let at = |pointer: &str, code: &str, message: String, help: String| {
        loaded.source.diagnostic_at(pointer, code, message, (!help.is_empty()).then_some(help))
    };
    let publishers = Publishers::parse(&deployment.publishers).unwrap_or_else(|problems| {
        wrong.extend(problems.into_iter().map(|problem| {
            let pointer = format!("/publishers/{}", problem.publisher);
            at(&pointer, "signature/bad-key", problem.to_string(), "paste the second line of minisign.pub".to_owned())
        }));
        Publishers::default()
    });
    let credentials = CredentialsConfig::parse(&deployment.credentials).unwrap_or_else(|problems| {
        wrong.extend(problems.into_iter().map(|p| at(&p.pointer, "credential/invalid", p.message, p.help)));
        CredentialsConfig::default()
    });
    let scope = Scope { deployment: deployment.name.clone(), environment: deployment.environment.clone() };
    let common = Common { deployment, scope, base, publishers, credentials, lock: read_lock(base) };
    let mut known = Vec::new();
    for (name, source) in &deployment.plugins {
        match Grants::parse(&source.grants) {
            Ok(grants) => known.push(one(&common, name, source, grants)),
            Err(problems) => {
                wrong.extend(problems.into_iter().map(|p| {
                    at(&format!("/plugins/{name}/grants{}", p.pointer), "plugin/bad-grant", p.message, p.help)
                }))
            }
        }
    }
    if !wrong.is_empty() {
        return Err(EngineError::Diagnostics(Diagnostics::new(wrong)).into());
    }
    let subjects: Vec<Subject<'_>> = known.iter().map(Known::subject).collect();
    Ok(basb_audit::report(&subjects))
}

impl Known {
    fn subject(&self) -> Subject<'_> {
        let bytes = match &self.bytes {
            Ok((digest, inspection)) => Ok(Bytes { digest, inspection }),
            Err(unusable) => Err(unusable.clone()),
        };
        let operator = Operator {
            grants: &self.grants,
            credentials: self.credentials.clone(),
            signature: self.signature.clone(),
            lock: self.lock.clone(),
        };
        Subject { name: self.name.as_str(), source: &self.source, bytes, operator: Some(operator) }
    }
}

fn one(common: &Common<'_>, name: &PluginName, source: &PluginSource, grants: Grants) -> Known {
    let mut known = Known {
        name: name.clone(),
        source: relative(&source.source),
        bytes: Err(Unusable { code: String::new(), message: String::new(), help: String::new() }),
        credentials: source
            .credentials
            .iter()
            .map(|name| (name.to_string(), common.credentials.destinations_of(name)))
            .collect(),
        grants,
        signature: SignatureState::NotDemanded,
        lock: LockState::NotCompared,
    };
    if let Err(e) = &common.lock {
        known.lock = LockState::Unreadable(e.to_string());
    }
    let builtin = source.source.starts_with("builtin:");
    if builtin {
        known.signature = SignatureState::Builtin;
    }
    let unusable = |code: &str, message: String, help: String| Err(Unusable { code: code.to_owned(), message, help });
    let bytes = match bytes_of(&source.source, common.base) {
        Ok(bytes) => bytes,
        Err(e) => {
            known.bytes = unusable(&e.code, e.message, e.help);
            return known;
        }
    };
    let inspection = match inspect(&bytes) {
        Ok(inspection) => inspection,
        Err(e) => {
            known.bytes = unusable(e.code(), e.to_string(), "use another file".to_owned());
            return known;
        }
    };
    let digest = Digest::of(&bytes);
    let file = if builtin { SignatureFile::Missing } else { read_signature(&common.base.join(&source.source)) };
    let demanded = source.publisher.as_ref();
    let signed = verify(&common.publishers, demanded, &source.source, &bytes, &file, inspection.manifest.as_ref());
    let signed_by = match signed {
        Ok(signed_by) => {
            if let Some(by) = &signed_by {
                known.signature = SignatureState::Signed(by.clone());
            }
            Some(signed_by)
        }
        Err(e) => {
            let (code, help) = (e.code().to_owned(), e.help().to_owned());
            known.signature = SignatureState::Refused { code, message: e.to_string(), help };
            None
        }
    };
    // Without a good signature an entry would say that nobody signed it: that is not what was found.
    if let (Some(signed_by), Ok(lock)) = (signed_by, &common.lock) {
        let entry = LockEntry::of(Facts {
            source: &LockedSource::new(&source.source, common.base),
            digest: &digest,
            inspection: &inspection,
            grants: &known.grants,
            credentials: &source.credentials,
            bindings: &common.deployment.credentials,
            signed_by: signed_by.as_ref(),
        });
        known.lock = match (lock, entry) {
            (None, _) => LockState::NoFile,
            (Some(_), None) => LockState::NotCompared,
            (Some(lock), Some(entry)) => {
                let agreed = lock.scope(&common.scope).and_then(|plugins| plugins.get(name));
                let differences = match agreed {
                    Some(agreed) => compare(agreed, &entry),
                    None => basb_registry::Difference::new_plugin(&entry),
                };
                if differences.is_empty() { LockState::Same } else { LockState::Differs(differences) }
            }
        };
    }
    known.bytes = Ok((digest, inspection));
    known
}

/// A path as seen from the working folder, where it is below it: what code scanners need.
fn relative(source: &str) -> String {
    let below = std::env::current_dir().ok().and_then(|folder| {
        Some(Path::new(source).strip_prefix(folder).ok()?.components().collect::<std::path::PathBuf>())
    });
    below.map_or_else(|| source.to_owned(), |path| path.display().to_string())
}

/// One side of a comparison: a file, or an entry of a lock file.
struct Loose {
    entry: LockEntry,
    inspection: Option<Inspection>,
}

/// `FILE`, `builtin:NAME`, or `basb.lock#NAME` and `basb.lock#DEPLOYMENT/ENVIRONMENT/NAME`.
fn side(what: &str) -> Result<Loose, CliError> {
    let lock = what.split_once('#').filter(|(file, _)| Path::new(file).extension().is_some_and(|e| e == "lock"));
    if let Some((file, name)) = lock {
        return Ok(Loose { entry: locked(Path::new(file), name)?, inspection: None });
    }
    let bytes = plugin_bytes(what, Path::new("."))?;
    let refused = |code, message: String| CliError::plain(code, format!("{what}: {message}"), "use another file");
    let inspection = inspect(&bytes).map_err(|e| refused(e.code(), e.to_string()))?;
    let entry = LockEntry::of(Facts {
        source: &LockedSource::new(what, Path::new(".")),
        digest: &Digest::of(&bytes),
        inspection: &inspection,
        grants: &Grants::default(),
        credentials: &[],
        bindings: &Value::Null,
        signed_by: None,
    });
    let entry = entry.ok_or_else(|| refused("plugin/no-manifest", "it carries no manifest".to_owned()))?;
    Ok(Loose { entry, inspection: Some(inspection) })
}

fn locked(file: &Path, name: &str) -> Result<LockEntry, CliError> {
    let text = std::fs::read_to_string(file)
        .map_err(|e| EngineError::from(LockError::Unreadable { file: file.to_owned(), why: e.to_string() }))?;
    let lock = LockFile::parse(&text).map_err(EngineError::from)?;
    let (scope, plugin) = match name.rsplit_once('/') {
        Some((scope, plugin)) => (Some(scope), plugin),
        None => (None, name),
    };
    let mut found = lock
        .scopes()
        .filter(|(at, _)| scope.is_none_or(|scope| at.to_string() == scope))
        .filter_map(|(at, plugins)| Some((at, plugins.get(plugin)?)));
    match (found.next(), found.next()) {
        (Some((_, entry)), None) => Ok(entry.clone()),
        (Some((first, _)), Some(_)) => Err(CliError::plain(
            "cli/ambiguous-entry",
            format!("{} has several plugins `{plugin}`", file.display()),
            format!("name one of them, such as {}#{first}/{plugin}", file.display()),
        )),
        (None, _) => Err(CliError::plain(
            "cli/no-such-entry",
            format!("{} has no plugin `{name}`", file.display()),
            "write basb.lock#NAME, or basb.lock#DEPLOYMENT/ENVIRONMENT/NAME",
        )),
    }
}

fn diff(old: &str, new: &str, printer: Printer) -> Result<Exit, CliError> {
    let (mut before, mut after) = (side(old)?, side(new)?);
    // A file says nothing of what an operator grants it: beside an entry, take what was agreed to there.
    match (before.inspection.is_some(), after.inspection.is_some()) {
        (true, false) => lend(&after.entry, &mut before.entry),
        (false, true) => lend(&before.entry, &mut after.entry),
        _ => {}
    }
    let manifest = |loose: &'_ Loose| loose.inspection.as_ref().and_then(|inspection| inspection.manifest.clone());
    let (old_manifest, new_manifest) = (manifest(&before), manifest(&after));
    let report = basb_audit::diff(
        Side { label: old, entry: &before.entry, manifest: old_manifest.as_ref() },
        Side { label: new, entry: &after.entry, manifest: new_manifest.as_ref() },
    );
    match printer.form() {
        Form::Json => printer.json(&report),
        Form::Text => printer.raw(report.text().as_bytes()),
    }
    Ok(Exit::Done)
}

fn lend(from: &LockEntry, to: &mut LockEntry) {
    to.granted.clone_from(&from.granted);
    to.credentials.clone_from(&from.credentials);
    to.signed_by.clone_from(&from.signed_by);
    to.key.clone_from(&from.key);
}

async fn activity(run: Option<&str>, shown: Shown, state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    let session = session(state)?;
    let journal = session.journal();
    let id = match run {
        Some(run) => run.to_owned(),
        None => match runs(journal, RunFilter::default(), 1).await?.pop() {
            Some(newest) => newest.run.to_string(),
            None => {
                return Err(CliError::plain("cli/no-runs", "there are no runs yet", "start one with `basb-host run`"));
            }
        },
    };
    let start = journal.run(&id).await?.start;
    let mut calls: Vec<(Timestamp, Option<ServiceName>, PluginCall)> = Vec::new();
    for entry in journal.entries(&start.run, 1).await? {
        let record: Record = serde_json::from_str(&entry.body).map_err(|e| EngineError::Entry {
            run: start.run.to_string(),
            seq: entry.seq,
            why: e.to_string(),
        })?;
        if let Record::Called { service, call } = record {
            calls.push((entry.at, service, *call));
        }
    }
    let activity = basb_audit::activity(start.run.as_str(), &calls, shown);
    match printer.form() {
        Form::Json => printer.json(&activity),
        Form::Text => printer.raw(activity.text().as_bytes()),
    }
    // What was shown is worth no more than the record that it was read from.
    match journal.verify(&start.run).await {
        Ok(_) => Ok(Exit::Done),
        Err(VerifyError::Broken(broken)) => Err(CliError::plain(
            "journal/broken-chain",
            format!("what is shown cannot be relied on: {broken}"),
            format!("see `basb-host audit verify {}`", start.run),
        )),
        Err(VerifyError::Journal(e)) => Err(e.into()),
    }
}

async fn integrity(run: Option<&str>, state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    let session = session(state)?;
    let journal = session.journal();
    let found = match run {
        None => journal.verify_all().await?,
        Some(run) => {
            let id = journal.run(run).await?.start.run;
            let verified = match journal.verify(&id).await {
                Ok(head) => Ok(head),
                Err(VerifyError::Broken(broken)) => Err(broken),
                Err(VerifyError::Journal(e)) => return Err(e.into()),
            };
            vec![(id, verified)]
        }
    };
    let mut states = Vec::new();
    for (run, verified) in found {
        states.push(match verified {
            Err(broken) => RunState::broken(run.to_string(), broken.seq, broken.why.to_owned()),
            // The records are whole, so what they say of the tapes is true.
            Ok(head) => match check_tapes(journal, &run).await?.into_iter().next() {
                None => RunState::whole(run.to_string(), head.seq, head.hash.to_string()),
                Some(tampered) => RunState::broken(run.to_string(), tampered.seq, tampered.why),
            },
        });
    }
    let report = basb_audit::integrity(states);
    match printer.form() {
        Form::Json => printer.json(&report),
        Form::Text => printer.raw(report.text().as_bytes()),
    }
    Ok(if report.broken > 0 { Exit::Error } else { Exit::Done })
}
