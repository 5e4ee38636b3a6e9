//! Orders on their way: those that may start, those that wait for their time, and those that are being carried out.
//!
//! A run of thousands of services has thousands of orders at once. Only so many are carried out at a time, whatever is
//! only waiting costs an entry in a list instead of a task, and what is dropped is looked up by its service.

use crate::clock::now;
use crate::drive::{Carried, Hands, Looks, wait_until};
use basb_core::run::{Effect, Order, Outcome, Record, Run};
use basb_core::{ServiceName, Timestamp};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use tokio::task::{AbortHandle, JoinSet};

/// How many orders are carried out at once. The plugins' runtime has a bound of its own for calls; this one bounds what
/// waits for it.
const AT_ONCE: usize = 256;

/// An order with what came of it so far.
struct Pending {
    service: ServiceName,
    order: Order,
    looks: Looks,
}

/// What came back from a task.
struct Back {
    service: ServiceName,
    id: u32,
    carried: Result<Outcome, Box<Pending>>,
}

/// Orders on their way.
pub struct Workers<H> {
    hands: Arc<H>,
    /// Those that may start, in order.
    ready: VecDeque<Pending>,
    /// Those that wait, by their time; the number tells apart those with the same.
    waiting: BTreeMap<(Timestamp, u64), Pending>,
    /// Where each of them is: one that is handed out anew while it waits does not wait any more.
    places: HashMap<(ServiceName, u32), (Timestamp, u64)>,
    counter: u64,
    tasks: JoinSet<Back>,
    /// What is being carried out, by service.
    running: HashMap<ServiceName, Vec<(u32, AbortHandle)>>,
}

impl<H: Hands> Workers<H> {
    /// Nothing on its way.
    pub fn new(hands: Arc<H>) -> Self {
        Self {
            hands,
            ready: VecDeque::new(),
            waiting: BTreeMap::new(),
            places: HashMap::new(),
            counter: 0,
            tasks: JoinSet::new(),
            running: HashMap::new(),
        }
    }

    /// Takes an order whose intent, or what it follows from, is on the disk.
    pub fn give(&mut self, service: ServiceName, order: Order) {
        let at = match &order.effect {
            Effect::Wait { until, .. } => (*until).max(order.not_before),
            Effect::AwaitGate { until: Some(until), .. } => (*until).max(order.not_before),
            // Only a human ends it.
            Effect::AwaitGate { until: None, .. } => return,
            _ => order.not_before,
        };
        if let Some(place) = self.places.remove(&(service.clone(), order.id)) {
            self.waiting.remove(&place);
        }
        let waits = matches!(order.effect, Effect::Wait { .. } | Effect::AwaitGate { .. });
        let pending = Pending { service, order, looks: Looks::default() };
        if waits || at > now() {
            self.later(at, pending);
        } else {
            self.ready.push_back(pending);
        }
    }

    fn later(&mut self, at: Timestamp, pending: Pending) {
        self.counter = self.counter.saturating_add(1);
        self.places.insert((pending.service.clone(), pending.order.id), (at, self.counter));
        self.waiting.insert((at, self.counter), pending);
    }

    /// Starts what may start.
    pub fn start(&mut self, run: &Run) {
        while self.tasks.len() < AT_ONCE
            && let Some(pending) = self.ready.pop_front()
        {
            let id = pending.order.id;
            let running =
                self.running.get(&pending.service).is_some_and(|all| all.iter().any(|(known, _)| *known == id));
            if running || !run.wants(&pending.service, id) {
                continue;
            }
            let hands = Arc::clone(&self.hands);
            let service = pending.service.clone();
            // In a box: all that a call of a plugin may come to is large, and a task is moved several times on its way to
            // where it runs, and once more when it is over.
            let handle = self.tasks.spawn(Box::pin(async move {
                let Pending { service, order, looks } = pending;
                let carried = match hands.carry_out(service.clone(), order.clone(), looks).await {
                    Carried::Came(outcome) => Ok(outcome),
                    Carried::Again(looks) => Err(Box::new(Pending { service: service.clone(), order, looks })),
                };
                Back { service, id, carried }
            }));
            self.running.entry(service).or_default().push((id, handle));
        }
    }

    /// Drops what is being carried out for a service and is not wanted any more.
    pub fn drop_unwanted(&mut self, run: &Run, service: &ServiceName) {
        let Some(running) = self.running.get_mut(service) else { return };
        running.retain(|(id, handle)| {
            let wanted = run.wants(service, *id);
            if !wanted {
                handle.abort();
            }
            wanted
        });
        if running.is_empty() {
            self.running.remove(service);
        }
    }

    /// The same for all services.
    pub fn drop_all_unwanted(&mut self, run: &Run) {
        let all: Vec<ServiceName> = self.running.keys().cloned().collect();
        for service in all {
            self.drop_unwanted(run, &service);
        }
    }

    /// Waits until something came of an order, and says what. May be dropped at any time.
    pub async fn next(&mut self, run: &Run) -> Vec<(Timestamp, Record)> {
        loop {
            let mut records = Vec::new();
            let due = self.waiting.first_key_value().map(|((at, _), _)| *at);
            tokio::select! {
                biased;
                Some(joined) = self.tasks.join_next() => {
                    self.back(joined, &mut records);
                    while let Some(joined) = self.tasks.try_join_next() {
                        self.back(joined, &mut records);
                    }
                }
                () = until(due) => self.ring(run, &mut records),
                else => std::future::pending().await,
            }
            if !records.is_empty() {
                // Nothing is started before they are taken in: an order that was handed out anew while it was carried out (a
                // retry of one whose time had just come) would be carried out once more, since the run still wants it.
                return records;
            }
            self.start(run);
        }
    }

    fn back(&mut self, joined: Result<Back, tokio::task::JoinError>, records: &mut Vec<(Timestamp, Record)>) {
        // A task that was aborted is one whose outcome nobody wants any more.
        let Ok(Back { service, id, carried }) = joined else { return };
        if let Some(running) = self.running.get_mut(&service) {
            running.retain(|(known, _)| *known != id);
            if running.is_empty() {
                self.running.remove(&service);
            }
        }
        match carried {
            Ok(outcome) => records.push((now(), Record::Outcome { service, id, outcome })),
            Err(pending) => {
                let at = now().plus(pending.looks.pause);
                self.later(at, *pending);
            }
        }
    }

    /// The time of some has come.
    fn ring(&mut self, run: &Run, records: &mut Vec<(Timestamp, Record)>) {
        let time = now();
        while let Some(first) = self.waiting.first_entry()
            && first.key().0 <= time
        {
            let pending = first.remove();
            self.places.remove(&(pending.service.clone(), pending.order.id));
            if !run.wants(&pending.service, pending.order.id) {
                continue;
            }
            if matches!(pending.order.effect, Effect::Wait { .. } | Effect::AwaitGate { .. }) {
                let (service, id) = (pending.service, pending.order.id);
                records.push((time, Record::Outcome { service, id, outcome: Outcome::Elapsed }));
            } else {
                self.ready.push_back(pending);
            }
        }
    }
}

/// Until that time; for ever, if there is none.
pub async fn until(due: Option<Timestamp>) {
    match due {
        Some(at) => wait_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use basb_core::run::Outcome;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A run that has just begun, from the golden records.
    const RECORDS: &str = include_str!("../../core/golden/records-v1-promoted.jsonl");

    /// Counts what is carried out.
    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Hands for Counting {
        async fn carry_out(&self, _: ServiceName, _: Order, _: Looks) -> Carried {
            self.0.fetch_add(1, Ordering::SeqCst);
            Carried::Came(Outcome::Done { summary: String::new() })
        }
    }

    #[tokio::test]
    async fn an_order_that_is_handed_out_anew_while_it_is_carried_out_is_carried_out_once() {
        let first = serde_json::from_str(RECORDS.lines().next().unwrap()).unwrap();
        let (mut run, _) = Run::begin(Timestamp(1), 1, &first).unwrap();
        let (service, order) = run.decide().orders.remove(0);
        run.handed_out(&service, &order);
        let hands = Arc::new(Counting::default());
        let mut workers = Workers::new(Arc::clone(&hands));
        workers.give(service.clone(), order.clone());
        workers.start(&run);
        // All hands are full, so it waits for one while the first is at work.
        workers.give(service.clone(), order.clone());
        let outcomes = workers.next(&run).await;
        assert!(matches!(&outcomes[..], [(_, Record::Outcome { id, .. })] if *id == order.id), "{outcomes:?}");
        // It was over before its outcome was taken in.
        let (at, outcome) = &outcomes[0];
        run.apply(*at, 2, outcome);
        workers.start(&run);
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(hands.0.load(Ordering::SeqCst), 1);
    }
}
