//! Sends HTTP requests to the service and checks status, body and latency.
//!
//! **Must never** count what it could not measure as a success, nor as a failure of the service: a request that the
//! host refuses makes the measurement an error.

mod config;

pub use config::{Config, Expect, StatusRange};

use basb_plugin::http::{HttpError, Request, Response};
use basb_plugin::probe::{Info, Measurement, Probe, ProbeContext, Target};
use basb_plugin::{Failure, Verdict};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// The probe.
#[derive(Debug)]
pub struct HttpProbe;

impl Probe for HttpProbe {
    type Config = Config;

    fn describe() -> Info {
        Info::new()
            .value("success_rate", "", "the share of the requests that succeeded, from 0 to 1")
            .value("requests", "", "how many requests were sent")
            .value("failures", "", "how many of them did not succeed")
            .value("latency_ms", "ms", "the median time of a response; absent where there was none")
            .value("latency_p95_ms", "ms", "the time that 95 of 100 responses did not exceed")
            .value("latency_max_ms", "ms", "the time of the slowest response")
            .value("status", "", "the status of the first response that did not succeed, or else of the last one")
    }

    fn check(cx: &ProbeContext, config: &Config, target: &Target) -> Result<Measurement, Failure> {
        let url = format!("{}{}", target.url.trim_end_matches('/'), config.path);
        if config.requests == 0 {
            return Ok(Measurement::no_data("no request was asked for").fact("url", url));
        }
        let mut request = Request::new(&config.method, &url).body(config.body.clone()).timeout(config.timeout.0);
        for (name, value) in &config.headers {
            request = request.header(name, value);
        }
        let count = usize::try_from(config.requests).unwrap_or(usize::MAX);
        let answers = cx.http().send_many(vec![request; count]);
        Ok(judge(config, &answers).fact("url", url))
    }
}

basb_plugin::export!(HttpProbe as probe);

/// What all answers together come to.
fn judge(config: &Config, answers: &[Result<Response, HttpError>]) -> Measurement {
    let mut latencies = Vec::new();
    let mut statuses: BTreeMap<String, u32> = BTreeMap::new();
    let (mut failures, mut first, mut status) = (0u32, None, None);
    for answer in answers {
        let wrong = match answer {
            Ok(response) => {
                latencies.push(response.timing.total);
                *statuses.entry(response.status.to_string()).or_default() += 1;
                let wrong = objection(&config.expect, response);
                if first.is_none() {
                    status = Some(response.status);
                }
                wrong
            }
            Err(error) if service_is_to_blame(error) => {
                *statuses.entry("none".to_owned()).or_default() += 1;
                Some(error.to_string())
            }
            // What was not measured says nothing about the service.
            Err(error) => return Failure::from(error.clone()).into(),
        };
        if let Some(wrong) = wrong {
            failures += 1;
            first.get_or_insert(wrong);
        }
    }
    let sent = u32::try_from(answers.len()).unwrap_or(u32::MAX);
    let rate = f64::from(sent - failures) / f64::from(sent.max(1));
    let verdict = if rate >= config.min_success_rate { Verdict::Pass } else { Verdict::Fail };
    latencies.sort_unstable();
    let median = percentile(&latencies, 50);
    let mut summary = match (sent, status) {
        (1, Some(status)) => format!("answered {status}"),
        (1, None) => "no answer".to_owned(),
        _ => format!("{} of {sent} requests succeeded", sent - failures),
    };
    if let Some(median) = median {
        summary.push_str(&format!(" in {:.1} ms", millis(median)));
    }
    if let Some(first) = &first {
        summary.push_str(": ");
        summary.push_str(first);
    }
    let mut measurement = Measurement::new(verdict, summary)
        .value("success_rate", rate)
        .value("requests", sent)
        .value("failures", failures);
    for (name, percent) in [("latency_ms", 50), ("latency_p95_ms", 95), ("latency_max_ms", 100)] {
        if let Some(latency) = percentile(&latencies, percent) {
            measurement = measurement.value(name, millis(latency));
        }
    }
    if let Some(status) = status {
        measurement = measurement.value("status", status);
    }
    let statuses: Vec<String> = statuses.iter().map(|(status, count)| format!("{status}: {count}")).collect();
    measurement = measurement.fact("statuses", statuses.join(", "));
    match first {
        Some(first) => measurement.fact("failure", first),
        None => measurement,
    }
}

/// Whether a missing answer is the service's doing. A grant, a name or a limit is not.
fn service_is_to_blame(error: &HttpError) -> bool {
    matches!(error, HttpError::Connect(_) | HttpError::Tls(_) | HttpError::TimedOut(_) | HttpError::Broken(_))
}

/// What is wrong with a response, if anything is.
fn objection(expect: &Expect, response: &Response) -> Option<String> {
    if !expect.status.iter().any(|range| (range.from..=range.to).contains(&response.status)) {
        let excerpt = response.excerpt(120);
        let colon = if excerpt.is_empty() { "" } else { ": " };
        return Some(format!("status {} is not expected{colon}{excerpt}", response.status));
    }
    if let Some(most) = expect.max_latency.map(|most| most.0).filter(|most| response.timing.total > *most) {
        return Some(format!("took {:.1} ms, more than {:.1} ms", millis(response.timing.total), millis(most)));
    }
    let text = if expect.contains.is_empty() { String::new() } else { response.text() };
    if let Some(missing) = expect.contains.iter().find(|part| !text.contains(part.as_str())) {
        return Some(format!("the body does not contain `{missing}`: {}", response.excerpt(120)));
    }
    if expect.json.is_empty() {
        return None;
    }
    let Ok(body) = serde_json::from_slice::<Value>(&response.body) else {
        return Some(format!("the body is no JSON: {}", response.excerpt(120)));
    };
    expect.json.iter().find_map(|(pointer, wanted)| match body.pointer(pointer) {
        Some(found) if same(found, wanted) => None,
        Some(found) => Some(format!("`{pointer}` is {found} and should be {wanted}")),
        None => Some(format!("`{pointer}` is missing and should be {wanted}")),
    })
}

/// Equal, where numbers are equal by value: 1 and 1.0 are.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

/// The smallest time that so many of a hundred did not exceed (nearest rank).
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests;
