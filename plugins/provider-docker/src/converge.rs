//! Making the containers be what the agent counts on: it says which instances there are and on which port each of them is
//! expected, and this makes it so. It compares first, so whatever was done before is not done again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use basb_plugin::provider::{Desired, Outcome, Progress, Scaling};
use basb_plugin::{Failure, FailureCode, ServiceRef};
use basb_plugin_agent::{
    Agent, External, InstancePhase, InstanceState, PutRevision, PutService, RevisionState, ServiceState, listen_to_set,
};
use serde_json::Value;

use crate::Scope;
use crate::engine::{Container, Engine, Inspected, Stopped};
use crate::template::{Names, Template};

/// How soon to look again at what drains or stops.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How soon to look again once a container that took requests is made anew: before the agent's checks have missed twice (each
/// 200 ms), it counts one as available that is not, and another one would be taken away beside it.
const NOTICED: Duration = Duration::from_secs(1);
/// Of a container that was never started.
const NO_PORT: u16 = 0;
/// So many containers are started in one call; the rest in the next.
const AT_ONCE: usize = 8;

/// Makes service and revision be there.
///
/// # Errors
/// What the agent or the engine says.
pub fn deploy(scope: &Scope<'_>, desired: &Desired) -> Result<Progress, Failure> {
    let template = Template::of(scope.config, desired)?;
    let names = Names::of(scope.config, &desired.service, &desired.revision)?;
    let agent = Agent::new(scope.cx, &desired.service)?;
    let engine = Engine::connect(scope.cx, &desired.service)?;
    let containers = of_revision(&engine, &desired.service, &desired.revision)?;
    let text = template.text();
    let mut replaced_by_word = None;
    if !containers.iter().any(|container| container.template == text) {
        engine.require_image(template.image())?;
        if desired.replicas == 0 {
            // Whoever scales it up is not told what it is: one container that was never started says it.
            match Container::find(&containers, &desired.revision, 0) {
                None => engine.create(&names.name(0), &template.body(&names, 0, NO_PORT))?,
                there => replaced_by_word = there,
            }
        }
    }
    let there = agent.service()?;
    if let Some(listen) = listen_to_set(there.as_ref(), desired)? {
        agent.put_service(&PutService { listen })?;
    }
    let known = there.as_ref().and_then(|there| there.revision(&desired.revision));
    let state = expect(&agent, &desired.revision, desired.replicas, &template, known, &containers)?;
    let progress = settle(&engine, &names, &template, &state, &desired.revision, &containers)?;
    if let (Some(there), Progress::Done(_)) = (replaced_by_word, &progress) {
        // Not before: until then it may have had requests.
        make_anew(&engine, there, &template.body(&names, 0, NO_PORT))?;
    }
    Ok(progress)
}

/// Changes how many instances a revision has.
///
/// # Errors
/// What the agent or the engine says; [`FailureCode::NotFound`] where no container tells what the revision is.
pub fn scale(scope: &Scope<'_>, scaling: &Scaling) -> Result<Progress, Failure> {
    let names = Names::of(scope.config, &scaling.service, &scaling.revision)?;
    let agent = Agent::new(scope.cx, &scaling.service)?;
    let engine = Engine::connect(scope.cx, &scaling.service)?;
    let containers = of_revision(&engine, &scaling.service, &scaling.revision)?;
    let template = containers.iter().find_map(|container| Template::read(&container.template)).ok_or_else(|| {
        Failure::not_found(format!(
            "revision {} has no container from which it could be told what it is: deploy it again",
            scaling.revision
        ))
    })?;
    let there = agent.service()?;
    let known = there.as_ref().and_then(|there| there.revision(&scaling.revision));
    let state = expect(&agent, &scaling.revision, scaling.replicas, &template, known, &containers)?;
    settle(&engine, &names, &template, &state, &scaling.revision, &containers)
}

fn of_revision(engine: &Engine<'_>, service: &ServiceRef, revision: &str) -> Result<Vec<Container>, Failure> {
    Ok(engine.list(service)?.into_iter().filter(|container| container.revision == revision).collect())
}

/// Tells the agent how many instances to expect, and where those are of which containers are there already.
fn expect(
    agent: &Agent<'_>,
    revision: &str,
    replicas: u32,
    template: &Template,
    known: Option<&RevisionState>,
    containers: &[Container],
) -> Result<ServiceState, Failure> {
    let text = template.text();
    let counted: Vec<u64> = known.into_iter().flat_map(|known| &known.instances).map(|instance| instance.id).collect();
    let addresses: BTreeMap<u64, String> = containers
        .iter()
        .filter(|container| {
            let is_the_one = Container::find(containers, revision, container.instance) == Some(*container);
            let is_right = container.template == text && container.port != NO_PORT;
            is_right && is_the_one && !counted.contains(&container.instance)
        })
        .map(|container| (container.instance, format!("127.0.0.1:{}", container.port)))
        .collect();
    let put = |addresses| {
        let external = External { ready: template.ready.clone(), addresses };
        agent.put_revision(revision, &PutRevision { external: Some(external), replicas, ..PutRevision::default() })
    };
    match put(addresses.clone()) {
        // A kept container's port went to somebody else meanwhile: it gets another one, and is made anew.
        Err(failure) if !addresses.is_empty() && agent_code(&failure) == Some("port-in-use") => put(BTreeMap::new()),
        result => result,
    }
}

fn agent_code(failure: &Failure) -> Option<&str> {
    basb_plugin::extra(&failure.extras, "agent-code")
}

/// Makes the containers be what the agent expects.
fn settle(
    engine: &Engine<'_>,
    names: &Names,
    template: &Template,
    state: &ServiceState,
    revision: &str,
    containers: &[Container],
) -> Result<Progress, Failure> {
    let expected = state.revision(revision).ok_or_else(|| {
        Failure::new(
            FailureCode::Conflict,
            format!("revision {revision} was removed from the agent meanwhile"),
            basb_plugin::Retry::After(Duration::from_secs(1)),
        )
    })?;
    let text = template.text();
    let there = |instance: &InstanceState| Container::find(containers, revision, instance.id);
    let staying: Vec<&InstanceState> =
        expected.instances.iter().filter(|instance| instance.state != InstancePhase::Draining).collect();
    let labelled_right: Vec<(&Container, u16)> = staying
        .iter()
        .filter_map(|instance| Some((there(instance)?, instance.port)))
        .filter(|(there, port)| there.template == text && there.port == *port)
        .collect();
    // One that was stopped is looked at too: to start what somebody changed would bring it back as it was.
    let called: Vec<&str> = labelled_right.iter().map(|(there, _)| there.name.as_str()).collect();
    let inspected = engine.inspect(&called)?;
    let same = |port: u16, inspected: &Option<Inspected>| {
        inspected.as_ref().is_some_and(|inspected| template.differences(port, inspected).is_empty())
    };
    let pairs = labelled_right.iter().zip(&inspected).filter(|((_, port), inspected)| same(*port, inspected));
    let right: BTreeSet<&str> = pairs.map(|((there, _), _)| there.name.as_str()).collect();
    let mut started = 0;
    let mut wrong: Vec<(&Container, &InstanceState)> = Vec::new();
    for instance in staying {
        match there(instance) {
            Some(there) if there.is_up() => {
                if !right.contains(there.name.as_str()) {
                    wrong.push((there, instance));
                }
                continue;
            }
            Some(there) if right.contains(there.name.as_str()) => engine.start(&there.name)?,
            Some(there) => {
                make_anew(engine, there, &template.body(names, instance.id, instance.port))?;
                engine.start(&there.name)?;
            }
            None => {
                let name = names.name(instance.id);
                engine.create(&name, &template.body(names, instance.id, instance.port))?;
                engine.start(&name)?;
            }
        }
        started += 1;
        if started == AT_ONCE {
            let note = format!("revision {revision}: {started} containers more were started");
            return Ok(Progress::running("starting", Duration::from_millis(50), note));
        }
    }
    // One that takes no requests costs nobody anything. Of the others one at a time, and the next once all are back: they
    // carry its share meanwhile.
    let takes = |instance: &InstanceState| instance.state == InstancePhase::Available;
    wrong.sort_by_key(|(_, instance)| takes(instance));
    if let Some((there, instance)) = wrong.into_iter().next() {
        let name = &there.name;
        let all_are_back = started == 0 && expected.available >= expected.desired;
        if !takes(instance) || all_are_back {
            // Stopped first, with the time that it has: it finishes what it was asked, and turns new requests away, which the
            // agent then gives to another one. The agent takes none but its last instance out by number, so this one cannot
            // be drained.
            if engine.stop(&[name])? == Stopped::NotYet {
                let note = format!("revision {revision}: {name} finishes its requests, to be made anew");
                return Ok(Progress::running("stopping", LOOK_AGAIN, note));
            }
            make_anew(engine, there, &template.body(names, instance.id, instance.port))?;
            engine.start(name)?;
        }
        let again = if takes(instance) { NOTICED } else { LOOK_AGAIN };
        return Ok(Progress::running("replacing", again, format!("revision {revision}: {name} is made anew")));
    }
    // Those that are not counted on any more; they are kept, stopped, to be started again at once.
    let is_expected = |container: &Container| expected.instances.iter().any(|i| there(i) == Some(container));
    let surplus: Vec<&str> =
        containers.iter().filter(|c| c.is_up() && !is_expected(c)).map(|c| c.name.as_str()).collect();
    let stopped = if surplus.is_empty() { Stopped::All } else { engine.stop(&surplus)? };
    let draining = expected.instances.iter().filter(|i| i.state == InstancePhase::Draining).count();
    if draining > 0 || stopped == Stopped::NotYet {
        let note = format!("revision {revision}: {draining} finish their requests, {} stop", surplus.len());
        return Ok(Progress::running("scaling-down", LOOK_AGAIN, note));
    }
    Ok(done(state, expected))
}

/// Puts another one in the place of a container that has stopped, under the same name.
fn make_anew(engine: &Engine<'_>, there: &Container, body: &Value) -> Result<(), Failure> {
    engine.remove(&there.name)?;
    engine.create(&there.name, body)
}

fn done(state: &ServiceState, revision: &RevisionState) -> Progress {
    let summary = format!("revision {} with {}", revision.id, containers(revision.desired));
    let mut outcome = Outcome { summary, outputs: Vec::new() }.output("url", state.url.clone());
    if let Some(url) = revision.preview_url.clone() {
        outcome = outcome.output("preview-url", url);
    }
    Progress::Done(outcome)
}

/// A number of containers in words.
pub fn containers(count: u32) -> String {
    if count == 1 { "1 container".to_owned() } else { format!("{count} containers") }
}
