//! What the containers of a revision are made from, and whether one that is there is still that.
//!
//! It is written down in a label of each container, so that a revision can be scaled up without being told once more what it
//! is, also by a host that has lost its journal. Placeholders of secrets are written in another form there: what the host puts
//! into a request it would put into the label too.

use std::collections::BTreeMap;

use basb_cloud_kit::{Differences, Owner};
use basb_plugin::config::HumanDuration;
use basb_plugin::provider::{Change, Desired};
use basb_plugin::{Failure, ServiceRef};
use basb_plugin_agent::{Ready, check_segment};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::config::{Config, Health, Mount, Network, Settings};
use crate::engine::{Container, Inspected, TAGS, label};

/// The version of the form in which it is written down.
const VERSION: u32 = 1;
/// What stands for a secret begins with this.
const SECRET: &str = "__basb.secret.";
/// Stands for the dot in it in a label.
const DOT: char = '§';
const PIDS: u32 = 512;

/// What the containers of a revision are made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Template {
    version: u32,
    image: String,
    command: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    working_folder: Option<String>,
    user: Option<String>,
    env: BTreeMap<String, String>,
    network: Network,
    port: u16,
    memory: Option<u64>,
    nano_cpus: Option<u64>,
    pids: u32,
    read_only: bool,
    tmpfs: Vec<String>,
    mounts: Vec<Mount>,
    volumes: Vec<Mount>,
    cap_drop: Vec<String>,
    cap_add: Vec<String>,
    devices: Vec<String>,
    privileged: bool,
    host_pid: bool,
    health: Option<Health>,
    ulimits: BTreeMap<String, u64>,
    labels: BTreeMap<String, String>,
    stop_seconds: u64,
    /// How the agent tells that one is ready.
    pub ready: Ready,
}

/// The names of a revision's containers.
#[derive(Debug, Clone)]
pub struct Names {
    stem: String,
    labels: Vec<(String, String)>,
}

impl Names {
    /// Those of a revision.
    ///
    /// # Errors
    /// [`basb_plugin::FailureCode::Invalid`] for a name that would mean something else in a URL.
    pub fn of(config: &Config, service: &ServiceRef, revision: &str) -> Result<Names, Failure> {
        let parts = [&config.name_prefix, &service.deployment, &service.environment, &service.service];
        for part in parts.into_iter().map(String::as_str).chain([revision]) {
            check_segment(part)?;
        }
        // A dot is in none of the parts, so no two services have one name.
        let stem = parts.map(String::as_str).join(".");
        let labels = Owner::of_revision(service, revision).tags(TAGS);
        Ok(Names { stem: format!("{stem}.{revision}"), labels })
    }

    /// The name of a new one.
    pub fn name(&self, instance: u64) -> String {
        format!("{}.{instance}", self.stem)
    }

    /// The name of the one that is there, which keeps the prefix that it was made with; otherwise that of a new one.
    pub fn of_instance(&self, containers: &[Container], revision: &str, instance: u64) -> String {
        Container::find(containers, revision, instance).map_or_else(|| self.name(instance), |there| there.name.clone())
    }
}

impl Template {
    /// That of a revision.
    ///
    /// # Errors
    /// [`basb_plugin::FailureCode::Invalid`] for what no container can be.
    pub fn of(config: &Config, desired: &Desired) -> Result<Template, Failure> {
        let workload = &desired.workload;
        let Some(image) = workload.image.clone() else {
            return Err(Failure::invalid(
                "the docker provider runs container images: give the service an `image` (and `command: null` in an \
                 environment's override; arguments go below `settings`)",
            )
            .at("/image"));
        };
        if let Some(folder) = &workload.working_folder {
            let message = format!(
                "`workingFolder` ({folder}) is a folder of this machine: remove it (`workingFolder: null` in an environment's \
                 override), and name one of the container below `settings`"
            );
            return Err(Failure::invalid(message).at("/workingFolder"));
        }
        let settings = Settings::of(workload)?;
        let nano = |cpus: f64| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was checked")]
            let nano = (cpus * 1e9).round() as u64;
            nano
        };
        Ok(Template {
            version: VERSION,
            image,
            command: settings.command,
            entrypoint: settings.entrypoint,
            working_folder: settings.working_folder,
            user: settings.user,
            env: workload.env.iter().cloned().collect(),
            network: settings.network.unwrap_or(config.network),
            port: settings.port.unwrap_or(config.port),
            memory: workload.memory_limit,
            nano_cpus: settings.cpus.map(nano),
            pids: settings.pids.unwrap_or(PIDS),
            read_only: settings.read_only,
            tmpfs: settings.tmpfs,
            mounts: settings.mounts,
            volumes: settings.volumes,
            cap_drop: settings.cap_drop.unwrap_or_else(|| vec!["ALL".to_owned()]),
            cap_add: settings.cap_add,
            devices: settings.devices,
            privileged: settings.privileged,
            host_pid: settings.host_pid,
            health: settings.health,
            ulimits: settings.ulimits,
            labels: settings.labels,
            stop_seconds: workload.stop_grace.as_millis().div_ceil(1_000).try_into().unwrap_or(u64::MAX),
            ready: Ready::of(workload),
        })
    }

    /// The image.
    pub fn image(&self) -> &str {
        &self.image
    }

    /// As it is written down.
    pub fn text(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        text.replace(DOT, "§§").replace("__basb.", "__basb§")
    }

    /// From what was written down; nothing where that was another version, or somebody else.
    pub fn read(text: &str) -> Option<Template> {
        let mut plain = String::new();
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            plain.push(match c {
                DOT if rest.next_if_eq(&DOT).is_some() => DOT,
                DOT => '.',
                other => other,
            });
        }
        serde_json::from_str::<Template>(&plain).ok().filter(|template| template.version == VERSION)
    }

    /// The port that an instance listens on, where this one of the machine leads to it.
    fn inner_port(&self, port: u16) -> u16 {
        match self.network {
            Network::Host => port,
            Network::Bridge => self.port,
        }
    }

    fn env(&self, port: u16) -> Vec<String> {
        let inner = self.inner_port(port).to_string();
        let host = match self.network {
            // Nobody else is to reach it but by the proxy.
            Network::Host => "127.0.0.1",
            Network::Bridge => "0.0.0.0",
        };
        let mut env = BTreeMap::from([("PORT".to_owned(), inner.clone()), ("HOST".to_owned(), host.to_owned())]);
        env.extend(self.env.iter().map(|(name, value)| (name.clone(), value.replace("{port}", &inner))));
        env.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    fn with_port(&self, words: &Option<Vec<String>>, port: u16) -> Option<Vec<String>> {
        let inner = self.inner_port(port).to_string();
        Some(words.as_ref()?.iter().map(|word| word.replace("{port}", &inner)).collect())
    }

    /// The body that makes one, of which this port of the machine is.
    pub fn body(&self, names: &Names, instance: u64, port: u16) -> Value {
        let mut labels: BTreeMap<&str, String> =
            names.labels.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        labels.insert(label::INSTANCE, instance.to_string());
        labels.insert(label::PORT, port.to_string());
        labels.insert(label::TEMPLATE, self.text());
        labels.extend(self.labels.iter().map(|(name, value)| (name.as_str(), value.clone())));
        let mut body = Map::new();
        let mut put = |key: &str, value: Value| {
            if !value.is_null() {
                body.insert(key.to_owned(), value);
            }
        };
        put("Image", json!(self.image));
        put("Cmd", json!(self.with_port(&self.command, port)));
        put("Entrypoint", json!(self.with_port(&self.entrypoint, port)));
        put("Env", json!(self.env(port)));
        put("Labels", json!(labels));
        put("User", json!(self.user));
        put("WorkingDir", json!(self.working_folder));
        put("StopTimeout", json!(self.stop_seconds));
        if self.network == Network::Bridge {
            put("ExposedPorts", json!({ format!("{}/tcp", self.port): {} }));
        }
        if let Some(health) = &self.health {
            let nanos = |duration: HumanDuration| u64::try_from(duration.0.as_nanos()).unwrap_or(u64::MAX);
            let test: Vec<&str> = std::iter::once("CMD").chain(health.command.iter().map(String::as_str)).collect();
            put(
                "Healthcheck",
                json!({ "Test": test, "Interval": nanos(health.interval), "Timeout": nanos(health.timeout), "Retries": health.retries }),
            );
        }
        put("HostConfig", self.host_config(port));
        Value::Object(body)
    }

    fn host_config(&self, port: u16) -> Value {
        let mut host = Map::new();
        let mut put = |key: &str, value: Value| {
            let empty = value.as_array().is_some_and(Vec::is_empty);
            if !value.is_null() && !empty {
                host.insert(key.to_owned(), value);
            }
        };
        put("NetworkMode", json!(self.network.word()));
        // Crashes are the engine's to mend; what was stopped stays stopped.
        put("RestartPolicy", json!({ "Name": "unless-stopped" }));
        put("Memory", json!(self.memory));
        put("MemorySwap", json!(self.memory));
        put("NanoCpus", json!(self.nano_cpus));
        put("PidsLimit", json!(self.pids));
        if self.read_only {
            put("ReadonlyRootfs", json!(true));
        }
        if self.privileged {
            put("Privileged", json!(true));
        } else {
            put("CapDrop", json!(self.cap_drop));
            put("SecurityOpt", json!(["no-new-privileges"]));
        }
        put("CapAdd", json!(self.cap_add));
        if self.host_pid {
            put("PidMode", json!("host"));
        }
        let mount = |kind: &str, mount: &Mount| json!({ "Type": kind, "Source": mount.source, "Target": mount.target, "ReadOnly": !mount.writable });
        let mounts =
            self.mounts.iter().map(|m| mount("bind", m)).chain(self.volumes.iter().map(|m| mount("volume", m)));
        let memory = self.tmpfs.iter().map(|target| json!({ "Type": "tmpfs", "Target": target }));
        put("Mounts", mounts.chain(memory).collect());
        let device = |path: &String| json!({ "PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rw" });
        put("Devices", self.devices.iter().map(device).collect());
        let limit = |(name, most): (&String, &u64)| json!({ "Name": name, "Soft": most, "Hard": most });
        put("Ulimits", self.ulimits.iter().map(limit).collect());
        if self.network == Network::Bridge {
            let here = json!([{ "HostIp": "127.0.0.1", "HostPort": port.to_string() }]);
            put("PortBindings", json!({ format!("{}/tcp", self.port): here }));
        }
        Value::Object(host)
    }

    /// What it is made of, for a plan: of the environment, the names only, since a plan is read by more people.
    pub fn shown(&self) -> Vec<Change> {
        let mut all = vec![added("image", self.image.clone()), added("network", self.network.word().to_owned())];
        let mut add = |path: &str, value: Option<String>| all.extend(value.map(|value| added(path, value)));
        let words = |words: &Option<Vec<String>>| words.as_ref().map(|words| words.join(" "));
        add("settings.command", words(&self.command));
        add("settings.entrypoint", words(&self.entrypoint));
        add("env", listed(self.env.keys()));
        add("memoryLimit", self.memory.map(|bytes| bytes.to_string()));
        add("settings.mounts", listed(self.mounts.iter().map(|mount| &mount.source)));
        add("settings.volumes", listed(self.volumes.iter().map(|mount| &mount.source)));
        add("settings.capAdd", listed(&self.cap_add));
        add("settings.devices", listed(&self.devices));
        add("settings.privileged", self.privileged.then(|| "true".to_owned()));
        all
    }

    /// In which way a container is not what would be made of this: somebody changed it, or made it anew.
    pub fn differences(&self, port: u16, there: &Inspected) -> Vec<Change> {
        let mut all = Differences::new();
        let mut differ = |path: &str, before: String, after: String| all.value(path, Some(before), Some(after));
        let image = there.text("/Config/Image").unwrap_or_default();
        // Podman writes the registry in front.
        if !image.ends_with(&format!("/{}", self.image)) {
            differ("image", image.to_owned(), self.image.clone());
        }
        if let Some(command) = self.with_port(&self.command, port) {
            differ("settings.command", there.texts("/Config/Cmd").join(" "), command.join(" "));
        }
        if let Some(entrypoint) = self.with_port(&self.entrypoint, port) {
            differ("settings.entrypoint", there.texts("/Config/Entrypoint").join(" "), entrypoint.join(" "));
        }
        let set = there.texts("/Config/Env");
        for line in self.env(port) {
            let name = line.split('=').next().unwrap_or_default();
            // What stands for a secret is something else there, and is not shown.
            if !line.contains(SECRET) && !set.contains(&line.as_str()) {
                differ(&format!("env.{name}"), "another value, or none".to_owned(), "as in the file".to_owned());
            }
        }
        let number = |pointer: &str| there.number(pointer).unwrap_or(0).to_string();
        differ("memoryLimit", number("/HostConfig/Memory"), self.memory.unwrap_or(0).to_string());
        differ("settings.pids", number("/HostConfig/PidsLimit"), self.pids.to_string());
        let flag = |value: bool| value.to_string();
        differ("settings.privileged", flag(there.is("/HostConfig/Privileged")), flag(self.privileged));
        differ("settings.readOnly", flag(there.is("/HostConfig/ReadonlyRootfs")), flag(self.read_only));
        let host_network = there.text("/HostConfig/NetworkMode") == Some("host");
        let network = if host_network { Network::Host } else { Network::Bridge };
        differ("network", network.word().to_owned(), self.network.word().to_owned());
        let host_pid = there.text("/HostConfig/PidMode") == Some("host");
        differ("settings.hostPid", flag(host_pid), flag(self.host_pid));
        let restart = there.text("/HostConfig/RestartPolicy/Name").unwrap_or_default();
        differ("restart policy", restart.to_owned(), "unless-stopped".to_owned());
        all.into_changes()
    }
}

fn added(path: &str, after: String) -> Change {
    Change { path: path.to_owned(), before: None, after: Some(after) }
}

/// Names with commas between; nothing for none.
fn listed<'a>(names: impl IntoIterator<Item = &'a String>) -> Option<String> {
    let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    (!names.is_empty()).then(|| names.join(", "))
}
