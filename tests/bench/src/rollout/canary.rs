//! The canaries: `basb-host run` of releases 1, 2 and 3, with the load on from release 2 on.

use super::lab::Lab;
use super::report::Broken;
use super::shares::{self, Failures, Share, Shift};
use crate::Result;
use crate::load::{Call, Load, Recorded};
use crate::load_reply::{Answer, Failure};
use basb_agent::api::ServiceState;
use basb_core::Verdict;
use basb_core::event::{Body, Event};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

/// What the canary from release 1 to 2 came to.
#[derive(Debug)]
pub(crate) struct Canary {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) shares: Vec<Share>,
    pub(crate) examples: Vec<String>,
}

/// A run is expected to be over by then.
const LONGEST_RUN: Duration = Duration::from_secs(600);

/// How long the load goes on after a run, so that what happens at its end is seen as well.
const AFTERGLOW: Duration = Duration::from_millis(500);

/// Runs the three releases.
pub(crate) async fn measure(lab: &Lab) -> Result<(Canary, Broken)> {
    let state = lab.folder("run")?;
    let agent = lab.agent_of(&state);
    run(lab, &state, 1).await?.must_end_with(0)?;
    let services = agent.services().await?;
    let address = address(&services, &lab.args.service)?;

    let load = Load::start(address, Call::Tool, lab.args.connections)?;
    let second = run(lab, &state, 2).await;
    tokio::time::sleep(AFTERGLOW).await;
    let recorded = load.stop()?;
    let second = second?;
    second.must_end_with(0)?;
    let canary = canary(&second, &lab.args.service, recorded)?;

    let load = Load::start(address, Call::Tool, lab.args.connections)?;
    let third = run(lab, &state, 3).await;
    tokio::time::sleep(AFTERGLOW).await;
    let recorded = load.stop()?;
    let broken = broken(&third?, &lab.args.service, &recorded)?;
    Ok((canary, broken))
}

fn canary(run: &Ended, service: &str, recorded: Recorded) -> Result<Canary> {
    let shifts = run.shifts(service);
    let finished = run.first(|body| matches!(body, Body::RunFinished { .. })).ok_or("the run told of no end")?;
    let in_time: Vec<_> = recorded.samples.into_iter().filter(|sample| sample.ended <= micros(finished)).collect();
    let failed = in_time.iter().filter(|sample| matches!(sample.answer, Answer::Failed(_))).count();
    let shares = shares::shares(&in_time, &shifts, micros(finished), |answer| answer == Answer::Release(2));
    Ok(Canary { requests: in_time.len() as u64, failed: failed as u64, shares, examples: recorded.examples })
}

fn broken(run: &Ended, service: &str, recorded: &Recorded) -> Result<Broken> {
    let shifts = run.shifts(service);
    let of_candidate = |answer: Answer| matches!(answer, Answer::Release(3) | Answer::Failed(Failure::Service));
    let mine = |event: &&Event| event.service.as_ref().is_some_and(|name| name.as_str() == service);
    let at = |wanted: fn(&Body) -> bool| run.events.iter().filter(mine).find(|e| wanted(&e.body)).map(|e| e.at.0);
    let aborted = at(|body| matches!(body, Body::Aborted { .. })).ok_or("release 3 was not aborted")?;
    let back = at(|body| matches!(body, Body::RolledBack { .. })).ok_or("release 3 was not rolled back")?;
    let measured = at(|body| matches!(body, Body::MetricMeasured { verdict: Verdict::Fail, .. }));
    let seconds = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1000.0;
    let Failures { all, not_of_candidate } =
        shares::failures(&recorded.samples, shifts.first().map(|shift| shift.at), Some(back * 1000));
    // The last change is the way back: what is before it was set by the strategy.
    let shares = shares::shares(&recorded.samples, &shifts, back * 1000, of_candidate);
    let last = recorded.samples.iter().filter(|s| of_candidate(s.answer)).map(|s| s.ended).max().unwrap_or(0);
    Ok(Broken {
        requests: recorded.samples.len() as u64,
        failed: all,
        failed_on_stable: not_of_candidate,
        max_share_error_pp: shares::largest_error(&shares),
        rollback_s: seconds(measured.unwrap_or(aborted).min(aborted), back),
        rollback_from_abort_s: seconds(aborted, back),
        last_candidate_answer_s: seconds(aborted, last / 1000),
        exit_code: run.exit_code,
    })
}

/// Where a service of the deployment is reached.
fn address(services: &[ServiceState], service: &str) -> Result<SocketAddr> {
    let named = |state: &&ServiceState| state.name.as_str().rsplit('.').next() == Some(service);
    let state = services.iter().find(named);
    let state = state.ok_or_else(|| format!("the deployment has no service `{service}`; choose one with --service"))?;
    Ok(state.listen)
}

/// A run that has ended.
#[derive(Debug)]
struct Ended {
    events: Vec<Event>,
    exit_code: i32,
    stderr: String,
}

fn micros(event: &Event) -> u64 {
    event.at.0 * 1000
}

impl Ended {
    fn must_end_with(&self, code: i32) -> Result<()> {
        if self.exit_code == code {
            return Ok(());
        }
        let events: Vec<String> = self.events.iter().map(|event| event.body.title()).collect();
        Err(format!(
            "`basb-host run` ended with {} instead of {code}\n{}\n{}",
            self.exit_code,
            events.join("\n"),
            self.stderr
        )
        .into())
    }

    fn first(&self, wanted: fn(&Body) -> bool) -> Option<&Event> {
        self.events.iter().find(|event| wanted(&event.body))
    }

    fn shifts(&self, service: &str) -> Vec<Shift> {
        let mine = self.events.iter().filter(|e| e.service.as_ref().is_some_and(|name| name.as_str() == service));
        mine.filter_map(|event| match &event.body {
            Body::TrafficShifted { candidate, .. } => {
                Some(Shift { at: micros(event), candidate: candidate.hundredths() })
            }
            _ => None,
        })
        .collect()
    }
}

async fn run(lab: &Lab, state: &Path, release: u8) -> Result<Ended> {
    let vault = lab.folder("vault")?;
    let mut child = Command::new(&lab.args.bin)
        .arg("--state")
        .arg(state)
        .arg("--json")
        .arg("run")
        .arg(&lab.args.file)
        .args(["--set", &format!("release={release}")])
        .args(["--set", &format!("program={}", lab.args.example.display())])
        .args(["--set", &format!("vault={}", vault.display())])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .process_group(0)
        .spawn()?;
    let (stdout, mut errors) = (child.stdout.take().ok_or("no output")?, child.stderr.take().ok_or("no output")?);
    let read = async {
        let mut lines = BufReader::new(stdout).lines();
        let mut events = Vec::new();
        while let Some(line) = lines.next_line().await? {
            // What is no event is an error, which is told on standard error as well.
            events.extend(serde_json::from_str::<Event>(&line));
        }
        Ok::<_, std::io::Error>(events)
    };
    let mut stderr = String::new();
    let all = async { tokio::join!(read, errors.read_to_string(&mut stderr), child.wait()) };
    let (events, _, status) =
        tokio::time::timeout(LONGEST_RUN, all).await.map_err(|_| "`basb-host run` took more than 10 minutes")?;
    Ok(Ended { events: events?, exit_code: status?.code().unwrap_or(-1), stderr })
}
