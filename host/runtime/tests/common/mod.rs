//! Guests, built once for each test binary, and hosts for them.
#![allow(dead_code, reason = "each test binary uses some of it")]

use basb_capabilities::{Capabilities, Grants, Options};
use basb_core::{PluginName, Timestamp};
use basb_runtime::wit::probe::{Measurement, Target};
use basb_runtime::worlds::context;
use basb_runtime::{CallError, CallOptions, Called, Kind, LoadRequest, Plugin, Runtime, RuntimeOptions};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A guest as a component.
pub fn guest(package: &str) -> Arc<Vec<u8>> {
    static BUILT: Mutex<Option<HashMap<String, Arc<Vec<u8>>>>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let all = built.get_or_insert_default();
    Arc::clone(all.entry(package.to_owned()).or_insert_with(|| Arc::new(basb_guest_build::build(package))))
}

pub fn runtime() -> Runtime {
    Runtime::new(RuntimeOptions::new(Capabilities::new(Options::new("/")))).unwrap()
}

pub fn request(kind: Kind, grants: Value) -> LoadRequest {
    LoadRequest {
        name: PluginName::new("guest").unwrap(),
        kind,
        grants: Grants::parse(&grants).unwrap(),
        credentials: Vec::new(),
    }
}

/// The grants that let `guest-misbehave` load; none of them leads anywhere.
pub fn misbehave_grants() -> Value {
    json!({
        "http": [{"host": "allowed.invalid"}],
        "tcp": [{"host": "allowed.invalid", "port": 1}],
        "exec": [{"program": "allowed", "path": "/bin/false"}]
    })
}

pub fn misbehave(runtime: &Runtime, grants: Value) -> Plugin {
    runtime.load_blocking(&guest("guest-misbehave"), request(Kind::Probe, grants)).unwrap()
}

pub fn target(url: &str) -> Target {
    Target { service: "capture".to_owned(), revision: None, url: url.to_owned(), extras: Vec::new() }
}

/// Has `guest-misbehave` do something.
pub async fn check(
    plugin: &Plugin,
    what: &str,
    options: &CallOptions,
    url: &str,
) -> Result<Called<Measurement>, CallError> {
    let cx = context(Timestamp(1_700_000_000_000), options, format!("\"{what}\""));
    plugin.probe().unwrap().check(options, cx, target(url)).await
}

pub fn generous() -> CallOptions {
    CallOptions::new(Duration::from_secs(120))
}
