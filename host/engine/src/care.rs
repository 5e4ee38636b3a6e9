//! Care for the journal, in the engine's words.

use crate::clock::now;
use crate::drive::entry;
use crate::{EngineError, StateDir};
use basb_core::RunId;
use basb_core::run::{Record, RunOutcome};
use basb_journal::Finish;
use basb_journal::care::{Closing, Recovered, Replace, Restored, recover, restore};
use std::path::Path;

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

/// Puts a back-up into the journal's place. A run that was unfinished then is closed as superseded: what it did since is
/// not known.
///
/// # Errors
/// [`EngineError::Journal`] when the journal holds runs and may not be replaced, or it cannot be read or written;
/// everything is as it was then.
pub fn restore_journal(state: &StateDir, from: &Path, replace: Replace) -> Result<Restored, EngineError> {
    Ok(restore(&state.journal(), from, replace, &kept_word("replaced"), &superseded)?)
}

/// Makes a whole journal of what a damaged one still holds. A run that lost entries is closed as superseded: the next
/// one starts from the last stable revision, and puts traffic back that is half-way.
///
/// # Errors
/// [`EngineError::Journal`] when it cannot be read or written; everything is as it was then.
pub fn recover_journal(state: &StateDir) -> Result<Option<Recovered>, EngineError> {
    Ok(recover(&state.journal(), &kept_word("damaged"), &superseded)?)
}
