//! The tasks of a revision, and why they do not come up.

use basb_plugin::Failure;
use basb_plugin::provider::{Instance, InstanceReport};

use super::Fleet;
use super::deploy::gone;
use super::rules::LeadsThere;
use super::view::{self, group_of};
use crate::api::ecs::{EcsService, EcsTask};
use crate::api::elb::Target;

/// So many ended tasks say why they ended.
const MOST_ENDED: usize = 5;

/// The tasks of a revision.
///
/// # Errors
/// What AWS says; [`basb_plugin::FailureCode::NotFound`] where there is no such revision.
pub fn instances(fleet: &Fleet<'_>, revision: &str) -> Result<InstanceReport, Failure> {
    let service = fleet.service_of(revision)?.ok_or_else(|| gone(fleet, revision))?;
    let targets = fleet.targets(&service)?;
    let available = view::available(&service, targets.as_deref());
    let mut instances = running(fleet, &service, available, targets.unwrap_or_default())?;
    if available < service.desired_count {
        let ended = fleet.api.tasks(&service.service_name, "STOPPED")?;
        instances.extend(ended.iter().rev().take(MOST_ENDED).map(|task| instance(task, Standing::Ended)));
        if let Some(event) = service.events.first() {
            instances.push(Instance {
                id: service.service_name.clone(),
                state: "ECS says".into(),
                available: false,
                restarts: 0,
                message: Some(event.message.clone()),
            });
        }
    }
    let candidate = fleet.candidate_group()?;
    let leads_there = LeadsThere::of(candidate.as_deref(), group_of(&service));
    Ok(InstanceReport {
        desired: service.desired_count,
        available,
        hopeless: service.desired_count > 0 && hopeless(&service),
        instances,
        preview_url: fleet.preview_url(revision, leads_there),
    })
}

/// Whether ECS itself has given up: its circuit breaker has counted the tasks that did not come up.
pub fn hopeless(service: &EcsService) -> bool {
    let current = service.deployments.iter().find(|deployment| deployment.status == "PRIMARY");
    current
        .or(service.deployments.first())
        .is_some_and(|deployment| deployment.rollout_state.as_deref() == Some("FAILED"))
}

fn running(
    fleet: &Fleet<'_>,
    service: &EcsService,
    available: u32,
    targets: Vec<Target>,
) -> Result<Vec<Instance>, Failure> {
    if service.running_count == 0 && service.pending_count == 0 && service.desired_count == 0 {
        return Ok(Vec::new());
    }
    let mut tasks = fleet.api.tasks(&service.service_name, "RUNNING")?;
    tasks.sort_by(|one, other| one.task_arn.cmp(&other.task_arn));
    // Which target is which task is not told; as many of those that run as there are healthy targets count.
    let mut left = available;
    let mut instances = Vec::new();
    for task in &tasks {
        let counts = task.last_status == "RUNNING" && task.health_status != "UNHEALTHY" && left > 0;
        left -= u32::from(counts);
        instances.push(instance(task, if counts { Standing::Available } else { Standing::NotYet }));
    }
    if available < service.running_count {
        let sick = targets.into_iter().filter(|target| target.state != "healthy");
        instances.extend(sick.map(|target| Instance {
            id: target.id,
            state: format!("target {}", target.state),
            available: false,
            restarts: 0,
            message: target.description,
        }));
    }
    Ok(instances)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Available,
    NotYet,
    Ended,
}

fn instance(task: &EcsTask, standing: Standing) -> Instance {
    let id = task.task_arn.rsplit('/').next().unwrap_or_default().to_owned();
    let mut said: Vec<String> = task.stopped_reason.iter().cloned().collect();
    for container in &task.containers {
        said.extend(container.reason.iter().map(|reason| format!("{}: {reason}", container.name)));
        said.extend(container.exit_code.map(|code| format!("{} ended with status {code}", container.name)));
    }
    Instance {
        id,
        state: task.last_status.to_ascii_lowercase(),
        available: standing == Standing::Available,
        restarts: 0,
        message: (standing != Standing::Available && !said.is_empty()).then(|| said.join("; ")),
    }
}
