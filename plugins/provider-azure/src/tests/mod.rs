//! Tests with a scripted door: `cloud` answers as Azure documents it for as much of Container Apps as the provider uses,
//! and keeps state, so that calls can be made again; a test puts failures in front of it.

mod adopt;
mod cloud;
mod errors;
mod operations;
mod rollout;
mod settings;
mod sizes;
mod surplus;

use basb_plugin::provider::{
    Action, ActionKind, Desired, InstanceReport, Observed, Progress, Provider, Scaling, ServicePlan,
};
use basb_plugin::testing;
pub use basb_plugin::testing::service;
use basb_plugin::{Failure, Retry, Weight};
use serde_json::{Value, json};

use crate::{Azure, Config};
use cloud::Cloud;

pub const SUBSCRIPTION: &str = "3e5d1c2a-7b1f-4c55-9a55-0c2f5a0f7d11";

/// What it should be.
pub fn desired(revision: &str, replicas: u32) -> Desired {
    let mut desired = testing::desired(revision, replicas);
    desired.workload.settings = r#"{"args": ["serve", "--port", "{port}"]}"#.into();
    desired
}

/// The configuration, with more at its top.
pub fn config(more: Value) -> Config {
    let mut config = json!({
        "subscription": SUBSCRIPTION,
        "resourceGroup": "rg",
        "location": "westeurope",
        "environment": "main",
        "ingress": {"external": true},
    });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(config).unwrap()
}

/// Deployment files' calls on a cloud, each to its end.
pub struct Caller {
    pub cloud: Cloud,
    pub config: Config,
}

impl Caller {
    pub fn new() -> Caller {
        Caller { cloud: Cloud::new(), config: config(json!({})) }
    }

    /// Calls again and again with what the call before it left, as the engine does; failures that pass are repeated.
    pub fn to_end(&self, mut call: impl FnMut(Option<&str>) -> Result<Progress, Failure>) -> Result<String, Failure> {
        let mut state: Option<String> = None;
        for _ in 0..60 {
            match call(state.as_deref()) {
                Ok(Progress::Done(outcome)) => return Ok(outcome.summary),
                Ok(Progress::Running(pending)) => {
                    assert!(pending.state.len() < 16_384, "a state stays small");
                    state = Some(pending.state);
                }
                Err(failure) if matches!(failure.retry, Retry::After(_)) => {}
                Err(failure) => return Err(failure),
            }
        }
        panic!("it does not end: {state:?}")
    }

    pub fn apply(&self, action: &Action, state: Option<&str>) -> Result<Progress, Failure> {
        Azure::apply(&self.cloud.host().provider_context(), &self.config, "key", action, state)
    }

    pub fn deploy(&self, revision: &str, replicas: u32) -> Result<String, Failure> {
        let action = Action::Deploy(Box::new(desired(revision, replicas)));
        self.to_end(|state| self.apply(&action, state))
    }

    pub fn scale(&self, revision: &str, replicas: u32) -> Result<String, Failure> {
        let action = Action::Scale(Scaling { service: service(), revision: revision.into(), replicas });
        self.to_end(|state| self.apply(&action, state))
    }

    pub fn traffic_once(&self, weights: &[(&str, u16)], state: Option<&str>) -> Result<Progress, Failure> {
        let weights: Vec<_> =
            weights.iter().map(|(name, weight)| ((*name).to_owned(), Weight::from_hundredths(*weight))).collect();
        let cx = self.cloud.host().provider_context();
        Azure::traffic(&cx, &self.config, "key", &service(), &weights, state)
    }

    pub fn traffic(&self, weights: &[(&str, u16)]) -> Result<String, Failure> {
        self.to_end(|state| self.traffic_once(weights, state))
    }

    pub fn retire(&self, revision: &str) -> Result<String, Failure> {
        let cx = self.cloud.host().provider_context();
        self.to_end(|state| Azure::retire(&cx, &self.config, "key", &service(), revision, state))
    }

    pub fn read(&self) -> Option<Observed> {
        Azure::read(&self.cloud.host().provider_context(), &self.config, &service()).unwrap()
    }

    pub fn plan(&self, desired: &Desired) -> Result<ServicePlan, Failure> {
        Azure::plan(&self.cloud.host().provider_context(), &self.config, desired)
    }

    /// What a plan would do, by kind.
    pub fn plans(&self, desired: &Desired) -> Vec<(ActionKind, String)> {
        self.plan(desired).unwrap().actions.into_iter().map(|action| (action.kind, action.summary)).collect()
    }

    pub fn instances(&self, revision: &str) -> InstanceReport {
        let cx = self.cloud.host().provider_context();
        Azure::instances(&cx, &self.config, &service(), revision).unwrap()
    }

    /// Each revision with its share in hundredths and its replicas: should be, are.
    pub fn shares(&self) -> Vec<(String, u16, (u32, u32))> {
        let all = self.read().map(|observed| observed.revisions).unwrap_or_default();
        all.into_iter().map(|of| (of.id, of.weight.hundredths(), (of.desired, of.available))).collect()
    }

    /// r1 with all of the traffic.
    pub fn released() -> Caller {
        let caller = Caller::new();
        caller.deploy("r1", 1).unwrap();
        caller.traffic(&[("r1", 10_000)]).unwrap();
        caller.cloud.changes();
        caller
    }
}
