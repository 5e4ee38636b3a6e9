//! A copy of one state of the journal, made while others are at work on it.

use super::beside::{self, Beside};
use super::check::{Checked, check, read_only};
use super::files::{new_private, sync_file, sync_folder};
use crate::{FILE_NAME, JournalError};
use rusqlite::params;
use std::fs;
use std::path::Path;

/// Writes everything that is committed by now into a new file, for its owner alone: one file, without a log beside it.
/// Runs go on meanwhile. The copy is checked before it gets its name. What is given beside it comes back when it is
/// restored.
///
/// # Errors
/// [`JournalError::Exists`] when there is such a file, [`JournalError::Corrupted`] when the journal is damaged, or why
/// it cannot be read or written. There is no half of a copy then.
pub fn backup(folder: &Path, to: &Path, beside: &[Beside]) -> Result<Checked, JournalError> {
    let file = folder.join(FILE_NAME);
    let io = |e: std::io::Error| JournalError::from_io(to, &e);
    if fs::symlink_metadata(to).is_ok() {
        return Err(JournalError::Exists { file: to.to_owned() });
    }
    fs::metadata(&file).map_err(|e| JournalError::from_io(&file, &e))?;
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = to.with_file_name(name);
    // SQLite writes into an empty file that is there: so it is private from its first byte on.
    new_private(&new).map_err(io)?;
    let made = copy(&file, &new).and_then(|()| {
        beside::put(&new, beside)?;
        let checked = check(&new)?;
        if let Some(why) = checked.damage.first().cloned().or_else(|| checked.broken().next().map(ToString::to_string))
        {
            return Err(JournalError::Corrupted { file: file.clone(), why });
        }
        sync_file(&new).map_err(io)?;
        // Unlike a rename, a link does not replace what came to be there meanwhile.
        fs::hard_link(&new, to).map_err(io)?;
        Ok(Checked { file: to.to_owned(), ..checked })
    });
    let _ = fs::remove_file(&new);
    sync_folder(to).map_err(io)?;
    made
}

/// Copies one state of a database into an empty file.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), JournalError> {
    let sqlite = |error| match JournalError::from_sqlite(from, &error) {
        // It is the copy that has no room.
        JournalError::DiskFull { .. } => JournalError::DiskFull { file: to.to_owned() },
        other => other,
    };
    let connection = read_only(from).map_err(sqlite)?;
    let target = to.to_str().ok_or_else(|| JournalError::Unwritable {
        folder: to.parent().unwrap_or(to).to_owned(),
        why: "its path is no text".to_owned(),
    })?;
    connection.execute("VACUUM INTO ?1", params![target]).map(|_| ()).map_err(sqlite)
}
