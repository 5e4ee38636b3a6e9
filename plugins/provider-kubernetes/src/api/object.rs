//! Objects, as far as they are looked at.

use std::collections::BTreeMap;

use basb_plugin::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// An object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Object {
    pub metadata: Meta,
    pub spec: Value,
    pub status: Value,
    /// Of Endpoints.
    pub subsets: Option<Vec<Subset>>,
}

/// Addresses that a Service leads to.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Subset {
    pub addresses: Option<Vec<Address>>,
}

/// An address that a Service leads to.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Address {
    pub target_ref: TargetRef,
}

/// The pod behind an address.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct TargetRef {
    pub name: String,
}

/// What every object has.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Meta {
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    pub generation: u64,
    pub deletion_timestamp: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

/// How a Deployment comes along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progressing {
    /// It does, or has arrived.
    Yes,
    /// Kubernetes has given up, and says why.
    GivenUp(String),
}

impl Object {
    /// Whether it is being removed.
    pub fn is_going(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// A whole number at a pointer below the object's `spec` or `status`; none is zero.
    fn number(part: &Value, pointer: &str) -> u32 {
        part.pointer(pointer).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
    }

    /// How many pods a Deployment should have: one where nothing says it.
    pub fn replicas(&self) -> u32 {
        if self.spec.get("replicas").is_none() { 1 } else { Self::number(&self.spec, "/replicas") }
    }

    /// How many pods it has, of whatever template.
    pub fn present(&self) -> u32 {
        Self::number(&self.status, "/replicas")
    }

    /// Whether the status is about what is written, and not about what was before.
    pub fn is_current(&self) -> bool {
        self.status.get("observedGeneration").and_then(Value::as_u64).unwrap_or(0) >= self.metadata.generation
    }

    /// How many pods of what is written can take requests. Nothing is known before the controller has looked.
    pub fn available(&self) -> u32 {
        if !self.is_current() {
            return 0;
        }
        Self::number(&self.status, "/availableReplicas").min(Self::number(&self.status, "/updatedReplicas"))
    }

    /// Whether a Deployment is given up: by Kubernetes, or because it has been without enough pods for longer than its
    /// deadline. Kubernetes itself looks at no deadline once a Deployment was complete, and one of no pods is.
    pub fn progressing(&self, now: Timestamp) -> Progressing {
        if !self.is_current() {
            return Progressing::Yes;
        }
        let given_up = condition(&self.status, "Progressing")
            .filter(|found| found.status == "False" && found.reason == "ProgressDeadlineExceeded");
        match given_up {
            Some(found) => Progressing::GivenUp(found.message),
            None => self.lacking(now).map_or(Progressing::Yes, Progressing::GivenUp),
        }
    }

    fn lacking(&self, now: Timestamp) -> Option<String> {
        let found = condition(&self.status, "Available").filter(|found| found.status == "False")?;
        let deadline = self.spec.get("progressDeadlineSeconds").and_then(Value::as_u64)?;
        let waited = now.since(super::time::read(&found.last_transition_time)?).as_secs();
        (waited > deadline).then(|| format!("{} For {waited} s, and the deadline is {deadline} s.", found.message))
    }

    /// The selector of a Service, or the labels that a Deployment selects its pods by.
    pub fn selector(&self) -> BTreeMap<String, String> {
        let found = self.spec.pointer("/selector/matchLabels").or_else(|| self.spec.get("selector"));
        found.and_then(|found| serde_json::from_value(found.clone()).ok()).unwrap_or_default()
    }

    /// The names of the pods that Endpoints lead to.
    pub fn pods_behind(&self) -> Vec<&str> {
        let subsets = self.subsets.iter().flatten();
        let addresses = subsets.flat_map(|subset| subset.addresses.iter().flatten());
        addresses.map(|address| address.target_ref.name.as_str()).collect()
    }

    /// The labels of the pods that a Deployment makes.
    pub fn pod_labels(&self) -> BTreeMap<String, String> {
        let found = self.spec.pointer("/template/metadata/labels");
        found.and_then(|found| serde_json::from_value(found.clone()).ok()).unwrap_or_default()
    }
}

/// A condition.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
    pub reason: String,
    pub message: String,
    pub observed_generation: u64,
    pub last_transition_time: String,
}

/// The condition of this type.
pub fn condition(status: &Value, kind: &str) -> Option<Condition> {
    let all = status.get("conditions").and_then(Value::as_array);
    let found = all.into_iter().flatten().find(|condition| condition.get("type").is_some_and(|of| of == kind))?;
    serde_json::from_value(found.clone()).ok()
}
