//! Many services at once, with random dependencies, random faults, and outcomes in random order: what the run keeps up to
//! date from entry to entry is what looking at every service would find, and what its journal alone brings back.

use super::simulation::{World, service, start};
use super::*;
use crate::ServiceName;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn named(i: usize) -> ServiceName {
    // Names whose order is not that of the dependencies.
    ServiceName::new(format!("s{}", (i * 7 + 3) % 11)).unwrap()
}

/// A start with a service for each row; a row names services before it that it depends on, by their distance, possibly
/// twice.
fn start_of(rows: &[Vec<u8>], replicas: u32, initial: bool) -> RunStart {
    let mut start = start(replicas, initial, StartMode::Rollout);
    let from = start.services.values().next().unwrap().clone();
    start.services.clear();
    start.deployment.services.clear();
    for (i, row) in rows.iter().enumerate() {
        let depends_on =
            row.iter().filter(|_| i > 0).map(|distance| named(i - 1 - usize::from(*distance) % i)).collect();
        start.deployment.services.insert(named(i), service(replicas, depends_on).into());
        start.services.insert(named(i), from.clone());
    }
    start
}

/// Runs to the end, everything that is wanted under way at once. Orders that change nothing get an entry or none, as the
/// reel has it.
fn simulate(start: RunStart, replicas: u32, initial: bool, faults: u8, reel: Vec<u8>) -> (Run, Vec<(u64, Record)>) {
    let mut world = World::new(&start, replicas, initial, faults, reel);
    let first = Record::Started(Box::new(start));
    let (mut run, _) = Run::begin(Timestamp(0), 0, &first).unwrap();
    run.agenda_is_right().unwrap();
    let mut history = vec![(0, first)];
    let mut under_way: Vec<(ServiceName, Order)> = Vec::new();
    let mut clock = 0;
    let mut aborted = false;
    fn push(run: &mut Run, history: &mut Vec<(u64, Record)>, clock: u64, record: Record) {
        run.apply(Timestamp(clock), history.len() as u64, &record);
        run.agenda_is_right().unwrap();
        history.push((clock, record));
    }
    loop {
        let decision = run.decide();
        if let Some(outcome) = decision.finish {
            push(&mut run, &mut history, clock, Record::Finished(outcome));
            return (run, history);
        }
        for (service, order) in decision.orders {
            if order.effect.mutates() || world.roll().is_multiple_of(2) {
                let record = Record::Intent { service: service.clone(), order: order.clone() };
                push(&mut run, &mut history, clock, record);
            } else {
                run.handed_out(&service, &order);
                run.agenda_is_right().unwrap();
            }
            under_way.push((service, order));
        }
        assert!(run.decide().orders.is_empty(), "handed out twice");
        if (clock > 20_000 || history.len() > 3000) && !aborted {
            aborted = true;
            let verb = Verb::Abort;
            push(
                &mut run,
                &mut history,
                clock,
                Record::Request { service: None, verb, by: "test".into(), order: None },
            );
            continue;
        }
        assert!(history.len() < 6000, "it does not come to an end: {run:?}");
        under_way.retain(|(service, order)| run.wants(service, order.id));
        assert!(!under_way.is_empty(), "nothing to do and not finished: {run:?}");
        let earliest = under_way.iter().map(|(_, order)| order.not_before.0).min().unwrap().max(clock);
        let due: Vec<usize> = (0..under_way.len()).filter(|i| under_way[*i].1.not_before.0 <= earliest).collect();
        let (service, order) = under_way.swap_remove(due[usize::from(world.roll()) % due.len()]);
        clock = earliest + u64::from(world.roll() % 2);
        let outcome = world.carry_out(&run, &service, &order, false);
        push(&mut run, &mut history, clock, Record::Outcome { service, id: order.id, outcome });
    }
}

/// What waits for its dependencies waits on, whatever is asked of it meanwhile.
#[test]
fn a_service_that_waits_is_paused_and_resumed() {
    let first = Record::Started(Box::new(start_of(&[vec![], vec![0]], 1, true)));
    let (mut run, _) = Run::begin(Timestamp(0), 1, &first).unwrap();
    for (at, verb) in [(1, Verb::Pause), (2, Verb::Resume)] {
        let record = Record::Request { service: None, verb, by: "test".into(), order: None };
        run.apply(Timestamp(at), at + 1, &record);
        run.agenda_is_right().unwrap();
        assert_eq!(run.services()[&named(1)].outcome(), None);
    }
    assert!(!run.waits_for_humans());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(debug_assertions) { 300 } else { 20_000 }, ..Default::default() })]

    #[test]
    fn what_is_kept_up_to_date_is_what_there_is(
        rows in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 1..11),
        replicas in 1u32..4, initial: bool, faults in 0u8..60,
        reel in prop::collection::vec(any::<u8>(), 7..60),
        crash in any::<prop::sample::Index>(),
    ) {
        let start = start_of(&rows, replicas, initial);
        let (run, history) = simulate(start, replicas, initial, faults, reel);
        // In the order in which they may: no service is released before those that it depends on are settled.
        let mut begun = BTreeSet::new();
        let (mut again, _) = Run::begin(Timestamp(0), 0, &history[0].1).unwrap();
        for (i, (clock, record)) in history.iter().enumerate().skip(1) {
            if let Record::Intent { service, order } = record {
                let wanted = again.decide().orders;
                prop_assert!(wanted.contains(&(service.clone(), order.clone())), "{wanted:?}\n{order:?}");
                if begun.insert(service.clone()) {
                    let depends_on = &again.services()[service].spec().depends_on;
                    prop_assert!(depends_on.iter().all(|d| again.services()[d].settled() == Some(true)));
                }
            }
            if let Record::Outcome { service, id, .. } = record {
                prop_assert!(again.wants(service, *id), "the outcome of an order that nobody gave");
            }
            again.apply(Timestamp(*clock), i as u64, record);
            prop_assert_eq!(again.agenda_is_right(), Ok(()));
        }
        prop_assert_eq!(again.finished(), run.finished());
        // A process that dies anywhere leaves a history from which everything that was wanted is wanted again.
        let end = crash.index(history.len() - 1) + 1;
        let (mut half, _) = Run::begin(Timestamp(0), 0, &history[0].1).unwrap();
        for (i, (clock, record)) in history.iter().enumerate().take(end).skip(1) {
            half.apply(Timestamp(*clock), i as u64, record);
        }
        half.apply(Timestamp(history[end - 1].0), end as u64, &Record::Resumed);
        prop_assert_eq!(half.agenda_is_right(), Ok(()));
        prop_assert!(half.finished().is_some() || half.decide().finish.is_some() || !half.decide().orders.is_empty());
    }
}
