//! A run made again, offline: every call of a plugin over its tape, every decision of the core from the records.

use super::check::{Tampered, check_tapes};
use super::decisions::{self, Decisions};
use super::play::{CallDifference, ReplayKind, Stage, decide, play};
use super::{Tapes, record};
use crate::{EngineError, KeptPlugins, plugins};
use basb_capabilities::exchange::Matching;
use basb_core::run::{Effect, Order, Outcome, Record, RunStart};
use basb_core::{Digest, PluginName, RunId, ServiceName};
use basb_journal::{Entry, Journal, VerifyError};
use basb_runtime::CacheFolder;
use basb_tape::{Replay, Tape};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// What came of a replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplayReport {
    /// The version of this form.
    pub version: u32,
    /// The run.
    pub run: RunId,
    /// Whether everything that could be played is what it was, and everything could be played.
    pub identical: bool,
    /// Where the chain of records is broken, if it is.
    pub broken_chain: Option<String>,
    /// Tapes that are not what was recorded.
    pub tampered: Vec<Tampered>,
    /// How many calls have a tape.
    pub calls: u64,
    /// How many of them are byte for byte what they were.
    pub identical_calls: u64,
    /// How many of these are of plugins that may race their requests, whose replay is best effort.
    pub best_effort_calls: u64,
    /// How many calls of strategies were made again from the records.
    pub strategy_calls: u64,
    /// How many of them came to what they came to.
    pub identical_strategy_calls: u64,
    /// Tapes whose texts were dropped, or were never kept because the call exchanged too much.
    pub without_text: u64,
    /// Tapes that a newer version wrote, or that cannot be read.
    pub unreadable: Vec<String>,
    /// Plugins that could not be had.
    pub missing: Vec<MissingPlugin>,
    /// Calls that are not what they were.
    pub differences: Vec<CallDifference>,
    /// The core's decisions.
    pub decisions: Decisions,
}

/// A plugin that could not be had for the replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MissingPlugin {
    /// Its name in the deployment file.
    pub plugin: PluginName,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Why, and what to do.
    pub why: String,
    /// How many calls could not be made.
    pub calls: u64,
}

/// Plays a run back. Opens no connection, no socket and no file but the journal and the kept plugins.
///
/// # Errors
/// [`EngineError`] when the run is not there or cannot be understood at all.
pub async fn replay(
    journal: &Journal,
    kept: KeptPlugins,
    cache: Option<CacheFolder>,
    run: &str,
) -> Result<ReplayReport, EngineError> {
    let run = journal.run(run).await?.start.run;
    let entries = journal.entries(&run, 1).await?;
    let start = start_of(&run, &entries)?;
    let broken_chain = match journal.verify(&run).await {
        Ok(_) => None,
        Err(VerifyError::Broken(broken)) => Some(broken.to_string()),
        Err(VerifyError::Journal(e)) => return Err(e.into()),
    };
    let mut report = ReplayReport {
        version: 1,
        tampered: check_tapes(journal, &run).await?,
        decisions: decisions::check(&run, &entries)?,
        run: run.clone(),
        identical: false,
        broken_chain,
        calls: 0,
        identical_calls: 0,
        best_effort_calls: 0,
        strategy_calls: 0,
        identical_strategy_calls: 0,
        without_text: 0,
        unreadable: Vec::new(),
        missing: Vec::new(),
        differences: Vec::new(),
    };
    let mut stage = Stage::new(kept, cache)?;
    let mut missing: BTreeMap<(PluginName, String), MissingPlugin> = BTreeMap::new();
    let mut miss = |plugin: &PluginName, digest: &Digest, why: String| {
        let key = (plugin.clone(), digest.to_string());
        let entry = missing.entry(key).or_insert_with(|| MissingPlugin {
            plugin: plugin.clone(),
            digest: digest.clone(),
            why,
            calls: 0,
        });
        entry.calls += 1;
    };
    let mut tapes = Tapes::of(journal, &run);
    loop {
        let page = tapes.page().await?;
        if page.is_empty() {
            break;
        }
        for stored in page {
            report.calls += 1;
            let tape = match stored.body.as_deref().map(Tape::parse) {
                None => {
                    report.without_text += 1;
                    continue;
                }
                Some(Err(e)) => {
                    report.unreadable.push(format!("tape {}: {e}", stored.call));
                    continue;
                }
                Some(Ok(tape)) if tape.cut => {
                    report.without_text += 1;
                    continue;
                }
                Some(Ok(tape)) => tape,
            };
            let plugin = match stage.plugin(&start.deployment, &tape.plugin, &tape.digest).await {
                Ok(plugin) => plugin,
                Err(why) => {
                    miss(&tape.plugin, &tape.digest, why);
                    continue;
                }
            };
            let kind = match tape.replay {
                Replay::Exact => ReplayKind::Exact,
                Replay::BestEffort => ReplayKind::BestEffort,
            };
            match play(&plugin, &tape, Matching::Exact).await {
                None => {
                    report.identical_calls += 1;
                    report.best_effort_calls += u64::from(kind == ReplayKind::BestEffort);
                }
                Some(divergence) => report.differences.push(CallDifference {
                    call: Some(stored.call),
                    seq: None,
                    service: tape.service,
                    plugin: tape.plugin,
                    function: tape.function,
                    replay: kind,
                    divergence,
                }),
            }
        }
    }
    for asked in strategy_calls(&run, &start, &entries)? {
        report.strategy_calls += 1;
        let plugin = match stage.plugin(&start.deployment, &asked.plugin, &asked.digest).await {
            Ok(plugin) => plugin,
            Err(why) => {
                miss(&asked.plugin, &asked.digest, why);
                continue;
            }
        };
        match decide(&plugin, &start, &asked.service, &asked.order, &asked.outcome).await {
            None => report.identical_strategy_calls += 1,
            Some(divergence) => report.differences.push(asked.difference(divergence)),
        }
    }
    report.missing = missing.into_values().collect();
    report.identical = report.broken_chain.is_none()
        && report.tampered.is_empty()
        && report.differences.is_empty()
        && report.missing.is_empty()
        && report.unreadable.is_empty()
        && report.without_text == 0
        && report.decisions.difference.is_none();
    Ok(report)
}

/// What a run started from.
pub fn start_of(run: &RunId, entries: &[Entry]) -> Result<RunStart, EngineError> {
    match entries.first().map(|first| record(run, first)).transpose()? {
        Some(Record::Started(start)) => Ok(*start),
        _ => Err(EngineError::History(basb_core::run::HistoryError::NoStart)),
    }
}

/// A strategy that was asked, as the records have it.
pub struct Asked {
    pub service: ServiceName,
    pub plugin: PluginName,
    pub digest: Digest,
    pub order: Order,
    pub outcome: Outcome,
    pub seq: u64,
}

impl Asked {
    pub fn difference(&self, divergence: basb_tape::Divergence) -> CallDifference {
        CallDifference {
            call: None,
            seq: Some(self.seq),
            service: Some(self.service.clone()),
            plugin: self.plugin.clone(),
            function: "next".to_owned(),
            replay: ReplayKind::Exact,
            divergence,
        }
    }
}

/// Every question that a strategy was asked and answered in a run.
pub fn strategy_calls(run: &RunId, start: &RunStart, entries: &[Entry]) -> Result<Vec<Asked>, EngineError> {
    let mut open: HashMap<(ServiceName, u32), Order> = HashMap::new();
    let mut asked = Vec::new();
    for entry in entries {
        match record(run, entry)? {
            Record::Intent { service, order } if matches!(order.effect, Effect::NextStep { .. }) => {
                open.insert((service, order.id), order);
            }
            Record::Outcome { service, id, outcome } => {
                let Some(order) = open.remove(&(service.clone(), id)) else { continue };
                let Some((plugin, digest)) = strategy_of(start, &service) else { continue };
                asked.push(Asked { service, plugin, digest, order, outcome, seq: entry.seq });
            }
            _ => {}
        }
    }
    Ok(asked)
}

fn strategy_of(start: &RunStart, service: &ServiceName) -> Option<(PluginName, Digest)> {
    let spec = start.deployment.services.get(service)?;
    let plugin = &start.deployment.strategies.get(&spec.strategy)?.plugin;
    Some((plugin.clone(), plugins::digest_of(start.plugins.get(plugin)?)?))
}
