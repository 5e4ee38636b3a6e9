//! Probes: one measurement each.

use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::doors::ProbeWorld;
use crate::failure::{Failure, FailureCode};
use crate::values::{Extras, Verdict};

pub use crate::bindings::probe::exports::basb::host::probe::{Info, Measurement, Target, ValueInfo};

/// What accompanies a probe's call: the time, and the doors `log`, `http`, `tcp`, `exec`.
pub type ProbeContext = Context<ProbeWorld>;

/// Takes one measurement.
pub trait Probe {
    /// The configuration; the host has checked it against the schema in the manifest.
    type Config: DeserializeOwned;

    /// What the probe measures. Makes no request.
    fn describe() -> Info;

    /// Measures once.
    ///
    /// # Errors
    /// A failure becomes a measurement with the verdict `error`, or `fail` when its code is
    /// [`FailureCode::Unhealthy`]: so `?` does what is meant.
    fn check(cx: &ProbeContext, config: &Self::Config, target: &Target) -> Result<Measurement, Failure>;
}

impl Info {
    /// Measures nothing but its verdict so far.
    pub fn new() -> Info {
        Info { values: Vec::new(), extras: Vec::new() }
    }

    /// Adds a value that the probe measures; `unit` is empty for a plain number.
    #[must_use]
    pub fn value(mut self, name: impl Into<String>, unit: impl Into<String>, meaning: impl Into<String>) -> Info {
        self.values.push(ValueInfo { name: name.into(), unit: unit.into(), meaning: meaning.into() });
        self
    }
}

impl Default for Info {
    fn default() -> Info {
        Info::new()
    }
}

impl Target {
    /// A named value for which no field exists yet.
    pub fn extra(&self, name: &str) -> Option<&str> {
        crate::values::extra(&self.extras, name)
    }
}

impl Measurement {
    /// A measurement without values.
    pub fn new(verdict: Verdict, summary: impl Into<String>) -> Measurement {
        Measurement { verdict, summary: summary.into(), values: Vec::new(), facts: Vec::new() }
    }

    /// The condition for success was met.
    pub fn pass(summary: impl Into<String>) -> Measurement {
        Measurement::new(Verdict::Pass, summary)
    }

    /// The condition for failure was met.
    pub fn fail(summary: impl Into<String>) -> Measurement {
        Measurement::new(Verdict::Fail, summary)
    }

    /// The measurement itself failed.
    pub fn error(summary: impl Into<String>) -> Measurement {
        Measurement::new(Verdict::Error, summary)
    }

    /// The measurement succeeded and held nothing to judge.
    pub fn no_data(summary: impl Into<String>) -> Measurement {
        Measurement::new(Verdict::NoData, summary)
    }

    /// `pass` where the condition holds, and else `fail`.
    pub fn pass_if(condition: bool, summary: impl Into<String>) -> Measurement {
        if condition { Measurement::pass(summary) } else { Measurement::fail(summary) }
    }

    /// Adds a value that conditions can refer to.
    #[must_use]
    pub fn value(mut self, name: impl Into<String>, value: impl Into<f64>) -> Measurement {
        self.values.push((name.into(), value.into()));
        self
    }

    /// Adds something found, as text.
    #[must_use]
    pub fn fact(mut self, name: impl Into<String>, value: impl Into<String>) -> Measurement {
        self.facts.push((name.into(), value.into()));
        self
    }

    /// A value by name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    /// A fact by name.
    pub fn get_fact(&self, name: &str) -> Option<&str> {
        crate::values::extra(&self.facts, name)
    }
}

impl From<Failure> for Measurement {
    fn from(failure: Failure) -> Measurement {
        let verdict = if failure.code == FailureCode::Unhealthy { Verdict::Fail } else { Verdict::Error };
        let facts: Extras = failure.extras;
        Measurement { verdict, summary: failure.message, values: Vec::new(), facts }
    }
}
