//! Somebody who is told of every commit: how the crash tests end a process at an exact entry.
//!
//! Nothing in the product sets an observer, and nothing outside the program can: not a file, not an argument, not a
//! variable of the environment. A program that wants one links this crate and calls [`observe_commits`] before it opens
//! a journal.

use rusqlite::Connection;
use std::sync::OnceLock;

/// A transaction that is about to become durable, or just has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// Which of the two.
    pub stage: CommitStage,
    /// Which transaction of this process it is; the first is 1.
    pub number: u64,
    /// How many entries the journal has with it, those of all runs together.
    pub entries: u64,
    /// How many questions and answers of open calls are written ahead with it, each counted as one.
    pub ahead: u64,
    /// How many requests of operators are taken out of the mailbox with it.
    pub taken: u64,
}

/// Where a transaction is when its observer is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitStage {
    /// Everything is written and nothing is durable: a process that ends here has written nothing.
    Before,
    /// It is durable, and nobody has been told so yet.
    After,
}

/// Called on the thread that writes, which waits for it.
pub type CommitObserver = fn(Commit);

static OBSERVER: OnceLock<CommitObserver> = OnceLock::new();

/// Sets the observer of this process, for every journal that it opens. Returns whether it was set: the first one stays.
pub fn observe_commits(observer: CommitObserver) -> bool {
    OBSERVER.set(observer).is_ok()
}

/// What tells the observer, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Telling {
    number: u64,
}

impl Telling {
    /// The next transaction is written. Returns what is to be told once it is durable.
    pub(crate) fn before(&mut self, connection: &Connection) -> Option<(CommitObserver, Commit)> {
        let observer = *OBSERVER.get()?;
        self.number = self.number.saturating_add(1);
        // Counted rather than kept count of: the product pays nothing for it.
        let count = |of: &str| {
            let found: i64 = connection.query_row(&format!("SELECT {of}"), [], |row| row.get(0)).ok()?;
            u64::try_from(found).ok()
        };
        let commit = Commit {
            stage: CommitStage::Before,
            number: self.number,
            entries: count("count(*) FROM entries")?,
            taken: count("count(*) FROM requests WHERE taken = 1")?,
            ahead: count("count(ask) + count(answer) FROM open_exchanges")?,
        };
        observer(commit);
        Some((observer, Commit { stage: CommitStage::After, ..commit }))
    }
}

/// It is durable.
pub(crate) fn after(told: Option<(CommitObserver, Commit)>) {
    if let Some((observer, commit)) = told {
        observer(commit);
    }
}
