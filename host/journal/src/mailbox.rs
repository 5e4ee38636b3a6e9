//! What operators ask of a run from another terminal.

use crate::error::WorkError;
use crate::{Journal, JournalError, row, runs};
use basb_core::{RunId, Timestamp};
use rusqlite::{Connection, params};

/// Something asked of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its place in the order of all requests.
    pub ordinal: u64,
    /// When it was asked.
    pub at: Timestamp,
    /// What is to be done, in the engine's words, such as `abort`.
    pub verb: String,
    /// JSON that belongs to the engine.
    pub body: String,
}

impl Journal {
    /// Asks something of a run. Durable when it returns; the run's executor takes it up when it looks next. Returns the
    /// request's place in the order of all requests.
    ///
    /// # Errors
    /// [`JournalError::UnknownRun`], or why the file cannot be written.
    pub async fn request(&self, run: &RunId, at: Timestamp, verb: &str, body: &str) -> Result<u64, JournalError> {
        let (run, verb, body) = (run.clone(), verb.to_owned(), body.to_owned());
        self.write(move |connection| {
            runs::known(connection, &run)?;
            connection
                .prepare_cached("INSERT INTO requests (run, at, verb, body) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![run.as_str(), row::to_column("the time of a request", at.0)?, verb, body])?;
            Ok(connection.last_insert_rowid().unsigned_abs())
        })
        .await
    }

    /// What waits to be taken up, oldest first, behind a place in the order of all requests. It goes on waiting: it is
    /// taken out by the append that holds its record ([`crate::Append::takes`]), or by [`Journal::drop_requests`].
    ///
    /// # Errors
    /// Why the file cannot be read.
    pub async fn requests(&self, run: &RunId, after: u64) -> Result<Vec<Request>, JournalError> {
        let run = run.clone();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT ordinal, at, verb, body FROM requests WHERE run = ?1 AND taken = 0 AND ordinal > ?2 \
                 ORDER BY ordinal",
            )?;
            let after = row::to_column("the number of a request", after)?;
            let found = statement.query_map(params![run.as_str(), after], |r| {
                Ok(Request { ordinal: row::unsigned(r, 0)?, at: row::time(r, 1)?, verb: r.get(2)?, body: r.get(3)? })
            })?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Takes requests out of which no record is made. Those that are out already are left as they are.
    ///
    /// # Errors
    /// Why the file cannot be written.
    pub async fn drop_requests(&self, requests: Vec<u64>) -> Result<(), JournalError> {
        self.write(move |connection| {
            for ordinal in requests {
                take(connection, ordinal)?;
            }
            Ok(())
        })
        .await
    }
}

/// Takes a request out; whether it was there.
fn take(connection: &Connection, ordinal: u64) -> Result<bool, WorkError> {
    let changed = connection
        .prepare_cached("UPDATE requests SET taken = 1 WHERE ordinal = ?1 AND taken = 0")?
        .execute(params![row::to_column("the number of a request", ordinal)?])?;
    Ok(changed > 0)
}

/// Takes a request out in the transaction that writes its record; nothing is written for one that is out already.
pub(crate) fn take_for_record(connection: &Connection, ordinal: u64) -> Result<(), WorkError> {
    if take(connection, ordinal)? { Ok(()) } else { Err(JournalError::RequestTaken { ordinal }.into()) }
}
