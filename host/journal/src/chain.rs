//! The hash chain of a run's records.
//!
//! It finds damage, gaps, lost ends and careless edits. It does not stop somebody who can write the file and knows the
//! format: they can compute a new chain. Who needs that keeps the [`Head`] elsewhere and compares it.

use crate::JournalError;
use crate::error::WorkError;
use crate::row;
use basb_core::{Digest, RunId};
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest as _, Sha256};

/// A SHA-256 value.
pub(crate) type Hash = [u8; 32];

/// The end of a run's chain: equal heads mean equal records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// How many records the run has, which is the last one's sequence number.
    pub seq: u64,
    /// The last hash: of the finish for a finished run, of the last record for one that goes on.
    pub hash: Digest,
}

/// Where a chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("run `{run}` is not as it was written: record {seq}: {why}")]
pub struct Broken {
    /// The run.
    pub run: RunId,
    /// The first record that is wrong; 0 for the run's start.
    pub seq: u64,
    /// In which way.
    pub why: &'static str,
}

/// Why a run is not verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// It is not as it was written (`journal/broken-chain`).
    #[error(transparent)]
    Broken(#[from] Broken),
    /// It cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl VerifyError {
    /// A code that stays the same from version to version.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Broken(_) => "journal/broken-chain",
            Self::Journal(error) => error.code(),
        }
    }
}

/// Feeds a hash with fields such that no two different lists of fields feed it the same bytes.
struct Fields(Sha256);

impl Fields {
    fn new(domain: &str) -> Self {
        let mut fields = Self(Sha256::new());
        fields.text(domain);
        fields
    }

    fn number(&mut self, number: u64) {
        self.0.update(number.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        // usize is at most 64 bits wide on every target that Rust has.
        self.number(text.len() as u64);
        self.0.update(text);
    }

    fn optional(&mut self, text: Option<&str>) {
        self.0.update([u8::from(text.is_some())]);
        self.text(text.unwrap_or_default());
    }

    fn hash(&mut self, hash: &Hash) {
        self.0.update(hash);
    }

    fn end(self) -> Hash {
        self.0.finalize().into()
    }
}

/// The root of the chain: the hash of a run's start.
pub(crate) fn start(run: &str, deployment: &str, environment: &str, at: u64, body: &str) -> Hash {
    let mut fields = Fields::new("basb-journal/1/start");
    for text in [run, deployment, environment] {
        fields.text(text);
    }
    fields.number(at);
    fields.text(body);
    fields.end()
}

/// The hash of a record, over the hash of the one before it.
pub(crate) fn entry(previous: &Hash, seq: u64, at: u64, service: Option<&str>, kind: &str, body: &str) -> Hash {
    let mut fields = Fields::new("basb-journal/1/entry");
    fields.hash(previous);
    fields.number(seq);
    fields.number(at);
    fields.optional(service);
    fields.text(kind);
    fields.text(body);
    fields.end()
}

/// The hash of a run's finish, over the hash of its last record.
pub(crate) fn finish(previous: &Hash, seq: u64, at: u64, outcome: &str, body: &str) -> Hash {
    let mut fields = Fields::new("basb-journal/1/finish");
    fields.hash(previous);
    fields.number(seq);
    fields.number(at);
    fields.text(outcome);
    fields.text(body);
    fields.end()
}

/// A hash as people see it.
pub(crate) fn digest(hash: &Hash) -> Result<Digest, WorkError> {
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    Digest::try_from(format!("sha256:{hex}")).map_err(|_| WorkError::Sqlite(rusqlite::Error::InvalidQuery))
}

/// Computes the whole chain of a run again and compares. Runs inside one read transaction.
pub(crate) fn verify(connection: &Connection, run: &RunId) -> Result<Result<Head, Broken>, WorkError> {
    struct Finished {
        at: u64,
        outcome: String,
        result: String,
        hash: Hash,
        seq: u64,
    }
    struct Stored {
        deployment: String,
        environment: String,
        started_at: u64,
        body: String,
        root: Hash,
        head_seq: u64,
        head_hash: Hash,
        finish: Option<Finished>,
    }
    let stored = connection
        .prepare_cached(
            "SELECT deployment, environment, started_at, body, root, head_seq, head_hash, \
             finished_at, outcome, result, finish_hash, finish_seq FROM runs WHERE run = ?1",
        )?
        .query_row(params![run.as_str()], |r| {
            let finished: Option<i64> = r.get(7)?;
            let finish = match finished {
                Some(_) => Some(Finished {
                    at: row::unsigned(r, 7)?,
                    outcome: r.get(8)?,
                    result: r.get(9)?,
                    hash: r.get(10)?,
                    seq: row::unsigned(r, 11)?,
                }),
                None => None,
            };
            Ok(Stored {
                deployment: r.get(0)?,
                environment: r.get(1)?,
                started_at: row::unsigned(r, 2)?,
                body: r.get(3)?,
                root: r.get(4)?,
                head_seq: row::unsigned(r, 5)?,
                head_hash: r.get(6)?,
                finish,
            })
        })
        .optional()?;
    let Some(stored) = stored else {
        return Err(JournalError::UnknownRun { run: run.as_str().to_owned() }.into());
    };
    let broken = |seq, why| Ok(Err(Broken { run: run.clone(), seq, why }));

    let root = start(run.as_str(), &stored.deployment, &stored.environment, stored.started_at, &stored.body);
    if root != stored.root {
        return broken(0, "the run's start was changed");
    }
    let mut previous = root;
    let mut last = 0;
    // The finish has its place in the chain: behind the record with its number, before the notes that came later.
    let closed = |previous: Hash, last: u64| match &stored.finish {
        Some(f) if f.seq == last => {
            let hash = finish(&previous, last, f.at, &f.outcome, &f.result);
            (hash == f.hash).then_some(hash)
        }
        _ => Some(previous),
    };
    let mut statement = connection
        .prepare_cached("SELECT seq, at, service, kind, body, hash FROM entries WHERE run = ?1 ORDER BY seq")?;
    let mut rows = statement.query(params![run.as_str()])?;
    while let Some(r) = rows.next()? {
        let seq = row::unsigned(r, 0)?;
        if seq != last + 1 {
            return broken(last + 1, "it is missing");
        }
        let Some(behind) = closed(previous, last) else { return broken(last, "the finish after it was changed") };
        previous = behind;
        let service: Option<String> = r.get(2)?;
        let (kind, body): (String, String) = (r.get(3)?, r.get(4)?);
        let hash = entry(&previous, seq, row::unsigned(r, 1)?, service.as_deref(), &kind, &body);
        if hash != r.get::<_, Hash>(5)? {
            return broken(seq, "its content, or its place in the chain, was changed");
        }
        (previous, last) = (hash, seq);
    }
    if stored.head_seq > last {
        return broken(last + 1, "it is missing, and so is all after it");
    }
    if stored.head_seq < last {
        return broken(stored.head_seq + 1, "it was added past the end of the chain");
    }
    if stored.head_hash != previous {
        return broken(last, "it is not the record that the chain ended with");
    }
    let Some(previous) = closed(previous, last) else { return broken(last, "the finish after it was changed") };
    if stored.finish.as_ref().is_some_and(|f| f.seq > last) {
        return broken(last + 1, "it is missing, and the finish is behind it");
    }
    Ok(Ok(Head { seq: last, hash: digest(&previous)? }))
}
