//! Tests with a scripted door: what no server for tests gets wrong, and every failure.
//!
//! `cloud` answers as Google documents it for as much of Cloud Run as the provider uses, and keeps state, so that calls can
//! be made again; a test puts failures in front of it.

mod cloud;
mod errors;
mod faults;
mod foreign;
mod plan;
mod release;

use basb_plugin::provider::{Action, Desired, Observed, Pending, Progress, Provider, Scaling};
use basb_plugin::testing;
pub use basb_plugin::testing::service;
use basb_plugin::{Failure, Weight};
use serde_json::{Value, json};

use crate::{Config, Gcp};
use cloud::Model;

/// What it should be.
pub fn desired(revision: &str, replicas: u32) -> Desired {
    let mut desired = testing::desired(revision, replicas);
    desired.workload.settings = r#"{"args": ["--port", "{port}"]}"#.into();
    desired
}

/// The configuration, with more in it.
pub fn config(more: Value) -> Config {
    let mut config = json!({"project": "shop-1", "location": "europe-west3"});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(config).unwrap()
}

/// Calls until it is done; how many calls it took.
pub fn to_end(mut call: impl FnMut(Option<&str>) -> Result<Progress, Failure>) -> Result<(String, u32), Failure> {
    let mut state: Option<String> = None;
    for calls in 1..60 {
        match call(state.as_deref())? {
            Progress::Done(outcome) => return Ok((outcome.summary, calls)),
            Progress::Running(Pending { state: next, .. }) => state = Some(next),
        }
    }
    panic!("it does not end");
}

impl Model {
    pub fn deploy_with(&self, config: &Config, key: &str, revision: &str, replicas: u32) -> Result<String, Failure> {
        let action = Action::Deploy(Box::new(desired(revision, replicas)));
        to_end(|state| Gcp::apply(&self.host().provider_context(), config, key, &action, state)).map(|(said, _)| said)
    }

    pub fn deploy(&self, key: &str, revision: &str) -> Result<String, Failure> {
        self.deploy_with(&config(json!({})), key, revision, 2)
    }

    pub fn traffic_with(&self, config: &Config, weights: &[(&str, u16)]) -> Result<String, Failure> {
        let weights: Vec<_> = weights
            .iter()
            .map(|(name, percent)| ((*name).to_owned(), Weight::from_hundredths(percent * 100)))
            .collect();
        let cx = || self.host().provider_context();
        to_end(|state| Gcp::traffic(&cx(), config, "key-t", &service(), &weights, state)).map(|(said, _)| said)
    }

    pub fn traffic(&self, weights: &[(&str, u16)]) -> Result<String, Failure> {
        self.traffic_with(&config(json!({})), weights)
    }

    pub fn retire(&self, revision: &str) -> Result<String, Failure> {
        let (config, cx) = (config(json!({})), || self.host().provider_context());
        to_end(|state| Gcp::retire(&cx(), &config, "key-r", &service(), revision, state)).map(|(said, _)| said)
    }

    pub fn scale(&self, revision: &str, replicas: u32) -> Result<String, Failure> {
        let action = Action::Scale(Scaling { service: service(), revision: revision.into(), replicas });
        let (config, cx) = (config(json!({})), || self.host().provider_context());
        to_end(|state| Gcp::apply(&cx(), &config, "key-s", &action, state)).map(|(said, _)| said)
    }

    pub fn read(&self) -> Option<Observed> {
        Gcp::read(&self.host().provider_context(), &config(json!({})), &service()).unwrap()
    }

    /// Revision, percent, desired, available.
    pub fn shares(&self) -> Vec<(String, u16, u32, u32)> {
        let revisions = self.read().map(|observed| observed.revisions).unwrap_or_default();
        revisions.into_iter().map(|r| (r.id, r.weight.hundredths() / 100, r.desired, r.available)).collect()
    }
}
