//! What names a plan: a digest of everything that decides what a run will do.

use super::{RunStart, ServiceStart};
use crate::model::Deployment;
use crate::{Digest, PluginName, ServiceName};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The digest of a plan: of the deployment as read, of what each service is to get, from which stable revision and in
/// which way, and of every plugin by its identity. Approvals name it, so that one for another plan is worth nothing.
///
/// What the provider says about a change is no part of it: the same intention has the same digest whatever is there.
#[must_use]
pub fn plan_digest(
    deployment: &Deployment,
    services: &BTreeMap<ServiceName, ServiceStart>,
    plugins: &BTreeMap<PluginName, String>,
) -> Digest {
    let services: BTreeMap<&ServiceName, Value> = services
        .iter()
        .map(|(name, start)| {
            let stable = start.stable.as_ref().map(|s| json!({ "revision": s.revision, "replicas": s.replicas }));
            (name, json!({ "candidate": start.candidate, "stable": stable, "mode": start.mode }))
        })
        .collect();
    let whole = json!({ "planFormat": 1, "deployment": deployment, "services": services, "plugins": plugins });
    Digest::of(canonical(whole).to_string().as_bytes())
}

impl RunStart {
    /// The digest of its plan: the one that was written down, or that of what was.
    #[must_use]
    pub fn plan_digest(&self) -> Digest {
        self.plan.clone().unwrap_or_else(|| plan_digest(&self.deployment, &self.services, &self.plugins))
    }
}

/// The same value with the keys of every object in order.
fn canonical(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<String, Value> = map.into_iter().map(|(key, value)| (key, canonical(value))).collect();
            Value::Object(sorted.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(canonical).collect()),
        other => other,
    }
}
