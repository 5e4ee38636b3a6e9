//! What can be configured, and how it reads.

use basb_plugin::config::HumanDuration;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// The configuration; its meaning is told in the schema of the manifest.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// Path and query.
    pub path: String,
    /// The request's method.
    pub method: String,
    /// Headers of the request.
    pub headers: BTreeMap<String, String>,
    /// The request's body.
    pub body: String,
    /// How many requests make one measurement.
    pub requests: u32,
    /// The longest to wait for a response.
    pub timeout: HumanDuration,
    /// The share of the requests that must succeed.
    pub min_success_rate: f64,
    /// What makes a request succeed.
    pub expect: Expect,
}

/// What makes a request succeed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Expect {
    /// The status codes that are right.
    pub status: Vec<StatusRange>,
    /// Texts that the body must contain.
    pub contains: Vec<String>,
    /// Values that the body must have, by JSON pointer.
    pub json: BTreeMap<String, Value>,
    /// The longest that a response may take.
    pub max_latency: Option<HumanDuration>,
}

/// Status codes from one to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub struct StatusRange {
    /// The first.
    pub from: u16,
    /// The last.
    pub to: u16,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: "/".to_owned(),
            method: "GET".to_owned(),
            headers: BTreeMap::new(),
            body: String::new(),
            requests: 1,
            timeout: HumanDuration(Duration::from_secs(5)),
            min_success_rate: 1.0,
            expect: Expect::default(),
        }
    }
}

impl Default for Expect {
    fn default() -> Self {
        Self {
            status: vec![StatusRange { from: 200, to: 299 }],
            contains: Vec::new(),
            json: BTreeMap::new(),
            max_latency: None,
        }
    }
}

impl TryFrom<Value> for StatusRange {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let wrong = || format!("{value} is no status code and no range such as \"200-299\"");
        let code = |text: &str| text.trim().parse::<u16>().ok().filter(|code| (100..=599).contains(code));
        let (from, to) = match &value {
            Value::Number(number) => (number.to_string(), number.to_string()),
            Value::String(text) => match text.split_once('-') {
                Some((from, to)) => (from.to_owned(), to.to_owned()),
                None => (text.clone(), text.clone()),
            },
            _ => return Err(wrong()),
        };
        match (code(&from), code(&to)) {
            (Some(from), Some(to)) if from <= to => Ok(Self { from, to }),
            _ => Err(wrong()),
        }
    }
}
