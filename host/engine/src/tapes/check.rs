//! Whether the tapes of a run are what was recorded: their texts against their digests, and these against the records.

use super::{Tapes, record};
use crate::EngineError;
use basb_core::RunId;
use basb_core::run::{Record, TapeMark};
use basb_journal::{Entry, Journal};
use basb_tape::Tape;
use serde::Serialize;
use std::collections::HashMap;

/// A tape that is not what was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tampered {
    /// The number of the call.
    pub call: u64,
    /// The record that says what it was; 0 when none does.
    pub seq: u64,
    /// The exchange that was changed, from 1, where that can be told.
    pub exchange: Option<u64>,
    /// What is wrong.
    pub why: String,
}

/// What records say of tapes.
#[derive(Default)]
struct Said {
    marks: HashMap<u64, (u64, TapeMark)>,
    /// First, last, digest, and the record.
    ranges: Vec<(u64, u64, basb_core::Digest, u64)>,
}

/// Checks every tape of a run against the run's records. The records themselves are checked by
/// [`Journal::verify`].
///
/// # Errors
/// Why the journal cannot be read.
pub async fn check_tapes(journal: &Journal, run: &RunId) -> Result<Vec<Tampered>, EngineError> {
    let entries = journal.entries(run, 1).await?;
    let said = said(run, &entries)?;
    let mut wrong = Vec::new();
    let mut digests: Vec<(u64, [u8; 32])> = Vec::new();
    let mut tapes = Tapes::of(journal, run);
    loop {
        let page = tapes.page().await?;
        if page.is_empty() {
            break;
        }
        for tape in page {
            digests.push((tape.call, tape.sha256));
            let known = said.marks.get(&tape.call);
            let seq = known.map_or(0, |(seq, _)| *seq);
            let named = known.is_none_or(|(_, mark)| mark.sha256 == basb_tape::digest(&tape.sha256));
            let whole = tape.body.as_deref().is_none_or(|body| basb_tape::sha256(body) == tape.sha256);
            if named && whole {
                continue;
            }
            let exchange =
                known.and_then(|(_, mark)| tape.body.as_deref().and_then(|body| changed_exchange(body, &mark.marks)));
            let why = match exchange {
                Some(number) => format!("exchange {number} of tape {} was changed", tape.call),
                None if whole => format!("the digest of tape {} was changed", tape.call),
                None => format!("tape {} was changed", tape.call),
            };
            wrong.push(Tampered { call: tape.call, seq, exchange, why });
        }
    }
    for (first, last, sha256, seq) in said.ranges {
        let (from, to) = (digests.partition_point(|(n, _)| *n < first), digests.partition_point(|(n, _)| *n <= last));
        let range = digests.get(from..to).unwrap_or_default();
        let complete = u64::try_from(range.len()).ok() == Some((last + 1).saturating_sub(first));
        let same = basb_tape::digest_of_range(range.iter().map(|(n, d)| (*n, d))) == sha256;
        let whole = complete && same;
        // What is known to be wrong already is the reason.
        let told = wrong.iter().any(|w| (first..=last).contains(&w.call));
        if !whole && !told {
            let why = match complete {
                true => format!("the digest of one of the tapes {first} to {last} was changed"),
                false => format!("of the tapes {first} to {last} some are missing"),
            };
            wrong.push(Tampered { call: first, seq, exchange: None, why });
        }
    }
    wrong.sort_by_key(|w| w.call);
    Ok(wrong)
}

fn said(run: &RunId, entries: &[Entry]) -> Result<Said, EngineError> {
    let mut said = Said::default();
    for entry in entries.iter().filter(|e| matches!(e.kind.as_str(), "called" | "taped")) {
        match record(run, entry)? {
            Record::Called { call, .. } => {
                if let Some(mark) = call.tape {
                    said.marks.insert(mark.call, (entry.seq, mark));
                }
            }
            Record::Taped { first, last, sha256 } => said.ranges.push((first, last, sha256, entry.seq)),
            _ => {}
        }
    }
    Ok(said)
}

/// The first exchange that does not have its check sum; none where all of them have, and something else was changed.
fn changed_exchange(body: &str, marks: &[String]) -> Option<u64> {
    let tape = Tape::parse(body).ok()?;
    let now = tape.marks();
    let longest = now.len().max(marks.len());
    (0..longest).find(|at| now.get(*at) != marks.get(*at)).map(|at| at as u64 + 1)
}
