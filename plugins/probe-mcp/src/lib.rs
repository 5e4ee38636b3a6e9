//! Speaks MCP to the service, in whichever of the protocol's two eras it understands: is it alive, which tools has it,
//! did their contract change, do they work.
//!
//! **Must never** call a tool that the operator did not name, answer a server's request for input, or count what it
//! could not measure as a success.

mod calls;
mod canonical;
mod client;
mod config;
mod contract;
mod rpc;
mod schema;

pub use config::{Call, Config, ContractConfig, EraChoice, Expect, Level};

use basb_plugin::probe::{Info, Measurement, Probe, ProbeContext, Target};
use basb_plugin::{Failure, Verdict};
use calls::Calls;
use client::{Client, Era, Server, Stop};
use contract::{Changes, Contract};
use serde_json::{Value, json};

/// A contract longer than this is not kept as a fact; its digest is.
const MOST_CONTRACT: usize = 64 << 10;

/// The probe.
#[derive(Debug)]
pub struct McpProbe;

impl Probe for McpProbe {
    type Config = Config;

    fn describe() -> Info {
        Info::new()
            .value("success_rate", "", "the share of the tool calls that succeeded, from 0 to 1; absent without `call`")
            .value("calls", "", "how many tool calls were judged")
            .value("failures", "", "how many of them did not succeed")
            .value("latency_ms", "ms", "the median time of a tool call; absent without `call`")
            .value("latency_p95_ms", "ms", "the time that 95 of 100 tool calls did not exceed")
            .value("latency_max_ms", "ms", "the time of the slowest tool call")
            .value("tools", "", "how many tools the server has; absent when only liveness is measured")
            .value("connect_ms", "ms", "the time until the connection was there; 0 for one that was open")
            .value("handshake_ms", "ms", "the time of server/discover, or of initialize")
            .value("ping_ms", "ms", "the time of ping; legacy servers only")
            .value("tools_ms", "ms", "the time of tools/list, all pages")
            .value("bytes", "", "how many bytes were read")
    }

    fn check(cx: &ProbeContext, config: &Config, target: &Target) -> Result<Measurement, Failure> {
        let endpoint = format!("{}{}", target.url.trim_end_matches('/'), config.path);
        let mut client = Client::new(cx.http(), config, endpoint.clone());
        let mut seen = Seen::default();
        let stopped = match client.connect() {
            Ok(mut server) => {
                let stopped = measure(&mut client, &mut server, config, target, &mut seen).err();
                seen.fact("session.ended", client.end(&server).map(|status| status.to_string()));
                seen.fact("era", Some(if server.era == Era::Modern { "modern" } else { "legacy" }));
                seen.fact("version", Some(&server.version));
                seen.fact("server", server.name.clone());
                stopped
            }
            Err(stop) => Some(stop),
        };
        let mut measurement = seen.conclude(stopped, config.level)?;
        let times = &client.times;
        let handshake = if times.handshake > 0.0 { Some(times.handshake) } else { None };
        let steps = [
            ("connect_ms", times.connect),
            ("handshake_ms", handshake),
            ("ping_ms", times.ping),
            ("tools_ms", times.tools),
        ];
        for (name, took) in steps {
            if let Some(took) = took {
                measurement = measurement.value(name, took);
            }
        }
        let bytes = u32::try_from(client.bytes).unwrap_or(u32::MAX);
        Ok(measurement.value("bytes", bytes).fact("endpoint", endpoint))
    }
}

basb_plugin::export!(McpProbe as probe);

/// What was seen so far.
#[derive(Default)]
struct Seen {
    good: Vec<String>,
    wrong: Vec<String>,
    unsure: Vec<String>,
    values: Vec<(String, f64)>,
    facts: Vec<(String, String)>,
}

impl Seen {
    fn fact(&mut self, name: &str, value: Option<impl Into<String>>) {
        if let Some(value) = value {
            self.facts.push((name.to_owned(), value.into()));
        }
    }

    fn value(&mut self, name: &str, value: impl Into<f64>) {
        self.values.push((name.to_owned(), value.into()));
    }

    /// The verdict: the worst of what was seen.
    fn conclude(mut self, stopped: Option<Stop>, level: Level) -> Result<Measurement, Failure> {
        let mut state = None;
        match stopped {
            None => {}
            Some(Stop::Error(failure)) => return Err(failure),
            Some(Stop::Fail(why)) => self.wrong.push(why),
            Some(Stop::Inconclusive(why)) => self.unsure.push(why),
            Some(Stop::Unauthorized { status, challenge }) => {
                state = Some("unauthorized");
                self.fact("challenge", challenge);
                let words = format!("alive, but unauthorized (status {status})");
                match level {
                    Level::Liveness => self.good.push(words),
                    Level::Readiness => self.wrong.push(words),
                }
            }
        }
        let (verdict, said) = match (&self.wrong, &self.unsure) {
            (wrong, _) if !wrong.is_empty() => (Verdict::Fail, wrong),
            (_, unsure) if !unsure.is_empty() => (Verdict::Inconclusive, unsure),
            _ => (Verdict::Pass, &self.good),
        };
        let mut measurement = Measurement::new(verdict, said.join("; "));
        let state = state.unwrap_or(match verdict {
            Verdict::Pass if level == Level::Liveness => "alive",
            Verdict::Pass => "ready",
            Verdict::Inconclusive => "input-required",
            _ => "failing",
        });
        measurement = measurement.fact("state", state);
        if let Some(first) = self.wrong.first().or(self.unsure.first()) {
            measurement = measurement.fact("failure", first.as_str());
        }
        measurement.values.extend(self.values);
        measurement.facts.extend(self.facts);
        Ok(measurement)
    }
}

fn measure(
    client: &mut Client<'_>,
    server: &mut Server,
    config: &Config,
    target: &Target,
    seen: &mut Seen,
) -> Result<(), Stop> {
    seen.good.push(format!("MCP {}", server.version));
    if server.era == Era::Legacy {
        client.times.ping = Some(client.request(server, "ping", json!({}))?.1);
    }
    if config.level == Level::Liveness {
        return Ok(());
    }
    let contract = list_tools(client, server, config)?;
    let count = u32::try_from(contract.len()).unwrap_or(u32::MAX);
    seen.value("tools", count);
    seen.good.push(format!("{count} tools"));
    let missing: Vec<_> = config.expect_tools.iter().filter(|name| contract.tool(name).is_none()).collect();
    if !missing.is_empty() {
        let names: Vec<String> = missing.iter().map(|name| format!("`{name}`")).collect();
        seen.wrong.push(format!("tools that should be there are missing: {}", names.join(", ")));
    }
    compare(&contract, config, target, seen);
    let Some(call) = &config.call else { return Ok(()) };
    let Some(tool) = contract.tool(&call.tool) else {
        seen.wrong.push(format!("the tool `{}` is not there to be called", call.tool));
        return Ok(());
    };
    let calls = Calls::make(client, server, call, tool)?;
    calls.report(call, seen);
    Ok(())
}

/// All tools, all pages.
fn list_tools(client: &mut Client<'_>, server: &mut Server, config: &Config) -> Result<Contract, Stop> {
    if server.capabilities.get("tools").is_none() {
        return Ok(Contract::default());
    }
    let mut tools = Vec::new();
    let mut cursor: Option<String> = None;
    for _ in 0..config.max_pages {
        let params = cursor.as_ref().map_or_else(|| json!({}), |cursor| json!({"cursor": cursor}));
        let (mut page, took) = client.request(server, "tools/list", params)?;
        *client.times.tools.get_or_insert(0.0) += took;
        match page.get_mut("tools").map(Value::take) {
            Some(Value::Array(more)) => tools.extend(more),
            _ => return Err(Stop::Fail("tools/list: the result has no list of tools".to_owned())),
        }
        let next = page.get("nextCursor").and_then(Value::as_str).map(str::to_owned);
        match next {
            None => return Contract::of(&tools).map_err(|why| Stop::Fail(format!("tools/list: {why}"))),
            Some(next) if cursor.as_ref() == Some(&next) => {
                return Err(Stop::Fail(format!("tools/list: the page after `{next}` is that page again")));
            }
            Some(next) => cursor = Some(next),
        }
    }
    Err(Stop::Fail(format!("tools/list has not ended after {} pages", config.max_pages)))
}

/// The contract against what it should be.
fn compare(contract: &Contract, config: &Config, target: &Target, seen: &mut Seen) {
    let (digest, text) = (contract.digest(), contract.text());
    let mut breaking = Vec::new();
    if let Some(wanted) = config.contract.digest.as_ref().filter(|wanted| **wanted != digest) {
        breaking.push(format!("the contract is {digest} and should be {wanted}"));
    }
    match target.extra("stable.tools").map(Contract::parse) {
        Some(Ok(stable)) => {
            let changes = contract.since(&stable);
            tell(&changes, seen);
            breaking.extend(changes.breaking);
        }
        Some(Err(why)) => seen.fact("contract.unknown", Some(format!("the stable revision's tools: {why}"))),
        None => {}
    }
    seen.fact("tools.digest", Some(digest));
    if text.len() <= MOST_CONTRACT {
        seen.fact("tools", Some(text));
    }
    if breaking.is_empty() {
        return;
    }
    let words = format!("the tools' contract is broken: {}", breaking.join(", "));
    seen.fact("contract.breaking", Some(breaking.join("\n")));
    if config.contract.allow_breaking {
        seen.good.push(format!("{words} (allowed)"));
    } else {
        seen.wrong.push(words);
    }
}

fn tell(changes: &Changes, seen: &mut Seen) {
    let lists = [("added", &changes.added), ("removed", &changes.removed), ("changed", &changes.changed)];
    for (what, names) in lists {
        if !names.is_empty() {
            seen.fact(&format!("contract.{what}"), Some(names.join(", ")));
            seen.good.push(format!("{what}: {}", names.join(", ")));
        }
    }
}

#[cfg(test)]
mod tests;
