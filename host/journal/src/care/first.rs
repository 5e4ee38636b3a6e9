//! The first record of every run, which says what the run is.

use super::check::read_only;
use crate::JournalError;
use crate::error::WorkError;
use crate::row;
use basb_core::RunId;
use std::path::Path;

/// The body of the first record of every run in a file, the oldest first. A run without records is left out.
///
/// # Errors
/// Why the file cannot be read.
pub fn first_records(file: &Path) -> Result<Vec<(RunId, String)>, JournalError> {
    let read = || -> Result<Vec<(RunId, String)>, WorkError> {
        let connection = read_only(file)?;
        let mut statement = connection.prepare(
            "SELECT r.run, e.body FROM runs r JOIN entries e ON e.run = r.run AND e.seq = 1 ORDER BY r.started_at, r.rowid",
        )?;
        let found = statement.query_map([], |r| Ok((row::name(r, 0)?, r.get(1)?)))?;
        Ok(found.collect::<Result<_, _>>()?)
    };
    read().map_err(|e| e.at(file))
}
