//! One process: its state folder, its journal and its plugins. What it does with them is in the other modules: `begin`,
//! `work`, `asking`, `status`, and one for each command.

use crate::plugins::PluginSet;
use crate::prepare::{self, Prepared};
use crate::{EngineError, KeptPlugins, Plan, StateDir, plan, stable};
use basb_agent::client::Client;
use basb_capabilities::{Capabilities, Options};
use basb_core::model::Deployment;
use basb_core::run::StableRevision;
use basb_core::{PluginName, RunId, ServiceName};
use basb_journal::{Journal, Only, RunFilter, RunRecord, ServiceKey, VerifyError};
use basb_redact::Redactor;
use basb_registry::Policy;
use basb_runtime::{CacheFolder, Runtime, RuntimeOptions};
use basb_spec::LoadOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The name under which grants know the one-machine cloud's socket.
const AGENT: &str = "agent";

/// The code of what is asked of a run that has come to its end.
pub(crate) const RUN_FINISHED: &str = "run/finished";
/// The code of what is asked of a run where none is unfinished.
pub(crate) const NONE_UNFINISHED: &str = "run/none-unfinished";

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
    pub(crate) async fn must_be_whole(&self, run: &RunId) -> Result<(), EngineError> {
        self.journal.verify(run).await.map(|_| ()).map_err(|e| match e {
            VerifyError::Journal(e) => e.into(),
            VerifyError::Broken(e) => EngineError::refused(
                "journal/broken-chain",
                e.to_string(),
                "`basb-host state recover` closes it and keeps what is proved; `basb-host run --new` starts afresh",
            ),
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
            (None, _) => Err(call(NONE_UNFINISHED, "there is no unfinished run".to_owned())),
            (Some(last), false) => {
                let all: Vec<String> = open.iter().chain([&last]).map(|r| r.start.run.to_string()).collect();
                Err(call("run/ambiguous", format!("several runs are unfinished, name one: {}", all.join(", "))))
            }
        }
    }
}

fn key(deployment: &Deployment, service: &ServiceName) -> ServiceKey {
    ServiceKey {
        deployment: deployment.name.clone(),
        environment: deployment.environment.clone(),
        service: service.clone(),
    }
}

/// What the keys of a run's effects begin with.
pub(crate) fn effects_of(run: &RunId) -> String {
    format!("{run}-")
}
