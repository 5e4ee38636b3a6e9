//! Tests with a scripted door: every failure, and what a cluster of one version or another would not show.
//!
//! `cluster` answers as Kubernetes documents it for as much as the provider uses: server-side apply with its managers, dry
//! runs, preconditions, lists in pages; and keeps state, so that calls can be made again. A test puts failures in front.

mod adopted;
mod cluster;
mod errors;
mod labels;
mod left;
mod pods;
mod reads;
mod routes;
mod users_route;
mod users_service;

use std::time::Duration;

use basb_plugin::provider::{Action, Desired, Progress, Provider};
use basb_plugin::testing;
pub use basb_plugin::testing::service;
use basb_plugin::{Failure, Weight};
use serde_json::{Value, json};

use crate::{Config, Kubernetes};
use cluster::Model;

/// What it should be.
pub fn desired(revision: &str, replicas: u32) -> Desired {
    let mut desired = testing::desired(revision, replicas);
    let workload = &mut desired.workload;
    workload.env.push(("PRICE".into(), "5$ $(X) {port}".into()));
    workload.min_ready = Duration::from_millis(2_500);
    workload.memory_limit = Some(64 << 20);
    workload.settings = r#"{"command": ["serve", "--port", "{port}"]}"#.into();
    desired
}

/// The configuration, with more in it.
pub fn config(more: Value) -> Config {
    let mut config = json!({"server": "https://kube.example:6443", "namespace": "shop", "propagation": "0ms"});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(config).unwrap()
}

/// With a gateway.
pub fn gateway(more: Value) -> Config {
    let mut all = json!({
        "gateway": {"parentRefs": [{"name": "main", "namespace": "gateways"}]},
        "services": {"web": {"hosts": ["web.example"]}},
    });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config(all)
}

/// `apply` of a deployment.
pub fn deploy(model: &Model, config: &Config, revision: &str, replicas: u32) -> Result<Progress, Failure> {
    let cx = model.host().provider_context();
    Kubernetes::apply(&cx, config, "key", &Action::Deploy(Box::new(desired(revision, replicas))), None)
}

/// `traffic` in percent.
pub fn share(model: &Model, config: &Config, shares: &[(&str, f64)]) -> Result<Progress, Failure> {
    let cx = model.host().provider_context();
    let weights: Vec<(String, Weight)> =
        shares.iter().map(|(id, percent)| ((*id).to_owned(), Weight::from_percent(*percent).unwrap())).collect();
    Kubernetes::traffic(&cx, config, "key", &service(), &weights, None)
}

/// `retire`, called again until it is done; how often.
pub fn retire(model: &Model, config: &Config, revision: &str) -> Result<u32, Failure> {
    let cx = model.host().provider_context();
    let mut state = None;
    for calls in 1.. {
        match Kubernetes::retire(&cx, config, "key", &service(), revision, state.as_deref())? {
            Progress::Done(_) => return Ok(calls),
            Progress::Running(pending) => state = Some(pending.state),
        }
    }
    unreachable!()
}

/// The shares that `read` tells: wanted percent and what is made of it.
pub fn shares(model: &Model, config: &Config) -> Vec<(String, f64, String)> {
    let cx = model.host().provider_context();
    let observed = Kubernetes::read(&cx, config, &service()).unwrap();
    observed
        .into_iter()
        .flat_map(|observed| observed.revisions)
        .filter(|revision| revision.weight > Weight::ZERO)
        .map(|revision| {
            let achieved = basb_plugin::extra(&revision.extras, "achieved-weight").unwrap_or_default().to_owned();
            (revision.id, revision.weight.percent(), achieved)
        })
        .collect()
}

/// The summary of what is done.
#[track_caller]
pub fn done(progress: Result<Progress, Failure>) -> String {
    match progress {
        Ok(Progress::Done(outcome)) => outcome.summary,
        other => panic!("{other:?}"),
    }
}

/// The note of what goes on.
#[track_caller]
pub fn running(progress: Result<Progress, Failure>) -> String {
    match progress {
        Ok(Progress::Running(pending)) => pending.note,
        other => panic!("{other:?}"),
    }
}
