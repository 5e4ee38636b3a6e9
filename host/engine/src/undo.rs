//! Back to a revision that was stable before: what it ran is in the journal, and is brought back in one go, verified.

use crate::artefact::{changed, provenance};
use crate::begin::RunNotes;
use crate::cause::Cause;
use crate::history::rebuild;
use crate::only::{Order, only};
use crate::session::Session;
use crate::{EngineError, Prepared, revision, stable};
use basb_core::model::Workload;
use basb_core::run::StartMode;
use basb_core::{RevisionId, RunId, ServiceName};
use basb_journal::{ServiceKey, StableRevision};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What to go back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackTo {
    /// What was stable before what is stable now.
    Previous,
    /// The revision with this number in `basb-host revisions`.
    Number(u64),
    /// The revision with this id.
    Revision(RevisionId),
}

/// What an undo does to a service.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Undone {
    /// The service.
    pub service: ServiceName,
    /// The revision that is stable.
    pub from: RevisionId,
    /// The revision that it goes back to; the same where there is nothing to do.
    pub to: RevisionId,
    /// Its number in `basb-host revisions`.
    pub number: u64,
}

impl Undone {
    /// Whether it is there already.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.from == self.to
    }
}

/// Where a service goes back to, with what it takes.
struct Chosen {
    undone: Undone,
    workload: Workload,
    replicas: u32,
}

impl Session {
    /// The unfinished undo that going back to what was stable before goes on with. Half of its services may be there by
    /// now: chosen anew from what is stable at this moment, they would be brought forward again.
    ///
    /// # Errors
    /// [`EngineError::Refused`] when it is about other services than those that are named; nothing was changed.
    pub async fn unfinished_undo(
        &self,
        prepared: &Prepared,
        to: &BackTo,
        services: &[ServiceName],
    ) -> Result<Option<RunId>, EngineError> {
        // A number and an id mean the same revision, however far the unfinished one came.
        if *to != BackTo::Previous {
            return Ok(None);
        }
        let deployment = &prepared.deployment;
        for open in self.open_runs(&deployment.name, &deployment.environment).await? {
            if RunNotes::of(&open)?.cause != Cause::Undo {
                continue;
            }
            let id = open.start.run;
            let view = rebuild(&id, &self.journal().entries(&id, 1).await?)?;
            let its: BTreeSet<&ServiceName> = view.run.start().services.keys().collect();
            if services.is_empty() || its == services.iter().collect() {
                return Ok(Some(id));
            }
            let its: Vec<&str> = its.into_iter().map(ServiceName::as_str).collect();
            return Err(EngineError::refused(
                "undo/unfinished",
                format!("run {id}, an undo of {}, is unfinished", its.join(", ")),
                format!("`basb-host resume {id}` goes on with it; or say where to go with `--to-revision`"),
            ));
        }
        Ok(None)
    }

    /// Chooses what each service goes back to, and makes the deployment one that does it. Without names, all services
    /// are meant whose stable revision came with the newest one, whatever was repaired since; a number or an id means those
    /// that have it.
    ///
    /// # Errors
    /// [`EngineError::Refused`] when there is nothing to go back to, it is not known what it ran, or its program has
    /// changed since; nothing was changed.
    pub async fn undo(
        &self,
        mut prepared: Prepared,
        to: &BackTo,
        services: &[ServiceName],
    ) -> Result<(Prepared, Vec<Undone>), EngineError> {
        for name in services {
            if !prepared.deployment.services.contains_key(name) {
                let all: Vec<&str> = prepared.deployment.services.keys().map(ServiceName::as_str).collect();
                let message = format!("the deployment has no service `{name}`");
                return Err(EngineError::refused(
                    "undo/no-such-service",
                    message,
                    format!("there are: {}", all.join(", ")),
                ));
            }
        }
        if matches!(to, BackTo::Number(_)) && services.is_empty() && prepared.deployment.services.len() > 1 {
            return Err(EngineError::refused(
                "undo/which-service",
                "every service has numbers of its own",
                "say which one with `--service NAME`, or give a revision's id; `basb-host revisions` lists them",
            ));
        }
        let mut chosen = BTreeMap::new();
        let mut programs = revision::Programs::default();
        for name in self.meant(&prepared, to, services).await? {
            if let Some(found) = self.choose(&prepared, &name, to, services, &mut programs).await? {
                chosen.insert(name, found);
            }
        }
        if chosen.is_empty() {
            let message = match to {
                BackTo::Previous => "nothing was stable before what is stable now".to_owned(),
                BackTo::Number(number) => format!("no service has a revision with the number {number}"),
                BackTo::Revision(revision) => format!("{revision} was never stable here"),
            };
            return Err(EngineError::refused(
                "undo/nothing-before",
                message,
                "`basb-host revisions` lists what was stable",
            ));
        }
        let undone: Vec<Undone> = chosen.values().map(|c| c.undone.clone()).collect();
        chosen.retain(|_, c| !c.undone.is_nothing());
        only(&mut prepared, |name| chosen.contains_key(name), Order::Reversed);
        for (name, chosen) in chosen {
            if let Some(service) = prepared.deployment.services.get_mut(&name) {
                service.workload = chosen.workload;
                // As many as carry the traffic now, however many it had then.
                service.replicas = chosen.replicas;
            }
            prepared.revisions.insert(name, chosen.undone.to);
        }
        prepared.programs = programs.digests();
        prepared.mode = StartMode::Revert;
        prepared.cause = Cause::Undo;
        Ok((prepared, undone))
    }

    /// The services that are meant.
    async fn meant(
        &self,
        prepared: &Prepared,
        to: &BackTo,
        named: &[ServiceName],
    ) -> Result<BTreeSet<ServiceName>, EngineError> {
        if !named.is_empty() {
            return Ok(named.iter().cloned().collect());
        }
        let deployment = &prepared.deployment;
        let stable = self.journal().stable_since(&deployment.name, &deployment.environment).await?;
        let stable = stable.into_iter().filter(|s| deployment.services.contains_key(&s.service.service));
        let stable: Vec<StableRevision> = stable.collect();
        let newest = stable.iter().max_by_key(|s| s.ordinal).map(|s| s.run.clone());
        let with_it = stable.into_iter().filter(|s| *to != BackTo::Previous || Some(&s.run) == newest.as_ref());
        Ok(with_it.map(|s| s.service.service).collect())
    }

    async fn choose(
        &self,
        prepared: &Prepared,
        name: &ServiceName,
        to: &BackTo,
        named: &[ServiceName],
        programs: &mut revision::Programs,
    ) -> Result<Option<Chosen>, EngineError> {
        let deployment = &prepared.deployment;
        let key = ServiceKey {
            deployment: deployment.name.clone(),
            environment: deployment.environment.clone(),
            service: name.clone(),
        };
        let kept = self.journal().revisions(&key, u32::MAX).await?;
        let missing = |message: String| {
            let next = format!("`basb-host revisions {name}` lists what was stable");
            if !named.is_empty() { Err(EngineError::refused("undo/nothing-before", message, next)) } else { Ok(None) }
        };
        let Some(now) = kept.first() else { return missing(format!("{name}: nothing is stable")) };
        let number_of = |at: usize| (kept.len() - at) as u64;
        let found = kept.iter().enumerate().find(|(at, k)| match to {
            BackTo::Previous => k.revision != now.revision,
            BackTo::Number(number) => number_of(*at) == *number,
            BackTo::Revision(revision) => k.revision == *revision,
        });
        let Some((at, found)) = found else {
            return missing(match to {
                BackTo::Previous => format!("{name}: nothing was stable before {}", now.revision),
                BackTo::Number(number) => format!("{name}: there is no revision with the number {number}"),
                BackTo::Revision(revision) => format!("{name}: {revision} was never stable"),
            });
        };
        let undone = Undone {
            service: name.clone(),
            from: now.revision.clone(),
            to: found.revision.clone(),
            number: number_of(at),
        };
        let workload = (*stable::stable(found)?.workload).clone();
        if !undone.is_nothing() {
            self.must_be_the_same(name, found, &workload, programs).await?;
        }
        Ok(Some(Chosen { undone, workload, replicas: now.replicas }))
    }

    /// Refuses to bring a revision back as something else than it was.
    async fn must_be_the_same(
        &self,
        name: &ServiceName,
        found: &StableRevision,
        workload: &Workload,
        programs: &mut revision::Programs,
    ) -> Result<(), EngineError> {
        let id = &found.revision;
        if revision::is_unknown(workload) {
            return Err(EngineError::refused(
                "undo/unknown-workload",
                format!("{name}: {id} was adopted by an import, which could not know what it runs"),
                "go back to another one; `basb-host revisions` lists them",
            ));
        }
        if revision::is(id, workload, programs) {
            return Ok(());
        }
        let now = revision::of(workload, programs);
        let was = provenance(self.journal(), found, &mut BTreeMap::new()).await?.artefact;
        let program = changed(was.as_ref(), workload, &programs.digests());
        let was = was.map_or_else(String::new, |artefact| format!(" ({artefact})"));
        Err(EngineError::refused(
            "undo/program-changed",
            format!("{name}: {program} is not what {id} ran{was}: with what is there now it would be {now}"),
            format!("put the program of {id} back, then try again; nothing was changed"),
        ))
    }
}
