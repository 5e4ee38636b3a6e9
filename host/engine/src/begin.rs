//! Beginning a run, or taking an unfinished one up: what is written before anything is driven.

use crate::cause::Cause;
use crate::clock::now;
use crate::courier::Routes;
use crate::drive::entry;
use crate::history::{RunView, rebuild};
use crate::lease::HeldLease;
use crate::plugins::PluginSet;
use crate::prepare::Prepared;
use crate::session::{Session, effects_of};
use crate::{EngineError, PlanFile, planned};
use basb_core::event::Event;
use basb_core::run::{RECORD_VERSION, Record, Run, RunOutcome, RunStart, plan_digest};
use basb_core::{Digest, RunId, Timestamp, Weight};
use basb_journal::{Append, Finish, RunRecord};
use basb_registry::Decision;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

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
    pub(crate) run: Run,
    pub(crate) seq: u64,
    pub(crate) events: Vec<Event>,
    pub(crate) first: Vec<(Timestamp, Record)>,
    pub(crate) lease: HeldLease,
    pub(crate) plugins: Arc<PluginSet>,
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

impl Session {
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
        self.recall(deployment, &prepared.plugins).await?;
        let mut replaced = Vec::new();
        for open in self.open_runs(&deployment.name, &deployment.environment).await? {
            let id = open.start.run.clone();
            let view = rebuild(&id, &self.journal.entries(&id, 1).await?).ok();
            let void: Vec<String> =
                view.iter().flat_map(|view| view.run.gates()).flat_map(|gate| gate.approvals).collect();
            match view {
                Some(view) if choice == RunChoice::ContinueIfUnfinished && same(&view, &prepared, planned) => {
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

    pub(crate) fn take_up(view: RunView, lease: HeldLease, plugins: Arc<PluginSet>) -> Started {
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
        planned::ask_the_provider(deployment, &prepared.plugins, &mut services).await;
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
}

/// A new run's id: a later one sorts behind.
pub(crate) fn new_run_id() -> Result<RunId, EngineError> {
    let time = std::time::UNIX_EPOCH + Duration::from_millis(now().0);
    let id = ulid::Ulid::from_datetime(time).to_string().to_ascii_lowercase();
    RunId::new(id).map_err(|e| EngineError::Call { code: "engine/run-id".to_owned(), message: e.to_string() })
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

/// Whether an unfinished run is for what the file describes now, in the same way and with the same plugins; and where a plan
/// is carried out, for that very plan.
fn same(view: &RunView, prepared: &Prepared, planned: Option<&PlanFile>) -> bool {
    let start = view.run.start();
    let candidates: BTreeMap<_, _> = start.services.iter().map(|(n, s)| (n.clone(), s.candidate.clone())).collect();
    start.deployment == prepared.deployment
        && candidates == prepared.revisions
        && start.plugins == prepared.plugins.identities()
        // A rollout, an undo and an import of the same revisions are not the same: one takes steps, one takes none, and one
        // changes nothing.
        && start.services.values().all(|service| service.mode == prepared.mode)
        && planned.is_none_or(|planned| planned.plan_digest == start.plan_digest())
}
