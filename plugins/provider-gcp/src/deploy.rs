//! Making a revision: the service where it is not there, the revision, and then the tag by which it alone is reached.
//!
//! Each call looks at what is there and does the one thing that is missing, so that a call that is made again, by the same
//! host or by one that took over, does nothing twice. Traffic is pinned to revisions in the very request that makes a new
//! one: it would follow that otherwise.

use std::collections::BTreeMap;

use basb_cloud_kit::Owner;
use basb_plugin::Failure;
use basb_plugin::provider::{Desired, Outcome, Progress, Scaling};
use serde_json::{Value, json};

use crate::api::{Run, TrafficTarget, short};
use crate::cloud::{Change, Cloud, Settled};
use crate::config::Access;
use crate::names;
use crate::template::Wanted;
use crate::view::{A_MOMENT, ADOPTED, Kind, REPLICAS, Seen, Standing, UNRELEASED, View};

/// So often a service that is there may be read as not there.
const MOST_STALE: u32 = 5;

/// What is to be done next.
pub enum Next<'v> {
    /// A revision with this name.
    Make { name: String },
    /// It is there, and not ready yet.
    Wait(&'v Seen, String),
    /// It is there, and never will be ready.
    Failed(&'v Seen, String),
    /// It is there and ready.
    Place(&'v Seen),
}

/// What is to be done next for a revision with this configuration. A revision that failed stays what it is, so another
/// call makes another one; the same call has failed.
pub fn next<'v>(cloud: &Cloud<'_>, view: &'v View<'_>, desired: &Desired, wanted: &Wanted, key: &str) -> Next<'v> {
    let attempt = names::hex(key);
    let of_this = |seen: &&Seen| matches!(&seen.kind, Kind::Ours { digest, .. } if *digest == wanted.digest);
    let all = || view.all(&desired.revision).filter(of_this);
    let by_attempt = |seen: &Seen| match &seen.kind {
        Kind::Ours { attempt: made_by, .. } => *made_by == attempt,
        Kind::Foreign => false,
    };
    let failed = |seen: &Seen| matches!(seen.standing(), Standing::Failed(_));
    let found = all().find(|seen| by_attempt(seen)).or_else(|| all().find(|seen| !failed(seen)));
    match found.map(|seen| (seen, seen.standing())) {
        Some((seen, Standing::Ready)) => return Next::Place(seen),
        Some((seen, Standing::Pending(note))) => return Next::Wait(seen, note),
        Some((seen, Standing::Failed(why))) => return Next::Failed(seen, why),
        None => {}
    }
    let plain = names::of_revision(&cloud.place.name, &desired.revision, &wanted.digest, None);
    if view.revisions.iter().any(|seen| seen.name == plain) {
        let name = names::of_revision(&cloud.place.name, &desired.revision, &wanted.digest, Some(&attempt));
        return Next::Make { name };
    }
    Next::Make { name: plain }
}

/// Deploys.
///
/// # Errors
/// What Cloud Run says, or what cannot be made.
pub fn deploy(cloud: &Cloud<'_>, desired: &Desired, key: &str, state: Option<&str>) -> Result<Progress, Failure> {
    let wanted = Wanted::of(cloud.config, desired)?;
    let mut waiting = cloud.waiting(state)?;
    let failed = match cloud.settle(&mut waiting)? {
        Settled::Still => return Ok(cloud.again(waiting, format!("Cloud Run makes revision {}", desired.revision))),
        Settled::Over => None,
        Settled::Failed(failure) => Some(failure),
    };
    let Some(view) = cloud.our_view()? else {
        if let Some(failure) = failed {
            return Err(failure);
        }
        let body = creation(cloud, desired, &wanted, key);
        let note = format!("service {}: it is being made", cloud.place.name);
        return match cloud.api.create(&body, Run::ForReal) {
            Ok(operation) => Ok(cloud.follow(waiting, operation, note)),
            // It is there: what said that it is not was of a moment ago. Not for ever, if it stays like that.
            Err(refused) if refused.code() == "ALREADY_EXISTS" && waiting.looks < MOST_STALE => {
                Ok(cloud.again(waiting, note))
            }
            Err(refused) => Err(refused.into()),
        };
    };
    let seen = match next(cloud, &view, desired, &wanted, key) {
        Next::Failed(seen, why) => {
            return Err(Failure::unhealthy(format!("the Cloud Run revision {} does not come up: {why}", seen.name)));
        }
        Next::Wait(seen, note) => {
            let note = format!("revision {}: {note}", seen.name);
            return Ok(cloud.again(waiting, note));
        }
        Next::Make { name } => {
            if let Some(failure) = failed {
                return Err(failure);
            }
            // It was asked for, and is not listed yet.
            let asked = view.service.template.get("revision").and_then(Value::as_str) == Some(&name);
            if asked && view.is_settling() {
                return Ok(cloud.again(waiting, format!("Cloud Run makes revision {name}")));
            }
            let make = |view| {
                cloud.change(view, |view| match next(cloud, view, desired, &wanted, key) {
                    Next::Make { name } => Ok(Some(making(cloud, view, desired, &wanted, (&name, key)))),
                    // Another host that does the same was faster.
                    _ => Ok(None),
                })
            };
            let operation = match make(view) {
                // A name that stood for a revision which is gone, and that Cloud Run has not let go.
                Err(failure) if basb_plugin::extra(&failure.extras, "code") == Some("ALREADY_EXISTS") => {
                    let again = names::of_revision(
                        &cloud.place.name,
                        &desired.revision,
                        &wanted.digest,
                        Some(&names::hex(key)),
                    );
                    let view = cloud.our_view()?.filter(|_| again != name).ok_or(failure)?;
                    cloud.change(view, |view| Ok(Some(making(cloud, view, desired, &wanted, (&again, key)))))
                }
                made => made,
            }?;
            let note = format!("Cloud Run makes revision {name}");
            return Ok(match operation {
                Some(operation) => cloud.follow(waiting, operation, note),
                None => cloud.again(waiting, note),
            });
        }
        Next::Place(seen) => seen.name.clone(),
    };
    if placing(cloud, &view, desired, &seen).is_some() {
        let operation = cloud.change(view, |view| Ok(placing(cloud, view, desired, &seen)))?;
        let note = format!("revision {seen} gets its tag");
        return Ok(match operation {
            Some(operation) => cloud.follow(waiting, operation, note),
            None => cloud.again(waiting, note),
        });
    }
    let preview = view.preview_url(&desired.revision, &seen);
    if preview.is_none() {
        let note = format!("the tag of revision {seen} leads there soon");
        if view.is_settling() {
            return Ok(cloud.again(waiting, note));
        }
        let said = failed.map_or_else(|| view.why_not(), |failure| failure.message);
        return Err(Failure::unhealthy(format!("revision {seen} cannot be reached by its tag: {said}")));
    }
    if view.is_settling() {
        return Ok(cloud.again(waiting, format!("service {}: Cloud Run works on it", cloud.place.name)));
    }
    // Where a later revision failed, the service as a whole is not well, and this one is all the same.
    if short(&view.service.latest_created_revision) == seen && !view.is_settled() {
        return Err(Failure::unhealthy(format!("service {}: {}", cloud.place.name, view.why_not())));
    }
    // Those of another configuration, whose place this one has taken.
    let replaced = |old: &&Seen| old.id() == desired.revision && old.name != seen;
    for old in view.leftovers().filter(replaced).filter(|_| failed.is_none()) {
        if let Some(operation) = cloud.remove(&old.name)? {
            return Ok(cloud.follow(waiting, operation, format!("revision {} is replaced and goes", old.name)));
        }
    }
    Ok(done(&view, desired, &seen, preview))
}

fn done(view: &View<'_>, desired: &Desired, name: &str, preview: Option<String>) -> Progress {
    let summary = format!("revision {} as the Cloud Run revision {name}", desired.revision);
    let mut outcome = Outcome { summary, outputs: Vec::new() };
    for (name, value) in [("url", view.url()), ("previewUrl", preview)] {
        if let Some(value) = value {
            outcome = outcome.output(name, value);
        }
    }
    Progress::Done(outcome)
}

/// Writes down how many instances of a revision are wanted.
///
/// # Errors
/// What Cloud Run says; [`basb_plugin::FailureCode::NotFound`] where it is not there.
pub fn scale(cloud: &Cloud<'_>, scaling: &Scaling, state: Option<&str>) -> Result<Progress, Failure> {
    let mut waiting = cloud.waiting(state)?;
    let failed = match cloud.settle(&mut waiting)? {
        Settled::Still => return Ok(cloud.again(waiting, "the service is being changed")),
        Settled::Failed(failure) => Some(failure),
        Settled::Over => None,
    };
    let missing =
        || Failure::not_found(format!("there is no Cloud Run service {}", cloud.place.name)).retry_after(A_MOMENT);
    let view = cloud.our_view()?.ok_or_else(missing)?;
    view.live(&scaling.revision).ok_or_else(|| view.gone(&scaling.revision))?;
    let operation = cloud.change(view, |view| {
        let annotations = replicas(view, |all| {
            all.insert(scaling.revision.clone(), scaling.replicas);
        });
        match (annotations, &failed) {
            (Some(_), Some(failure)) => Err(failure.clone()),
            (Some(annotations), None) => {
                let mut change = Change::default();
                change.set("annotations", annotations);
                Ok(Some(change))
            }
            (None, _) => Ok(None),
        }
    })?;
    Ok(match operation {
        Some(operation) => cloud.follow(waiting, operation, "the service is being changed"),
        None => Progress::done(format!(
            "{} of revision {} wanted; Cloud Run runs as many instances as requests need",
            scaling.replicas, scaling.revision
        )),
    })
}

/// The annotations with other numbers of instances; `None` where they are as they are.
pub fn replicas(view: &View<'_>, change: impl FnOnce(&mut BTreeMap<String, u32>)) -> Option<Value> {
    let before = view.replicas();
    let mut after = before.clone();
    change(&mut after);
    // Those of revisions that are gone go too.
    after.retain(|id, _| !before.contains_key(id) || view.live(id).is_some());
    (before != after).then(|| with_replicas(&view.service.annotations, &after))
}

fn with_replicas(annotations: &BTreeMap<String, String>, replicas: &BTreeMap<String, u32>) -> Value {
    let mut annotations = annotations.clone();
    let text: Vec<String> = replicas.iter().map(|(id, count)| format!("{id}={count}")).collect();
    annotations.insert(REPLICAS.to_owned(), text.join(","));
    json!(annotations)
}

/// The service as it is made, with its first revision. Cloud Run has no service whose traffic goes nowhere, so all of it
/// goes to that one, and to no later one.
pub fn creation(cloud: &Cloud<'_>, desired: &Desired, wanted: &Wanted, key: &str) -> Value {
    let name = names::of_revision(&cloud.place.name, &desired.revision, &wanted.digest, None);
    let tag = names::tag(&cloud.place.name, &desired.revision);
    let sizes = BTreeMap::from([(desired.revision.clone(), desired.replicas)]);
    let mut change = Change::default();
    change.set("labels", json!(cloud.config.labels(&Owner::of_service(cloud.service))));
    let unreleased = BTreeMap::from([(UNRELEASED.to_owned(), "true".to_owned())]);
    change.set("annotations", with_replicas(&unreleased, &sizes));
    own_fields(cloud, None, &mut change);
    change.set("template", wanted.named(&name, key));
    change.set("traffic", json!([TrafficTarget::to(&name, 100, &tag)]));
    Value::Object(change.body)
}

/// The change that makes a revision.
pub fn making(
    cloud: &Cloud<'_>,
    view: &View<'_>,
    desired: &Desired,
    wanted: &Wanted,
    (name, key): (&str, &str),
) -> Change {
    let mut change = Change::default();
    labels(cloud, view, &mut change);
    own_fields(cloud, Some(view), &mut change);
    change.set("template", wanted.named(name, key));
    if view.service.latest_ready_revision.is_empty() {
        // Nothing of it has ever run: there is nothing to keep the traffic at.
        let tag = names::tag(&cloud.place.name, &desired.revision);
        change.set("traffic", json!([TrafficTarget::to(name, 100, &tag)]));
    } else if view.follows_latest() {
        change.set("traffic", json!(pinned(view)));
    }
    change
}

/// The traffic as it is, with every share at the revision that has it now.
pub fn pinned(view: &View<'_>) -> Vec<TrafficTarget> {
    view.targets().iter().map(|of| TrafficTarget::to(&of.revision, of.percent, &of.tag)).collect()
}

/// The change that makes a revision reachable by its tag, in place of another configuration of it; `None` where it is.
fn placing(cloud: &Cloud<'_>, view: &View<'_>, desired: &Desired, name: &str) -> Option<Change> {
    let mut change = Change::default();
    labels(cloud, view, &mut change);
    own_fields(cloud, Some(view), &mut change);
    let sizes = replicas(view, |all| {
        all.insert(desired.revision.clone(), desired.replicas);
    });
    if !change.body.contains_key("annotations")
        && let Some(sizes) = sizes
    {
        change.set("annotations", sizes);
    }
    let tag = names::tag(&cloud.place.name, &desired.revision);
    let others: Vec<&str> =
        view.all(&desired.revision).map(|seen| seen.name.as_str()).filter(|other| *other != name).collect();
    let mut share = view.share(name);
    let mut targets: Vec<TrafficTarget> = Vec::new();
    for target in pinned(view).into_iter().filter(|target| target.revision != name) {
        if others.contains(&target.revision.as_str()) {
            share += target.percent;
        } else if target.tag != tag {
            targets.push(target);
        } else if target.percent > 0 {
            targets.push(TrafficTarget { tag: String::new(), ..target });
        }
    }
    targets.push(TrafficTarget::to(name, share, &tag));
    if view.follows_latest() || !same_targets(&targets, &pinned(view)) {
        change.set("traffic", json!(targets));
    }
    (!change.mask.is_empty()).then_some(change)
}

/// Whether two lists lead the same way, whatever their order and however they are split up.
pub fn same_targets(one: &[TrafficTarget], other: &[TrafficTarget]) -> bool {
    let shares = |all: &[TrafficTarget]| {
        let mut shares: BTreeMap<String, u16> = BTreeMap::new();
        for target in all.iter().filter(|target| target.percent > 0) {
            *shares.entry(target.revision.clone()).or_default() += target.percent;
        }
        shares
    };
    let tags = |all: &[TrafficTarget]| {
        let tagged = all.iter().filter(|target| !target.tag.is_empty());
        tagged.map(|target| (target.tag.clone(), target.revision.clone())).collect::<BTreeMap<_, _>>()
    };
    shares(one) == shares(other) && tags(one) == tags(other)
}

/// Our labels, where the service does not carry them: it was made by others, or the configuration has others now. Those
/// that were ours and are not wanted any more go.
fn labels(cloud: &Cloud<'_>, view: &View<'_>, change: &mut Change) {
    let wanted = cloud.config.labels(&Owner::of_service(cloud.service));
    let there = &view.service.labels;
    let surplus = view.surplus_labels(&wanted);
    if !surplus.is_empty() || wanted.iter().any(|(key, value)| there.get(key) != Some(value)) {
        let mut all = there.clone();
        all.extend(wanted);
        all.retain(|key, _| !surplus.contains_key(key));
        change.set("labels", json!(all));
    }
    if !view.is_labelled() {
        let mut annotations = view.service.annotations.clone();
        annotations.insert(ADOPTED.to_owned(), "true".to_owned());
        change.set("annotations", json!(annotations));
    }
}

/// What the configuration says of the service as a whole, where it differs from what is there.
pub fn own_fields(cloud: &Cloud<'_>, view: Option<&View<'_>>, change: &mut Change) {
    let ingress = cloud.place.written.ingress.or(cloud.config.ingress);
    if let Some(ingress) = ingress
        && view.is_none_or(|view| view.service.ingress.as_deref() != Some(ingress.word()))
    {
        change.set("ingress", ingress.word().into());
    }
    let access = cloud.place.written.access.or(cloud.config.access).map(|access| access == Access::Public);
    if let Some(public) = access
        && view.map_or(public, |view| view.service.invoker_iam_disabled != public)
    {
        change.set("invokerIamDisabled", public.into());
    }
}
