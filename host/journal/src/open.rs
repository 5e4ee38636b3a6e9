//! From a folder to two connections: makes what is missing, refuses what it does not know, never removes anything.

use crate::JournalError;
use crate::schema::{APPLICATION_ID, SCHEMA_VERSION, migrate, version};
use rusqlite::{Connection, OpenFlags};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long another process may keep the file locked before that is an error.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What every SQLite file begins with (<https://www.sqlite.org/fileformat.html>, 1.3.1).
const MAGIC: &[u8] = b"SQLite format 3\0";

/// A connection that writes and one that reads.
pub(crate) struct Opened {
    pub(crate) writer: Connection,
    pub(crate) reader: Connection,
    pub(crate) file: PathBuf,
}

/// Opens the journal in a folder, and makes folder and file if they are missing.
pub(crate) fn open(folder: &Path, name: &str) -> Result<Opened, JournalError> {
    let unwritable =
        |error: std::io::Error| JournalError::Unwritable { folder: folder.to_owned(), why: error.to_string() };
    let file = folder.join(name);
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| match error.kind() {
        ErrorKind::StorageFull => JournalError::DiskFull { file: file.clone() },
        _ => unwritable(error),
    })?;

    // One opener at a time sets the file up: changing to WAL mode cannot wait for others by itself.
    let lock = private_file(&folder.join(format!("{name}.lock"))).map_err(unwritable)?;
    wait_for(&lock, &file, unwritable)?;
    check_magic(&private_file(&file).map_err(unwritable)?, &file)?;

    let sqlite = |error| JournalError::from_sqlite(&file, &error);
    let mut writer = connect(&file).map_err(sqlite)?;
    check_owner(&writer, &file)?;
    check_small(&writer, &file)?;
    writer.execute_batch("PRAGMA journal_mode = WAL").map_err(sqlite)?;
    migrate(&mut writer).map_err(sqlite)?;

    let reader = connect(&file).map_err(sqlite)?;
    reader.execute_batch("PRAGMA query_only = ON").map_err(sqlite)?;
    Ok(Opened { writer, reader, file })
}

/// Opens a file that only its owner may read, and makes it if it is missing. SQLite gives its side files the same mode.
pub(crate) fn private_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

pub(crate) fn wait_for(
    lock: &File,
    file: &Path,
    unwritable: impl Fn(std::io::Error) -> JournalError,
) -> Result<(), JournalError> {
    const PAUSE: Duration = Duration::from_millis(10);
    let mut waited = Duration::ZERO;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if waited < PATIENCE => {
                std::thread::sleep(PAUSE);
                waited += PAUSE;
            }
            Err(TryLockError::WouldBlock) => return Err(JournalError::Locked { file: file.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(unwritable(error)),
        }
    }
}

/// SQLite takes a file shorter than its head for an empty one and would write over it.
pub(crate) fn check_magic(mut handle: &File, file: &Path) -> Result<(), JournalError> {
    let mut head = [0; 16];
    let mut read = 0;
    while let Some(rest) = head.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match handle.read(rest) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) => return Err(JournalError::Failed { file: file.to_owned(), why: error.to_string() }),
        }
    }
    if read == 0 || head == *MAGIC {
        return Ok(());
    }
    Err(JournalError::NotAJournal { file: file.to_owned(), why: "it is no SQLite database".to_owned() })
}

/// Up to this size, in bytes, a file is looked through at every opening, which takes milliseconds. A larger one is looked
/// at where it is read, and as a whole by [`crate::care::check`].
const SMALL: u64 = 4 * 1024 * 1024;

/// Looks for damage in a small file.
fn check_small(connection: &Connection, file: &Path) -> Result<(), JournalError> {
    if std::fs::metadata(file).map_or(0, |about| about.len()) > SMALL {
        return Ok(());
    }
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| JournalError::from_sqlite(file, &error))?;
    if found == "ok" { Ok(()) } else { Err(JournalError::Corrupted { file: file.to_owned(), why: found }) }
}

fn connect(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(64);
    // FULL syncs the write-ahead log on every commit; fullfsync makes macOS really do it. The size limit gives disk
    // space back after a burst; the log is carried over when it has that size (4,000 pages), since each time costs two
    // syncs more. Nothing in the schema of a file is trusted to run functions.
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON; \
         PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA journal_size_limit = 16777216; \
         PRAGMA wal_autocheckpoint = 4000;",
    )?;
    Ok(connection)
}

/// Whether the file is ours, whole as far as its head tells, and of a format that we know.
pub(crate) fn check_owner(connection: &Connection, file: &Path) -> Result<(), JournalError> {
    let sqlite = |error| JournalError::from_sqlite(file, &error);
    let found = version(connection).map_err(sqlite)?;
    let owner: i64 = connection.query_row("PRAGMA application_id", [], |row| row.get(0)).map_err(sqlite)?;
    let things: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(sqlite)?;
    if owner != APPLICATION_ID && (owner != 0 || found != 0 || things != 0) {
        let why = "it is a database of another program".to_owned();
        return Err(JournalError::NotAJournal { file: file.to_owned(), why });
    }
    if found > SCHEMA_VERSION {
        return Err(JournalError::Newer { file: file.to_owned(), found, known: SCHEMA_VERSION });
    }
    if owner == APPLICATION_ID && (found < 1 || things == 0) {
        let why = "its tables are missing".to_owned();
        return Err(JournalError::Corrupted { file: file.to_owned(), why });
    }
    Ok(())
}
