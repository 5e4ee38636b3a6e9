//! Services on AWS: containers on ECS behind an Application Load Balancer, or Lambda functions behind an alias.
//!
//! Three ways, chosen by the configuration. `ecs`: an ECS service and a target group for each revision, and one listener
//! rule whose weights this provider sets, for any list of steps. `ecs` with `native`: ECS shifts the traffic itself and
//! pauses before each shift for the host's word; without it AWS goes back by itself, also when the host is gone.
//! `lambda`: a published version for each revision, and an alias with weights.
//!
//! Requests leave unsigned; the host signs them, so this plugin holds no key. Everything that changes something is
//! compared first or carries a token, so a call that is made again has no further effect.
//!
//! What it must **never** do: change anything in `plan`, `read` or `instances`; remove a revision that has traffic;
//! change or remove what others made, but for the listener rule and the function that the configuration names; take half
//! a list for a whole one.

mod api;
mod config;
mod ecs;
mod lambda;
mod names;
mod native;
mod task;
#[cfg(test)]
mod tests;

use basb_plugin::provider::{
    Action, Desired, Info, InstanceReport, Observed, Progress, Provider, ProviderContext, ServicePlan,
};
use basb_plugin::{Failure, ServiceRef, Weight};

pub use config::Config;
use config::Way;
use ecs::{Endpoints, Fleet};
use lambda::{Functions, Place};
use native::Delegated;

/// How long it is waited where AWS's answers do not fit together, because one of them is of a moment ago: what is read is
/// eventually consistent.
const A_MOMENT: std::time::Duration = std::time::Duration::from_secs(1);

/// The provider of AWS.
#[derive(Debug)]
pub struct Aws;

impl Provider for Aws {
    type Config = Config;

    fn describe() -> Info {
        Info {
            abilities: vec!["split-traffic".into(), "preview-url".into(), "optimistic-lock".into()],
            // A tenth of a percent: what ECS's own canary, a listener rule and an alias can all make.
            weight_granularity: Weight::from_hundredths(10),
            extras: Vec::new(),
        }
    }

    fn plan(cx: &ProviderContext, config: &Config, desired: &Desired) -> Result<ServicePlan, Failure> {
        let service = &desired.service;
        let (endpoints, place) = (Endpoints::of(config), Place::of(config, service));
        match config.way()? {
            Way::Own(ecs) => Fleet::new((config, ecs), &endpoints, cx, &service.service, service).plan(desired),
            Way::Native(ecs, native) => {
                let fleet = Fleet::new((config, ecs), &endpoints, cx, &service.service, service);
                Delegated::new(fleet, native).plan(desired)
            }
            Way::Lambda(lambda) => {
                Functions::new((config, lambda), &place, cx, &service.service, service).plan(desired)
            }
        }
    }

    fn apply(
        cx: &ProviderContext,
        config: &Config,
        key: &str,
        action: &Action,
        state: Option<&str>,
    ) -> Result<Progress, Failure> {
        let service = match action {
            Action::Deploy(desired) => &desired.service,
            Action::Scale(scaling) => &scaling.service,
        };
        let (endpoints, place) = (Endpoints::of(config), Place::of(config, service));
        match config.way()? {
            Way::Own(ecs) => Fleet::new((config, ecs), &endpoints, cx, key, service).apply(key, action, state),
            Way::Native(ecs, native) => {
                let fleet = Fleet::new((config, ecs), &endpoints, cx, key, service);
                Delegated::new(fleet, native).apply(key, action, state)
            }
            Way::Lambda(lambda) => Functions::new((config, lambda), &place, cx, key, service).apply(action, state),
        }
    }

    fn read(cx: &ProviderContext, config: &Config, service: &ServiceRef) -> Result<Option<Observed>, Failure> {
        let (endpoints, place) = (Endpoints::of(config), Place::of(config, service));
        match config.way()? {
            Way::Own(ecs) => Fleet::new((config, ecs), &endpoints, cx, &service.service, service).read(),
            Way::Native(ecs, native) => {
                let fleet = Fleet::new((config, ecs), &endpoints, cx, &service.service, service);
                Delegated::new(fleet, native).read()
            }
            Way::Lambda(lambda) => Functions::new((config, lambda), &place, cx, &service.service, service).read(),
        }
    }

    fn traffic(
        cx: &ProviderContext,
        config: &Config,
        key: &str,
        service: &ServiceRef,
        weights: &[(String, Weight)],
        state: Option<&str>,
    ) -> Result<Progress, Failure> {
        let (endpoints, place) = (Endpoints::of(config), Place::of(config, service));
        match config.way()? {
            Way::Own(ecs) => Fleet::new((config, ecs), &endpoints, cx, key, service).traffic(weights),
            Way::Native(ecs, native) => {
                let fleet = Fleet::new((config, ecs), &endpoints, cx, key, service);
                Delegated::new(fleet, native).traffic(weights, state)
            }
            Way::Lambda(lambda) => Functions::new((config, lambda), &place, cx, key, service).traffic(weights),
        }
    }

    fn instances(
        cx: &ProviderContext,
        config: &Config,
        service: &ServiceRef,
        revision: &str,
    ) -> Result<InstanceReport, Failure> {
        let (endpoints, place) = (Endpoints::of(config), Place::of(config, service));
        match config.way()? {
            Way::Own(ecs) => Fleet::new((config, ecs), &endpoints, cx, revision, service).instances(revision),
            Way::Native(ecs, native) => {
                let fleet = Fleet::new((config, ecs), &endpoints, cx, revision, service);
                Delegated::new(fleet, native).instances(revision)
            }
            Way::Lambda(lambda) => Functions::new((config, lambda), &place, cx, revision, service).instances(revision),
        }
    }

    fn retire(
        cx: &ProviderContext,
        config: &Config,
        key: &str,
        service: &ServiceRef,
        revision: &str,
        state: Option<&str>,
    ) -> Result<Progress, Failure> {
        let (endpoints, place) = (Endpoints::of(config), Place::of(config, service));
        match config.way()? {
            Way::Own(ecs) => Fleet::new((config, ecs), &endpoints, cx, key, service).retire(revision, state),
            Way::Native(ecs, native) => {
                let fleet = Fleet::new((config, ecs), &endpoints, cx, key, service);
                Delegated::new(fleet, native).retire(revision, state)
            }
            Way::Lambda(lambda) => Functions::new((config, lambda), &place, cx, key, service).retire(revision),
        }
    }

    fn cancel(cx: &ProviderContext, config: &Config, key: &str, state: &str) -> Result<Progress, Failure> {
        match config.way()? {
            Way::Native(ecs, _) => native::cancel((config, ecs), cx, key, state),
            // Tasks that drain have lost their place at the load balancer, and a change of a function cannot be stopped.
            Way::Own(_) | Way::Lambda(_) => {
                Ok(Progress::done("nothing to stop: AWS finishes by itself what was begun"))
            }
        }
    }
}

basb_plugin::export!(Aws as provider);
