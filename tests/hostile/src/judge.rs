//! Runs one case in this process and says whether the attack is contained.

use crate::case::{Alone, Case};
use crate::cases;
use crate::lab::Lab;
use crate::memory::{memory, reset_peak};
use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What came of a case.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaseResult {
    /// Its name.
    pub name: String,
    /// What is attacked, and how.
    pub attacks: String,
    /// Whether the attack is contained.
    pub contained: bool,
    /// What was seen, such as the message that a user would read; or why the attack is not contained.
    pub seen: String,
    /// By how much the process grew at the highest, in MiB.
    pub grew_mib: u64,
    /// By how much it may, in MiB.
    pub may_grow_mib: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// Runs a case.
pub fn run(name: &str, folder: &Path) -> CaseResult {
    let case = cases::all().into_iter().find(|case| case.name == name).unwrap_or_else(|| panic!("no case `{name}`"));
    if case.alone == Alone::Yes {
        // It measures time: what else runs on the machine should not be measured with it. Needs a privilege; without it
        // the figures are as good as the machine is idle. Threads that are made from here on inherit it; the kernel weighs
        // sessions first, so this is one of its own.
        let _ = rustix::process::setsid();
        let _ = std::fs::write("/proc/self/autogroup", "-15");
        let _ = rustix::process::setpriority_process(None, -15);
    }
    // Panics are told in the result.
    std::panic::set_hook(Box::new(|_| ()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let start = Instant::now();
    let (outcome, grew) = runtime.block_on(run_in(&case, folder));
    let took_ms = u64::try_from(start.elapsed().as_millis()).unwrap();
    runtime.shutdown_timeout(Duration::from_secs(1));
    let outcome = outcome.and_then(|seen| {
        if grew > case.growth { Err(format!("the process grew by {grew} MiB; before that: {seen}")) } else { Ok(seen) }
    });
    let contained = outcome.is_ok();
    let seen = outcome.unwrap_or_else(|why| why);
    CaseResult {
        name: case.name,
        attacks: case.attacks,
        contained,
        seen: seen.chars().take(2000).collect(),
        grew_mib: grew,
        may_grow_mib: case.growth,
        took_ms,
    }
}

async fn run_in(case: &Case, folder: &Path) -> (Result<String, String>, u64) {
    let lab = match AssertUnwindSafe(Lab::new(folder)).catch_unwind().await {
        Ok(lab) => Arc::new(lab),
        Err(panic) => return (Err(format!("the case could not be set up: {}", words(&panic))), 0),
    };
    reset_peak();
    let before = memory().now;
    let outcome = AssertUnwindSafe((case.run)(Arc::clone(&lab))).catch_unwind().await;
    let outcome = outcome.unwrap_or_else(|panic| Err(format!("panicked: {}", words(&panic))));
    let grew = memory().peak.saturating_sub(before) >> 10;
    // The attack is over: whoever else is there works as before.
    let outcome = match (outcome, lab.neighbour.works().await) {
        (Ok(_), Err(why)) => Err(why),
        (outcome, _) => outcome,
    };
    let outcome = match outcome {
        Ok(_) if lab.victim.connections() > 0 => Err(format!("the victim was reached: {}", lab.victim.told())),
        outcome => outcome,
    };
    (outcome, grew)
}

fn words(panic: &Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}
