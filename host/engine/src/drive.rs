//! The loop around the pure core: outcomes in, intents out, one durable write for both.
//!
//! Whatever the core decides is written before it is carried out, and whatever came of it is written before the next
//! decision has an effect. While one write is on its way to the disk, the outcomes that arrive are taken in, and the
//! intents that follow from them wait for the next write: thousands of services share each sync of the disk, and nothing
//! of it happens before it is there.
//!
//! An order that changes nothing outside (a look, a measurement) has no entry of its own: it
//! follows from the entries before it, and those are on the disk when it is carried out.

use crate::calls::{Over, WrittenDown, write_down};
use crate::clock::now;
use crate::memory::Memory;
use crate::sights::Sights;
use crate::workers::{Workers, until};
use crate::{EngineError, courier};
use basb_core::event::Event;
use basb_core::model::Deployment;
use basb_core::run::{Effect, Failure, Order, Outcome, Record, Run, RunOutcome};
use basb_core::{Millis, ServiceName, Timestamp};
use basb_journal::{
    Append, Fence, Finish, Journal, JournalError, NewEntry, NewMemory, NewStable, NewWorkload, ServiceKey,
};
use basb_redact::Redactor;
use std::borrow::Cow;
use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// Carries out one effect.
pub trait Hands: Send + Sync + 'static {
    /// Does it, or looks once more. A failure is an outcome, not an error. It does not sleep: whoever has to wait says when
    /// it is to be called again.
    fn carry_out(&self, service: ServiceName, order: Order, looks: Looks) -> impl Future<Output = Carried> + Send;
}

/// How far an effect was carried.
#[derive(Debug)]
pub enum Carried {
    /// To its end.
    Came(Outcome),
    /// What it waits for is not there yet: look again.
    Again(Looks),
}

/// What earlier looks of an effect that waits for something came to.
#[derive(Debug, Clone, Default)]
pub struct Looks {
    /// How many there were.
    pub count: u32,
    /// How long to wait before the next one.
    pub pause: Millis,
    /// What was seen last: how many instances are available, and what is wrong.
    pub seen: Option<(u32, String)>,
}

/// Takes events as they happen; they are durable by then.
pub trait EventSink: Send + Sync {
    /// Takes one.
    fn event(&self, event: &Event);

    /// Takes several that became durable together.
    fn events(&self, events: &[Event]) {
        events.iter().for_each(|event| self.event(event));
    }
}

/// What can be asked of a run from outside.
#[derive(Debug, Clone)]
pub enum Control {
    /// What an operator asks for: a [`Record::Request`] or a [`Record::Approval`]. With the number that it has in the
    /// mailbox, if it came from there: it is taken out with the write that holds its record.
    Ask(Box<Record>, Option<u64>),
    /// Begin nothing new, wait for the changes that are under way, and leave the run to be taken up again.
    Stop,
    /// Stop at once, leaving the run to be taken up again.
    StopNow,
}

/// What is written first when a run is driven.
#[derive(Debug, Default)]
pub struct First {
    /// The records.
    pub records: Vec<(Timestamp, Record)>,
    /// The requests in the mailbox of which some of them are the records.
    pub takes: Vec<u64>,
}

/// How the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The run is over.
    Finished(RunOutcome),
    /// Everything that is left waits for a human.
    AtGate,
    /// It was stopped and can be taken up again.
    Stopped,
}

/// Whether nothing new is to begin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stopping {
    Yes,
    No,
}

/// What the loop needs beside the run.
pub struct Around<'a> {
    /// Where everything is written.
    pub journal: &'a Journal,
    /// Proves that this process may write.
    pub fence: Option<Fence>,
    /// Becomes true when it may not any more.
    pub lost: watch::Receiver<bool>,
    /// Who is told what.
    pub notifiers: &'a courier::Routes,
    /// Takes events.
    pub sink: &'a dyn EventSink,
    /// What is asked from outside.
    pub control: mpsc::Receiver<Control>,
    /// Calls of plugins that are over.
    pub called: &'a mut mpsc::UnboundedReceiver<Over>,
    /// What the provider wants to be given back.
    pub memory: &'a Memory,
    /// What counterparts say that revisions run.
    pub sights: &'a Sights,
    /// Knows every secret: nothing that is written down or shown holds one.
    pub redactor: Redactor,
}

/// What waits for the next write, and what may happen once it is on the disk.
#[derive(Default)]
struct Turn {
    append: Append,
    events: Vec<Event>,
    orders: Vec<(ServiceName, Order)>,
    finished: Option<RunOutcome>,
}

impl Turn {
    fn is_empty(&self) -> bool {
        nothing(&self.append) && self.orders.is_empty() && self.finished.is_none()
    }
}

/// Whether there is nothing to write.
fn nothing(append: &Append) -> bool {
    append.entries.is_empty() && append.closes.is_empty()
}

/// A write on its way to the disk.
type Writing<'a> = Pin<Box<dyn Future<Output = Result<(), JournalError>> + Send + 'a>>;

/// Drives a run to its end.
///
/// # Errors
/// [`EngineError`] when something cannot be written, or the lease is lost: nothing is done after that, and the run can be
/// taken up again.
pub async fn drive<H: Hands>(
    run: Run,
    seq: u64,
    first: First,
    hands: Arc<H>,
    mut around: Around<'_>,
) -> Result<Ended, EngineError> {
    let mut workers = Workers::new(hands);
    let (journal, mut lost) = (around.journal, around.lost.clone());
    let First { mut records, takes } = first;
    let turn = Turn { append: Append { takes, ..Append::default() }, ..Turn::default() };
    let mut head = Head { run, seq, turn, latest: Timestamp::default(), gate_until: None, stopping: Stopping::No };
    let mut over: Vec<Over> = Vec::new();
    let mut writing: Option<(Writing<'_>, Turn)> = None;
    let mut control_open = true;
    loop {
        head.turn(&mut records, &mut over, &around, &mut workers);
        if writing.is_none() && !head.turn.is_empty() {
            let mut turn = std::mem::take(&mut head.turn);
            let append = std::mem::take(&mut turn.append);
            if nothing(&append) {
                // All that it follows from is written already.
                if let Some(outcome) = release(turn, &around, &mut workers) {
                    return Ok(Ended::Finished(outcome));
                }
                continue;
            }
            let append = Append { fence: around.fence.clone(), ..append };
            let id = head.run.id().clone();
            writing = Some((Box::pin(async move { journal.append(&id, append).await.map(|_| ()) }), turn));
        }
        workers.start(&head.run);
        if writing.is_none() && head.run.waits_for_humans() {
            return Ok(Ended::AtGate);
        }
        if head.stopping == Stopping::Yes && writing.is_none() && !head.run.is_changing(now()) {
            return Ok(Ended::Stopped);
        }
        tokio::select! {
            biased;
            _ = lost.wait_for(|lost| *lost) => return Err(lost_lease(around.fence)),
            written = written(&mut writing) => {
                written?;
                if let Some((_, turn)) = writing.take()
                    && let Some(outcome) = release(turn, &around, &mut workers)
                {
                    return Ok(Ended::Finished(outcome));
                }
            }
            asked = around.control.recv(), if control_open => match asked {
                Some(Control::StopNow) => {
                    if writing.is_some() {
                        written(&mut writing).await?;
                    }
                    // What came of things is kept; what would follow from it does not begin.
                    let append = Append { fence: around.fence.clone(), ..std::mem::take(&mut head.turn.append) };
                    if !nothing(&append) {
                        journal.append(head.run.id(), append).await?;
                    }
                    return Ok(Ended::Stopped);
                }
                Some(Control::Ask(record, request)) => {
                    records.push((now(), *record));
                    // Into the same write: the record is taken in before the next one begins.
                    head.turn.append.takes.extend(request);
                }
                Some(Control::Stop) => head.stopping = Stopping::Yes,
                None => control_open = false,
            },
            Some(call) = around.called.recv() => over.push(call),
            () = until(head.gate_until) => records.push((now(), Record::GateElapsed)),
            mut outcomes = workers.next(&head.run) => {
                records.append(&mut outcomes);
            }
        }
        while let Ok(call) = around.called.try_recv() {
            over.push(call);
        }
    }
}

/// The lease is somebody else's; who that is, the session finds out.
fn lost_lease(fence: Option<Fence>) -> EngineError {
    EngineError::LeaseLost { what: fence.map(|fence| fence.lease).unwrap_or_default(), by: None }
}

/// The calls that are to be written now. One that was written ahead waits for what came of it, if that will come.
fn on_time(over: &mut Vec<Over>, run: &Run, records: &[(Timestamp, Record)]) -> Vec<Over> {
    if over.iter().all(|call| call.closes.is_none()) {
        return std::mem::take(over);
    }
    let came: HashSet<(&ServiceName, u32)> = records
        .iter()
        .filter_map(|(_, record)| match record {
            Record::Outcome { service, id, .. } => Some((service, *id)),
            _ => None,
        })
        .collect();
    let waits = |call: &mut Over| match (&call.closes, &call.service, call.order) {
        (Some(_), Some(service), Some(order)) => run.wants(service, order) && !came.contains(&(service, order)),
        _ => false,
    };
    let early: Vec<Over> = over.extract_if(.., waits).collect();
    std::mem::replace(over, early)
}

/// The end of a write, if one is on its way; for ever, if none is.
async fn written(writing: &mut Option<(Writing<'_>, Turn)>) -> Result<(), EngineError> {
    match writing {
        Some((write, _)) => Ok(write.await?),
        None => std::future::pending().await,
    }
}

/// What was decided is on the disk: it is told, and it happens.
fn release<H: Hands>(turn: Turn, around: &Around<'_>, workers: &mut Workers<H>) -> Option<RunOutcome> {
    around.sink.events(&turn.events);
    for (service, order) in turn.orders {
        workers.give(service, order);
    }
    turn.finished
}

/// The run in memory: always ahead of the disk, never of what is carried out.
struct Head {
    run: Run,
    seq: u64,
    turn: Turn,
    /// The time of the newest entry of this process.
    latest: Timestamp,
    /// When the time of the run's own gate is up.
    gate_until: Option<Timestamp>,
    stopping: Stopping,
}

impl Head {
    /// Takes records in, and decides what follows from them.
    fn turn<H: Hands>(
        &mut self,
        records: &mut Vec<(Timestamp, Record)>,
        over: &mut Vec<Over>,
        around: &Around<'_>,
        workers: &mut Workers<H>,
    ) {
        // A call that was written ahead is closed with what came of it, and what a call did outside is written before that.
        let now_over = on_time(over, &self.run, records);
        let WrittenDown { records: called, tapes, closes } = write_down(now_over, self.run.tapes());
        self.turn.append.tapes.extend(tapes);
        self.turn.append.closes.extend(closes);
        for (at, record) in called.into_iter().chain(records.drain(..)) {
            let concerns = match &record {
                Record::Outcome { service, .. } | Record::Request { service: Some(service), .. } => {
                    Some(Some(service.clone()))
                }
                Record::Request { service: None, .. } | Record::Approval { .. } | Record::GateElapsed => Some(None),
                _ => None,
            };
            self.take(at, record, around);
            match concerns {
                Some(Some(service)) => workers.drop_unwanted(&self.run, &service),
                Some(None) => workers.drop_all_unwanted(&self.run),
                None => {}
            }
        }
        loop {
            let mut decision = self.run.decide();
            self.gate_until = decision.gate_until;
            if self.stopping == Stopping::Yes {
                decision.orders.clear();
            }
            let mut more = false;
            for (service, order) in decision.orders {
                if matches!(order.effect, Effect::MarkStable { .. }) {
                    // Writing it down is all there is to it: it is done with the very write that says so.
                    let outcome = Outcome::Done { summary: "written down".to_owned() };
                    self.take(now(), Record::Outcome { service, id: order.id, outcome }, around);
                    more = true;
                    continue;
                }
                // A replay asks the strategy again what it was asked.
                if order.effect.mutates() || matches!(order.effect, Effect::NextStep { .. }) {
                    let record = Record::Intent { service: service.clone(), order: order.clone() };
                    self.take(now(), record, around);
                } else {
                    self.run.handed_out(&service, &order);
                }
                self.turn.orders.push((service, order));
            }
            if let Some(outcome) = decision.finish {
                let at = now();
                self.take(at, Record::Finished(outcome), around);
                self.turn.append.finish =
                    Some(Finish { at, outcome: outcome.as_str().to_owned(), body: "{}".to_owned() });
                self.turn.finished = Some(outcome);
            }
            if !more {
                return;
            }
        }
    }

    fn take(&mut self, at: Timestamp, record: Record, around: &Around<'_>) {
        // What is known for a while before it is written (a call whose outcome was waited for) is not written down at a time
        // before what is there. When a call began is in its record.
        let at = at.max(self.latest);
        self.latest = at;
        let (record, entry) = written_as(&around.redactor, at, record);
        if let Record::Outcome { service, id, outcome: Outcome::Done { .. } } = &record
            && let Some(stable) = newly_stable(&self.run, service, *id, at)
        {
            self.turn.append.stable.push(stable);
        }
        if let Record::Outcome { service, .. } = &record
            && let Some(text) = around.memory.news(service, &around.redactor)
        {
            let service = service_key(&self.run.start().deployment, service);
            self.turn.append.memory.push(NewMemory { service, text });
        }
        if let Record::Outcome { service, .. } = &record
            && let Some((revision, digest)) = around.sights.news(service, &around.redactor)
        {
            let service = service_key(&self.run.start().deployment, service);
            self.turn.append.workloads.push(NewWorkload { service, revision, digest });
        }
        self.seq = self.seq.saturating_add(1);
        let events = self.run.apply(at, self.seq, &record);
        self.turn.append.notifications.extend(events.iter().flat_map(|event| around.notifiers.notifications(event)));
        self.turn.append.entries.push(entry);
        self.turn.events.extend(events);
    }
}

/// A record and its entry, with every known secret replaced. A plugin never sees a secret, so this changes nothing unless
/// something else failed; events and notifications are made from what it leaves.
pub fn written_as(redactor: &Redactor, at: Timestamp, record: Record) -> (Record, NewEntry) {
    let made = entry(at, &record);
    // What the core itself decides holds nothing that did not come in through here.
    if redactor.is_empty() || matches!(record, Record::Intent { .. } | Record::Finished(_)) {
        return (record, made);
    }
    match redactor.text(&made.body) {
        Cow::Borrowed(_) => (record, made),
        Cow::Owned(text) => {
            let record = serde_json::from_str(&text).unwrap_or_else(|_| unreadable(record));
            let made = entry(at, &record);
            (record, made)
        }
    }
}

/// What is left of a record that cannot be read any more once its secrets are replaced: an id that held one, say.
fn unreadable(record: Record) -> Record {
    let failure = Failure {
        code: "engine/secret-in-result".to_owned(),
        message: "a plugin's result held a secret in a place where it cannot be replaced".to_owned(),
        retry_after: None,
    };
    match record {
        Record::Outcome { service, id, .. } => Record::Outcome { service, id, outcome: Outcome::Failed { failure } },
        Record::Called { service, mut call } => {
            call.calls.clear();
            call.outcome = failure.code;
            Record::Called { service, call }
        }
        other => other,
    }
}

/// The stable revision that an outcome means: written with it, so that neither is ever without the other.
fn newly_stable(run: &Run, service: &ServiceName, id: u32, at: Timestamp) -> Option<NewStable> {
    let Effect::MarkStable { revision } = run.services().get(service)?.effect(id)? else { return None };
    let deployment = &run.start().deployment;
    let spec = deployment.services.get(service)?;
    Some(NewStable {
        service: service_key(deployment, service),
        revision: revision.clone(),
        replicas: spec.replicas,
        workload_json: serde_json::to_string(&spec.workload).ok()?,
        at,
    })
}

fn service_key(deployment: &Deployment, service: &ServiceName) -> ServiceKey {
    ServiceKey {
        deployment: deployment.name.clone(),
        environment: deployment.environment.clone(),
        service: service.clone(),
    }
}

/// A record as the journal keeps it.
pub fn entry(at: Timestamp, record: &Record) -> NewEntry {
    let (kind, service) = match record {
        Record::Started(_) => ("started", None),
        Record::Resumed => ("resumed", None),
        Record::Intent { service, .. } => ("intent", Some(service)),
        Record::Outcome { service, .. } => ("outcome", Some(service)),
        Record::Called { service, .. } => ("called", service.as_ref()),
        Record::Taped { .. } => ("taped", None),
        Record::Request { service, .. } => ("request", service.as_ref()),
        Record::Approval { .. } => ("approval", None),
        Record::GateElapsed => ("gate-elapsed", None),
        Record::Finished(_) => ("finished", None),
    };
    // Records hold nothing that JSON cannot: no map with keys other than strings, no number that is not finite.
    let body = serde_json::to_string(record).unwrap_or_default();
    NewEntry { at, service: service.cloned(), kind: kind.to_owned(), body }
}

/// Sleeps until a point in time. The runtime's own timers stand still while the machine sleeps, so that long waits are
/// made in pieces, each measured anew.
pub async fn wait_until(at: Timestamp) {
    const PIECE: u64 = 30_000;
    loop {
        let left = at.since(now()).0;
        if left == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(left.min(PIECE))).await;
    }
}
