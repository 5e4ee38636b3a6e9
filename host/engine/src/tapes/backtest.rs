//! Another version of a plugin over recorded runs: would it have done the same?

use super::Tapes;
use super::play::{CallDifference, ReplayKind, Stage, decide, play};
use super::replay::{start_of, strategy_calls};
use crate::{EngineError, KeptPlugins};
use basb_capabilities::exchange::Matching;
use basb_core::run::RunStart;
use basb_core::{Digest, PluginName, RunId};
use basb_journal::Journal;
use basb_runtime::{CacheFolder, Kind, Plugin, inspect};
use basb_tape::{Replay, Tape};
use serde::Serialize;
use std::collections::BTreeMap;

/// What a plugin would have done in recorded runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Backtest {
    /// The version of this form.
    pub version: u32,
    /// The plugin: `name version`.
    pub plugin: String,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Each run, as asked for.
    pub runs: Vec<BacktestRun>,
    /// How many calls were made again, in all of them.
    pub compared: u64,
    /// Whether in every run something was compared, and nothing was left out.
    pub complete: bool,
    /// How many calls differ, by class; `same` for those that do not.
    pub classes: BTreeMap<String, u64>,
}

impl Backtest {
    /// Whether something was compared, and no call differs. Where nothing was compared, nothing was found to be the same.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.compared > 0 && self.classes.keys().all(|class| class == "same")
    }

    fn add(&mut self, run: BacktestRun) {
        self.compared += run.calls;
        self.complete &= run.is_complete();
        for (class, count) in &run.classes {
            *self.classes.entry(class.clone()).or_default() += count;
        }
        self.runs.push(run);
    }
}

/// What a plugin would have done in one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BacktestRun {
    /// The run.
    pub run: RunId,
    /// Under which names the plugin took part.
    pub names: Vec<PluginName>,
    /// How many of its calls were made again.
    pub calls: u64,
    /// How many of them are the same.
    pub same: u64,
    /// How many calls have no tape that can be played. Where the text of a tape was dropped, nothing tells whose call it
    /// was: those of other plugins count too.
    pub without_tape: u64,
    /// Why nothing was called, where nothing was.
    pub skipped: Option<String>,
    /// The first call that differs, in the order of the run.
    pub first: Option<CallDifference>,
    /// How many calls differ, by class.
    pub classes: BTreeMap<String, u64>,
}

/// Calls a plugin over the tapes of runs that another version of it made. `as_name` is the name that it goes by in the
/// deployment files; without one, that is whoever has its manifest's name.
///
/// # Errors
/// [`EngineError`] when the plugin cannot be used at all, or a run is not there.
pub async fn backtest(
    journal: &Journal,
    kept: KeptPlugins,
    cache: Option<CacheFolder>,
    bytes: Vec<u8>,
    as_name: Option<&PluginName>,
    runs: &[RunId],
) -> Result<Backtest, EngineError> {
    let unusable = |code: &str, message: String| EngineError::Plugin {
        name: as_name.map_or_else(|| "the new version".to_owned(), ToString::to_string),
        code: code.to_owned(),
        message,
        next: "give a component that was built with the SDK".to_owned(),
    };
    let inspection = inspect(&bytes).map_err(|e| unusable(e.code(), e.to_string()))?;
    let manifest =
        inspection.manifest.ok_or_else(|| unusable("plugin/no-manifest", "it carries no manifest".to_owned()))?;
    let stage = Stage::new(kept, cache)?;
    let mut report = Backtest {
        version: 1,
        plugin: format!("{} {}", manifest.name, manifest.version),
        digest: Digest::of(&bytes),
        runs: Vec::new(),
        compared: 0,
        complete: !runs.is_empty(),
        classes: BTreeMap::new(),
    };
    for run in runs {
        let entries = journal.entries(run, 1).await?;
        let start = start_of(run, &entries)?;
        let names = names(&start, as_name, &manifest.name.to_string());
        let mut of_run = BacktestRun {
            run: run.clone(),
            names: names.clone(),
            calls: 0,
            same: 0,
            without_tape: 0,
            skipped: None,
            first: None,
            classes: BTreeMap::new(),
        };
        let mut plugins: BTreeMap<PluginName, Plugin> = BTreeMap::new();
        for name in &names {
            match stage.load(&start.deployment, name, manifest.kind, bytes.clone()).await {
                Ok(plugin) => {
                    plugins.insert(name.clone(), plugin);
                }
                Err(e) => of_run.skipped = Some(e.to_string()),
            }
        }
        if names.is_empty() {
            of_run.skipped = Some(format!("no plugin of this run is `{}`: name one with `--as`", manifest.name));
        }
        let mut tapes = Tapes::of(journal, run);
        while manifest.kind != Kind::Strategy && !plugins.is_empty() {
            let page = tapes.page().await?;
            if page.is_empty() {
                break;
            }
            for stored in page {
                let tape = match stored.body.as_deref().map(Tape::parse) {
                    Some(Ok(tape)) if !plugins.contains_key(&tape.plugin) => continue,
                    Some(Ok(tape)) if !tape.cut => tape,
                    _ => {
                        of_run.without_tape += 1;
                        continue;
                    }
                };
                let Some(plugin) = plugins.get(&tape.plugin) else { continue };
                let divergence = play(plugin, &tape, Matching::Compare).await;
                of_run.count(divergence.map(|divergence| CallDifference {
                    call: Some(stored.call),
                    seq: None,
                    service: tape.service,
                    plugin: tape.plugin,
                    function: tape.function,
                    replay: match tape.replay {
                        Replay::Exact => ReplayKind::Exact,
                        Replay::BestEffort => ReplayKind::BestEffort,
                    },
                    divergence,
                }));
            }
        }
        if manifest.kind == Kind::Strategy {
            for asked in strategy_calls(run, &start, &entries)? {
                let Some(plugin) = plugins.get(&asked.plugin) else { continue };
                let divergence = decide(plugin, &start, &asked.service, &asked.order, &asked.outcome).await;
                of_run.count(divergence.map(|divergence| asked.difference(divergence)));
            }
        }
        report.add(of_run);
    }
    Ok(report)
}

impl BacktestRun {
    /// Whether anything was compared in this run, under every name of the plugin.
    #[must_use]
    pub fn is_compared(&self) -> bool {
        self.skipped.is_none() && self.calls > 0
    }

    fn is_complete(&self) -> bool {
        self.is_compared() && self.without_tape == 0
    }

    fn count(&mut self, difference: Option<CallDifference>) {
        self.calls += 1;
        let class = difference.as_ref().map_or("same", |difference| difference.divergence.class.as_str());
        *self.classes.entry(class.to_owned()).or_default() += 1;
        match difference {
            None => self.same += 1,
            Some(difference) => {
                self.first.get_or_insert(difference);
            }
        }
    }
}

/// The names under which a plugin takes part in a run.
fn names(start: &RunStart, as_name: Option<&PluginName>, manifest: &str) -> Vec<PluginName> {
    let is = |name: &PluginName, identity: &str| match as_name {
        Some(wanted) => wanted == name,
        None => identity.split(' ').next() == Some(manifest),
    };
    start.plugins.iter().filter(|(name, identity)| is(name, identity)).map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(skipped: Option<&str>, without_tape: u64, classes: &[(&str, u64)]) -> BacktestRun {
        let classes: BTreeMap<String, u64> = classes.iter().map(|(class, n)| ((*class).to_owned(), *n)).collect();
        BacktestRun {
            run: RunId::new("01m823eay0f8wpf5k3t65bvmqy").unwrap(),
            names: Vec::new(),
            calls: classes.values().sum(),
            same: classes.get("same").copied().unwrap_or_default(),
            without_tape,
            skipped: skipped.map(str::to_owned),
            first: None,
            classes,
        }
    }

    fn report(runs: Vec<BacktestRun>) -> Backtest {
        let mut report = Backtest {
            version: 1,
            plugin: "p 1".to_owned(),
            digest: Digest::of(b"p"),
            runs: Vec::new(),
            compared: 0,
            complete: !runs.is_empty(),
            classes: BTreeMap::new(),
        };
        runs.into_iter().for_each(|run| report.add(run));
        report
    }

    #[test]
    fn where_nothing_was_compared_nothing_is_the_same() {
        let same = || run(None, 0, &[("same", 3)]);
        for (runs, compared, complete, is_same) in [
            (vec![], 0, false, false),
            (vec![run(None, 37, &[])], 0, false, false),
            (vec![run(Some("it is not there"), 0, &[])], 0, false, false),
            (vec![same()], 3, true, true),
            (vec![same(), run(None, 37, &[])], 3, false, true),
            (vec![same(), run(Some("it is not there"), 0, &[])], 3, false, true),
            (vec![run(None, 1, &[("same", 3)])], 3, false, true),
            (vec![same(), run(None, 0, &[("same", 3), ("missing", 1)])], 7, true, false),
        ] {
            let report = report(runs);
            assert_eq!(
                (report.compared, report.complete, report.is_same()),
                (compared, complete, is_same),
                "{report:?}"
            );
        }
    }
}
