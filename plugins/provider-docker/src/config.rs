//! The configuration of the provider, and the settings of one workload.

use std::collections::BTreeMap;
use std::time::Duration;

use basb_plugin::Failure;
use basb_plugin::config::HumanDuration;
use basb_plugin::provider::Workload;
use serde::{Deserialize, Serialize};

/// The configuration of the provider.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// What the names of all containers begin with.
    pub name_prefix: String,
    /// How containers are reached, unless a workload says otherwise.
    pub network: Network,
    /// The port that a container listens on where it has a network of its own.
    pub port: u16,
    /// How long requests under way on a retired revision may take to finish.
    pub drain: HumanDuration,
    /// How many retired revisions of a service keep their containers, stopped.
    pub retain: u32,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            name_prefix: "basb".to_owned(),
            network: Network::Bridge,
            port: 8080,
            drain: HumanDuration(Duration::from_secs(10)),
            retain: 2,
        }
    }
}

/// How a container is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// It has a network of its own, and one port of it is published on 127.0.0.1.
    Bridge,
    /// It has the machine's network, and listens on the port that it is told.
    Host,
}

impl Network {
    /// The engine's word.
    pub fn word(self) -> &'static str {
        match self {
            Network::Bridge => "bridge",
            Network::Host => "host",
        }
    }
}

/// The settings of one workload.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// Arguments instead of those of the image.
    pub command: Option<Vec<String>>,
    /// The program instead of that of the image.
    pub entrypoint: Option<Vec<String>>,
    /// The folder inside of the container that it starts in.
    pub working_folder: Option<String>,
    /// The user inside of the container.
    pub user: Option<String>,
    /// How it is reached.
    pub network: Option<Network>,
    /// The port that it listens on where it has a network of its own.
    pub port: Option<u16>,
    /// The most processors that it may use.
    pub cpus: Option<f64>,
    /// The most processes.
    pub pids: Option<u32>,
    /// Whether its root file system cannot be written to.
    pub read_only: bool,
    /// Folders in memory.
    pub tmpfs: Vec<String>,
    /// Files and folders of the machine.
    pub mounts: Vec<Mount>,
    /// Named volumes.
    pub volumes: Vec<Mount>,
    /// Linux capabilities taken away.
    pub cap_drop: Option<Vec<String>>,
    /// Linux capabilities added.
    pub cap_add: Vec<String>,
    /// Devices of the machine.
    pub devices: Vec<String>,
    /// Everything of the machine.
    pub privileged: bool,
    /// The processes of the machine.
    pub host_pid: bool,
    /// A check that the engine makes inside of the container.
    pub health: Option<Health>,
    /// Limits of its processes.
    pub ulimits: BTreeMap<String, u64>,
    /// Further labels.
    pub labels: BTreeMap<String, String>,
}

/// Something of the machine, inside of a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mount {
    /// A path of the machine, or the name of a volume.
    pub source: String,
    /// A path in the container.
    pub target: String,
    /// Whether it can be written to.
    #[serde(default)]
    pub writable: bool,
}

/// A check that the engine makes inside of the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Health {
    /// Program and arguments; status 0 is healthy.
    pub command: Vec<String>,
    /// From one check to the next.
    #[serde(default = "ten_seconds")]
    pub interval: HumanDuration,
    /// How long one may take.
    #[serde(default = "five_seconds")]
    pub timeout: HumanDuration,
    /// So many failures in a row are unhealthy.
    #[serde(default = "three")]
    pub retries: u32,
}

fn ten_seconds() -> HumanDuration {
    HumanDuration(Duration::from_secs(10))
}

fn five_seconds() -> HumanDuration {
    HumanDuration(Duration::from_secs(5))
}

fn three() -> u32 {
    3
}

impl Settings {
    /// The settings of a workload.
    ///
    /// # Errors
    /// [`basb_plugin::FailureCode::Invalid`] for a key that is not known or a value that cannot be.
    pub fn of(workload: &Workload) -> Result<Settings, Failure> {
        let settings: Settings = serde_json::from_str(&workload.settings)
            .map_err(|error| Failure::invalid(format!("`settings` of the workload: {error}")).at("/settings"))?;
        let wrong = |path: &str, message: String| Err(Failure::invalid(message).at(format!("/settings/{path}")));
        if let Some(cpus) = settings.cpus
            && !(cpus > 0.0 && cpus <= 4096.0)
        {
            return wrong("cpus", format!("`cpus` is {cpus}: write a number of processors, such as 0.5"));
        }
        let inside = settings.tmpfs.iter().chain(settings.mounts.iter().chain(&settings.volumes).map(|m| &m.target));
        if let Some(path) = inside.chain(&settings.working_folder).find(|path| !path.starts_with('/')) {
            return wrong("mounts", format!("`{path}` is not a path in a container: begin it with `/`"));
        }
        if let Some(mount) = settings.mounts.iter().find(|mount| !mount.source.starts_with('/')) {
            return wrong(
                "mounts",
                format!("`{}` is not a path of the machine; a volume goes below `volumes`", mount.source),
            );
        }
        if let Some(label) = settings.labels.keys().find(|label| label.starts_with("basb-host:")) {
            return wrong("labels", format!("`{label}` is a label of basb-host's own"));
        }
        if settings.health.as_ref().is_some_and(|health| health.command.is_empty()) {
            return wrong("health/command", "the command of the check is empty".to_owned());
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Settings, Failure> {
        let workload = Workload {
            command: Vec::new(),
            image: Some("x".to_owned()),
            working_folder: None,
            env: Vec::new(),
            ready: basb_plugin::provider::Readiness::Tcp,
            min_ready: Duration::ZERO,
            stop_grace: Duration::ZERO,
            memory_limit: None,
            settings: text.to_owned(),
        };
        Settings::of(&workload)
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place() {
        assert!(settings("{}").is_ok());
        for (text, path, said) in [
            (r#"{"privileged":"yes"}"#, "/settings", "invalid type"),
            (r#"{"priviledged":true}"#, "/settings", "unknown field"),
            (r#"{"cpus":0}"#, "/settings/cpus", "0.5"),
            (r#"{"tmpfs":["tmp"]}"#, "/settings/mounts", "begin it with"),
            (r#"{"mounts":[{"source":"vault","target":"/vault"}]}"#, "/settings/mounts", "below `volumes`"),
            (r#"{"labels":{"basb-host:service":"x"}}"#, "/settings/labels", "basb-host's own"),
            (r#"{"health":{"command":[]}}"#, "/settings/health/command", "empty"),
        ] {
            let failure = settings(text).unwrap_err();
            assert_eq!(failure.path.as_deref(), Some(path), "{text}");
            assert!(failure.message.contains(said), "{text}: {failure}");
        }
    }
}
