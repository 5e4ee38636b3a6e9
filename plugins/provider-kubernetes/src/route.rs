//! Routes: the one that users' requests go by, and the one of each revision alone.

use basb_cloud_kit::Owner;
use basb_plugin::Failure;
use serde_json::{Value, json};

use crate::api::{Kind, Object, RouteVersion};
use crate::cluster::Cluster;
use crate::config::Preview;
use crate::names;
use crate::template::{set, set_at};

/// A Service that a route leads to, and its weight.
pub type Backend = (String, u64);

/// What a route of ours leads to; a Service that is not named has the weight 1.
pub fn backends(route: &Object) -> Vec<Backend> {
    let all = route.spec.pointer("/rules/0/backendRefs").and_then(Value::as_array);
    all.into_iter()
        .flatten()
        .filter_map(|backend| {
            let name = backend.get("name")?.as_str()?.to_owned();
            Some((name, backend.get("weight").and_then(Value::as_u64).unwrap_or(1)))
        })
        .collect()
}

impl Cluster<'_> {
    /// Which requests are for the service.
    ///
    /// # Errors
    /// [`basb_plugin::FailureCode::Invalid`] where nothing tells.
    pub fn require_conditions(&self) -> Result<(), Failure> {
        if self.written.route.is_some() || !self.written.hosts.is_empty() || !self.written.paths.is_empty() {
            return Ok(());
        }
        let name = &self.service.service;
        Err(Failure::invalid(format!(
            "nothing says which requests at the gateway are for {name}: write `hosts` or `paths` below `services.{name}`, or \
             the `route` that leads to it"
        ))
        .at(format!("/services/{name}")))
    }

    fn matches(&self, header: Option<Value>) -> Vec<Value> {
        let every = vec!["/".to_owned()];
        let paths = if self.written.paths.is_empty() { &every } else { &self.written.paths };
        paths
            .iter()
            .map(|path| {
                let mut found = json!({"path": {"type": "PathPrefix", "value": path}});
                if let Some(header) = &header {
                    set(&mut found, "headers", json!([header]));
                }
                found
            })
            .collect()
    }

    fn route(
        &self,
        version: RouteVersion,
        (name, owner): (&str, &Owner),
        hosts: &[String],
        matches: Vec<Value>,
        backends: &[Backend],
    ) -> Value {
        let mut whole = self.head(Kind::Route(version), name, names::labels(owner));
        let refs = backend_refs(backends, self.config.service_port);
        let parents = self.config.gateway.as_ref().map(|gateway| json!(gateway.parent_refs)).unwrap_or_default();
        let mut spec = json!({"parentRefs": parents, "rules": [{"matches": matches, "backendRefs": refs}]});
        if !hosts.is_empty() {
            set(&mut spec, "hostnames", json!(hosts));
        }
        set(&mut whole, "spec", spec);
        whole
    }

    /// The route that users' requests go by, with these shares.
    pub fn users_route(&self, version: RouteVersion, backends: &[Backend]) -> Value {
        let owner = Owner::of_service(self.service);
        let name = names::of_service(self.service);
        self.route(version, (&name, &owner), &self.written.hosts, self.matches(None), backends)
    }

    /// The route to a revision alone: by its host, or at the service's own hosts and paths by a header.
    pub fn revision_route(&self, version: RouteVersion, revision: &str) -> Value {
        let owner = Owner::of_revision(self.service, revision);
        let name = names::of_revision(self.service, revision);
        let backend = [(name.clone(), 1)];
        if let Some(Preview { host: Some(host), .. }) = &self.config.preview {
            let hosts = [self.filled(host, revision)];
            return self.route(version, (&name, &owner), &hosts, self.matches(None), &backend);
        }
        let value = format!("{}.{revision}", self.service.service);
        let header = json!({"type": "Exact", "name": names::HEADER, "value": value});
        self.route(version, (&name, &owner), &self.written.hosts, self.matches(Some(header)), &backend)
    }

    /// The change that gives a route that is not ours these shares, and nothing else.
    ///
    /// # Errors
    /// [`basb_plugin::FailureCode::Conflict`] where it has not exactly one rule: which one is meant is not told.
    pub fn foreign_route_change(&self, route: &Object, backends: &[Backend]) -> Result<Value, Failure> {
        let rules = route.spec.get("rules").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let [rule] = rules else {
            return Err(Failure::conflict(format!(
                "the route {} has {} rules: one that basb-host changes has exactly one",
                route.metadata.name,
                rules.len()
            )));
        };
        let mut rule = rule.clone();
        // What was there keeps its port.
        let there = rule.get("backendRefs").and_then(Value::as_array).cloned().unwrap_or_default();
        let refs: Vec<Value> = backend_refs(backends, self.config.service_port)
            .into_iter()
            .map(|wanted| {
                let same = |old: &&Value| old.get("name") == wanted.get("name");
                match there.iter().find(same) {
                    Some(old) => {
                        let mut kept = old.clone();
                        set(&mut kept, "weight", wanted.get("weight").cloned().unwrap_or_default());
                        kept
                    }
                    None => wanted,
                }
            })
            .collect();
        set(&mut rule, "backendRefs", json!(refs));
        let mut change = json!({});
        set_at(&mut change, "spec", "rules", json!([rule]));
        Ok(change)
    }
}

/// Without `group`, whose default it is to be empty: servers of 1.20 read an empty text of a custom resource as none.
fn backend_refs(backends: &[Backend], port: u16) -> Vec<Value> {
    backends
        .iter()
        .map(|(name, weight)| json!({"kind": "Service", "name": name, "port": port, "weight": weight}))
        .collect()
}

/// Whether gateways have taken a route as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acceptance {
    /// All of them.
    Yes,
    /// Not all of them have looked yet.
    NotYet,
    /// One has refused it, and says why.
    No(String),
}

/// Whether the gateways that a route hangs on have taken it as it is written now.
pub fn acceptance(route: &Object) -> Acceptance {
    let generation = route.metadata.generation;
    let wanted = route.spec.get("parentRefs").and_then(Value::as_array).map_or(1, Vec::len).max(1);
    let parents = route.status.get("parents").and_then(Value::as_array);
    let mut accepted = 0;
    for parent in parents.into_iter().flatten() {
        for kind in ["Accepted", "ResolvedRefs"] {
            let found = crate::api::condition(parent, kind).filter(|found| found.observed_generation >= generation);
            match found {
                Some(found) if found.status == "False" => {
                    return Acceptance::No(format!("{} ({})", found.message, found.reason));
                }
                Some(found) if kind == "Accepted" && found.status == "True" => accepted += 1,
                _ => {}
            }
        }
    }
    if accepted >= wanted { Acceptance::Yes } else { Acceptance::NotYet }
}
