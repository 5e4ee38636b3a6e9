//! Putting a back-up into the place of the journal.

use super::backup::copy;
use super::beside::{self, Beside};
use super::check::{Checked, check, read_only};
use super::files::{Alone, free_name, new_private, sync_file};
use super::salvage::Closing;
use crate::error::WorkError;
use crate::open::{check_magic, check_owner};
use crate::schema::migrate;
use crate::{Append, JournalError, append, row};
use basb_core::RunId;
use rusqlite::Connection;
use std::fs;
use std::path::{Path, PathBuf};

/// Whether a journal that holds runs may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// Only an empty one.
    OnlyEmpty,
    /// Any; the old one is kept beside the new one.
    Any,
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What is there now.
    pub checked: Checked,
    /// Where the old file is, if there was one.
    pub kept: Option<PathBuf>,
    /// The runs that were unfinished in the back-up, and are closed now.
    pub closed: Vec<RunId>,
}

/// Puts a back-up into the place of a folder's journal. `word` becomes part of the old file's new name. A run that was
/// unfinished in the back-up is closed with what `close` says: what it did after that is not known, and going on could do
/// things twice. What lies beside the journal in the back-up is handed to `keep` before the journal is replaced.
///
/// # Errors
/// [`JournalError::NotEmpty`] when the journal holds runs and may not be replaced, [`JournalError::InUse`] when somebody
/// has it open, [`JournalError::Corrupted`] when the back-up is damaged, or why it cannot be read or written. Everything
/// is as it was then.
pub fn restore(
    folder: &Path,
    from: &Path,
    replace: Replace,
    word: &str,
    close: &dyn Fn(&RunId) -> Closing,
    keep: &dyn Fn(&Beside) -> std::io::Result<()>,
) -> Result<Restored, JournalError> {
    let from_io = |e: std::io::Error| JournalError::from_io(from, &e);
    check_magic(&fs::File::open(from).map_err(from_io)?, from)?;
    check_owner(&read_only(from).map_err(|e| JournalError::from_sqlite(from, &e))?, from)?;
    // A copy is made anew and could look whole where this one is not.
    if let Some(why) = check(from)?.damage.into_iter().next() {
        return Err(JournalError::Corrupted { file: from.to_owned(), why });
    }
    let alone = Alone::with(folder)?;
    if replace == Replace::OnlyEmpty && holds_runs(&alone.file) {
        return Err(JournalError::NotEmpty { file: alone.file.clone() });
    }
    let new = free_name(&alone.file, "new");
    let io = |e: std::io::Error| JournalError::from_io(&new, &e);
    new_private(&new).map_err(io)?;
    let checked = copy(from, &new).and_then(|()| {
        for one in &beside::take(&new)? {
            keep(one).map_err(io)?;
        }
        let mut connection = Connection::open(&new).map_err(|e| JournalError::from_sqlite(&new, &e))?;
        migrate(&mut connection).map_err(|e| JournalError::from_sqlite(&new, &e))?;
        let closed = close_open(&mut connection, close).map_err(|e| e.at(&new))?;
        drop(connection);
        let checked = check(&new)?;
        match checked.damage.first().cloned().or_else(|| checked.broken().next().map(ToString::to_string)) {
            Some(why) => Err(JournalError::Corrupted { file: from.to_owned(), why }),
            None => sync_file(&new).map_err(io).map(|()| (checked, closed)),
        }
    });
    let kept = free_name(&alone.file, word);
    let swapped = checked.and_then(|checked| Ok((alone.swap(&new, &kept)?, checked)));
    if swapped.is_err() {
        let _ = fs::remove_file(&new);
    }
    let (there, (checked, closed)) = swapped?;
    let checked = Checked { file: alone.file.clone(), ..checked };
    Ok(Restored { checked, kept: there.then_some(kept), closed })
}

/// Closes every run that is unfinished.
fn close_open(connection: &mut Connection, close: &dyn Fn(&RunId) -> Closing) -> Result<Vec<RunId>, WorkError> {
    let transaction = connection.transaction()?;
    let open: Vec<RunId> = transaction
        .prepare("SELECT run FROM runs WHERE finished_at IS NULL ORDER BY started_at, rowid")?
        .query_map([], |r| row::name(r, 0))?
        .collect::<Result<_, _>>()?;
    for run in &open {
        let Closing { entries, finish } = close(run);
        append::write(&transaction, run, &Append { entries, finish: Some(finish), ..Append::default() })?;
    }
    transaction.commit()?;
    Ok(open)
}

/// Whether a file holds runs. One that cannot be read may.
fn holds_runs(file: &Path) -> bool {
    if !fs::metadata(file).is_ok_and(|m| m.len() > 0) {
        return false;
    }
    let count = |connection: Connection| connection.query_row("SELECT count(*) FROM runs", [], |r| row::unsigned(r, 0));
    read_only(file).and_then(count).map_or(true, |runs| runs > 0)
}
