//! What a run would do, without doing it.

use crate::drift::{self, DifferenceKind, Seen};
use crate::plugins::PluginSet;
use crate::{EngineError, Prepared, bounds, convert, stable};
use basb_core::model::{Deployment, Service};
use basb_core::run::{Failure, StableRevision};
use basb_core::{Millis, PluginName, RevisionId, ServiceName, Weight};
use basb_journal::Journal;
use basb_runtime::wit::{provider, strategy};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How many services the plugins are asked about at once: enough to keep a cloud's latency from adding up, few enough
/// to stay below what its APIs throttle.
pub(crate) const AT_ONCE: usize = 32;

/// What a run would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The version of this form.
    pub version: u32,
    /// The deployment.
    pub deployment: ServiceName,
    /// The environment.
    pub environment: PluginName,
    /// What of it cannot be undone, as far as the provider tells.
    #[serde(default)]
    pub cannot_undo: Vec<CannotUndo>,
    /// Each service.
    pub services: Vec<ServicePlan>,
}

/// Something in a plan that cannot be undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CannotUndo {
    /// The service.
    pub service: ServiceName,
    /// What would be done, in one line.
    pub action: String,
    /// Why it cannot be undone.
    pub why: String,
}

/// What a run would do for one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// What is not as it should be of a stable revision that stays: the run repairs it. Each in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repairs: Vec<String>,
    /// The revisions that were left over by rollouts which never came to an end, and would be removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strays: Vec<RevisionId>,
}

/// Something that the provider would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
        self.releases() || !self.repairs.is_empty() || !self.strays.is_empty()
    }

    /// Whether the service itself changes: it gets another revision, or its own in another way.
    fn releases(&self) -> bool {
        !self.actions.is_empty() || self.stable.as_ref() != Some(&self.candidate)
    }

    /// What of it cannot be undone.
    pub fn cannot_undo(&self) -> impl Iterator<Item = CannotUndo> {
        self.actions.iter().filter_map(|action| {
            let why = action.irreversible.clone()?;
            Some(CannotUndo { service: self.service.clone(), action: action.in_a_line(), why })
        })
    }
}

impl PlannedAction {
    /// `create revision r1 with 2 instances`.
    #[must_use]
    pub fn in_a_line(&self) -> String {
        format!("{} {}", self.kind, self.summary)
    }
}

/// Plans a deployment, a bounded number of services at once.
///
/// # Errors
/// [`EngineError::Call`] when the provider cannot be asked.
pub async fn plan(prepared: &Prepared, journal: &Journal) -> Result<Plan, EngineError> {
    let deployment = &prepared.deployment;
    let stable = stable::of_deployment(journal, deployment).await?;
    let candidates = deployment.services.iter().filter_map(|(name, service)| {
        let candidate = prepared.revisions.get(name)?;
        Some(plan_service(prepared, name, service, candidate, stable.get(name)))
    });
    let services: Vec<ServicePlan> = stream::iter(candidates).buffered(AT_ONCE).try_collect().await?;
    Ok(Plan {
        version: 1,
        deployment: deployment.name.clone(),
        environment: deployment.environment.clone(),
        cannot_undo: services.iter().flat_map(ServicePlan::cannot_undo).collect(),
        services,
    })
}

async fn plan_service(
    prepared: &Prepared,
    name: &ServiceName,
    service: &Service,
    candidate: &RevisionId,
    stable: Option<&StableRevision>,
) -> Result<ServicePlan, EngineError> {
    let actions = actions(&prepared.deployment, &prepared.plugins, name, service, candidate).await?;
    let uses = prepared.deployment.strategies.get(&service.strategy);
    // The same revision in another size is changed in place, as a repair is: without steps.
    let steps = match uses.filter(|_| stable.map(|s| &s.revision) != Some(candidate)) {
        Some(uses) => steps(&prepared.plugins, uses, prepared, name, stable.is_none()).await?,
        None => Vec::new(),
    };
    let there = prepared.plugins.look(convert::service_ref(&prepared.deployment, name)).await;
    let there = drift::seen(there.map_err(|f| unanswered(name, f))?);
    let mut planned = ServicePlan {
        service: name.clone(),
        stable: stable.map(|s| s.revision.clone()),
        candidate: candidate.clone(),
        actions,
        steps,
        repairs: Vec::new(),
        strays: Vec::new(),
    };
    if let Some(stable) = stable.filter(|_| !planned.releases()) {
        let differences = drift::compare(Some(stable), None, &there);
        planned.repairs =
            differences.iter().filter(|of| of.kind != DifferenceKind::Stray).map(ToString::to_string).collect();
    }
    // Where candidates are kept for good, nothing but a release tells them from what is left over.
    if service.abort_scale_down_delay.is_some() || planned.stable.as_ref() != Some(candidate) {
        planned.strays = strays(&there, &planned);
    }
    Ok(planned)
}

/// Every revision but the candidate and the stable one, in order. What cannot be an id of ours is not for us to touch.
fn strays(there: &[Seen], planned: &ServicePlan) -> Vec<RevisionId> {
    let known = |id: &RevisionId| *id == planned.candidate || Some(id) == planned.stable.as_ref();
    let ids: BTreeSet<RevisionId> = there.iter().filter_map(|seen| RevisionId::new(seen.id.clone()).ok()).collect();
    ids.into_iter().filter(|id| !known(id)).collect()
}

/// What the provider would do for a service.
pub(crate) async fn actions(
    deployment: &Deployment,
    plugins: &PluginSet,
    name: &ServiceName,
    service: &Service,
    candidate: &RevisionId,
) -> Result<Vec<PlannedAction>, EngineError> {
    let listen = service.listen.as_deref();
    let desired = convert::desired(deployment, name, listen, candidate, &service.workload, service.replicas);
    let planned = plugins.plan(desired).await.map_err(|f| unanswered(name, f))?;
    let actions = bounds::list("actions", planned.actions).map_err(|f| unanswered(name, f))?;
    Ok(actions.into_iter().map(action).collect())
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

pub(crate) fn action(action: provider::PlannedAction) -> PlannedAction {
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
