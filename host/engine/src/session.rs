//! One process at work: its state folder, its journal, its plugins, and the run that it drives.

use crate::calls::{Desk, WrittenDown, write_down};
use crate::cause::Cause;
use crate::clock::{self, now};
use crate::courier::{Courier, Routes};
use crate::drive::{Around, Control, Ended, EventSink, First, drive, entry, written_as};
use crate::hands::PluginHands;
use crate::history::{RunView, ServiceStatus, rebuild};
use crate::lease::{HeldLease, lease_name};
use crate::plugins::PluginSet;
use crate::prepare::{self, Prepared};
use crate::unlock::Held as HeldBy;
use crate::{EngineError, KeptPlugins, Plan, PlanFile, StateDir, mailbox, plan, planned, stable};
use basb_agent::client::Client;
use basb_capabilities::{Capabilities, Options};
use basb_core::event::Event;
use basb_core::model::Deployment;
use basb_core::run::{RECORD_VERSION, Record, Run, RunOutcome, RunStart, StableRevision, plan_digest};
use basb_core::{Digest, PluginName, RevisionId, RunId, ServiceName, Timestamp, Weight};
use basb_journal::{Append, DELIVERIES, Finish, Journal, Only, RunFilter, RunRecord, ServiceKey, VerifyError};
use basb_redact::Redactor;
use basb_registry::{Decision, Policy};
use basb_runtime::{CacheFolder, Runtime, RuntimeOptions};
use basb_spec::LoadOptions;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// The name under which grants know the one-machine cloud's socket.
const AGENT: &str = "agent";
/// How long notifications may take after a run's end.
const FLUSH: Duration = Duration::from_secs(10);

/// The code of what is asked of a run that has come to its end.
pub(crate) const RUN_FINISHED: &str = "run/finished";

/// What a session needs.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// The state folder; none for the default.
    pub state: Option<PathBuf>,
    /// The program that `agent serve` makes an agent of.
    pub agent_program: PathBuf,
    /// Learns every secret that is read, so that whoever prints can keep it out.
    pub redactor: Redactor,
}

/// One process at work.
#[derive(Debug)]
pub struct Session {
    state: StateDir,
    pub(crate) journal: Arc<Journal>,
    agent_program: PathBuf,
    redactor: Redactor,
}

/// What happens to a run that is unfinished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunChoice {
    /// It goes on, if it is for the same deployment as the file now describes; otherwise it is superseded.
    ContinueIfUnfinished,
    /// It is superseded.
    Afresh,
}

/// A run that is ready to be driven.
#[derive(Debug)]
pub struct Started {
    run: Run,
    seq: u64,
    events: Vec<Event>,
    pub(crate) first: Vec<(Timestamp, Record)>,
    lease: HeldLease,
    plugins: Arc<PluginSet>,
    pub(crate) messages: Vec<String>,
}

impl Started {
    /// The run's id.
    #[must_use]
    pub fn id(&self) -> &RunId {
        self.run.id()
    }

    /// What the operator should know before it goes on.
    #[must_use]
    pub fn messages(&self) -> &[String] {
        &self.messages
    }
}

/// What is kept with a run beside its entries.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RunNotes {
    file: PathBuf,
    base: PathBuf,
    /// What asked for it.
    #[serde(default, skip_serializing_if = "Cause::is_run")]
    pub(crate) cause: Cause,
    /// The finished run that it does once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retries: Option<RunId>,
    /// The content of each program that a revision of it runs, by its path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) programs: BTreeMap<String, Digest>,
}

impl RunNotes {
    /// Those of a run.
    pub(crate) fn of(record: &RunRecord) -> Result<Self, EngineError> {
        serde_json::from_str(&record.start.body).map_err(|e| EngineError::Entry {
            run: record.start.run.to_string(),
            seq: 0,
            why: e.to_string(),
        })
    }

    /// Those of a run that does this one once more.
    pub(crate) fn of_retry(self, of: RunId) -> Self {
        Self { retries: Some(of), ..self }
    }

    /// The folder that relative paths start from.
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }
}

/// What is deployed, and what is under way.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusReport {
    /// The version of this form.
    pub version: u32,
    /// Every service with a stable revision.
    pub deployed: Vec<Deployed>,
    /// Runs that are not finished.
    pub unfinished: Vec<Unfinished>,
}

/// A service with its stable revision.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployed {
    /// The deployment.
    pub deployment: ServiceName,
    /// The environment.
    pub environment: PluginName,
    /// The service.
    pub service: ServiceName,
    /// Its stable revision.
    pub revision: RevisionId,
    /// How many instances it has.
    pub replicas: u32,
    /// Since when, as RFC 3339.
    pub since: String,
}

/// A run that is not finished.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unfinished {
    /// The run.
    pub run: RunId,
    /// The deployment.
    pub deployment: ServiceName,
    /// The environment.
    pub environment: PluginName,
    /// Its services.
    pub services: Vec<ServiceStatus>,
    /// The gates that are open.
    pub gates: Vec<GateStatus>,
    /// Who is at work on it.
    pub held: Option<HeldBy>,
}

/// A gate that is open.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GateStatus {
    /// What `approve` calls it.
    pub gate: String,
    /// The service that waits; none when all of the run does.
    pub service: Option<ServiceName>,
    /// What is to be decided.
    pub reason: String,
    /// Until when.
    pub until: Option<Timestamp>,
    /// How many must agree; none where anybody's promotion is enough.
    pub needs: Option<u32>,
    /// Who has agreed.
    pub approvals: Vec<String>,
    /// The plan that they agree to.
    pub plan: basb_core::Digest,
}

impl GateStatus {
    fn of(run: &Run) -> Vec<Self> {
        let plan = run.start().plan_digest();
        let gates = run.gates().into_iter().map(|gate| Self {
            gate: gate.name,
            service: gate.service,
            reason: gate.reason,
            until: gate.until,
            needs: gate.quorum.map(|q| q.approvals),
            approvals: gate.approvals,
            plan: plan.clone(),
        });
        gates.collect()
    }
}

/// The agent of a state folder, started if it is not running.
///
/// # Errors
/// Why it does not start.
pub async fn ensure_agent(state: &StateDir, program: &Path) -> Result<Client, EngineError> {
    let args = ["agent".as_ref(), "serve".as_ref(), "--state".as_ref(), state.path().as_os_str()];
    Ok(basb_agent::client::ensure_running(&state.agent(), program, args).await?)
}

impl Session {
    /// Opens the state.
    ///
    /// # Errors
    /// [`EngineError`] when the folder or the journal cannot be used.
    pub fn open(options: SessionOptions) -> Result<Self, EngineError> {
        let state = StateDir::open(options.state.as_deref())?;
        let journal = Arc::new(Journal::open(&state.journal())?);
        Ok(Self { state, journal, agent_program: options.agent_program, redactor: options.redactor })
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The state folder.
    #[must_use]
    pub fn state(&self) -> &StateDir {
        &self.state
    }

    /// The plugins of every run.
    #[must_use]
    pub fn kept(&self) -> KeptPlugins {
        KeptPlugins::of(&self.state)
    }

    /// The folder of compiled plugins, if it can be used.
    #[must_use]
    pub fn compiled(&self) -> Option<CacheFolder> {
        CacheFolder::open(self.state.cache()).ok()
    }

    pub(crate) fn runtime(&self, base: &Path) -> Result<Runtime, EngineError> {
        let failed = |code: &str, message: String| EngineError::Plugin {
            name: "all".to_owned(),
            code: code.to_owned(),
            message,
            next: "check the state folder and the limits of this machine".to_owned(),
        };
        let mut options = Options::new(base);
        options.redactor = self.redactor.clone();
        options.sockets.insert(AGENT.to_owned(), self.state.agent().join("agent.sock"));
        let mut runtime = RuntimeOptions::new(Capabilities::new(options));
        match CacheFolder::open(self.state.cache()) {
            Ok(cache) => runtime = runtime.with_cache(cache),
            // Without a cache everything works, a little later.
            Err(e) => tracing::warn!(error = %e, "compiled plugins cannot be kept"),
        }
        Runtime::new(runtime).map_err(|e| failed(e.code(), e.to_string()))
    }

    /// Reads a deployment file and everything that it names.
    ///
    /// # Errors
    /// [`EngineError`] with everything that is wrong; nothing was changed.
    pub async fn prepare(&self, options: &LoadOptions, policy: Policy) -> Result<Prepared, EngineError> {
        let runtime = self.runtime(&prepare::base_of(&options.path))?;
        prepare::prepare(options, &runtime, policy).await
    }

    /// Starts the one-machine cloud if a plugin may talk to it.
    pub(crate) async fn ensure_agent_for(&self, deployment: &Deployment) -> Result<(), EngineError> {
        let needs = |grants: &serde_json::Value| {
            let http = grants.get("http").and_then(|h| h.as_array());
            http.is_some_and(|all| all.iter().any(|g| g.get("socket").and_then(|s| s.as_str()) == Some(AGENT)))
        };
        if deployment.plugins.values().any(|p| needs(&p.grants)) {
            ensure_agent(&self.state, &self.agent_program).await?;
        }
        Ok(())
    }

    /// Gives the provider back what it wanted to be given back.
    pub(crate) async fn recall(&self, deployment: &Deployment, plugins: &PluginSet) -> Result<(), EngineError> {
        plugins.memory().recall(self.journal.memory(&deployment.name, &deployment.environment).await?);
        Ok(())
    }

    /// What a run would do.
    ///
    /// # Errors
    /// [`EngineError`] when the provider cannot be asked.
    pub async fn plan(&self, prepared: &Prepared) -> Result<Plan, EngineError> {
        prepared.plugins.access().check().await?;
        self.ensure_agent_for(&prepared.deployment).await?;
        self.recall(&prepared.deployment, &prepared.plugins).await?;
        plan::plan(prepared, &self.journal).await
    }

    /// Begins a run, or takes an unfinished one up.
    ///
    /// # Errors
    /// [`EngineError`]; nothing was changed.
    pub async fn start(&self, prepared: Prepared, choice: RunChoice) -> Result<Started, EngineError> {
        self.start_as(prepared, choice, None).await
    }

    /// Begins a run, or takes an unfinished one up; with a plan, only if nothing has moved since it was made.
    ///
    /// # Errors
    /// [`EngineError::Stale`] with everything that moved, or another one; nothing was changed.
    pub async fn start_as(
        &self,
        prepared: Prepared,
        choice: RunChoice,
        planned: Option<&PlanFile>,
    ) -> Result<Started, EngineError> {
        let deployment = &prepared.deployment;
        // What is missing is found before anything is changed, the lease included.
        prepared.plugins.access().check().await?;
        let mut messages = Vec::new();
        messages.extend(write_lock(&prepared)?);
        let lease = HeldLease::acquire(&self.journal, &deployment.name, &deployment.environment).await?;
        self.ensure_agent_for(deployment).await?;
        clock::not_before(self.journal.last_at().await?);
        self.recall(deployment, &prepared.plugins).await?;
        let mut replaced = Vec::new();
        for open in self.open_runs(&deployment.name, &deployment.environment).await? {
            let id = open.start.run.clone();
            let view = rebuild(&id, &self.journal.entries(&id, 1).await?).ok();
            let void: Vec<String> =
                view.iter().flat_map(|view| view.run.gates()).flat_map(|gate| gate.approvals).collect();
            match view {
                Some(view) if choice == RunChoice::ContinueIfUnfinished && same(&view, &prepared) => {
                    self.must_be_whole(&id).await?;
                    let entries = view.seq;
                    let mut started = Self::take_up(view, lease, Arc::clone(&prepared.plugins));
                    messages.push(format!("run {id} is unfinished: going on after its entry {entries}"));
                    started.messages = messages;
                    return Ok(started);
                }
                _ => replaced.push((id, void)),
            }
        }
        // Before anything is superseded: a plan that does not hold any more changes nothing.
        if let Some(planned) = planned
            && let Err(e) = self.unmoved(planned, &prepared).await
        {
            lease.release().await;
            return Err(e);
        }
        for (id, void) in replaced {
            self.supersede(&id, &lease).await?;
            messages.push(format!("run {id} was unfinished and is superseded; this one starts at the first step"));
            if !void.is_empty() {
                messages.push(format!("its approvals are void: {}", void.join(", ")));
            }
        }
        let mut started = self.begin(prepared, lease).await?;
        started.messages = messages;
        Ok(started)
    }

    pub(crate) async fn open_runs(
        &self,
        deployment: &ServiceName,
        environment: &PluginName,
    ) -> Result<Vec<RunRecord>, EngineError> {
        let filter = RunFilter {
            deployment: Some(deployment.clone()),
            environment: Some(environment.clone()),
            only: Some(Only::Open),
            ..RunFilter::default()
        };
        Ok(self.journal.runs(filter, 10).await?)
    }

    /// A run whose record was changed or cut is not gone on with.
    async fn must_be_whole(&self, run: &RunId) -> Result<(), EngineError> {
        self.journal.verify(run).await.map(|_| ()).map_err(|e| match e {
            VerifyError::Journal(e) => e.into(),
            VerifyError::Broken(e) => EngineError::refused(
                "journal/broken-chain",
                e.to_string(),
                "`basb-host state recover` closes it and keeps what is proved; `basb-host run --new` starts afresh",
            ),
        })
    }

    fn take_up(view: RunView, lease: HeldLease, plugins: Arc<PluginSet>) -> Started {
        Started {
            run: view.run,
            seq: view.seq,
            events: Vec::new(),
            first: vec![(now(), Record::Resumed)],
            lease,
            plugins,
            messages: Vec::new(),
        }
    }

    async fn supersede(&self, run: &RunId, lease: &HeldLease) -> Result<(), EngineError> {
        let at = now();
        let outcome = RunOutcome::Superseded;
        let finish = Finish { at, outcome: outcome.as_str().to_owned(), body: "{}".to_owned() };
        let mut append = Append::from(entry(at, &Record::Finished(outcome))).fenced(lease.fence()).finish(finish);
        // Its calls are never taken up again.
        append.closes = self.journal.open_calls(&effects_of(run)).await?.into_iter().map(|call| call.key).collect();
        self.journal.append(run, append).await?;
        Ok(())
    }

    async fn begin(&self, prepared: Prepared, lease: HeldLease) -> Result<Started, EngineError> {
        let start = self.run_start(&prepared).await?;
        let kept = self.kept();
        // Before there is a run: one whose plugins are not kept could not be played back.
        for bytes in &prepared.bytes {
            kept.keep(bytes)?;
        }
        let notes = RunNotes {
            file: prepared.file.clone(),
            base: prepared.base.clone(),
            cause: prepared.cause.clone(),
            retries: None,
            programs: prepared.programs.clone(),
        };
        self.begin_with(start, &notes, prepared.plugins, lease).await
    }

    pub(crate) async fn begin_with(
        &self,
        start: RunStart,
        notes: &RunNotes,
        plugins: Arc<PluginSet>,
        lease: HeldLease,
    ) -> Result<Started, EngineError> {
        let at = now();
        let record = basb_journal::RunStart {
            run: start.run.clone(),
            deployment: start.deployment.name.clone(),
            environment: start.deployment.environment.clone(),
            at,
            body: serde_json::to_string(notes).unwrap_or_default(),
        };
        let routes = Routes::new(&start, plugins.asks());
        let first = Record::Started(Box::new(start));
        let (run, events) = Run::begin(at, 1, &first)?;
        let mut append = Append::from(entry(at, &first)).fenced(lease.fence());
        append.notifications = events.iter().flat_map(|event| routes.notifications(event)).collect();
        // In one: a run without its first record could not be taken up, nor be told what it was.
        self.journal.begin_run(record, append).await?;
        Ok(Started { run, seq: 1, events, first: Vec::new(), lease, plugins, messages: Vec::new() })
    }

    async fn run_start(&self, prepared: &Prepared) -> Result<RunStart, EngineError> {
        let deployment = &prepared.deployment;
        let mut services = self.service_starts(prepared).await?;
        planned::tell_irreversible(prepared, &mut services).await;
        let info = prepared.plugins.provider_info();
        let plugins = prepared.plugins.identities();
        let plan = plan_digest(deployment, &services, &plugins);
        Ok(RunStart {
            version: RECORD_VERSION,
            run: new_run_id()?,
            deployment: deployment.clone(),
            services,
            plugins,
            abilities: info.abilities.clone(),
            granularity: Weight::new(info.weight_granularity).unwrap_or(Weight::FULL),
            plan: Some(plan),
        })
    }

    /// The stable revision of a service.
    pub(crate) async fn stable_revision(
        &self,
        deployment: &Deployment,
        name: &ServiceName,
    ) -> Result<Option<StableRevision>, EngineError> {
        self.journal.stable(&key(deployment, name)).await?.as_ref().map(stable::stable).transpose()
    }

    /// Drives a run to its end. Returns how it ended, and what could not be delivered to notifiers.
    ///
    /// # Errors
    /// [`EngineError`] when something cannot be written; the run can be taken up again.
    pub async fn drive(
        &self,
        started: Started,
        sink: &dyn EventSink,
        mut control: mpsc::Receiver<Control>,
    ) -> Result<(Ended, Option<String>), EngineError> {
        let Started { run, seq, events, first, lease, plugins, .. } = started;
        let id = run.id().clone();
        events.iter().for_each(|event| sink.event(event));
        let routes = Routes::new(run.start(), plugins.asks());
        let courier =
            Arc::new(Courier::new(Arc::clone(&self.journal), Arc::clone(&plugins), run.start(), lease.fence()));
        let redactor = plugins.access().redactor().clone();
        let mut called = plugins.log().open(self.desk(&id, &lease, &redactor).await?);
        let hands = Arc::new(PluginHands::new(&run, Arc::clone(&plugins)));
        let left = mailbox::left(&self.journal, &id).await?;
        let mut first = First { records: first, takes: Vec::new() };
        for (request, record) in left.records {
            first.records.push((now(), record));
            first.takes.push(request);
        }
        let (tell, asked) = mpsc::channel(16);
        let forward = {
            let tell = tell.clone();
            tokio::spawn(async move {
                while let Some(control) = control.recv().await {
                    if tell.send(control).await.is_err() {
                        return;
                    }
                }
            })
        };
        let mailbox = tokio::spawn(mailbox::watch(Arc::clone(&self.journal), id.clone(), left.last, tell));
        let delivery = {
            let courier = Arc::clone(&courier);
            tokio::spawn(async move { courier.run().await })
        };
        let around = Around {
            journal: &self.journal,
            fence: Some(lease.fence()),
            lost: lease.lost(),
            notifiers: &routes,
            sink,
            control: asked,
            called: &mut called,
            memory: plugins.memory(),
            redactor: redactor.clone(),
        };
        let ended = drive(run, seq, first, hands, around).await;
        for task in [forward, mailbox, delivery] {
            task.abort();
            // What was being delivered is finished, or not begun: the flush must not do it at the same time.
            let _ = task.await;
        }
        let left = match &ended {
            Ok(Ended::Finished(_) | Ended::AtGate) => courier.flush(FLUSH).await,
            _ => None,
        };
        if ended.is_ok() {
            // What the last notifications did is behind the run's finish.
            let mut late = Vec::new();
            while let Ok(call) = called.try_recv() {
                late.push(call);
            }
            if !late.is_empty() {
                let WrittenDown { records, tapes, closes } = write_down(late, self.journal.last_tape(&id).await?);
                let entries: Vec<_> =
                    records.into_iter().map(|(at, record)| written_as(&redactor, at, record).1).collect();
                let append = Append { tapes, closes, ..Append::from(entries) };
                self.journal.append(&id, append.fenced(lease.fence()).addendum()).await?;
            }
        }
        let ended = match ended {
            Ok(ended) => Ok(ended),
            Err(error) => Err(lease.explain(error).await),
        };
        lease.release().await;
        Ok((ended?, left))
    }

    /// Takes a run up that nobody is at work on, with the very plugins that it began with.
    pub(crate) async fn wake(
        &self,
        record: &RunRecord,
        view: RunView,
        lease: HeldLease,
    ) -> Result<Started, EngineError> {
        clock::not_before(view.last);
        self.must_be_whole(&record.start.run).await?;
        let notes = RunNotes::of(record)?;
        self.ensure_agent_for(&view.run.start().deployment).await?;
        let runtime = self.runtime(&notes.base)?;
        let plugins = prepare::reload(view.run.start(), &runtime, &notes.base).await?;
        plugins.access().check().await?;
        self.recall(&view.run.start().deployment, &plugins).await?;
        Ok(Self::take_up(view, lease, Arc::new(plugins)))
    }

    /// What the calls of a run need, with those that were cut off when it was last driven.
    async fn desk(&self, run: &RunId, lease: &HeldLease, redactor: &Redactor) -> Result<Desk, EngineError> {
        let mut open = self.journal.open_calls(&effects_of(run)).await?;
        open.extend(self.journal.open_calls(DELIVERIES).await?);
        Ok(Desk {
            journal: Arc::clone(&self.journal),
            run: run.clone(),
            fence: lease.fence(),
            holding: lease.holding(),
            redactor: redactor.clone(),
            open: std::sync::Mutex::new(open.into_iter().map(|call| (call.key.clone(), call)).collect()),
        })
    }

    pub(crate) async fn unfinished(&self, run: Option<&str>) -> Result<RunRecord, EngineError> {
        let call = |code: &str, message: String| EngineError::Call { code: code.to_owned(), message };
        if let Some(id) = run {
            let record = self.journal.run(id).await?;
            return match record.state {
                basb_journal::RunState::Open => Ok(record),
                basb_journal::RunState::Finished { outcome, .. } => {
                    Err(call(RUN_FINISHED, format!("run {} is finished: {outcome}", record.start.run)))
                }
            };
        }
        let mut open = self.journal.runs(RunFilter::open(), 10).await?;
        match (open.pop(), open.is_empty()) {
            (Some(only), true) => Ok(only),
            (None, _) => Err(call("run/none-unfinished", "there is no unfinished run".to_owned())),
            (Some(last), false) => {
                let all: Vec<String> = open.iter().chain([&last]).map(|r| r.start.run.to_string()).collect();
                Err(call("run/ambiguous", format!("several runs are unfinished, name one: {}", all.join(", "))))
            }
        }
    }

    /// What is deployed, and what is under way.
    ///
    /// # Errors
    /// Why the journal cannot be read.
    pub async fn status(&self) -> Result<StatusReport, EngineError> {
        let runs = self.journal.runs(RunFilter::default(), 10_000).await?;
        let all: BTreeSet<(ServiceName, PluginName)> =
            runs.iter().map(|r| (r.start.deployment.clone(), r.start.environment.clone())).collect();
        let mut deployed = Vec::new();
        for (deployment, environment) in all {
            for stable in self.journal.stable_services(&deployment, &environment).await? {
                deployed.push(Deployed {
                    deployment: deployment.clone(),
                    environment: environment.clone(),
                    service: stable.service.service,
                    revision: stable.revision,
                    replicas: stable.replicas,
                    since: stable.at.to_string(),
                });
            }
        }
        let mut unfinished = Vec::new();
        for record in runs.iter().filter(|r| r.state == basb_journal::RunState::Open) {
            let id = &record.start.run;
            let view = rebuild(id, &self.journal.entries(id, 1).await?).ok();
            let lease = lease_name(&record.start.deployment, &record.start.environment);
            let held = self.journal.holder(&lease).await?.map(|held| HeldBy::of(&lease, &held));
            unfinished.push(Unfinished {
                run: id.clone(),
                deployment: record.start.deployment.clone(),
                environment: record.start.environment.clone(),
                services: view.as_ref().map(RunView::services).unwrap_or_default(),
                gates: view.map(|v| GateStatus::of(&v.run)).unwrap_or_default(),
                held: held.filter(|held| held.holder != "gone"),
            });
        }
        Ok(StatusReport { version: 1, deployed, unfinished })
    }
}

/// A new run's id: a later one sorts behind.
pub(crate) fn new_run_id() -> Result<RunId, EngineError> {
    let time = std::time::UNIX_EPOCH + Duration::from_millis(now().0);
    let id = ulid::Ulid::from_datetime(time).to_string().to_ascii_lowercase();
    RunId::new(id).map_err(|e| EngineError::Call { code: "engine/run-id".to_owned(), message: e.to_string() })
}

fn key(deployment: &Deployment, service: &ServiceName) -> ServiceKey {
    ServiceKey {
        deployment: deployment.name.clone(),
        environment: deployment.environment.clone(),
        service: service.clone(),
    }
}

/// Writes down what the plugins are and may do, where the lock file does not say it yet; what to tell of it.
fn write_lock(prepared: &Prepared) -> Result<Option<String>, EngineError> {
    match &prepared.lock {
        Decision::Same { .. } => Ok(None),
        Decision::FirstUse(lock) => {
            let file = basb_registry::write_first_lock(&prepared.base, lock)?;
            let what = "with what each plugin is and may do; look at it, and commit it";
            Ok(Some(format!("written: {}, {what}", file.display())))
        }
        Decision::NewEnvironment(new) => {
            let file = basb_registry::add_environment(&prepared.base, new)?;
            let agreed: Vec<&str> = new.agreed_for.iter().map(|name| name.as_str()).collect();
            Ok(Some(format!(
                "written: {}, with a part for {}: its plugins are, and may do, what was agreed to for {}; commit it",
                file.display(),
                prepared.deployment.environment,
                agreed.join(", ")
            )))
        }
    }
}

/// What the keys of a run's effects begin with.
fn effects_of(run: &RunId) -> String {
    format!("{run}-")
}

/// Whether an unfinished run is for what the file describes now, with the same plugins.
fn same(view: &RunView, prepared: &Prepared) -> bool {
    let start = view.run.start();
    let candidates: BTreeMap<_, _> = start.services.iter().map(|(n, s)| (n.clone(), s.candidate.clone())).collect();
    start.deployment == prepared.deployment
        && candidates == prepared.revisions
        && start.plugins == prepared.plugins.identities()
}
