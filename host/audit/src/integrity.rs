//! Whether the journal is as it was written: what `audit verify` says.
//!
//! Each run's records are linked by hashes. That finds damage, gaps, lost ends and careless edits. It does not find the
//! removal of a whole run, nor the work of somebody who can write the file and computes a new chain: who needs that keeps
//! the heads that this prints, outside of the machine, and compares.

use crate::page::{Page, counted};
use serde::Serialize;

/// What was found of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunState {
    /// The run.
    pub run: String,
    /// How many records it has, as far as it is whole.
    pub records: u64,
    /// The last hash: equal heads mean equal records. None for one that is broken.
    pub head: Option<String>,
    /// What is wrong first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken: Option<BrokenAt>,
}

/// The first record that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokenAt {
    /// Its number; 0 for the run's start.
    pub record: u64,
    /// In which way.
    pub why: String,
}

/// What was found of all runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Integrity {
    /// The version of this form: 1.
    pub version: u32,
    /// Each run.
    pub runs: Vec<RunState>,
    /// How many of them are broken.
    pub broken: usize,
}

impl RunState {
    /// A run that is as it was written: how many records it has, and its last hash.
    #[must_use]
    pub fn whole(run: String, records: u64, head: String) -> Self {
        Self { run, records, head: Some(head), broken: None }
    }

    /// A run that is not: the first record that is wrong, 0 for its start, and in which way.
    #[must_use]
    pub fn broken(run: String, record: u64, why: String) -> Self {
        Self { run, records: record.saturating_sub(1), head: None, broken: Some(BrokenAt { record, why }) }
    }
}

/// Puts together what was found of each run.
#[must_use]
pub fn integrity(runs: Vec<RunState>) -> Integrity {
    let broken = runs.iter().filter(|run| run.broken.is_some()).count();
    Integrity { version: 1, runs, broken }
}

impl Integrity {
    /// What was found, for people, in 100 columns.
    #[must_use]
    pub fn text(&self) -> String {
        let mut page = Page::default();
        for run in &self.runs {
            match (&run.broken, &run.head) {
                (Some(at), _) => {
                    let record = match at.record {
                        0 => "at its start".to_owned(),
                        number => format!("at record {number}"),
                    };
                    page.hang(&format!("{}  BROKEN  ", run.run), &format!("{record}: {}", at.why));
                    page.hang("  ", &meaning(run.records));
                }
                (None, head) => {
                    let records = counted(usize::try_from(run.records).unwrap_or(usize::MAX), "record");
                    page.line(&format!("{}  whole   {records}", run.run));
                    page.hang("  head ", head.as_deref().unwrap_or_default());
                }
            }
        }
        page.gap();
        page.line(&match self.broken {
            0 => format!("{}: every one is as it was written", counted(self.runs.len(), "run")),
            broken => format!("{}: {broken} not as written", counted(self.runs.len(), "run")),
        });
        page.end()
    }
}

fn meaning(whole: u64) -> String {
    let before = match whole {
        0 => "nothing of this run can be relied on".to_owned(),
        1 => "its first record can be relied on, what follows cannot".to_owned(),
        whole => format!("its first {whole} records can be relied on, what follows cannot"),
    };
    format!(
        "what it means: the file was damaged or changed by something else than basb-host; {before}. Keep a copy, and \
             compare with a backup"
    )
}
