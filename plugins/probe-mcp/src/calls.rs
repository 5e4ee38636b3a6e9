//! Calling a tool, and judging what it answers.

use crate::Seen;
use crate::canonical::canonical;
use crate::client::{Client, Exchange, Server, Stop, elapsed, told};
use crate::config::{Call, Expect};
use crate::rpc::mirrored;
use serde_json::{Value, json};

/// What the calls came to.
pub(crate) struct Calls {
    good: u32,
    failures: u32,
    /// Those that asked for input: neither good nor bad.
    asking: u32,
    latencies: Vec<f64>,
    first: Option<String>,
}

impl Calls {
    /// Calls the tool as often as configured, at once.
    pub(crate) fn make(client: &mut Client<'_>, server: &Server, call: &Call, tool: &Value) -> Result<Self, Stop> {
        let arguments = Value::Object(call.arguments.clone());
        let headers =
            mirrored(tool, &arguments).map_err(|why| Stop::Fail(format!("the tool `{}`: {why}", call.tool)))?;
        let params = json!({"name": call.tool, "arguments": arguments});
        let mut calls = Self { good: 0, failures: 0, asking: 0, latencies: Vec::new(), first: None };
        for exchange in client.many(server, "tools/call", &params, &headers, call.count)? {
            let outcome = match &exchange {
                Ok(exchange) => {
                    calls.latencies.push(elapsed(&exchange.response));
                    judge(exchange, &call.expect)
                }
                Err(error) => Outcome::Wrong(error.to_string()),
            };
            match outcome {
                Outcome::Good => calls.good += 1,
                Outcome::Asks => calls.asking += 1,
                Outcome::Wrong(why) => {
                    calls.failures += 1;
                    calls.first.get_or_insert(why);
                }
            }
        }
        calls.latencies.sort_by(f64::total_cmp);
        Ok(calls)
    }

    /// Adds values and verdict to what was seen.
    pub(crate) fn report(&self, call: &Call, seen: &mut Seen) {
        let judged = self.good + self.failures;
        seen.value("calls", judged);
        seen.value("failures", self.failures);
        for (name, percent) in [("latency_ms", 50), ("latency_p95_ms", 95), ("latency_max_ms", 100)] {
            if let Some(latency) = percentile(&self.latencies, percent) {
                seen.value(name, latency);
            }
        }
        if self.asking > 0 {
            seen.unsure.push(format!("`{}` asks for input, which a probe cannot give", call.tool));
        }
        if judged == 0 {
            return;
        }
        let rate = f64::from(self.good) / f64::from(judged);
        seen.value("success_rate", rate);
        let mut words = format!("{} of {judged} calls of `{}` succeeded", self.good, call.tool);
        if let Some(first) = &self.first {
            words.push_str(&format!(" ({first})"));
        }
        if rate >= call.min_success_rate {
            seen.good.push(words);
        } else {
            seen.wrong.push(words);
        }
    }
}

enum Outcome {
    Good,
    Asks,
    Wrong(String),
}

fn judge(exchange: &Exchange, expect: &Expect) -> Outcome {
    let result = match &exchange.message {
        None => return Outcome::Wrong(told(&exchange.response)),
        Some(Err(error)) => return Outcome::Wrong(error.to_string()),
        Some(Ok(result)) => result,
    };
    if result.get("resultType").and_then(Value::as_str) == Some("input_required") {
        return Outcome::Asks;
    }
    let text = text_of(result);
    let said = || text.lines().next().unwrap_or_default().chars().take(120).collect::<String>();
    if result.get("isError").and_then(Value::as_bool) == Some(true) {
        return Outcome::Wrong(format!("the tool failed: {}", said()));
    }
    if let Some(missing) = expect.contains.iter().find(|part| !text.contains(part.as_str())) {
        return Outcome::Wrong(format!("the result does not contain `{missing}`: {}", said()));
    }
    for (pointer, wanted) in &expect.json {
        match result.pointer(pointer) {
            Some(found) if canonical(found) == canonical(wanted) => {}
            Some(found) => return Outcome::Wrong(format!("`{pointer}` is {found} and should be {wanted}")),
            None => return Outcome::Wrong(format!("`{pointer}` is missing and should be {wanted}")),
        }
    }
    match expect.max_latency.map(|most| most.0.as_secs_f64() * 1000.0) {
        Some(most) if elapsed(&exchange.response) > most => {
            Outcome::Wrong(format!("took {:.1} ms, more than {most:.1} ms", elapsed(&exchange.response)))
        }
        _ => Outcome::Good,
    }
}

/// The text of a result: of its text blocks, and of its structured content.
fn text_of(result: &Value) -> String {
    let blocks = result.get("content").and_then(Value::as_array);
    let texts = blocks.into_iter().flatten().filter_map(|block| block.get("text").and_then(Value::as_str));
    let structured = result.get("structuredContent").map(Value::to_string);
    texts.map(str::to_owned).chain(structured).collect::<Vec<_>>().join("\n")
}

/// The smallest time that so many of a hundred did not exceed (nearest rank).
fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}
