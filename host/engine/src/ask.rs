//! What operators ask of a run from another terminal: of one that a process is at work on, and of one that sleeps.
//!
//! What would come of it is computed before anything is written, by the function that also decides what comes of it; so
//! every answer says what happens, and what has nothing to act on is an error. How it gets to the run is in `asking`.

use crate::EngineError;
use crate::begin::Started;
use crate::clock::now;
use crate::history::RunView;
use basb_core::event::Event;
use basb_core::run::{Record, Verb};
use basb_core::{Digest, RunId, ServiceName};
use serde::Serialize;

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
    /// It is a new run, which this process drives.
    Began(Box<Started>, Answer),
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
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) records: Vec<Record>,
    pub(crate) says: Vec<Says>,
    pub(crate) goes_on: GoesOn,
}

/// Whether the run goes on by what is asked, so that somebody must be at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GoesOn {
    Yes,
    No,
}

impl Ask {
    pub(crate) fn word(&self) -> String {
        match self {
            Self::Verb(verb) => verb.to_string(),
            Self::Approve { gate, .. } => format!("approve {gate}"),
            Self::Stop => "stop".to_owned(),
            Self::StopNow => "stop --now".to_owned(),
        }
    }

    /// What can be done where this has nothing to act on.
    pub(crate) fn next_step(&self, run: &RunId) -> String {
        match self {
            Self::Verb(Verb::Promote | Verb::PromoteFull) | Self::Approve { .. } => {
                format!("`basb-host status` shows where run {run} is and which gates are open")
            }
            Self::Verb(Verb::Retry) => format!("`basb-host resume {run}` goes on with a run that nobody is at work on"),
            _ => format!("`basb-host status` shows where run {run} is"),
        }
    }

    pub(crate) fn nothing_to_act_on(&self, run: &RunId, why: String) -> EngineError {
        let message = format!("`{}` has nothing to act on in run {run}: {why}", self.word());
        EngineError::refused("run/nothing-to-act-on", message, self.next_step(run))
    }

    pub(crate) fn draft(&self, view: &RunView, service: Option<&ServiceName>, by: &str) -> Result<Draft, EngineError> {
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
                let came_to = view.run.would_approve(gate, person, &plan, order, now()).map_err(|why| {
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
