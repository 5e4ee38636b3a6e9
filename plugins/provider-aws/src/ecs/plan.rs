//! What a deployment would change, from what AWS has. Reads only.

use basb_cloud_kit::{Differences, Owner};
use basb_plugin::provider::{ActionKind, Desired, PlannedAction, ServicePlan};
use basb_plugin::{Failure, Weight};

use super::Fleet;
use super::deploy::{ANOTHER_REVISION, tasks};
use super::groups::{Port, planned_check, wanted_group};
use super::rules::{leads_to, rule_of, same_conditions, shown};
use super::upkeep::Upkeep;
use super::view::{Seen, View};
use crate::{names, task};

/// What `apply` and the first traffic would do.
///
/// # Errors
/// What AWS says, and what cannot be made.
pub fn plan(fleet: &Fleet<'_>, desired: &Desired) -> Result<ServicePlan, Failure> {
    let wanted = task::definition(fleet.config, fleet.ecs, desired)?;
    if fleet.written.rule.is_none() {
        fleet.conditions()?;
    }
    let view = fleet.view()?;
    let mut actions = Vec::new();
    if let Some(service) = view.revision(&desired.revision).filter(|seen| seen.service.status == "DRAINING") {
        return Err(Failure::conflict(format!(
            "revision {} is being retired: {} still run; wait until they are gone, then try again",
            desired.revision, service.service.running_count
        ))
        .retry_after(std::time::Duration::from_secs(5)));
    }
    plan_service(fleet, desired, &wanted, &view, &mut actions)?;
    plan_group(fleet, desired, &view, &mut actions)?;
    plan_production(fleet, &view, &mut actions)?;
    let group = view.revision(&desired.revision).and_then(Seen::group);
    if let Some(rule) = view.production.as_ref().filter(|_| !actions.is_empty() || view.share(group) < Weight::FULL) {
        // The traffic that follows would change it.
        rule.can_be_replaced().map_err(|failure| failure.at(format!("/services/{}/rule", fleet.service.service)))?;
    }
    Ok(ServicePlan { observed: view.observed(fleet)?, actions })
}

fn plan_service(
    fleet: &Fleet<'_>,
    desired: &Desired,
    wanted: &serde_json::Value,
    view: &View,
    actions: &mut Vec<PlannedAction>,
) -> Result<(), Failure> {
    let name = names::of_revision(&desired.service, &desired.revision);
    let registered = fleet.api.task_definition(&name)?;
    let is_registered = registered.as_ref().is_some_and(|there| task::is_same(wanted, there));
    let Some(seen) = view.revision(&desired.revision) else {
        let mut differences = task::differences(wanted, registered.as_ref().filter(|_| is_registered));
        differences.value("ecs.desiredCount", None, Some(desired.replicas.to_string()));
        actions.push(PlannedAction {
            kind: ActionKind::Create,
            summary: format!(
                "revision {} as the ECS service {name} with {}",
                desired.revision,
                tasks(desired.replicas)
            ),
            changes: differences.into_changes(),
            irreversible: None,
        });
        if fleet.candidate_listener().is_some() {
            actions.push(PlannedAction {
                kind: ActionKind::Update,
                summary: format!("the listener for previews leads to revision {}", desired.revision),
                changes: Vec::new(),
                irreversible: None,
            });
        }
        return Ok(());
    };
    let upkeep = Upkeep::of(fleet, &seen.service, ANOTHER_REVISION)?;
    actions.extend(upkeep.planned(&name, &format!("revision {}", desired.revision)));
    let current = registered.as_ref().is_some_and(|there| there.arn == seen.service.task_definition);
    if !(is_registered && current) {
        let running = fleet.api.described(&seen.service.task_definition)?;
        let mut differences = task::differences(wanted, running.as_ref());
        if differences.is_empty() {
            let arn = Some(seen.service.task_definition.clone());
            differences.value("ecs.taskDefinition", arn, Some("one that is registered anew".into()));
        }
        actions.push(PlannedAction {
            kind: ActionKind::Replace,
            summary: format!("every task of revision {}: its task definition differs", desired.revision),
            changes: differences.into_changes(),
            irreversible: None,
        });
    }
    let mut size = Differences::new();
    let now = seen.service.desired_count.to_string();
    size.value("ecs.desiredCount", Some(now), Some(desired.replicas.to_string()));
    if !size.is_empty() {
        actions.push(PlannedAction {
            kind: ActionKind::Update,
            summary: format!("scale revision {} to {}", desired.revision, tasks(desired.replicas)),
            changes: size.into_changes(),
            irreversible: None,
        });
    }
    Ok(())
}

fn plan_group(
    fleet: &Fleet<'_>,
    desired: &Desired,
    view: &View,
    actions: &mut Vec<PlannedAction>,
) -> Result<(), Failure> {
    let wanted = wanted_group(fleet, desired)?;
    let group = fleet.elb.group(&wanted.name)?;
    match &group {
        Some(there) => actions.extend(planned_check(there, &wanted, Port::Fixed)?),
        None => {
            let mut differences = Differences::new();
            for (path, value) in [
                ("targetGroup.vpc", wanted.vpc.clone()),
                ("targetGroup.port", wanted.port.to_string()),
                ("targetGroup.targetType", wanted.target_type.clone()),
                ("targetGroup.healthCheckPath", wanted.health_path.clone()),
            ] {
                differences.value(path, None, Some(value));
            }
            actions.push(PlannedAction {
                kind: ActionKind::Create,
                summary: format!("target group {}", wanted.name),
                changes: differences.into_changes(),
                irreversible: None,
            });
        }
    }
    let conditions = fleet.revision_conditions(&desired.revision)?;
    let rule = rule_of(&view.rules, &Owner::of_revision(fleet.service, &desired.revision));
    let fits = rule
        .zip(group.as_ref())
        .is_some_and(|(rule, group)| leads_to(rule, &group.arn) && same_conditions(&rule.conditions, &conditions));
    if !fits {
        let mut differences = Differences::new();
        differences.value("rule.conditions", rule.map(|rule| shown(&rule.conditions)), Some(shown(&conditions)));
        actions.push(PlannedAction {
            kind: if rule.is_some() { ActionKind::Update } else { ActionKind::Create },
            summary: format!("listener rule for revision {} alone", desired.revision),
            changes: differences.into_changes(),
            irreversible: None,
        });
    }
    Ok(())
}

fn plan_production(fleet: &Fleet<'_>, view: &View, actions: &mut Vec<PlannedAction>) -> Result<(), Failure> {
    fleet.check_first(&view.listener_rules, view.production.as_ref())?;
    if let (Some(arn), Some(action)) = (&fleet.written.rule, view.foreign_action()) {
        let mut differences = Differences::new();
        differences.value("rule.action", Some(action.to_owned()), Some("forward".into()));
        actions.push(PlannedAction {
            kind: ActionKind::Replace,
            summary: format!("what the listener rule {arn} does, with the first traffic"),
            changes: differences.into_changes(),
            irreversible: Some(format!("what the rule does now ({action}) is not kept anywhere")),
        });
    }
    if let Some(rule) = &view.production {
        actions.extend(fleet.planned_conditions(rule)?);
    } else {
        let conditions = fleet.conditions()?;
        let values: Vec<String> = conditions.into_iter().flat_map(|condition| condition.values).collect();
        let mut differences = Differences::new();
        differences.value("rule.conditions", None, Some(values.join(", ")));
        actions.push(PlannedAction {
            kind: ActionKind::Create,
            summary: format!("listener rule that leads users to {}, with the first traffic", fleet.service.service),
            changes: differences.into_changes(),
            irreversible: None,
        });
    }
    Ok(())
}
