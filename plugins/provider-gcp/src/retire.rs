//! Removing a revision: its tag first, then the revision itself.
//!
//! Cloud Run does not let a service's latest revision go. So the service's template becomes that of the revision that has the
//! traffic once more, and that one the latest; whoever changes the service by hand does not start from what was rolled back.
//! Where Cloud Run will not have that, whatever it says against it, the other is left without tag and traffic, costs nothing
//! and can be reached by nobody; a later retirement takes it along.

use basb_plugin::provider::Progress;
use basb_plugin::{Failure, Retry, extra};
use serde_json::{Value, json};

use crate::api::TrafficTarget;
use crate::cloud::{Change, Cloud, Settled};
use crate::deploy::{pinned, replicas};
use crate::names;
use crate::view::{Kind, View};

/// Removes a revision without traffic; one that is not there is removed.
///
/// # Errors
/// [`basb_plugin::FailureCode::Conflict`] where it has traffic; else what Cloud Run says.
pub fn retire(cloud: &Cloud<'_>, revision: &str, state: Option<&str>) -> Result<Progress, Failure> {
    let mut waiting = cloud.waiting(state)?;
    let failed = match cloud.settle(&mut waiting)? {
        Settled::Still => return Ok(cloud.again(waiting, format!("revision {revision} goes"))),
        Settled::Failed(failure) => Some(failure),
        Settled::Over => None,
    };
    let removed = waiting.what.removes.take();
    let gone = || Ok(Progress::done(format!("revision {revision} is gone")));
    let Some(view) = cloud.our_view()? else { return gone() };
    if has_traffic(&view, revision) {
        if is_all(&view, revision) {
            // It has the traffic only because Cloud Run has no service without: nobody gave it any.
            if let Some(failure) = failed {
                return Err(failure);
            }
            let operation = cloud.api.delete(&view.service.etag).map_err(Failure::from)?;
            let note = format!("service {}: it goes with its only revision", cloud.place.name);
            return Ok(cloud.follow(waiting, operation, note));
        }
        return Err(Failure::conflict(format!("revision {revision} has traffic: give it to another one first")));
    }
    if names::is_adopted(revision) && view.live(revision).is_some() {
        return Ok(Progress::done(format!("revision {revision} was made by others, so it stays")));
    }
    if without(&view, revision).is_some() {
        let operation = cloud.change(view, |view| {
            if has_traffic(view, revision) {
                return Err(Failure::conflict(format!("revision {revision} has got traffic meanwhile")));
            }
            Ok(without(view, revision))
        })?;
        let note = format!("the tag of revision {revision} goes");
        return Ok(match operation {
            Some(operation) => cloud.follow(waiting, operation, note),
            None => cloud.again(waiting, note),
        });
    }
    // What was the latest one at its own retirement goes too: it is not any more.
    for old in view.leftovers() {
        if let Some(failure) = failed.as_ref().filter(|_| removed.as_ref() == Some(&old.name)) {
            return Err(failure.clone());
        }
        if let Some(operation) = cloud.remove(&old.name)? {
            waiting.what.removes = Some(old.name.clone());
            return Ok(cloud.follow(waiting, operation, format!("revision {} goes", old.name)));
        }
    }
    if view.is_settling() {
        return Ok(cloud.again(waiting, format!("service {}: Cloud Run works on it", cloud.place.name)));
    }
    let Some(kept) = view.all(revision).next().map(|seen| seen.name.clone()) else {
        // A list may be of a moment ago: two that agree are believed.
        let is_there = cloud.our_view()?.is_some_and(|again| again.all(revision).next().is_some());
        return if is_there { Ok(cloud.again(waiting, format!("revision {revision} is there still"))) } else { gone() };
    };
    let why = match failed {
        Some(failure) => Some(failure),
        None if back(&view, &kept).is_none() => None,
        None => match cloud.change(view, |view| Ok(back(view, &kept))) {
            Ok(Some(operation)) => {
                let note = format!("the service's template is that of what has its traffic, so that {kept} can go");
                return Ok(cloud.follow(waiting, operation, note));
            }
            // Somebody else was faster, and has made another template of it.
            Ok(None) => return Ok(cloud.again(waiting, format!("revision {kept} is the service's latest no more"))),
            Err(failure) if is_refused(&failure) => Some(failure),
            Err(failure) => return Err(failure),
        },
    };
    if let Some(why) = why {
        cloud.api.client().cx().log().warn(format!(
            "the Cloud Run revision {kept} is left, without tag and traffic, as the service's latest, and goes with a later \
             retirement; Cloud Run says: {}",
            why.message
        ));
    }
    Ok(Progress::done(format!(
        "nobody is led to revision {revision} any more; Cloud Run keeps {kept} as the service's latest until another one is"
    )))
}

/// Whether Cloud Run will not have a change, which is no reason to hold a retirement up: what nobody can reach may stay. Not
/// where we may not ask, or should ask again: then it has not said so.
fn is_refused(failure: &Failure) -> bool {
    let status = extra(&failure.extras, "status").and_then(|status| status.parse::<u16>().ok());
    let is_of_the_change =
        status.is_some_and(|status| (400..500).contains(&status) && !matches!(status, 401 | 403 | 429));
    is_of_the_change && failure.retry == Retry::Never
}

/// The change that makes the revision with the most traffic the latest one, where that is one to be removed; `None` where
/// that was done, or nothing has traffic.
fn back(view: &View<'_>, kept: &str) -> Option<Change> {
    if view.service.template.get("revision").and_then(Value::as_str) != Some(kept) {
        return None;
    }
    let targets = view.targets();
    let most = targets.iter().filter(|target| target.percent > 0).max_by_key(|target| target.percent)?;
    let seen = view.revisions.iter().find(|seen| seen.name == most.revision && seen.name != kept)?;
    let mut change = Change::default();
    change.set("template", seen.template());
    Some(change)
}

/// Whether a service that was never released has nothing but this revision.
fn is_all(view: &View<'_>, revision: &str) -> bool {
    view.is_unreleased() && view.revisions.iter().all(|seen| seen.kind != Kind::Foreign && seen.id() == revision)
}

fn has_traffic(view: &View<'_>, revision: &str) -> bool {
    let is_it = |name: &str| view.revisions.iter().any(|seen| seen.name == name && seen.id() == revision);
    let is_led = view.statuses().any(|of| of.percent > 0 && is_it(&of.revision));
    is_led || view.targets().iter().any(|target| target.percent > 0 && is_it(&target.revision))
}

/// The change that takes tag and size of a revision away; `None` where it has neither.
fn without(view: &View<'_>, revision: &str) -> Option<Change> {
    let ours: Vec<&str> = view.all(revision).map(|seen| seen.name.as_str()).collect();
    let before = pinned(view);
    let after: Vec<&TrafficTarget> = before.iter().filter(|of| !ours.contains(&of.revision.as_str())).collect();
    let mut change = Change::default();
    if after.len() != before.len() {
        change.set("traffic", json!(after));
    }
    if let Some(sizes) = replicas(view, |all| {
        all.remove(revision);
    }) {
        change.set("annotations", sizes);
    }
    (!change.mask.is_empty()).then_some(change)
}
