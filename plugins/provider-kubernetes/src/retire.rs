//! Removing a revision: what leads to it, its pods, and what is left then.

use basb_cloud_kit::{Owner, Waiting, decode_state};
use basb_plugin::provider::Progress;
use basb_plugin::{Failure, Weight};
use serde::{Deserialize, Serialize};

use crate::api::{Kind, Object};
use crate::cluster::{Cluster, Way};
use crate::deploy::pods;
use crate::names;
use crate::view::{Labels, is_adopted};

/// What a retirement waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Step {
    /// The pods have finished their requests and ended.
    Ending,
}

/// Removes a revision without traffic; one that is not there is removed.
///
/// # Errors
/// [`basb_plugin::FailureCode::Conflict`] where it has traffic, by a route too that nothing changes any more; else what Kubernetes says.
pub fn retire(cluster: &Cluster<'_>, revision: &str, state: Option<&str>) -> Result<Progress, Failure> {
    let view = cluster.view(Labels::Required)?;
    if view.share(cluster, revision) > Weight::ZERO {
        return Err(Failure::conflict(format!("revision {revision} has traffic: give it to another one first")));
    }
    // Once it is on its way out, there is nothing left to keep.
    if state.is_none()
        && let Some(left) = cluster.left_route(view.way)?.filter(|left| left.leads_to(cluster, revision))
    {
        return Err(left.refusal(cluster, revision));
    }
    if is_adopted(revision) {
        return leave(cluster, revision);
    }
    let owner = Owner::of_revision(cluster.service, revision);
    let name = names::of_revision(cluster.service, revision);
    let remove = |kind: Kind, name: &str, owner: &Owner| -> Result<(), Failure> {
        let there = names::ours(kind.word(), cluster.api.get(kind, name)?, owner)?;
        match there.filter(|there| !there.is_going()) {
            Some(there) => cluster.api.delete(kind, &there),
            None => Ok(()),
        }
    };
    if let Way::Routes(version) = view.way {
        remove(Kind::Route(version), &name, &owner)?;
    }
    if let Some(there) = cluster.deployment(revision)? {
        if !there.is_going() {
            cluster.api.delete(Kind::Deployment, &there)?;
        }
        if let Some(left) = cluster.deployment(revision)? {
            return waits(cluster, revision, &left, state);
        }
    }
    remove(Kind::Service, &name, &owner)?;
    let is_last = view.revisions.iter().all(|seen| seen.id == revision) && view.shares(cluster).is_empty();
    if is_last {
        let (name, owner) = (names::of_service(cluster.service), Owner::of_service(cluster.service));
        if let (Way::Routes(version), None) = (view.way, &cluster.written.route) {
            remove(Kind::Route(version), &name, &owner)?;
        }
        if cluster.written.service.is_none() {
            remove(Kind::Service, &name, &owner)?;
        }
    }
    Ok(Progress::done(format!("revision {revision} is gone: its pods, its Service and what led to it")))
}

fn waits(cluster: &Cluster<'_>, revision: &str, left: &Object, state: Option<&str>) -> Result<Progress, Failure> {
    let now = cluster.client().cx().now();
    let waiting = decode_state(state)?.unwrap_or_else(|| Waiting::begin(Step::Ending, now));
    let note = format!("revision {revision} finishes its requests: {} left", pods(left.present()));
    Ok(waiting.again(cluster.client().jitter(), None, note))
}

/// What others made and we adopted is theirs: it gets no pods any more, and stays.
fn leave(cluster: &Cluster<'_>, revision: &str) -> Result<Progress, Failure> {
    let Some(deployment) = cluster.deployment(revision)? else {
        return Ok(Progress::done(format!("revision {revision} is gone")));
    };
    if deployment.replicas() > 0 {
        cluster.api.merge(Kind::Deployment, &deployment, serde_json::json!({"spec": {"replicas": 0}}))?;
    }
    Ok(Progress::done(format!(
        "the adopted Deployment {} has no pods any more; it is not ours, so it stays",
        deployment.metadata.name
    )))
}
