//! What Cloud Run answers with, as far as this provider reads it. What it does not read is left alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a target of traffic says when it names a revision.
const BY_REVISION: &str = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION";

/// The last part of a name: `projects/p/…/revisions/web-r1` is `web-r1`.
pub fn short(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// A service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Service {
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub generation: String,
    pub observed_generation: String,
    pub reconciling: bool,
    pub terminal_condition: Condition,
    pub conditions: Vec<Condition>,
    pub ingress: Option<String>,
    pub invoker_iam_disabled: bool,
    pub template: Value,
    pub traffic: Vec<TrafficTarget>,
    pub traffic_statuses: Vec<TrafficStatus>,
    pub latest_created_revision: String,
    pub latest_ready_revision: String,
    pub uri: String,
    pub etag: String,
}

/// A revision.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Revision {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub conditions: Vec<Condition>,
    pub create_time: String,
    pub log_uri: String,
    /// Everything else: what it runs.
    #[serde(flatten)]
    pub content: Map<String, Value>,
}

/// How something stands.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    pub state: String,
    pub message: String,
    pub reason: Option<String>,
    pub revision_reason: Option<String>,
}

impl Condition {
    /// What it says, with Google's word for it.
    pub fn said(&self) -> String {
        let reason = self.reason.as_ref().or(self.revision_reason.as_ref());
        match (self.message.as_str(), reason) {
            ("", None) => "Cloud Run does not say why".to_owned(),
            ("", Some(reason)) => reason.clone(),
            (message, None) => message.to_owned(),
            (message, Some(reason)) => format!("{message} ({reason})"),
        }
    }
}

/// Where a part of the traffic should go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficTarget {
    #[serde(rename = "type")]
    pub kind: String,
    pub revision: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub percent: u16,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tag: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_zero(number: &u16) -> bool {
    *number == 0
}

impl TrafficTarget {
    /// To a revision.
    pub fn to(revision: &str, percent: u16, tag: &str) -> TrafficTarget {
        TrafficTarget { kind: BY_REVISION.into(), revision: revision.to_owned(), percent, tag: tag.to_owned() }
    }
}

/// Where a part of the traffic goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficStatus {
    pub revision: String,
    pub percent: u16,
    pub tag: String,
    pub uri: String,
}

/// Something that goes on.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Operation {
    pub name: String,
    pub done: bool,
    pub error: Option<OperationError>,
}

/// Why it came to nothing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct OperationError {
    pub code: i64,
    pub message: String,
}
