//! Runs all cases, each in a process of its own, and sums up.

use crate::case::{Alone, Case};
use crate::deployment::Deployment;
use crate::judge::CaseResult;
use crate::{cases, guests, say};
use serde::Serialize;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The longest that a case may take.
const LONGEST: Duration = Duration::from_secs(120);

/// How the result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// What is run, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// Only cases whose name contains this.
    pub only: String,
    /// So many at once.
    pub jobs: usize,
    /// Where the guests are kept, and the code that is compiled from them.
    pub folder: PathBuf,
}

/// What came of it all.
#[derive(Debug, Serialize)]
struct Summary {
    cases: usize,
    contained: usize,
    failures: Vec<CaseResult>,
    seconds: u64,
    largest_growth_mib: u64,
    results: Vec<CaseResult>,
}

/// Runs the cases. Fails when one is not contained.
pub fn run(options: &Options, form: Form) -> ExitCode {
    let start = Instant::now();
    guests::build_all(&options.folder);
    Deployment::prepare(&options.folder);
    let (alone, together): (Vec<Case>, Vec<Case>) = cases::all()
        .into_iter()
        .filter(|case| case.name.contains(&options.only))
        .partition(|case| case.alone == Alone::Yes);
    let mut results = in_parallel(options, &together, options.jobs.max(1), form);
    results.extend(in_parallel(options, &alone, 1, form));
    results.sort_by(|a, b| a.name.cmp(&b.name));
    let failures: Vec<CaseResult> = results.iter().filter(|result| !result.contained).cloned().collect();
    let summary = Summary {
        cases: results.len(),
        contained: results.len() - failures.len(),
        failures,
        seconds: start.elapsed().as_secs(),
        largest_growth_mib: results.iter().map(|result| result.grew_mib).max().unwrap_or(0),
        results,
    };
    match form {
        Form::Json => say(&serde_json::to_string_pretty(&summary).unwrap()),
        Form::Text => say(&format!(
            "{} of {} contained, {} s, at most {} MiB more",
            summary.contained, summary.cases, summary.seconds, summary.largest_growth_mib
        )),
    }
    if summary.failures.is_empty() && summary.cases > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn in_parallel(options: &Options, cases: &[Case], jobs: usize, form: Form) -> Vec<CaseResult> {
    let next = Mutex::new(cases.iter());
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let Some(case) = next.lock().unwrap().next() else { return };
                    let result = one(options, case);
                    if form == Form::Text {
                        let sign = if result.contained { "contained" } else { "FAILED   " };
                        say(&format!(
                            "{sign} {:<38} {:>6} ms {:>4} MiB  {}",
                            result.name,
                            result.took_ms,
                            result.grew_mib,
                            one_line(&result.seen)
                        ));
                    }
                    done.lock().unwrap().push(result);
                }
            });
        }
    });
    done.into_inner().unwrap()
}

fn one_line(text: &str) -> String {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    flat.chars().take(400).collect()
}

/// Runs one case in a process of its own. One that dies or does not end is not contained.
fn one(options: &Options, case: &Case) -> CaseResult {
    let start = Instant::now();
    let lost = |why: String| CaseResult {
        name: case.name.clone(),
        attacks: case.attacks.clone(),
        contained: false,
        seen: why,
        grew_mib: 0,
        may_grow_mib: case.growth,
        took_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["case", &case.name, "--json", "--folder"]).arg(&options.folder);
    // For the case that looks whether programs inherit it.
    command.env("BASB_HOSTILE_OWN", "of the host");
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    match child.map_err(|error| error.to_string()).and_then(|child| finish(child, start)) {
        Ok((ended, stdout, stderr)) => match serde_json::from_str::<CaseResult>(&stdout) {
            Ok(result) if result.name == case.name && (ended.success() || !result.contained) => result,
            _ => {
                let last: String = stderr.chars().rev().take(600).collect::<Vec<_>>().into_iter().rev().collect();
                lost(format!("the host's process ended with {ended}: {last}"))
            }
        },
        Err(why) => lost(why),
    }
}

/// Waits for a child; one that takes too long is ended.
fn finish(mut child: Child, start: Instant) -> Result<(std::process::ExitStatus, String, String), String> {
    let stdout = reader(child.stdout.take().unwrap());
    let stderr = reader(child.stderr.take().unwrap());
    let ended = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(ended) => break ended,
            None if start.elapsed() > LONGEST => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("the host's process did not end within {} s", LONGEST.as_secs()));
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    Ok((ended, stdout.join().unwrap(), stderr.join().unwrap()))
}

fn reader(mut from: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let _ = from.read_to_end(&mut all);
        String::from_utf8_lossy(&all).into_owned()
    })
}
