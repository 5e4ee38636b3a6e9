//! Whether a file is whole, and every run in it as it was written.

use crate::chain::{self, Broken, Head};
use crate::error::WorkError;
use crate::open::{check_magic, check_owner};
use crate::schema::{SCHEMA_VERSION, version};
use crate::{JournalError, row};
use basb_core::RunId;
use rusqlite::{Connection, OpenFlags};
use std::fs::File;
use std::path::{Path, PathBuf};

/// So many problems of a file are told at the most.
const MOST: u32 = 20;

/// What a look at a whole file found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The file.
    pub file: PathBuf,
    /// Its size in bytes, what waits in its log left out.
    pub bytes: u64,
    /// Its format.
    pub format: i64,
    /// How many records it holds.
    pub entries: u64,
    /// Every run, newest first, with the end of its chain, or the first record that is wrong.
    pub runs: Vec<(RunId, Result<Head, Broken>)>,
    /// What is wrong with the file itself.
    pub damage: Vec<String>,
}

impl Checked {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty() && self.broken().next().is_none()
    }

    /// The runs that are not as they were written.
    pub fn broken(&self) -> impl Iterator<Item = &Broken> {
        self.runs.iter().filter_map(|(_, found)| found.as_ref().err())
    }
}

/// Looks for damage in a whole file, and computes the chain of every run again. Changes nothing; others may be at work
/// on it. The time it takes grows with the file.
///
/// # Errors
/// [`JournalError`] when there is no such file, it is no journal, or is of a newer format. Damage is no error: it is
/// what was looked for.
pub fn check(file: &Path) -> Result<Checked, JournalError> {
    let io = |e: std::io::Error| JournalError::from_io(file, &e);
    let handle = File::open(file).map_err(io)?;
    let bytes = handle.metadata().map_err(io)?.len();
    check_magic(&handle, file)?;
    let mut checked =
        Checked { file: file.to_owned(), bytes, format: 0, entries: 0, runs: Vec::new(), damage: Vec::new() };
    match look(file, &mut checked) {
        Ok(()) => Ok(checked),
        Err(JournalError::Corrupted { why, .. }) => {
            checked.damage.push(why);
            Ok(checked)
        }
        Err(other) => Err(other),
    }
}

fn look(file: &Path, checked: &mut Checked) -> Result<(), JournalError> {
    let sqlite = |error| JournalError::from_sqlite(file, &error);
    let mut connection = read_only(file).map_err(sqlite)?;
    // One state of the file for everything.
    let connection = connection.transaction().map_err(sqlite)?;
    check_owner(&connection, file)?;
    checked.format = version(&connection).map_err(sqlite)?;
    let mut statement = connection.prepare(&format!("PRAGMA integrity_check({MOST})")).map_err(sqlite)?;
    let found = statement.query_map([], |r| r.get::<_, String>(0)).map_err(sqlite)?;
    let found: Vec<String> = found.collect::<Result<_, _>>().map_err(sqlite)?;
    checked.damage.extend(found.into_iter().filter(|line| line != "ok"));
    if checked.format == 0 {
        checked.damage.push("it is empty".to_owned());
    }
    if checked.format < SCHEMA_VERSION {
        // Its chains are read in the newest format; whoever opens it brings it there.
        return Ok(());
    }
    runs(&connection, checked).map_err(|e: WorkError| e.at(file))
}

fn runs(connection: &Connection, checked: &mut Checked) -> Result<(), WorkError> {
    let mut statement = connection.prepare("SELECT run FROM runs ORDER BY started_at DESC, rowid DESC")?;
    let runs: Vec<RunId> = statement.query_map([], |r| row::name(r, 0))?.collect::<Result<_, _>>()?;
    for run in runs {
        let found = chain::verify(connection, &run)?;
        checked.runs.push((run, found));
    }
    checked.entries = connection.query_row("SELECT count(*) FROM entries", [], |r| row::unsigned(r, 0))?;
    Ok(())
}

pub(super) fn read_only(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(crate::open::PATIENCE)?;
    connection.execute_batch("PRAGMA trusted_schema = OFF")?;
    Ok(connection)
}
