//! Making a revision be there, and its size. Everything is compared first and made only where it is missing, so that a
//! call that is made again goes on where the one before it was cut off.

use basb_cloud_kit::{Jitter, Owner, Waiting, decode_state};
use basb_plugin::Failure;
use basb_plugin::provider::{Desired, Outcome, Progress};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::groups::wanted_group;
use super::instances::hopeless;
use super::rules::LeadsThere;
use super::upkeep::Upkeep;
use super::view::{group_of, is_adopted};
use super::{Fleet, upkeep};
use crate::api::ecs::EcsService;
use crate::{names, task};

/// What a deployment that goes on waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The service of the same name that was removed before is gone.
    OldServiceGone,
}

/// What to do where a revision's service cannot be changed.
pub const ANOTHER_REVISION: &str =
    "deploy a new revision, which has a service of its own (a changed `env` value makes one)";

/// Deploys.
///
/// # Errors
/// What AWS says, or what cannot be made.
pub fn deploy(fleet: &Fleet<'_>, key: &str, desired: &Desired, state: Option<&str>) -> Result<Progress, Failure> {
    let wanted = task::definition(fleet.config, fleet.ecs, desired)?;
    if fleet.written.rule.is_none() {
        fleet.conditions()?;
    }
    let name = names::of_revision(&desired.service, &desired.revision);
    let there = fleet.api.service(&name)?;
    if let Some(service) = there.as_ref().filter(|service| service.status == "DRAINING") {
        let waiting =
            decode_state(state)?.unwrap_or_else(|| Waiting::begin(Step::OldServiceGone, fleet.client().cx().now()));
        let note = format!("the service {name} that was removed before still has {} tasks", service.running_count);
        return Ok(waiting.again(jitter(fleet), None, note));
    }
    let definition = match fleet.api.task_definition(&name)? {
        Some(there) if task::is_same(&wanted, &there) => there.arn,
        _ => fleet.api.register(&wanted)?,
    };
    let group = fleet.group(&wanted_group(fleet, desired)?)?;
    let rules = fleet.elb.rules(fleet.preview_listener())?;
    fleet.bind(&rules, &desired.revision, &group)?;
    fleet.bind_candidate(&group)?;
    match &there {
        None => {
            let body = service_body(fleet, desired, &name, &definition, &group)?;
            fleet.api.create_service(body, key).map_err(Failure::from)?;
        }
        // Also where it seems to be so already: what was described may be of a moment ago, and ECS does nothing where nothing
        // differs.
        Some(service) => {
            let mut all = size(service, desired.replicas);
            if let Some(fields) = all.as_object_mut() {
                fields.insert("taskDefinition".into(), definition.into());
            }
            Upkeep::of(fleet, service, ANOTHER_REVISION)?.tell(&mut all);
            fleet.api.update_service(&name, all).map_err(Failure::from)?;
        }
    }
    let mut outcome = Outcome {
        summary: format!("revision {} as the ECS service {name} with {}", desired.revision, tasks(desired.replicas)),
        outputs: vec![("ecs-service".into(), name)],
    };
    for (name, url) in
        [("url", fleet.written.url()), ("preview-url", fleet.preview_url(&desired.revision, LeadsThere::Yes))]
    {
        if let Some(url) = url {
            outcome = outcome.output(name, url);
        }
    }
    Ok(Progress::Done(outcome))
}

/// Changes how many tasks a revision has.
///
/// # Errors
/// What AWS says; [`basb_plugin::FailureCode::NotFound`] where there is no such revision.
pub fn scale(fleet: &Fleet<'_>, revision: &str, replicas: u32) -> Result<Progress, Failure> {
    let service = fleet.service_of(revision)?.ok_or_else(|| gone(fleet, revision))?;
    // What others made may be deployed by others too, for whom ECS cannot be made to begin anew.
    let body = if is_adopted(revision) { json!({"desiredCount": replicas}) } else { size(&service, replicas) };
    fleet.api.update_service(&service.service_name, body).map_err(Failure::from)?;
    Ok(Progress::done(format!("revision {revision} has {}", tasks(replicas))))
}

/// What asks ECS for so many tasks. Its circuit breaker counts the tasks of a deployment that is under way, and one that no
/// tasks were asked of is complete at once: the first tasks of a service need a deployment of their own, and so do those
/// after the breaker has ended one, which starts no task any more.
fn size(service: &EcsService, replicas: u32) -> Value {
    let anew = replicas > 0 && (service.desired_count == 0 || hopeless(service));
    json!({"desiredCount": replicas, "forceNewDeployment": anew})
}

/// The failure for a revision that is not there; what ECS describes may be of a moment ago.
pub fn gone(fleet: &Fleet<'_>, revision: &str) -> Failure {
    let (service, cluster) = (&fleet.service.service, &fleet.ecs.cluster);
    Failure::not_found(format!("{service} has no revision {revision} in the cluster {cluster}"))
        .retry_after(crate::A_MOMENT)
}

fn jitter(fleet: &Fleet<'_>) -> Jitter {
    fleet.client().jitter()
}

/// A number of tasks in words.
pub fn tasks(count: u32) -> String {
    if count == 1 { "1 task".to_owned() } else { format!("{count} tasks") }
}

fn service_body(
    fleet: &Fleet<'_>,
    desired: &Desired,
    name: &str,
    definition: &str,
    group: &str,
) -> Result<Value, Failure> {
    let mut body = common_body(fleet, desired, name, definition);
    if let Some(fields) = body.as_object_mut() {
        let port = task::port(fleet.ecs, &desired.workload)?;
        let place = json!({"targetGroupArn": group, "containerName": desired.service.service, "containerPort": port});
        fields.insert("loadBalancers".into(), json!([place]));
        // There is nothing older in this service to go back to: the host goes back by weights.
        let breaker = json!({"enable": true, "rollback": false});
        let deployment =
            json!({"deploymentCircuitBreaker": breaker, "maximumPercent": 200, "minimumHealthyPercent": 100});
        fields.insert("deploymentConfiguration".into(), deployment);
        fields.insert("tags".into(), json!(names::ecs_tags(&Owner::of_revision(&desired.service, &desired.revision))));
    }
    Ok(body)
}

/// What both ways say of a service.
pub fn common_body(fleet: &Fleet<'_>, desired: &Desired, name: &str, definition: &str) -> Value {
    let ecs = fleet.ecs;
    let mut body = json!({
        "serviceName": name,
        "taskDefinition": definition,
        "desiredCount": desired.replicas,
        "schedulingStrategy": "REPLICA",
        "healthCheckGracePeriodSeconds": ecs.start_grace.0.as_secs(),
        "propagateTags": "SERVICE",
        "enableECSManagedTags": true,
    });
    let Some(fields) = body.as_object_mut() else { return body };
    let strategy = upkeep::strategy(ecs);
    if strategy.is_empty() {
        fields.insert("launchType".into(), ecs.launch_type.word().into());
    } else {
        fields.insert("capacityProviderStrategy".into(), json!(strategy));
    }
    if let Some(network) = upkeep::network(ecs) {
        fields.insert("networkConfiguration".into(), network);
    }
    body
}

/// The target group of a service.
///
/// # Errors
/// Where it has none, so that no request can be led to it.
pub fn group_or(service: &EcsService) -> Result<&str, Failure> {
    group_of(service).ok_or_else(|| {
        Failure::conflict(format!(
            "the ECS service {} has no target group, so no request can be led to it",
            service.service_name
        ))
    })
}
