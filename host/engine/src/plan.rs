//! What a run would do, without doing it.

use crate::plugins::PluginSet;
use crate::{EngineError, Prepared, bounds, convert};
use basb_core::run::Failure;
use basb_core::{Millis, PluginName, RevisionId, ServiceName, Weight};
use basb_journal::{Journal, ServiceKey};
use basb_runtime::wit::{provider, strategy};
use serde::Serialize;

/// What a run would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The version of this form.
    pub version: u32,
    /// The deployment.
    pub deployment: ServiceName,
    /// The environment.
    pub environment: PluginName,
    /// Each service.
    pub services: Vec<ServicePlan>,
}

/// What a run would do for one service.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePlan {
    /// The service.
    pub service: ServiceName,
    /// The revision that is stable now.
    pub stable: Option<RevisionId>,
    /// The revision that it would get.
    pub candidate: RevisionId,
    /// What the provider would do.
    pub actions: Vec<PlannedAction>,
    /// The steps of the rollout.
    pub steps: Vec<PlannedStep>,
}

/// Something that the provider would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedAction {
    /// `create`, `update`, `replace` or `delete`.
    pub kind: String,
    /// In one line.
    pub summary: String,
    /// Every value that changes.
    pub changes: Vec<Change>,
    /// Why it cannot be undone, if it cannot.
    pub irreversible: Option<String>,
}

/// A value that changes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Which.
    pub path: String,
    /// What it is.
    pub before: Option<String>,
    /// What it would be.
    pub after: Option<String>,
}

/// A step of a rollout.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedStep {
    /// In one line.
    pub summary: String,
    /// The weight wanted after it.
    pub weight: Option<Weight>,
    /// The weight that can be achieved, where it differs.
    pub achieved: Option<Weight>,
    /// How long it takes at the least.
    pub duration: Option<Millis>,
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.services.iter().all(|s| !s.changes())
    }
}

impl ServicePlan {
    /// Whether there is something to do.
    #[must_use]
    pub fn changes(&self) -> bool {
        !self.actions.is_empty() || self.stable.as_ref() != Some(&self.candidate)
    }
}

/// Plans a deployment.
///
/// # Errors
/// [`EngineError::Call`] when the provider cannot be asked.
pub async fn plan(prepared: &Prepared, journal: &Journal) -> Result<Plan, EngineError> {
    let deployment = &prepared.deployment;
    let mut services = Vec::new();
    for (name, service) in &deployment.services {
        let key = ServiceKey {
            deployment: deployment.name.clone(),
            environment: deployment.environment.clone(),
            service: name.clone(),
        };
        let Some(candidate) = prepared.revisions.get(name).cloned() else { continue };
        let stable = journal.stable(&key).await?.map(|s| s.revision);
        let listen = service.listen.as_deref();
        let desired = convert::desired(deployment, name, listen, &candidate, &service.workload, service.replicas);
        let planned = prepared.plugins.plan(desired).await.map_err(|f| unanswered(name, f))?;
        let actions = bounds::list("actions", planned.actions).map_err(|f| unanswered(name, f))?;
        // The same revision in another size is changed in place, as a repair is: without steps.
        let steps = match deployment.strategies.get(&service.strategy).filter(|_| stable.as_ref() != Some(&candidate)) {
            Some(uses) => steps(&prepared.plugins, uses, prepared, name, stable.is_none()).await?,
            None => Vec::new(),
        };
        services.push(ServicePlan {
            service: name.clone(),
            stable,
            candidate,
            actions: actions.into_iter().map(action).collect(),
            steps,
        });
    }
    let (name, environment) = (deployment.name.clone(), deployment.environment.clone());
    Ok(Plan { version: 1, deployment: name, environment, services })
}

async fn steps(
    plugins: &PluginSet,
    uses: &basb_core::model::Use,
    prepared: &Prepared,
    name: &ServiceName,
    initial: bool,
) -> Result<Vec<PlannedStep>, EngineError> {
    let Some(service) = prepared.deployment.services.get(name) else { return Ok(Vec::new()) };
    let view = plugins.service_view(&prepared.deployment, name, service, initial);
    let steps = plugins.preview(uses, view).await.and_then(|steps| bounds::list("steps", steps));
    let steps = steps.map_err(|f| unanswered(name, f))?;
    Ok(steps.into_iter().map(step).collect())
}

fn unanswered(service: &ServiceName, failure: Failure) -> EngineError {
    EngineError::Call { code: failure.code, message: format!("{service} cannot be planned: {}", failure.message) }
}

fn step(step: strategy::StepPreview) -> PlannedStep {
    let weight = |w: Option<u16>| w.and_then(|w| Weight::new(w).ok());
    PlannedStep {
        summary: bounds::line(&step.summary),
        weight: weight(step.weight),
        achieved: weight(step.achieved),
        duration: step.duration.map(Millis),
    }
}

/// So many changed values of one action are shown.
const MOST_CHANGES: usize = 200;

fn action(action: provider::PlannedAction) -> PlannedAction {
    PlannedAction {
        kind: match action.kind {
            provider::ActionKind::Create => "create",
            provider::ActionKind::Update => "update",
            provider::ActionKind::Replace => "replace",
            provider::ActionKind::Delete => "delete",
        }
        .to_owned(),
        summary: bounds::line(&action.summary),
        changes: action
            .changes
            .into_iter()
            .take(MOST_CHANGES)
            .map(|c| Change {
                path: bounds::line(&c.path),
                before: c.before.map(|text| bounds::line(&text)),
                after: c.after.map(|text| bounds::line(&text)),
            })
            .collect(),
        irreversible: action.irreversible.map(|text| bounds::line(&text)),
    }
}
