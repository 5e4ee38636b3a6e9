//! What is there: the agent knows the traffic, the engine the containers.

use basb_plugin::provider::{Instance, InstanceReport, Observed, ObservedRevision};
use basb_plugin::{Failure, ServiceRef, Weight};
use basb_plugin_agent::{Agent, InstancePhase, InstanceState, RevisionState};

use crate::Scope;
use crate::engine::{Container, Engine, Inspected};
use crate::template::Names;

/// So often the engine starts one again before waiting for it is in vain.
const STARTS: u32 = 4;

/// Everything of a service; nothing where there is nothing.
///
/// # Errors
/// Where the agent or the engine cannot tell.
pub fn read(scope: &Scope<'_>, service: &ServiceRef) -> Result<Option<Observed>, Failure> {
    let agent = Agent::new(scope.cx, service)?;
    let engine = Engine::connect(scope.cx, service)?;
    let containers = engine.list(service)?;
    let mut observed = match agent.service()? {
        Some(there) => {
            let mut observed = there.observed();
            for (seen, known) in observed.revisions.iter_mut().zip(&there.revisions) {
                let takes = |instance: &&InstanceState| {
                    let up = Container::find(&containers, &known.id, instance.id).is_some_and(Container::is_up);
                    instance.state == InstancePhase::Available && up
                };
                let takes = known.instances.iter().filter(takes).count();
                seen.available = u32::try_from(takes).unwrap_or(u32::MAX);
            }
            observed
        }
        None if containers.iter().any(Container::is_up) => {
            Observed { url: None, revisions: Vec::new(), version: None, extras: Vec::new() }
        }
        None => return Ok(None),
    };
    // Containers that run without the agent's knowing: they get no traffic, and nobody counts on them.
    for container in containers.iter().filter(|container| container.is_up()) {
        match observed.revisions.iter_mut().find(|seen| seen.id == container.revision) {
            Some(seen) if seen.extras.iter().any(|(name, _)| name == "unknown-to-the-agent") => seen.desired += 1,
            Some(_) => {}
            None => observed.revisions.push(ObservedRevision {
                id: container.revision.clone(),
                desired: 1,
                available: 0,
                weight: Weight::ZERO,
                preview_url: None,
                workload_digest: None,
                extras: vec![("unknown-to-the-agent".to_owned(), "true".to_owned())],
            }),
        }
    }
    Ok(Some(observed))
}

/// The instances of a revision.
///
/// # Errors
/// [`basb_plugin::FailureCode::NotFound`] where the agent does not know it.
pub fn instances(scope: &Scope<'_>, service: &ServiceRef, revision: &str) -> Result<InstanceReport, Failure> {
    let names = Names::of(scope.config, service, revision)?;
    let agent = Agent::new(scope.cx, service)?;
    let engine = Engine::connect(scope.cx, service)?;
    let state =
        agent.service()?.ok_or_else(|| Failure::not_found(format!("there is no service `{}`", agent.name())))?;
    let found: &RevisionState = state
        .revision(revision)
        .ok_or_else(|| Failure::not_found(format!("service `{}` has no revision `{revision}`", agent.name())))?;
    let staying: Vec<&InstanceState> =
        found.instances.iter().filter(|instance| instance.state != InstancePhase::Draining).collect();
    let containers = engine.list(service)?;
    let called: Vec<String> =
        staying.iter().map(|instance| names.of_instance(&containers, revision, instance.id)).collect();
    let inspected = engine.inspect(&called.iter().map(String::as_str).collect::<Vec<_>>())?;
    let mut report = InstanceReport {
        desired: found.desired,
        available: 0,
        hopeless: false,
        instances: Vec::new(),
        preview_url: found.preview_url.clone(),
    };
    let mut in_vain = 0;
    for ((instance, name), there) in staying.iter().zip(&called).zip(&inspected) {
        let (shown, hope) = shown(&engine, instance, name, there.as_ref());
        report.available += u32::from(shown.available);
        in_vain += usize::from(hope == Hope::None);
        report.instances.push(shown);
    }
    report.hopeless = found.desired > 0 && in_vain > 0 && in_vain == staying.len();
    Ok(report)
}

/// Whether waiting for an instance may help.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hope {
    Some,
    None,
}

fn shown(engine: &Engine<'_>, instance: &InstanceState, name: &str, there: Option<&Inspected>) -> (Instance, Hope) {
    let of = |state: &str, available: Available, restarts: u32, message: Option<String>| Instance {
        id: instance.id.to_string(),
        state: state.to_owned(),
        available: available == Available::Yes,
        restarts,
        message,
    };
    let Some(there) = there else {
        return (of("missing", Available::No, 0, Some(format!("there is no container {name}"))), Hope::Some);
    };
    let restarts = there.restarts();
    let unhealthy = there.health().filter(|health| *health != "healthy");
    if instance.state == InstancePhase::Available && there.state() == "running" && unhealthy.is_none() {
        return (of("running", Available::Yes, restarts, None), Hope::Some);
    }
    let mut parts: Vec<String> = Vec::new();
    parts.extend(there.ended());
    parts.extend(unhealthy.map(|health| format!("its own check says `{health}`")));
    if there.state() == "running" {
        parts.extend(instance.message());
    }
    let lines = engine.last_lines(name);
    if !lines.is_empty() {
        parts.push(format!("its output ends with: {}", lines.join(" | ")));
    }
    let ended = matches!(there.state(), "exited" | "stopped" | "dead");
    let hope = if ended || restarts >= STARTS { Hope::None } else { Hope::Some };
    let message = (!parts.is_empty()).then(|| parts.join("; "));
    (of(there.state(), Available::No, restarts, message), hope)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Available {
    Yes,
    No,
}
