//! `basb-host run`.

use super::{prepare, session};
use crate::args::FileArgs;
use crate::exit::{CliError, Exit};
use crate::printer::Printer;
use crate::screen::Screen;
use basb_core::RunId;
use basb_core::run::{Record, Verb};
use basb_engine::{Control, Ended, GateStatus, Owner, PlanFile, Retention, RunChoice, Session, Started, is_plan};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Deploys a deployment file, or carries a plan out.
pub async fn run(file: &FileArgs, new: bool, state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    let session = session(state)?;
    let planned = if is_plan(&file.file) { Some(read_plan(file)?) } else { None };
    let prepared = match &planned {
        None => prepare(&session, file, printer).await?,
        Some(planned) => super::prepare_as(&session, planned.options(&file.file), file.policy(), printer).await?,
    };
    let choice = if new { RunChoice::Afresh } else { RunChoice::ContinueIfUnfinished };
    let started = session.start_as(prepared, choice, planned.as_ref()).await?;
    for message in started.messages() {
        printer.note(message);
    }
    drive(&session, started, printer).await
}

/// A plan, with nothing beside it that it fixes itself.
fn read_plan(file: &FileArgs) -> Result<PlanFile, CliError> {
    let planned = PlanFile::read(&file.file)?;
    if file.environment.is_some() || !file.sets.is_empty() {
        return Err(CliError::plain(
            "plan/fixed",
            "a plan fixes the environment and the variables: `-e` and `--set` do not go with it",
            format!("`basb-host run {}` alone, or make another plan", file.file.display()),
        ));
    }
    Ok(planned)
}

/// Follows a run to its end, and lets the operator stop it.
pub async fn drive(session: &Session, started: Started, printer: Printer) -> Result<Exit, CliError> {
    let screen = Arc::new(Screen::new(printer));
    let (tell, control) = mpsc::channel(8);
    let interrupts = tokio::spawn(listen(tell, Arc::clone(&screen)));
    let id = started.id().clone();
    let retention = started.retention();
    let ended = session.drive(started, screen.as_ref(), control).await;
    interrupts.abort();
    screen.close();
    let (ended, left) = ended?;
    if let Some(left) = left {
        printer.note(&format!("warning: {left}"));
    }
    Ok(match ended {
        Ended::Finished(outcome) => {
            if let Some(retention) = retention {
                drop_old_tapes(session, &retention, printer).await;
            }
            outcome.into()
        }
        Ended::AtGate => {
            printer.note(&waiting(session, &id).await);
            Exit::AtGate
        }
        Ended::Stopped => {
            printer.note(&format!("stopped; run {id} is unfinished: `basb-host resume {id}` goes on with it"));
            Exit::Error
        }
    })
}

/// Drops what need not be kept any more. The run is over, and is what it is whatever comes of this.
async fn drop_old_tapes(session: &Session, retention: &Retention, printer: Printer) {
    if let Err(e) = session.drop_old_tapes(retention).await {
        printer.note(&format!(
            "warning: old tapes are still there: {e} ({}); the next run tries it again, `basb-host tape prune` drops them now",
            e.code()
        ));
    }
}

/// What everything that is left waits for, and what to do about it.
async fn waiting(session: &Session, id: &RunId) -> String {
    let unfinished = session.status().await.ok().and_then(|s| s.unfinished.into_iter().find(|u| u.run == *id));
    let back = format!("or go back with `basb-host abort {id}`");
    let Some(unfinished) = unfinished else { return format!("waiting: see `basb-host status`, {back}") };
    if unfinished.services.iter().any(|s| s.paused.is_some()) {
        return format!("paused: go on with `basb-host resume {id}`, {back}");
    }
    match unfinished.gates.iter().find(|gate| gate.needs.is_some()) {
        Some(GateStatus { gate, needs, approvals, plan, .. }) => format!(
            "waiting at gate {gate}, {} of {} approvals are there: `basb-host approve {gate} --plan {plan}`, {back}",
            approvals.len(),
            needs.unwrap_or(1)
        ),
        None => format!("waiting at a gate: go on with `basb-host promote {id}`, {back}"),
    }
}

/// What is said at the first interrupt. Whether there is something to go back from is decided where it is taken in: a service
/// that is stable already stays, and the events say so.
const ASKED_TO_STOP: &str = "asking for a safe stop: services that are not stable yet go back, those that are stay; once more \
                             stops at once and leaves the run to be taken up again";

/// The first interrupt asks for a safe stop, the second leaves the run as it is.
async fn listen(tell: mpsc::Sender<Control>, screen: Arc<Screen>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    let mut asked = 0_u32;
    loop {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        asked = asked.saturating_add(1);
        let control = if asked == 1 {
            screen.note(ASKED_TO_STOP);
            let by = Owner::this().to_string();
            Control::Ask(Box::new(Record::Request { service: None, verb: Verb::Abort, by, order: None }), None)
        } else {
            Control::StopNow
        };
        if tell.send(control).await.is_err() {
            return;
        }
    }
}
