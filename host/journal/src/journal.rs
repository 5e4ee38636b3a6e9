//! The handle on an open journal.

use crate::JournalError;
use crate::error::WorkError;
use crate::open::{Opened, open};
use crate::worker::Worker;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The name of the journal's file in its folder. SQLite keeps `-wal` and `-shm` beside it, and openers a `.lock`.
pub const FILE_NAME: &str = "journal.sqlite3";

/// An open journal. Clones share it; the last one closes it, after everything that was asked for is done.
#[derive(Clone)]
pub struct Journal {
    shared: Arc<Shared>,
}

struct Shared {
    writer: Worker,
    reader: Worker,
    file: PathBuf,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("file", &self.shared.file).finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the journal in a folder. A missing folder is made for its owner alone (0700), so is the file (0600). Blocks
    /// for the time of a few syncs, and for up to 10 s while another process sets the file up.
    ///
    /// # Errors
    /// [`JournalError::Unwritable`], [`JournalError::DiskFull`], [`JournalError::NotAJournal`],
    /// [`JournalError::Corrupted`], [`JournalError::Newer`], [`JournalError::Locked`] or [`JournalError::Failed`];
    /// whatever was there is left as it was.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let Opened { writer, reader, file } = open(folder, FILE_NAME)?;
        let writer = Worker::writer(writer, file.clone())?;
        let reader = Worker::reader(reader, file.clone())?;
        Ok(Self { shared: Arc::new(Shared { writer, reader, file }) })
    }

    /// The journal's file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.shared.file
    }

    /// Looks for damage in the whole file; the time it takes grows with it.
    ///
    /// # Errors
    /// [`JournalError::Corrupted`] with what was found first.
    pub async fn check_file(&self) -> Result<(), JournalError> {
        let file = self.shared.file.clone();
        self.read(move |connection| {
            let found: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
            if found == "ok" { Ok(()) } else { Err(JournalError::Corrupted { file, why: found }.into()) }
        })
        .await
    }

    /// Does work in the writer's transaction; returns when it is on the disk.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, WorkError> + Send + 'static,
    ) -> Result<T, JournalError> {
        self.shared.writer.run(work).await
    }

    /// Does work on one consistent state of what is committed.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, WorkError> + Send + 'static,
    ) -> Result<T, JournalError> {
        self.shared.reader.run(work).await
    }
}
