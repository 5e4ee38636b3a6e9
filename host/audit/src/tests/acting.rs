//! What plugins did.

use super::name;
use crate::{Shown, activity};
use basb_core::run::{Admission, OutsideCall, PluginCall};
use basb_core::{Digest, ServiceName, Timestamp};

fn outside(what: &str, verdict: Admission, credentials: &[&str]) -> OutsideCall {
    OutsideCall {
        capability: "http".to_owned(),
        what: what.to_owned(),
        verdict,
        outcome: if verdict == Admission::Denied { "denied".to_owned() } else { "200".to_owned() },
        after_micros: 1_500,
        took_micros: 12_345,
        sent: 10,
        received: 20_000,
        credentials: credentials.iter().map(|text| name(text)).collect(),
    }
}

fn call(plugin: &str, at: u64, calls: Vec<OutsideCall>) -> (Timestamp, Option<ServiceName>, PluginCall) {
    let call = PluginCall {
        plugin: name(plugin),
        digest: Digest::of(plugin.as_bytes()),
        function: "check".to_owned(),
        at: Timestamp(at),
        micros: 35_000,
        outcome: "ok".to_owned(),
        calls,
        tape: None,
    };
    (Timestamp(at + 40), Some(ServiceName::new("capture").unwrap()), call)
}

fn calls() -> Vec<(Timestamp, Option<ServiceName>, PluginCall)> {
    let long = format!("GET https://api.example.com/v1/{}/search", "abc-".repeat(30));
    vec![
        call("probe", 1_700_000_000_000, vec![outside("GET http://127.0.0.1:7101/healthz", Admission::Allowed, &[])]),
        call(
            "cloud",
            1_700_000_000_100,
            vec![
                outside(&long, Admission::Allowed, &["github", "aws"]),
                outside("POST https://evil.example/\u{1b}[2J\u{202e}", Admission::Denied, &[]),
            ],
        ),
        call("probe", 1_700_000_000_200, Vec::new()),
    ]
}

#[test]
fn every_outside_call_has_its_lines() {
    let shown = activity("01k", &calls(), Shown::All);
    insta::assert_snapshot!(shown.text());
    assert!(shown.text().chars().all(|c| c == '\n' || !c.is_control()));
    assert_eq!(serde_json::to_value(&shown).unwrap()["plugins"][0]["calls"][0]["outside"][1]["verdict"], "denied");
}

#[test]
fn denied_shows_what_was_denied_and_counts_everything() {
    let shown = activity("01k", &calls(), Shown::Denied);
    assert_eq!(shown.plugins.len(), 1);
    assert_eq!(shown.plugins[0].calls[0].outside.len(), 1);
    assert_eq!((shown.totals.calls, shown.totals.outside, shown.totals.denied), (3, 3, 1));
    let none = activity("01k", &[], Shown::Denied);
    assert_eq!(none.text(), "run 01k: 0 calls, 0 outside, 0 denied, 0 B sent, 0 B received\n");
}

#[test]
fn a_plugin_that_was_replaced_stands_there_twice() {
    let mut all = vec![call("probe", 1, Vec::new()), call("probe", 2, Vec::new())];
    all[1].2.digest = Digest::of(b"other");
    assert_eq!(activity("01k", &all, Shown::All).plugins.len(), 2);
}
