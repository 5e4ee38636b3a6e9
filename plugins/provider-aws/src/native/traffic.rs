//! Answering ECS's pauses: go on, or back.

use basb_cloud_kit::{Owner, Refused, Waiting, decode_state};
use basb_plugin::provider::Progress;
use basb_plugin::{Failure, Weight};

use super::state::{Now, UnderWay};
use super::{Delegated, read_again};
use crate::api::elb::RuleAction;
use crate::config::NativeStrategy;
use crate::ecs::retire::{MORE, has_traffic, remove_definitions};
use crate::ecs::rules::{CANDIDATE, rule_of};
use crate::names;

/// Has ECS make these shares.
///
/// # Errors
/// What AWS says; [`basb_plugin::FailureCode::Invalid`] for shares that its strategy does not make.
pub fn traffic(
    delegated: &Delegated<'_>,
    weights: &[(String, Weight)],
    state: Option<&str>,
) -> Result<Progress, Failure> {
    let mut wanted: Vec<&(String, Weight)> = weights.iter().filter(|(_, weight)| *weight > Weight::ZERO).collect();
    wanted.sort();
    let now = delegated.now()?;
    let share =
        |revision: &str| wanted.iter().find(|(name, _)| name == revision).map_or(Weight::ZERO, |(_, weight)| *weight);
    let mut there: Vec<(String, Weight)> = now
        .sides()
        .filter(|side| side.weight > Weight::ZERO)
        .map(|side| (side.revision.clone(), side.weight))
        .collect();
    there.sort();
    let waiting = decode_state::<Waiting<UnderWay>>(state)?
        .unwrap_or_else(|| Waiting::begin(UnderWay::default(), delegated.fleet.client().cx().now()));
    if there.iter().eq(wanted.iter().copied()) && !now.goes_back() {
        // Nothing older is there that the host would retire and so have ECS go on: nobody else answers the last pause.
        if let Some(deployment) = now.deployment.as_ref().filter(|_| now.source.is_none() && now.pause().is_some()) {
            return answer(delegated, &now, &deployment.service_deployment_arn, "CONTINUE", waiting);
        }
        return Ok(Progress::done("the traffic is as it should be"));
    }
    if wanted.is_empty() {
        return nobody(delegated, &now);
    }
    let Some((target, deployment)) = now.target.clone().zip(now.deployment.clone()).filter(|_| now.is_under_way())
    else {
        return settled(delegated, &now, &wanted);
    };
    let known = now.source.as_ref().map(|side| side.revision.as_str());
    if let Some((other, _)) = wanted.iter().find(|(name, _)| *name != target.revision && Some(name.as_str()) != known) {
        return Err(Failure::conflict(format!(
            "revision {other} is no part of the deployment under way: {}",
            now.note()
        )));
    }
    let to = share(&target.revision);
    if to == Weight::ZERO {
        return back(delegated, &now, waiting);
    }
    check_share(delegated, to)?;
    if to < target.weight {
        return Err(Failure::invalid(format!(
            "ECS shifts forward only: revision {} has {}, and it can have more or nothing",
            target.revision, target.weight
        )));
    }
    answer(delegated, &now, &deployment.service_deployment_arn, "CONTINUE", waiting)
}

/// Whether the strategy of ECS makes this share.
fn check_share(delegated: &Delegated<'_>, share: Weight) -> Result<(), Failure> {
    let percent = delegated.native.percent;
    let step = Weight::from_percent(percent).unwrap_or(Weight::FULL).hundredths().max(1);
    let (fits, shown) = match delegated.native.strategy {
        _ if share == Weight::FULL => (true, String::new()),
        NativeStrategy::Canary => (share.hundredths() == step, format!("{percent} % and all")),
        NativeStrategy::Linear => (share.hundredths().is_multiple_of(step), format!("multiples of {percent} %")),
        NativeStrategy::BlueGreen => (false, "all at once".to_owned()),
    };
    if fits {
        return Ok(());
    }
    Err(Failure::invalid(format!(
        "ECS with {} makes {shown}, and not {share}: change the steps of the strategy, `native.percent`, or take `native` \
         out and let the host set the weights",
        delegated.native.strategy.word()
    ))
    .at("/ecs/native"))
}

/// ECS takes no answer to a pause that is over, and stops no deployment that has ended: what was read was of a moment ago,
/// and is read again.
pub fn of_a_moment_ago(refused: Refused) -> Failure {
    let over = matches!(refused.code(), "InvalidParameterException" | "ClientException" | "ConflictException");
    if over { read_again(refused) } else { refused.into() }
}

/// Answers the pause, once, and waits.
///
/// # Errors
/// What AWS says.
pub fn answer(
    delegated: &Delegated<'_>,
    now: &Now,
    deployment: &str,
    action: &str,
    waiting: Waiting<UnderWay>,
) -> Result<Progress, Failure> {
    let client = delegated.fleet.client();
    let mut waiting = waiting;
    waiting.what.deployment = Some(deployment.to_owned());
    if let Some(hook) = now.pause()
        && waiting.what.answered.as_deref() != Some(hook)
    {
        delegated.fleet.api.answer_hook(deployment, hook, action).map_err(of_a_moment_ago)?;
        waiting.what.answered = Some(hook.to_owned());
        waiting.looks = 0;
    }
    Ok(waiting.again(client.jitter(), None, now.note()))
}

/// Has ECS go back, and waits until it is back.
fn back(delegated: &Delegated<'_>, now: &Now, waiting: Waiting<UnderWay>) -> Result<Progress, Failure> {
    let Some(deployment) = now.deployment.as_ref() else {
        return Ok(Progress::done("there is nothing to go back from"));
    };
    let arn = &deployment.service_deployment_arn;
    if now.goes_back() {
        return Ok(waiting.again(delegated.fleet.client().jitter(), None, now.note()));
    }
    if now.pause().is_some() {
        return answer(delegated, now, arn, "ROLLBACK", waiting);
    }
    delegated.fleet.api.roll_back(arn).map_err(of_a_moment_ago)?;
    Ok(waiting.again(delegated.fleet.client().jitter(), None, "ECS goes back"))
}

/// No deployment is under way: there is one revision, and it has all of the traffic or none.
fn settled(delegated: &Delegated<'_>, now: &Now, wanted: &[&(String, Weight)]) -> Result<Progress, Failure> {
    let failed = wanted.iter().find_map(|(revision, _)| now.given_up(revision));
    if let Some(reason) = failed {
        return Err(Failure::unhealthy(format!("ECS has gone back by itself: {reason}")));
    }
    let shown: Vec<String> = wanted.iter().map(|(revision, weight)| format!("{revision} {weight}")).collect();
    // What ECS lists may be of a moment ago, before the deployment.
    Err(Failure::conflict(format!(
        "ECS shifts traffic within a deployment only, and none is under way in {}: {} cannot be made",
        delegated.name,
        shown.join(", ")
    ))
    .retry_after(crate::A_MOMENT))
}

/// Takes all traffic away: the first release of a service failed, and there is nothing to go back to.
fn nobody(delegated: &Delegated<'_>, now: &Now) -> Result<Progress, Failure> {
    let fleet = &delegated.fleet;
    if now.service.is_some() {
        let rules = fleet.elb.rules(&fleet.ecs.listener)?;
        if let Some(rule) = fleet.production_rule(&rules)?.filter(|rule| rule.action == "forward") {
            fleet.elb.modify_rule(&rule, None, &RuleAction::Nobody)?;
        }
    }
    Ok(Progress::done("nobody has traffic"))
}

/// Has ECS remove a revision's tasks.
///
/// # Errors
/// What AWS says; [`basb_plugin::FailureCode::Conflict`] where it has traffic.
pub fn retire(delegated: &Delegated<'_>, revision: &str, state: Option<&str>) -> Result<Progress, Failure> {
    let fleet = &delegated.fleet;
    let now = delegated.now()?;
    let waiting = decode_state::<Waiting<UnderWay>>(state)?
        .unwrap_or_else(|| Waiting::begin(UnderWay::default(), fleet.client().cx().now()));
    if let Some(side) = now.sides().find(|side| side.revision == revision) {
        if side.weight > Weight::ZERO {
            return Err(has_traffic(revision));
        }
        if let Some(deployment) = now.deployment.as_ref().filter(|_| now.is_under_way() && now.source.is_some()) {
            return if now.is_target(revision) {
                back(delegated, &now, waiting)
            } else {
                answer(delegated, &now, &deployment.service_deployment_arn, "CONTINUE", waiting)
            };
        }
        if let Some(service) = &now.service {
            if service.status != "DRAINING" {
                fleet.api.delete_service(&delegated.name)?;
            }
            if let Some(left) = fleet.api.service(&delegated.name)? {
                let note = format!("the service {} ends: {} tasks left", delegated.name, left.running_count);
                return Ok(waiting.again(fleet.client().jitter(), None, note));
            }
        }
    }
    // What is not described may be listed: then it is there.
    if now.service.is_none() && fleet.api.service_names(&delegated.name)?.contains(&delegated.name) {
        let message = format!("ECS lists the service {}, and does not describe it", delegated.name);
        return Err(Failure::conflict(message).retry_after(crate::A_MOMENT));
    }
    if now.service.is_none() || now.sides().all(|side| side.revision == revision) {
        clear(delegated, revision)?;
    }
    let Some(left) = remove_definitions(fleet, revision)? else {
        return Ok(waiting.again(fleet.client().jitter(), None, MORE));
    };
    Ok(Progress::done(format!("revision {revision} is gone, with its task definitions{left}")))
}

/// Removes what the service had at the load balancer.
fn clear(delegated: &Delegated<'_>, revision: &str) -> Result<(), Failure> {
    let fleet = &delegated.fleet;
    let rules = fleet.elb.rules(&fleet.ecs.listener)?;
    let mut groups: Vec<String> = Vec::new();
    if let Some(rule) = fleet.production_rule(&rules)? {
        for (group, _) in rule.targets.iter().filter(|(_, weight)| *weight > 0) {
            // Users are served by it, so that the service is not there was of a moment ago.
            if fleet.elb.health(group)?.iter().any(|target| target.state != "draining") {
                return Err(has_traffic(revision));
            }
        }
        match fleet.written.rule {
            None => {
                groups.extend(rule.targets.iter().map(|(group, _)| group.clone()));
                fleet.elb.delete_rule(&rule.arn)?;
            }
            Some(_) => fleet.elb.modify_rule(&rule, None, &RuleAction::Nobody)?,
        }
    }
    let rules = fleet.elb.rules(fleet.candidate_listener().unwrap_or_else(|| fleet.preview_listener()))?;
    if let Some(rule) = rule_of(&rules, &Owner::of_revision(fleet.service, CANDIDATE)) {
        fleet.elb.delete_rule(&rule.arn)?;
    }
    // Our rule has led to both: what is not found by its name was looked for a moment too late, or too soon.
    for side in ["blue", "green"] {
        groups.extend(fleet.elb.group(&names::of_group(fleet.service, side))?.map(|group| group.arn));
    }
    groups.sort();
    groups.dedup();
    for group in groups {
        fleet.elb.delete_group(&group)?;
    }
    Ok(())
}
