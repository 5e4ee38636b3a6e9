//! `basb-host plugin test` and `plugin record`.

use crate::args::TestArgs;
use crate::exit::{CliError, Exit};
use crate::printer::{Form, Printer};
use basb_conformance::counterpart::{Recording, secret_sections};
use basb_conformance::file::{CounterpartFile, KitFile};
use basb_conformance::kit::{Kit, kind_of};
use basb_conformance::matrix::Choice;
use basb_engine::{StateDir, plugin_bytes, plugin_tapes};
use basb_runtime::CacheFolder;
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// What the kit file is called.
const KIT: &str = "conformance.yaml";

/// Certifies a plugin.
pub async fn test(args: &TestArgs, state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    let Some(source) = args.source.as_ref().filter(|_| !args.schema) else {
        printer.json_pretty(&KitFile::schema());
        return Ok(Exit::Done);
    };
    // The plugin first: whoever has none, or one that reaches nothing, need not look for a kit file.
    let bytes = plugin_bytes(source, Path::new("."))?.into_owned();
    kind_of(&bytes)?;
    let path = args.kit.clone().unwrap_or_else(|| kit_beside(source));
    let mut file = KitFile::read(&path)?;
    if let Some(address) = &args.counterpart {
        let CounterpartFile { reset, state, keep, ready, time, consistent, .. } = std::mem::take(&mut file.counterpart);
        file.counterpart = CounterpartFile {
            address: Some(address.clone()),
            reset,
            keep,
            state,
            ready,
            time,
            consistent,
            ..CounterpartFile::default()
        };
    }
    let kit = Kit {
        bytes,
        file,
        base: path.parent().unwrap_or(Path::new(".")).to_owned(),
        cache: StateDir::open(state).ok().and_then(|state| CacheFolder::open(state.cache()).ok()),
    };
    let mut choice = Choice { every: args.every, ..Choice::default() };
    if !args.faults.is_empty() {
        choice.faults.clone_from(&args.faults);
    }
    // Before the run, which takes its time: nobody should lose its result to a typing error.
    let mut junit = args.junit.as_deref().map(Junit::open).transpose()?;
    let bar = if printer.can_draw() { ProgressBar::no_length() } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} faults") {
        bar.set_style(style);
    }
    let progress = |done: usize, all: usize| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    };
    let report = kit.run(&choice, &progress).await?;
    bar.finish_and_clear();
    match printer.form() {
        Form::Json => printer.json(&report.json()),
        Form::Text => printer.line(report.text().trim_end()),
    }
    if let Some(junit) = &mut junit {
        junit.write(&report.junit())?;
    }
    Ok(if report.passed() { Exit::Done } else { Exit::Error })
}

/// The file for the result.
struct Junit<'p> {
    path: &'p Path,
    file: File,
}

impl<'p> Junit<'p> {
    fn open(path: &'p Path) -> Result<Self, CliError> {
        let file = File::create(path).map_err(|e| unwritten(path, &e))?;
        Ok(Self { path, file })
    }

    fn write(&mut self, text: &str) -> Result<(), CliError> {
        self.file.write_all(text.as_bytes()).map_err(|e| unwritten(self.path, &e))
    }
}

fn unwritten(path: &Path, error: &io::Error) -> CliError {
    CliError::plain("cli/file", format!("{} cannot be written: {error}", path.display()), "check the path")
}

/// Makes a kit file of a plugin's calls in a run.
pub async fn record(
    run: &str,
    plugin: &str,
    out: Option<&Path>,
    state: Option<&Path>,
    printer: Printer,
) -> Result<Exit, CliError> {
    let session = crate::commands::session(state)?;
    let found = plugin_tapes(session.journal(), run, plugin).await?;
    let digest = found.digest().map(ToString::to_string).unwrap_or_default();
    let recording = Recording::of(found.run.as_str(), &digest, &found.tapes);
    let calls = recording.calls.len();
    let exchanges: usize = recording.calls.iter().map(|call| call.exchanges.len()).sum();
    // JSON is YAML too; people read it rarely, and a diff of it should be small.
    let mut kit = secret_sections(&recording, &found.grants)?;
    kit.insert("conformance".to_owned(), basb_conformance::file::KIT_FILE_VERSION.into());
    kit.insert("grants".to_owned(), found.grants);
    kit.insert("counterpart".to_owned(), serde_json::json!({ "recording": recording }));
    let path = out.map_or_else(|| PathBuf::from(format!("{plugin}.recorded.json")), Path::to_owned);
    let text = serde_json::to_string_pretty(&kit).unwrap_or_default();
    super::write_new(&path, &text)?;
    let left_out = found.tapes.len() - calls;
    match printer.form() {
        Form::Json => printer.json(&serde_json::json!({
            "version": 1, "run": found.run, "file": path, "calls": calls, "exchanges": exchanges,
            "leftOut": left_out, "withoutText": found.without_text,
        })),
        Form::Text => {
            printer.line(&format!("{} holds {calls} calls of {plugin} with {exchanges} exchanges", path.display()));
            if left_out > 0 {
                printer.note(&format!("{left_out} calls that did not come to their end are left out"));
            }
            printer.line(&format!("`basb-host plugin test FILE --kit {}` asks for them once more", path.display()));
        }
    }
    Ok(Exit::Done)
}

/// The kit file beside a plugin, or else in this folder.
fn kit_beside(source: &str) -> PathBuf {
    let beside = Path::new(source).parent().map(|folder| folder.join(KIT));
    match beside {
        Some(path) if path.is_file() => path,
        _ => PathBuf::from(KIT),
    }
}
