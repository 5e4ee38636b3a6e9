//! Tapes of plugin calls, and calls that are still open: written ahead of what they do.
//!
//! A tape is no record: its text may be dropped when it is old. Its SHA-256 stays, and a record of the run names it.

use crate::chain::{self, Hash};
use crate::error::WorkError;
use crate::{Fence, Journal, JournalError, lease, row, runs};
use basb_core::{Digest, PluginName, RunId, ServiceName, Timestamp};
use rusqlite::{Connection, ToSql, params};

/// A tape to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTape {
    /// The number of the call within its run: one more than the last.
    pub call: u64,
    /// When the call ended.
    pub at: Timestamp,
    /// The SHA-256 of its text.
    pub sha256: [u8; 32],
    /// Its text, which belongs to the engine.
    pub body: String,
}

/// A tape, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTape {
    /// The number of the call within its run.
    pub call: u64,
    /// When the call ended.
    pub at: Timestamp,
    /// The SHA-256 of its text.
    pub sha256: [u8; 32],
    /// Its text; none when it was dropped.
    pub body: Option<String>,
}

impl StoredTape {
    /// The SHA-256 as a digest.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        chain::digest(&self.sha256).ok()
    }
}

/// One exchange of a call that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenExchange {
    /// Its number within the call, from 1.
    pub number: u64,
    /// What was asked for.
    pub ask: String,
    /// What came back, once it is known.
    pub answer: Option<String>,
}

/// A call that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCall {
    /// What it does, such as the key of its effect: there is one call at a time for each.
    pub key: String,
    /// When it began.
    pub at: Timestamp,
    /// What it is, as JSON that belongs to the engine.
    pub head: String,
    /// What it asked for so far.
    pub exchanges: Vec<OpenExchange>,
}

/// How much was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// How many tapes.
    pub tapes: u64,
    /// How many bytes of text.
    pub bytes: u64,
}

impl Journal {
    /// Writes exchanges of a call that is open; the call itself with the first of them, exchanges that are there already
    /// with what is known of them now. Durable when it returns.
    ///
    /// # Errors
    /// [`JournalError::StaleToken`] when the lease is not held any more, or why the file cannot be written; whoever waits
    /// for it must not do what it was to be written for.
    pub async fn write_ahead(&self, run: &RunId, fence: Option<Fence>, call: OpenCall) -> Result<(), JournalError> {
        let run = run.clone();
        self.write(move |connection| {
            if let Some(fence) = &fence {
                lease::check(connection, fence)?;
            }
            connection
                .prepare_cached("INSERT OR IGNORE INTO open_calls (key, run, at, head) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![
                    call.key,
                    run.as_str(),
                    row::to_column("the time of a call", call.at.0)?,
                    call.head
                ])?;
            let mut insert = connection.prepare_cached(
                "INSERT INTO open_exchanges (key, number, ask, answer) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (key, number) DO UPDATE SET ask = excluded.ask, answer = excluded.answer",
            )?;
            for exchange in &call.exchanges {
                let number = row::to_column("the number of an exchange", exchange.number)?;
                insert.execute(params![call.key, number, exchange.ask, exchange.answer])?;
            }
            Ok(())
        })
        .await
    }

    /// The calls whose keys begin like this and that were not closed, with what they asked for.
    ///
    /// # Errors
    /// Why the file cannot be read.
    pub async fn open_calls(&self, prefix: &str) -> Result<Vec<OpenCall>, JournalError> {
        let prefix = prefix.to_owned();
        self.read(move |connection| {
            let mut calls = connection.prepare_cached(
                "SELECT key, at, head FROM open_calls WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key",
            )?;
            let mut exchanges = connection
                .prepare_cached("SELECT number, ask, answer FROM open_exchanges WHERE key = ?1 ORDER BY number")?;
            let found = calls.query_map(params![prefix], |r| {
                Ok(OpenCall { key: r.get(0)?, at: row::time(r, 1)?, head: r.get(2)?, exchanges: Vec::new() })
            })?;
            let mut all = Vec::new();
            for call in found {
                let mut call: OpenCall = call?;
                call.exchanges = exchanges
                    .query_map(params![call.key], |r| {
                        Ok(OpenExchange { number: row::unsigned(r, 0)?, ask: r.get(1)?, answer: r.get(2)? })
                    })?
                    .collect::<Result<_, _>>()?;
                all.push(call);
            }
            Ok(all)
        })
        .await
    }

    /// Closes calls: they have come to their end, and what came of them is written down.
    ///
    /// # Errors
    /// Why the file cannot be written.
    pub async fn close_calls(&self, keys: Vec<String>) -> Result<(), JournalError> {
        self.write(move |connection| keys.iter().try_for_each(|key| close(connection, key))).await
    }

    /// The tapes of a run from a number on, in order, and no more than so many.
    ///
    /// # Errors
    /// [`JournalError::UnknownRun`], or why the file cannot be read.
    pub async fn tapes(&self, run: &RunId, from_call: u64, limit: u32) -> Result<Vec<StoredTape>, JournalError> {
        let run = run.clone();
        self.read(move |connection| {
            let from = row::to_column("the number of a call", from_call)?;
            let mut statement = connection.prepare_cached(
                "SELECT call, at, sha256, body FROM tapes WHERE run = ?1 AND call >= ?2 ORDER BY call LIMIT ?3",
            )?;
            let tapes: Vec<StoredTape> = statement
                .query_map(params![run.as_str(), from, limit], |r| {
                    Ok(StoredTape {
                        call: row::unsigned(r, 0)?,
                        at: row::time(r, 1)?,
                        sha256: r.get::<_, Hash>(2)?,
                        body: r.get(3)?,
                    })
                })?
                .collect::<Result<_, _>>()?;
            if tapes.is_empty() {
                runs::known(connection, &run)?;
            }
            Ok(tapes)
        })
        .await
    }

    /// The number of a run's last tape; 0 when it has none.
    ///
    /// # Errors
    /// Why the file cannot be read.
    pub async fn last_tape(&self, run: &RunId) -> Result<u64, JournalError> {
        let run = run.clone();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached("SELECT coalesce(max(call), 0) FROM tapes WHERE run = ?1")?;
            Ok(statement.query_row(params![run.as_str()], |r| row::unsigned(r, 0))?)
        })
        .await
    }

    /// Drops the text of tapes that were written before this time, of finished runs only: of one run, or of all. What
    /// names them in the records stays true.
    ///
    /// # Errors
    /// Why the file cannot be written.
    pub async fn prune_tapes(&self, run: Option<&RunId>, before: Timestamp) -> Result<Pruned, JournalError> {
        let run = run.cloned();
        self.write(move |connection| {
            let before = row::to_column("a time", before.0)?;
            let run = run.as_ref().map(RunId::as_str);
            let which = "at < ?1 AND (?2 IS NULL OR run = ?2) \
                         AND run IN (SELECT run FROM runs WHERE finished_at IS NOT NULL)";
            prune(connection, which, params![before, run])
        })
        .await
    }

    /// Drops the text of the tapes of the runs of a deployment in an environment that had come to their end by this time.
    ///
    /// # Errors
    /// Why the file cannot be written.
    pub async fn prune_ended(
        &self,
        deployment: &ServiceName,
        environment: &PluginName,
        by: Timestamp,
    ) -> Result<Pruned, JournalError> {
        let (deployment, environment) = (deployment.clone(), environment.clone());
        self.write(move |connection| {
            let by = row::to_column("a time", by.0)?;
            // A run that is not finished has no such time, and is none of them; and one that was imported ended long ago, and
            // was brought here to be looked at.
            let which = "run IN (SELECT run FROM runs WHERE finished_at <= ?1 AND deployment = ?2 AND environment = ?3) \
                         AND run NOT IN (SELECT run FROM imported)";
            prune(connection, which, params![by, deployment.as_str(), environment.as_str()])
        })
        .await
    }
}

fn prune(connection: &Connection, which: &str, params: &[&dyn ToSql]) -> Result<Pruned, WorkError> {
    let which = format!("WHERE body IS NOT NULL AND {which}");
    let (tapes, bytes) = connection
        .prepare_cached(&format!("SELECT count(*), coalesce(sum(length(body)), 0) FROM tapes {which}"))?
        .query_row(params, |r| Ok((row::unsigned(r, 0)?, row::unsigned(r, 1)?)))?;
    if tapes > 0 {
        connection.prepare_cached(&format!("UPDATE tapes SET body = NULL {which}"))?.execute(params)?;
    }
    Ok(Pruned { tapes, bytes })
}

pub(crate) fn insert(connection: &Connection, run: &RunId, tape: &NewTape) -> Result<(), WorkError> {
    put(connection, run, (tape.call, tape.at, &tape.sha256, Some(&tape.body)))
}

/// The same for a tape whose text may be gone.
pub(crate) fn insert_stored(connection: &Connection, run: &RunId, tape: &StoredTape) -> Result<(), WorkError> {
    put(connection, run, (tape.call, tape.at, &tape.sha256, tape.body.as_deref()))
}

type Row<'a> = (u64, Timestamp, &'a Hash, Option<&'a str>);

fn put(connection: &Connection, run: &RunId, (call, at, sha256, body): Row<'_>) -> Result<(), WorkError> {
    let call = row::to_column("the number of a call", call)?;
    let at = row::to_column("the time of a call", at.0)?;
    connection
        .prepare_cached("INSERT INTO tapes (run, call, at, sha256, body) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![run.as_str(), call, at, sha256, body])?;
    Ok(())
}

pub(crate) fn close(connection: &Connection, key: &str) -> Result<(), WorkError> {
    connection.prepare_cached("DELETE FROM open_calls WHERE key = ?1")?.execute(params![key])?;
    Ok(())
}
