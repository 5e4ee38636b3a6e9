//! The one-machine cloud: runs services as processes, behind the weighted proxy of the agent on this machine.
//!
//! It speaks to the agent's HTTP API through the same door as other providers speak to their clouds. Everything that it
//! changes is a `PUT` or a `DELETE` of a whole, so repeating a call has no further effect, whatever became of the first.
//!
//! What it must **never** do: change anything in `plan`, `read` or `instances`, or remove a revision that has traffic.

mod plan;

use std::time::Duration;

use basb_plugin::config::HumanDuration;
use basb_plugin::provider::{
    Action, Desired, Info, Instance, InstanceReport, Observed, Outcome, Progress, Provider, ProviderContext, Scaling,
    ServicePlan,
};
use basb_plugin::{Failure, ServiceRef, Weight};
use serde::Deserialize;

use basb_plugin_agent::{Agent, Gone, InstancePhase, PutRevision, PutService, ServiceState, listen_to_set};

/// How soon to look again at a revision that drains.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The local provider.
#[derive(Debug)]
pub struct Local;

/// The configuration of the local provider.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// How long requests under way on a retired revision may take to finish.
    pub drain: HumanDuration,
}

impl Default for Config {
    fn default() -> Config {
        Config { drain: HumanDuration(Duration::from_secs(10)) }
    }
}

impl Provider for Local {
    type Config = Config;

    fn describe() -> Info {
        Info {
            abilities: vec!["split-traffic".into(), "preview-url".into()],
            weight_granularity: Weight::from_hundredths(1),
            extras: Vec::new(),
        }
    }

    fn plan(cx: &ProviderContext, _config: &Config, desired: &Desired) -> Result<ServicePlan, Failure> {
        let agent = Agent::new(cx, &desired.service)?;
        let wanted = basb_plugin_agent::Workload::of(&desired.workload)?;
        plan::plan(agent.service()?, desired, &wanted)
    }

    fn apply(
        cx: &ProviderContext,
        _config: &Config,
        _key: &str,
        action: &Action,
        _state: Option<&str>,
    ) -> Result<Progress, Failure> {
        match action {
            Action::Deploy(desired) => deploy(&Agent::new(cx, &desired.service)?, desired),
            Action::Scale(scaling) => scale(&Agent::new(cx, &scaling.service)?, scaling),
        }
    }

    fn read(cx: &ProviderContext, _config: &Config, service: &ServiceRef) -> Result<Option<Observed>, Failure> {
        Ok(Agent::new(cx, service)?.service()?.map(|state| state.observed()))
    }

    fn traffic(
        cx: &ProviderContext,
        _config: &Config,
        _key: &str,
        service: &ServiceRef,
        weights: &[(String, Weight)],
        _state: Option<&str>,
    ) -> Result<Progress, Failure> {
        Agent::new(cx, service)?.share_out(weights)
    }

    fn instances(
        cx: &ProviderContext,
        _config: &Config,
        service: &ServiceRef,
        revision: &str,
    ) -> Result<InstanceReport, Failure> {
        let agent = Agent::new(cx, service)?;
        let state =
            agent.service()?.ok_or_else(|| Failure::not_found(format!("there is no service `{}`", agent.name())))?;
        let found = state
            .revision(revision)
            .ok_or_else(|| Failure::not_found(format!("service `{}` has no revision `{revision}`", agent.name())))?;
        let staying = || found.instances.iter().filter(|instance| instance.state != InstancePhase::Draining);
        Ok(InstanceReport {
            desired: found.desired,
            available: found.available,
            hopeless: found.desired > 0
                && staying().count() > 0
                && staying().all(|instance| instance.state == InstancePhase::Failed),
            instances: found
                .instances
                .iter()
                .map(|instance| Instance {
                    id: instance.id.to_string(),
                    state: instance.state.word().to_owned(),
                    available: instance.state == InstancePhase::Available,
                    restarts: instance.restarts,
                    message: instance.message(),
                })
                .collect(),
            preview_url: found.preview_url.clone(),
        })
    }

    fn retire(
        cx: &ProviderContext,
        config: &Config,
        _key: &str,
        service: &ServiceRef,
        revision: &str,
        _state: Option<&str>,
    ) -> Result<Progress, Failure> {
        let agent = Agent::new(cx, service)?;
        match agent.delete_revision(revision, config.drain.0)? {
            Gone::Yes => {
                // A service without any revision answers nobody and would keep its address taken.
                if agent.service()?.is_some_and(|there| there.revisions.is_empty()) {
                    agent.delete_service()?;
                    return Ok(Progress::done(format!("revision {revision} is gone, and the empty service with it")));
                }
                Ok(Progress::done(format!("revision {revision} is gone")))
            }
            Gone::Draining(left) => Ok(Progress::running(
                "draining",
                LOOK_AGAIN,
                format!("revision {revision} finishes its requests: {left} left"),
            )),
        }
    }

    fn cancel(_cx: &ProviderContext, _config: &Config, _key: &str, _state: &str) -> Result<Progress, Failure> {
        // The one thing that goes on is draining, and a revision that lost its instances cannot take that back.
        Ok(Progress::done("nothing to stop: the agent finishes draining by itself"))
    }
}

fn deploy(agent: &Agent<'_>, desired: &Desired) -> Result<Progress, Failure> {
    let workload = basb_plugin_agent::Workload::of(&desired.workload)?;
    let there = agent.service()?;
    if let Some(listen) = listen_to_set(there.as_ref(), desired)? {
        agent.put_service(&PutService { listen })?;
    }
    let put = PutRevision { workload: Some(workload), replicas: desired.replicas, ..PutRevision::default() };
    let state = agent.put_revision(&desired.revision, &put)?;
    Ok(done(
        &state,
        &desired.revision,
        format!("revision {} with {}", desired.revision, plan::instances(desired.replicas)),
    ))
}

fn scale(agent: &Agent<'_>, scaling: &Scaling) -> Result<Progress, Failure> {
    // The agent keeps the workload of a revision that it has.
    let put = PutRevision { replicas: scaling.replicas, ..PutRevision::default() };
    let state = agent.put_revision(&scaling.revision, &put)?;
    Ok(done(
        &state,
        &scaling.revision,
        format!("revision {} scaled to {}", scaling.revision, plan::instances(scaling.replicas)),
    ))
}

fn done(state: &ServiceState, revision: &str, summary: String) -> Progress {
    let mut outcome = Outcome { summary, outputs: Vec::new() }.output("url", state.url.clone());
    if let Some(url) = state.revision(revision).and_then(|revision| revision.preview_url.clone()) {
        outcome = outcome.output("preview-url", url);
    }
    Progress::Done(outcome)
}

basb_plugin::export!(Local as provider);
