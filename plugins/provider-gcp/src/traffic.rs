//! Sharing users' requests out: whole percents at named revisions, changed in one request, while the service is as it was
//! read. The tags by which revisions alone are reached stay.

use basb_cloud_kit::to_units;
use basb_plugin::provider::Progress;
use basb_plugin::{Failure, Weight};
use serde_json::json;

use crate::api::TrafficTarget;
use crate::cloud::{Change, Cloud, Settled};
use crate::deploy::{pinned, same_targets};
use crate::names;
use crate::view::{A_MOMENT, Kind, UNRELEASED, View};

/// Sets the shares; who is not named gets none.
///
/// # Errors
/// What Cloud Run says; [`basb_plugin::FailureCode::NotFound`] for a revision that is not there.
pub fn traffic(cloud: &Cloud<'_>, weights: &[(String, Weight)], state: Option<&str>) -> Result<Progress, Failure> {
    let percents: Vec<(String, u16)> = to_units(weights, 100)?.into_iter().filter(|(_, number)| *number > 0).collect();
    let mut waiting = cloud.waiting(state)?;
    let note = "Cloud Run changes the traffic";
    let failed = match cloud.settle(&mut waiting)? {
        Settled::Still => return Ok(cloud.again(waiting, note)),
        Settled::Over => None,
        Settled::Failed(failure) => Some(failure),
    };
    let Some(view) = cloud.led_view()? else {
        return match percents.first() {
            None => Ok(Progress::done("no traffic: the service is not there")),
            Some((revision, _)) => Err(Failure::not_found(format!(
                "there is no Cloud Run service {} with a revision {revision}",
                cloud.place.name
            ))
            .retry_after(A_MOMENT)),
        };
    };
    if percents.is_empty() {
        return nobody(cloud, &view, waiting, failed);
    }
    let wanted = targets(cloud, &view, &percents)?;
    if is_asked(&view, &wanted) {
        if leads_there(&view, &wanted) {
            let shown: Vec<_> = weights.iter().map(|(revision, weight)| format!("{revision} {weight}")).collect();
            return Ok(Progress::done(format!("traffic: {}", shown.join(", "))));
        }
        if view.is_settling() {
            return Ok(cloud.again(waiting, note));
        }
        // Asked for, no longer worked on, and not so: it came to nothing.
        let said = failed.map_or_else(|| view.why_not(), |failure| failure.message);
        return Err(Failure::unhealthy(format!("Cloud Run does not lead the traffic there: {said}")));
    }
    if let Some(failure) = failed {
        return Err(failure);
    }
    let operation = cloud.lead(view, |view| {
        let wanted = targets(cloud, view, &percents)?;
        if is_asked(view, &wanted) {
            return Ok(None);
        }
        let mut change = Change::default();
        change.set("traffic", json!(wanted));
        if view.is_marked_unreleased() {
            let mut annotations = view.service.annotations.clone();
            annotations.remove(UNRELEASED);
            change.set("annotations", json!(annotations));
        }
        Ok(Some(change))
    })?;
    Ok(match operation {
        Some(operation) => cloud.follow(waiting, operation, note),
        None => cloud.again(waiting, note),
    })
}

fn is_asked(view: &View<'_>, wanted: &[TrafficTarget]) -> bool {
    !view.follows_latest() && !view.is_marked_unreleased() && same_targets(wanted, &pinned(view))
}

/// The targets for these shares, with the tags that are there.
fn targets(cloud: &Cloud<'_>, view: &View<'_>, percents: &[(String, u16)]) -> Result<Vec<TrafficTarget>, Failure> {
    let mut wanted: Vec<TrafficTarget> = Vec::new();
    for (id, percent) in percents {
        let seen = view.live(id).ok_or_else(|| view.gone(id))?;
        let tag = match seen.kind {
            Kind::Ours { .. } => names::tag(&cloud.place.name, id),
            Kind::Foreign => String::new(),
        };
        wanted.push(TrafficTarget::to(&seen.name, *percent, &tag));
    }
    for target in pinned(view).into_iter().filter(|target| !target.tag.is_empty()) {
        let has = |of: &TrafficTarget| of.revision == target.revision && of.tag == target.tag;
        if !wanted.iter().any(has) {
            wanted.push(TrafficTarget { percent: 0, ..target });
        }
    }
    Ok(wanted)
}

/// Whether the traffic goes where it is asked to go.
fn leads_there(view: &View<'_>, wanted: &[TrafficTarget]) -> bool {
    let there: Vec<TrafficTarget> =
        view.statuses().map(|of| TrafficTarget::to(&of.revision, of.percent, &of.tag)).collect();
    same_targets(&there, wanted)
}

/// Leads nobody to the service. Cloud Run has no service without traffic, so one that has nothing but what has never been
/// released goes as a whole.
fn nobody(
    cloud: &Cloud<'_>,
    view: &View<'_>,
    waiting: basb_cloud_kit::Waiting<crate::cloud::Step>,
    failed: Option<Failure>,
) -> Result<Progress, Failure> {
    if let Some(failure) = failed {
        return Err(failure);
    }
    // The service goes here, and not only its traffic: its labels have to say that it is ours.
    view.check_owner()?;
    if !view.is_made_by_us() || view.revisions.iter().any(|seen| seen.kind == Kind::Foreign) {
        return Err(Failure::conflict(format!(
            "Cloud Run has no service without traffic, and {} was not made by basb-host, or has revisions of others: lead \
             its traffic to one of them",
            cloud.place.name
        )));
    }
    let operation = cloud.api.delete(&view.service.etag).map_err(Failure::from)?;
    Ok(cloud.follow(waiting, operation, format!("service {}: it goes, since nobody is led to it", cloud.place.name)))
}
