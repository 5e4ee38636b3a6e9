//! A host with hostile guests, a neighbour that behaves, and a victim that nothing must reach.

use crate::guests;
use crate::neighbour::Neighbour;
use crate::server::Server;
use basb_capabilities::{Capabilities, Grants, Options};
use basb_core::{PluginName, Timestamp};
use basb_guest_script::{Report, Script, Seen, Step};
use basb_runtime::wit::notifier::{Event, Receipt};
use basb_runtime::wit::probe::{Measurement, Target};
use basb_runtime::wit::types::{Failure, Severity};
use basb_runtime::worlds::context;
use basb_runtime::{
    CacheFolder, CallError, CallOptions, Called, Kind, LoadError, LoadRequest, Plugin, Runtime, RuntimeOptions,
};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// The name of every hostile plugin.
pub const NAME: &str = "hostile";

/// Longer than anything takes that is not hostile.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A host with hostile guests, a neighbour, and a victim.
pub struct Lab {
    /// The host.
    pub runtime: Runtime,
    /// Lives in the same host.
    pub neighbour: Neighbour,
    /// Whatever reaches it is a failure of the case.
    pub victim: Server,
    folder: PathBuf,
    temporary: TempDir,
}

impl Lab {
    /// Sets everything up.
    pub async fn new(folder: &Path) -> Self {
        let temporary = tempfile::Builder::new().prefix("basb-hostile-").tempdir().unwrap();
        let runtime = runtime(folder, Options::new(temporary.path()));
        let neighbour = Neighbour::new(&runtime, &guests::read(folder, "guest-misbehave")).await;
        let victim = Server::friendly().await;
        Self { runtime, neighbour, victim, folder: folder.to_owned(), temporary }
    }

    /// A host of its own kind for this case, beside the other one.
    pub fn runtime_with(&self, change: impl FnOnce(&mut Options)) -> Runtime {
        let mut options = Options::new(self.temporary.path());
        change(&mut options);
        runtime(&self.folder, options)
    }

    /// A folder of this case's own; relative paths in grants start from it.
    pub fn base(&self) -> &Path {
        self.temporary.path()
    }

    /// The folder that all cases share: guests, compiled code, the first release.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The guest of a package.
    pub fn guest(&self, package: &str) -> Vec<u8> {
        guests::read(&self.folder, package)
    }

    /// Loads a plugin.
    pub fn load(&self, bytes: &[u8], kind: Kind, grants: &Value) -> Result<Plugin, LoadError> {
        self.runtime.load_blocking(bytes, request(kind, grants))
    }

    /// The probe that does what its script says. What is not in the grants leads nowhere.
    pub fn probe(&self, grants: &Value) -> Plugin {
        self.probe_in(&self.runtime, grants)
    }

    /// The same in another host.
    pub fn probe_in(&self, runtime: &Runtime, grants: &Value) -> Plugin {
        let mut all = nowhere(&["http", "tcp", "exec"]);
        all.as_object_mut().unwrap().extend(grants.as_object().unwrap().clone());
        runtime.load_blocking(&self.guest("guest-hostile-probe"), request(Kind::Probe, &all)).unwrap()
    }

    /// The probe that brings its own HTTP client and does what its script says.
    pub fn wasi_in(&self, runtime: &Runtime, grants: &Value) -> Plugin {
        let mut all = nowhere(&["http"]);
        all.as_object_mut().unwrap().extend(grants.as_object().unwrap().clone());
        runtime.load_blocking(&self.guest("guest-hostile-wasi"), request(Kind::Probe, &all)).unwrap()
    }

    /// The notifier that does what its script says.
    pub fn notifier(&self, grants: &Value) -> Plugin {
        self.notifier_in(&self.runtime, grants)
    }

    /// The same in another host.
    pub fn notifier_in(&self, runtime: &Runtime, grants: &Value) -> Plugin {
        let mut all = nowhere(&["http", "smtp", "files"]);
        all.as_object_mut().unwrap().extend(grants.as_object().unwrap().clone());
        runtime.load_blocking(&self.guest("guest-hostile-notifier"), request(Kind::Notifier, &all)).unwrap()
    }
}

fn runtime(folder: &Path, options: Options) -> Runtime {
    let cache = CacheFolder::open(folder.join("code")).unwrap();
    Runtime::new(RuntimeOptions::new(Capabilities::new(options)).with_cache(cache)).unwrap()
}

/// What a plugin is loaded with.
pub fn request(kind: Kind, grants: &Value) -> LoadRequest {
    LoadRequest {
        name: PluginName::new(NAME).unwrap(),
        kind,
        grants: Grants::parse(grants).unwrap_or_else(|problems| panic!("{problems:?}")),
        credentials: Vec::new(),
    }
}

/// Grants that let a guest with these imports load and lead nowhere.
fn nowhere(capabilities: &[&str]) -> Value {
    let all = serde_json::json!({
        "http": [{"host": "nowhere.invalid"}],
        "tcp": [{"host": "nowhere.invalid", "port": 1}],
        "exec": [{"program": "nothing", "path": "/nonexistent"}],
        "files": [{"folder": "nothing", "path": "./nothing", "access": "read"}],
        "smtp": [{"server": "nobody", "host": "nowhere.invalid", "port": 25}],
    });
    let chosen = all.as_object().unwrap().iter().filter(|(name, _)| capabilities.contains(&name.as_str()));
    Value::Object(chosen.map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// Options of a call that may take long.
pub fn patient() -> CallOptions {
    CallOptions::new(PATIENCE)
}

/// What a probe is pointed at.
pub fn target(url: &str) -> Target {
    Target { service: "capture".to_owned(), revision: None, url: url.to_owned(), extras: Vec::new() }
}

/// One call of a probe.
pub async fn check(
    plugin: &Plugin,
    options: &CallOptions,
    config: &str,
    url: &str,
) -> Result<Called<Measurement>, CallError> {
    let cx = context(Timestamp(1_700_000_000_000), options, config);
    plugin.probe().unwrap().check(options, cx, target(url)).await
}

/// Has the scripted probe do something; what it tells of it.
pub async fn play(plugin: &Plugin, script: &Script) -> Result<Vec<Seen>, CallError> {
    play_as(plugin, &patient(), script).await
}

/// The same with other options.
pub async fn play_as(plugin: &Plugin, options: &CallOptions, script: &Script) -> Result<Vec<Seen>, CallError> {
    let config = serde_json::to_string(script).unwrap();
    let called = check(plugin, options, &config, "http://target.invalid").await?;
    Ok(report(&called.value.summary).steps)
}

/// Has the scripted notifier do something; what it tells of it.
pub async fn deliver(plugin: &Plugin, steps: Vec<Step>) -> Result<Vec<Seen>, CallError> {
    let called = notify(plugin, &patient(), &Script { steps, ..Script::default() }).await?;
    Ok(report(&called.value.map_err(|failure| format!("{failure:?}")).unwrap().summary).steps)
}

/// One call of the scripted notifier.
pub async fn notify(
    plugin: &Plugin,
    options: &CallOptions,
    script: &Script,
) -> Result<Called<Result<Receipt, Failure>>, CallError> {
    let cx = context(Timestamp(1_700_000_000_000), options, serde_json::to_string(script).unwrap());
    let event = Event {
        key: "k".to_owned(),
        at: 1_700_000_000_000,
        kind: "run.finished".to_owned(),
        severity: Severity::Info,
        deployment: "lab".to_owned(),
        environment: "local".to_owned(),
        run: "r".to_owned(),
        service: None,
        revision: None,
        title: "a run is finished".to_owned(),
        data: "{}".to_owned(),
    };
    plugin.notifier().unwrap().notify(options, cx, event).await
}

/// Reads what a scripted guest told.
pub fn report(summary: &str) -> Report {
    serde_json::from_str(summary).unwrap_or_else(|error| panic!("{error}: {summary}"))
}

/// A script of these steps.
pub fn script(steps: Vec<Step>) -> Script {
    Script { steps, ..Script::default() }
}
