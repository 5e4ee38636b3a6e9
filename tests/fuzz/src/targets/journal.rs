//! What the journal holds of a run: one record in JSON per line, folded as when a run is taken up again.

use crate::Target;
use basb_core::Timestamp;
use basb_core::event::Event;
use basb_core::run::{Record, Run};
use std::collections::BTreeSet;

pub(crate) const TARGET: Target = Target {
    name: "journal",
    run,
    more: &[("host/core/golden", "jsonl")],
    words: &[
        "{\"record\":\"resumed\"}\n",
        "\"record\":\"started\"",
        "\"record\":\"intent\"",
        "\"record\":\"outcome\"",
        "\"record\":\"request\"",
        "\"record\":\"finished\"",
        "\"record\":\"called\"",
        "\"verb\":\"abort\"",
        "\"verb\":\"promote\"",
        "\"service\":null",
        "\"id\":1",
        "\"id\":2",
        "\"attempt\":4294967295",
        "\"weight\":100.0",
        "\"replicas\":0",
        "\"replicas\":4294967295",
        "18446744073709551615",
        "-1",
        "null",
        "[]",
        "{}",
    ],
};

/// More of them say nothing more.
const RECORDS: usize = 400;

fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut records = Vec::new();
    for line in text.lines().take(RECORDS) {
        // A real reader stops at the first line that is none; here the others still count.
        let Ok(record) = serde_json::from_str::<Record>(line) else { continue };
        let written = serde_json::to_string(&record).expect("a record can be written");
        let again: Record = serde_json::from_str(&written).expect("what was written can be read");
        // A fraction may come back changed in its last digit: `serde_json` trades that for speed.
        let fraction =
            written.as_bytes().windows(2).any(|two| two[0].is_ascii_digit() && matches!(two[1], b'.' | b'e'));
        assert!(again == record || fraction, "{written}");
        records.push(record);
    }
    let first = fold(&records);
    let second = fold(&records);
    assert_eq!(first, second, "the same history, the same events");
}

fn fold(records: &[Record]) -> Vec<Event> {
    // Whatever comes first that is no start is refused, and the rest is tried.
    let start = records.iter().position(|record| Run::begin(Timestamp(0), 1, record).is_ok());
    let Some(records) = start.map(|start| &records[start..]) else { return Vec::new() };
    let Ok((mut run, mut events)) = Run::begin(Timestamp(0), 1, &records[0]) else { return Vec::new() };
    check(&run);
    for (seq, record) in (2_u64..).zip(&records[1..]) {
        let at = Timestamp(seq * 1000);
        let new = run.apply(at, seq, record);
        for (part, event) in (1_u32..).zip(&new) {
            assert_eq!((event.seq, event.part, event.at), (seq, part, at));
            assert_eq!(&event.run, run.id());
        }
        events.extend(new);
        check(&run);
    }
    // A runner that takes the run over asks for the same effects with the same numbers.
    let orders: Vec<_> = run.decide().orders;
    run.reopen();
    let again = run.decide().orders;
    for order in &orders {
        assert!(again.contains(order), "taken up again, {order:?} is gone: {again:?}");
    }
    events
}

fn check(run: &Run) {
    let decision = run.decide();
    let mut seen = BTreeSet::new();
    for (service, order) in &decision.orders {
        assert!(run.services().contains_key(service));
        assert!(seen.insert((service.clone(), order.id)), "one number, two effects: {order:?}");
    }
    if run.finished().is_some() {
        assert!(decision.orders.is_empty() && decision.finish.is_none());
    }
    for (name, service) in run.services() {
        assert_eq!(service.name(), name);
        let _ = (service.phase(), service.doing(), service.position(), service.outcome());
        assert!(service.outcome().is_none() || !decision.orders.iter().any(|(of, _)| of == name), "{name} is done");
    }
    let _ = run.waits_for_humans();
}
