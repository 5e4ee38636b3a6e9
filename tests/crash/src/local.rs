//! The real four services on the one-machine cloud, with users: each canary brings a new generation of all four, is
//! disturbed, and must end as an undisturbed one does.

use crate::book::{Book, Extent};
use crate::daily_log::DailyLog;
use crate::host::{At, Came, Host, PATIENCE, Result, program};
use crate::load::{Failed, Load};
use crate::report::Outcome;
use rustix::process::Signal;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

/// The services, and where they are reached.
pub const SERVICES: [&str; 4] = ["capture", "organize", "distill", "express"];
/// The shares of traffic that a canary gives to its candidate, in order.
const WEIGHTS: [&str; 3] = ["to 25%", "to 50%", "to 100%"];

/// How the host is disturbed.
#[derive(Debug, Clone)]
pub enum Disturb {
    /// It kills itself at each of these places in turn, counted from the entries that the journal had before the run.
    At(Vec<(Stage, u64)>),
    /// It is killed from outside, so long after each start.
    After(Vec<Duration>),
    /// The agent is killed so long after the host's start, each time anew after it is back, and started again at once.
    Agent(Vec<Duration>),
    /// The host stops at a place, counted as for [`At`](Self::At), and the agent is killed there.
    AgentAt(Stage, u64, Back),
}

/// When an agent that was killed while the host stood is there again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    /// Before the host goes on.
    First,
    /// The host goes on without one, which comes back meanwhile and is killed again at once.
    Meanwhile,
}

/// What the canary checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checks {
    /// Everything that the example checks.
    All,
    /// Nothing that goes through the agent: a check that meets a dead one rightly fails, and the release goes back.
    None,
}

/// Before or after a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing of it is durable.
    Before,
    /// All of it is.
    After,
}

impl Stage {
    /// The host kills itself there, at the commit of this entry.
    fn killed(self, entry: u64) -> At {
        match self {
            Self::Before => At::before(entry),
            Self::After => At::after(entry),
        }
    }

    /// The host stops itself there.
    fn stopped(self, entry: u64) -> At {
        match self {
            Self::Before => At(format!("stop-before:{entry}")),
            Self::After => At(format!("stop-after:{entry}")),
        }
    }
}

/// A place where the four services run.
pub struct Local {
    host: Host,
    ports: Vec<u16>,
    load: Load,
    log: DailyLog,
    generation: u64,
    /// How long a canary takes that nobody disturbs: the newest one that came to its end by itself.
    pub took: Duration,
    /// How many entries it writes.
    pub entries: u64,
}

/// A service as the agent has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Service {
    revision: String,
    pids: BTreeSet<u64>,
}

impl Local {
    /// Deploys the first generation and, as the reference, a second one.
    ///
    /// # Errors
    /// What does not work.
    pub fn prepare(folder: &Path, checks: Checks) -> Result<Self> {
        let io = |e: std::io::Error| format!("{}: {e}", folder.display());
        std::fs::create_dir_all(folder.join("vault")).map_err(io)?;
        let ports = SERVICES.iter().map(|_| free_port()).collect::<Result<Vec<u16>>>()?;
        let text = file(folder, &program("second-brain")?, &ports, checks);
        std::fs::write(folder.join("deployment.yaml"), text).map_err(io)?;
        let host = Host { folder: folder.to_owned(), state: folder.join("state"), env: Vec::new() };
        let (load, log) = (Load::start(&[]), DailyLog::new(&folder.join("vault")));
        let mut local = Self { host, ports, load, log, generation: 0, took: Duration::ZERO, entries: 0 };
        local.canary(1)?;
        local.load = Load::start(&local.ports);
        let (began, before) = (Instant::now(), local.book()?.entries);
        local.canary(2)?;
        (local.took, local.entries) = (began.elapsed(), local.book()?.entries - before);
        let mut outcome = Outcome::one();
        local.check(2, &BTreeMap::new(), &mut outcome)?;
        local.count(&[], &mut outcome);
        let wrong = [outcome.lost, outcome.doubled, outcome.differs, outcome.failed_requests].concat();
        if wrong.is_empty() { Ok(local) } else { Err(format!("the undisturbed canary: {}", wrong.join("; "))) }
    }

    fn canary(&mut self, generation: u64) -> Result<()> {
        self.generation = generation;
        self.host.run(&["--json", "run", "--set", &format!("generation={generation}")])?.exits(0).map(drop)
    }

    /// A canary of the next generation, disturbed, resumed to its end, and compared.
    ///
    /// # Errors
    /// When it does not get to its end.
    pub fn disturbed(&mut self, disturb: &Disturb) -> Result<Outcome> {
        self.disturbed_to(disturb).map(|(outcome, _)| outcome)
    }

    /// The same; says also how many entries the run had after the last kill.
    ///
    /// # Errors
    /// When it does not get to its end.
    pub fn disturbed_to(&mut self, disturb: &Disturb) -> Result<(Outcome, u64)> {
        self.generation += 1;
        let set = format!("generation={}", self.generation);
        let args = ["--json", "run", "--set", &set];
        let book = self.book()?;
        let (first, runs) = (book.entries, book.runs.len());
        let before = self.services()?;
        let mut outcome = Outcome::one();
        if self.log.is_full() {
            self.verify(&mut outcome)?;
        }
        let (mut down, mut reached) = (Vec::new(), 0);
        let began = Instant::now();
        match disturb {
            Disturb::At(places) => {
                for (stage, entry) in places {
                    let at = stage.killed(first + entry);
                    let ended = self.host.start_crashing(&at, &args)?.end()?;
                    outcome.kills += u64::from(ended.killed());
                    if !ended.killed() {
                        ended.exits(0)?;
                    }
                    let now = self.book()?;
                    reached = now.entries - first;
                    if now.is_over(runs) {
                        break;
                    }
                }
            }
            Disturb::After(times) => {
                for time in times {
                    let running = self.host.start(&args)?;
                    std::thread::sleep(*time);
                    let ended = running.kill()?;
                    outcome.kills += u64::from(ended.killed());
                    if self.book()?.is_over(runs) {
                        break;
                    }
                }
            }
            Disturb::Agent(times) => {
                let mut running = self.host.start(&args)?;
                for time in times {
                    std::thread::sleep(*time);
                    if !running.runs() {
                        break;
                    }
                    down.push((self.kill_agent()?, self.start_agent()?));
                    outcome.kills += 1;
                }
                running.end()?.exits(0)?;
            }
            Disturb::AgentAt(stage, entry, back) => {
                let mut running = self.host.start_crashing(&stage.stopped(first + entry), &args)?;
                if running.until_stopped()? == Came::ToItsPlace {
                    if *stage == Stage::After {
                        // Before the commit, its transaction keeps others out of the journal.
                        reached = self.book()?.entries - first;
                    }
                    let killed = self.kill_agent()?;
                    if *back == Back::Meanwhile {
                        running.signal(Signal::CONT);
                    }
                    down.push((killed, self.start_agent()?));
                    outcome.kills += 1;
                    if *back == Back::Meanwhile {
                        down.push((self.kill_agent()?, self.start_agent()?));
                        outcome.kills += 1;
                    }
                    running.signal(Signal::CONT);
                }
                running.end()?.exits(0)?;
            }
        }
        if !self.book()?.is_over(runs) {
            self.host.run(&args)?.exits(0)?;
        }
        if outcome.kills == 0 {
            self.took = began.elapsed();
        }
        self.check(runs + 1, &before, &mut outcome)?;
        self.count(&down, &mut outcome);
        Ok((outcome, reached))
    }

    /// Kills the agent. Returns when.
    fn kill_agent(&self) -> Result<Instant> {
        let info = self.host.run(&["--json", "agent", "status"])?.exits(0)?.stdout;
        let status: Value = serde_json::from_str(&info).map_err(|e| e.to_string())?;
        let pid = status["agent"]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.and_then(rustix::process::Pid::from_raw).ok_or("the agent has no process id")?;
        let from = Instant::now();
        rustix::process::kill_process(pid, Signal::KILL).map_err(|e| e.to_string())?;
        Ok(from)
    }

    /// Starts it again. Returns since when it is there.
    fn start_agent(&self) -> Result<Instant> {
        self.host.run(&["agent", "start"])?.exits(0)?;
        Ok(Instant::now())
    }

    /// What the agent has: each service, when it has one revision only, with all of its instances and all of the traffic.
    fn services(&self) -> Result<BTreeMap<String, Service>> {
        let status = self.host.run(&["--json", "agent", "status"])?.exits(0)?;
        let status: Value = serde_json::from_str(&status.stdout).map_err(|e| e.to_string())?;
        let mut all = BTreeMap::new();
        for service in status["services"].as_array().into_iter().flatten() {
            let name = service["name"].as_str().and_then(|name| name.rsplit('.').next()).unwrap_or_default().to_owned();
            let [revision] = service["revisions"].as_array().map(Vec::as_slice).unwrap_or_default() else {
                return Err(format!("{name} has not exactly one revision: {}", service["revisions"]));
            };
            let instances = revision["instances"].as_array().map(Vec::as_slice).unwrap_or_default();
            let whole = revision["weight"] == 10_000
                && revision["desired"] == 2
                && revision["available"] == 2
                && instances.len() == 2
                && instances.iter().all(|instance| instance["restarts"] == 0);
            if !whole {
                return Err(format!("{name} is not whole: {revision}"));
            }
            let pids = instances.iter().filter_map(|instance| instance["pid"].as_u64()).collect();
            let revision = revision["id"].as_str().unwrap_or_default().to_owned();
            all.insert(name, Service { revision, pids });
        }
        Ok(all)
    }

    /// Compares what is there with what an undisturbed canary leaves behind.
    fn check(&mut self, runs: usize, before: &BTreeMap<String, Service>, outcome: &mut Outcome) -> Result<()> {
        // An agent that was started again looks at its instances first.
        let began = Instant::now();
        let now = loop {
            match self.services() {
                Ok(now) => break now,
                Err(_) if began.elapsed() < Duration::from_secs(10) => std::thread::sleep(Duration::from_millis(100)),
                Err(why) => {
                    outcome.differs.push(why);
                    return Ok(());
                }
            }
        };
        let book = self.book()?;
        if book.outcomes() != vec!["done"; runs] {
            outcome.differs.push(format!("the runs ended as {:?}", book.outcomes()));
        }
        let Some(run) = book.runs.last() else { return Err("there is no run".to_owned()) };
        self.log.ended(&run.id);
        for name in SERVICES {
            let Some(service) = now.get(name) else {
                outcome.lost.push(format!("{name} is gone"));
                continue;
            };
            if before.get(name).is_some_and(|before| before.revision == service.revision) {
                outcome.lost.push(format!("{name} has the old revision still"));
            }
            if !book.stable.contains(&format!("{name} {} x2", service.revision)) {
                outcome.differs.push(format!("{name}: {} is deployed, stable is {:?}", service.revision, book.stable));
            }
            for kind in ["service.promoted", "revision.retired"] {
                match run.count(name, kind) {
                    1 => {}
                    0 => outcome.lost.push(format!("{name} {kind}")),
                    _ => outcome.doubled.push(format!("{name} {kind}")),
                }
            }
            let weights = run.weights(name);
            if weights != WEIGHTS {
                outcome.differs.push(format!("{name} had the weights {weights:?}"));
            }
            // Every instance was started once: each start writes one such line.
            let logs =
                self.host.run(&["logs", name, "--revision", &service.revision, "--tail", "1000"])?.exits(0)?.stdout;
            let starts = logs.matches("listening on 127.0.0.1:").count();
            if starts != 2 {
                let kind = if starts < 2 { &mut outcome.lost } else { &mut outcome.doubled };
                kind.push(format!("{name}: 2 processes were started {starts} times"));
            }
        }
        let known: BTreeSet<u64> = now.values().flat_map(|service| service.pids.iter().copied()).collect();
        let there = processes(&self.host.folder, "second-brain");
        outcome.lost.extend(known.difference(&there).map(|pid| format!("process {pid} is gone")));
        outcome.doubled.extend(there.difference(&known).map(|pid| format!("process {pid} is nobody's")));
        Ok(())
    }

    /// What the journal says now, with its newest run verified.
    fn book(&self) -> Result<Book> {
        Book::read(&self.host.state, Extent::Newest)
    }

    /// Verifies everything: the file of the journal, every run in it, and the daily log. Now and then, and at the end.
    ///
    /// # Errors
    /// What is wrong with the journal.
    pub fn verify(&mut self, outcome: &mut Outcome) -> Result<()> {
        Book::read(&self.host.state, Extent::Everything)?;
        self.log.close(outcome)
    }

    /// Takes the users' requests in. One that an agent's death explains was cut off by it.
    fn count(&self, down: &[(Instant, Instant)], outcome: &mut Outcome) {
        let (calls, failed) = self.load.take();
        outcome.requests += calls;
        for one in failed {
            if down.iter().any(|down| one.is_cut_off(down)) {
                outcome.cut_off += 1;
            } else {
                let Failed { port, opened, from, to, why } = one;
                let after = |at: Instant| {
                    let last = down.iter().rev().find(|(killed, _)| *killed <= at);
                    last.map_or("before any kill".to_owned(), |(killed, back)| {
                        let back = back.duration_since(*killed).as_millis();
                        format!("{} ms after a kill of {back} ms", at.duration_since(*killed).as_millis())
                    })
                };
                let times = [after(opened), after(from), after(to)].join(", ");
                outcome.failed_requests.push(format!("port {port}: {why} (opened, sent, failed: {times})"));
            }
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.load = Load::start(&[]);
        let _ = self.host.run(&["agent", "stop", "--services"]);
        let began = Instant::now();
        // Nothing is left behind, whatever went wrong.
        while began.elapsed() < PATIENCE {
            let left = processes(&self.host.folder, "");
            if left.is_empty() {
                return;
            }
            for pid in left {
                if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
                    let _ = rustix::process::kill_process(pid, Signal::KILL);
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The processes whose command line names this folder and holds a word.
fn processes(folder: &Path, word: &str) -> BTreeSet<u64> {
    let folder = folder.display().to_string();
    let all = std::fs::read_dir("/proc").into_iter().flatten().filter_map(std::result::Result::ok);
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok());
    pids.filter(|pid| *pid != u64::from(std::process::id()))
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            let mut args = line.split('\0');
            let program = args.next().unwrap_or_default().to_owned();
            program.contains(word) && args.any(|arg| arg.starts_with(&folder))
        })
        .collect()
}

/// A port that is free now. It stays free for long enough: the system gives others to those who ask next.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|e| e.to_string())?;
    Ok(listener.local_addr().map_err(|e| e.to_string())?.port())
}

/// The example's deployment with short pauses.
fn file(folder: &Path, program: &Path, ports: &[u16], checks: Checks) -> String {
    let depends =
        ["", "    dependsOn: [capture]\n", "    dependsOn: [capture]\n", "    dependsOn: [organize, distill]\n"];
    let (checked, pause) = match checks {
        Checks::All => (
            "    readiness: [health]\n    verify: [tools]\n    bake: { duration: 100ms, analyses: [healthy] }\n",
            "analysis: { templates: [healthy] }",
        ),
        Checks::None => ("", "pause: { duration: 200ms }"),
    };
    let services: String = SERVICES
        .iter()
        .zip(ports)
        .zip(depends)
        .map(|((name, port), depends)| {
            format!(
                "  {name}:
    workload:
      command: [\"{program}\", {name}, --vault, \"${{vault}}\"]
      env: {{ GENERATION: \"${{generation}}\" }}
      workingFolder: .
      ready: {{ http: /healthz }}
      minReady: 50ms
      stopGrace: 2s
    replicas: 2
    listen: 127.0.0.1:{port}
{depends}    strategy: careful
{checked}    progressDeadline: 60s
    scaleDownDelay: 20ms
    abortScaleDownDelay: 20ms
",
                program = program.display()
            )
        })
        .collect();
    format!(
        "version: 1
name: second-brain

vars:
  vault: \"{vault}\"
  generation: \"1\"

plugins:
  local:
    source: builtin:provider-local
    grants:
      http:
        - {{ socket: agent, methods: [GET, PUT, DELETE], path: /v1/** }}
  canary:
    source: builtin:strategy-canary
  mcp:
    source: builtin:probe-mcp
    grants:
      http:
        - {{ target: service, methods: [GET, POST, DELETE], path: /mcp }}
  http:
    source: builtin:probe-http
    grants:
      http:
        - {{ target: service, methods: [GET], path: /healthz }}
  obsidian:
    source: builtin:notifier-obsidian
    grants:
      files:
        - {{ folder: vault, path: \"${{vault}}\", access: read-write }}

environments:
  local:
    provider: {{ plugin: local, config: {{ drain: 2s }} }}

services:
{services}
strategies:
  careful:
    plugin: canary
    config:
      steps:
        - setWeight: 25
        - {pause}
        - setWeight: 50
        - pause: {{ duration: 20ms }}

probes:
  health:
    plugin: http
    config: {{ path: /healthz }}
  tools:
    plugin: mcp
    config:
      path: /mcp
      expectTools: [vault_stats]
      call: {{ tool: vault_stats, count: 4, minSuccessRate: 1 }}

analyses:
  healthy:
    metrics:
      - name: tool-success
        probe: tools
        interval: 100ms
        count: 2
        successCondition: result.success_rate >= 0.99

notifiers:
  daily-log:
    plugin: obsidian
",
        vault = folder.join("vault").display()
    )
}
