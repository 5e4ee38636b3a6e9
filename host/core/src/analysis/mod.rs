//! Analyses: repeated measurements under limits, ending in one verdict.
//!
//! The rules and their names are Argo Rollouts' (`analysis/analysis.go`, `utils/evaluate/evaluate.go`), with three
//! deliberate differences: an empty measurement is [`Verdict::NoData`] with a counter of its own and never a success;
//! a metric that ends before it measured anything is inconclusive; a pass needs a minimum of samples.

mod condition;
mod metric;

pub use condition::{Condition, Sample, judge};
pub use metric::{MetricRun, Stop};

use crate::Verdict;

/// The verdict of an analysis: the worst of its metrics that count. One without any that counts has judged nothing.
#[must_use]
pub fn overall(metrics: &[MetricRun]) -> Verdict {
    Verdict::worst(metrics.iter().filter(|m| m.counts()).map(|m| m.verdict().unwrap_or(Verdict::Inconclusive)))
}
