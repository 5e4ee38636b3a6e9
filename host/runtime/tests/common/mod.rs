//! Guests, built once for each test binary, and hosts for them.
#![allow(dead_code, reason = "each test binary uses some of it")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may fail, and says what it did not test")]

use basb_capabilities::{Capabilities, Grants, Options};
use basb_core::{PluginName, Timestamp};
use basb_runtime::wit::probe::{Measurement, Target};
use basb_runtime::worlds::context;
use basb_runtime::{CallError, CallOptions, Called, Compiler, Kind, LoadRequest, Plugin, Runtime, RuntimeOptions};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A guest as a component.
pub fn guest(package: &str) -> Arc<Vec<u8>> {
    static BUILT: Mutex<Option<HashMap<String, Arc<Vec<u8>>>>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let all = built.get_or_insert_default();
    Arc::clone(all.entry(package.to_owned()).or_insert_with(|| Arc::new(basb_guest_build::build(package))))
}

/// A guest for `wasm32-wasip2`, which Rust makes a component by itself; none where that target is not installed, which is
/// said on standard error.
pub fn wasi_guest(package: &str) -> Option<Arc<Vec<u8>>> {
    type Built = HashMap<String, Option<Arc<Vec<u8>>>>;
    static BUILT: Mutex<Option<Built>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let all = built.get_or_insert_default();
    all.entry(package.to_owned()).or_insert_with(|| build_wasi(package).map(Arc::new)).clone()
}

fn build_wasi(package: &str) -> Option<Vec<u8>> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    let target = target.join("guests");
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--target", "wasm32-wasip2", "--profile", "plugin", "--package", package])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(&workspace)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        assert!(words.contains("may not be installed"), "`{package}` does not build for wasm32-wasip2:\n{words}");
        eprintln!("NOT TESTED: guests for WASI; install the target: rustup target add wasm32-wasip2");
        return None;
    }
    Some(
        std::fs::read(target.join("wasm32-wasip2/plugin").join(format!("{}.wasm", package.replace('-', "_")))).unwrap(),
    )
}

/// What every host of these tests is made of: a test binary is no compiler, so another one compiles.
pub fn options() -> RuntimeOptions {
    RuntimeOptions::new(Capabilities::new(Options::new("/"))).with_compiler(compiler())
}

pub fn compiler() -> Compiler {
    Compiler::at(env!("CARGO_BIN_EXE_basb-compile"))
}

pub fn runtime() -> Runtime {
    Runtime::new(options()).unwrap()
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
