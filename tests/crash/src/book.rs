//! What a journal says at the end, read from its file.

use crate::host::Result;
use basb_core::event::{Body, Event};
use basb_core::run::{Record, Run};
use basb_core::{PluginName, ServiceName};
use basb_journal::{Journal, RunFilter, RunState};
use std::path::Path;

/// How much of a journal is read and verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Its file and every run.
    Everything,
    /// The newest run; of the others only how they ended. For a journal of many runs, each of which was read when it was
    /// the newest: reading everything after each of them would take time that grows with the square of their number.
    Newest,
}

/// What a journal says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Book {
    /// The runs, the oldest first.
    pub runs: Vec<Ran>,
    /// The stable revision of each service, with the number of its instances.
    pub stable: Vec<String>,
    /// How many entries there are, of all runs together.
    pub entries: u64,
}

/// A run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ran {
    /// Its id.
    pub id: String,
    /// How it ended; `unfinished` where it did not.
    pub outcome: String,
    /// Its events in words: service, kind and, where it is the same in every run, what.
    pub events: Vec<String>,
}

impl Ran {
    /// How often a service had an event of a kind.
    #[must_use]
    pub fn count(&self, service: &str, kind: &str) -> usize {
        let begin = format!("{service} {kind} ");
        self.events.iter().filter(|event| event.starts_with(&begin)).count()
    }

    /// The shares of traffic that a service's candidate had, in order.
    #[must_use]
    pub fn weights(&self, service: &str) -> Vec<&str> {
        let begin = format!("{service} traffic.shifted ");
        self.events.iter().filter_map(|event| event.strip_prefix(&begin)).collect()
    }
}

impl Book {
    /// Reads and verifies the journal of a state folder. A run outside the extent has no events.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(state: &Path, extent: Extent) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        runtime.block_on(async {
            let journal = Journal::open(&state.join("journal")).map_err(|e| e.to_string())?;
            let mut records = journal.runs(RunFilter::default(), 10_000).await.map_err(|e| e.to_string())?;
            match (extent, records.first()) {
                (Extent::Everything, _) => {
                    journal.check_file().await.map_err(|e| e.to_string())?;
                    for (run, head) in journal.verify_all().await.map_err(|e| e.to_string())? {
                        head.map_err(|broken| format!("run {run}: {broken}"))?;
                    }
                }
                (Extent::Newest, Some(newest)) => {
                    let run = &newest.start.run;
                    journal.verify(run).await.map_err(|broken| format!("run {run}: {broken}"))?;
                }
                (Extent::Newest, None) => {}
            }
            let mut book = Self::default();
            if let Some(newest) = records.first() {
                book.stable = stable(&journal, &newest.start.deployment, &newest.start.environment).await?;
            }
            records.reverse();
            let newest = records.len().saturating_sub(1);
            for (place, record) in records.iter().enumerate() {
                book.entries += record.entries;
                let outcome = match &record.state {
                    RunState::Open => "unfinished".to_owned(),
                    RunState::Finished { outcome, .. } => outcome.clone(),
                };
                let events = if extent == Extent::Everything || place == newest {
                    events(&journal.entries(&record.start.run, 1).await.map_err(|e| e.to_string())?)?
                } else {
                    Vec::new()
                };
                book.runs.push(Ran { id: record.start.run.to_string(), outcome, events });
            }
            Ok(book)
        })
    }

    /// Whether the newest run is over, when there were so many before it.
    #[must_use]
    pub fn is_over(&self, before: usize) -> bool {
        self.runs.len() > before && self.runs.last().is_some_and(|run| run.outcome != "unfinished")
    }

    /// How the runs ended, the oldest first.
    #[must_use]
    pub fn outcomes(&self) -> Vec<&str> {
        self.runs.iter().map(|run| run.outcome.as_str()).collect()
    }
}

async fn stable(journal: &Journal, deployment: &ServiceName, environment: &PluginName) -> Result<Vec<String>> {
    let found = journal.stable_services(deployment, environment).await.map_err(|e| e.to_string())?;
    Ok(found.iter().map(|s| format!("{} {} x{}", s.service.service, s.revision, s.replicas)).collect())
}

fn events(entries: &[basb_journal::Entry]) -> Result<Vec<String>> {
    let mut run: Option<Run> = None;
    let mut all: Vec<Event> = Vec::new();
    for (before, entry) in entries.iter().zip(entries.iter().skip(1)) {
        if entry.at < before.at {
            return Err(format!(
                "entry {} is older than the one before it: {} after {}",
                entry.seq, entry.at, before.at
            ));
        }
    }
    for entry in entries {
        let record: Record = serde_json::from_str(&entry.body).map_err(|e| format!("entry {}: {e}", entry.seq))?;
        match &mut run {
            Some(run) => all.extend(run.apply(entry.at, entry.seq, &record)),
            None => {
                let (begun, events) = Run::begin(entry.at, entry.seq, &record).map_err(|e| e.to_string())?;
                run = Some(begun);
                all.extend(events);
            }
        }
    }
    let words = |event: &Event| {
        let service = event.service.as_ref().map_or("-", |service| service.as_str());
        // What was measured, and how long something took, differs from time to time.
        let what = match &event.body {
            Body::TrafficShifted { candidate, .. } => format!("to {candidate}"),
            _ => String::new(),
        };
        format!("{service} {} {what}", event.body.kind())
    };
    Ok(all.iter().map(words).collect())
}
