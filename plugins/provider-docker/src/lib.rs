//! Services as containers of a Docker or Podman engine, behind the weighted proxy of the agent on this machine.
//!
//! The agent says which instances there are, and on which port of 127.0.0.1 each of them is expected; this provider makes
//! containers be there. Everything it does can be done again without further effect: it looks first, by labels that say
//! deployment, environment, service, revision and number. Containers of the last few revisions are kept, stopped, so that going
//! back is a start and nothing more.
//!
//! What it must **never** do: touch a container that does not have both its name and its labels; change anything in `plan`,
//! `read` or `instances`; stop a container while the agent sends requests to it, but for one that is made anew: that one is asked to
//! stop, alone and with the time that it has, and the agent gives its share to the others; kill what runs to remove it.
//!
//! Access to an engine's socket is root on its machine. What this provider may ask of it is in the `containers` of its grant,
//! and the host looks into every body that makes a container; see `docs/providers/docker.md`.

mod config;
mod converge;
mod engine;
mod plan;
mod report;
mod retire;
mod template;

use basb_plugin::provider::{
    Action, Desired, Info, InstanceReport, Observed, Progress, Provider, ProviderContext, ServicePlan,
};
use basb_plugin::{Failure, ServiceRef, Weight};
use basb_plugin_agent::Agent;

pub use config::{Config, Network};

/// The docker provider.
#[derive(Debug)]
pub struct Docker;

/// What accompanies every step of a call.
#[derive(Debug)]
struct Scope<'a> {
    cx: &'a ProviderContext,
    config: &'a Config,
}

impl Provider for Docker {
    type Config = Config;

    fn describe() -> Info {
        Info {
            abilities: vec!["split-traffic".into(), "preview-url".into()],
            weight_granularity: Weight::from_hundredths(1),
            extras: Vec::new(),
        }
    }

    fn plan(cx: &ProviderContext, config: &Config, desired: &Desired) -> Result<ServicePlan, Failure> {
        plan::plan(&Scope { cx, config }, desired)
    }

    fn apply(
        cx: &ProviderContext,
        config: &Config,
        _key: &str,
        action: &Action,
        _state: Option<&str>,
    ) -> Result<Progress, Failure> {
        let scope = Scope { cx, config };
        match action {
            Action::Deploy(desired) => converge::deploy(&scope, desired),
            Action::Scale(scaling) => converge::scale(&scope, scaling),
        }
    }

    fn read(cx: &ProviderContext, config: &Config, service: &ServiceRef) -> Result<Option<Observed>, Failure> {
        report::read(&Scope { cx, config }, service)
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
        config: &Config,
        service: &ServiceRef,
        revision: &str,
    ) -> Result<InstanceReport, Failure> {
        report::instances(&Scope { cx, config }, service, revision)
    }

    fn retire(
        cx: &ProviderContext,
        config: &Config,
        _key: &str,
        service: &ServiceRef,
        revision: &str,
        _state: Option<&str>,
    ) -> Result<Progress, Failure> {
        retire::retire(&Scope { cx, config }, service, revision)
    }

    fn cancel(_cx: &ProviderContext, _config: &Config, _key: &str, _state: &str) -> Result<Progress, Failure> {
        // What goes on is draining and stopping, and an instance that lost its traffic does not take that back.
        Ok(Progress::done("nothing to stop: the agent finishes draining, and the engine stopping, by themselves"))
    }
}

basb_plugin::export!(Docker as provider);
