//! One measurement becomes one verdict.

use crate::{Verdict, model::Metric};
use cel::{Context, ExecutionError, Program, Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One measurement, as a probe returned it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// The probe's own opinion.
    pub verdict: Verdict,
    /// What was seen, in one line.
    pub summary: String,
    /// What conditions can refer to as `result.NAME`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, f64>,
    /// What was found, as text: `result.facts["NAME"]`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
}

/// A condition in the Common Expression Language (<https://cel.dev>) over one variable, `result`.
#[derive(Debug)]
pub struct Condition {
    source: String,
    program: Program,
}

/// The longest condition, in bytes.
const LONGEST: usize = 1024;

/// Why a condition gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// It refers to a value that the measurement does not have.
    Missing(String),
    /// It cannot be evaluated.
    Error(String),
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(source: &str) -> Result<Self, String> {
        // The parser recurses: a hostile expression would use up the stack.
        if source.len() > LONGEST {
            return Err(format!("a condition has {LONGEST} bytes at the most, this one has {}", source.len()));
        }
        let program = Program::compile(source).map_err(|e| format!("`{source}` is not a CEL expression: {e}"))?;
        if let Some(unknown) = program.references().variables().into_iter().find(|name| *name != "result") {
            return Err(format!("`{source}` refers to `{unknown}`, but a condition can only refer to `result`"));
        }
        Ok(Self { source: source.to_owned(), program })
    }

    /// Whether the condition holds for a measurement.
    ///
    /// # Errors
    /// What keeps it from an answer: it must never be taken for a yes or a no.
    pub fn holds(&self, sample: &Sample) -> Result<bool, NoAnswer> {
        let mut context = Context::default();
        let mut result: std::collections::HashMap<String, Value> =
            sample.values.iter().map(|(name, value)| (name.clone(), Value::Float(*value))).collect();
        result.insert("verdict".to_owned(), sample.verdict.as_str().into());
        result.insert("summary".to_owned(), sample.summary.as_str().into());
        let facts: std::collections::HashMap<String, Value> =
            sample.facts.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        result.insert("facts".to_owned(), Value::Map(facts.into()));
        context.add_variable_from_value("result", Value::Map(result.into()));
        match self.program.execute(&context) {
            Ok(Value::Bool(answer)) => Ok(answer),
            Ok(other) => Err(NoAnswer::Error(format!("`{}` gives {other:?}, not true or false", self.source))),
            Err(ExecutionError::NoSuchKey(name)) => Err(NoAnswer::Missing(name.to_string())),
            Err(e) => Err(NoAnswer::Error(format!("`{}`: {e}", self.source))),
        }
    }
}

/// The verdict on one measurement, and why.
///
/// A measurement that failed, or that was empty, stays so whatever the conditions say. A value that is not a number
/// (0/0 requests) is no data.
#[must_use]
pub fn judge(metric: &Metric, sample: &Sample) -> (Verdict, String) {
    if matches!(sample.verdict, Verdict::Error | Verdict::NoData) {
        return (sample.verdict, sample.summary.clone());
    }
    if let Some((name, _)) = sample.values.iter().find(|(_, value)| value.is_nan()) {
        return (Verdict::NoData, format!("`{name}` is not a number"));
    }
    let ask = |source: &Option<String>| match source {
        None => Ok(None),
        Some(source) => match Condition::parse(source).map_err(NoAnswer::Error).and_then(|c| c.holds(sample)) {
            Ok(answer) => Ok(Some(answer)),
            Err(NoAnswer::Missing(name)) => Err((Verdict::NoData, format!("the measurement has no `{name}`"))),
            Err(NoAnswer::Error(why)) => Err((Verdict::Error, why)),
        },
    };
    let (success, failure) = match (ask(&metric.success_condition), ask(&metric.failure_condition)) {
        (Ok(success), Ok(failure)) => (success, failure),
        (Err(e), _) | (_, Err(e)) => return e,
    };
    let why = |condition: &Option<String>, word: &str| {
        format!("{word} `{}`: {}", condition.as_deref().unwrap_or_default(), sample.summary)
    };
    match (success, failure) {
        (_, Some(true)) => (Verdict::Fail, why(&metric.failure_condition, "meets")),
        (Some(true), _) => (Verdict::Pass, sample.summary.clone()),
        (Some(false), None) => (Verdict::Fail, why(&metric.success_condition, "does not meet")),
        (Some(false), Some(false)) => (Verdict::Inconclusive, sample.summary.clone()),
        (None, Some(false)) => (Verdict::Pass, sample.summary.clone()),
        // Without any condition the probe's own opinion is all there is.
        (None, None) => (sample.verdict, sample.summary.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Millis, PluginName, model::DryRun};

    fn metric(success: Option<&str>, failure: Option<&str>) -> Metric {
        Metric {
            name: PluginName::new("m").unwrap(),
            probe: PluginName::new("p").unwrap(),
            interval: None,
            initial_delay: Millis::ZERO,
            count: None,
            success_condition: success.map(str::to_owned),
            failure_condition: failure.map(str::to_owned),
            failure_limit: Some(0),
            inconclusive_limit: 0,
            consecutive_error_limit: 4,
            consecutive_no_data_limit: 4,
            consecutive_success_limit: 0,
            min_samples: 1,
            dry_run: DryRun::No,
        }
    }

    fn sample(rate: f64) -> Sample {
        Sample {
            verdict: Verdict::Pass,
            summary: "seen".into(),
            values: [("rate".to_owned(), rate)].into(),
            facts: [("era".to_owned(), "modern".to_owned())].into(),
        }
    }

    #[test]
    fn the_table_of_conditions() {
        let verdict = |s, f, rate| judge(&metric(s, f), &sample(rate)).0;
        let (s, f) = (Some("result.rate >= 0.95"), Some("result.rate < 0.5"));
        assert_eq!(verdict(s, None, 0.99), Verdict::Pass);
        assert_eq!(verdict(s, None, 0.9), Verdict::Fail);
        assert_eq!(verdict(None, f, 0.9), Verdict::Pass);
        assert_eq!(verdict(None, f, 0.4), Verdict::Fail);
        assert_eq!(verdict(s, f, 0.4), Verdict::Fail);
        assert_eq!(verdict(s, f, 0.7), Verdict::Inconclusive);
        assert_eq!(verdict(s, f, 0.99), Verdict::Pass);
        assert_eq!(verdict(Some("result.rate == 1"), None, 1.0), Verdict::Pass, "a whole number compares with a float");
        assert_eq!(verdict(Some("result.facts['era'] == 'modern'"), None, 1.0), Verdict::Pass);
        assert_eq!(verdict(Some("result.verdict == 'pass'"), None, 1.0), Verdict::Pass);
    }

    #[test]
    fn what_cannot_be_judged_is_never_a_pass() {
        let verdict = |s, rate| judge(&metric(Some(s), None), &sample(rate)).0;
        assert_eq!(verdict("result.other > 1.0", 1.0), Verdict::NoData);
        assert_eq!(verdict("result.rate >= 0.0", f64::NAN), Verdict::NoData);
        assert_eq!(verdict("result.rate", 1.0), Verdict::Error);
        assert_eq!(verdict("result.rate > 'x'", 1.0), Verdict::Error);
        for own in [Verdict::Error, Verdict::NoData] {
            let sample = Sample { verdict: own, ..sample(1.0) };
            assert_eq!(judge(&metric(Some("true"), None), &sample).0, own);
        }
    }

    #[test]
    fn a_condition_that_is_none_is_refused() {
        assert!(Condition::parse("result.rate >=").is_err());
        assert!(Condition::parse("rate > 1").unwrap_err().contains("can only refer to `result`"));
        assert!(Condition::parse("result.rate > 1.0 && result.p95 < 200.0").is_ok());
    }
}
