//! The cases, a file for each part of the host that is attacked.

mod doors;
mod engine;
mod exec;
mod files;
mod http;
mod http_answers;
mod mail;
mod manifest;
mod output;
mod sandbox;
mod secrets;
mod wasi;

use crate::case::Case;
use crate::lab::{Lab, request};
use basb_guest_wat::{component, manifest, with_manifest};
use basb_runtime::{Kind, LoadError, Plugin};
use serde_json::{Value, json};

/// All of them.
pub fn all() -> Vec<Case> {
    let mut all = Vec::new();
    all.extend(sandbox::cases());
    all.extend(manifest::cases());
    all.extend(http::cases());
    all.extend(http_answers::cases());
    all.extend(files::cases());
    all.extend(exec::cases());
    all.extend(output::cases());
    all.extend(secrets::cases());
    all.extend(mail::cases());
    all.extend(wasi::cases());
    all.extend(engine::cases());
    all
}

/// A probe written by hand, with a manifest in good order that asks for these capabilities.
fn by_hand(name: &str, capabilities: &[&str]) -> Vec<u8> {
    with_manifest(component(name, &[]).unwrap(), manifest("probe", capabilities).as_bytes())
}

/// Loads bytes as a probe in a host that has no compiled code on disk yet.
fn load(lab: &Lab, bytes: &[u8], grants: &Value) -> Result<Plugin, LoadError> {
    lab.runtime.load_blocking(bytes, request(Kind::Probe, grants))
}

/// No grants.
fn none() -> Value {
    json!({})
}

/// A grant for the URL that a probe is pointed at.
fn service() -> Value {
    json!({"http": [{"target": "service"}]})
}
