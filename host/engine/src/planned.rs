//! Making a plan file, and holding one against what there is now; and what a run knows of its plan when it begins.

use crate::plan::{self, AT_ONCE};
use crate::plan_file::{Made, PlanFile};
use crate::plugins::PluginSet;
use crate::session::Session;
use crate::{EngineError, Prepared, now, stable};
use basb_core::ServiceName;
use basb_core::model::Deployment;
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
                outdated: Vec::new(),
            };
            (name.clone(), start)
        };
        Ok(prepared.revisions.iter().map(start).collect())
    }
}

/// What the provider says of a service before its run begins.
enum Told {
    /// What of the change cannot be undone, so that a way back can say it.
    Irreversible(Vec<String>),
    /// What it would change although the revision is stable already, such as its own configuration.
    Outdated(Vec<String>),
}

/// Asks the provider what it would do. One that does not answer does not keep the run from beginning, and no answer is none
/// that says that all is well: of a change, it is told that it is not known what of it cannot be undone; and what is stable
/// already is carried out once more, which changes nothing where nothing is to be changed.
pub(crate) async fn ask_the_provider(
    deployment: &Deployment,
    plugins: &PluginSet,
    services: &mut BTreeMap<ServiceName, ServiceStart>,
) {
    let is_stable = |start: &ServiceStart| start.stable.as_ref().is_some_and(|s| s.revision == start.candidate);
    // What is adopted is left as it is, and an undo of what is stable already is about nothing.
    let asks = |start: &ServiceStart| match start.mode {
        StartMode::Rollout => true,
        StartMode::Revert => !is_stable(start),
        StartMode::Adopt => false,
    };
    let asked = services.iter().filter(|(_, start)| asks(start)).filter_map(|(name, start)| {
        let spec = deployment.services.get(name)?;
        Some(async move {
            let actions = plan::actions(deployment, plugins, name, spec, &start.candidate).await;
            let told = match (actions, is_stable(start)) {
                (Ok(actions), true) => Told::Outdated(actions.iter().map(|action| action.in_a_line()).collect()),
                (Ok(actions), false) => {
                    let cannot = actions.iter();
                    let cannot =
                        cannot.filter_map(|a| Some(format!("{}: {}", a.in_a_line(), a.irreversible.as_ref()?)));
                    Told::Irreversible(cannot.collect())
                }
                (Err(e), true) => Told::Outdated(vec![format!("it is not known what, and is done once more: {e}")]),
                (Err(e), false) => Told::Irreversible(vec![format!("it is not known what cannot be undone: {e}")]),
            };
            (name.clone(), told)
        })
    });
    let told: Vec<(ServiceName, Told)> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    for (name, told) in told {
        let Some(start) = services.get_mut(&name) else { continue };
        match told {
            Told::Irreversible(told) => start.irreversible = told,
            Told::Outdated(told) => start.outdated = told,
        }
    }
}
