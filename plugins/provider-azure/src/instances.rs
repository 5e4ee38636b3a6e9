//! The replicas of a revision, and why they do not come up.

use basb_plugin::Failure;
use basb_plugin::provider::{Instance, InstanceReport};

use crate::api::model::{Replica, Revision};
use crate::apps::Apps;
use crate::view::{Size, View};

/// The replicas of a revision.
///
/// # Errors
/// What Azure says; [`basb_plugin::FailureCode::NotFound`] where there is no such revision.
pub fn instances(apps: &Apps<'_>, id: &str) -> Result<InstanceReport, Failure> {
    let is_there = |view: &View| view.newest(id).is_some();
    let view = match apps.view()?.filter(is_there) {
        Some(view) => view,
        // It may be there since a moment ago.
        None => apps.view()?.filter(is_there).ok_or_else(|| apps.gone(id))?,
    };
    let seen = view.current(id).or_else(|| view.newest(id)).ok_or_else(|| apps.gone(id))?;
    let replicas = if seen.revision.is_active() { apps.api.replicas(seen.name())? } else { Vec::new() };
    let size = Size::of(&seen.revision, &replicas);
    let mut instances: Vec<Instance> = replicas.iter().map(|replica| instance(&seen.revision, replica)).collect();
    if let Some(said) = said(&seen.revision).filter(|_| size.available < size.desired) {
        instances.push(Instance {
            id: seen.name().to_owned(),
            state: "Azure says".into(),
            available: false,
            restarts: 0,
            message: Some(said),
        });
    }
    Ok(InstanceReport {
        desired: size.desired,
        available: size.available,
        hopeless: size.desired > 0 && seen.revision.is_hopeless(),
        instances,
        preview_url: view.preview_url(apps, seen),
    })
}

fn instance(revision: &Revision, replica: &Replica) -> Instance {
    let containers = replica.properties.containers.as_deref().unwrap_or_default();
    let available = revision.is_up() && replica.is_ready();
    let mut said: Vec<String> = replica.properties.running_state_details.iter().cloned().collect();
    for container in containers {
        let name = container.name.as_deref().unwrap_or("a container");
        let state = container.running_state.as_deref().unwrap_or("in no state");
        let details = container.running_state_details.as_deref().filter(|details| !details.is_empty());
        said.push(match details {
            Some(details) => format!("{name} is {state}: {details}"),
            None if container.ready == Some(false) => format!("{name} is {state} and not ready"),
            None => format!("{name} is {state}"),
        });
    }
    Instance {
        id: replica.name.clone(),
        state: replica.properties.running_state.as_deref().unwrap_or("unknown").to_ascii_lowercase(),
        available,
        restarts: containers.iter().filter_map(|container| container.restart_count).sum(),
        message: (!available && !said.is_empty()).then(|| said.join("; ")),
    }
}

/// What Azure says of the revision as a whole.
fn said(revision: &Revision) -> Option<String> {
    let properties = &revision.properties;
    let states = [
        ("provisioning", &properties.provisioning_state),
        ("health", &properties.health_state),
        ("running", &properties.running_state),
    ];
    let words: Vec<String> =
        states.into_iter().filter_map(|(name, state)| Some(format!("{name} {}", state.as_ref()?))).collect();
    let states = (!words.is_empty()).then(|| words.join(", "));
    match (properties.provisioning_error.as_ref().filter(|error| !error.is_empty()), states) {
        (Some(error), Some(states)) => Some(format!("{error} ({states})")),
        (error, states) => error.cloned().or(states),
    }
}
