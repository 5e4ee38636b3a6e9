//! Taking a revision away: its requests finish, its containers stop, and those of the last few revisions are kept, so that
//! going back is a start and nothing more.

use std::time::Duration;

use basb_plugin::provider::Progress;
use basb_plugin::{Failure, ServiceRef};
use basb_plugin_agent::{Agent, Gone, check_segment};

use crate::Scope;
use crate::engine::{Container, Engine, Stopped};

const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Retires a revision; one that is not there is done.
///
/// # Errors
/// What the agent or the engine says.
pub fn retire(scope: &Scope<'_>, service: &ServiceRef, revision: &str) -> Result<Progress, Failure> {
    check_segment(revision)?;
    let agent = Agent::new(scope.cx, service)?;
    let engine = Engine::connect(scope.cx, service)?;
    // First nobody sends it requests any more, and only then it stops.
    if let Gone::Draining(left) = agent.delete_revision(revision, scope.config.drain.0)? {
        let note = format!("revision {revision} finishes its requests: {left} left");
        return Ok(Progress::running("draining", LOOK_AGAIN, note));
    }
    let containers = engine.list(service)?;
    let up: Vec<&str> =
        containers.iter().filter(|c| c.revision == revision && c.is_up()).map(|c| c.name.as_str()).collect();
    if !up.is_empty() && engine.stop(&up)? == Stopped::NotYet {
        let note = format!("revision {revision}: its containers stop");
        return Ok(Progress::running("stopping", LOOK_AGAIN, note));
    }
    let there = agent.service()?;
    let live: Vec<String> =
        there.iter().flat_map(|there| &there.revisions).map(|revision| revision.id.clone()).collect();
    if live.is_empty() {
        // A service without any revision answers nobody, and nobody goes back to it.
        for container in containers.iter().filter(|c| !c.is_up() || c.revision == revision) {
            engine.remove(&container.name)?;
        }
        if there.is_some() {
            agent.delete_service()?;
        }
        return Ok(Progress::done(format!("revision {revision} is gone, and the empty service with it")));
    }
    let kept = prune(&engine, scope.config.retain, revision, &containers, &live)?;
    let words = match kept.len() {
        0 => String::new(),
        _ => format!("; stopped containers are kept of {}", kept.join(", ")),
    };
    Ok(Progress::done(format!("revision {revision} is retired{words}")))
}

/// Removes the containers of revisions that nobody will go back to in a hurry; returns the revisions that are kept.
fn prune(
    engine: &Engine<'_>,
    retain: u32,
    retired: &str,
    containers: &[Container],
    live: &[String],
) -> Result<Vec<String>, Failure> {
    let mut idle: Vec<(String, Vec<&Container>)> = Vec::new();
    for container in containers.iter().filter(|c| !live.contains(&c.revision)) {
        match idle.iter_mut().find(|(revision, _)| *revision == container.revision) {
            Some((_, all)) => all.push(container),
            None => idle.push((container.revision.clone(), vec![container])),
        }
    }
    // One that runs although nobody knows it is not ours to judge.
    idle.retain(|(revision, all)| revision == retired || all.iter().all(|container| !container.is_up()));
    let first: Vec<&str> = idle.iter().filter_map(|(_, all)| Some(all.first()?.name.as_str())).collect();
    let inspected = engine.inspect(&first)?;
    let finished = |at: usize| inspected.get(at).and_then(Option::as_ref).map(|found| found.finished().to_owned());
    let mut order: Vec<(bool, String, usize)> = idle
        .iter()
        .enumerate()
        .map(|(at, (revision, _))| (revision == retired, finished(at).unwrap_or_default(), at))
        .collect();
    order.sort_by(|a, b| b.cmp(a));
    let mut kept = Vec::new();
    for (place, (.., at)) in order.into_iter().enumerate() {
        let Some((revision, all)) = idle.get(at) else { continue };
        if place < usize::try_from(retain).unwrap_or(usize::MAX) {
            kept.push(revision.clone());
            continue;
        }
        for container in all {
            engine.remove(&container.name)?;
        }
    }
    Ok(kept)
}
