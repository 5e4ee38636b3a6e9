//! A finished run without success, once more: the deployment that was recorded, with the very plugins and programs.

use crate::history::rebuild;
use crate::lease::HeldLease;
use crate::plugins::PluginSet;
use crate::revision::{self, Programs};
use crate::session::{RunNotes, Session, Started};
use crate::{EngineError, prepare};
use basb_core::run::{RunOutcome, RunStart, ServiceStart, plan_digest};
use basb_journal::{RunRecord, RunState};
use std::collections::BTreeMap;

impl Session {
    /// Begins a new run of what a finished run without success was to deploy.
    ///
    /// # Errors
    /// [`EngineError`] when it was a success, when another run is unfinished, or when plugins or programs are not what they
    /// were; nothing was changed.
    pub async fn retry_finished(&self, record: &RunRecord) -> Result<Started, EngineError> {
        let id = &record.start.run;
        let RunState::Finished { outcome, .. } = &record.state else {
            let next = format!("`basb-host resume {id}` goes on with it");
            return Err(EngineError::refused("run/unfinished", format!("run {id} is not finished"), next));
        };
        if outcome == RunOutcome::Done.as_str() {
            let message = format!("run {id} was a success: there is nothing to try again");
            return Err(EngineError::refused(
                "run/succeeded",
                message,
                "`basb-host run` deploys what the file says now",
            ));
        }
        let lease = HeldLease::acquire(&self.journal, &record.start.deployment, &record.start.environment).await?;
        let (start, notes, plugins) = match self.once_more(record).await {
            Ok(again) => again,
            Err(e) => {
                lease.release().await;
                return Err(e);
            }
        };
        let mut started = self.begin_with(start, &notes, std::sync::Arc::new(plugins), lease).await?;
        started.messages.push(format!("run {id} once more, with the same plugins, as run {}", started.id()));
        Ok(started)
    }

    async fn once_more(&self, record: &RunRecord) -> Result<(RunStart, RunNotes, PluginSet), EngineError> {
        let id = &record.start.run;
        if let Some(open) = self.open_runs(&record.start.deployment, &record.start.environment).await?.first() {
            let other = &open.start.run;
            let message =
                format!("run {other} of {}/{} is unfinished", record.start.deployment, record.start.environment);
            let next = format!("`basb-host resume {other}` goes on with it, `basb-host abort {other}` goes back");
            return Err(EngineError::refused("run/unfinished", message, next));
        }
        let view = rebuild(id, &self.journal.entries(id, 1).await?)?;
        let old = view.run.start();
        let mut programs = Programs::default();
        for (name, service) in &old.deployment.services {
            let was = old.services.get(name).map(|s| &s.candidate);
            let is = revision::of(&service.workload, &mut programs);
            if was.is_some_and(|was| *was != is) && old.services.get(name).is_some_and(|s| s.mode.is_rollout()) {
                let was = was.map(ToString::to_string).unwrap_or_default();
                let message =
                    format!("the program of {name} is not what run {id} was to deploy: it was {was}, it is {is}");
                let next = "`basb-host run` deploys what is there now; nothing was changed";
                return Err(EngineError::refused("run/program-changed", message, next));
            }
        }
        let notes = RunNotes::of(record)?;
        self.ensure_agent_for(&old.deployment).await?;
        let runtime = self.runtime(notes.base())?;
        let plugins = prepare::reload(old, &runtime, notes.base()).await?;
        plugins.access().check().await?;
        self.recall(&old.deployment, &plugins).await?;
        let mut services = BTreeMap::new();
        for (name, from) in &old.services {
            let stable = self.stable_revision(&old.deployment, name).await?;
            services.insert(name.clone(), ServiceStart { stable, ..from.clone() });
        }
        let plan = plan_digest(&old.deployment, &services, &old.plugins);
        let start = RunStart { run: crate::session::new_run_id()?, services, plan: Some(plan), ..old.clone() };
        Ok((start, notes, plugins))
    }
}
