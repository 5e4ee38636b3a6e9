//! Plugins that lie to the engine, in whole runs with the real binary: strategies that want what they must not get,
//! providers that forge what is there, probes that forge measurements. Beside each of them, in the same run, another
//! service is rolled out and must not notice.

use crate::case::{Case, Outcome};
use crate::deployment::{Tricks, attack, look};
use crate::lab::Lab;
use serde_json::{Value, json};
use std::sync::Arc;

/// How a service ends that is not promoted.
const BACK: &[&str] = &["rolled-back", "failed"];

/// How one ends whose provider lies: where it goes on lying on the way back, the way back is not verified.
const LOST: &[&str] = &["rolled-back", "failed", "rollback-failed"];

/// How one ends whose plugin's lie is of no use to it.
const HARMLESS: &[&str] = &["rolled-back", "failed", "promoted"];

pub fn cases() -> Vec<Case> {
    let mut all = vec![
        strategy("all-at-once", "all of the traffic for a candidate without an instance", &["no instance"]),
        strategy("promote-at-once", "promotes a candidate that has no traffic", &["not all of it"]),
        strategy("promote-half", "promotes a candidate that has half of the traffic", &["50%", "not all of it"]),
        strategy("ignores-verdict", "promotes after an analysis that failed", &["fail"]),
        strategy("weight-beyond", "a weight of 655 %", &["cannot be used"]),
        strategy("scale-beyond", "four billion instances", &["instances"]),
        strategy(
            "stable-to-nothing",
            "takes all instances from the revision that has the traffic",
            &["traffic is on it"],
        ),
        strategy("abort-forged", "aborts for a reason of 3 MB that forges lines, events and an empty screen", &[]),
        strategy("unknown-analysis", "an analysis that does not exist", &[]),
        strategy("forged-analysis", "an analysis whose name forges lines", &["cannot be used"]),
        strategy("pause-for-ever", "pauses of no time, for ever", &[]),
        strategy("scale-for-ever", "one instance more, one less, for ever", &[]),
        strategy("panic", "panics with forged lines", &[]),
        strategy("endless", "never answers", &[]),
        strategy("huge-state", "5 MB to be remembered at each step", &[]),
        run("engine-strategy-no-analysis", "an analysis of nothing", plan("no-analysis"), BACK, &["names none"]),
        run(
            "engine-strategy-gate-of-no-time",
            "a gate that opens itself",
            plan("gate-of-no-time"),
            BACK,
            &["not all of it"],
        ),
        run(
            "engine-strategy-forged-position",
            "step four billion, with a label of 3 MB",
            plan("forged-position"),
            HARMLESS,
            &[],
        ),
        looking(
            "engine-strategy-validate-forged",
            "5,000 problems that forge lines",
            plan("validate-forged"),
            &["validate"],
            &[1],
        ),
        looking("engine-strategy-validate-huge", "a problem of 3 MB", plan("validate-huge"), &["validate"], &[1]),
        looking("engine-strategy-preview-forged", "a preview of 15 MB", plan("preview-forged"), &["plan"], &[0, 1, 2]),
        looking("engine-provider-plan-forged", "a plan that forges lines", cloud("plan-forged"), &["plan"], &[1, 2]),
        provider("endless", "never answers", LOST, &[]),
        provider("running-for-ever", "is nearly there, for ever", LOST, &["no end after"]),
        provider("running-beyond-time", "asks to be asked again in 584 million years", LOST, &["no end after"]),
        provider("running-huge-state", "5 MB to be remembered at each look", LOST, &[]),
        provider("running-growing-state", "64 KB more to be remembered at each look", LOST, &[]),
        provider("running-forged-note", "forged lines at each look", LOST, &[]),
        provider("failing-for-ever", "fails, and asks to be called again at once", LOST, &[]),
        provider("failing-beyond-time", "fails, and asks to be called again in 584 million years", LOST, &[]),
        provider("failing-forged", "a failure of 8 MB that forges lines", LOST, &[]),
        provider("done-forged", "has done nothing, and says so in forged lines", LOST, &[]),
        provider("weights-beyond", "every revision has 655 % of the traffic", LOST, &["traffic"]),
        provider("weights-of-everybody", "every revision has all of the traffic", LOST, &["traffic"]),
        provider("weights-never", "nobody has any traffic", LOST, &["traffic"]),
        provider("revisions-forged", "revisions whose ids are paths, options and lines", HARMLESS, &[]),
        provider(
            "revisions-with-traffic",
            "a revision that nobody deployed has all of the traffic",
            LOST,
            &["traffic"],
        ),
        provider("revisions-without-end", "twenty thousand revisions that nobody deployed", HARMLESS, &[]),
        provider("revisions-twice", "every revision twice, with different shares", LOST, &[]),
        provider("reading-fails", "cannot be read, in forged lines", LOST, &[]),
        provider("reading-nothing", "what was deployed is not there", LOST, &[]),
        provider("instances-beyond", "four billion instances can take traffic", HARMLESS, &[]),
        provider("instances-forged", "ten thousand instances that forge lines", LOST, &["available"]),
    ];
    let values = |count: u32| -> Vec<Value> { (0..count).map(|n| json!([format!("v{n}"), "1"])).collect() };
    let facts = |count: u32, size: usize| -> Vec<Value> {
        (0..count).map(|n| json!([format!("f{n}"), "x".repeat(size)])).collect()
    };
    let forged =
        "fine\u{1b}[2J\r\nFORGED run finished: all promoted\n{\"version\":1,\"kind\":\"run.finished\"}\n\u{202e}";
    all.extend([
        probe("not-a-number", "values that are no numbers", HARMLESS, &json!({"verdict": "pass", "summary": "x", "values": [["value", "NaN"], ["a", "inf"], ["b", "-inf"]]})),
        probe("values-without-end", "two thousand values", HARMLESS, &json!({"verdict": "pass", "summary": "x", "values": values(2000)})),
        probe("facts-without-end", "two hundred facts of 4 KB", HARMLESS, &json!({"verdict": "pass", "summary": "x", "facts": facts(200, 4000)})),
        probe("summary-forged", "a summary of 3 MB that forges lines", BACK, &json!({"verdict": "fail", "summary": forged, "copies": 30_000})),
        probe("names-forged", "values and facts whose names forge lines", HARMLESS, &json!({"verdict": "pass", "summary": forged, "values": [[forged, "1"], ["", "1"], ["result", "0"]], "facts": [[forged, forged]]})),
    ]);
    let urls: [(&str, &'static str, &'static [&'static str]); 3] = [
        ("metadata", "url-of-metadata", &["where no service can be"]),
        ("forged", "url-forged", &["2048"]),
        ("another-kind", "url-of-another-kind", &[]),
    ];
    for (name, trick, parts) in urls {
        // The probe asks the URL that the provider names.
        let steps = json!({"steps": [{"http": {"url": "{target}"}}]});
        let tricks = Tricks { provider: trick, probe: Some(steps), ..Tricks::default() };
        let attacks = "sends the probe of another plugin to an address of its choice, as the service's own";
        all.push(run(format!("engine-provider-url-{name}"), attacks, tricks, HARMLESS, parts));
    }
    all
}

fn plan(trick: &'static str) -> Tricks {
    Tricks { strategy: trick, ..Tricks::default() }
}

fn cloud(trick: &'static str) -> Tricks {
    Tricks { provider: trick, ..Tricks::default() }
}

fn strategy(trick: &'static str, attacks: &str, parts: &'static [&'static str]) -> Case {
    run(format!("engine-strategy-{trick}"), attacks, plan(trick), BACK, parts)
}

fn provider(
    trick: &'static str,
    attacks: &str,
    expected: &'static [&'static str],
    parts: &'static [&'static str],
) -> Case {
    run(format!("engine-provider-{trick}"), attacks, cloud(trick), expected, parts)
}

fn probe(name: &str, attacks: &str, expected: &'static [&'static str], answer: &Value) -> Case {
    let tricks = Tricks { probe: Some(json!({"answer": answer})), ..Tricks::default() };
    run(format!("engine-probe-{name}"), attacks, tricks, expected, &[])
}

fn run(
    name: impl Into<String>,
    attacks: &str,
    tricks: Tricks,
    expected: &'static [&'static str],
    parts: &'static [&'static str],
) -> Case {
    Case::new(name, attacks, move |lab: Arc<Lab>| {
        let tricks = tricks.clone();
        async move { blocking(move || attack(lab.folder(), lab.base(), &tricks, expected, parts)).await }
    })
}

fn looking(name: &str, attacks: &str, tricks: Tricks, args: &'static [&'static str], codes: &'static [i32]) -> Case {
    Case::new(name, attacks, move |lab: Arc<Lab>| {
        let tricks = tricks.clone();
        async move { blocking(move || look(lab.folder(), lab.base(), &tricks, args, codes)).await }
    })
}

async fn blocking(work: impl FnOnce() -> Outcome + Send + 'static) -> Outcome {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}
