//! Runs as they were: read from the journal and folded through the core, never from anything else.

use crate::{Cause, EngineError};
use basb_core::event::Event;
use basb_core::run::{Phase, Record, Run, RunOutcome, ServiceOutcome};
use basb_core::{RevisionId, RunId, ServiceName, Timestamp, Weight};
use basb_journal::{Entry, Journal, Origin, RunFilter, RunRecord, RunState};
use serde::Serialize;

/// A run rebuilt from its journal.
#[derive(Debug)]
pub struct RunView {
    /// The run.
    pub run: Run,
    /// The number of its last entry.
    pub seq: u64,
    /// Everything that happened.
    pub events: Vec<Event>,
    /// The latest time of an entry.
    pub last: Timestamp,
}

/// A service of a run, for people.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// Its name.
    pub service: ServiceName,
    /// Where it is.
    pub phase: Phase,
    /// The revision that it is to get.
    pub candidate: RevisionId,
    /// Its verified share of traffic.
    pub candidate_weight: Weight,
    /// The revision that it falls back to.
    pub stable: Option<RevisionId>,
    /// Its rollout's step, in words.
    pub step: Option<String>,
    /// What is under way.
    pub doing: Option<String>,
    /// Who paused it, and since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
    /// The group that it is promoted with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<basb_core::PluginName>,
    /// How it ended.
    pub outcome: Option<ServiceOutcome>,
}

/// A run, in a line.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunLine {
    /// Its id.
    pub run: RunId,
    /// The deployment.
    pub deployment: ServiceName,
    /// The environment.
    pub environment: basb_core::PluginName,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// `open`, or how it ended.
    pub outcome: String,
    /// How many journal entries it has.
    pub entries: u64,
    /// What asked for it.
    #[serde(skip_serializing_if = "Cause::is_run")]
    pub cause: Cause,
    /// Whether it was taken over from the file of another journal: it is there to be read only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub imported: bool,
}

impl From<RunRecord> for RunLine {
    fn from(record: RunRecord) -> Self {
        let (finished_at, outcome) = match record.state {
            RunState::Open => (None, "open".to_owned()),
            RunState::Finished { at, outcome, .. } => (Some(at), outcome),
        };
        Self {
            cause: Cause::noted(&record.start.body),
            run: record.start.run,
            deployment: record.start.deployment,
            environment: record.start.environment,
            started_at: record.start.at,
            finished_at,
            outcome,
            entries: record.entries,
            imported: record.origin == Origin::Imported,
        }
    }
}

/// The runs that fit, newest first.
///
/// # Errors
/// Why the journal cannot be read.
pub async fn history(journal: &Journal, filter: RunFilter, limit: u32) -> Result<Vec<RunLine>, EngineError> {
    Ok(journal.runs(filter, limit).await?.into_iter().map(RunLine::from).collect())
}

/// A run, rebuilt.
///
/// # Errors
/// [`EngineError`] when there is no such run, or its journal cannot be understood.
pub async fn show(journal: &Journal, run: &str) -> Result<RunView, EngineError> {
    let record = journal.run(run).await?;
    let entries = journal.entries(&record.start.run, 1).await?;
    rebuild(&record.start.run, &entries)
}

/// Folds entries through the core.
///
/// # Errors
/// [`EngineError::Entry`] for one that cannot be read, with its number.
pub fn rebuild(id: &RunId, entries: &[Entry]) -> Result<RunView, EngineError> {
    let mut view: Option<RunView> = None;
    for entry in entries {
        let record: Record = serde_json::from_str(&entry.body).map_err(|e| EngineError::Entry {
            run: id.to_string(),
            seq: entry.seq,
            why: e.to_string(),
        })?;
        match &mut view {
            None => {
                let (run, events) = Run::begin(entry.at, entry.seq, &record)?;
                view = Some(RunView { run, seq: entry.seq, events, last: entry.at });
            }
            Some(view) => {
                view.events.extend(view.run.apply(entry.at, entry.seq, &record));
                view.seq = entry.seq;
                view.last = view.last.max(entry.at);
            }
        }
    }
    view.ok_or_else(|| EngineError::Entry {
        run: id.to_string(),
        seq: 1,
        why: "the run has no entries: it was cut off before it began".to_owned(),
    })
}

impl RunView {
    /// How it ended, if it has.
    #[must_use]
    pub fn outcome(&self) -> Option<RunOutcome> {
        self.run.finished()
    }

    /// Its services, by name.
    #[must_use]
    pub fn services(&self) -> Vec<ServiceStatus> {
        let status = |run: &basb_core::run::ServiceRun| ServiceStatus {
            service: run.name().clone(),
            phase: run.phase(),
            candidate: run.candidate().revision.clone(),
            candidate_weight: run.candidate().weight,
            stable: run.stable().map(|s| s.revision.clone()),
            step: run.position().map(|p| format!("{}/{} {}", p.step, p.steps, p.label)),
            doing: run.doing(),
            paused: run.paused().map(|p| format!("{} since {}", p.by, p.since)),
            group: run.group().cloned(),
            outcome: run.outcome(),
        };
        self.run.services().values().map(status).collect()
    }
}
