//! The four services of the second brain on the recording cloud: killed anywhere, resumed, and compared.

use crate::book::{Book, Extent};
use crate::cloud::{Account, Cloud};
use crate::host::{At, Host, Result, copy_folder};
use crate::report::{Outcome, difference};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A kill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kill {
    /// The host kills itself at a place of its journal.
    At(At),
    /// It is killed from outside after so long.
    After(Duration),
}

/// What is deployed over release 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Release 2: a canary that is promoted.
    Good,
    /// Release 3: a canary that is rolled back.
    Broken,
}

impl Release {
    fn set(self) -> &'static str {
        match self {
            Self::Good => "release=2",
            Self::Broken => "release=3",
        }
    }

    /// The release that is stable afterwards.
    fn stable(self) -> &'static str {
        match self {
            Self::Good => "release=2",
            Self::Broken => "release=1",
        }
    }

    fn code(self) -> i32 {
        match self {
            Self::Good => 0,
            Self::Broken => 3,
        }
    }
}

/// What an undisturbed run comes to.
#[derive(Debug, Clone)]
pub struct Reference {
    effects: Vec<(String, Vec<String>)>,
    notified: Vec<String>,
    state: String,
    book: Book,
    /// The journal's entries before the run.
    pub first: u64,
    /// How long the run took.
    pub took: Duration,
}

impl Reference {
    /// The numbers of the journal's entries that the run writes.
    #[must_use]
    pub fn entries(&self) -> std::ops::RangeInclusive<u64> {
        self.first + 1..=self.book.entries
    }

    /// How many effects there are outside, notifications apart.
    #[must_use]
    pub fn effects(&self) -> usize {
        self.effects.iter().map(|(_, effects)| effects.len()).sum()
    }

    /// How many notifications there are.
    #[must_use]
    pub fn notifications(&self) -> usize {
        self.notified.len()
    }
}

/// A prepared place: release 1 is deployed on the recording cloud.
pub struct Recorded {
    /// The cloud.
    pub cloud: Cloud,
    folder: PathBuf,
    base: Host,
    entries: u64,
}

const BASE: &str = "base";

impl Recorded {
    /// Builds the guest and deploys release 1 of what the file for a cloud at this port describes.
    ///
    /// # Errors
    /// What does not work.
    pub fn prepare(folder: &Path, file: fn(u16) -> String) -> Result<Self> {
        let io = |e: std::io::Error| format!("{}: {e}", folder.display());
        std::fs::create_dir_all(folder).map_err(io)?;
        std::fs::write(folder.join("recorder.wasm"), basb_guest_build::build("guest-recorder")).map_err(io)?;
        let cloud = Cloud::start().map_err(io)?;
        std::fs::write(folder.join("deployment.yaml"), file(cloud.port())).map_err(io)?;
        let base = Host { folder: folder.join("base"), state: folder.join("base/state"), env: runner() };
        std::fs::create_dir_all(&base.folder).map_err(io)?;
        cloud.open(BASE);
        let mut recorded = Self { cloud, folder: folder.to_owned(), base, entries: 0 };
        let args = recorded.args_of(BASE, "release=1");
        recorded.base.run(&strs(&args))?.exits(0)?;
        recorded.entries = Book::read(&recorded.base.state, Extent::Everything)?.entries;
        Ok(recorded)
    }

    /// What a host is told to deploy a release into an account.
    #[must_use]
    pub fn args(&self, account: &str, release: Release) -> Vec<String> {
        self.args_of(account, release.set())
    }

    fn args_of(&self, account: &str, release: &str) -> Vec<String> {
        let file = self.folder.join("deployment.yaml").display().to_string();
        let account = format!("account={account}");
        ["--json", "run", &file, "--set", &account, "--set", release].map(str::to_owned).to_vec()
    }

    /// A copy of the prepared place, with an account of its own.
    ///
    /// # Errors
    /// What the file system says.
    pub fn fork(&self, name: &str) -> Result<Host> {
        let folder = self.folder.join("jobs").join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        let host = Host { state: folder.join("state"), folder, env: runner() };
        copy_folder(&self.base.state, &host.state).map_err(|e| format!("{}: {e}", host.state.display()))?;
        self.cloud.copy(BASE, name);
        Ok(host)
    }

    /// An undisturbed run.
    ///
    /// # Errors
    /// What does not work.
    pub fn reference(&self, release: Release) -> Result<Reference> {
        let name = format!("reference-{release:?}").to_lowercase();
        let host = self.fork(&name)?;
        let began = Instant::now();
        host.run(&strs(&self.args(&name, release)))?.exits(release.code())?;
        let took = began.elapsed();
        let (account, book) = (self.cloud.close(&name), Book::read(&host.state, Extent::Everything)?);
        let found = Reference {
            effects: effects(&account),
            notified: notified(&account, book.runs.get(1).map(|run| run.id.as_str()).unwrap_or_default()),
            state: account.state(),
            book,
            first: self.entries,
            took,
        };
        let odd = odd(&account);
        std::fs::remove_dir_all(&host.folder).map_err(|e| e.to_string())?;
        if odd.is_empty() { Ok(found) } else { Err(format!("the undisturbed run: {}", odd.join("; "))) }
    }

    /// A run that is killed, resumed and killed as told, then resumed to its end and compared.
    ///
    /// # Errors
    /// When it does not get to its end.
    pub fn disturbed(&self, name: &str, release: Release, reference: &Reference, kills: &[Kill]) -> Result<Outcome> {
        self.disturbed_to(name, release, reference, kills).map(|(outcome, _)| outcome)
    }

    /// The same; says also how many entries the journal had after the last kill.
    ///
    /// # Errors
    /// When it does not get to its end.
    pub fn disturbed_to(
        &self,
        name: &str,
        release: Release,
        reference: &Reference,
        kills: &[Kill],
    ) -> Result<(Outcome, u64)> {
        let host = self.fork(name)?;
        let args = self.args(name, release);
        let (mut outcome, mut reached, mut over) = (Outcome::one(), 0, false);
        for kill in kills {
            let ended = match kill {
                Kill::At(at) => host.start_crashing(at, &strs(&args))?.end()?,
                Kill::After(time) => {
                    let running = host.start(&strs(&args))?;
                    std::thread::sleep(*time);
                    running.kill()?
                }
            };
            outcome.kills += u64::from(ended.killed());
            if !ended.killed() {
                // It was quicker than the kill.
                ended.exits(release.code())?;
            }
            let book = Book::read(&host.state, Extent::Everything)?;
            reached = book.entries;
            over = book.is_over(1);
            if over {
                break;
            }
        }
        let mut wanted = reference.book.outcomes();
        if over {
            // There is nothing to go on with. What is left in the outbox goes out with the next run, which finds nothing
            // to do.
            host.run(&strs(&self.args_of(name, release.stable())))?.exits(0)?;
            wanted.push("done");
        } else {
            host.run(&strs(&args))?.exits(release.code())?;
        }
        self.finish(name, &host, &wanted, reference, &mut outcome)?;
        Ok((outcome, reached))
    }

    /// Compares a run that came to its end with the undisturbed one, and clears it away where nothing is wrong.
    ///
    /// # Errors
    /// When its journal cannot be read.
    pub fn compare(&self, name: &str, host: &Host, reference: &Reference, outcome: &mut Outcome) -> Result<()> {
        self.finish(name, host, &reference.book.outcomes(), reference, outcome)
    }

    /// The same where another run came after it, which found nothing to do.
    ///
    /// # Errors
    /// When its journal cannot be read.
    pub fn compare_with_one_more(
        &self,
        name: &str,
        host: &Host,
        reference: &Reference,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let wanted: Vec<&str> = reference.book.outcomes().into_iter().chain(["done"]).collect();
        self.finish(name, host, &wanted, reference, outcome)
    }

    fn finish(
        &self,
        name: &str,
        host: &Host,
        wanted: &[&str],
        reference: &Reference,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let (account, book) = (self.cloud.close(name), Book::read(&host.state, Extent::Everything)?);
        if book.outcomes() != wanted {
            outcome.differs.push(format!("the runs ended as {:?}, not as {wanted:?}", book.outcomes()));
        }
        compare(&account, &book, reference, outcome);
        if outcome.lost.is_empty() && outcome.doubled.is_empty() && outcome.differs.is_empty() {
            std::fs::remove_dir_all(&host.folder).map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

/// Compares what a disturbed run left behind with what an undisturbed one did.
fn compare(account: &Account, book: &Book, reference: &Reference, outcome: &mut Outcome) {
    let found = effects(account);
    for (service, wanted) in &reference.effects {
        let done = found.iter().find(|(name, _)| name == service).map(|(_, done)| done.as_slice()).unwrap_or_default();
        let (lost, doubled) = difference(wanted, done);
        if lost.is_empty() && doubled.is_empty() && wanted != done {
            outcome.differs.push(format!("{service}: the effects came in another order: {done:?}"));
        }
        outcome.lost.extend(lost.into_iter().map(|what| format!("{service}: {what}")));
        outcome.doubled.extend(doubled.into_iter().map(|what| format!("{service}: {what}")));
    }
    // Each has its own key, so one that came again with the same key is none that was done twice.
    let of_run = book.runs.get(1).map(|run| run.id.as_str()).unwrap_or_default();
    let (lost, doubled) = difference(&reference.notified, &notified(account, of_run));
    outcome.lost.extend(lost.into_iter().map(|what| format!("notification: {what}")));
    outcome.doubled.extend(doubled.into_iter().map(|what| format!("notification: {what}")));
    if account.state() != reference.state {
        outcome.differs.push(format!("the cloud is {} and not {}", account.state(), reference.state));
    }
    if book.stable != reference.book.stable {
        outcome.differs.push(format!("stable is {:?} and not {:?}", book.stable, reference.book.stable));
    }
    let events = |book: &Book| {
        let mut all = book.runs.get(1).map(|run| run.events.clone()).unwrap_or_default();
        // Services go on side by side: only the order within one is told.
        all.retain(|event| !event.contains(" run.resumed "));
        all.sort_by(|a, b| a.split(' ').next().cmp(&b.split(' ').next()));
        all
    };
    let (fewer, more) = difference(&events(&reference.book), &events(book));
    if !fewer.is_empty() || !more.is_empty() {
        outcome.differs.push(format!("the run's events lack {fewer:?} and have more {more:?}"));
    }
    outcome.differs.extend(odd(account));
}

/// The effects of each service, in order.
fn effects(account: &Account) -> Vec<(String, Vec<String>)> {
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    for effect in &account.effects {
        match all.iter_mut().find(|(service, _)| *service == effect.service) {
            Some((_, effects)) => effects.push(effect.what.clone()),
            None => all.push((effect.service.clone(), vec![effect.what.clone()])),
        }
    }
    all.sort();
    all
}

/// The notifications of a run, without those that only a run has that was taken up again.
fn notified(account: &Account, run: &str) -> Vec<String> {
    let of_run = account.notified.values().filter(|what| what.run == run && what.kind != "run.resumed");
    let mut all: Vec<String> = of_run.map(|what| format!("{} {}", what.service, what.kind)).collect();
    all.sort();
    all
}

/// What must never be seen in the cloud.
fn odd(account: &Account) -> Vec<String> {
    account.violations.iter().map(|what| format!("the cloud was asked for what nobody may ask: {what}")).collect()
}

/// Who the host says it is, in a header of each request to the cloud.
fn runner() -> Vec<(String, String)> {
    vec![("RUNNER".to_owned(), "runner-of-the-crash-tests".to_owned())]
}

pub fn strs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

/// The deployment: the four services of the example and their canary, with short pauses, on the recording cloud. A bake
/// ends well before a second measurement is due: how many there are must not depend on how quick the machine is.
pub fn second_brain(port: u16) -> String {
    let service = |name: &str, depends: &str| {
        format!(
            "  {name}:
    workload:
      command: [second-brain, {name}]
      env: {{ RELEASE: \"${{release}}\" }}
      minReady: 0s
    replicas: 2
{depends}    strategy: careful
    readiness: [health]
    verify: [health]
    bake: {{ duration: 50ms, analyses: [healthy] }}
    progressDeadline: 60s
    scaleDownDelay: 20ms
    abortScaleDownDelay: 20ms
"
        )
    };
    let services = [
        service("capture", ""),
        service("organize", "    dependsOn: [capture]\n"),
        service("distill", "    dependsOn: [capture]\n"),
        service("express", "    dependsOn: [organize, distill]\n"),
    ]
    .concat();
    format!(
        "version: 1
name: second-brain

vars:
  account: base
  release: \"1\"

secrets:
  runner: {{ store: env, key: RUNNER }}
credentials:
  runner:
    to: [{{ host: 127.0.0.1, scheme: http, port: {port} }}]
    header: {{ name: x-runner, value: runner, prefix: \"\" }}

plugins:
  cloud:
    source: ./recorder.wasm
    credentials: [runner]
    grants:
      http:
        - {{ host: 127.0.0.1, scheme: http, port: {port}, methods: [GET, POST, PUT, DELETE], path: /t/** }}
  canary:
    source: builtin:strategy-canary
  http:
    source: builtin:probe-http
    grants:
      http:
        - {{ target: service, methods: [GET], path: /t/** }}
  hook:
    source: builtin:notifier-webhook
    grants:
      http:
        - {{ host: 127.0.0.1, scheme: http, port: {port}, methods: [POST], path: /t/*/hook }}

environments:
  recorded:
    provider: {{ plugin: cloud, config: {{ endpoint: \"http://127.0.0.1:{port}/t/${{account}}\" }} }}

services:
{services}
strategies:
  careful:
    plugin: canary
    config:
      steps:
        - setWeight: 10
        - analysis: {{ templates: [healthy] }}
        - setWeight: 25
        - pause: {{ duration: 20ms }}
        - setWeight: 50
        - analysis: {{ templates: [healthy] }}
        - setWeight: 75
        - pause: {{ duration: 20ms }}

probes:
  health:
    plugin: http
    config: {{ path: /healthz }}

analyses:
  healthy:
    metrics:
      - name: answers
        probe: health
        interval: 100ms
        count: 2
        successCondition: result.success_rate >= 0.99

notifiers:
  hook:
    plugin: hook
    config: {{ url: \"http://127.0.0.1:{port}/t/${{account}}/hook\" }}
"
    )
}
