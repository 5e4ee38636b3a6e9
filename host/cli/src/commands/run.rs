//! `basb-host run`.

use super::{prepare, session};
use crate::args::FileArgs;
use crate::exit::{CliError, Exit};
use crate::printer::Printer;
use crate::screen::Screen;
use basb_core::run::Verb;
use basb_engine::{Control, Ended, RunChoice, Session, Started};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Deploys.
pub async fn run(file: &FileArgs, new: bool, state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    let session = session(state)?;
    let prepared = prepare(&session, file, printer).await?;
    let choice = if new { RunChoice::Afresh } else { RunChoice::ContinueIfUnfinished };
    let started = session.start(prepared, choice).await?;
    for message in started.messages() {
        printer.note(message);
    }
    drive(&session, started, printer).await
}

/// Follows a run to its end, and lets the operator stop it.
pub async fn drive(session: &Session, started: Started, printer: Printer) -> Result<Exit, CliError> {
    let screen = Arc::new(Screen::new(printer));
    let (tell, control) = mpsc::channel(8);
    let interrupts = tokio::spawn(listen(tell, Arc::clone(&screen)));
    let id = started.id().clone();
    let ended = session.drive(started, screen.as_ref(), control).await;
    interrupts.abort();
    screen.close();
    let (ended, left) = ended?;
    if let Some(left) = left {
        printer.note(&format!("warning: {left}"));
    }
    Ok(match ended {
        Ended::Finished(outcome) => outcome.into(),
        Ended::AtGate => {
            printer.note(&format!(
                "waiting at a gate: go on with `basb-host promote {id}`, or go back with `basb-host abort {id}`"
            ));
            Exit::AtGate
        }
        Ended::Stopped => {
            printer.note(&format!("stopped; run {id} is unfinished: the same `basb-host run` takes it up again"));
            Exit::Error
        }
    })
}

/// The first interrupt is a safe stop, the second leaves the run as it is.
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
            screen.note("stopping safely: back to the stable revisions; once more stops at once and leaves the run to be taken up again");
            Control::Request { service: None, verb: Verb::Abort, by: "the operator".to_owned() }
        } else {
            Control::StopNow
        };
        if tell.send(control).await.is_err() {
            return;
        }
    }
}
