//! Reading runs and their records.

use crate::chain::{self, Broken, Head, VerifyError};
use crate::error::WorkError;
use crate::row;
use crate::{Journal, JournalError};
use basb_core::{PluginName, RunId, ServiceName, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// How a run starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunStart {
    /// Its id; new.
    pub run: RunId,
    /// The deployment.
    pub deployment: ServiceName,
    /// The environment.
    pub environment: PluginName,
    /// When it starts.
    pub at: Timestamp,
    /// JSON that belongs to the engine.
    pub body: String,
}

/// Whether a run is finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    /// It goes on, or was cut off.
    Open,
    /// It came to its end.
    Finished {
        /// When.
        at: Timestamp,
        /// In one of the engine's words.
        outcome: String,
        /// JSON that belongs to the engine.
        body: String,
    },
}

/// Where a run was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was driven from this journal.
    Here,
    /// It was taken over, finished, from the file of another journal.
    Imported,
}

/// A run, without its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRecord {
    /// How it started.
    pub start: RunStart,
    /// Whether it is finished.
    pub state: RunState,
    /// How many records it has: the last one's sequence number.
    pub entries: u64,
    /// Where it was made.
    pub origin: Origin,
}

/// A record, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number within the run, from 1 without gaps.
    pub seq: u64,
    /// When it happened.
    pub at: Timestamp,
    /// The service that it is about, if it is about one.
    pub service: Option<ServiceName>,
    /// Its kind, in the engine's words.
    pub kind: String,
    /// JSON that belongs to the engine.
    pub body: String,
}

/// Which runs are wanted; the default wants all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunFilter {
    /// Of this deployment.
    pub deployment: Option<ServiceName>,
    /// In this environment.
    pub environment: Option<PluginName>,
    /// With this outcome.
    pub outcome: Option<String>,
    /// Only those that are finished, or only those that are not.
    pub only: Option<Only>,
    /// Only those that started at this time or later.
    pub since: Option<Timestamp>,
    /// Only those that were made here, or only those that were not.
    pub origin: Option<Origin>,
}

impl RunFilter {
    /// The runs that are not finished.
    #[must_use]
    pub fn open() -> Self {
        Self { only: Some(Only::Open), ..Self::default() }
    }

    /// The runs that were driven from this journal.
    #[must_use]
    pub fn here() -> Self {
        Self { origin: Some(Origin::Here), ..Self::default() }
    }
}

/// Finished or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Only {
    /// Those that go on or were cut off.
    Open,
    /// Those that came to their end.
    Finished,
}

const COLUMNS: &str = "run, deployment, environment, started_at, body, finished_at, outcome, result, head_seq, \
                       EXISTS (SELECT 1 FROM imported i WHERE i.run = runs.run) AS is_imported";

/// How many runs an ambiguous prefix is answered with.
const MOST_MATCHES: u32 = 5;

impl Journal {
    /// The runs that fit, newest first.
    ///
    /// # Errors
    /// Why the file cannot be read.
    pub async fn runs(&self, filter: RunFilter, limit: u32) -> Result<Vec<RunRecord>, JournalError> {
        self.read(move |connection| {
            let since = filter.since.map(|at| row::to_column("a time", at.0)).transpose()?;
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM runs WHERE (?1 IS NULL OR deployment = ?1) AND (?2 IS NULL OR environment = ?2) \
                 AND (?3 IS NULL OR outcome = ?3) AND (?4 IS NULL OR (finished_at IS NULL) = ?4) \
                 AND (?5 IS NULL OR started_at >= ?5) AND (?7 IS NULL OR is_imported = ?7) \
                 ORDER BY started_at DESC, rowid DESC LIMIT ?6"
            ))?;
            let deployment = filter.deployment.as_ref().map(ServiceName::as_str);
            let environment = filter.environment.as_ref().map(PluginName::as_str);
            let open = filter.only.map(|only| only == Only::Open);
            let imported = filter.origin.map(|origin| origin == Origin::Imported);
            let wanted = params![deployment, environment, filter.outcome, open, since, limit, imported];
            let found = statement.query_map(wanted, record)?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The run with this id, or the only one whose id starts like this.
    ///
    /// # Errors
    /// [`JournalError::UnknownRun`], [`JournalError::AmbiguousRun`], or why the file cannot be read.
    pub async fn run(&self, id: &str) -> Result<RunRecord, JournalError> {
        let id = id.to_owned();
        self.read(move |connection| find(connection, &id)).await
    }

    /// The records of a run from a sequence number on, in order.
    ///
    /// # Errors
    /// [`JournalError::UnknownRun`], or why the file cannot be read.
    pub async fn entries(&self, run: &RunId, from_seq: u64) -> Result<Vec<Entry>, JournalError> {
        let run = run.clone();
        self.read(move |connection| {
            let from = row::to_column("a sequence number", from_seq)?;
            let mut statement = connection.prepare_cached(
                "SELECT seq, at, service, kind, body FROM entries WHERE run = ?1 AND seq >= ?2 ORDER BY seq",
            )?;
            let entries: Vec<Entry> =
                statement.query_map(params![run.as_str(), from], entry)?.collect::<Result<_, _>>()?;
            if entries.is_empty() {
                known(connection, &run)?;
            }
            Ok(entries)
        })
        .await
    }

    /// When the last record of the newest runs, or of one that is unfinished, was written: time goes on from there. Zero
    /// when there is none. A run that was imported does not count: its times are by a clock of elsewhere.
    ///
    /// # Errors
    /// Why the file cannot be read.
    pub async fn last_at(&self) -> Result<Timestamp, JournalError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT max(max(r.started_at, coalesce(e.at, 0), coalesce(r.finished_at, 0))) FROM \
                 (SELECT * FROM (SELECT run, started_at, finished_at, head_seq FROM runs \
                 WHERE run NOT IN (SELECT run FROM imported) ORDER BY started_at DESC LIMIT 16) \
                 UNION SELECT run, started_at, finished_at, head_seq FROM runs WHERE finished_at IS NULL) r \
                 LEFT JOIN entries e ON e.run = r.run AND e.seq = r.head_seq",
            )?;
            Ok(statement.query_row([], |r| row::time_if_any(r, 0))?.unwrap_or(Timestamp(0)))
        })
        .await
    }

    /// Computes the run's hash chain again. Returns its end, which is the same for the same records only.
    ///
    /// # Errors
    /// [`VerifyError::Broken`] with the first record that is wrong, or why the file cannot be read.
    pub async fn verify(&self, run: &RunId) -> Result<Head, VerifyError> {
        let run = run.clone();
        Ok(self.read(move |connection| chain::verify(connection, &run)).await??)
    }

    /// Computes the hash chain of every run again, the newest first: its end, or the first record that is wrong. All of it
    /// from one state of the file. A run that was removed as a whole is not missed: see the heads.
    ///
    /// # Errors
    /// Why the file cannot be read.
    pub async fn verify_all(&self) -> Result<Vec<(RunId, Result<Head, Broken>)>, JournalError> {
        self.read(move |connection| {
            let mut statement =
                connection.prepare_cached("SELECT run FROM runs ORDER BY started_at DESC, rowid DESC")?;
            let runs: Vec<RunId> = statement.query_map([], |r| row::name(r, 0))?.collect::<Result<_, _>>()?;
            runs.into_iter().map(|run| Ok((run.clone(), chain::verify(connection, &run)?))).collect()
        })
        .await
    }
}

fn record(r: &Row<'_>) -> rusqlite::Result<RunRecord> {
    let state = match row::time_if_any(r, 5)? {
        None => RunState::Open,
        Some(at) => RunState::Finished { at, outcome: r.get(6)?, body: r.get(7)? },
    };
    let start = RunStart {
        run: row::name(r, 0)?,
        deployment: row::name(r, 1)?,
        environment: row::name(r, 2)?,
        at: row::time(r, 3)?,
        body: r.get(4)?,
    };
    let origin = if r.get(9)? { Origin::Imported } else { Origin::Here };
    Ok(RunRecord { start, state, entries: row::unsigned(r, 8)?, origin })
}

fn entry(r: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        seq: row::unsigned(r, 0)?,
        at: row::time(r, 1)?,
        service: row::name_if_any(r, 2)?,
        kind: r.get(3)?,
        body: r.get(4)?,
    })
}

fn find(connection: &Connection, id: &str) -> Result<RunRecord, WorkError> {
    let exact = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM runs WHERE run = ?1"))?
        .query_row(params![id], record)
        .optional()?;
    if let Some(found) = exact {
        return Ok(found);
    }
    // `substr` rather than LIKE: no character of a prefix has a meaning of its own.
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM runs WHERE substr(run, 1, length(?1)) = ?1 ORDER BY started_at DESC, rowid DESC LIMIT ?2"
    ))?;
    let mut found: Vec<RunRecord> =
        statement.query_map(params![id, MOST_MATCHES], record)?.collect::<Result<_, _>>()?;
    match (found.pop(), found.is_empty() && !id.is_empty()) {
        (None, _) => Err(JournalError::UnknownRun { run: id.to_owned() }.into()),
        (Some(only), true) => Ok(only),
        (Some(last), false) => {
            let matches = found.into_iter().chain([last]).map(|found| found.start.run).collect();
            Err(JournalError::AmbiguousRun { prefix: id.to_owned(), matches }.into())
        }
    }
}

/// An error unless there is such a run.
pub(crate) fn known(connection: &Connection, run: &RunId) -> Result<(), WorkError> {
    let found = connection.prepare_cached("SELECT 1 FROM runs WHERE run = ?1")?.exists(params![run.as_str()])?;
    if found { Ok(()) } else { Err(JournalError::UnknownRun { run: run.as_str().to_owned() }.into()) }
}
