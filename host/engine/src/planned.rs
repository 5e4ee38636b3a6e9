//! Making a plan file, and holding one against what there is now; and what a run knows of its plan when it begins.

use crate::plan::{self, AT_ONCE};
use crate::plan_file::{Made, PlanFile};
use crate::session::Session;
use crate::{EngineError, Prepared, now, stable};
use basb_core::ServiceName;
use basb_core::run::{ServiceStart, StartMode, plan_digest};
use futures_util::{StreamExt, stream};
use std::collections::BTreeMap;

impl Session {
    /// A plan with everything that it was made from, to be carried out later.
    ///
    /// # Errors
    /// [`EngineError`] when the provider cannot be asked.
    pub async fn plan_file(&self, prepared: &Prepared, made: &Made<'_>) -> Result<PlanFile, EngineError> {
        let plan = self.plan(prepared).await?;
        let services = self.service_starts(prepared).await?;
        let digest = plan_digest(&prepared.deployment, &services, &prepared.plugins.identities());
        Ok(PlanFile::new(plan, digest, prepared, made))
    }

    /// Plans again, and compares.
    ///
    /// # Errors
    /// [`EngineError::Stale`] with everything that moved.
    pub(crate) async fn unmoved(&self, planned: &PlanFile, prepared: &Prepared) -> Result<(), EngineError> {
        let made = Made { at: now(), beside: None, variables: &[] };
        let moved = planned.moved(&self.plan_file(prepared, &made).await?);
        if moved.is_empty() { Ok(()) } else { Err(EngineError::Stale(moved)) }
    }

    /// What each service would start from now.
    pub(crate) async fn service_starts(
        &self,
        prepared: &Prepared,
    ) -> Result<BTreeMap<ServiceName, ServiceStart>, EngineError> {
        let mut stable = stable::of_deployment(self.journal(), &prepared.deployment).await?;
        let start = |(name, candidate): (&ServiceName, &basb_core::RevisionId)| {
            let start = ServiceStart {
                candidate: candidate.clone(),
                stable: stable.remove(name),
                mode: prepared.mode,
                irreversible: Vec::new(),
            };
            (name.clone(), start)
        };
        Ok(prepared.revisions.iter().map(start).collect())
    }
}

/// Asks the provider what of each change cannot be undone, so that a way back can say it. A provider that does not
/// answer does not keep the run from beginning, which asks it again; that it is not known is told instead.
pub(crate) async fn tell_irreversible(prepared: &Prepared, services: &mut BTreeMap<ServiceName, ServiceStart>) {
    let changes = |start: &ServiceStart| {
        start.mode != StartMode::Adopt && start.stable.as_ref().is_none_or(|s| s.revision != start.candidate)
    };
    let asked = services.iter().filter(|(_, start)| changes(start)).filter_map(|(name, start)| {
        let spec = prepared.deployment.services.get(name)?;
        Some(async move {
            let told = match plan::actions(prepared, name, spec, &start.candidate).await {
                Ok(actions) => {
                    let told =
                        actions.iter().filter_map(|a| Some(format!("{}: {}", a.in_a_line(), a.irreversible.as_ref()?)));
                    told.collect()
                }
                Err(e) => vec![format!("it is not known what cannot be undone: {e}")],
            };
            (name.clone(), told)
        })
    });
    let told: Vec<(ServiceName, Vec<String>)> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    for (name, told) in told {
        if let Some(start) = services.get_mut(&name) {
            start.irreversible = told;
        }
    }
}
