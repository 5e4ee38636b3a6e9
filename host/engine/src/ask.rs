//! What operators ask of a run from another terminal: of one that a process is at work on, and of one that sleeps.
//!
//! What would come of it is computed before anything is written, by the function that also decides what comes of it; so
//! every answer says what happens, and what has nothing to act on is an error.

use crate::clock::now;
use crate::courier::Routes;
use crate::drive::{Control, entry};
use crate::history::{RunView, rebuild};
use crate::lease::{self, HeldLease};
use crate::owner::Owner;
use crate::session::{Session, Started};
use crate::{EngineError, mailbox};
use basb_core::event::{Body, Event};
use basb_core::run::{Record, Verb};
use basb_core::{Digest, RunId, ServiceName};
use basb_journal::{Append, RunRecord, RunState};
use serde::Serialize;
use std::time::{Duration, Instant};

/// How long the process at work may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a stop may take: changes that are under way end first.
const STOP_PATIENCE: Duration = Duration::from_secs(120);
/// Time between two looks at the answer.
const LOOK: Duration = Duration::from_millis(100);

/// What an operator asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// A verb.
    Verb(Verb),
    /// To let a gate pass, as one of those who must agree.
    Approve {
        /// The gate.
        gate: String,
        /// The plan that is agreed to; that of the run when left out.
        plan: Option<Digest>,
        /// Who agrees.
        by: String,
    },
    /// Begin nothing new, wait for the changes that are under way, and leave the run to be taken up again.
    Stop,
    /// Stop at once, leaving the run to be taken up again.
    StopNow,
}

/// What came of it.
#[derive(Debug)]
pub enum Answered {
    /// It happened, and this process has nothing more to do.
    Done(Answer),
    /// It is on its way: this process takes the run up and drives it.
    TakenUp(Box<Started>, Answer),
}

/// What came of something that was asked.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The version of this form.
    pub version: u32,
    /// The run.
    pub run: RunId,
    /// What was asked.
    pub verb: String,
    /// Who asked, as `user@host pid N`.
    pub by: String,
    /// What happened, for each service that it is about.
    pub says: Vec<Says>,
    /// The process that took it up, where it was another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken_by: Option<String>,
    /// What the run's record says of it.
    pub events: Vec<Event>,
}

/// What happened to a service.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Says {
    /// Which service; none for the whole run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// In one line.
    pub what: String,
}

/// What is to be written down, and what will be said of it.
struct Draft {
    records: Vec<Record>,
    says: Vec<Says>,
    /// Whether the run goes on by it, so that somebody must be at work.
    goes_on: GoesOn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GoesOn {
    Yes,
    No,
}

impl Ask {
    fn word(&self) -> String {
        match self {
            Self::Verb(verb) => verb.to_string(),
            Self::Approve { gate, .. } => format!("approve {gate}"),
            Self::Stop => "stop".to_owned(),
            Self::StopNow => "stop --now".to_owned(),
        }
    }

    /// What can be done where this has nothing to act on.
    fn next_step(&self, run: &RunId) -> String {
        match self {
            Self::Verb(Verb::Promote | Verb::PromoteFull) | Self::Approve { .. } => {
                format!("`basb-host status` shows where run {run} is and which gates are open")
            }
            Self::Verb(Verb::Retry) => format!("`basb-host resume {run}` goes on with a run that nobody is at work on"),
            _ => format!("`basb-host status` shows where run {run} is"),
        }
    }

    fn nothing_to_act_on(&self, run: &RunId, why: String) -> EngineError {
        let message = format!("`{}` has nothing to act on in run {run}: {why}", self.word());
        EngineError::refused("run/nothing-to-act-on", message, self.next_step(run))
    }

    fn draft(&self, view: &RunView, service: Option<&ServiceName>, by: &str) -> Result<Draft, EngineError> {
        let id = view.run.id();
        match self {
            Self::Verb(verb) => {
                let acts = match view.run.would(service, *verb, None, now()) {
                    Ok(acts) => acts,
                    // A run that sleeps and is not paused is simply gone on with.
                    Err(_) if *verb == Verb::Resume && service.is_none() => Vec::new(),
                    Err(why) => return Err(self.nothing_to_act_on(id, why)),
                };
                let request = |service: Option<ServiceName>, order| Record::Request {
                    service,
                    verb: *verb,
                    by: by.to_owned(),
                    order,
                };
                let records = if *verb == Verb::Promote {
                    // For the very gate that was seen: another one may be open when this arrives.
                    let order = |name: &ServiceName| view.run.services().get(name).and_then(|s| s.order());
                    acts.iter().map(|(name, _)| request(Some(name.clone()), order(name))).collect()
                } else if acts.is_empty() {
                    Vec::new()
                } else {
                    vec![request(service.cloned(), None)]
                };
                let says = acts.into_iter().map(|(name, what)| Says { service: Some(name), what }).collect();
                let goes_on = if *verb == Verb::Pause { GoesOn::No } else { GoesOn::Yes };
                Ok(Draft { records, says, goes_on })
            }
            Self::Approve { gate, plan, by: person } => {
                let plan = plan.clone().unwrap_or_else(|| view.run.start().plan_digest());
                let open = view.run.gates().into_iter().find(|g| g.name == *gate);
                let order = open.as_ref().and_then(|g| g.order);
                let came_to = view.run.would_approve(gate, person, &plan, order).map_err(|why| {
                    let code =
                        if plan == view.run.start().plan_digest() { "gate/refused" } else { "gate/plan-changed" };
                    let message = format!("the approval of {person} at gate {gate} does not count: {why}");
                    EngineError::refused(code, message, self.next_step(id))
                })?;
                let left = came_to.needed.saturating_sub(came_to.have);
                let what = if came_to.passes() {
                    format!("{person} approves plan {}; the gate passes", plan.short())
                } else {
                    format!("{person} approves plan {}; {left} more to go", plan.short())
                };
                let record =
                    Record::Approval { gate: gate.clone(), by: person.clone(), plan, order, asked: by.to_owned() };
                let goes_on = if came_to.passes() { GoesOn::Yes } else { GoesOn::No };
                let service = open.and_then(|g| g.service);
                Ok(Draft { records: vec![record], says: vec![Says { service, what }], goes_on })
            }
            Self::Stop | Self::StopNow => Ok(Draft { records: Vec::new(), says: Vec::new(), goes_on: GoesOn::No }),
        }
    }
}

impl Session {
    /// Asks something of an unfinished run. Where a process is at work on it, that one answers; otherwise this one writes it
    /// down, and takes the run up where it has to go on.
    ///
    /// # Errors
    /// [`EngineError`] when there is no such run, when there is nothing to act on, or when it cannot be taken up.
    pub async fn ask(
        &self,
        run: Option<&str>,
        service: Option<&ServiceName>,
        ask: &Ask,
    ) -> Result<Answered, EngineError> {
        let record = self.unfinished(run).await?;
        let id = record.start.run.clone();
        let by = Owner::this().to_string();
        let lease = match HeldLease::acquire(&self.journal, &record.start.deployment, &record.start.environment).await {
            Ok(lease) => lease,
            Err(EngineError::Busy { held, .. }) => {
                let taken_by = Owner::parse(&held.owner).map_or_else(|| held.owner.clone(), |owner| owner.to_string());
                return self.ask_live(&record, service, ask, &by, taken_by).await.map(Answered::Done);
            }
            Err(e) => return Err(e),
        };
        if matches!(ask, Ask::Stop | Ask::StopNow) {
            lease.release().await;
            let message = format!("no process is at work on run {id}: there is nothing to stop");
            let next = format!("`basb-host resume {id}` goes on with it, `basb-host abort {id}` goes back");
            return Err(EngineError::refused("run/not-live", message, next));
        }
        let view = rebuild(&id, &self.journal.entries(&id, 1).await?)?;
        let draft = match ask.draft(&view, service, &by) {
            Ok(draft) => draft,
            Err(e) => {
                lease.release().await;
                return Err(e);
            }
        };
        let answer = |says, events| Answer {
            version: 1,
            run: id.clone(),
            verb: ask.word(),
            by: by.clone(),
            says,
            taken_by: None,
            events,
        };
        if draft.goes_on == GoesOn::No {
            let events = self.write_down(view, draft.records, &lease).await?;
            lease.release().await;
            return Ok(Answered::Done(answer(draft.says, events)));
        }
        let mut started = self.wake(&record, view, lease).await?;
        let at = now();
        started.first.extend(draft.records.into_iter().map(|record| (at, record)));
        Ok(Answered::TakenUp(Box::new(started), answer(draft.says, Vec::new())))
    }

    /// Writes records down for which nobody needs to be at work.
    async fn write_down(
        &self,
        mut view: RunView,
        records: Vec<Record>,
        lease: &HeldLease,
    ) -> Result<Vec<Event>, EngineError> {
        let (at, mut events, mut entries) = (now(), Vec::new(), Vec::new());
        for record in &records {
            view.seq = view.seq.saturating_add(1);
            events.extend(view.run.apply(at, view.seq, record));
            entries.push(entry(at, record));
        }
        // No plugin is loaded here, so none can say what it wants to be told: only what the file says is told.
        let silent = view.run.start().deployment.notifiers.iter().filter(|(_, notifier)| notifier.events.is_empty());
        let silent = silent.map(|(name, _)| (name.clone(), vec!["nothing".to_owned()])).collect();
        let routes = Routes::new(view.run.start(), &silent);
        let mut append = Append::from(entries).fenced(lease.fence());
        append.notifications = events.iter().flat_map(|event| routes.notifications(event)).collect();
        self.journal.append(view.run.id(), append).await?;
        Ok(events)
    }

    /// Asks the process that is at work, and waits for what it makes of it.
    async fn ask_live(
        &self,
        record: &RunRecord,
        service: Option<&ServiceName>,
        ask: &Ask,
        by: &str,
        taken_by: String,
    ) -> Result<Answer, EngineError> {
        let id = &record.start.run;
        let view = rebuild(id, &self.journal.entries(id, 1).await?)?;
        if matches!(ask, Ask::Verb(Verb::Resume)) && view.run.would(service, Verb::Resume, None, now()).is_err() {
            let message = format!("run {id} is not paused: {taken_by} is at work on it");
            return Err(EngineError::refused("run/nothing-to-act-on", message, ask.next_step(id)));
        }
        let draft = ask.draft(&view, service, by)?;
        let answer = |says, events| Answer {
            version: 1,
            run: id.clone(),
            verb: ask.word(),
            by: by.to_owned(),
            says,
            taken_by: Some(taken_by.clone()),
            events,
        };
        let control = match ask {
            Ask::Stop => Control::Stop,
            Ask::StopNow => Control::StopNow,
            Ask::Verb(_) | Ask::Approve { .. } => {
                let wanted = draft.records.len();
                for record in draft.records {
                    let (word, body) = mailbox::letter(&Control::Ask(Box::new(record)));
                    self.journal.request(id, now(), word, &body).await?;
                }
                let events = self.await_events(record, view.seq, by, wanted, &taken_by).await?;
                let refused = events.iter().find_map(|event| match &event.body {
                    Body::RequestRefused { reason, .. } => Some(reason.clone()),
                    _ => None,
                });
                return match refused {
                    Some(why) => Err(ask.nothing_to_act_on(id, why)),
                    None => Ok(answer(draft.says, events)),
                };
            }
        };
        let (word, body) = mailbox::letter(&control);
        self.journal.request(id, now(), word, &body).await?;
        self.await_stop(record, &taken_by).await?;
        let what = format!("stopped; `basb-host resume {id}` goes on where it is");
        Ok(answer(vec![Says { service: None, what }], Vec::new()))
    }

    /// Waits until the process at work has written down what this process asked for.
    async fn await_events(
        &self,
        record: &RunRecord,
        after: u64,
        by: &str,
        wanted: usize,
        taken_by: &str,
    ) -> Result<Vec<Event>, EngineError> {
        let (id, began) = (&record.start.run, Instant::now());
        let mine = |record: &Record| match record {
            Record::Request { by: who, .. } | Record::Approval { asked: who, .. } => who == by,
            _ => false,
        };
        loop {
            let entries = self.journal.entries(id, after.saturating_add(1)).await?;
            let found: Vec<u64> = entries
                .iter()
                .filter(|e| serde_json::from_str::<Record>(&e.body).is_ok_and(|record| mine(&record)))
                .map(|e| e.seq)
                .collect();
            if found.len() >= wanted {
                let view = rebuild(id, &self.journal.entries(id, 1).await?)?;
                return Ok(view.events.into_iter().filter(|event| found.contains(&event.seq)).collect());
            }
            let over = matches!(self.journal.run(id.as_str()).await?.state, RunState::Finished { .. });
            if over || began.elapsed() > PATIENCE || self.holder_is_gone(record).await? {
                let message = if over {
                    format!("run {id} came to its end before {taken_by} took this up")
                } else {
                    format!("{taken_by} has not taken this up: it does not answer, or has ended")
                };
                let next = format!(
                    "`basb-host show {id}` tells what happened; ask again when `basb-host status` shows that nobody is at work on it"
                );
                return Err(EngineError::refused("run/no-answer", message, next));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the process that was at work has let go.
    async fn await_stop(&self, record: &RunRecord, taken_by: &str) -> Result<(), EngineError> {
        let began = Instant::now();
        let name = lease::lease_name(&record.start.deployment, &record.start.environment);
        let held = |held: Option<basb_journal::Held>| held.map(|h| h.fencing_token);
        let first = held(self.journal.holder(&name).await?);
        loop {
            let holder = self.journal.holder(&name).await?;
            if holder.is_none() || holder.as_ref().is_some_and(lease::is_dead) || held(holder) != first {
                return Ok(());
            }
            if began.elapsed() > STOP_PATIENCE {
                let message = format!("{taken_by} has not stopped yet: what is under way takes its time");
                let next = "it stops when that ends; `basb-host stop --now` does not wait for it".to_owned();
                return Err(EngineError::refused("run/no-answer", message, next));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn holder_is_gone(&self, record: &RunRecord) -> Result<bool, EngineError> {
        let name = lease::lease_name(&record.start.deployment, &record.start.environment);
        Ok(self.journal.holder(&name).await?.is_none_or(|held| lease::is_dead(&held)))
    }
}
