//! What is there beside what should be, by dry runs of the server: what a request would change, and what it would take from
//! another manager.

use basb_cloud_kit::Differences;
use basb_plugin::provider::Change;
use basb_plugin::{Failure, FailureCode};
use serde_json::Value;

use crate::api::{FIELD_CONFLICT, Force, Kind, Object, RouteVersion, Run, Writer};
use crate::cluster::Cluster;
use crate::names;
use crate::route::{backends, rules};
use crate::template::users_service;

/// What a dry run would change, and what it would take from whom.
pub struct Compared {
    pub changes: Vec<Change>,
    pub taken: Option<Taken>,
}

/// Fields that another manager has set.
pub struct Taken {
    /// The server's words, which name the manager.
    pub said: String,
    /// Whether they would be taken.
    pub force: Force,
}

/// What the server itself says that a request would change; none where it changes nothing.
///
/// # Errors
/// What Kubernetes says.
pub fn compare(
    cluster: &Cluster<'_>,
    kind: Kind,
    there: Option<&Object>,
    name: &str,
    body: &Value,
) -> Result<Option<Compared>, Failure> {
    compare_as(cluster, cluster.writer(), kind, there, name, body)
}

fn compare_as(
    cluster: &Cluster<'_>,
    writer: Writer,
    kind: Kind,
    there: Option<&Object>,
    name: &str,
    body: &Value,
) -> Result<Option<Compared>, Failure> {
    let gently = Writer { force: Force::No, ..writer };
    let (result, taken) = match cluster.api.apply(kind, name, body, gently, Run::Dry) {
        Ok(result) => (result, None),
        Err(refused) if refused.code() == FIELD_CONFLICT => {
            let taken = Taken { said: refused.message().to_owned(), force: writer.force };
            let forced = Writer { force: Force::Yes, ..writer };
            (cluster.api.apply(kind, name, body, forced, Run::Dry)?, Some(taken))
        }
        Err(refused) => return Err(refused.into()),
    };
    let word = match kind {
        Kind::Deployment => "deployment",
        Kind::Service => "service",
        Kind::Pod | Kind::Endpoints => "pod",
        Kind::Route(_) => "route",
    };
    let mut differences = Differences::new();
    let (before, after) = (there.map(whole), whole(&result));
    differences.documents(word, before.as_ref().map(shown).as_ref(), &shown(&after));
    let old = before.as_ref().map(environment).unwrap_or_default();
    differences.environment(&format!("{word}.env"), &old, &environment(&after));
    let changes = differences.into_changes();
    Ok((!changes.is_empty()).then_some(Compared { changes, taken }))
}

/// What would change of users' route beside the traffic: hosts, paths and gateways, with the shares as they are.
///
/// # Errors
/// What Kubernetes says.
pub fn compare_users_route(
    cluster: &Cluster<'_>,
    version: RouteVersion,
    route: &Object,
) -> Result<Option<Compared>, Failure> {
    let body = cluster.users_route(version, &backends(route));
    let compared = compare(cluster, Kind::Route(version), Some(route), &route.metadata.name, &body)?;
    // One without a rule leads nobody anywhere: that is traffic, which is ours whoever has set it.
    let leads_nowhere = rules(route).is_empty();
    Ok(compared.map(|found| Compared { taken: found.taken.filter(|_| !leads_nowhere), ..found }))
}

/// What the next traffic would change of users' Service beside where it leads: its port, its type, its labels.
///
/// # Errors
/// What Kubernetes says.
pub fn compare_users_service(cluster: &Cluster<'_>, front: &Object) -> Result<Option<Compared>, Failure> {
    let revision = front.selector().remove(&names::label("revision"));
    let selector = names::selector(cluster.service, revision.as_deref());
    let notes = [names::WEIGHTS, names::COUNTS].map(|key| (key, front.metadata.annotations.get(key)));
    let notes = notes.into_iter().filter_map(|(key, note)| Some((key.to_owned(), note?.as_str().into()))).collect();
    let body = users_service(cluster, &selector, &notes);
    match compare_as(cluster, cluster.traffic_writer(), Kind::Service, Some(front), &front.metadata.name, &body) {
        // Ports that others renumbered cannot stand beside ours: the traffic puts ours in their place.
        Err(failure) if failure.code == FailureCode::Invalid => {
            let mut differences = Differences::new();
            let ports = |spec: Option<&Value>| spec.and_then(|spec| spec.get("ports")).cloned().unwrap_or_default();
            let (before, after) = (ports(Some(&front.spec)), ports(body.get("spec")));
            differences.documents("service.spec.ports", Some(&before), &after);
            let changes = differences.into_changes();
            if changes.is_empty() {
                return Err(failure);
            }
            let taken = Some(Taken { said: failure.message, force: Force::Yes });
            Ok(Some(Compared { changes, taken }))
        }
        compared => compared,
    }
}

/// What of an object others than the server itself write.
fn whole(object: &Object) -> Value {
    serde_json::json!({
        "metadata": {"labels": object.metadata.labels, "annotations": object.metadata.annotations},
        "spec": object.spec,
    })
}

/// A document without environments, whose values a plan does not show.
pub fn shown(document: &Value) -> Value {
    let mut document = document.clone();
    let list = document.pointer_mut("/spec/template/spec/containers").and_then(Value::as_array_mut);
    for container in list.into_iter().flatten().filter_map(Value::as_object_mut) {
        container.remove("env");
    }
    document
}

/// The environment of a Deployment's container, with what stands in the place of a value.
pub fn environment(document: &Value) -> Vec<(String, String)> {
    let pair = |pair: &Value| {
        let value = pair.get("value").and_then(Value::as_str).map(str::to_owned);
        let from = || pair.get("valueFrom").map(Value::to_string).unwrap_or_default();
        Some((pair.get("name")?.as_str()?.to_owned(), value.unwrap_or_else(from)))
    };
    let list = document.pointer("/spec/template/spec/containers/0/env").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(pair).collect()
}
