//! What operators ask of a run from another terminal.

use crate::{Journal, JournalError, row, runs};
use basb_core::{RunId, Timestamp};
use rusqlite::params;

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
    /// Asks something of a run. Durable when it returns; the run's executor takes it when it looks next.
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

    /// Takes what was asked of a run, oldest first: each request is given to one taker only. Cheap while there is none.
    ///
    /// # Errors
    /// Why the file cannot be read or written.
    pub async fn take_requests(&self, run: &RunId) -> Result<Vec<Request>, JournalError> {
        const WAITING: &str =
            "SELECT ordinal, at, verb, body FROM requests WHERE run = ?1 AND taken = 0 ORDER BY ordinal";
        let name = run.clone();
        let any = self.read(move |c| Ok(c.prepare_cached(WAITING)?.exists(params![name.as_str()])?)).await?;
        if !any {
            return Ok(Vec::new());
        }
        let run = run.clone();
        self.write(move |connection| {
            let mut statement = connection.prepare_cached(WAITING)?;
            let taken: Vec<Request> = statement
                .query_map(params![run.as_str()], |r| {
                    Ok(Request {
                        ordinal: row::unsigned(r, 0)?,
                        at: row::time(r, 1)?,
                        verb: r.get(2)?,
                        body: r.get(3)?,
                    })
                })?
                .collect::<Result<_, _>>()?;
            connection
                .prepare_cached("UPDATE requests SET taken = 1 WHERE run = ?1 AND taken = 0")?
                .execute(params![run.as_str()])?;
            Ok(taken)
        })
        .await
    }
}
