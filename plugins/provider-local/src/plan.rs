//! What a deployment would change, from what the agent has.

use basb_plugin::Failure;
use basb_plugin::provider::{ActionKind, Change, Desired, PlannedAction, ServicePlan};

use basb_plugin_agent::{ServiceState, Workload, listen_to_set, service_action};

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
