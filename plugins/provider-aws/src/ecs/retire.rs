//! Removing a revision: its service first, then what was bound to it.

use basb_cloud_kit::{Owner, Waiting, decode_state};
use basb_plugin::provider::Progress;
use basb_plugin::{Failure, FailureCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Fleet;
use super::deploy::tasks;
use super::rules::{CANDIDATE, rule_of};
use super::view::{View, group_of, is_adopted};
use crate::api::ecs::{Removed, TaskDefinition};
use crate::api::elb::{Rule, RuleAction};
use crate::names;

/// What a retirement waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Step {
    /// The tasks have finished their requests and ended; the target group that goes next.
    Draining { group: Option<String> },
}

/// Removes a revision without traffic; one that is not there is removed.
///
/// # Errors
/// [`basb_plugin::FailureCode::Conflict`] where it has traffic; else what AWS says.
pub fn retire(fleet: &Fleet<'_>, revision: &str, state: Option<&str>) -> Result<Progress, Failure> {
    if is_adopted(revision) {
        return leave(fleet, revision);
    }
    let view = fleet.view()?;
    let name = names::of_revision(fleet.service, revision);
    // A list may be of a moment ago: what is not in it is asked for by its name.
    let service = match view.revision(revision) {
        Some(seen) => Some(seen.service.clone()),
        None => fleet.api.service(&name)?.filter(|service| {
            names::owner_of(&service.tags)
                .is_some_and(|owner| owner.is_of(fleet.service) && owner.revision.as_deref() == Some(revision))
        }),
    };
    let waiting: Option<Waiting<Step>> = decode_state(state)?;
    let known = waiting.as_ref().and_then(|Waiting { what: Step::Draining { group }, .. }| group.clone());
    let group = match known.or_else(|| service.as_ref().and_then(group_of).map(str::to_owned)) {
        Some(arn) => Some(arn),
        None => fleet.elb.group(&names::of_group(fleet.service, revision))?.map(|group| group.arn),
    };
    if view.share(group.as_deref()) > basb_plugin::Weight::ZERO {
        return Err(has_traffic(revision));
    }
    if let Some(service) = service {
        if service.status != "DRAINING" {
            fleet.api.delete_service(&name)?;
        }
        // It may be gone at once, where it had no tasks.
        if let Some(left) = fleet.api.service(&name)? {
            let begin = || Waiting::begin(Step::Draining { group: group.clone() }, fleet.client().cx().now());
            let note = format!("revision {revision} finishes its requests: {} left", tasks(left.running_count));
            return Ok(waiting.unwrap_or_else(begin).again(fleet.client().jitter(), None, note));
        }
    }
    clear_rules(fleet, &view, revision, group.as_deref())?;
    if let Some(group) = &group {
        fleet.unbind_candidate(group)?;
    }
    // Before the target group, which others may still use: an environment that can be read is not left behind for that.
    let Some(left) = remove_definitions(fleet, revision)? else {
        let begin = || Waiting::begin(Step::Draining { group: group.clone() }, fleet.client().cx().now());
        return Ok(waiting.unwrap_or_else(begin).again(fleet.client().jitter(), None, MORE));
    };
    if let Some(group) = &group {
        delete_group(fleet, revision, group)?;
    }
    Ok(Progress::done(format!(
        "revision {revision} is gone: its service, target group, rule and task definitions{left}"
    )))
}

/// Where one call does not remove all task definitions of a revision.
pub const MORE: &str = "its task definitions are being deleted";

/// Removes the task definitions of a revision: what there is to say of it; `None` where more are left for the next call.
///
/// # Errors
/// What AWS says.
pub fn remove_definitions(fleet: &Fleet<'_>, revision: &str) -> Result<Option<&'static str>, Failure> {
    let ours = |there: &TaskDefinition| {
        names::owner_of(&there.tags)
            .is_some_and(|owner| owner.is_of(fleet.service) && owner.revision.as_deref() == Some(revision))
    };
    Ok(match fleet.api.remove_definitions(&names::of_revision(fleet.service, revision), ours)? {
        Removed::Deleted => Some(""),
        Removed::SomeLeft => None,
        Removed::DeregisteredOnly => {
            Some(" (those are deregistered only, and can still be read: this ECS does not know DeleteTaskDefinitions)")
        }
    })
}

/// The failure for a revision that users are led to.
pub fn has_traffic(revision: &str) -> Failure {
    // What was read may be of a moment ago.
    Failure::conflict(format!("revision {revision} has traffic: give it to another one first"))
        .retry_after(crate::A_MOMENT)
}

fn clear_rules(fleet: &Fleet<'_>, view: &View, revision: &str, group: Option<&str>) -> Result<(), Failure> {
    if let Some(rule) = rule_of(&view.rules, &Owner::of_revision(fleet.service, revision)) {
        fleet.elb.delete_rule(&rule.arn)?;
    }
    let Some(rule) = &view.production else { return Ok(()) };
    let is_last = view.revisions.iter().all(|seen| seen.id == revision) && view.shares().is_empty();
    if is_last && fleet.written.rule.is_none() {
        return fleet.elb.delete_rule(&rule.arn);
    }
    // A target group stays in use as long as a rule names it, also with weight 0.
    if rule.targets.iter().any(|(arn, _)| Some(arn.as_str()) == group) {
        let rest = others_of(rule, group);
        let action = if rest.is_empty() { RuleAction::Nobody } else { RuleAction::Forward(rest) };
        fleet.elb.modify_rule(rule, None, &action)?;
    }
    Ok(())
}

/// Removes the target group of a revision whose tasks are gone, also where rules of ours at a listener that the configuration
/// does not name any more still use it.
fn delete_group(fleet: &Fleet<'_>, revision: &str, group: &str) -> Result<(), Failure> {
    match fleet.elb.delete_group(group) {
        Err(refused) if refused.code() == "ResourceInUse" => {
            if free_elsewhere(fleet, revision, group)? == Freed::Nothing {
                return Err(refused.into());
            }
            Ok(fleet.elb.delete_group(group)?)
        }
        answer => Ok(answer?),
    }
}

/// Whether rules of ours used a target group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Freed {
    /// None did any more: what AWS said was of a moment ago.
    Nothing,
    /// They do not any more.
    OfOurs,
}

/// Takes a target group out of our rules at every listener of its load balancers: `ecs.listener` or `ecs.preview` was another
/// one when they were made. A rule of the revision, or of what was deployed last, goes with it; one for users goes where it
/// leads to nobody else. Nothing runs behind the group by now, so nobody is served by it any more.
///
/// # Errors
/// What AWS says; [`FailureCode::Conflict`] for a rule of others, which stays.
fn free_elsewhere(fleet: &Fleet<'_>, revision: &str, group: &str) -> Result<Freed, Failure> {
    let mut freed = Freed::Nothing;
    let mut of_others = Vec::new();
    for load_balancer in fleet.elb.load_balancers_of(group)? {
        let listeners = fleet.elb.listeners(&load_balancer).map_err(|failure| may_not_look(group, failure))?;
        for listener in listeners {
            for rule in fleet.elb.rules(&listener)? {
                if !rule.targets.iter().any(|(arn, _)| arn == group) {
                    continue;
                }
                let owner = names::owner_of_pairs(&rule.tags).filter(|owner| owner.is_of(fleet.service));
                match owner.map(|owner| owner.revision) {
                    Some(Some(of)) if of == revision => fleet.elb.delete_rule(&rule.arn)?,
                    // Those of the configuration are cleared by now: what is read of them here is of a moment ago.
                    Some(Some(of)) if of == CANDIDATE && fleet.candidate_listener() == Some(&listener) => continue,
                    Some(None) if listener == fleet.ecs.listener => continue,
                    Some(Some(of)) if of == CANDIDATE => fleet.elb.delete_rule(&rule.arn)?,
                    Some(None) => take_out(fleet, &rule, group)?,
                    _ => {
                        of_others.push(rule.arn);
                        continue;
                    }
                }
                freed = Freed::OfOurs;
            }
        }
    }
    if of_others.is_empty() {
        return Ok(freed);
    }
    Err(Failure::conflict(format!(
        "the target group {group} of revision {revision} is still used by what is not ours ({}): take it out of there, then \
         run again",
        of_others.join(", ")
    )))
}

/// Takes a target group out of the rule that led users to it before the configuration named another listener.
fn take_out(fleet: &Fleet<'_>, rule: &Rule, group: &str) -> Result<(), Failure> {
    let rest = others_of(rule, Some(group));
    if rest.is_empty() {
        return fleet.elb.delete_rule(&rule.arn);
    }
    fleet.elb.modify_rule(rule, None, &RuleAction::Forward(rest))
}

/// Where a rule leads users to beside this target group.
fn others_of(rule: &Rule, group: Option<&str>) -> Vec<(String, u16)> {
    let rest = rule.targets.iter().filter(|(arn, weight)| Some(arn.as_str()) != group && *weight > 0);
    rest.map(|(arn, weight)| (arn.clone(), u16::try_from(*weight).unwrap_or(u16::MAX))).collect()
}

/// The failure where it cannot be looked for what uses a target group.
fn may_not_look(group: &str, failure: Failure) -> Failure {
    if failure.code != FailureCode::Denied {
        return failure;
    }
    failure.context(format!(
        "the target group {group} is still used, probably by a rule of ours at a listener that `ecs.listener` or \
         `ecs.preview` named before, and it may not be looked for: allow elasticloadbalancing:DescribeListeners (the role's \
         policy, and the plugin's grant), or delete the rules that lead to the group, then run again"
    ))
}

/// What others made and we adopted is theirs: it gets no tasks any more, and stays.
fn leave(fleet: &Fleet<'_>, revision: &str) -> Result<Progress, Failure> {
    let Some(service) = fleet.service_of(revision)? else {
        return Ok(Progress::done(format!("revision {revision} is gone")));
    };
    if fleet.view()?.share(group_of(&service)) > basb_plugin::Weight::ZERO {
        return Err(has_traffic(revision));
    }
    let name = &service.service_name;
    if service.desired_count > 0 {
        fleet.api.update_service(name, json!({"desiredCount": 0})).map_err(Failure::from)?;
    }
    Ok(Progress::done(format!("the adopted ECS service {name} has no tasks any more; it is not ours, so it stays")))
}
