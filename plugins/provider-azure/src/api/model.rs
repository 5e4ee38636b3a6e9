//! What Azure answers, as far as it is read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A container app.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct App {
    pub location: Option<String>,
    pub tags: Option<BTreeMap<String, String>>,
    pub identity: Option<Value>,
    pub properties: AppProperties,
}

/// What an app is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AppProperties {
    pub provisioning_state: Option<String>,
    pub managed_environment_id: Option<String>,
    pub environment_id: Option<String>,
    pub workload_profile_name: Option<String>,
    pub latest_revision_name: Option<String>,
    pub latest_ready_revision_name: Option<String>,
    pub configuration: Option<Value>,
    pub template: Option<Value>,
}

/// A line of the table by which requests are shared out.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficWeight {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision_name: Option<String>,
    pub weight: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_revision: Option<bool>,
}

/// A revision of an app.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Revision {
    pub name: String,
    pub properties: RevisionProperties,
}

/// What a revision is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RevisionProperties {
    pub active: Option<bool>,
    pub traffic_weight: Option<u32>,
    pub fqdn: Option<String>,
    pub created_time: Option<String>,
    pub provisioning_state: Option<String>,
    pub provisioning_error: Option<String>,
    pub health_state: Option<String>,
    pub running_state: Option<String>,
    pub template: Option<Value>,
}

/// A replica of a revision.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Replica {
    pub name: String,
    pub properties: ReplicaProperties,
}

/// What a replica is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaProperties {
    pub running_state: Option<String>,
    pub running_state_details: Option<String>,
    pub containers: Option<Vec<ReplicaContainer>>,
}

/// A container of a replica.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaContainer {
    pub name: Option<String>,
    pub ready: Option<bool>,
    pub restart_count: Option<u32>,
    pub running_state: Option<String>,
    pub running_state_details: Option<String>,
}

impl App {
    /// A value of the configuration.
    pub fn configuration(&self, pointer: &str) -> Option<&Value> {
        self.properties.configuration.as_ref()?.pointer(pointer).filter(|value| !value.is_null())
    }

    /// How requests come in; none where nobody is led to the app.
    pub fn ingress(&self) -> Option<&Value> {
        self.configuration("/ingress")
    }

    /// Whether Azure is busy with it.
    pub fn is_busy(&self) -> bool {
        !matches!(self.properties.provisioning_state.as_deref(), None | Some("Succeeded" | "Failed" | "Canceled"))
    }

    /// The table as it is written.
    pub fn traffic(&self) -> Vec<TrafficWeight> {
        let table = self.configuration("/ingress/traffic").cloned();
        table.and_then(|table| serde_json::from_value(table).ok()).unwrap_or_default()
    }
}

impl Revision {
    /// Whether it runs, or tries to.
    pub fn is_active(&self) -> bool {
        self.properties.active.unwrap_or(false)
    }

    /// Whether Azure has given it up.
    pub fn is_hopeless(&self) -> bool {
        let is = |state: &Option<String>, word: &str| state.as_deref() == Some(word);
        is(&self.properties.provisioning_state, "Failed")
            || is(&self.properties.running_state, "Failed")
            || is(&self.properties.running_state, "ActivationFailed")
    }

    /// Whether Azure says that its replicas count: provisioned, not unhealthy, and neither stopped nor failed.
    pub fn is_up(&self) -> bool {
        let properties = &self.properties;
        let provisioned = matches!(properties.provisioning_state.as_deref(), None | Some("Provisioned"));
        let healthy = properties.health_state.as_deref() != Some("Unhealthy");
        let running = !matches!(
            properties.running_state.as_deref(),
            Some("Stopped" | "Failed" | "ActivationFailed" | "Activating")
        );
        self.is_active() && provisioned && healthy && running
    }

    /// How many replicas there are at the least.
    pub fn least(&self) -> u32 {
        let written = self.template().and_then(|template| template.pointer("/scale/minReplicas"));
        written.and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
    }

    /// What runs.
    pub fn template(&self) -> Option<&Value> {
        self.properties.template.as_ref()
    }
}

impl Replica {
    /// Whether it can take requests.
    pub fn is_ready(&self) -> bool {
        let containers = self.properties.containers.as_deref().unwrap_or_default();
        let runs = matches!(self.properties.running_state.as_deref(), None | Some("Running"));
        runs && !containers.is_empty() && containers.iter().all(|container| container.ready == Some(true))
    }
}
