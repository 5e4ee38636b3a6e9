//! One call of a provider with many requests that change something: the host is killed before and after each of them, and
//! in the middle of it, and the call goes on where it was cut off.
//!
//! Each request names what the one before it was answered with, so a call that is made again comes to the same requests
//! only if the answers are played back to it. What was answered before the kill, as the journal knows it, must never
//! arrive a second time, though the cloud would forgive it: it has a key. What was in doubt may, once.

use crate::cloud::{Acts, Trap};
use crate::host::{At, Host, PATIENCE, Result};
use crate::local::Stage;
use crate::recorded::{Recorded, Reference, Release, strs};
use crate::report::{Outcome, Part};
use basb_journal::Journal;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Papers that are filed in the call.
const PAPERS: usize = 3;
/// Requests of the call that change something: the papers and the revision.
pub const REQUESTS: usize = PAPERS + 1;

/// Whether a run is killed once more in the resumed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// It is not.
    No,
    /// At each place behind the first one.
    Everywhere,
}

/// Where the host is killed.
#[derive(Debug, Clone, Copy)]
enum Kill {
    /// At the commit with which so many questions and answers are written ahead.
    Page(Stage, u64),
    /// While it waits for the answer to a request.
    Request(Trap),
}

/// What the journal knew of the call when the host was killed.
#[derive(Debug, Default)]
struct Known {
    /// Questions and answers that were written ahead.
    ahead: u64,
    /// How often each request had arrived whose answer was known.
    answered: BTreeMap<String, usize>,
}

/// The prepared place, and what is counted over all runs.
pub struct Bench<'a> {
    place: &'a Recorded,
    reference: &'a Reference,
    played: AtomicU64,
    again: AtomicU64,
}

impl<'a> Bench<'a> {
    /// Nothing is counted yet.
    #[must_use]
    pub fn new(place: &'a Recorded, reference: &'a Reference) -> Self {
        Self { place, reference, played: AtomicU64::new(0), again: AtomicU64::new(0) }
    }

    /// Killed at each page that is written ahead, one after the other.
    ///
    /// # Errors
    /// When a run does not get to its end.
    pub fn at_every_page(&self, stage: Stage, again: Again) -> Result<Outcome> {
        let (mut all, mut places) = (Outcome::default(), Vec::new());
        let mut page = 1;
        loop {
            let (outcome, reached) = self.disturbed(&format!("{stage:?}-{page}"), &[Kill::Page(stage, page)])?;
            all.add(&format!("page {page}"), outcome);
            let Some(reached) = reached else { break };
            places.push(page);
            page = page.max(reached) + 1;
        }
        // A question and an answer for each request: nothing is shown by less.
        if places.len() < REQUESTS * 2 {
            return Err(format!("the call was killed at {places:?} only"));
        }
        if again == Again::Everywhere {
            for (number, first) in places.iter().enumerate() {
                for second in places.iter().skip(number + 1) {
                    for then in [Stage::Before, Stage::After] {
                        let kills = [Kill::Page(stage, *first), Kill::Page(then, *second)];
                        let name = format!("{stage:?}-{first}-{then:?}-{second}");
                        let (outcome, _) = self.disturbed(&name, &kills)?;
                        all.add(&name, outcome);
                    }
                }
            }
        }
        Ok(all)
    }

    /// Killed while it waits for the answer to a request that was carried out, and to one that was lost.
    ///
    /// # Errors
    /// When a run does not get to its end.
    pub fn at_request(&self, request: usize) -> Result<Outcome> {
        let mut all = Outcome::default();
        for acts in [Acts::Yes, Acts::No] {
            let name = format!("request-{request}-{acts:?}");
            let (outcome, reached) = self.disturbed(&name, &[Kill::Request(Trap { request, acts })])?;
            if reached.is_none() {
                return Err(format!("{name}: the host was not killed"));
            }
            all.add(&name, outcome);
        }
        Ok(all)
    }

    /// Killed at each request of the call in turn: the call is cut off as often as it has requests.
    ///
    /// # Errors
    /// When it does not get to its end.
    pub fn at_each_request_in_turn(&self) -> Result<Outcome> {
        // Each that was carried out and not answered is sent once more by the next process: it is that one's first.
        let kills = (0..REQUESTS).map(|number| Kill::Request(Trap { request: 2 * number + 1, acts: Acts::Yes }));
        let (outcome, reached) = self.disturbed("in-turn", &kills.collect::<Vec<_>>())?;
        if reached.is_none() {
            return Err("the host was not killed at each request".to_owned());
        }
        Ok(outcome)
    }

    /// A run that is killed as told and resumed; also how much was written ahead at the last kill, none where the run was
    /// over before it.
    fn disturbed(&self, name: &str, kills: &[Kill]) -> Result<(Outcome, Option<u64>)> {
        let name = name.to_lowercase();
        let host = self.place.fork(&name)?;
        let args = self.place.args(&name, Release::Good);
        let mut outcome = Outcome::one();
        let mut known: Vec<Known> = Vec::new();
        let mut over = false;
        for kill in kills {
            let ended = match kill {
                Kill::Page(stage, page) => {
                    let at = match stage {
                        Stage::Before => At(format!("kill-before:ahead{page}")),
                        Stage::After => At(format!("kill-after:ahead{page}")),
                    };
                    host.start_crashing(&at, &strs(&args))?.end()?
                }
                Kill::Request(trap) => self.caught(&name, &host, *trap)?,
            };
            if !ended.killed() {
                ended.exits(0)?;
                over = true;
                break;
            }
            outcome.kills += 1;
            known.push(self.known(&name, &host.state)?);
        }
        if !over {
            host.run(&strs(&args))?.exits(0)?;
        }
        let account = self.place.cloud.account(&name);
        let times = |key: &str| account.arrived.iter().filter(|arrived| *arrived == key).count();
        for known in &known {
            for (key, before) in &known.answered {
                self.played.fetch_add(1, Ordering::Relaxed);
                if times(key) != *before {
                    outcome.doubled.push(format!("{key} was answered, and was sent again after the kill"));
                }
            }
        }
        let most = 1 + known.len();
        let mut keys: Vec<&String> = account.arrived.iter().filter(|key| !key.is_empty()).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            self.again.fetch_add(times(key) as u64 - 1, Ordering::Relaxed);
            if times(key) > most {
                outcome.doubled.push(format!("{key} arrived {} times", times(key)));
            }
        }
        self.place.compare(&name, &host, self.reference, &mut outcome)?;
        let reached = if over { None } else { known.last().map(|known| known.ahead) };
        Ok((outcome, reached))
    }

    /// Killed once a request is in the trap.
    fn caught(&self, name: &str, host: &Host, trap: Trap) -> Result<crate::host::Ended> {
        self.place.cloud.trap(name, trap);
        let mut running = host.start(&strs(&self.place.args(name, Release::Good)))?;
        let began = Instant::now();
        while running.runs() && !self.place.cloud.account(name).caught {
            if began.elapsed() > PATIENCE {
                return Err(format!("request {} does not come", trap.request));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        running.kill()
    }

    /// What the journal of a killed host knows of the call.
    fn known(&self, name: &str, state: &Path) -> Result<Known> {
        let arrived = self.place.cloud.account(name).arrived;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        runtime.block_on(async {
            let journal = Journal::open(&state.join("journal")).map_err(|e| e.to_string())?;
            let mut known = Known::default();
            for call in journal.open_calls("").await.map_err(|e| e.to_string())? {
                for exchange in call.exchanges {
                    known.ahead += 1 + u64::from(exchange.answer.is_some());
                    let key =
                        arrived.iter().find(|key| !key.is_empty() && exchange.ask.contains(&format!("\"{key}\"")));
                    if let (Some(key), Some(_)) = (key, &exchange.answer) {
                        let times = arrived.iter().filter(|other| *other == key).count();
                        known.answered.insert(key.clone(), times);
                    }
                }
            }
            Ok(known)
        })
    }

    /// Says what was played back, and that something was.
    pub fn conclude(&self, part: &mut Part) {
        let (played, again) = (self.played.load(Ordering::Relaxed), self.again.load(Ordering::Relaxed));
        crate::say(&format!("   {played} requests played back, {again} in doubt and sent again"));
        if played == 0 || again == 0 {
            part.end_state_differs += 1;
            part.faults
                .push(format!("{played} requests were played back and {again} sent again: nothing is shown by it"));
        }
    }
}

/// One service, whose deploy files papers before it makes a revision. No notifier: nothing else is written ahead at the
/// same time.
pub fn file(port: u16) -> String {
    format!(
        "version: 1
name: papers

vars:
  account: base
  release: \"1\"

plugins:
  cloud:
    source: ./recorder.wasm
    grants:
      http:
        - {{ host: 127.0.0.1, scheme: http, port: {port}, methods: [GET, POST, PUT, DELETE], path: /t/** }}
  canary:
    source: builtin:strategy-canary

environments:
  recorded:
    provider:
      plugin: cloud
      config: {{ endpoint: \"http://127.0.0.1:{port}/t/${{account}}\", papers: {PAPERS} }}

services:
  office:
    workload:
      command: [office]
      env: {{ RELEASE: \"${{release}}\" }}
      minReady: 0s
    strategy: at-once
    progressDeadline: 60s
    scaleDownDelay: 20ms
    abortScaleDownDelay: 20ms

strategies:
  at-once:
    plugin: canary
"
    )
}
