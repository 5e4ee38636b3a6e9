//! Services on Kubernetes: a Deployment and a Service for each revision, and one Service that users reach.
//!
//! Traffic has two ways. Where the cluster has the Gateway API and the configuration names a gateway, an `HTTPRoute` shares
//! the requests out by weights. Elsewhere the users' Service selects the pods of all revisions that have a share, and the
//! numbers of their pods make the shares: the nearest ones that these numbers can make, which the outcome and `read` tell.
//!
//! Everything is written by server-side apply under names of our own, so that Kubernetes tells what others have changed.
//! Requests leave without a token; the host adds it, so this plugin holds none.
//!
//! What it must **never** do: change anything in `plan`, `read` or `instances` (a plan's requests carry `dryRun=All`);
//! touch what has not our labels, but for what the configuration names; take a field from another manager without being
//! told to (the number of instances and the shares of traffic excepted: a way back must not be held up); remove a revision that has
//! traffic, be it by a route that nothing changes any more; take half a list for a whole one.

mod api;
mod cluster;
mod compare;
mod config;
mod deploy;
mod instances;
mod left;
mod names;
mod plan;
mod retire;
mod route;
mod shares;
mod template;
#[cfg(test)]
mod tests;
mod traffic;
mod view;

use basb_plugin::provider::{
    Action, Desired, Info, InstanceReport, Observed, Progress, Provider, ProviderContext, ServicePlan,
};
use basb_plugin::{Failure, ServiceRef, Weight};

use cluster::Cluster;
pub use config::Config;
use view::Labels;

/// The provider of Kubernetes.
#[derive(Debug)]
pub struct Kubernetes;

impl Provider for Kubernetes {
    type Config = Config;

    fn describe() -> Info {
        Info {
            abilities: vec![
                "split-traffic".into(),
                "preview-url".into(),
                "server-dry-run".into(),
                "optimistic-lock".into(),
            ],
            // What a route's weights can make. Where pods make the shares, the nearest that they can make is told.
            weight_granularity: Weight::from_hundredths(1),
            extras: Vec::new(),
        }
    }

    fn plan(cx: &ProviderContext, config: &Config, desired: &Desired) -> Result<ServicePlan, Failure> {
        plan::plan(&Cluster::new(config, cx, &desired.service.service, &desired.service)?, desired)
    }

    fn apply(
        cx: &ProviderContext,
        config: &Config,
        key: &str,
        action: &Action,
        state: Option<&str>,
    ) -> Result<Progress, Failure> {
        match action {
            Action::Deploy(desired) => {
                deploy::deploy(&Cluster::new(config, cx, key, &desired.service)?, desired, state)
            }
            Action::Scale(scaling) => {
                deploy::scale(&Cluster::new(config, cx, key, &scaling.service)?, &scaling.revision, scaling.replicas)
            }
        }
    }

    fn read(cx: &ProviderContext, config: &Config, service: &ServiceRef) -> Result<Option<Observed>, Failure> {
        let cluster = Cluster::new(config, cx, &service.service, service)?;
        cluster.view(Labels::MayLack)?.observed(&cluster)
    }

    fn traffic(
        cx: &ProviderContext,
        config: &Config,
        key: &str,
        service: &ServiceRef,
        weights: &[(String, Weight)],
        state: Option<&str>,
    ) -> Result<Progress, Failure> {
        traffic::traffic(&Cluster::new(config, cx, key, service)?, weights, state)
    }

    fn instances(
        cx: &ProviderContext,
        config: &Config,
        service: &ServiceRef,
        revision: &str,
    ) -> Result<InstanceReport, Failure> {
        instances::instances(&Cluster::new(config, cx, revision, service)?, revision)
    }

    fn retire(
        cx: &ProviderContext,
        config: &Config,
        key: &str,
        service: &ServiceRef,
        revision: &str,
        state: Option<&str>,
    ) -> Result<Progress, Failure> {
        retire::retire(&Cluster::new(config, cx, key, service)?, revision, state)
    }

    fn cancel(_: &ProviderContext, _: &Config, _: &str, _: &str) -> Result<Progress, Failure> {
        // Its controllers go on towards what was written last, and a removal cannot be taken back.
        Ok(Progress::done("nothing to stop: what was written stays until something else is"))
    }
}

basb_plugin::export!(Kubernetes as provider);
