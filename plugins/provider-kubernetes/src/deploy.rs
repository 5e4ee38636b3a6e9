//! Making a revision be there, and its size. Every request says what there should be, so that a call that is made again
//! changes nothing more.

use basb_cloud_kit::{Owner, Refused, Waiting, decode_state};
use basb_plugin::Failure;
use basb_plugin::provider::{Desired, Outcome, Progress};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::{FIELD_CONFLICT, Force, Kind, Object, RouteVersion, Run};
use crate::cluster::{Cluster, Way};
use crate::compare::{Compared, compare_users_route};
use crate::names;
use crate::template::{self, set, set_at};
use crate::view::{Labels, is_adopted};

/// What a deployment that goes on waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Step {
    /// The Deployment of the same name that was removed before is gone.
    OldOneGone,
    /// The gateways have taken the route to the revision alone.
    Accepted,
}

/// What is waited for, since it is: what an earlier step of the same call waited for is over.
fn waiting(cluster: &Cluster<'_>, state: Option<&str>, step: Step) -> Result<Waiting<Step>, Failure> {
    let known = decode_state(state)?.filter(|waiting: &Waiting<Step>| waiting.what == step);
    Ok(known.unwrap_or_else(|| Waiting::begin(step, cluster.client().cx().now())))
}

/// Deploys.
///
/// # Errors
/// What Kubernetes says, or what cannot be made.
pub fn deploy(cluster: &Cluster<'_>, desired: &Desired, state: Option<&str>) -> Result<Progress, Failure> {
    let wanted = template::deployment(cluster, desired, desired.replicas)?;
    let way = cluster.way()?;
    if let Way::Routes(_) = way {
        cluster.require_conditions()?;
    }
    let revision = &desired.revision;
    let name = names::of_revision(&desired.service, revision);
    let there = cluster.deployment(revision)?;
    if let Some(going) = there.as_ref().filter(|there| there.is_going()) {
        let waiting = waiting(cluster, state, Step::OldOneGone)?;
        let note = format!("the Deployment {name} that was removed before still has {}", pods(going.present()));
        return Ok(waiting.again(cluster.client().jitter(), None, note));
    }
    cluster.require_own_service(revision)?;
    if let Way::Routes(version) = way {
        require_users_route(cluster, version)?;
    }
    // The number of pods stays as it is for now: it is not worth a refusal, and comes last, so that what is refused has
    // changed nothing.
    let wanted = match &there {
        Some(there) => with_replicas(wanted, there.replicas()),
        None => wanted,
    };
    cluster
        .api
        .apply(Kind::Service, &name, &template::revision_service(cluster, revision), cluster.writer(), Run::Real)
        .map_err(conflicting)?;
    cluster.api.apply(Kind::Deployment, &name, &wanted, cluster.writer(), Run::Real).map_err(conflicting)?;
    cluster.size(revision, desired.replicas, desired.replicas)?;
    if let Way::Routes(version) = way {
        let kind = Kind::Route(version);
        names::ours(kind.word(), cluster.api.get(kind, &name)?, &Owner::of_revision(cluster.service, revision))?;
        let body = cluster.revision_route(version, revision);
        let route = cluster.api.apply(kind, &name, &body, cluster.writer(), Run::Real).map_err(conflicting)?;
        // A preview that no gateway leads to is none: whoever measures there would measure something else.
        if let Some(progress) = cluster.until_taken(&route, waiting(cluster, state, Step::Accepted)?)? {
            return Ok(progress);
        }
    }
    let mut outcome = Outcome {
        summary: format!("revision {revision} as the Deployment {name} with {}", pods(desired.replicas)),
        outputs: vec![("deployment".into(), name)],
    };
    for (name, url) in [("url", cluster.written.url()), ("preview-url", cluster.preview_url(way, revision))] {
        if let Some(url) = url {
            outcome = outcome.output(name, url);
        }
    }
    Ok(Progress::Done(outcome))
}

/// Changes how many pods a revision has.
///
/// # Errors
/// What Kubernetes says; [`basb_plugin::FailureCode::NotFound`] where there is no such revision.
pub fn scale(cluster: &Cluster<'_>, revision: &str, replicas: u32) -> Result<Progress, Failure> {
    let there = cluster.deployment(revision)?.ok_or_else(|| cluster.gone(revision))?;
    if is_adopted(revision) {
        if there.replicas() != replicas {
            cluster.api.merge(Kind::Deployment, &there, json!({"spec": {"replicas": replicas}}))?;
        }
    } else {
        cluster.size(revision, replicas, replicas)?;
    }
    Ok(Progress::done(format!("revision {revision} has {}", pods(replicas))))
}

/// That the traffic which comes after the deployment will be able to set users' route as it is configured. Traffic itself is
/// not refused, since a way back must not be held up: so this is said before anything is changed.
///
/// # Errors
/// [`basb_plugin::FailureCode::Conflict`] where another manager has set a field of it that would not be taken.
fn require_users_route(cluster: &Cluster<'_>, version: RouteVersion) -> Result<(), Failure> {
    if cluster.written.route.is_some() || cluster.writer().force == Force::Yes {
        return Ok(());
    }
    let Some(route) = cluster.users_route_there(Kind::Route(version), Labels::Required, &[])? else { return Ok(()) };
    match compare_users_route(cluster, version, &route)? {
        Some(Compared { taken: Some(taken), .. }) => Err(left_alone(Failure::conflict(format!(
            "the HTTPRoute {} that leads users to {}: {}",
            route.metadata.name, cluster.service.service, taken.said
        )))),
        _ => Ok(()),
    }
}

/// The failure, with what to do about a field that is another's.
fn conflicting(refused: Refused) -> Failure {
    let is_conflict = refused.code() == FIELD_CONFLICT;
    let failure = Failure::from(refused);
    if is_conflict { left_alone(failure) } else { failure }
}

fn left_alone(failure: Failure) -> Failure {
    let message = format!(
        "{}: it is left as it is; have the other manager give the field up, or write `conflicts: take` in the provider's \
         configuration",
        failure.message
    );
    Failure { message, ..failure }.at("/conflicts")
}

impl Cluster<'_> {
    /// Makes a revision have so many pods now, and remembers how many it was asked to have.
    ///
    /// # Errors
    /// What Kubernetes says.
    pub fn size(&self, revision: &str, replicas: u32, asked: u32) -> Result<Object, Failure> {
        let name = names::of_revision(self.service, revision);
        let mut body = json!({
            "apiVersion": Kind::Deployment.api_version(),
            "kind": Kind::Deployment.word(),
            "metadata": {"name": name, "namespace": self.config.namespace},
            "spec": {"replicas": replicas},
        });
        let annotations: Value = json!({names::INSTANCES: asked.to_string()});
        set_at(&mut body, "metadata", "annotations", annotations);
        Ok(self.api.apply(Kind::Deployment, &name, &body, self.scaler(), Run::Real)?)
    }

    /// Whether the name of a revision's Service is free or ours.
    ///
    /// # Errors
    /// [`basb_plugin::FailureCode::Conflict`] where it is another's.
    pub fn require_own_service(&self, revision: &str) -> Result<Option<Object>, Failure> {
        let found = self.api.get(Kind::Service, &names::of_revision(self.service, revision))?;
        names::ours("Service", found, &Owner::of_revision(self.service, revision))
    }
}

/// How many pods a Deployment was asked to have.
pub fn asked(deployment: &Object) -> u32 {
    let written = deployment.metadata.annotations.get(names::INSTANCES).and_then(|text| text.parse().ok());
    written.unwrap_or_else(|| deployment.replicas()).max(deployment.replicas())
}

/// The body of a Deployment with another number of pods.
pub fn with_replicas(mut body: Value, replicas: u32) -> Value {
    if let Some(spec) = body.get_mut("spec") {
        set(spec, "replicas", json!(replicas));
    }
    body
}

/// A number of pods in words.
pub fn pods(count: u32) -> String {
    if count == 1 { "1 pod".to_owned() } else { format!("{count} pods") }
}
