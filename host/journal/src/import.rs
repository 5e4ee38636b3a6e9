//! A finished run of another journal, taken over with its tapes.

use crate::append::{start_run, write};
use crate::chain;
use crate::error::WorkError;
use crate::tapes::{StoredTape, insert_stored};
use crate::{Append, Entry, Finish, Head, Journal, JournalError, NewEntry, RunStart};
use basb_core::Digest;

/// A run as it was exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedRun {
    /// How it started.
    pub start: RunStart,
    /// Its records, in order.
    pub entries: Vec<Entry>,
    /// How it ended.
    pub finish: Finish,
    /// Behind which record; later ones are notes.
    pub finish_seq: u64,
    /// Its tapes.
    pub tapes: Vec<StoredTape>,
    /// The end of its chain of hashes.
    pub head: Digest,
}

impl Journal {
    /// Takes a finished run over, all of it or nothing. It can be read like any other then, but it is
    /// [`Origin::Imported`](crate::Origin::Imported): a file proves only its own digest, so nothing of it may be done here.
    ///
    /// # Errors
    /// [`JournalError::RunExists`], [`JournalError::NotAsExported`], or why the file cannot be written.
    pub async fn import_run(&self, run: ImportedRun) -> Result<Head, JournalError> {
        self.write(move |connection| {
            let ImportedRun { start, entries, finish, finish_seq, tapes, head } = run;
            let id = start.run.clone();
            start_run(connection, &start)?;
            let of = |later: bool| -> Vec<NewEntry> {
                let side = entries.iter().filter(|entry| (entry.seq > finish_seq) == later);
                side.map(|e| NewEntry {
                    at: e.at,
                    service: e.service.clone(),
                    kind: e.kind.clone(),
                    body: e.body.clone(),
                })
                .collect()
            };
            write(connection, &id, &Append::from(of(false)).finish(finish))?;
            let notes = of(true);
            if !notes.is_empty() {
                write(connection, &id, &Append::from(notes).addendum())?;
            }
            connection.prepare_cached("INSERT INTO imported (run) VALUES (?1)")?.execute([id.as_str()])?;
            for tape in &tapes {
                insert_stored(connection, &id, tape)?;
            }
            match chain::verify(connection, &id)? {
                Ok(found) if found.hash == head => Ok(found),
                _ => Err(WorkError::Journal(JournalError::NotAsExported { run: id })),
            }
        })
        .await
    }
}
