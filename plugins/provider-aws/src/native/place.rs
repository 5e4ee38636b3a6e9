//! Where a service's tasks are registered: two target groups, and the rules that lead to them.

use basb_cloud_kit::Owner;
use basb_plugin::Failure;
use basb_plugin::provider::{Desired, PlannedAction};
use serde_json::{Value, json};

use super::Delegated;
use crate::api::elb::{Rule, RuleAction, WantedGroup};
use crate::ecs::groups::{Port, group_like, planned_check};
use crate::ecs::rules::{CANDIDATE, free_priority, rule_of, same_conditions};
use crate::{names, task};

/// Which of the two target groups a deployment is about.
///
/// How targets are checked is a matter of the revision that they are of. What serves users now is checked as its own revision
/// says until another one has taken its place, so that a mistake in the next one's path takes nobody's tasks away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// Both: no service is there yet, or the revision that is there moves to the other one.
    Both,
    /// The one without users, which the next revision gets.
    Next,
    /// The one with users: the revision is there.
    Current,
}

impl About {
    fn covers(self, group: &str, rule: Option<&Rule>) -> bool {
        let targets = rule.map(|rule| rule.targets.as_slice()).unwrap_or_default();
        let serves = targets.iter().any(|(arn, weight)| arn == group && *weight > 0);
        match self {
            About::Both => true,
            About::Next => !serves,
            // Where nobody is served, either may be it.
            About::Current => serves || targets.iter().all(|(_, weight)| *weight == 0),
        }
    }
}

/// What the two target groups should be.
fn pair(delegated: &Delegated<'_>, desired: &Desired) -> Result<[WantedGroup; 2], Failure> {
    let fleet = &delegated.fleet;
    let tags = Owner::of_service(fleet.service).tags(names::TAGS);
    let group = |side: &str| group_like(fleet, desired, names::of_group(fleet.service, side), tags.clone());
    Ok([group("blue")?, group("green")?])
}

/// What a deployment would change here. What belongs to a service that is not there yet is no change of its own.
///
/// # Errors
/// What AWS says; [`basb_plugin::FailureCode::Conflict`] for a rule that would have to be taken over and cannot be, and for a
/// group that cannot be changed.
pub fn plan(delegated: &Delegated<'_>, desired: &Desired, about: Option<About>) -> Result<Vec<PlannedAction>, Failure> {
    let fleet = &delegated.fleet;
    let rules = fleet.elb.rules(&fleet.ecs.listener)?;
    let rule = fleet.production_rule(&rules)?;
    fleet.check_first(&rules, rule.as_ref())?;
    let mut actions = Vec::new();
    let mut leads = false;
    for wanted in pair(delegated, desired)? {
        let Some(there) = fleet.elb.group(&wanted.name)? else { continue };
        leads |= rule.as_ref().is_some_and(|rule| rule.targets.iter().any(|(arn, _)| *arn == there.arn));
        let planned = planned_check(&there, &wanted, Port::OfEachTarget)?;
        actions.extend(planned.filter(|_| about.is_some_and(|about| about.covers(&there.arn, rule.as_ref()))));
    }
    if let Some(rule) = &rule {
        // One that leads to the two already is ECS's to change.
        if !leads {
            let at = format!("/services/{}/rule", fleet.service.service);
            rule.can_be_replaced().map_err(|failure| failure.at(at))?;
        }
        actions.extend(fleet.planned_conditions(rule)?);
    }
    Ok(actions)
}

/// Where the service's tasks are registered: both target groups, the rule for users and the one for tests.
///
/// # Errors
/// What AWS says; [`basb_plugin::FailureCode::Conflict`] where a rule or a group cannot be made what it should be.
pub fn place(delegated: &Delegated<'_>, desired: &Desired, about: About) -> Result<Value, Failure> {
    let fleet = &delegated.fleet;
    let rules = fleet.elb.rules(&fleet.ecs.listener)?;
    let rule = fleet.production_rule(&rules)?;
    let [blue, green] = pair(delegated, desired)?;
    let group = |wanted: WantedGroup| -> Result<String, Failure> {
        let there = fleet.group_there(&wanted, Port::OfEachTarget)?;
        if about.covers(&there.arn, rule.as_ref()) {
            fleet.check_as(&there, &wanted)?;
        }
        Ok(there.arn)
    };
    let (blue, green) = (group(blue)?, group(green)?);
    let both = RuleAction::Forward(vec![(blue.clone(), 1), (green.clone(), 0)]);
    let production = match rule {
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
        None => fleet.create_production_rule(&rules, &both)?.arn,
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
