//! Analyses of a service while they run: which measurement is due, and what all of them came to.

use super::{Effect, Order};
use crate::analysis::{MetricRun, Sample, Stop, overall};
use crate::event::Body;
use crate::model::Analysis;
use crate::{Millis, PluginName, RevisionId, Timestamp, Verdict};
use std::collections::BTreeMap;

/// Some analyses, run together towards one verdict.
#[derive(Debug)]
pub(super) struct Analyses {
    names: Vec<PluginName>,
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    analysis: PluginName,
    run: MetricRun,
    order: Option<u32>,
    handed_out: bool,
}

impl Analyses {
    /// Starts them. A name that does not exist gives an analysis without metrics, which is never a pass.
    pub(super) fn start(
        names: &[PluginName],
        all: &BTreeMap<PluginName, Analysis>,
        stop: Stop,
        now: Timestamp,
    ) -> Self {
        let slots = names
            .iter()
            .filter_map(|name| Some((name, all.get(name)?)))
            .flat_map(|(name, analysis)| {
                analysis.metrics.iter().map(|metric| Slot {
                    analysis: name.clone(),
                    run: MetricRun::new(metric.clone(), stop, now),
                    order: None,
                    handed_out: false,
                })
            })
            .collect();
        Self { names: names.to_vec(), slots }
    }

    /// Gives every measurement that is due a number.
    pub(super) fn number(&mut self, next_id: &mut u32) {
        for slot in &mut self.slots {
            if slot.order.is_none() && slot.run.due().is_some() {
                slot.order = Some(*next_id);
                slot.handed_out = false;
                *next_id = next_id.saturating_add(1);
            }
        }
    }

    /// The measurements to hand out.
    pub(super) fn orders(&self, revision: Option<&RevisionId>) -> Vec<Order> {
        self.slots
            .iter()
            .filter(|slot| !slot.handed_out)
            .filter_map(|slot| {
                Some(Order {
                    id: slot.order?,
                    effect: Effect::Measure {
                        analysis: slot.analysis.clone(),
                        metric: slot.run.metric().name.clone(),
                        probe: slot.run.metric().probe.clone(),
                        revision: revision.cloned(),
                    },
                    not_before: slot.run.due()?,
                    attempt: 1,
                    state: None,
                })
            })
            .collect()
    }

    /// Whether there are measurements to hand out.
    pub(super) fn has_orders(&self) -> bool {
        self.slots.iter().any(|slot| !slot.handed_out && slot.order.is_some() && slot.run.due().is_some())
    }

    /// Notes that a measurement was handed out. Returns whether it is one of these.
    pub(super) fn intended(&mut self, id: u32) -> bool {
        self.slots.iter_mut().find(|s| s.order == Some(id)).map(|s| s.handed_out = true).is_some()
    }

    /// Whether the number is one of a measurement that is under way.
    pub(super) fn has(&self, id: u32) -> bool {
        self.slots.iter().any(|s| s.order == Some(id))
    }

    /// Takes effects whose outcome is not known for not handed out.
    pub(super) fn reopen(&mut self) {
        for slot in &mut self.slots {
            slot.handed_out = false;
        }
    }

    /// Takes a measurement in.
    pub(super) fn measured(&mut self, id: u32, sample: &Sample, at: Timestamp) -> Option<Body> {
        let slot = self.slots.iter_mut().find(|s| s.order == Some(id))?;
        slot.order = None;
        slot.handed_out = false;
        let (verdict, summary) = slot.run.record(sample, at);
        Some(Body::MetricMeasured {
            analysis: slot.analysis.clone(),
            metric: slot.run.metric().name.clone(),
            verdict,
            summary,
            values: sample.values.clone(),
            taken: slot.run.taken(),
        })
    }

    /// The verdict, if there is one: a verdict other than `pass` of any metric that counts ends them all, a pass needs
    /// every one of them.
    pub(super) fn verdict(&self) -> Option<(Verdict, String)> {
        let counting: Vec<&Slot> = self.slots.iter().filter(|s| s.run.counts()).collect();
        if counting.is_empty() {
            return Some((Verdict::NoData, "no metric counts".to_owned()));
        }
        let worst = counting.iter().filter_map(|s| Some((s.run.verdict()?, s))).max_by_key(|(verdict, _)| *verdict);
        let all_ended = counting.iter().all(|s| s.run.verdict().is_some());
        match worst {
            Some((verdict, slot)) if !verdict.moves_forward() || all_ended => {
                let overall = Verdict::worst(counting.iter().filter_map(|s| s.run.verdict()));
                Some((overall, format!("{}: {}", slot.run.metric().name, slot.run.reason())))
            }
            _ => None,
        }
    }

    /// Ends them: what was measured decides.
    pub(super) fn close(&mut self) -> (Verdict, String) {
        for slot in &mut self.slots {
            slot.run.close();
        }
        let runs: Vec<MetricRun> = self.slots.iter().map(|s| s.run.clone()).collect();
        self.verdict().unwrap_or_else(|| (overall(&runs), "ended".to_owned()))
    }

    /// Whether a measurement is under way.
    pub(super) fn is_measuring(&self) -> bool {
        self.slots.iter().any(|slot| slot.order.is_some() && slot.handed_out)
    }

    /// Takes measurements back that were handed out and are not due yet.
    pub(super) fn withdraw(&mut self, now: Timestamp) {
        for slot in self.slots.iter_mut().filter(|slot| slot.handed_out && slot.run.due().is_some_and(|due| due > now))
        {
            slot.handed_out = false;
            slot.order = None;
        }
    }

    /// Moves everything that is due later by the time of a pause.
    pub(super) fn shift(&mut self, from: Timestamp, to: Timestamp) {
        for slot in &mut self.slots {
            slot.run.shift(from, to);
        }
    }

    /// The longest interval: what a conclusion has to wait for.
    pub(super) fn longest_interval(&self) -> Millis {
        self.slots.iter().filter_map(|s| s.run.metric().interval).max().unwrap_or(Millis::ZERO)
    }

    /// Which analyses these are.
    pub(super) fn names(&self) -> &[PluginName] {
        &self.names
    }
}
