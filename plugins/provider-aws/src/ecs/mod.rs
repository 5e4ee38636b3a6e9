//! Containers on ECS, whose weights we set: each revision is an ECS service with a target group of its own, and a
//! listener rule shares the requests out.
//!
//! A revision has a listener rule of its own too, for its preview host or for the header `x-basb-revision`. It is what
//! binds the target group to the load balancer before any user's request goes there: ECS refuses a target group that
//! no load balancer knows, and without one targets are not checked.

pub mod deploy;
pub mod groups;
mod instances;
mod plan;
pub mod retire;
pub mod rules;
mod traffic;
pub mod upkeep;
mod view;

use basb_cloud_kit::Client;
use basb_plugin::provider::{Action, Desired, InstanceReport, Observed, Progress, ProviderContext, ServicePlan};
use basb_plugin::{Failure, ServiceRef, Weight};

use crate::api::ecs::EcsApi;
use crate::api::elb::ElbApi;
use crate::config::{self, Config, Ecs};

/// Where the services of AWS are.
pub struct Endpoints {
    ecs: String,
    elb: String,
}

impl Endpoints {
    /// As the configuration says.
    pub fn of(config: &Config) -> Endpoints {
        Endpoints { ecs: config.ecs_endpoint(), elb: config.elb_endpoint() }
    }

    /// ECS.
    pub fn ecs<'a>(&'a self, client: Client<'a>, cluster: &'a str) -> EcsApi<'a> {
        EcsApi::new(client, &self.ecs, cluster)
    }

    /// Elastic Load Balancing.
    pub fn elb<'a>(&'a self, client: Client<'a>) -> ElbApi<'a> {
        ElbApi::new(client, &self.elb)
    }
}

/// One service of a deployment on ECS.
pub struct Fleet<'a> {
    pub config: &'a Config,
    pub ecs: &'a Ecs,
    pub api: EcsApi<'a>,
    pub elb: ElbApi<'a>,
    pub service: &'a ServiceRef,
    pub written: config::Service,
}

impl<'a> Fleet<'a> {
    /// For a call.
    pub fn new(
        (config, ecs): (&'a Config, &'a Ecs),
        endpoints: &'a Endpoints,
        cx: &'a ProviderContext,
        key: &str,
        service: &'a ServiceRef,
    ) -> Fleet<'a> {
        let client = Client::new(cx, key);
        let (api, elb) = (endpoints.ecs(client, &ecs.cluster), endpoints.elb(client));
        Fleet { config, ecs, api, elb, service, written: config.service(&service.service) }
    }

    /// The requests' client.
    pub fn client(&self) -> Client<'a> {
        self.api.client()
    }

    /// What `apply` would do.
    pub fn plan(&self, desired: &Desired) -> Result<ServicePlan, Failure> {
        plan::plan(self, desired)
    }

    /// Does it.
    pub fn apply(&self, key: &str, action: &Action, state: Option<&str>) -> Result<Progress, Failure> {
        match action {
            Action::Deploy(desired) => deploy::deploy(self, key, desired, state),
            Action::Scale(scaling) => deploy::scale(self, &scaling.revision, scaling.replicas),
        }
    }

    /// What is there.
    pub fn read(&self) -> Result<Option<Observed>, Failure> {
        self.view()?.observed(self)
    }

    /// Shares the requests out.
    pub fn traffic(&self, weights: &[(String, Weight)]) -> Result<Progress, Failure> {
        traffic::traffic(self, weights)
    }

    /// The tasks of a revision.
    pub fn instances(&self, revision: &str) -> Result<InstanceReport, Failure> {
        instances::instances(self, revision)
    }

    /// Removes a revision.
    pub fn retire(&self, revision: &str, state: Option<&str>) -> Result<Progress, Failure> {
        retire::retire(self, revision, state)
    }
}
