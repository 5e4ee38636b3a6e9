//! What the engine says of containers, as far as it is needed. Keys that are not known are ignored.

use std::collections::BTreeMap;

use basb_cloud_kit::Owner;
use basb_plugin::ServiceRef;
use serde::Deserialize;
use serde_json::Value;

use super::{TAGS, label};

/// A container in a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    state: String,
}

/// A container of this provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its name as the engine has it. What it begins with may be a prefix that was configured before.
    pub name: String,
    /// The revision.
    pub revision: String,
    /// The number of the instance.
    pub instance: u64,
    /// The port of 127.0.0.1 by which it is reached.
    pub port: u16,
    /// What it was made from, as it was written down.
    pub template: String,
    /// The engine's word for its state: `created`, `running`, `exited`, …
    pub state: String,
}

impl Container {
    /// A container that has all labels, and a name that ends as they say.
    pub(super) fn of(listed: Listed) -> Option<Container> {
        let labels = listed.labels?;
        let label = |name: &str| labels.get(name).cloned();
        let name = listed.names.first()?.trim_start_matches('/').to_owned();
        let owner = Owner::from_tags(TAGS, labels.iter().map(|(name, value)| (name.as_str(), value.as_str())))?;
        let (revision, instance) = (owner.revision?, label(label::INSTANCE)?);
        let ServiceRef { deployment, environment, service } = &owner.service;
        let tail = format!(".{deployment}.{environment}.{service}.{revision}.{instance}");
        Some(Container {
            revision,
            instance: instance.parse().ok()?,
            port: label(label::PORT)?.parse().ok()?,
            template: label(label::TEMPLATE)?,
            state: listed.state.to_ascii_lowercase(),
            name: Some(name).filter(|name| name.ends_with(&tail))?,
        })
    }

    /// Whether its program runs, is about to be started again, or has been asked to end and has not yet.
    pub fn is_up(&self) -> bool {
        matches!(self.state.as_str(), "running" | "restarting" | "paused" | "stopping")
    }

    /// The container of an instance, whatever its name begins with. Of two with the same labels, the one that runs.
    pub fn find<'a>(all: &'a [Container], revision: &str, instance: u64) -> Option<&'a Container> {
        let own = all.iter().filter(|one| one.revision == revision && one.instance == instance);
        own.max_by_key(|one| (one.state == "running", one.is_up()))
    }
}

/// Everything about a container.
#[derive(Debug, Clone)]
pub struct Inspected(pub Value);

impl Inspected {
    fn at(&self, pointer: &str) -> Option<&Value> {
        self.0.pointer(pointer).filter(|value| !value.is_null())
    }

    /// A text.
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.at(pointer)?.as_str()
    }

    /// A whole number.
    pub fn number(&self, pointer: &str) -> Option<i64> {
        self.at(pointer)?.as_i64()
    }

    /// Whether something is so; not where nothing is said.
    pub fn is(&self, pointer: &str) -> bool {
        self.at(pointer).and_then(Value::as_bool).unwrap_or(false)
    }

    /// A list of texts; one text is a list of one.
    pub fn texts(&self, pointer: &str) -> Vec<&str> {
        match self.at(pointer) {
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(text)) => vec![text.as_str()],
            _ => Vec::new(),
        }
    }

    /// The engine's word for its state.
    pub fn state(&self) -> &str {
        self.text("/State/Status").unwrap_or("unknown")
    }

    /// What its own check says; nothing where it has none.
    pub fn health(&self) -> Option<&str> {
        self.text("/State/Health/Status").filter(|status| !matches!(*status, "" | "none"))
    }

    /// How often the engine started it again.
    pub fn restarts(&self) -> u32 {
        self.number("/RestartCount").and_then(|count| u32::try_from(count).ok()).unwrap_or(0)
    }

    /// When it stopped, in a form that sorts.
    pub fn finished(&self) -> &str {
        self.text("/State/FinishedAt").unwrap_or_default()
    }

    /// How it ended, in words; nothing where it runs.
    pub fn ended(&self) -> Option<String> {
        let code = self.number("/State/ExitCode").unwrap_or(0);
        let error = self.text("/State/Error").filter(|error| !error.is_empty());
        if self.is("/State/OOMKilled") {
            return Some("it used more memory than it may, and was ended".to_owned());
        }
        match (self.state(), error) {
            (_, Some(error)) => Some(error.to_owned()),
            ("running", None) => None,
            ("restarting" | "exited" | "stopped" | "dead", None) => {
                Some(format!("its program ended with status {code}"))
            }
            (_, None) => None,
        }
    }
}
