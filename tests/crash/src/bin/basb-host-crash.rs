//! The whole of `basb-host`, but it ends, or stops, itself at an exact place of its journal.
//!
//! `BASB_CRASH_AT` says where: `ACTION-STAGE:N`, of `kill` or `stop`, `before` or `after`, at the commit with which the
//! journal has N entries or more; with `commit` in front of N, at the N-th commit of this process; with `ahead`, at the
//! commit with which N or more questions and answers of open calls are written ahead; with `taken`, at the one with which N
//! or more requests of operators are taken. Nothing of this is in the product: the
//! journal's observer is set here.

#![expect(clippy::print_stderr, reason = "a program of tests: a wrong variable is a wrong test")]

use basb_journal::{Commit, CommitStage, observe_commits};
use std::process::ExitCode;
use std::sync::OnceLock;

#[derive(Debug)]
struct Crash {
    signal: libc::c_int,
    stage: CommitStage,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Entry(u64),
    Commit(u64),
    Ahead(u64),
    Taken(u64),
}

static CRASH: OnceLock<Crash> = OnceLock::new();

fn parse(text: &str) -> Option<Crash> {
    let (action, rest) = text.split_once('-')?;
    let (stage, number) = rest.split_once(':')?;
    let word = number.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = number.strip_prefix(word)?.parse().ok()?;
    let place = match word {
        "" => Place::Entry(number),
        "commit" => Place::Commit(number),
        "ahead" => Place::Ahead(number),
        "taken" => Place::Taken(number),
        _ => return None,
    };
    let signal = match action {
        "kill" => libc::SIGKILL,
        "stop" => libc::SIGSTOP,
        _ => return None,
    };
    let stage = match stage {
        "before" => CommitStage::Before,
        "after" => CommitStage::After,
        _ => return None,
    };
    Some(Crash { signal, stage, place })
}

fn observe(commit: Commit) {
    let Some(crash) = CRASH.get() else { return };
    let here = match crash.place {
        Place::Entry(number) => commit.entries >= number,
        Place::Commit(number) => commit.number == number,
        Place::Ahead(number) => commit.ahead >= number,
        Place::Taken(number) => commit.taken >= number,
    };
    static DONE: OnceLock<()> = OnceLock::new();
    if here && commit.stage == crash.stage && DONE.set(()).is_ok() {
        // To this very thread, so that it gets no further: a signal to the process may be taken by another one, later.
        #[expect(unsafe_code, reason = "no crate that is here already sends a signal to a thread")]
        // SAFETY: the call takes a number and touches no memory of ours.
        let sent = unsafe { libc::raise(crash.signal) };
        if sent != 0 {
            eprintln!("the signal {} was not sent", crash.signal);
            std::process::abort();
        }
    }
}

fn main() -> ExitCode {
    if let Ok(text) = std::env::var("BASB_CRASH_AT") {
        match parse(&text) {
            Some(crash) => {
                let _ = CRASH.set(crash);
                observe_commits(observe);
            }
            None => {
                eprintln!("BASB_CRASH_AT={text} is not understood");
                return ExitCode::FAILURE;
            }
        }
    }
    basb_cli::main()
}
