//! Containers on ECS, whose weights ECS sets: one service, two target groups, and a pause before every shift of traffic.
//!
//! The host's word is the answer to a pause. Nobody answers where the host is gone, and then AWS goes back by itself:
//! the action of every pause's timeout is `ROLLBACK`. The price: only the shares that the strategy of ECS makes, one
//! service at a time, and no way back once ECS has removed the older tasks.

mod deploy;
mod place;
mod state;
mod traffic;

use std::cell::RefCell;
use std::collections::BTreeMap;

use basb_cloud_kit::{Client, Refused};
use basb_plugin::provider::{
    Action, Desired, Instance, InstanceReport, Observed, ObservedRevision, Progress, ProviderContext, ServicePlan,
};
use basb_plugin::{Failure, FailureCode, Weight};

use crate::config::{Config, Ecs, Native};
use crate::ecs::rules::{CANDIDATE, LeadsThere};
use crate::ecs::{Endpoints, Fleet};
use crate::names;

use state::Now;

/// A refusal that only says that what was read was of a moment ago: it is read again.
fn read_again(refused: Refused) -> Failure {
    Failure { code: FailureCode::Conflict, ..Failure::from(refused) }.retry_after(crate::A_MOMENT)
}

/// One service of a deployment, driven by ECS.
pub struct Delegated<'a> {
    fleet: Fleet<'a>,
    native: &'a Native,
    name: String,
    /// Which revision a task definition is, for those that were asked about: one never changes.
    revisions: RefCell<BTreeMap<String, String>>,
}

impl<'a> Delegated<'a> {
    /// For a call.
    pub fn new(fleet: Fleet<'a>, native: &'a Native) -> Delegated<'a> {
        let name = names::of_service(fleet.service, 255);
        Delegated { fleet, native, name, revisions: RefCell::default() }
    }

    /// What `apply` would do.
    pub fn plan(&self, desired: &Desired) -> Result<ServicePlan, Failure> {
        deploy::plan(self, desired)
    }

    /// Does it.
    pub fn apply(&self, key: &str, action: &Action, state: Option<&str>) -> Result<Progress, Failure> {
        match action {
            Action::Deploy(desired) => deploy::deploy(self, key, desired, state),
            Action::Scale(scaling) => deploy::scale(self, &scaling.revision, scaling.replicas),
        }
    }

    /// Has ECS shift the traffic.
    pub fn traffic(&self, weights: &[(String, Weight)], state: Option<&str>) -> Result<Progress, Failure> {
        traffic::traffic(self, weights, state)
    }

    /// Has ECS remove the older tasks, or go back.
    pub fn retire(&self, revision: &str, state: Option<&str>) -> Result<Progress, Failure> {
        traffic::retire(self, revision, state)
    }

    /// What is there.
    pub fn read(&self) -> Result<Option<Observed>, Failure> {
        let now = self.now()?;
        Ok(self.observed(&now))
    }

    fn observed(&self, now: &Now) -> Option<Observed> {
        now.service.as_ref()?;
        let preview = self.fleet.preview_url(CANDIDATE, LeadsThere::Yes);
        let revisions = now.shown().into_iter().map(|side| ObservedRevision {
            preview_url: preview.clone().filter(|_| now.is_target(&side.revision) && now.is_under_way()),
            id: side.revision,
            desired: side.desired,
            available: side.available,
            weight: side.weight,
            workload_digest: None,
            extras: vec![("task-definition".into(), side.definition)],
        });
        let deployment = now.deployment.as_ref();
        Some(Observed {
            url: self.fleet.written.url(),
            revisions: revisions.collect(),
            version: deployment.map(|deployment| deployment.service_deployment_arn.clone()),
            extras: deployment
                .map(|deployment| ("deployment-status".into(), deployment.status.clone()))
                .into_iter()
                .collect(),
        })
    }

    /// The tasks of a revision.
    pub fn instances(&self, revision: &str) -> Result<InstanceReport, Failure> {
        let now = self.now()?;
        let given_up = now.given_up(revision);
        let side = match now.sides().find(|side| side.revision == revision) {
            Some(side) => side.clone(),
            None if given_up.is_some() => state::Side::none(revision),
            None => return Err(crate::ecs::deploy::gone(&self.fleet, revision)),
        };
        let mut instances = Vec::new();
        for task in self.fleet.api.tasks(&self.name, "RUNNING")? {
            if task.task_definition_arn != side.definition {
                continue;
            }
            let taken = u32::try_from(instances.len()).unwrap_or(u32::MAX);
            instances.push(Instance {
                id: task.task_arn.rsplit('/').next().unwrap_or_default().to_owned(),
                state: task.last_status.to_ascii_lowercase(),
                available: taken < side.available && task.last_status == "RUNNING",
                restarts: 0,
                message: task.stopped_reason,
            });
        }
        if let Some(reason) = &given_up {
            instances.push(Instance {
                id: self.name.clone(),
                state: "ECS gave up".into(),
                available: false,
                restarts: 0,
                message: Some(reason.clone()),
            });
        }
        Ok(InstanceReport {
            desired: side.desired,
            available: side.available,
            hopeless: given_up.is_some(),
            instances,
            preview_url: self.fleet.preview_url(CANDIDATE, LeadsThere::Yes).filter(|_| now.is_target(revision)),
        })
    }
}

/// Stops what is under way, and has ECS go back.
///
/// # Errors
/// What AWS says.
pub fn cancel(
    (config, ecs): (&Config, &Ecs),
    cx: &ProviderContext,
    key: &str,
    state: &str,
) -> Result<Progress, Failure> {
    let under_way = state::UnderWay::read(Some(state))?.unwrap_or_default();
    let endpoints = Endpoints::of(config);
    let api = endpoints.ecs(Client::new(cx, key), &ecs.cluster);
    let found = match (&under_way.deployment, &under_way.service) {
        (Some(arn), _) => api.deployment(arn)?,
        // It was asked for, and nobody has looked yet what ECS has begun.
        (None, Some(service)) => {
            let last = api.last_deployment(service)?;
            last.filter(|last| under_way.before.as_ref() != Some(&last.service_deployment_arn))
        }
        (None, None) => None,
    };
    let Some(deployment) = found.filter(|deployment| state::is_under_way(&deployment.status)) else {
        return Ok(Progress::done("nothing to stop: no deployment of ECS is under way"));
    };
    if deployment.status == "IN_PROGRESS" || deployment.status == "PENDING" {
        api.roll_back(&deployment.service_deployment_arn).map_err(traffic::of_a_moment_ago)?;
    }
    Ok(Progress::done("ECS goes back to the revision before"))
}
