//! What an operator asks of a run from another terminal: `promote`, `pause`, `resume`, `abort`, `stop`, `retry`, `approve`,
//! `unlock`.

use super::{run, session};
use crate::args::{ApproveArgs, StopArgs, UnlockArgs, VerbArgs};
use crate::exit::{CliError, Exit};
use crate::printer::{Form, Printer};
use basb_core::run::Verb;
use basb_core::{Digest, RunId, ServiceName};
use basb_engine::{Answer, Answered, Ask, Session, Unlock};
use std::path::Path;

/// Asks a run for a verb.
pub async fn ask(args: &VerbArgs, verb: Verb, state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    let session = session(state)?;
    put(&session, args.run.as_deref(), args.service.as_deref(), &Ask::Verb(verb), printer).await
}

/// Stops the process that is at work on a run, leaving the run to be taken up again.
pub async fn stop(args: &StopArgs, state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    let session = session(state)?;
    let ask = if args.now { Ask::StopNow } else { Ask::Stop };
    put(&session, args.run.as_deref(), None, &ask, printer).await
}

/// Agrees at a gate.
pub async fn approve(args: &ApproveArgs, state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    let session = session(state)?;
    let plan = match &args.plan {
        Some(text) => Some(digest(text)?),
        None => None,
    };
    let by = args.by.clone().unwrap_or_else(basb_engine::user);
    let ask = Ask::Approve { gate: args.gate.clone(), plan, by };
    put(&session, args.run.as_deref(), None, &ask, printer).await
}

/// Tries what waits for another attempt now, or a finished run once more.
pub async fn retry(args: &VerbArgs, state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    let session = session(state)?;
    let service = name(args.service.as_deref())?;
    let answered = session.retry(args.run.as_deref(), service.as_ref()).await?;
    answer(&session, answered, printer).await
}

/// Releases a lease by force.
pub async fn unlock(args: &UnlockArgs, state: Option<&Path>, printer: Printer) -> Result<Exit, CliError> {
    let session = session(state)?;
    let how = if args.even_if_alive { Unlock::EvenIfAlive } else { Unlock::UnlessAlive };
    let held = session.unlock(args.what.as_deref(), how).await?;
    if printer.form() == Form::Json {
        printer.json(&serde_json::json!({ "version": 1, "verb": "unlock", "held": held }));
        return Ok(Exit::Done);
    }
    printer.line(&format!("released: the lease on {} was held by {}", held.lease, held.sentence_now()));
    match held.holder {
        "lives" => printer.note("that process lives: it stops at its next write, since its token is worth nothing any more"),
        "gone" => printer.note("that process is gone"),
        _ => printer.note(
            "whether that process lives cannot be seen from here; if it does, it stops at its next write, since its token is worth nothing any more",
        ),
    }
    Ok(Exit::Done)
}

/// Goes on with an unfinished run.
pub async fn go_on(session: &Session, run: &RunId, printer: Printer) -> Result<Exit, CliError> {
    put(session, Some(run.as_str()), None, &Ask::Verb(Verb::Resume), printer).await
}

async fn put(
    session: &Session,
    run: Option<&str>,
    service: Option<&str>,
    ask: &Ask,
    printer: Printer,
) -> Result<Exit, CliError> {
    let service = name(service)?;
    let answered = session.ask(run, service.as_ref(), ask).await?;
    answer(session, answered, printer).await
}

fn name(service: Option<&str>) -> Result<Option<ServiceName>, CliError> {
    let read = |name| {
        ServiceName::new(name).map_err(|e| {
            CliError::plain("cli/bad-name", e.to_string(), "write the service's name as in the deployment file")
        })
    };
    service.map(read).transpose()
}

async fn answer(session: &Session, answered: Answered, printer: Printer) -> Result<Exit, CliError> {
    match answered {
        Answered::Done(answer) => {
            if printer.form() == Form::Json {
                printer.json(&answer);
            } else {
                show(&answer, printer);
            }
            Ok(Exit::Done)
        }
        Answered::Began(started, answer) => {
            for line in lines(&answer) {
                printer.note(&line);
            }
            run::drive(session, *started, printer).await
        }
        Answered::TakenUp(started, answer) => {
            for line in lines(&answer) {
                printer.note(&line);
            }
            printer.note(&format!("nobody was at work on run {}: going on with it here", answer.run));
            started.messages().iter().for_each(|message| printer.note(message));
            run::drive(session, *started, printer).await
        }
    }
}

fn show(answer: &Answer, printer: Printer) {
    for line in lines(answer) {
        printer.line(&line);
    }
    match &answer.taken_by {
        Some(process) => printer.note(&format!("run {}: taken up by {process}, which is at work on it", answer.run)),
        None => printer.note(&format!("run {}: written down; nobody is at work on it", answer.run)),
    }
}

fn lines(answer: &Answer) -> Vec<String> {
    let line = |says: &basb_engine::Says| match &says.service {
        Some(service) => format!("{service}: {}", says.what),
        None => says.what.clone(),
    };
    answer.says.iter().map(line).collect()
}

fn digest(text: &str) -> Result<Digest, CliError> {
    let whole = if text.starts_with("sha256:") { text.to_owned() } else { format!("sha256:{text}") };
    Digest::try_from(whole).map_err(|e| {
        CliError::plain(
            "cli/bad-digest",
            e.to_string(),
            "copy it from `basb-host status`, or `planDigest` from the file that `basb-host plan --out FILE` writes",
        )
    })
}
