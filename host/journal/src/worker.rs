//! The two threads that own the connections: one writes, one reads.
//!
//! The writer takes every job that waits, runs them in one transaction, commits once, and answers afterwards: many callers
//! share one sync of the disk, and an answer means that it is on the disk. A job that fails is undone alone: the first of a
//! transaction with all of it, each later one by a savepoint of its own. Most jobs are alone, and a savepoint has SQLite
//! keep a copy of every page that it writes to.

use crate::JournalError;
use crate::error::WorkError;
use crate::observer::{self, Telling};
use rusqlite::{Connection, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// So many jobs share a transaction at the most: a bound on how long the first of them waits.
const MOST_PER_COMMIT: usize = 512;

/// Work done, answer kept back until the transaction's fate is known.
type Answer = Box<dyn FnOnce(Result<(), JournalError>) + Send>;

/// A piece of work. It is given a connection, or the reason why there is none; it says how it went, so that its
/// savepoint is undone where it failed.
type Job = Box<dyn FnOnce(Result<&Connection, JournalError>, &Path) -> (Result<(), JournalError>, Answer) + Send>;

/// A thread with a connection of its own. Dropping it lets what was asked for finish, then ends the thread.
pub(crate) struct Worker {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// A thread that groups writes.
    pub(crate) fn writer(connection: Connection, file: PathBuf) -> Result<Self, JournalError> {
        Self::start("journal-writer", file, move |jobs, file| write_all(connection, &jobs, &file))
    }

    /// A thread that reads: each job sees one consistent state.
    pub(crate) fn reader(connection: Connection, file: PathBuf) -> Result<Self, JournalError> {
        Self::start("journal-reader", file, move |jobs, file| {
            let mut connection = connection;
            while let Ok(job) = jobs.recv() {
                read_one(&mut connection, job, &file);
            }
        })
    }

    fn start(
        name: &str,
        file: PathBuf,
        body: impl FnOnce(Receiver<Job>, PathBuf) + Send + 'static,
    ) -> Result<Self, JournalError> {
        let (jobs, queue) = channel();
        let for_thread = file.clone();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || body(queue, for_thread))
            .map_err(|error| JournalError::Failed { file, why: error.to_string() })?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Does the work on the thread and waits for its answer. Work that was handed over is done even when the caller
    /// stops waiting.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, WorkError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection, file| {
            let result = connection.and_then(|connection| work(connection).map_err(|error| error.at(file)));
            let went = result.as_ref().map(|_| ()).map_err(Clone::clone);
            let reply: Answer = Box::new(move |committed| {
                // The caller may have stopped waiting.
                let _ = answer.send(result.and_then(|value| committed.map(|()| value)));
            });
            (went, reply)
        });
        self.jobs.as_ref().ok_or(JournalError::Closed)?.send(job).map_err(|_| JournalError::Closed)?;
        answered.await.map_err(|_| JournalError::Closed)?
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the panic hook already.
            let _ = thread.join();
        }
    }
}

fn read_one(connection: &mut Connection, job: Job, file: &Path) {
    match connection.transaction_with_behavior(TransactionBehavior::Deferred) {
        Ok(transaction) => {
            let (_, answer) = job(Ok(&transaction), file);
            answer(transaction.commit().map_err(|error| JournalError::from_sqlite(file, &error)));
        }
        Err(error) => refuse(job, file, JournalError::from_sqlite(file, &error)),
    }
}

/// Answers a job that could not have its transaction.
fn refuse(job: Job, file: &Path, error: JournalError) {
    let (_, answer) = job(Err(error.clone()), file);
    answer(Err(error));
}

fn write_all(mut connection: Connection, jobs: &Receiver<Job>, file: &Path) {
    let mut telling = Telling::default();
    while let Ok(first) = jobs.recv() {
        match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
            Ok(transaction) => {
                let (answers, fate) = write_group(&transaction, first, jobs, file);
                // Dropped without a commit, the transaction is undone.
                let fate = fate.and_then(|()| {
                    let told = telling.before(&transaction);
                    transaction.commit().map_err(|error| JournalError::from_sqlite(file, &error))?;
                    observer::after(told);
                    Ok(())
                });
                for answer in answers {
                    answer(fate.clone());
                }
            }
            Err(error) => refuse(first, file, JournalError::from_sqlite(file, &error)),
        }
    }
}

/// Runs what waits: the first job, and those behind it each in a savepoint of its own. The second value is an error when
/// nothing of it is to stand.
fn write_group(
    connection: &Connection,
    first: Job,
    jobs: &Receiver<Job>,
    file: &Path,
) -> (Vec<Answer>, Result<(), JournalError>) {
    let (answer, fate) = write_first(connection, first, file);
    let mut answers = vec![answer];
    if fate.is_err() {
        return (answers, fate);
    }
    while answers.len() < MOST_PER_COMMIT
        && let Ok(job) = jobs.try_recv()
    {
        let (answer, fate) = write_one(connection, job, file);
        answers.push(answer);
        if fate.is_err() {
            return (answers, fate);
        }
    }
    (answers, Ok(()))
}

/// Runs a job that has the transaction for itself so far: where it fails, all of it is undone.
fn write_first(connection: &Connection, job: Job, file: &Path) -> (Answer, Result<(), JournalError>) {
    let (went, answer) = job(Ok(connection), file);
    let fate = went.and_then(|()| if connection.is_autocommit() { Err(undone(file)) } else { Ok(()) });
    (answer, fate)
}

/// SQLite ends the whole transaction by itself on some failures (a full disk, for one): then nothing of it stands.
fn undone(file: &Path) -> JournalError {
    JournalError::Failed { file: file.to_owned(), why: "the transaction was undone".to_owned() }
}

/// Runs a job behind others. The second value is an error when the whole transaction cannot stand any more.
fn write_one(connection: &Connection, job: Job, file: &Path) -> (Answer, Result<(), JournalError>) {
    let statement = |sql: &str| {
        let run = |sql| connection.prepare_cached(sql)?.execute([]);
        run(sql).map(|_| ()).map_err(|error: rusqlite::Error| JournalError::from_sqlite(file, &error))
    };
    if let Err(error) = statement("SAVEPOINT job") {
        let (_, answer) = job(Err(error.clone()), file);
        return (answer, Err(error));
    }
    let (went, answer) = job(Ok(connection), file);
    if connection.is_autocommit() {
        return (answer, Err(went.err().unwrap_or_else(|| undone(file))));
    }
    let back = if went.is_err() { statement("ROLLBACK TO job") } else { Ok(()) };
    (answer, back.and_then(|()| statement("RELEASE job")))
}
