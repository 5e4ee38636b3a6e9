//! Which revisions of a service were stable, with the numbers that `undo` takes.

use crate::EngineError;
use crate::artefact::{Artefact, provenance};
use crate::cause::Cause;
use crate::session::Session;
use basb_core::{PluginName, RevisionId, RunId, ServiceName};
use basb_journal::{RunFilter, ServiceKey};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Every revision of a service that was stable.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceRevisions {
    /// The deployment.
    pub deployment: ServiceName,
    /// The environment.
    pub environment: PluginName,
    /// The service.
    pub service: ServiceName,
    /// Newest first: the first one is stable now.
    pub revisions: Vec<StableLine>,
}

/// A revision that was stable.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StableLine {
    /// Counts from 1, the oldest; one that became stable again has a new number.
    pub number: u64,
    /// The revision.
    pub revision: RevisionId,
    /// Since when, as RFC 3339.
    pub since: String,
    /// How many instances it had.
    pub replicas: u32,
    /// The run that made it stable.
    pub run: RunId,
    /// What asked for that run.
    pub cause: Cause,
    /// What it runs, by its content, where that is known.
    pub artefact: Option<Artefact>,
}

/// Which services are meant; the default means all.
#[derive(Debug, Clone, Default)]
pub struct Which {
    /// Of this deployment.
    pub deployment: Option<ServiceName>,
    /// In this environment.
    pub environment: Option<PluginName>,
    /// With this name.
    pub service: Option<ServiceName>,
}

impl Session {
    /// The revisions that were stable, of every service that is meant.
    ///
    /// # Errors
    /// [`EngineError`] when the journal cannot be read.
    pub async fn revisions(&self, which: &Which) -> Result<Vec<ServiceRevisions>, EngineError> {
        let filter = RunFilter {
            deployment: which.deployment.clone(),
            environment: which.environment.clone(),
            ..RunFilter::default()
        };
        let runs = self.journal().runs(filter, 10_000).await?;
        let places: BTreeSet<(ServiceName, PluginName)> =
            runs.into_iter().map(|r| (r.start.deployment, r.start.environment)).collect();
        let mut all = Vec::new();
        for (deployment, environment) in places {
            for stable in self.journal().stable_services(&deployment, &environment).await? {
                if which.service.as_ref().is_none_or(|s| *s == stable.service.service) {
                    all.push(self.revisions_of(&stable.service).await?);
                }
            }
        }
        Ok(all)
    }

    /// The revisions of one service.
    pub(crate) async fn revisions_of(&self, key: &ServiceKey) -> Result<ServiceRevisions, EngineError> {
        let kept = self.journal().revisions(key, u32::MAX).await?;
        let mut notes = BTreeMap::new();
        let mut revisions = Vec::new();
        for (kept, number) in kept.iter().zip((1..=kept.len() as u64).rev()) {
            let provenance = provenance(self.journal(), kept, &mut notes).await?;
            revisions.push(StableLine {
                number,
                revision: kept.revision.clone(),
                since: kept.at.to_string(),
                replicas: kept.replicas,
                run: kept.run.clone(),
                cause: provenance.cause,
                artefact: provenance.artefact,
            });
        }
        Ok(ServiceRevisions {
            deployment: key.deployment.clone(),
            environment: key.environment.clone(),
            service: key.service.clone(),
            revisions,
        })
    }
}
