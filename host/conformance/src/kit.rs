//! Everything together: a plugin's bytes and its kit file make a report.

use crate::KitError;
use crate::counterpart::{Counterpart, External, ExternalSetup, Pace, Recorded, WithFolder};
use crate::fault::Fault;
use crate::file::{KitFile, TimeFile};
use crate::matrix::{Choice, Plan, Progress, certify};
use crate::report::Report;
use crate::script::Scripted;
use crate::script::form::Script;
use crate::stage::Stage;
use basb_runtime::{CacheFolder, Kind, inspect};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A plugin to be certified.
#[derive(Debug)]
pub struct Kit {
    /// The component.
    pub bytes: Vec<u8>,
    /// How it is certified.
    pub file: KitFile,
    /// The folder of the kit file: relative paths start there.
    pub base: PathBuf,
    /// Where compiled plugins are kept.
    pub cache: Option<CacheFolder>,
}

impl Kit {
    /// Certifies it.
    ///
    /// # Errors
    /// [`KitError`] when the kit cannot be run; what is wrong with the plugin is in the report.
    pub async fn run(self, choice: &Choice, progress: Progress<'_>) -> Result<Report, KitError> {
        // What is asked for is looked at first: a kit file without a scenario should not start a process.
        let plan = Plan::of(kind_of(&self.bytes)?, &self.file)?;
        let folder = tempfile::Builder::new().prefix("basb-kit").tempdir();
        let folder = folder.map_err(|e| {
            KitError::new("kit/folder", format!("there is no place for a folder: {e}"), "check the space on the disk")
        })?;
        let inner = counterpart(&self.file, &self.base).await?;
        let counterpart: Arc<dyn Counterpart> =
            Arc::new(WithFolder::new(inner, folder.path().to_owned(), &self.file.files));
        let stage = Stage::new(self.bytes, &self.file, folder.path(), counterpart, self.cache).await?;
        let mut choice = choice.clone();
        let mut left_out = Vec::new();
        if let Some(why) = &self.file.counterpart.consistent {
            choice.faults.retain(|fault| *fault != Fault::StaleRead);
            left_out.push((Fault::StaleRead, why.clone()));
        }
        let mut report = certify(&stage, &plan, &choice, progress).await?;
        report.left_out = left_out;
        Ok(report)
    }
}

/// What a component is, if it is something that can be certified. Asked before a kit file is read: whoever has none should
/// not write one in vain.
///
/// # Errors
/// [`KitError`] when it is no plugin, or one that reaches nothing.
pub fn kind_of(bytes: &[u8]) -> Result<Kind, KitError> {
    let load =
        |message: String| KitError::new("kit/not-loaded", message, "`basb-host plugin inspect FILE` shows what it is");
    let inspection = inspect(bytes).map_err(|e| load(e.to_string()))?;
    let kind = inspection.kind.ok_or_else(|| load("it exports no interface of basb:host".to_owned()))?;
    match kind {
        Kind::Provider | Kind::Probe | Kind::Notifier => Ok(kind),
        Kind::Strategy | Kind::Judge | Kind::Generator => Err(pure(kind)),
    }
}

/// There is nothing to certify.
pub(crate) fn pure(kind: Kind) -> KitError {
    KitError::new(
        "kit/pure",
        format!("a {kind} reaches nothing, so there is nothing that could fail between it and the outside"),
        "`cargo test` tests it natively, `basb-host backtest` over recorded runs",
    )
}

async fn counterpart(kit: &KitFile, base: &Path) -> Result<Arc<dyn Counterpart>, KitError> {
    let file = &kit.counterpart;
    if let Some(address) = &file.address {
        let setup = ExternalSetup {
            address: address.clone(),
            command: file.command.clone(),
            folder: base.to_owned(),
            reset: file.reset.clone(),
            keep: file.keep.clone(),
            state: file.state.clone(),
            ready: file.ready.clone(),
            pace: match file.time {
                TimeFile::Real => Pace::Real,
                TimeFile::Virtual => Pace::Virtual,
            },
        };
        return Ok(Arc::new(External::new(&setup).await?));
    }
    if let Some(recording) = &file.recording {
        return Ok(Arc::new(Recorded::new(recording, kit)?));
    }
    if let Some(script) = &file.script {
        return Ok(Arc::new(Scripted::new((**script).clone())?));
    }
    // Files alone: nobody is to be reached.
    Ok(Arc::new(Scripted::new(Script::empty("nobody"))?))
}
