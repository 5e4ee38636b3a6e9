//! Tests with a scripted door: what no emulator has, what an emulator gets wrong, and every failure.
//!
//! `cloud` answers as AWS documents it for as much of ECS and Elastic Load Balancing as the provider uses, and keeps
//! state, so that calls can be made again; a test puts failures in front of it.

mod cloud;
mod errors;
mod lambda;
mod native;
mod own;
mod reads;

use std::time::Duration;

use basb_plugin::ServiceRef;
use basb_plugin::provider::{Desired, Readiness, Workload};
use serde_json::{Value, json};

use crate::Config;

/// A service.
pub fn service() -> ServiceRef {
    ServiceRef { deployment: "shop".into(), environment: "prod".into(), service: "web".into() }
}

/// What it should be.
pub fn desired(revision: &str, replicas: u32) -> Desired {
    Desired {
        service: service(),
        listen: None,
        revision: revision.into(),
        replicas,
        workload: Workload {
            command: Vec::new(),
            image: Some(format!("registry.example/web@sha256:{}", "ab".repeat(32))),
            working_folder: None,
            env: vec![("COLOUR".into(), revision.into())],
            ready: Readiness::Http("/healthz".into()),
            min_ready: Duration::from_secs(25),
            stop_grace: Duration::from_secs(5),
            memory_limit: None,
            settings: r#"{"command": ["serve", "--port", "{port}"]}"#.into(),
        },
    }
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
