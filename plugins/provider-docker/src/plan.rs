//! What a deployment would change, from what the agent and the engine have.

use basb_plugin::Failure;
use basb_plugin::provider::{ActionKind, Change, Desired, PlannedAction, ServicePlan};
use basb_plugin_agent::{Agent, InstancePhase, RevisionState, listen_to_set, service_action};

use crate::Scope;
use crate::converge::containers;
use crate::engine::{Container, Engine};
use crate::report;
use crate::template::{Names, Template};

/// What `apply` would do.
///
/// # Errors
/// [`basb_plugin::FailureCode::Invalid`] for what no container can be, [`basb_plugin::FailureCode::NotFound`] for an image that
/// the engine has not, [`basb_plugin::FailureCode::Conflict`] for a revision that is going away.
pub fn plan(scope: &Scope<'_>, desired: &Desired) -> Result<ServicePlan, Failure> {
    let template = Template::of(scope.config, desired)?;
    let names = Names::of(scope.config, &desired.service, &desired.revision)?;
    let engine = Engine::connect(scope.cx, &desired.service)?;
    let there = Agent::new(scope.cx, &desired.service)?.service()?;
    let own: Vec<Container> =
        engine.list(&desired.service)?.into_iter().filter(|c| c.revision == desired.revision).collect();
    let mut actions = Vec::new();
    if let Some(listen) = listen_to_set(there.as_ref(), desired)? {
        actions.push(service_action(there.as_ref(), &desired.service.service, &listen));
    }
    match there.as_ref().and_then(|there| there.revision(&desired.revision)) {
        Some(revision) if revision.retiring => {
            return Err(Failure::conflict(format!(
                "revision {} is being retired: wait until it is gone, then try again",
                desired.revision
            ))
            .retry_after(std::time::Duration::from_secs(1)));
        }
        Some(revision) => {
            if revision.desired != desired.replicas {
                actions.push(scaling(revision, desired.replicas));
            }
            actions.extend(repairs(&engine, &names, &template, revision, &own)?);
        }
        None => actions.push(fresh(&engine, &template, desired, &own)?),
    }
    Ok(ServicePlan { observed: report::read(scope, &desired.service)?, actions })
}

fn scaling(revision: &RevisionState, replicas: u32) -> PlannedAction {
    let change = Change {
        path: "replicas".to_owned(),
        before: Some(revision.desired.to_string()),
        after: Some(replicas.to_string()),
    };
    action(ActionKind::Update, format!("scale revision {} to {}", revision.id, containers(replicas)), vec![change])
}

/// A revision that is not there: made anew, or of the containers that were kept.
fn fresh(
    engine: &Engine<'_>,
    template: &Template,
    desired: &Desired,
    own: &[Container],
) -> Result<PlannedAction, Failure> {
    let text = template.text();
    let kept = own.iter().filter(|container| container.template == text).count();
    let replicas = Change { path: "replicas".to_owned(), before: None, after: Some(desired.replicas.to_string()) };
    if kept > 0 {
        let kept = containers(u32::try_from(kept).unwrap_or(u32::MAX));
        let summary = format!("start revision {} again: {kept} of it were kept", desired.revision);
        return Ok(action(ActionKind::Update, summary, vec![replicas]));
    }
    engine.require_image(template.image())?;
    let summary = format!("start revision {} with {}", desired.revision, containers(desired.replicas));
    let mut changes = template.shown();
    changes.push(replicas);
    Ok(action(ActionKind::Create, summary, changes))
}

/// What would be done to containers that are not as they should be.
fn repairs(
    engine: &Engine<'_>,
    names: &Names,
    template: &Template,
    revision: &RevisionState,
    own: &[Container],
) -> Result<Vec<PlannedAction>, Failure> {
    let text = template.text();
    let mut actions = Vec::new();
    let staying = revision.instances.iter().filter(|instance| instance.state != InstancePhase::Draining);
    let (mut right, mut called) = (Vec::new(), Vec::new());
    for instance in staying {
        let name = names.of_instance(own, &revision.id, instance.id);
        match Container::find(own, &revision.id, instance.id) {
            None => {
                actions.push(action(ActionKind::Create, format!("container {name}, which is not there"), Vec::new()));
            }
            Some(there) if there.template != text || there.port != instance.port => {
                let summary = format!("container {name}, which was made from something else");
                actions.push(action(ActionKind::Replace, summary, Vec::new()));
            }
            Some(there) => {
                if !there.is_up() {
                    let state = Change {
                        path: "state".to_owned(),
                        before: Some(there.state.clone()),
                        after: Some("running".to_owned()),
                    };
                    actions.push(action(ActionKind::Update, format!("container {name}: start it"), vec![state]));
                }
                right.push(instance.port);
                called.push(name);
            }
        }
    }
    let inspected = engine.inspect(&called.iter().map(String::as_str).collect::<Vec<_>>())?;
    for ((name, port), there) in called.iter().zip(right).zip(inspected) {
        let Some(there) = there else { continue };
        let changes = template.differences(port, &there);
        if !changes.is_empty() {
            let paths: Vec<&str> = changes.iter().map(|change| change.path.as_str()).collect();
            let summary = format!("container {name}, which somebody changed ({})", paths.join(", "));
            actions.push(action(ActionKind::Replace, summary, changes));
        }
    }
    Ok(actions)
}

fn action(kind: ActionKind, summary: String, changes: Vec<Change>) -> PlannedAction {
    let irreversible =
        (kind == ActionKind::Replace).then(|| "what the container wrote into its own file system is lost".to_owned());
    PlannedAction { kind, summary, changes, irreversible }
}
