//! Where a service's tasks are registered: two target groups, and the rules that lead to them.

use basb_cloud_kit::Owner;
use basb_plugin::Failure;
use basb_plugin::provider::{Desired, PlannedAction};
use serde_json::{Value, json};

use super::Delegated;
use crate::api::elb::RuleAction;
use crate::ecs::deploy::group_like;
use crate::ecs::rules::{CANDIDATE, free_priority, rule_of, same_conditions};
use crate::{names, task};

/// The names of the two sides' target groups, before the service's own.
const SIDES: [&str; 2] = ["blue", "green"];

/// What a deployment would change here.
///
/// # Errors
/// What AWS says, and as [`crate::api::elb::Rule::can_be_replaced`] for a rule that would have to be taken over.
pub fn plan(delegated: &Delegated<'_>) -> Result<Vec<PlannedAction>, Failure> {
    let fleet = &delegated.fleet;
    let rules = fleet.elb.rules(&fleet.ecs.listener)?;
    let Some(rule) = fleet.production_rule(&rules)? else { return Ok(Vec::new()) };
    if !rule.beside.is_empty() {
        let mut leads = false;
        for side in SIDES {
            let group = fleet.elb.group(&names::of_group(fleet.service, side))?;
            leads |= group.is_some_and(|group| rule.targets.iter().any(|(arn, _)| *arn == group.arn));
        }
        // One that leads to both already is ECS's to change.
        if !leads {
            let at = format!("/services/{}/rule", fleet.service.service);
            rule.can_be_replaced().map_err(|failure| failure.at(at))?;
        }
    }
    Ok(fleet.planned_conditions(&rule)?.into_iter().collect())
}

/// Where the service's tasks are registered: both target groups, the rule for users and the one for tests.
///
/// # Errors
/// What AWS says; [`basb_plugin::FailureCode::Conflict`] where a rule or a group cannot be made what it should be.
pub fn place(delegated: &Delegated<'_>, desired: &Desired) -> Result<Value, Failure> {
    let fleet = &delegated.fleet;
    let owner = Owner::of_service(fleet.service);
    let group = |side: &str| {
        let name = names::of_group(fleet.service, side);
        fleet.group(&group_like(fleet, desired, name, owner.tags(names::TAGS))?)
    };
    let (blue, green) = (group("blue")?, group("green")?);
    let rules = fleet.elb.rules(&fleet.ecs.listener)?;
    let both = RuleAction::Forward(vec![(blue.clone(), 1), (green.clone(), 0)]);
    let production = match fleet.production_rule(&rules)? {
        Some(rule) if rule.targets.iter().any(|(arn, _)| *arn == blue || *arn == green) => {
            // Its weights are ECS's.
            if let Some(conditions) = fleet.other_conditions(&rule)? {
                fleet.elb.modify_conditions(&rule.arn, &conditions)?;
            }
            rule.arn
        }
        Some(rule) if rule.targets.iter().any(|(_, weight)| *weight > 0) => {
            return Err(Failure::conflict(format!(
                "the listener rule {} leads users to other target groups, and ECS's own have no task yet: take `native` out, \
                 or give the service a rule that forwards to nobody",
                rule.arn
            )));
        }
        Some(rule) => {
            let conditions = fleet.other_conditions(&rule)?;
            fleet.elb.modify_rule(&rule, conditions.as_deref(), &both)?;
            rule.arn
        }
        None => {
            let priority = free_priority(&rules, fleet.ecs.priorities.services)?;
            let (conditions, tags) = (fleet.conditions()?, owner.tags(names::TAGS));
            fleet.elb.create_rule(&fleet.ecs.listener, priority, &conditions, &both, &tags)?.arn
        }
    };
    let mut advanced = json!({
        "alternateTargetGroupArn": green,
        "productionListenerRule": production,
        "roleArn": delegated.native.role,
    });
    if fleet.ecs.preview.is_some() {
        let (listener, conditions) = match fleet.candidate_listener() {
            Some(listener) => (listener, fleet.conditions()?),
            None => (fleet.preview_listener(), fleet.revision_conditions(CANDIDATE)?),
        };
        let rules = fleet.elb.rules(listener)?;
        let owner = Owner::of_revision(fleet.service, CANDIDATE);
        let test = match rule_of(&rules, &owner) {
            Some(rule) => {
                if !same_conditions(&rule.conditions, &conditions) {
                    fleet.elb.modify_rule(rule, Some(&conditions), &both)?;
                }
                rule.arn.clone()
            }
            None => {
                let priority = free_priority(&rules, fleet.ecs.priorities.revisions)?;
                let tags = owner.tags(names::TAGS);
                fleet.elb.create_rule(listener, priority, &conditions, &both, &tags)?.arn
            }
        };
        if let Some(fields) = advanced.as_object_mut() {
            fields.insert("testListenerRule".into(), test.into());
        }
    }
    Ok(json!({
        "targetGroupArn": blue,
        "containerName": fleet.service.service,
        "containerPort": task::port(fleet.ecs, &desired.workload)?,
        "advancedConfiguration": advanced,
    }))
}
