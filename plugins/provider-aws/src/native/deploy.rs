//! Beginning a deployment that ECS drives, up to its first pause.

use basb_cloud_kit::{Differences, Owner, Refused, Waiting, decode_state};
use basb_plugin::Failure;
use basb_plugin::provider::{ActionKind, Desired, PlannedAction, Progress, ServicePlan};
use serde_json::{Value, json};

use super::place::{self, About};
use super::state::{Now, UnderWay};
use super::traffic::answer;
use super::{Delegated, read_again};
use crate::api::ecs::{EcsService, TaskDefinition};
use crate::config::NativeStrategy;
use crate::ecs::Fleet;
use crate::ecs::deploy::{common_body, gone, tasks};
use crate::ecs::upkeep::{Tasks, Upkeep};
use crate::{names, task};

/// What to do where the service cannot be changed: it is there for all revisions.
const ANEW: &str = "delete the ECS service and deploy again (nobody is served until the deployment is done)";

/// What is configured at ECS: how to shift, and where to pause.
pub fn configuration(delegated: &Delegated<'_>) -> Value {
    let native = delegated.native;
    let minutes = native.hook_timeout.0.as_secs().div_ceil(60).clamp(1, 20_160);
    // Before each shift, and once all has been shifted: what was before is kept until the host says so.
    let pause = |stage: &str| {
        json!({
            "targetType": "PAUSE",
            "lifecycleStages": [stage],
            "timeoutConfiguration": {"timeoutInMinutes": minutes, "action": "ROLLBACK"},
        })
    };
    let mut configuration = json!({
        "strategy": native.strategy.word(),
        "maximumPercent": 200,
        "minimumHealthyPercent": 100,
        "bakeTimeInMinutes": native.bake.0.as_secs().div_ceil(60).min(1_440),
        "lifecycleHooks": [pause("PRE_PRODUCTION_TRAFFIC_SHIFT"), pause("POST_PRODUCTION_TRAFFIC_SHIFT")],
    });
    let shift = match native.strategy {
        // The host waits and measures between the shifts, so ECS itself does not.
        NativeStrategy::Canary => {
            Some(("canaryConfiguration", json!({"canaryPercent": native.percent, "canaryBakeTimeInMinutes": 0})))
        }
        NativeStrategy::Linear => {
            Some(("linearConfiguration", json!({"stepPercent": native.percent, "stepBakeTimeInMinutes": 0})))
        }
        NativeStrategy::BlueGreen => None,
    };
    if let (Some((name, value)), Some(fields)) = (shift, configuration.as_object_mut()) {
        fields.insert(name.into(), value);
    }
    configuration
}

/// What `apply` would do.
///
/// # Errors
/// What AWS says, and what cannot be made.
pub fn plan(delegated: &Delegated<'_>, desired: &Desired) -> Result<ServicePlan, Failure> {
    let fleet = &delegated.fleet;
    let wanted = task::definition(fleet.config, fleet.ecs, desired)?;
    if fleet.written.rule.is_none() {
        fleet.conditions()?;
    }
    let now = delegated.now()?;
    let registered = fleet.api.task_definition(&names::of_revision(&desired.service, &desired.revision))?;
    let is_there =
        now.is_target(&desired.revision) && registered.as_ref().is_some_and(|there| task::is_same(&wanted, there));
    // What is under way has its groups by now, and is done before anything else is.
    let about = match &now.service {
        Some(_) if now.is_under_way() => None,
        there => Some(about(fleet, there.as_ref(), is_there.then_some(Same))?),
    };
    let mut actions = place::plan(delegated, desired, about)?;
    match &now.service {
        None => {
            let mut differences = task::differences(&wanted, None);
            differences.json("ecs.deploymentConfiguration", None, &configuration(delegated));
            differences.value("ecs.desiredCount", None, Some(desired.replicas.to_string()));
            actions.push(action(
                ActionKind::Create,
                format!(
                    "the ECS service {} with {}, its two target groups and its listener rule",
                    delegated.name,
                    tasks(desired.replicas)
                ),
                differences,
            ));
        }
        Some(service) => {
            if !is_there {
                let running = fleet.api.described(&service.task_definition)?;
                let differences = task::differences(&wanted, running.as_ref());
                let kind = if now.is_target(&desired.revision) { ActionKind::Replace } else { ActionKind::Create };
                let summary =
                    format!("revision {} in the ECS service {}, shifted by ECS", desired.revision, delegated.name);
                actions.push(action(kind, summary, differences));
            }
            let upkeep = Upkeep::of(fleet, service, ANEW)?;
            let mut differences = Differences::new();
            if is_there && !now.is_under_way() {
                actions.extend(upkeep.planned(&delegated.name, &format!("revision {}", desired.revision)));
            } else {
                // The next revision's tasks are other ones anyway.
                differences = upkeep.into_differences();
            }
            differences.json(
                "ecs.deploymentConfiguration",
                Some(&service.deployment_configuration),
                &configuration(delegated),
            );
            if now.is_target(&desired.revision) && !now.is_under_way() {
                let count = Some(service.desired_count.to_string());
                differences.value("ecs.desiredCount", count, Some(desired.replicas.to_string()));
            }
            if !differences.is_empty() {
                actions.push(action(ActionKind::Update, format!("the ECS service {}", delegated.name), differences));
            }
        }
    }
    Ok(ServicePlan { observed: delegated.observed(&now), actions })
}

fn action(kind: ActionKind, summary: String, differences: Differences) -> PlannedAction {
    PlannedAction { kind, summary, changes: differences.into_changes(), irreversible: None }
}

/// What the service runs is what is wanted.
struct Same;

/// Which of the two target groups a deployment is about.
fn about(fleet: &Fleet<'_>, there: Option<&EcsService>, same: Option<Same>) -> Result<About, Failure> {
    Ok(match (there, same) {
        (None, _) => About::Both,
        (Some(_), None) => About::Next,
        // Tasks that are replaced by those of the same revision come up on the other side.
        (Some(service), Some(Same)) => match Upkeep::of(fleet, service, ANEW)?.tasks() {
            Tasks::Replaced => About::Both,
            Tasks::Stay => About::Current,
        },
    })
}

/// Has ECS begin, and waits for its first pause.
///
/// # Errors
/// What AWS says; [`basb_plugin::FailureCode::Unhealthy`] where ECS gives up.
pub fn deploy(
    delegated: &Delegated<'_>,
    key: &str,
    desired: &Desired,
    state: Option<&str>,
) -> Result<Progress, Failure> {
    let fleet = &delegated.fleet;
    let now = delegated.now()?;
    let waiting = decode_state::<Waiting<UnderWay>>(state)?;
    if let Some(waiting) = waiting {
        return go_on(delegated, &now, desired, waiting);
    }
    let wanted = task::definition(fleet.config, fleet.ecs, desired)?;
    let begin = |now: &Now| {
        let before = now.deployment.as_ref().map(|deployment| deployment.service_deployment_arn.clone());
        let begun = UnderWay { before, service: Some(delegated.name.clone()), ..UnderWay::default() };
        Ok(Waiting::begin(begun, fleet.client().cx().now()).again(
            fleet.client().jitter(),
            None,
            "ECS begins a deployment",
        ))
    };
    if now.is_under_way() {
        if now.is_target(&desired.revision) && !now.goes_back() {
            let begun = UnderWay {
                deployment: now.deployment.as_ref().map(|of| of.service_deployment_arn.clone()),
                ..UnderWay::default()
            };
            return go_on(delegated, &now, desired, Waiting::begin(begun, fleet.client().cx().now()));
        }
        return Err(Failure::conflict(format!(
            "another deployment of {} is under way: {}",
            delegated.name,
            now.note()
        ))
        .retry_after(std::time::Duration::from_secs(10)));
    }
    // What the service runs is described by its name: a list may be of a moment ago, and another definition of the same would
    // be another deployment.
    let running = now.target.as_ref().filter(|side| side.revision == desired.revision);
    let registered = match running {
        Some(side) => fleet.api.described(&side.definition)?,
        None => fleet.api.task_definition(&names::of_revision(&desired.service, &desired.revision))?,
    };
    let is_registered = |there: &&TaskDefinition| task::is_same(&wanted, there);
    let definition = match registered.as_ref().filter(is_registered) {
        Some(there) => there.arn.clone(),
        None => fleet.api.register(&wanted)?,
    };
    let same =
        now.target.as_ref().is_some_and(|side| side.revision == desired.revision && side.definition == definition);
    let about = about(fleet, now.service.as_ref(), same.then_some(Same))?;
    let place = place::place(delegated, desired, about)?;
    let Some(service) = &now.service else {
        let mut body = common_body(fleet, desired, &delegated.name, &definition);
        if let Some(fields) = body.as_object_mut() {
            fields.insert("loadBalancers".into(), json!([place]));
            fields.insert("deploymentController".into(), json!({"type": "ECS"}));
            fields.insert("deploymentConfiguration".into(), configuration(delegated));
            fields.insert("tags".into(), json!(names::ecs_tags(&Owner::of_service(fleet.service))));
        }
        fleet.api.create_service(body, key).map_err(is_there)?;
        return begin(&now);
    };
    let upkeep = Upkeep::of(fleet, service, ANEW)?;
    if same {
        let mut change = json!({"deploymentConfiguration": configuration(delegated)});
        upkeep.tell(&mut change);
        let progress = sized(delegated, &now, (&desired.revision, desired.replicas), change)?;
        return if upkeep.tasks() == Tasks::Replaced { begin(&now) } else { Ok(progress) };
    }
    let mut change = json!({
        "taskDefinition": definition,
        // One service has one size for both sides: a candidate in a smaller size would shrink the other.
        "desiredCount": service.desired_count.max(desired.replicas),
        "deploymentConfiguration": configuration(delegated),
        "loadBalancers": [place],
    });
    upkeep.tell(&mut change);
    fleet.api.update_service(&delegated.name, change).map_err(Failure::from)?;
    begin(&now)
}

/// A service that seemed not to be there, and is: what was described was of a moment ago, and is read again.
fn is_there(refused: Refused) -> Failure {
    if refused.message().contains("not idempotent") { read_again(refused) } else { refused.into() }
}

fn go_on(
    delegated: &Delegated<'_>,
    now: &Now,
    desired: &Desired,
    waiting: Waiting<UnderWay>,
) -> Result<Progress, Failure> {
    let client = delegated.fleet.client();
    let current = now.deployment.as_ref().map(|deployment| deployment.service_deployment_arn.clone());
    if current.is_none() || (current == waiting.what.before && waiting.what.deployment.is_none()) {
        return Ok(waiting.again(client.jitter(), None, "ECS begins a deployment"));
    }
    if let Some(reason) = now.given_up(&desired.revision) {
        return Err(Failure::unhealthy(format!("ECS gave revision {} up: {reason}", desired.revision)));
    }
    let waiting = Waiting { what: UnderWay { deployment: current, ..waiting.what.clone() }, ..waiting };
    if now.is_under_way() && now.replaces_itself() {
        // Older and newer tasks are of one revision, so there is no share that the host would want to measure: ECS goes on.
        let deployment = waiting.what.deployment.clone().unwrap_or_default();
        return answer(delegated, now, &deployment, "CONTINUE", waiting);
    }
    if now.is_under_way() && now.pause().is_none() {
        return Ok(waiting.again(client.jitter(), None, now.note()));
    }
    Ok(Progress::done(format!("revision {} in the ECS service {}: {}", desired.revision, delegated.name, now.note())))
}

/// Changes how many tasks the service has, where the revision is all that there is of it.
///
/// # Errors
/// What AWS says; [`basb_plugin::FailureCode::NotFound`] where there is no such revision.
pub fn scale(delegated: &Delegated<'_>, revision: &str, replicas: u32) -> Result<Progress, Failure> {
    sized(delegated, &delegated.now()?, (revision, replicas), json!({}))
}

/// Sets how many tasks the service has, with what else there is to change of it.
fn sized(
    delegated: &Delegated<'_>,
    now: &Now,
    (revision, replicas): (&str, u32),
    mut change: Value,
) -> Result<Progress, Failure> {
    let (Some(service), Some(_)) = (&now.service, now.sides().find(|side| side.revision == revision)) else {
        if replicas == 0 {
            return Ok(Progress::done(format!("revision {revision} has no tasks")));
        }
        return Err(gone(&delegated.fleet, revision));
    };
    // One service has one size for both sides: a smaller one would shrink the other.
    if now.is_under_way() && replicas < service.desired_count {
        return Ok(Progress::done("ECS sizes both sides of a deployment itself"));
    }
    // Also where it seems to be so already: what was described may be of a moment ago.
    if let Some(fields) = change.as_object_mut() {
        fields.insert("desiredCount".into(), replicas.into());
    }
    delegated.fleet.api.update_service(&delegated.name, change).map_err(Failure::from)?;
    Ok(Progress::done(format!("revision {revision} has {}", tasks(replicas))))
}
