//! What an operator asks of a run whose process is killed while it takes it up: right before the write that holds its
//! record, and right after it. Whoever asked waits for an answer, or is killed too. What was asked is recorded once,
//! and is done.

use crate::cloud::Account;
use crate::host::{At, Host, PATIENCE, Result};
use crate::in_call;
use crate::local::Stage;
use crate::recorded::{Recorded, Release, strs};
use crate::report::Outcome;
use basb_core::run::{Record, Verb};
use basb_journal::{Journal, RunFilter, RunState};
use std::path::Path;
use std::time::{Duration, Instant};

/// What becomes of whoever asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// It waits for an answer, and takes the run up itself when the process at work is gone.
    Waits,
    /// It is killed as soon as the process at work was.
    IsKilled,
}

/// What is asked, and how the run ends by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// To go back.
    Abort,
    /// To end the pause.
    Promote,
}

impl Asked {
    fn verb(self) -> Verb {
        match self {
            Self::Abort => Verb::Abort,
            Self::Promote => Verb::Promote,
        }
    }

    fn code(self) -> i32 {
        match self {
            Self::Abort => 3,
            Self::Promote => 0,
        }
    }

    fn outcome(self) -> &'static str {
        match self {
            Self::Abort => "rolled-back",
            Self::Promote => "done",
        }
    }
}

/// A run in a pause of its canary is asked, and its process is killed over it.
///
/// # Errors
/// When something does not get to its end.
pub fn killed(place: &Recorded, name: &str, asked: Asked, stage: Stage, asker: Asker) -> Result<Outcome> {
    let host = place.fork(name)?;
    let args = place.args(name, Release::Good);
    let at = match stage {
        Stage::Before => At("kill-before:taken1".to_owned()),
        Stage::After => At("kill-after:taken1".to_owned()),
    };
    let mut outcome = Outcome::one();
    let run = host.start_crashing(&at, &strs(&args))?;
    paused(&host)?;
    let verb = asked.verb().to_string();
    let asks = host.start(&["--json", &verb])?;
    if !run.end()?.killed() {
        return Err("the process at work was not killed".to_owned());
    }
    outcome.kills += 1;
    match asker {
        Asker::Waits => {
            let told = asks.end()?;
            // It may have read the record just before the process that wrote it was killed: the request is safe then, and
            // whoever takes the run up carries it out.
            if stage == Stage::After && told.status.code() == Some(0) && requests(&host.state)?.1 == "unfinished" {
                host.run(&["--json", "resume"])?.exits(asked.code())?;
            } else {
                told.exits(asked.code())?;
            }
        }
        Asker::IsKilled => {
            outcome.kills += u64::from(asks.kill()?.killed());
            host.run(&["--json", "resume"])?.exits(asked.code())?;
        }
    }
    let (found, ended, waiting) = requests(&host.state)?;
    match found.iter().filter(|verb| **verb == asked.verb()).count() {
        0 => outcome.lost.push(format!("`{verb}` is not on record")),
        1 => {}
        times => outcome.doubled.push(format!("`{verb}` is on record {times} times")),
    }
    if ended != asked.outcome() {
        outcome.differs.push(format!("the run ended as {ended} and not as {}", asked.outcome()));
    }
    if waiting > 0 {
        outcome.differs.push(format!("{waiting} requests are left in the mailbox"));
    }
    let account: Account = place.cloud.close(name);
    outcome.differs.extend(account.violations.iter().map(|what| format!("the cloud was asked for: {what}")));
    if outcome.lost.is_empty() && outcome.doubled.is_empty() && outcome.differs.is_empty() {
        std::fs::remove_dir_all(&host.folder).map_err(|e| e.to_string())?;
    }
    Ok(outcome)
}

/// Waits until the run is in its pause.
fn paused(host: &Host) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if host.run(&["--json", "status"])?.stdout.contains("wait: pause") {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err("the run does not come to its pause".to_owned())
}

/// The verbs on record of the newest run, how it ended, and how many requests wait.
fn requests(state: &Path) -> Result<(Vec<Verb>, String, usize)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let text = |e: basb_journal::JournalError| e.to_string();
        let journal = Journal::open(&state.join("journal")).map_err(text)?;
        let newest = journal.runs(RunFilter::default(), 1).await.map_err(text)?.pop();
        let newest = newest.ok_or_else(|| "there is no run".to_owned())?;
        let id = &newest.start.run;
        journal.verify(id).await.map_err(|e| e.to_string())?;
        let entries = journal.entries(id, 1).await.map_err(text)?;
        let verbs = entries.iter().filter_map(|entry| match serde_json::from_str(&entry.body) {
            Ok(Record::Request { verb, .. }) => Some(verb),
            _ => None,
        });
        let ended = match &newest.state {
            RunState::Open => "unfinished".to_owned(),
            RunState::Finished { outcome, .. } => outcome.clone(),
        };
        Ok((verbs.collect(), ended, journal.requests(id, 0).await.map_err(text)?.len()))
    })
}

/// One service, whose canary has a pause that nobody could wait for.
pub fn file(port: u16) -> String {
    let steps = "    config: { steps: [ { setWeight: 20 }, { pause: { duration: 1h } } ] }\n";
    format!("{}{steps}", in_call::file(port))
}
