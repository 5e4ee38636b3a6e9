//! A finished run without success, once more: the deployment that was recorded, with the very plugins and programs.

use crate::ask::{Answer, Answered, Ask, Says};
use crate::begin::{self, RunNotes};
use crate::history::rebuild;
use crate::lease::HeldLease;
use crate::owner::Owner;
use crate::plugins::PluginSet;
use crate::revision::{self, Programs};
use crate::session::{NONE_UNFINISHED, RUN_FINISHED, Session};
use crate::{EngineError, planned, prepare};
use basb_core::ServiceName;
use basb_core::run::{RECORD_VERSION, RunOutcome, RunStart, ServiceStart, StartMode, Verb, plan_digest};
use basb_journal::{Origin, RunFilter, RunRecord, RunState};
use std::collections::BTreeMap;

/// So many runs are looked through for one that did it once more already.
const MOST: u32 = 1000;

/// How a run was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meant {
    /// By its id.
    Named,
    /// As the newest one.
    Newest,
}

impl Session {
    /// Tries what waits for another attempt now, or a finished run once more: the newest one when none is named, unless one
    /// is unfinished. A run that comes to its end while it is asked is a finished one.
    ///
    /// # Errors
    /// [`EngineError`] when there is nothing to try again; nothing was changed.
    pub async fn retry(&self, run: Option<&str>, service: Option<&ServiceName>) -> Result<Answered, EngineError> {
        loop {
            let (record, meant, open) = match run {
                Some(id) => (Some(self.journal.run(id).await?), Meant::Named, false),
                None if self.journal.runs(RunFilter::open(), 1).await?.is_empty() => {
                    (self.journal.runs(RunFilter::here(), 1).await?.pop(), Meant::Newest, false)
                }
                None => (None, Meant::Newest, true),
            };
            if let Some(record) = record.filter(|record| record.state != RunState::Open) {
                return self.retry_finished(&record, meant, service).await;
            }
            match self.ask(run, service, &Ask::Verb(Verb::Retry)).await {
                // It was unfinished a moment ago.
                Err(e) if e.code() == RUN_FINISHED || (open && e.code() == NONE_UNFINISHED) => {}
                other => return other,
            }
        }
    }

    async fn retry_finished(
        &self,
        record: &RunRecord,
        meant: Meant,
        service: Option<&ServiceName>,
    ) -> Result<Answered, EngineError> {
        let id = &record.start.run;
        if service.is_some() {
            let message = format!("run {id} is finished: it is tried again as a whole");
            return Err(EngineError::refused("run/whole", message, "leave `--service` out"));
        }
        if record.origin == Origin::Imported {
            // Its file may be anybody's: it would bring workloads and grants that no file and no lock file here names.
            let message = format!("run {id} was imported from a file: nothing of it is carried out here");
            let next = "`basb-host run` deploys what your own file says; `replay` and `show` read an imported run";
            return Err(EngineError::refused("run/imported", message, next));
        }
        if matches!(&record.state, RunState::Finished { outcome, .. } if outcome == RunOutcome::Done.as_str()) {
            let message = format!("run {id} was a success: there is nothing to try again");
            return Err(EngineError::refused(
                "run/succeeded",
                message,
                "`basb-host run` deploys what the file says now",
            ));
        }
        let lease = HeldLease::acquire(&self.journal, &record.start.deployment, &record.start.environment).await?;
        let again = async {
            // Under the lease: whoever asked for the same at the same time may have been quicker.
            self.not_yet(record, meant).await?;
            self.once_more(record).await
        };
        let (start, notes, plugins) = match again.await {
            Ok(again) => again,
            Err(e) => {
                lease.release().await;
                return Err(e);
            }
        };
        let started = self.begin_with(start, &notes, std::sync::Arc::new(plugins), lease).await?;
        let what = format!("run {id} once more, with the same plugins, as run {}", started.id());
        let answer = Answer {
            version: 1,
            run: started.id().clone(),
            verb: Verb::Retry.to_string(),
            by: Owner::this().to_string(),
            says: vec![Says { service: None, what }],
            taken_by: None,
            events: Vec::new(),
        };
        Ok(Answered::Began(Box::new(started), answer))
    }

    /// An error when the run was done once more already: a retry that is asked for twice is made once.
    async fn not_yet(&self, record: &RunRecord, meant: Meant) -> Result<(), EngineError> {
        let filter = RunFilter {
            deployment: Some(record.start.deployment.clone()),
            environment: Some(record.start.environment.clone()),
            ..RunFilter::here()
        };
        let id = &record.start.run;
        let newer = self.journal.runs(filter, MOST).await?;
        let newer: Vec<&RunRecord> = newer.iter().take_while(|run| run.start.run != *id).collect();
        let ended = |run: &RunRecord| match &run.state {
            RunState::Open => "unfinished".to_owned(),
            RunState::Finished { outcome, .. } => outcome.clone(),
        };
        for run in &newer {
            if RunNotes::of(run).is_ok_and(|notes| notes.retries.as_ref() == Some(id)) {
                let again = &run.start.run;
                let message = format!("run {id} was tried again already, as run {again}: {}", ended(run));
                let next = format!(
                    "`basb-host show {again}` tells what came of it; `basb-host retry {again}` tries that one again"
                );
                return Err(EngineError::refused("run/retried", message, next));
            }
        }
        match newer.first().filter(|_| meant == Meant::Newest) {
            Some(run) => {
                let message = format!("run {id} is not the newest any more: run {} began meanwhile", run.start.run);
                let next = format!("`basb-host retry {id}` tries it again all the same");
                Err(EngineError::refused("run/not-newest", message, next))
            }
            None => Ok(()),
        }
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
            let is_other = |was| !revision::is(was, &service.workload, &mut programs);
            // What was adopted is not known, and is not deployed.
            let deploys = old.services.get(name).is_some_and(|s| s.mode != StartMode::Adopt);
            if deploys && was.is_some_and(is_other) {
                let was = was.map(ToString::to_string).unwrap_or_default();
                let is = revision::of(&service.workload, &mut programs);
                let message =
                    format!("the program of {name} is not what run {id} was to deploy: it was {was}, it is {is}");
                let next = "`basb-host run` deploys what is there now; nothing was changed";
                return Err(EngineError::refused("run/program-changed", message, next));
            }
        }
        let notes = RunNotes::of(record)?.of_retry(id.clone());
        self.ensure_agent_for(&old.deployment).await?;
        let runtime = self.runtime(notes.base())?;
        let plugins = prepare::reload(old, &runtime, notes.base(), &self.kept()).await?.plugins;
        plugins.access().check().await?;
        self.recall(&old.deployment, &plugins).await?;
        let mut services = BTreeMap::new();
        for (name, from) in &old.services {
            let stable = self.stable_revision(&old.deployment, name).await?;
            // What the provider said then is not what it says now.
            let fresh = ServiceStart { stable, irreversible: Vec::new(), outdated: Vec::new(), ..from.clone() };
            services.insert(name.clone(), fresh);
        }
        planned::ask_the_provider(&old.deployment, &plugins, &mut services).await;
        let plan = plan_digest(&old.deployment, &services, &old.plugins);
        let (version, run) = (RECORD_VERSION, begin::new_run_id()?);
        let start = RunStart { version, run, services, plan: Some(plan), ..old.clone() };
        Ok((start, notes, plugins))
    }
}
