//! The pods of a revision, and why they do not come up.

use basb_plugin::Failure;
use basb_plugin::provider::{Instance, InstanceReport};
use serde_json::Value;

use crate::api::{Kind, Object, Progressing, condition};
use crate::cluster::Cluster;
use crate::names;
use crate::view::is_adopted;

/// The pods of a revision.
///
/// # Errors
/// What Kubernetes says; [`basb_plugin::FailureCode::NotFound`] where there is no such revision.
pub fn instances(cluster: &Cluster<'_>, revision: &str) -> Result<InstanceReport, Failure> {
    let deployment = cluster.deployment(revision)?.ok_or_else(|| cluster.gone(revision))?;
    let (desired, available) = (deployment.replicas(), deployment.available());
    let selector = if is_adopted(revision) {
        let pairs: Vec<String> = deployment.selector().iter().map(|(key, value)| format!("{key}={value}")).collect();
        pairs.join(",")
    } else {
        names::query(&names::selector(cluster.service, Some(revision)))
    };
    let mut pods = if selector.is_empty() { Vec::new() } else { cluster.api.list(Kind::Pod, &selector)? };
    pods.sort_by(|one, other| one.metadata.name.cmp(&other.metadata.name));
    let mut instances: Vec<Instance> = pods.iter().map(instance).collect();
    let progressing = deployment.progressing(cluster.client().cx().now());
    if available < desired {
        // What keeps pods from being made at all (a quota, a policy) is said of the Deployment only.
        let said = condition(&deployment.status, "ReplicaFailure").filter(|found| found.status == "True");
        let given_up = match &progressing {
            Progressing::GivenUp(message) => Some(("given up".to_owned(), message.clone())),
            Progressing::Yes => None,
        };
        for (state, message) in said.map(|found| (found.reason, found.message)).into_iter().chain(given_up) {
            instances.push(Instance {
                id: deployment.metadata.name.clone(),
                state,
                available: false,
                restarts: 0,
                message: Some(message),
            });
        }
    }
    let way = cluster.way()?;
    Ok(InstanceReport {
        desired,
        available,
        hopeless: desired > available && matches!(progressing, Progressing::GivenUp(_)),
        instances,
        preview_url: if is_adopted(revision) { None } else { cluster.preview_url(way, revision) },
    })
}

fn instance(pod: &Object) -> Instance {
    let status = |name: &str| pod.status.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let ready = condition(&pod.status, "Ready").is_some_and(|found| found.status == "True") && !pod.is_going();
    let mut said = Vec::new();
    if let Some(found) = condition(&pod.status, "PodScheduled").filter(|found| found.status == "False") {
        said.push(format!("not scheduled: {}", found.message));
    }
    for name in ["reason", "message"] {
        said.extend(pod.status.get(name).and_then(Value::as_str).map(str::to_owned));
    }
    let mut restarts: u64 = 0;
    for container in status("initContainerStatuses").iter().chain(status("containerStatuses")) {
        let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
        restarts = restarts.saturating_add(container.get("restartCount").and_then(Value::as_u64).unwrap_or(0));
        for pointer in ["/state/waiting", "/state/terminated", "/lastState/terminated"] {
            said.extend(container.pointer(pointer).and_then(|state| reason(name, pointer, state)));
        }
    }
    if !ready && said.is_empty() {
        said.extend(condition(&pod.status, "Ready").map(|found| found.message).filter(|message| !message.is_empty()));
    }
    let phase = pod.status.get("phase").and_then(Value::as_str).unwrap_or("pending").to_ascii_lowercase();
    Instance {
        id: pod.metadata.name.clone(),
        state: if pod.is_going() { "ending".to_owned() } else { phase },
        available: ready,
        restarts: u32::try_from(restarts).unwrap_or(u32::MAX),
        message: (!ready && !said.is_empty()).then(|| said.join("; ")),
    }
}

/// Why a container waits, or how it ended.
fn reason(name: &str, pointer: &str, state: &Value) -> Option<String> {
    let text = |key: &str| state.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let reason = text("reason").unwrap_or("unknown");
    // Every container begins so.
    if matches!(reason, "ContainerCreating" | "PodInitializing") {
        return None;
    }
    let mut said = match (pointer, state.get("exitCode").and_then(Value::as_i64)) {
        ("/lastState/terminated", Some(code)) => format!("{name} ended before with status {code} ({reason})"),
        (_, Some(code)) => format!("{name} ended with status {code} ({reason})"),
        _ => format!("{name}: {reason}"),
    };
    if let Some(message) = text("message") {
        said.push_str(": ");
        said.push_str(message.trim());
    }
    Some(said)
}
