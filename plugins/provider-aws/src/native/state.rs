//! What ECS says of a service that it drives, in the host's words.

use basb_cloud_kit::{Waiting, decode_state, digest};
use basb_plugin::{Failure, Weight};
use serde::{Deserialize, Serialize};

use super::Delegated;
use crate::api::ecs::{EcsService, RevisionSummary, ServiceDeployment};
use crate::names;

/// A revision of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct Side {
    pub revision: String,
    pub definition: String,
    pub desired: u32,
    pub available: u32,
    pub weight: Weight,
}

impl Side {
    /// One that has nothing.
    pub fn none(revision: &str) -> Side {
        Side { revision: revision.into(), definition: String::new(), desired: 0, available: 0, weight: Weight::ZERO }
    }
}

/// A service as it is.
pub struct Now {
    pub service: Option<EcsService>,
    pub deployment: Option<ServiceDeployment>,
    /// What the deployment under way brings, or what is there where none is.
    pub target: Option<Side>,
    /// What it replaces.
    pub source: Option<Side>,
    /// Whether the rule forwards requests at all.
    serving: bool,
    /// The revision that the last deployment was for, whatever became of it.
    last: Option<String>,
}

/// Whether a deployment has not ended.
pub fn is_under_way(status: &str) -> bool {
    matches!(status, "PENDING" | "IN_PROGRESS" | "STOP_REQUESTED" | "ROLLBACK_REQUESTED" | "ROLLBACK_IN_PROGRESS")
}

impl Now {
    /// Each revision that is there.
    pub fn sides(&self) -> impl Iterator<Item = &Side> {
        self.target.iter().chain(&self.source)
    }

    /// Whether a deployment is under way.
    pub fn is_under_way(&self) -> bool {
        self.deployment.as_ref().is_some_and(|deployment| is_under_way(&deployment.status))
    }

    /// Whether what it brings is the revision that was there, only with other tasks: another network, or another definition.
    pub fn replaces_itself(&self) -> bool {
        self.target
            .as_ref()
            .zip(self.source.as_ref())
            .is_some_and(|(target, source)| target.revision == source.revision)
    }

    /// Each revision once, as the host sees it: where one replaces itself, both sides are the one.
    pub fn shown(&self) -> Vec<Side> {
        let mut shown: Vec<Side> = Vec::new();
        for side in self.sides() {
            match shown.iter_mut().find(|of| of.revision == side.revision) {
                Some(of) => {
                    of.available = of.available.max(side.available);
                    of.desired = of.desired.max(side.desired);
                    let both = of.weight.hundredths().saturating_add(side.weight.hundredths());
                    of.weight = Weight::from_hundredths(both.min(Weight::FULL.hundredths()));
                }
                None => shown.push(side.clone()),
            }
        }
        shown
    }

    /// Whether it is on its way back.
    pub fn goes_back(&self) -> bool {
        let status = self.deployment.as_ref().map(|deployment| deployment.status.as_str());
        matches!(status, Some("STOP_REQUESTED" | "ROLLBACK_REQUESTED" | "ROLLBACK_IN_PROGRESS"))
    }

    /// Whether a revision is what the deployment under way brings, or what is there.
    pub fn is_target(&self, revision: &str) -> bool {
        self.target.as_ref().is_some_and(|side| side.revision == revision)
    }

    /// The pause that waits for an answer. A deployment that goes back takes none.
    pub fn pause(&self) -> Option<&str> {
        let deployment = self.deployment.as_ref().filter(|deployment| deployment.status == "IN_PROGRESS")?;
        deployment
            .lifecycle_hook_details
            .iter()
            .find(|hook| hook.target_type == "PAUSE" && hook.status == "AWAITING_ACTION")
            .map(|hook| hook.hook_id.as_str())
    }

    /// Why ECS gave a revision up, if it did.
    pub fn given_up(&self, revision: &str) -> Option<String> {
        let deployment = self.deployment.as_ref()?;
        let failed = matches!(
            deployment.status.as_str(),
            "STOPPED" | "ROLLBACK_SUCCESSFUL" | "ROLLBACK_FAILED" | "ROLLBACK_IN_PROGRESS"
        );
        if !failed || self.last.as_deref() != Some(revision) {
            return None;
        }
        let rollback = deployment.rollback.as_ref().and_then(|rollback| rollback.reason.clone());
        let reason = rollback.or_else(|| deployment.status_reason.clone());
        Some(format!("{}: {}", deployment.status, reason.unwrap_or_else(|| "ECS does not say why".into())))
    }

    /// Where a deployment under way is, in one line.
    pub fn note(&self) -> String {
        let Some(deployment) = &self.deployment else { return "ECS has not begun yet".to_owned() };
        let stage = deployment.lifecycle_stage.as_deref().unwrap_or("no stage yet");
        let why = deployment.status_reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        format!("ECS: {} at {stage}{why}", deployment.status)
    }
}

impl Delegated<'_> {
    /// Looks.
    pub fn now(&self) -> Result<Now, Failure> {
        let service = self.fleet.api.service(&self.name)?;
        let rule = match &service {
            Some(_) => self.fleet.production_rule(&self.fleet.elb.rules(&self.fleet.ecs.listener)?)?,
            None => None,
        };
        let leads = rule.as_ref().is_some_and(|rule| rule.targets.iter().any(|(_, weight)| *weight > 0));
        let serving = rule.is_some_and(|rule| rule.action == "forward");
        let mut now = Now { service, deployment: None, target: None, source: None, serving, last: None };
        let Some(service) = now.service.clone() else { return Ok(now) };
        now.deployment = self.fleet.api.last_deployment(&self.name)?;
        let Some(deployment) = now.deployment.clone() else {
            // ECS remembers deployments for ninety days; or what it lists is of a moment ago, before the first one has
            // shifted anything. The rule tells which.
            now.target = Some(self.settled(&service, &service.task_definition, now.serving && leads)?);
            return Ok(now);
        };
        let target = deployment.target_service_revision.clone().unwrap_or_default();
        let mut arns: Vec<String> = vec![target.arn.clone()];
        arns.extend(deployment.source_service_revisions.iter().map(|side| side.arn.clone()));
        arns.extend(deployment.rollback.as_ref().and_then(|rollback| rollback.service_revision_arn.clone()));
        arns.retain(|arn| !arn.is_empty());
        arns.dedup();
        let definitions = self.fleet.api.revision_definitions(&arns)?;
        let definition = |arn: &str| definitions.get(arn).cloned();
        let of_target = definition(&target.arn).unwrap_or_else(|| service.task_definition.clone());
        now.last = self.revision_of(&of_target)?;
        if is_under_way(&deployment.status) {
            let paused = now.pause().is_some();
            let mut side = self.side(&target, &of_target, now.serving)?;
            // Before its first pause a candidate is still being scaled up; ECS checks its health meanwhile.
            if !paused && side.weight == Weight::ZERO {
                side.available = 0;
            }
            now.target = Some(side);
            let older = deployment.source_service_revisions.iter().find(|side| side.arn != target.arn);
            if let Some(older) = older
                && let Some(of_source) = definition(&older.arn)
            {
                let mut side = self.side(older, &of_source, now.serving)?;
                let taken = now.target.as_ref().map_or(Weight::ZERO, |target| target.weight);
                if now.serving {
                    side.weight = taken.rest();
                }
                now.source = Some(side);
            }
            return Ok(now);
        }
        let back = deployment.rollback.as_ref().and_then(|rollback| rollback.service_revision_arn.as_deref());
        let older = back.or(deployment.source_service_revisions.first().map(|side| side.arn.as_str()));
        let current = match (deployment.status.as_str(), older) {
            ("SUCCESSFUL", _) => of_target,
            (_, Some(older)) => definition(older).unwrap_or_else(|| service.task_definition.clone()),
            // A first release was given up, and ECS has nothing to go back to: it has what ECS gave it by then.
            (_, None) => {
                now.target = Some(self.side(&target, &of_target, now.serving)?);
                return Ok(now);
            }
        };
        now.target = Some(self.settled(&service, &current, now.serving)?);
        Ok(now)
    }

    fn settled(&self, service: &EcsService, definition: &str, serving: bool) -> Result<Side, Failure> {
        Ok(Side {
            revision: self.revision_there(definition)?,
            definition: definition.to_owned(),
            desired: service.desired_count,
            available: service.running_count.min(service.desired_count),
            weight: if serving { Weight::FULL } else { Weight::ZERO },
        })
    }

    fn side(&self, summary: &RevisionSummary, definition: &str, serving: bool) -> Result<Side, Failure> {
        let percent = summary.requested_production_traffic_weight.unwrap_or(0.0);
        let weight = Weight::from_percent(percent).unwrap_or(Weight::ZERO);
        Ok(Side {
            revision: self.revision_there(definition)?,
            definition: definition.to_owned(),
            desired: summary.requested_task_count,
            available: summary.running_task_count.min(summary.requested_task_count),
            weight: if serving { weight } else { Weight::ZERO },
        })
    }

    /// Which revision a task definition that tasks run by is.
    fn revision_there(&self, definition: &str) -> Result<String, Failure> {
        self.revision_of(definition)?.ok_or_else(|| {
            // It is kept as long as there are tasks of it.
            let message = format!("ECS does not describe the task definition {definition}, which {} runs", self.name);
            Failure::conflict(message).retry_after(crate::A_MOMENT)
        })
    }

    /// Which revision a task definition is: its tags tell. One that others made is known by its ARN. Nothing where it was
    /// deleted: a deployment that is over, and whose revision was retired, still names it.
    fn revision_of(&self, definition: &str) -> Result<Option<String>, Failure> {
        if let Some(known) = self.revisions.borrow().get(definition) {
            return Ok(Some(known.clone()));
        }
        let Some(found) = self.fleet.api.described(definition)? else { return Ok(None) };
        let owner = names::owner_of(&found.tags).filter(|owner| owner.is_of(self.fleet.service));
        let revision = owner.and_then(|owner| owner.revision).unwrap_or_else(|| {
            let hex: String = digest(definition.as_bytes()).chars().skip("sha256:".len()).take(12).collect();
            format!("x{hex}")
        });
        self.revisions.borrow_mut().insert(definition.to_owned(), revision.clone());
        Ok(Some(revision))
    }
}

/// What a call that goes on knows of the deployment that it began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnderWay {
    /// The service's name at ECS, where a deployment was asked for.
    pub service: Option<String>,
    /// The deployment that was the last one before.
    pub before: Option<String>,
    /// The deployment, once ECS names it.
    pub deployment: Option<String>,
    /// The pause that was answered last: until ECS has taken the answer in, it still shows as waiting.
    pub answered: Option<String>,
}

impl UnderWay {
    /// From a state of either call.
    ///
    /// # Errors
    /// As [`decode_state`].
    pub fn read(state: Option<&str>) -> Result<Option<UnderWay>, Failure> {
        Ok(decode_state::<Waiting<UnderWay>>(state)?.map(|waiting| waiting.what))
    }
}
