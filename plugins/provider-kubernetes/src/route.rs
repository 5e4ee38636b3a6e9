//! Routes: the one that users' requests go by, and the one of each revision alone.

use basb_cloud_kit::{Owner, Waiting};
use basb_plugin::provider::Progress;
use basb_plugin::{Failure, FailureCode, Retry};
use serde::Serialize;
use serde::de::DeserializeOwned;
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
    all.into_iter().flatten().filter_map(named).collect()
}

/// Everything that a route leads to, by whatever rule of it.
pub fn all_backends(route: &Object) -> Vec<Backend> {
    let refs = |rule: &Value| rule.get("backendRefs").and_then(Value::as_array).cloned().unwrap_or_default();
    rules(route).iter().flat_map(refs).filter_map(|backend| named(&backend)).collect()
}

fn named(backend: &Value) -> Option<Backend> {
    let name = backend.get("name")?.as_str()?.to_owned();
    Some((name, backend.get("weight").and_then(Value::as_u64).unwrap_or(1)))
}

/// The same shares in the smallest whole numbers: 9 and 1 in the place of 9000 and 1000.
///
/// The Gateway API takes weights up to a million, and controllers hand them on to load balancers that take fewer: 999 at
/// the most with AWS, 1000 with Google. Shares in whole tenths of a percent stay within both; finer ones may need more, and
/// are written exactly all the same: another share than the one that was asked for would be a lie.
pub fn reduced(backends: &[Backend]) -> Vec<Backend> {
    let divisor = backends.iter().fold(0, |divisor, (_, weight)| common_divisor(divisor, *weight)).max(1);
    backends.iter().map(|(name, weight)| (name.clone(), weight / divisor)).collect()
}

/// Whether two lists lead to the same Services with the same shares, in whatever numbers and order.
pub fn same_shares(one: &[Backend], other: &[Backend]) -> bool {
    let in_order = |backends: &[Backend]| {
        let mut all = reduced(backends);
        all.sort();
        all
    };
    in_order(one) == in_order(other)
}

/// The greatest number that divides both; of nothing and a number, that number.
fn common_divisor(one: u64, other: u64) -> u64 {
    let (mut one, mut other) = (one, other);
    while let Some(rest) = one.checked_rem(other) {
        (one, other) = (other, rest);
    }
    one
}

/// The rules of a route.
pub fn rules(route: &Object) -> &[Value] {
    route.spec.get("rules").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
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
        let [rule] = rules(route) else {
            return Err(Failure::conflict(format!(
                "the route {} has {} rules: one that basb-host changes has exactly one",
                route.metadata.name,
                rules(route).len()
            )));
        };
        let rule = self.shared_out(rule, backends);
        let mut change = json!({});
        set_at(&mut change, "spec", "rules", json!([rule]));
        Ok(change)
    }

    /// Users' route with these shares, and with everything else as it is there: what another manager has set stays, but for
    /// the labels that say whose it is, without which it would be nobody's. Where it has not exactly one rule, nothing tells which of them the shares are of, and the rule is ours.
    pub fn users_route_kept(&self, version: RouteVersion, route: &Object, backends: &[Backend]) -> Value {
        let mut whole = self.users_route(version, backends);
        let labels = whole.pointer_mut("/metadata/labels").and_then(Value::as_object_mut);
        let owner = Owner::of_service(self.service);
        for (key, label) in labels.into_iter().flatten().filter(|(key, _)| !names::is_of_owner(key, &owner)) {
            if let Some(there) = route.metadata.labels.get(key) {
                *label = json!(there);
            }
        }
        let Some(spec) = whole.get_mut("spec").and_then(Value::as_object_mut) else { return whole };
        for field in ["hostnames", "parentRefs"] {
            match route.spec.get(field) {
                Some(there) => drop(spec.insert(field.to_owned(), there.clone())),
                None => drop(spec.remove(field)),
            }
        }
        if let [rule] = rules(route) {
            spec.insert("rules".to_owned(), json!([self.shared_out(rule, backends)]));
        }
        whole
    }

    /// A rule with other shares. What it leads to already keeps its port, and whatever else is said of it.
    fn shared_out(&self, rule: &Value, backends: &[Backend]) -> Value {
        let mut rule = rule.clone();
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
        rule
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
    /// Not all of them, and what one that waits for something says.
    NotYet(Option<String>),
    /// One has refused it, and says why.
    No(String),
}

/// What passes by itself: a gateway may see a route before the Service that was made a moment before it.
const PASSING: [&str; 2] = ["BackendNotFound", "Pending"];

/// Whether the gateways that a route hangs on have taken it as it is written now.
pub fn acceptance(route: &Object) -> Acceptance {
    let generation = route.metadata.generation;
    let wanted = route.spec.get("parentRefs").and_then(Value::as_array).map_or(1, Vec::len).max(1);
    let parents = route.status.get("parents").and_then(Value::as_array);
    let (mut accepted, mut waits) = (0, None);
    for parent in parents.into_iter().flatten() {
        for kind in ["Accepted", "ResolvedRefs"] {
            let found = crate::api::condition(parent, kind).filter(|found| found.observed_generation >= generation);
            match found {
                Some(found) if found.status == "False" => {
                    let said = format!("{} ({})", found.message, found.reason);
                    if !PASSING.contains(&found.reason.as_str()) {
                        return Acceptance::No(said);
                    }
                    waits = Some(said);
                }
                Some(found) if kind == "Accepted" && found.status == "True" => accepted += 1,
                _ => {}
            }
        }
    }
    if accepted >= wanted && waits.is_none() { Acceptance::Yes } else { Acceptance::NotYet(waits) }
}

impl Cluster<'_> {
    /// What is left to wait for until the gateways have taken a route as it was read; none once they have.
    ///
    /// # Errors
    /// [`FailureCode::Unhealthy`] where one refuses it; [`FailureCode::TimedOut`] after `gateway.acceptance`.
    pub fn until_taken<T: Serialize + DeserializeOwned>(
        &self,
        route: &Object,
        waiting: Waiting<T>,
    ) -> Result<Option<Progress>, Failure> {
        let name = &route.metadata.name;
        let said = match acceptance(route) {
            Acceptance::Yes => return Ok(None),
            Acceptance::No(why) => {
                return Err(Failure::unhealthy(format!("the gateway refuses the route {name}: {why}")));
            }
            Acceptance::NotYet(said) => said,
        };
        let patience = self.config.gateway.as_ref().map(|gateway| gateway.acceptance.0).unwrap_or_default();
        if waiting.waited(self.client().cx().now()) > patience {
            let why = said.unwrap_or_else(|| "its `status.parents` does not say `Accepted`".to_owned());
            return Err(Failure::new(
                FailureCode::TimedOut,
                format!("no gateway of `parentRefs` has taken the route {name} within {} s: {why}", patience.as_secs()),
                Retry::Never,
            ));
        }
        Ok(Some(waiting.again(self.client().jitter(), None, format!("the gateway takes the route {name}"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(weights: &[u64]) -> Vec<u64> {
        let backends: Vec<Backend> = weights.iter().map(|weight| ("s".to_owned(), *weight)).collect();
        reduced(&backends).into_iter().map(|(_, weight)| weight).collect()
    }

    #[test]
    fn weights_are_the_smallest_that_make_the_share() {
        for (hundredths, expected) in [
            (vec![10_000], vec![1]),
            (vec![9_000, 1_000], vec![9, 1]),
            (vec![9_990, 10], vec![999, 1]),
            (vec![5_000, 5_000], vec![1, 1]),
            (vec![8_750, 1_250], vec![7, 1]),
            (vec![6_000, 3_000, 1_000], vec![6, 3, 1]),
            (vec![6_667, 3_333], vec![6_667, 3_333]),
            (vec![0, 10_000], vec![0, 1]),
            (vec![0, 0], vec![0, 0]),
            (vec![], vec![]),
        ] {
            assert_eq!(numbers(&hundredths), expected);
        }
    }

    #[test]
    fn tenths_of_a_percent_are_within_what_load_balancers_take_and_no_share_is_changed() {
        for share in 1..10_000_u64 {
            let all = [10_000 - share, share];
            let made = numbers(&all);
            assert_eq!(all[0] * made[1], all[1] * made[0], "{share}");
            assert!(share % 10 != 0 || made.iter().all(|weight| (1..=999).contains(weight)), "{share}: {made:?}");
        }
    }

    #[test]
    fn the_same_shares_are_the_same_in_any_numbers_and_order() {
        let of = |all: &[(&str, u64)]| -> Vec<Backend> { all.iter().map(|(n, w)| ((*n).to_owned(), *w)).collect() };
        assert!(same_shares(&of(&[("a", 9_000), ("b", 1_000)]), &of(&[("b", 1), ("a", 9)])));
        assert!(!same_shares(&of(&[("a", 9), ("b", 1)]), &of(&[("a", 8), ("b", 1)])));
        assert!(!same_shares(&of(&[("a", 9), ("b", 1)]), &of(&[("a", 9), ("c", 1)])));
        assert!(
            !same_shares(&of(&[("a", 1), ("b", 0)]), &of(&[("a", 1)])),
            "a Service that is still named is a difference"
        );
    }
}
