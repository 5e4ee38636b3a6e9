//! From a damaged file to a whole one with everything that can still be proved.

use super::check::{Checked, check};
use super::files::{Alone, free_name, new_private, sync_file};
use super::salvage::{Closing, SavedRun, salvage};
use crate::JournalError;
use crate::schema::migrate;
use basb_core::RunId;
use rusqlite::{Connection, OpenFlags};
use std::fs::{self, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// The size of a page, in bytes: SQLite's default, which this crate leaves as it is.
const PAGE: usize = 4096;

/// What was saved of a damaged file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// What was wrong.
    pub damage: Vec<String>,
    /// Where the damaged file is now.
    pub kept: PathBuf,
    /// The new file.
    pub checked: Checked,
    /// Every run that was found, in the order in which they began.
    pub runs: Vec<SavedRun>,
    /// What could not be saved, in words.
    pub lost: Vec<String>,
}

/// Makes a new journal of what a damaged one still holds: of every run the records up to the last one whose hash proves
/// it. A run that lost records is closed with what `close` says, since going on with it could do things twice. The
/// damaged file is kept under a name with `word` in it. Returns nothing when nothing is damaged.
///
/// # Errors
/// [`JournalError::InUse`] when somebody has it open, [`JournalError::NothingLeft`] when no run can be read, or why it cannot be read or written. Everything is as it was then.
pub fn recover(
    folder: &Path,
    word: &str,
    close: &dyn Fn(&RunId) -> Closing,
) -> Result<Option<Recovered>, JournalError> {
    let alone = Alone::with(folder)?;
    let io = |e: std::io::Error| JournalError::from_io(&alone.file, &e);
    fs::metadata(&alone.file).map_err(io)?;
    let copied = alone.copy()?;
    let damage = match check(&copied.file()) {
        Ok(found) if found.is_whole() => return Ok(None),
        Ok(found) => {
            let broken: Vec<String> = found.broken().map(ToString::to_string).collect();
            found.damage.into_iter().chain(broken).collect()
        }
        Err(JournalError::NotAJournal { why, .. } | JournalError::Failed { why, .. }) => vec![why],
        Err(other) => return Err(other),
    };
    // Looking may have changed the copy: what is worked on is a fresh one.
    drop(copied);
    let copied = alone.copy()?;
    let new = copied.folder().join("new");
    new_private(&new).map_err(io)?;
    let sqlite = |error| JournalError::from_sqlite(&new, &error);
    let mut target = Connection::open(&new).map_err(sqlite)?;
    target.execute_batch("PRAGMA synchronous = OFF; PRAGMA foreign_keys = ON").map_err(sqlite)?;
    migrate(&mut target).map_err(sqlite)?;
    if !has_tables(&copied.file()) {
        give_first_page(&copied.file(), &new).map_err(io)?;
    }
    let source = tolerant(&copied.file()).map_err(sqlite)?;
    let saved = salvage(&source, &mut target, close).map_err(|e| e.at(&new))?;
    drop(source);
    drop(target);
    if saved.runs.is_empty() {
        let why = damage.into_iter().chain(saved.lost).next().unwrap_or_default();
        return Err(JournalError::NothingLeft { file: alone.file.clone(), why });
    }
    let checked = check(&new)?;
    if let Some(why) = checked.damage.first().cloned().or_else(|| checked.broken().next().map(ToString::to_string)) {
        return Err(JournalError::Failed { file: new, why: format!("what was saved is not whole: {why}") });
    }
    sync_file(&new).map_err(io)?;
    let kept = free_name(&alone.file, word);
    alone.swap(&new, &kept)?;
    let checked = Checked { file: alone.file.clone(), ..checked };
    Ok(Some(Recovered { damage, kept, checked, runs: saved.runs, lost: saved.lost }))
}

/// A connection to a copy that takes a file shorter than its head says for what it is.
fn tolerant(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(file, flags)?;
    connection
        .execute_batch("PRAGMA writable_schema = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON")?;
    Ok(connection)
}

/// Whether the list of tables can be read.
fn has_tables(file: &Path) -> bool {
    let runs = |connection: Connection| {
        connection.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'runs'", [], |r| r.get::<_, i64>(0))
    };
    tolerant(file).and_then(runs).is_ok_and(|found| found == 1)
}

/// Gives a file whose first page is lost that of a new journal: the tables of a journal that began in the newest format
/// lie in the same places. What is read with it counts only where its hashes hold.
fn give_first_page(file: &Path, fresh: &Path) -> std::io::Result<()> {
    let mut page = vec![0; PAGE];
    fs::File::open(fresh)?.read_exact(&mut page)?;
    let mut handle = OpenOptions::new().read(true).write(true).open(file)?;
    let pages = u32::try_from(handle.metadata()?.len() / PAGE as u64).unwrap_or(u32::MAX);
    // <https://www.sqlite.org/fileformat.html>, 1.3: 18 and 19 tell that there is a log; 28 is the size in pages; 32 and
    // 36 are the list of free pages, of which there are none.
    let fields = [(18, [2, 2, 0, 0], 2), (28, pages.to_be_bytes(), 4), (32, [0; 4], 4), (36, [0; 4], 4)];
    for (at, bytes, length) in fields {
        page.iter_mut().skip(at).zip(bytes.into_iter().take(length)).for_each(|(to, from)| *to = from);
    }
    handle.seek(SeekFrom::Start(0))?;
    handle.write_all(&page)?;
    handle.sync_all()
}
