//! What was measured, as JSON with stable keys and as a table.

use super::shares::Share;
use serde::Serialize;
use std::fmt::Write as _;

/// Everything. The first keys are about the canary from release 1 to 2, unless they say otherwise.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Requests during the canary.
    pub(crate) requests: u64,
    /// Those without a good answer.
    pub(crate) failed: u64,
    /// The largest error of a share that is measured well enough, in percentage points.
    pub(crate) max_share_error_pp: Option<f64>,
    /// The share at each weight.
    pub(crate) shares: Vec<Share>,
    /// Requests per second while weights change, median of the rounds.
    pub(crate) rps: f64,
    /// The 99th percentile of the same, in milliseconds.
    pub(crate) p99_ms: f64,
    /// HAProxy in the same rounds.
    pub(crate) haproxy: Other,
    /// Ours by HAProxy's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rps_ratio: Option<f64>,
    /// Ours by HAProxy's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p99_ratio: Option<f64>,
    /// Processor time of our proxy per request in these rounds, median, in microseconds.
    pub(crate) cpu_us: f64,
    /// Requests that our proxy failed in these rounds.
    pub(crate) compared_failed: u64,
    /// Requests that our proxy served in these rounds.
    pub(crate) compared_requests: u64,
    /// Each round of these.
    pub(crate) rounds: Rounds,
    /// The same in front of a service that costs next to nothing.
    pub(crate) fast: Fast,
    /// An instance killed under load.
    pub(crate) kill: Kill,
    /// The canary of the broken release 3.
    pub(crate) broken: Broken,
    /// As `broken.rollback_s`.
    pub(crate) rollback_s: f64,
    /// Connections of the load.
    pub(crate) connections: usize,
    /// What a few of the failures were, if there were any that are not meant to be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) examples: Vec<String>,
}

/// The proxy that ours is compared with.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Other {
    /// Why it was left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) skipped: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rps: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p99_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requests: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
}

/// The figures of one proxy in one round.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Round {
    pub(crate) rps: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    /// Processor time of the proxy per request, in microseconds: other work on the machine disturbs it least.
    pub(crate) cpu_us: f64,
}

/// All rounds, in the order in which they were run.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Rounds {
    pub(crate) ours: Vec<Round>,
    pub(crate) haproxy: Vec<Round>,
}

impl Rounds {
    fn median(rounds: &[Round], of: impl Fn(&Round) -> f64) -> Option<f64> {
        let mut values: Vec<f64> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    /// The medians, theirs, and what ours is of theirs.
    pub(crate) fn compared(self, mut haproxy: Other) -> Fast {
        let ours = |of: fn(&Round) -> f64| Self::median(&self.ours, of);
        let theirs = |of: fn(&Round) -> f64| Self::median(&self.haproxy, of);
        let ratio = |of: fn(&Round) -> f64| Some(ours(of)? / theirs(of)?);
        let sum = |rounds: &[Round], of: fn(&Round) -> u64| rounds.iter().map(of).sum::<u64>();
        if haproxy.skipped.is_none() {
            haproxy.rps = theirs(|round| round.rps);
            haproxy.p99_ms = theirs(|round| round.p99_ms);
            haproxy.cpu_us = theirs(|round| round.cpu_us);
            haproxy.failed = Some(sum(&self.haproxy, |round| round.failed));
            haproxy.requests = Some(sum(&self.haproxy, |round| round.requests));
        }
        Fast {
            rps: ours(|round| round.rps).unwrap_or(0.0),
            p99_ms: ours(|round| round.p99_ms).unwrap_or(0.0),
            cpu_us: ours(|round| round.cpu_us).unwrap_or(0.0),
            failed: sum(&self.ours, |round| round.failed),
            requests: sum(&self.ours, |round| round.requests),
            rps_ratio: ratio(|round| round.rps),
            p99_ratio: ratio(|round| round.p99_ms),
            haproxy,
            rounds: self,
        }
    }
}

/// Both proxies in front of the same service.
#[derive(Debug, Serialize)]
pub(crate) struct Fast {
    pub(crate) rps: f64,
    pub(crate) p99_ms: f64,
    pub(crate) cpu_us: f64,
    pub(crate) failed: u64,
    pub(crate) requests: u64,
    pub(crate) haproxy: Other,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rps_ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p99_ratio: Option<f64>,
    pub(crate) rounds: Rounds,
}

/// Instances killed while a load of idempotent requests was on.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Kill {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    /// How many were killed behind each proxy, one at a time.
    pub(crate) killed: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) haproxy_requests: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) haproxy_failed: Option<u64>,
}

/// The canary of the broken release.
#[derive(Debug, Serialize)]
pub(crate) struct Broken {
    pub(crate) requests: u64,
    /// Calls without a good answer: the candidate fails one in four.
    pub(crate) failed: u64,
    /// Those that cannot have been the candidate's.
    pub(crate) failed_on_stable: u64,
    /// The largest share of requests that reached the candidate at any weight, less that weight, in percentage points.
    pub(crate) max_share_error_pp: Option<f64>,
    /// From the first failed measurement to all traffic back and verified, the slowest service, in seconds.
    pub(crate) rollback_s: f64,
    /// From the decision to abort to the same.
    pub(crate) rollback_from_abort_s: f64,
    /// From the decision to abort to the last answer of the candidate that the load saw.
    pub(crate) last_candidate_answer_s: f64,
    /// How `basb-host run` ended: 3 is right.
    pub(crate) exit_code: i32,
}

/// The table for people.
pub(crate) fn text(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a text cannot fail.
    let _ = table(&mut out, report);
    out.truncate(out.trim_end().len());
    out
}

fn table(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(out, "canary 1 -> 2 under load ({} connections)", report.connections)?;
    writeln!(out, "  requests {:>9}   failed {}", report.requests, report.failed)?;
    for share in &report.shares {
        let few = if share.requests < super::shares::ENOUGH { "  (too few to judge)" } else { "" };
        writeln!(
            out,
            "  weight {:>6.2} %   measured {:>7.3} %   of {:>7} requests{few}",
            share.weight, share.measured, share.requests
        )?;
    }
    match report.max_share_error_pp {
        Some(error) => writeln!(out, "  largest error of a share {error:.3} percentage points")?,
        None => writeln!(out, "  no weight was held long enough to measure its share")?,
    }
    let broken = &report.broken;
    writeln!(out, "canary of the broken release 3")?;
    writeln!(
        out,
        "  requests {:>9}   failed {}   of them on the stable release {}",
        broken.requests, broken.failed, broken.failed_on_stable
    )?;
    writeln!(
        out,
        "  all traffic back {:.2} s after the first failed measurement, {:.2} s after the abort; exit code {}",
        broken.rollback_s, broken.rollback_from_abort_s, broken.exit_code
    )?;
    writeln!(out, "weights changed under load{:>16} {:>10} {:>10} {:>9}", "requests/s", "p99", "CPU each", "failed")?;
    let line = |out: &mut String, name: &str, rps: f64, p99: f64, cpu: f64, failed: u64| {
        writeln!(out, "  {name:<28} {rps:>10.0} {p99:>7.2} ms {cpu:>7.1} us {failed:>9}")
    };
    let other = |out: &mut String, name: &str, other: &Other, rps: Option<f64>, p99: Option<f64>| {
        if let Some(why) = &other.skipped {
            return writeln!(out, "  {name:<28} SKIPPED: {why}");
        }
        line(
            out,
            name,
            other.rps.unwrap_or(0.0),
            other.p99_ms.unwrap_or(0.0),
            other.cpu_us.unwrap_or(0.0),
            other.failed.unwrap_or(0),
        )?;
        writeln!(out, "  {:<28} {:>10.2} {:>7.2}", "ours by HAProxy", rps.unwrap_or(0.0), p99.unwrap_or(0.0))
    };
    line(out, "MCP services, ours", report.rps, report.p99_ms, report.cpu_us, report.compared_failed)?;
    other(out, "MCP services, HAProxy", &report.haproxy, report.rps_ratio, report.p99_ratio)?;
    let fast = &report.fast;
    line(out, "trivial service, ours", fast.rps, fast.p99_ms, fast.cpu_us, fast.failed)?;
    other(out, "trivial service, HAProxy", &fast.haproxy, fast.rps_ratio, fast.p99_ratio)?;
    let kill = &report.kill;
    writeln!(out, "instances killed under load, {} behind each", kill.killed)?;
    writeln!(out, "  ours    {:>9} requests   failed {}", kill.requests, kill.failed)?;
    if let (Some(requests), Some(failed)) = (kill.haproxy_requests, kill.haproxy_failed) {
        writeln!(out, "  HAProxy {requests:>9} requests   failed {failed}")?;
    }
    for example in &report.examples {
        writeln!(out, "  a failure: {example}")?;
    }
    Ok(())
}
