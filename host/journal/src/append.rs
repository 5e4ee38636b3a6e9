//! Writing records, and everything that has to be written together with them.

use crate::chain::{self, Hash};
use crate::error::WorkError;
use crate::memory::{self, NewMemory};
use crate::row;
use crate::runs::RunStart;
use crate::stable::ServiceKey;
use crate::tapes::NewTape;
use crate::workloads::NewWorkload;
use crate::{Fence, Journal, JournalError, lease, mailbox, outbox, stable, tapes, workloads};
use basb_core::{RevisionId, RunId, ServiceName, Timestamp};
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

/// A record to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntry {
    /// When it happened.
    pub at: Timestamp,
    /// The service that it is about, if it is about one.
    pub service: Option<ServiceName>,
    /// Its kind, in the engine's words.
    pub kind: String,
    /// JSON that belongs to the engine.
    pub body: String,
}

/// A service's new stable revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewStable {
    /// The service.
    pub service: ServiceKey,
    /// The revision that was verified.
    pub revision: RevisionId,
    /// How many instances it has.
    pub replicas: u32,
    /// What runs, as JSON that belongs to the engine: enough to deploy it again.
    pub workload_json: String,
    /// Since when.
    pub at: Timestamp,
}

/// A notification to be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNotification {
    /// The event's key: the same event is put into a notifier's outbox once, however often it is enqueued.
    pub event_key: String,
    /// The notifier's name.
    pub notifier: String,
    /// JSON that belongs to the engine.
    pub payload: String,
    /// When it happened; due at once.
    pub at: Timestamp,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    /// When.
    pub at: Timestamp,
    /// In one of the engine's words, such as `done`.
    pub outcome: String,
    /// JSON that belongs to the engine.
    pub body: String,
}

/// Everything that one append writes: all of it or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Append {
    /// The records, in order.
    pub entries: Vec<NewEntry>,
    /// The lease under which it is written; without one, nobody is kept out.
    pub fence: Option<Fence>,
    /// New stable revisions.
    pub stable: Vec<NewStable>,
    /// What providers want to be given back.
    pub memory: Vec<NewMemory>,
    /// What revisions run.
    pub workloads: Vec<NewWorkload>,
    /// Notifications for the outbox.
    pub notifications: Vec<NewNotification>,
    /// Tapes of plugin calls.
    pub tapes: Vec<NewTape>,
    /// The keys of calls that were open and have come to their end.
    pub closes: Vec<String>,
    /// Requests of operators of which these are the records: neither is ever without the other.
    pub takes: Vec<u64>,
    /// The end of the run, after the records.
    pub finish: Option<Finish>,
    /// Whether it may be written to a run that is finished.
    pub after_finish: AfterFinish,
}

/// Whether records may be added to a run that is finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AfterFinish {
    /// It is refused.
    #[default]
    Refuse,
    /// They are added behind the finish: notes that change nothing about the run, such as what delivering its last
    /// notification did.
    Add,
}

impl From<Vec<NewEntry>> for Append {
    fn from(entries: Vec<NewEntry>) -> Self {
        Self { entries, ..Self::default() }
    }
}

impl From<NewEntry> for Append {
    fn from(entry: NewEntry) -> Self {
        vec![entry].into()
    }
}

impl Append {
    /// Refused unless this lease is still held.
    #[must_use]
    pub fn fenced(mut self, fence: Fence) -> Self {
        self.fence = Some(fence);
        self
    }

    /// Together with this new stable revision.
    #[must_use]
    pub fn stable(mut self, stable: NewStable) -> Self {
        self.stable.push(stable);
        self
    }

    /// Together with this notification.
    #[must_use]
    pub fn notify(mut self, notification: NewNotification) -> Self {
        self.notifications.push(notification);
        self
    }

    /// Together with this tape.
    #[must_use]
    pub fn tape(mut self, tape: NewTape) -> Self {
        self.tapes.push(tape);
        self
    }

    /// And this call is not open any more.
    #[must_use]
    pub fn close(mut self, key: impl Into<String>) -> Self {
        self.closes.push(key.into());
        self
    }

    /// Notes that may come after the run's finish.
    #[must_use]
    pub fn addendum(mut self) -> Self {
        self.after_finish = AfterFinish::Add;
        self
    }

    /// And then the run is finished.
    #[must_use]
    pub fn finish(mut self, finish: Finish) -> Self {
        self.finish = Some(finish);
        self
    }
}

impl Journal {
    /// Starts the record of a run. Durable when it returns.
    ///
    /// # Errors
    /// [`JournalError::RunExists`], or why the file cannot be written.
    pub async fn start_run(&self, start: RunStart) -> Result<(), JournalError> {
        self.write(move |connection| start_run(connection, &start)).await
    }

    /// Starts the record of a run together with its first records: both, or neither. Durable when it returns.
    ///
    /// # Errors
    /// As [`Journal::start_run`] and [`Journal::append`].
    pub async fn begin_run(&self, start: RunStart, first: Append) -> Result<Vec<u64>, JournalError> {
        self.write(move |connection| {
            start_run(connection, &start)?;
            write(connection, &start.run, &first)
        })
        .await
    }

    /// Appends records to a run, with what belongs to them. Returns their sequence numbers, which begin at 1 and have no
    /// gaps; everything is durable by then. Appends that wait at the same time share one transaction. What was handed
    /// over is written even if the caller stops waiting for it.
    ///
    /// # Errors
    /// [`JournalError::UnknownRun`], [`JournalError::RunFinished`], [`JournalError::StaleToken`],
    /// [`JournalError::RequestTaken`], or why the file cannot be written; nothing of it was written then.
    pub async fn append(&self, run: &RunId, append: impl Into<Append>) -> Result<Vec<u64>, JournalError> {
        let (run, append) = (run.clone(), append.into());
        self.write(move |connection| write(connection, &run, &append)).await
    }

    /// Ends the record of a run: it takes no more after that.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub async fn finish_run(&self, run: &RunId, at: Timestamp, outcome: &str, body: &str) -> Result<(), JournalError> {
        let finish = Finish { at, outcome: outcome.to_owned(), body: body.to_owned() };
        self.append(run, Append::default().finish(finish)).await.map(|_| ())
    }
}

pub(crate) fn start_run(connection: &Connection, start: &RunStart) -> Result<(), WorkError> {
    let (deployment, environment) = (start.deployment.as_str(), start.environment.as_str());
    let at = row::to_column("the time of a run", start.at.0)?;
    let root = chain::start(start.run.as_str(), deployment, environment, start.at.0, &start.body);
    let inserted = connection
        .prepare_cached(
            "INSERT INTO runs (run, deployment, environment, started_at, body, root, head_seq, head_hash) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?6)",
        )?
        .execute(params![start.run.as_str(), deployment, environment, at, start.body, root]);
    match inserted {
        Err(rusqlite::Error::SqliteFailure(failure, _)) if failure.code == ErrorCode::ConstraintViolation => {
            Err(JournalError::RunExists { run: start.run.clone() }.into())
        }
        other => Ok(other.map(|_| ())?),
    }
}

pub(crate) fn write(connection: &Connection, run: &RunId, append: &Append) -> Result<Vec<u64>, WorkError> {
    if let Some(fence) = &append.fence {
        lease::check(connection, fence)?;
    }
    let head = connection
        .prepare_cached("SELECT head_seq, head_hash, finish_seq, finish_hash FROM runs WHERE run = ?1")?
        .query_row(params![run.as_str()], |r| {
            let finished: Option<i64> = r.get(2)?;
            let finish = match finished {
                Some(_) => Some((row::unsigned(r, 2)?, r.get::<_, Hash>(3)?)),
                None => None,
            };
            Ok((row::unsigned(r, 0)?, r.get::<_, Hash>(1)?, finish))
        })
        .optional()?;
    let closes = append.finish.is_some() || append.after_finish == AfterFinish::Refuse;
    let (mut seq, mut hash) = match head {
        None => return Err(JournalError::UnknownRun { run: run.as_str().to_owned() }.into()),
        Some((_, _, Some(_))) if closes => return Err(JournalError::RunFinished { run: run.clone() }.into()),
        // The first note behind the finish follows it in the chain, later ones follow each other.
        Some((seq, _, Some((finish_seq, finish_hash)))) if seq == finish_seq => (seq, finish_hash),
        Some((seq, hash, _)) => (seq, hash),
    };

    let mut numbers = Vec::with_capacity(append.entries.len());
    let mut insert = connection.prepare_cached(
        "INSERT INTO entries (run, seq, at, service, kind, body, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for entry in &append.entries {
        seq += 1;
        let service = entry.service.as_ref().map(ServiceName::as_str);
        hash = chain::entry(&hash, seq, entry.at.0, service, &entry.kind, &entry.body);
        let number = row::to_column("a sequence number", seq)?;
        let at = row::to_column("the time of a record", entry.at.0)?;
        insert.execute(params![run.as_str(), number, at, service, entry.kind, entry.body, hash])?;
        numbers.push(seq);
    }
    if !append.entries.is_empty() {
        connection.prepare_cached("UPDATE runs SET head_seq = ?2, head_hash = ?3 WHERE run = ?1")?.execute(params![
            run.as_str(),
            row::to_column("a sequence number", seq)?,
            hash
        ])?;
    }
    for new in &append.stable {
        stable::insert(connection, run, new)?;
    }
    for new in &append.memory {
        memory::insert(connection, new)?;
    }
    for new in &append.workloads {
        workloads::insert(connection, new)?;
    }
    for new in &append.notifications {
        outbox::insert(connection, new)?;
    }
    for new in &append.tapes {
        tapes::insert(connection, run, new)?;
    }
    for key in &append.closes {
        tapes::close(connection, key)?;
    }
    for ordinal in &append.takes {
        mailbox::take_for_record(connection, *ordinal)?;
    }
    if let Some(finish) = &append.finish {
        let last = chain::finish(&hash, seq, finish.at.0, &finish.outcome, &finish.body);
        connection
            .prepare_cached(
                "UPDATE runs SET finished_at = ?2, outcome = ?3, result = ?4, finish_hash = ?5, finish_seq = ?6 WHERE run = ?1",
            )?
            .execute(params![
                run.as_str(),
                row::to_column("the time of a finish", finish.at.0)?,
                finish.outcome,
                finish.body,
                last,
                row::to_column("a sequence number", seq)?
            ])?;
    }
    Ok(numbers)
}
