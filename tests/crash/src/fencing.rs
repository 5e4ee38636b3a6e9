//! Two runners on one state: one acts, whatever happens to the other.
//!
//! The first runner stops itself (SIGSTOP) at an exact place and holds the lease. The second is refused until the lease
//! has run out, then takes the run up. While it is at work, the first one wakes (SIGCONT): it must do nothing more, and say
//! who holds the lease. Both bear a name that the host adds to each request, so that the cloud sees who asks.

use crate::book::{Book, Extent};
use crate::host::{At, Came, Ended, Host, PATIENCE, Result, Running};
use crate::recorded::{Recorded, Reference, Release};
use crate::report::Outcome;
use crate::say;
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// How the first runner is called at the cloud.
const FIRST: &str = "runner-alpha-5f2c";
/// And the second.
const SECOND: &str = "runner-omega-91d7";

/// When the first one wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wakes {
    /// Once the second has changed something.
    Meanwhile,
    /// When the second has come to its end.
    Afterwards,
}

/// The first runner stops at a place, is taken over, and wakes.
///
/// # Errors
/// When something does not get to its end.
pub fn taken_over(recorded: &Recorded, name: &str, reference: &Reference, at: &At, wakes: Wakes) -> Result<Outcome> {
    let mut place = recorded.fork(name)?;
    let args = recorded.args(name, Release::Good);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    place.env = vec![("RUNNER".to_owned(), FIRST.to_owned())];
    let mut first = place.start_crashing(at, &args)?;
    if first.until_stopped()? == Came::ToItsEnd {
        return nobody_stopped(recorded, name, reference, &place, first);
    }
    let before = recorded.cloud.account(name);

    place.env = vec![("RUNNER".to_owned(), SECOND.to_owned())];
    let mut outcome = Outcome::one();
    let refused = place.run(&args)?;
    let pid = format!("pid {} ", first.pid());
    if !(refused.stderr.contains("run/busy") && refused.stderr.contains(&pid)) {
        outcome.differs.push(format!("the second runner is not told who is at work: {}", refused.stderr));
    }
    if Book::read(&place.state, Extent::Everything)?.is_over(1) {
        nothing_to_take_over(recorded, name, &place, &args, first, &mut outcome)?;
        outcome.kills += 1;
        recorded.compare_with_one_more(name, &place, reference, &mut outcome)?;
        return Ok(outcome);
    }
    let mut second = take_over(&place, &args)?;
    let taker = format!("pid {} ", second.pid());
    let ended = match wakes {
        Wakes::Meanwhile => {
            // At the run's end there may be nothing left to change: the second one is over then.
            wait(|| recorded.cloud.account(name).senders.iter().any(|sender| sender == SECOND) || !second.runs())?;
            first.signal(Signal::CONT);
            let (first, second) = (first.end()?, second.end()?);
            // The second one may have come to its end before the first one looks.
            if first.stderr.contains("it has been given back since") {
                told(&first, &["run/lease-lost"], &mut outcome);
            } else {
                told(&first, &[&taker, " holds it since ", "run/lease-lost"], &mut outcome);
            }
            second
        }
        Wakes::Afterwards => {
            let second = second.end()?;
            first.signal(Signal::CONT);
            let first = first.end()?;
            told(&first, &["run/lease-lost"], &mut outcome);
            second
        }
    };
    ended.exits(0)?;
    let account = recorded.cloud.account(name);
    // What the first one did, it did before the second one did anything.
    let from = account.senders.iter().position(|sender| sender == SECOND).unwrap_or(account.senders.len());
    let late = account.senders.iter().skip(from).filter(|sender| *sender == FIRST).count();
    if late > 0 {
        outcome.differs.push(format!("the woken runner sent {late} requests after the other had taken over"));
    }
    if before.senders.iter().any(|sender| sender != FIRST) {
        outcome.differs.push(format!("the cloud knows other runners: {:?}", before.senders));
    }
    outcome.kills += 1;
    recorded.compare(name, &place, reference, &mut outcome)?;
    Ok(outcome)
}

/// The run had fewer entries than the undisturbed one, and ended before the place at which the first runner was to stop: a
/// run without a stop, which ends as every other.
fn nobody_stopped(
    recorded: &Recorded,
    name: &str,
    reference: &Reference,
    place: &Host,
    first: Running,
) -> Result<Outcome> {
    first.end()?.exits(0)?;
    say(&format!("   {name}: the run was over before the first runner's place"));
    let mut outcome = Outcome::one();
    recorded.compare(name, place, reference, &mut outcome)?;
    Ok(outcome)
}

/// The first runner had come to the run's end when it stopped: the second one waits for the lease too, and finds nothing to
/// do; the first one does nothing more when it wakes.
fn nothing_to_take_over(
    recorded: &Recorded,
    name: &str,
    place: &Host,
    args: &[&str],
    first: Running,
    outcome: &mut Outcome,
) -> Result<()> {
    let before = recorded.cloud.account(name).senders;
    let began = Instant::now();
    loop {
        let second = place.run(args)?;
        if !second.stderr.contains("run/busy") {
            second.exits(0)?;
            break;
        }
        if began.elapsed() > PATIENCE {
            return Err("the lease does not run out".to_owned());
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    first.signal(Signal::CONT);
    let first = first.end()?;
    if first.status.code() != Some(0) {
        told(&first, &["run/lease-lost"], outcome);
    }
    say(&format!("   {name}: the run was over, and nothing was left to take over; the first runner: {}", first.status));
    if recorded.cloud.account(name).senders != before {
        outcome.differs.push("something was changed after the run's end".to_owned());
    }
    Ok(())
}

/// The first runner stops in the middle of a write, which keeps the file locked: the second is told so and changes
/// nothing, and the first goes on when it wakes.
///
/// # Errors
/// When something does not get to its end.
pub fn locked_out(recorded: &Recorded, name: &str, reference: &Reference, at: &At) -> Result<Outcome> {
    let mut place = recorded.fork(name)?;
    let args = recorded.args(name, Release::Good);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    place.env = vec![("RUNNER".to_owned(), FIRST.to_owned())];
    let mut first = place.start_crashing(at, &args)?;
    if first.until_stopped()? == Came::ToItsEnd {
        return nobody_stopped(recorded, name, reference, &place, first);
    }
    let mut outcome = Outcome::one();
    place.env = vec![("RUNNER".to_owned(), SECOND.to_owned())];
    let refused = place.run(&args)?;
    if refused.status.code() != Some(1) || !refused.stderr.contains("journal/locked") {
        outcome.differs.push(format!("the second runner is not told that the file is locked: {}", refused.stderr));
    }
    first.signal(Signal::CONT);
    first.end()?.exits(0)?;
    if recorded.cloud.account(name).senders.iter().any(|sender| sender == SECOND) {
        outcome.differs.push("the second runner changed something".to_owned());
    }
    outcome.kills += 1;
    recorded.compare(name, &place, reference, &mut outcome)?;
    Ok(outcome)
}

/// Starts a runner again and again until it is not refused.
fn take_over(place: &Host, args: &[&str]) -> Result<Running> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let mut runner = place.start(args)?;
        // Its first event says that it goes on: it has the lease then. It may be over already when that is seen.
        loop {
            let runs = runner.runs();
            if runner.output().contains("run.resumed") {
                return Ok(runner);
            }
            if !runs {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let ended = runner.end()?;
        if !ended.stderr.contains("run/busy") {
            return Err(format!("the second runner ended by itself: {}", ended.stderr));
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    Err("the lease does not run out".to_owned())
}

fn told(ended: &Ended, parts: &[&str], outcome: &mut Outcome) {
    let missing: Vec<&&str> = parts.iter().filter(|part| !ended.stderr.contains(**part)).collect();
    if ended.status.code() != Some(1) || !missing.is_empty() {
        outcome.differs.push(format!("the woken runner ended with {} and says: {}", ended.status, ended.stderr));
    }
}

fn wait(mut look: impl FnMut() -> bool) -> Result<()> {
    let began = Instant::now();
    while !look() {
        if began.elapsed() > PATIENCE {
            return Err("the second runner does nothing".to_owned());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
