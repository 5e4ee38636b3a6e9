//! The loop around the pure core: outcomes in, intents out, one durable write for both.
//!
//! Whatever the core decides is written before it is carried out, and whatever came of it is written before the next
//! decision has an effect. Outcomes that arrive together, and the intents that follow from them, share one write.

use crate::calls::{Over, WrittenDown, write_down};
use crate::clock::now;
use crate::{EngineError, courier};
use basb_core::event::Event;
use basb_core::run::{Effect, Failure, Order, Outcome, Record, Run, RunOutcome};
use basb_core::{ServiceName, Timestamp};
use basb_journal::{Append, Fence, Finish, Journal, NewEntry, NewStable, ServiceKey};
use basb_redact::Redactor;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

/// Carries out one effect.
pub trait Hands: Send + Sync + 'static {
    /// Does it. A failure is an outcome, not an error.
    fn carry_out(&self, service: ServiceName, order: Order) -> impl Future<Output = Outcome> + Send;
}

/// Takes events as they happen; they are durable by then.
pub trait EventSink: Send + Sync {
    /// Takes one.
    fn event(&self, event: &Event);
}

/// What can be asked of a run from outside.
#[derive(Debug, Clone)]
pub enum Control {
    /// What an operator asks for: a [`Record::Request`] or a [`Record::Approval`].
    Ask(Box<Record>),
    /// Begin nothing new, wait for the changes that are under way, and leave the run to be taken up again.
    Stop,
    /// Stop at once, leaving the run to be taken up again.
    StopNow,
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
    /// Knows every secret: nothing that is written down or shown holds one.
    pub redactor: Redactor,
}

/// What one turn of the loop writes.
#[derive(Default)]
struct Turn {
    append: Append,
    events: Vec<Event>,
    orders: Vec<(ServiceName, Order)>,
}

/// Drives a run to its end.
///
/// # Errors
/// [`EngineError`] when something cannot be written, or the lease is lost: nothing is done after that, and the run can be
/// taken up again.
pub async fn drive<H: Hands>(
    mut run: Run,
    mut seq: u64,
    first: Vec<(Timestamp, Record)>,
    hands: Arc<H>,
    mut around: Around<'_>,
) -> Result<Ended, EngineError> {
    let mut tasks: JoinSet<(ServiceName, u32, Outcome)> = JoinSet::new();
    let mut handles: HashMap<(ServiceName, u32), AbortHandle> = HashMap::new();
    let mut records = first;
    let mut over: Vec<Over> = Vec::new();
    let mut control_open = true;
    let mut stopping = Stopping::No;
    loop {
        let mut turn = Turn::default();
        // A call that was written ahead is closed with what came of it, and what a call did outside is written before
        // that.
        let now_over = on_time(&mut over, &run, &records);
        let WrittenDown { records: called, tapes, closes } = write_down(now_over, run.tapes());
        (turn.append.tapes, turn.append.closes) = (tapes, closes);
        for (at, record) in called.into_iter().chain(records.drain(..)) {
            take(&mut run, &mut seq, at, without_secrets(&around.redactor, record), around.notifiers, &mut turn);
        }
        let mut decision = run.decide();
        if stopping == Stopping::Yes {
            decision.orders.clear();
        }
        for (service, order) in decision.orders {
            let record = Record::Intent { service: service.clone(), order: order.clone() };
            take(&mut run, &mut seq, now(), record, around.notifiers, &mut turn);
            turn.orders.push((service, order));
        }
        if let Some(outcome) = decision.finish {
            let at = now();
            take(&mut run, &mut seq, at, Record::Finished(outcome), around.notifiers, &mut turn);
            turn.append.finish = Some(Finish { at, outcome: outcome.as_str().to_owned(), body: "{}".to_owned() });
        }
        if !turn.append.entries.is_empty() {
            turn.append.fence.clone_from(&around.fence);
            around.journal.append(run.id(), turn.append).await?;
        }
        for event in &turn.events {
            around.sink.event(event);
        }
        if let Some(outcome) = run.finished() {
            return Ok(Ended::Finished(outcome));
        }
        for (service, order) in turn.orders {
            let (hands, key) = (Arc::clone(&hands), (service.clone(), order.id));
            // An order that is handed out anew while it waits for its time does not wait any more.
            if let Some(waits) = handles.remove(&key) {
                waits.abort();
            }
            let handle = tasks.spawn(async move {
                wait_until(order.not_before).await;
                let id = order.id;
                let outcome = hands.carry_out(service.clone(), order).await;
                (service, id, outcome)
            });
            handles.insert(key, handle);
        }
        handles.retain(|(service, id), handle| {
            let wanted = run.wants(service, *id);
            if !wanted {
                handle.abort();
            }
            wanted
        });
        if run.waits_for_humans() {
            return Ok(Ended::AtGate);
        }
        if stopping == Stopping::Yes && !run.is_changing(now()) {
            return Ok(Ended::Stopped);
        }
        let fence = around.fence.clone();
        tokio::select! {
            biased;
            _ = around.lost.wait_for(|lost| *lost) => return Err(lost_lease(fence)),
            asked = around.control.recv(), if control_open => match asked {
                Some(Control::StopNow) => return Ok(Ended::Stopped),
                Some(Control::Ask(record)) => records.push((now(), *record)),
                Some(Control::Stop) => stopping = Stopping::Yes,
                None => control_open = false,
            },
            Some(call) = around.called.recv() => over.push(call),
            () = until(decision.gate_until) => records.push((now(), Record::GateElapsed)),
            joined = tasks.join_next() => {
                let mut outcomes = Vec::new();
                gather(joined, &mut outcomes);
                while let Some(more) = tasks.try_join_next() {
                    gather(Some(more), &mut outcomes);
                }
                while let Ok(call) = around.called.try_recv() {
                    over.push(call);
                }
                records.append(&mut outcomes);
            }
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

type Joined = Result<(ServiceName, u32, Outcome), tokio::task::JoinError>;

fn gather(joined: Option<Joined>, records: &mut Vec<(Timestamp, Record)>) {
    // A task that was aborted is one whose outcome nobody wants any more.
    if let Some(Ok((service, id, outcome))) = joined {
        records.push((now(), Record::Outcome { service, id, outcome }));
    }
}

fn take(run: &mut Run, seq: &mut u64, at: Timestamp, record: Record, routes: &courier::Routes, turn: &mut Turn) {
    if let Record::Outcome { service, id, outcome: Outcome::Done { .. } } = &record
        && let Some(stable) = newly_stable(run, service, *id, at)
    {
        turn.append.stable.push(stable);
    }
    *seq = seq.saturating_add(1);
    let events = run.apply(at, *seq, &record);
    turn.append.notifications.extend(events.iter().flat_map(|event| routes.notifications(event)));
    turn.append.entries.push(entry(at, &record));
    turn.events.extend(events);
}

/// The record with every known secret replaced. A plugin never sees a secret, so this changes nothing unless something else
/// failed; events and notifications are made from what it leaves.
pub fn without_secrets(redactor: &Redactor, record: Record) -> Record {
    if redactor.is_empty() {
        return record;
    }
    let Ok(text) = serde_json::to_string(&record) else { return record };
    match redactor.text(&text) {
        Cow::Borrowed(_) => record,
        Cow::Owned(text) => serde_json::from_str(&text).unwrap_or_else(|_| unreadable(record)),
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
        service: ServiceKey {
            deployment: deployment.name.clone(),
            environment: deployment.environment.clone(),
            service: service.clone(),
        },
        revision: revision.clone(),
        replicas: spec.replicas,
        workload_json: serde_json::to_string(&spec.workload).ok()?,
        at,
    })
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

/// The end of a run's own gate; for ever, where there is none.
async fn until(at: Option<Timestamp>) {
    match at {
        Some(at) => wait_until(at).await,
        None => std::future::pending().await,
    }
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
