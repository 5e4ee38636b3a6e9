//! Tests with a scripted door: what no emulator has, what an emulator gets wrong, and every failure.
//!
//! `cloud` answers as AWS documents it for as much of ECS and Elastic Load Balancing as the provider uses, and keeps
//! state, so that calls can be made again; a test puts failures in front of it.

mod cloud;
mod errors;
mod groups;
mod lambda;
mod native;
mod own;
mod reads;
mod retire;
mod rules;
mod upkeep;
mod versions;

use basb_plugin::provider::Desired;
use basb_plugin::testing;
pub use basb_plugin::testing::service;
use serde_json::{Value, json};

use crate::Config;

/// What it should be.
pub fn desired(revision: &str, replicas: u32) -> Desired {
    let mut desired = testing::desired(revision, replicas);
    desired.workload.settings = r#"{"command": ["serve", "--port", "{port}"]}"#.into();
    desired
}

/// The configuration for ECS, with more below `ecs`.
pub fn ecs_config(more: Value) -> Config {
    let mut config = json!({
        "region": "eu-west-1",
        "ecs": {
            "cluster": "main",
            "vpc": "vpc-1",
            "listener": "arn:listener",
            "network": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]},
        },
        "services": {"web": {"hosts": ["web.example"]}},
    });
    config["ecs"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(config).unwrap()
}
