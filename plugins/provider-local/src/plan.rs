//! What a deployment would change, from what the agent has.

use std::net::SocketAddr;

use basb_plugin::Failure;
use basb_plugin::provider::{ActionKind, Change, Desired, PlannedAction, ServicePlan};

use crate::api::{ServiceState, Workload};

/// Where a service listens that says nothing: the agent chooses a port.
const ANY_PORT: &str = "127.0.0.1:0";

/// What `apply` would do.
///
/// # Errors
/// [`basb_plugin::FailureCode::Invalid`] for an address that the agent cannot listen on, and
/// [`basb_plugin::FailureCode::Conflict`] for a revision that is going away.
pub fn plan(there: Option<ServiceState>, desired: &Desired, wanted: &Workload) -> Result<ServicePlan, Failure> {
    let mut actions = Vec::new();
    if let Some(listen) = listen_to_set(there.as_ref(), desired)? {
        actions.push(service_action(there.as_ref(), &desired.service.service, &listen));
    }
    let revision = there.as_ref().and_then(|there| there.revision(&desired.revision));
    match revision {
        Some(revision) if revision.retiring => {
            return Err(Failure::conflict(format!(
                "revision {} is being retired: wait until it is gone, then try again",
                desired.revision
            ))
            .retry_after(std::time::Duration::from_secs(1)));
        }
        Some(revision) if revision.desired == desired.replicas => {}
        Some(revision) => actions.push(PlannedAction {
            kind: ActionKind::Update,
            summary: format!("scale revision {} to {}", revision.id, instances(desired.replicas)),
            changes: vec![change("replicas", Some(revision.desired.to_string()), desired.replicas.to_string())],
            irreversible: None,
        }),
        None => actions.push(PlannedAction {
            kind: ActionKind::Create,
            summary: format!("start revision {} with {}", desired.revision, instances(desired.replicas)),
            changes: workload_changes(wanted, desired.replicas),
            irreversible: None,
        }),
    }
    Ok(ServicePlan { observed: there.map(|there| there.observed()), actions })
}

/// The address that the service must be told, if it is not there or listens elsewhere.
///
/// # Errors
/// [`basb_plugin::FailureCode::Invalid`] for what is no address of this machine.
pub fn listen_to_set(there: Option<&ServiceState>, desired: &Desired) -> Result<Option<String>, Failure> {
    let wanted = desired.listen.as_deref().map(address).transpose()?;
    let now = there.map(|there| there.listen.parse::<SocketAddr>());
    Ok(match (now, wanted) {
        (None, wanted) => Some(wanted.map_or_else(|| ANY_PORT.to_owned(), |wanted| wanted.to_string())),
        (Some(_), None) => None,
        // Whatever port was chosen is the one that was asked for.
        (Some(Ok(now)), Some(wanted)) if now == wanted || (wanted.port() == 0 && now.ip() == wanted.ip()) => None,
        (Some(_), Some(wanted)) => Some(wanted.to_string()),
    })
}

fn address(listen: &str) -> Result<SocketAddr, Failure> {
    let numeric =
        listen.strip_prefix("localhost:").map_or_else(|| listen.to_owned(), |port| format!("127.0.0.1:{port}"));
    numeric.parse().map_err(|_| {
        Failure::invalid(format!("`{listen}` is no address to listen on: write one such as `127.0.0.1:7101`"))
    })
}

fn service_action(there: Option<&ServiceState>, name: &str, listen: &str) -> PlannedAction {
    let shown = if listen == ANY_PORT { "127.0.0.1, on a port that the agent chooses" } else { listen };
    match there {
        None => PlannedAction {
            kind: ActionKind::Create,
            summary: format!("service {name} on {shown}"),
            changes: vec![change("listen", None, shown.to_owned())],
            irreversible: None,
        },
        Some(there) => PlannedAction {
            kind: ActionKind::Update,
            summary: format!("service {name} moves to {shown}; connections to {} are refused then", there.listen),
            changes: vec![change("listen", Some(there.listen.clone()), shown.to_owned())],
            irreversible: None,
        },
    }
}

fn workload_changes(wanted: &Workload, replicas: u32) -> Vec<Change> {
    let mut changes = vec![change("command", None, wanted.command.join(" "))];
    if let Some(folder) = &wanted.working_folder {
        changes.push(change("workingFolder", None, folder.clone()));
    }
    // Names only: a plan is read by more people than an environment.
    if !wanted.env.is_empty() {
        let names: Vec<_> = wanted.env.keys().map(String::as_str).collect();
        changes.push(change("env", None, names.join(", ")));
    }
    changes.push(change("replicas", None, replicas.to_string()));
    changes
}

fn change(path: &str, before: Option<String>, after: String) -> Change {
    Change { path: path.to_owned(), before, after: Some(after) }
}

/// A number of instances in words.
pub fn instances(count: u32) -> String {
    if count == 1 { "1 instance".to_owned() } else { format!("{count} instances") }
}
