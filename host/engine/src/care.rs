//! Care for the journal, and for the plugins that its runs were made with, in the engine's words.

use crate::clock::now;
use crate::drive::entry;
use crate::{EngineError, KeptPlugins, StateDir, plugins};
use basb_core::run::{Record, RunOutcome};
use basb_core::{Digest, PluginName, RunId};
use basb_journal::Finish;
use basb_journal::care::{
    Beside, Checked, Closing, Recovered, Replace, Restored, backup, first_records, recover, restore,
};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Part of the name under which an old journal is kept: what became of it, and when.
#[must_use]
fn kept_word(word: &str) -> String {
    let at: String = now().to_string().chars().filter(char::is_ascii_alphanumeric).take(15).collect();
    format!("{word}-{at}")
}

/// How a run is closed that cannot be gone on with.
fn superseded(_: &RunId) -> Closing {
    let (at, outcome) = (now(), RunOutcome::Superseded);
    Closing {
        entries: vec![entry(at, &Record::Finished(outcome))],
        finish: Finish { at, outcome: outcome.as_str().to_owned(), body: "{}".to_owned() },
    }
}

/// What the names of plugins in a back-up begin with; the digest follows.
const PLUGIN: &str = "plugin/";

/// A plugin that runs need to be played back, and that is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unkept {
    /// Its name in the deployment file.
    pub name: PluginName,
    /// The digest of its bytes.
    pub digest: Digest,
    /// The runs that need it, the oldest first.
    pub runs: Vec<RunId>,
}

/// What a back-up holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackedUp {
    /// The journal in it.
    pub checked: Checked,
    /// How many plugins are in it.
    pub plugins: usize,
    /// What runs in it need and it does not hold.
    pub unkept: Vec<Unkept>,
}

/// What a restore came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredState {
    /// The journal.
    pub journal: Restored,
    /// How many plugins came with it.
    pub plugins: usize,
    /// What runs in it need and is not kept.
    pub unkept: Vec<Unkept>,
}

/// Copies the journal, and the plugins that its runs were made with, into one new file.
///
/// # Errors
/// [`EngineError::Journal`] when something cannot be read or written; there is no half of a back-up then.
pub fn backup_state(state: &StateDir, to: &Path) -> Result<BackedUp, EngineError> {
    let kept = KeptPlugins::of(state);
    let beside = |(digest, bytes): (Digest, Vec<u8>)| Beside { name: format!("{PLUGIN}{digest}"), bytes };
    let plugins: Vec<Beside> = kept.all()?.into_iter().map(beside).collect();
    let checked = backup(&state.journal(), to, &plugins)?;
    Ok(BackedUp { checked, plugins: plugins.len(), unkept: unkept(to, &kept)? })
}

/// Puts a back-up into the journal's place, and its plugins beside those that are kept. A run that was unfinished then is
/// closed as superseded: what it did since is not known.
///
/// # Errors
/// [`EngineError::Journal`] when the journal holds runs and may not be replaced, or it cannot be read or written;
/// the journal is as it was then.
pub fn restore_journal(state: &StateDir, from: &Path, replace: Replace) -> Result<RestoredState, EngineError> {
    let kept = KeptPlugins::of(state);
    let plugins = AtomicUsize::new(0);
    let keep = |one: &Beside| -> std::io::Result<()> {
        // What is there beside plugins is of a newer version, which knows what to do with it.
        let Some(digest) = one.name.strip_prefix(PLUGIN) else { return Ok(()) };
        if Digest::of(&one.bytes).as_str() != digest {
            return Err(std::io::Error::other(format!("the plugin {digest} in {} is damaged", from.display())));
        }
        kept.keep(&one.bytes).map_err(|e| std::io::Error::other(e.to_string()))?;
        plugins.fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    let journal = restore(&state.journal(), from, replace, &kept_word("replaced"), &superseded, &keep)?;
    let unkept = unkept(&journal.checked.file, &kept)?;
    Ok(RestoredState { journal, plugins: plugins.into_inner(), unkept })
}

/// The plugins that a replay of the runs in a file needs, and that are neither kept nor part of this program.
fn unkept(file: &Path, kept: &KeptPlugins) -> Result<Vec<Unkept>, EngineError> {
    let mut needed: BTreeMap<Digest, Unkept> = BTreeMap::new();
    for (run, body) in first_records(file)? {
        // One of a newer version says itself that it cannot be played back.
        let Ok(Record::Started(start)) = serde_json::from_str(&body) else { continue };
        for (name, identity) in &start.plugins {
            let Some(digest) = plugins::digest_of(identity) else { continue };
            let new = || Unkept { name: name.clone(), digest: digest.clone(), runs: Vec::new() };
            needed.entry(digest.clone()).or_insert_with(new).runs.push(run.clone());
        }
    }
    Ok(needed.into_values().filter(|plugin| kept.find(plugin.name.as_str(), &plugin.digest).is_err()).collect())
}

/// Makes a whole journal of what a damaged one still holds. A run that lost entries is closed as superseded: the next
/// one starts from the last stable revision, and puts traffic back that is half-way.
///
/// # Errors
/// [`EngineError::Journal`] when it cannot be read or written; everything is as it was then.
pub fn recover_journal(state: &StateDir) -> Result<Option<Recovered>, EngineError> {
    Ok(recover(&state.journal(), &kept_word("damaged"), &superseded)?)
}
