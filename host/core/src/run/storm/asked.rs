//! Single verbs at chosen moments: what the storm cannot see, since it has no opinion on how long something should take.

use super::plan::{metric, revision, service_name, simple};
use crate::event::Body;
use crate::model::{Analysis, Metric, Quorum};
use crate::run::{
    Action, Effect, Failure, Gate, Observed, ObservedRevision, OnTimeout, Order, Outcome, Position, Record, Run,
    RunStart, ServiceOutcome, Verb,
};
use crate::{Millis, PluginName, Timestamp, Weight};

struct One {
    run: Run,
    seq: u64,
    clock: u64,
}

impl One {
    fn new() -> Self {
        Self::of(simple())
    }

    fn of(start: RunStart) -> Self {
        let (run, _) = Run::begin(Timestamp(0), 1, &Record::Started(Box::new(start))).unwrap();
        Self { run, seq: 1, clock: 0 }
    }

    fn push(&mut self, record: &Record) -> Vec<Body> {
        self.seq += 1;
        self.run.apply(Timestamp(self.clock), self.seq, record).into_iter().map(|e| e.body).collect()
    }

    /// The one order that there is, handed out.
    fn next(&mut self) -> Order {
        let mut orders = self.run.decide().orders;
        assert_eq!(orders.len(), 1, "{orders:?}");
        let (service, order) = orders.remove(0);
        self.push(&Record::Intent { service, order: order.clone() });
        order
    }

    fn came_to(&mut self, order: &Order, outcome: Outcome) -> Vec<Body> {
        self.push(&Record::Outcome { service: service_name("a"), id: order.id, outcome })
    }

    fn ask(&mut self, verb: Verb) -> Vec<Body> {
        self.push(&Record::Request { service: None, verb, by: "ann@box pid 1".into(), order: None })
    }

    /// Goes on until an effect of this kind is handed out.
    fn until(&mut self, wanted: fn(&Effect) -> bool) -> Order {
        loop {
            let order = self.next();
            if wanted(&order.effect) {
                return order;
            }
            let (old, all) = (revision("old"), Weight::FULL);
            let stable = ObservedRevision { revision: old, desired: 4, available: 4, weight: all };
            let outcome = match &order.effect {
                Effect::Observe => {
                    Outcome::Observed { observed: Some(Observed { url: None, revisions: vec![stable] }) }
                }
                Effect::NextStep { .. } => Outcome::Decided {
                    action: Action::Scale { candidate: Some(4), stable: None },
                    state: "{}".into(),
                    position: Position { step: 1, steps: 1, label: "x".into() },
                },
                _ => Outcome::Done { summary: String::new() },
            };
            self.came_to(&order, outcome);
        }
    }
}

fn awaits(effect: &Effect) -> bool {
    matches!(effect, Effect::AwaitAvailable { .. })
}

fn deadline(order: &Order) -> u64 {
    match order.effect {
        Effect::AwaitAvailable { until, .. } => until.0,
        _ => panic!("{order:?}"),
    }
}

#[test]
fn paused_time_does_not_count_against_a_deadline() {
    let mut one = One::new();
    let order = one.until(awaits);
    let first = deadline(&order);
    one.clock += 10_000;
    assert!(matches!(one.ask(Verb::Pause)[..], [Body::Paused { .. }]));
    assert!(!one.run.waits_for_humans(), "what is under way ends first");
    // The time is up while it is paused: no failure, and no further look.
    one.clock += 3_600_000;
    assert_eq!(one.came_to(&order, Outcome::Unavailable { available: 1, message: "slow".into() }), []);
    assert_eq!(one.run.decide().orders, []);
    assert!(one.run.waits_for_humans());
    one.clock += 400_000;
    let resumed = one.ask(Verb::Resume);
    assert!(matches!(resumed[..], [Body::Resumed { after: Millis(4_000_000), .. }]), "{resumed:?}");
    let again = one.next();
    assert_eq!(deadline(&again), first + 4_000_000, "as much time is left as there was");
    one.came_to(&again, Outcome::Unavailable { available: 1, message: "slow".into() });
    assert!(one.run.services()[&service_name("a")].why().is_some(), "without a pause it is a failure");
}

#[test]
fn a_pause_asks_after_what_goes_on_at_the_counterpart_and_nothing_else() {
    let mut one = One::new();
    let order = one.until(|e| matches!(e, Effect::Scale { .. }));
    one.ask(Verb::Pause);
    one.came_to(&order, Outcome::Running { state: "s".into(), note: "working".into(), poll_after: Millis(5) });
    // Far longer than a rollout may go without progress: the pause does not count.
    one.clock += 10_000_000;
    let poll = one.next();
    assert_eq!((poll.id, poll.state.as_deref()), (order.id, Some("s")));
    one.came_to(&poll, Outcome::Running { state: "t".into(), note: "working".into(), poll_after: Millis(5) });
    let poll = one.next();
    one.came_to(&poll, Outcome::Done { summary: String::new() });
    assert_eq!(one.run.decide().orders, [], "the next effect is not begun");
    assert!(one.run.waits_for_humans());
}

#[test]
fn an_attempt_that_waits_is_made_now_under_its_own_number() {
    let mut one = One::new();
    let order = one.until(|e| matches!(e, Effect::Scale { .. }));
    let failure = Failure { code: "x/y".into(), message: "no".into(), retry_after: Some(Millis::secs(20)) };
    one.came_to(&order, Outcome::Failed { failure });
    let waits = one.next();
    assert!(waits.not_before.0 >= one.clock + 20_000);
    assert_eq!(one.run.decide().orders, []);
    assert!(matches!(one.ask(Verb::Retry)[..], [Body::EffectHurried { .. }]));
    let now = one.next();
    assert_eq!((now.id, now.attempt, now.not_before), (order.id, 2, Timestamp(one.clock)));
    assert!(matches!(one.ask(Verb::Retry)[..], [Body::RequestRefused { .. }]), "once is enough");
}

#[test]
fn a_promotion_is_for_the_gate_that_was_seen() {
    let mut one = One::new();
    let order = one.until(|e| matches!(e, Effect::NextStep { .. }));
    let gate = crate::run::Gate {
        reason: "go on?".into(),
        timeout: None,
        on_timeout: crate::run::OnTimeout::Abort,
        quorum: None,
    };
    let decided = |gate: &crate::run::Gate| Outcome::Decided {
        action: Action::AwaitPromotion { gate: gate.clone() },
        state: "{}".into(),
        position: Position { step: 1, steps: 2, label: "x".into() },
    };
    one.came_to(&order, decided(&gate));
    let first = one.next();
    let ask = |order: &Order| Record::Request {
        service: Some(service_name("a")),
        verb: Verb::Promote,
        by: "ann@box pid 1".into(),
        order: Some(order.id),
    };
    assert!(matches!(one.push(&ask(&first))[..], [Body::GatePassed { .. }]));
    let order = one.until(|e| matches!(e, Effect::NextStep { .. }));
    one.came_to(&order, decided(&gate));
    one.next();
    // A second operator who saw the first gate does not open the second one.
    assert!(matches!(one.push(&ask(&first))[..], [Body::RequestRefused { .. }]));
    assert!(one.run.services()[&service_name("a")].gate().is_some());
}

/// At a gate with a time of 1000 ms, from the moment 100 on.
fn at_a_timed_gate(start: RunStart) -> (One, Order) {
    let mut one = One::of(start);
    let order = one.until(|e| matches!(e, Effect::NextStep { .. }));
    one.clock = 100;
    let gate =
        Gate { reason: "go on?".into(), timeout: Some(Millis(1000)), on_timeout: OnTimeout::Promote, quorum: None };
    let (action, position) = (Action::AwaitPromotion { gate }, Position { step: 1, steps: 2, label: "x".into() });
    one.came_to(&order, Outcome::Decided { action, state: "{}".into(), position });
    let order = one.next();
    assert!(matches!(order.effect, Effect::AwaitGate { until: Some(Timestamp(1100)), .. }), "{order:?}");
    (one, order)
}

#[test]
fn the_time_of_a_gate_stands_still_in_a_pause() {
    let (mut one, order) = at_a_timed_gate(simple());
    one.clock = 400;
    one.ask(Verb::Pause);
    let a = service_name("a");
    assert!(!one.run.wants(&a, order.id), "its timer is taken back");
    assert_eq!((one.run.decide().orders, one.run.gates()[0].until), (Vec::new(), None));
    // One that rang when the pause was asked for means nothing.
    one.clock = 2000;
    assert_eq!(one.came_to(&order, Outcome::Elapsed), []);
    assert!(one.run.services()[&a].gate().is_some() && one.run.waits_for_humans());
    one.push(&Record::Resumed);
    one.clock = 5000;
    one.ask(Verb::Resume);
    let again = one.next();
    assert_eq!(again.id, order.id, "it is the gate that people were told of");
    assert!(matches!(again.effect, Effect::AwaitGate { until: Some(Timestamp(5700)), .. }), "{again:?}");
    // A timer that was set before the pause rings too early, and is set anew.
    one.clock = 5699;
    assert_eq!(one.came_to(&again, Outcome::Elapsed), []);
    let again = one.next();
    one.clock = 5700;
    assert!(matches!(one.came_to(&again, Outcome::Elapsed)[..], [Body::GatePassed { .. }]));
}

/// An approval is for the gate that it was given at, also where that one passed by its timeout.
#[test]
fn an_approval_does_not_count_at_the_next_gate() {
    let mut start = simple();
    let a = service_name("a");
    let mut spec = (*start.deployment.services[&a]).clone();
    spec.gates = Some(Quorum { approvals: 2, approvers: Vec::new() });
    start.deployment.services.insert(a.clone(), spec.into());
    let (mut one, order) = at_a_timed_gate(start);
    let plan = one.run.start().plan_digest();
    let approve = |by: &str| {
        let (gate, by, plan) = ("a".to_owned(), by.to_owned(), plan.clone());
        Record::Approval { gate, by, plan, order: None, asked: "x@box pid 1".into() }
    };
    assert!(matches!(one.push(&approve("ann"))[..], [Body::GateApproved { have: 1, .. }]));
    one.clock = 1100;
    assert!(matches!(one.came_to(&order, Outcome::Elapsed)[..], [Body::GatePassed { .. }]));
    let order = one.until(|e| matches!(e, Effect::NextStep { .. }));
    let gate = Gate { reason: "and now?".into(), timeout: None, on_timeout: OnTimeout::Abort, quorum: None };
    let (action, position) = (Action::AwaitPromotion { gate }, Position { step: 2, steps: 2, label: "y".into() });
    one.came_to(&order, Outcome::Decided { action, state: "{}".into(), position });
    one.next();
    assert_eq!(one.run.gates()[0].approvals, [""; 0]);
    assert!(matches!(one.push(&approve("ben"))[..], [Body::GateApproved { have: 1, .. }]));
    assert!(one.run.services()[&a].gate().is_some(), "one of two is not enough");
}

/// A step that waits for an analysis without an end would keep half of the users on a candidate for good.
#[test]
fn a_step_that_nothing_could_end_is_given_up() {
    for (change, ends) in [
        (&(|_: &mut Metric| ()) as &dyn Fn(&mut Metric), false),
        (&|metric| metric.count = Some(3), true),
        (&|metric| metric.consecutive_success_limit = 2, true),
        (&|metric| metric.interval = None, true),
    ] {
        let mut start = simple();
        let mut metric = Metric { count: None, interval: Some(Millis(10)), consecutive_success_limit: 0, ..metric() };
        change(&mut metric);
        let name = PluginName::new("forever").unwrap();
        start.deployment.analyses.insert(name.clone(), Analysis { metrics: vec![metric] });
        let mut one = One::of(start);
        let order = one.until(|e| matches!(e, Effect::NextStep { .. }));
        let position = Position { step: 1, steps: 2, label: "x".into() };
        let action = Action::Analyse { analyses: vec![name] };
        let told = one.came_to(&order, Outcome::Decided { action, state: "{}".into(), position });
        let said = |body: &Body| matches!(body, Body::Aborted { reason, .. } if reason.contains("would never end: its metric"));
        assert_eq!(!told.iter().any(said), ends, "{told:?}");
    }
}

/// A process that slept through the end of a gate's time does not let it pass by who comes first.
#[test]
fn who_comes_after_the_time_of_a_gate_does_not_decide() {
    for verb in [Verb::Promote, Verb::PromoteFull] {
        let (mut one, order) = at_a_timed_gate(simple());
        one.clock = 1100;
        let said = one.run.would(None, verb, None, Timestamp(1100)).unwrap_err();
        assert!(said.contains("its time was up at 1970-01-01T00:00:01.100Z"), "{said}");
        assert!(matches!(one.ask(verb)[..], [Body::RequestRefused { .. }]));
        assert!(one.run.services()[&service_name("a")].gate().is_some());
        // An abort stays possible, and in a pause the time stands still.
        assert!(one.run.would(None, Verb::Abort, None, Timestamp(1100)).is_ok());
        assert!(matches!(one.came_to(&order, Outcome::Elapsed)[..], [Body::GatePassed { .. }]));
        let (mut one, _) = at_a_timed_gate(simple());
        one.clock = 1000;
        one.ask(Verb::Pause);
        one.clock = 9000;
        assert!(!one.ask(verb).iter().any(|body| matches!(body, Body::RequestRefused { .. })));
    }
}

#[test]
fn a_gate_of_a_run_of_version_2_goes_by_the_clock() {
    let mut start = simple();
    start.version = 2;
    let (mut one, order) = at_a_timed_gate(start);
    one.ask(Verb::Pause);
    assert!(one.run.wants(&service_name("a"), order.id));
    one.clock = 1100;
    assert!(matches!(one.came_to(&order, Outcome::Elapsed)[..], [Body::GatePassed { .. }]));
}

/// What a strategy waits for goes by the clock; what follows waits for the end of the pause.
#[test]
fn a_strategys_pause_runs_on_while_an_operators_pause_lasts() {
    let mut one = One::new();
    let order = one.until(|e| matches!(e, Effect::NextStep { .. }));
    let action = Action::Pause { duration: Millis(1000) };
    let position = Position { step: 1, steps: 2, label: "x".into() };
    one.came_to(&order, Outcome::Decided { action, state: "{}".into(), position });
    let order = one.next();
    one.ask(Verb::Pause);
    assert!(one.run.wants(&service_name("a"), order.id));
    one.clock = 1000;
    one.came_to(&order, Outcome::Elapsed);
    assert_eq!(one.run.decide().orders, []);
    one.ask(Verb::Resume);
    assert!(matches!(one.next().effect, Effect::Observe));
}

#[test]
fn what_may_have_happened_is_seen_through_also_after_a_crash() {
    let mut one = One::new();
    let order = one.until(|e| matches!(e, Effect::Scale { .. }));
    one.push(&Record::Resumed);
    one.ask(Verb::Abort);
    let again = one.next();
    assert_eq!(again, order, "the change in doubt is made again before the way back begins");
    one.came_to(&again, Outcome::Done { summary: String::new() });
    let back = one.next();
    assert!(matches!(back.effect, Effect::SetTraffic { .. }), "{back:?}");
    assert_ne!(one.run.services()[&service_name("a")].outcome(), Some(ServiceOutcome::Failed));
}
