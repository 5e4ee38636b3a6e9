//! Whether the core, given the records of a run, decides again what it decided then.

use super::record;
use crate::EngineError;
use basb_core::run::{Order, Record, Run, RunOutcome};
use basb_core::{RunId, ServiceName};
use basb_journal::Entry;
use serde::Serialize;
use std::collections::VecDeque;

/// The core's decisions, made once more.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Decisions {
    /// How many there are in the journal.
    pub intents: u64,
    /// The first that the core would not make now.
    pub difference: Option<DecisionDifference>,
}

/// A decision that the core would not make now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionDifference {
    /// The record.
    pub seq: u64,
    /// What the journal says.
    pub expected: String,
    /// What the core says.
    pub actual: String,
}

/// Folds the records of a run and compares every intent, and the end, with what the core decides at that point.
///
/// # Errors
/// [`EngineError::Entry`] for a record that cannot be read.
pub fn check(run: &RunId, entries: &[Entry]) -> Result<Decisions, EngineError> {
    let mut decisions = Decisions::default();
    let mut state: Option<Run> = None;
    let mut pending: Option<VecDeque<(ServiceName, Order)>> = None;
    for entry in entries {
        let record = record(run, entry)?;
        let Some(state) = &mut state else {
            state = Some(Run::begin(entry.at, entry.seq, &record)?.0);
            continue;
        };
        let mut differs = |expected: String, actual: String| {
            decisions.difference.get_or_insert(DecisionDifference { seq: entry.seq, expected, actual });
        };
        match &record {
            Record::Intent { service, order } => {
                decisions.intents += 1;
                let pending = pending.get_or_insert_with(|| state.decide().orders.into());
                let wanted = |(of, what): &(ServiceName, Order)| of == service && what == order;
                match pending.iter().position(wanted) {
                    Some(at) => {
                        pending.remove(at);
                    }
                    None => {
                        let of_service = pending.iter().find(|(of, _)| of == service);
                        differs(text(order), of_service.map_or_else(|| "nothing".to_owned(), |(_, o)| text(o)));
                    }
                }
            }
            // A newer run says so of an older one: nothing that the older one's core decides.
            Record::Finished(RunOutcome::Superseded) => {}
            Record::Finished(outcome) => {
                let finish = state.decide().finish;
                if finish != Some(*outcome) {
                    let actual = finish.map_or("nothing", RunOutcome::as_str);
                    differs(outcome.as_str().to_owned(), actual.to_owned());
                }
            }
            _ => {}
        }
        if !matches!(record, Record::Intent { .. }) {
            pending = None;
        }
        state.apply(entry.at, entry.seq, &record);
    }
    Ok(decisions)
}

fn text(order: &Order) -> String {
    serde_json::to_string(order).unwrap_or_default()
}
