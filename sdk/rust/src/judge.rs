//! Judges: compare samples of the candidate with samples of a baseline. Pure functions.

use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::values::{Extras, Verdict};

/// The samples of one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The metric's name.
    pub metric: String,
    /// Of the baseline.
    pub baseline: Vec<f64>,
    /// Of the candidate.
    pub candidate: Vec<f64>,
    /// Named values for which no field exists yet.
    pub extras: Extras,
}

/// What one metric came to.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricJudgement {
    /// The metric's name.
    pub metric: String,
    /// What it came to.
    pub verdict: Verdict,
    /// Why, in one line.
    pub reason: String,
}

/// What all came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// Overall.
    pub verdict: Verdict,
    /// From 0 to 100, where the judge has one.
    pub score: Option<f64>,
    /// Each metric.
    pub metrics: Vec<MetricJudgement>,
}

/// Compares samples.
pub trait Judge {
    /// The configuration; the host has checked it against the schema in the manifest.
    type Config: DeserializeOwned;

    /// Judges.
    ///
    /// # Errors
    /// Where the samples cannot be judged at all; a metric that cannot is a verdict, not an error.
    fn judge(config: &Self::Config, series: &[Series]) -> Result<Judgement, Failure>;
}
