//! A model of an API server, from its API reference, for one namespace: Deployments, Services, HTTPRoutes and Pods, with
//! the controllers' part told by the test.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use basb_plugin::http::{HttpError, Request, Response};
use basb_plugin::testing::{FakeHost, Reply};
use serde_json::{Value, json};

/// What the cluster has.
pub struct State {
    /// By kind (as in the path) and name.
    pub objects: BTreeMap<(String, String), Value>,
    /// Who set which leaf, by object: manager and pointer.
    owners: BTreeMap<(String, String), BTreeMap<String, BTreeMap<String, Value>>>,
    /// The version of the Gateway API that is there.
    pub gateway: Option<&'static str>,
    /// What the gateway says of routes.
    pub accepts: &'static str,
    /// What it says of a route by its name, in the place of that: conditions without their generation.
    pub says: BTreeMap<String, Value>,
    /// How many pods of a Deployment are available; all of them unless it is here.
    pub available: BTreeMap<String, u64>,
    /// The conditions of a Deployment.
    pub conditions: BTreeMap<String, Value>,
    /// Deployments whose controller has not looked yet.
    pub unseen: Vec<String>,
    /// Whether no Service leads anywhere yet.
    pub slow: bool,
    /// So many looks at a Deployment that is removed, until it is gone.
    pub lingers: u32,
    /// Failures in front of requests, by the beginning of what [`State::requests`] says: taken in order.
    pub faults: Vec<(&'static str, Fault)>,
    /// Each page of a list has so many items.
    pub page: usize,
    /// Every request: `PATCH deployments NAME`, `DRY deployments NAME`.
    pub requests: Vec<String>,
    made: u64,
}

pub enum Fault {
    /// It has no effect.
    Before(Result<Response, HttpError>),
    /// It has its effect, and the answer is lost.
    Lost,
}

/// The cluster, shared with the test.
#[derive(Clone)]
pub struct Model(pub Rc<RefCell<State>>);

/// An answer that is no success.
pub fn status(code: u16, reason: &str, message: &str, details: Value) -> Response {
    let mut reply = Reply::json(
        code,
        &json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message,
            "details": details, "code": code}),
    );
    reply.headers.push(("audit-id".into(), "audit-1".into()));
    reply
}

impl Model {
    pub fn new() -> Model {
        Model(Rc::new(RefCell::new(State {
            objects: BTreeMap::new(),
            owners: BTreeMap::new(),
            gateway: Some("v1"),
            accepts: "True",
            says: BTreeMap::new(),
            available: BTreeMap::new(),
            conditions: BTreeMap::new(),
            unseen: Vec::new(),
            slow: false,
            lingers: 2,
            faults: Vec::new(),
            page: 2,
            requests: Vec::new(),
            made: 0,
        })))
    }

    pub fn host(&self) -> FakeHost {
        let model = self.clone();
        FakeHost::new().serve(move |request| Some(model.answer(request)))
    }

    pub fn fault(&self, request: &'static str, fault: Fault) {
        self.0.borrow_mut().faults.push((request, fault));
    }

    /// Requests since the last time, those that change something only.
    pub fn changes(&self) -> Vec<String> {
        let all = std::mem::take(&mut self.0.borrow_mut().requests);
        all.into_iter().filter(|request| !request.starts_with("GET") && !request.starts_with("DRY")).collect()
    }

    /// The object of this kind and name.
    #[track_caller]
    pub fn object(&self, kind: &str, name: &str) -> Value {
        self.0.borrow().objects[&(kind.to_owned(), name.to_owned())].clone()
    }

    /// The names of all objects of a kind.
    pub fn names(&self, kind: &str) -> Vec<String> {
        self.0.borrow().objects.keys().filter(|(of, _)| of == kind).map(|(_, name)| name.clone()).collect()
    }

    /// Somebody else's write of fields.
    pub fn meddle(&self, manager: &str, kind: &str, name: &str, fields: &Value) {
        let mut state = self.0.borrow_mut();
        state.write(kind, name, fields, manager, Mode::Force).unwrap();
    }

    fn answer(&self, request: &Request) -> Result<Response, HttpError> {
        let rest = request.url.strip_prefix("https://kube.example:6443").unwrap();
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let query: BTreeMap<String, String> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| {
                let value = percent_encoding::percent_decode_str(value).decode_utf8().unwrap().into_owned();
                (key.to_owned(), value)
            })
            .collect();
        let mut state = self.0.borrow_mut();
        let dry = query.get("dryRun").map(String::as_str) == Some("All");
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let (kind, name) = match parts[..] {
            ["apis", "gateway.networking.k8s.io"] => ("gateway-api", None),
            ["api", "v1", "namespaces", "shop", kind @ ("services" | "pods")] => (kind, None),
            ["api", "v1", "namespaces", "shop", kind @ ("services" | "pods" | "endpoints"), name] => (kind, Some(name)),
            ["apis", "apps", "v1", "namespaces", "shop", "deployments"] => ("deployments", None),
            ["apis", "apps", "v1", "namespaces", "shop", "deployments", name] => ("deployments", Some(name)),
            ["apis", "gateway.networking.k8s.io", version, "namespaces", "shop", "httproutes", name]
                if state.gateway == Some(version) =>
            {
                ("httproutes", Some(name))
            }
            _ => return Ok(status(404, "NotFound", "the server could not find the requested resource", json!({}))),
        };
        let method = if dry { "DRY" } else { request.method.as_str() };
        let what = format!("{method} {kind} {}", name.unwrap_or_default());
        state.requests.push(what.clone());
        let fault = state.faults.iter().position(|(of, _)| what.starts_with(of));
        let fault = fault.map(|index| state.faults.remove(index).1);
        if let Some(Fault::Before(answer)) = fault {
            return answer;
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let saved = dry.then(|| (state.objects.clone(), state.owners.clone()));
        let answer = match (request.method.as_str(), name) {
            ("GET", None) if kind == "gateway-api" => state.group(),
            ("GET", None) => state.list(kind, &query),
            ("GET", Some(name)) if kind == "endpoints" => state.endpoints(name),
            ("GET", Some(name)) => state.get(kind, name),
            ("PATCH", Some(name)) => {
                state.patch(kind, name, request.header_value("content-type").unwrap(), &query, &body)
            }
            ("DELETE", Some(name)) => state.delete(kind, name, &body),
            _ => status(405, "MethodNotAllowed", "no", json!({})),
        };
        if let Some((objects, owners)) = saved {
            (state.objects, state.owners) = (objects, owners);
        }
        if matches!(fault, Some(Fault::Lost)) { Err(HttpError::Broken("connection reset".into())) } else { Ok(answer) }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Gentle,
    Force,
}

fn leaves(value: &Value, at: &str, out: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                leaves(value, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), out);
            }
        }
        // Lists count as one here. Kubernetes merges those with a key; nothing rests on that.
        leaf => drop(out.insert(at.to_owned(), leaf.clone())),
    }
}

fn set(object: &mut Value, pointer: &str, value: Option<Value>) {
    let mut parts: Vec<String> =
        pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect();
    let last = parts.pop().unwrap();
    let mut at = object;
    for part in parts {
        let fields = at.as_object_mut().unwrap();
        at = fields.entry(part).or_insert_with(|| json!({}));
    }
    let fields = at.as_object_mut().unwrap();
    match value {
        Some(value) => drop(fields.insert(last, value)),
        None => drop(fields.remove(&last)),
    }
}

impl State {
    fn group(&self) -> Response {
        match self.gateway {
            Some(version) => Reply::json(200, &json!({"kind": "APIGroup", "versions": [{"version": version}]})),
            None => status(404, "NotFound", "the server could not find the requested resource", json!({})),
        }
    }

    /// As the controllers would have left it.
    fn shown(&self, kind: &str, name: &str) -> Value {
        let mut object = self.objects[&(kind.to_owned(), name.to_owned())].clone();
        let generation = object["metadata"]["generation"].clone();
        if kind == "deployments" {
            let seen = if self.unseen.contains(&name.to_owned()) { json!(0) } else { generation };
            let replicas = object["spec"].get("replicas").and_then(Value::as_u64).unwrap_or(1);
            let available = self.available.get(name).copied().unwrap_or(replicas);
            object["status"] = json!({"observedGeneration": seen, "replicas": replicas, "updatedReplicas": replicas,
                "availableReplicas": available, "conditions": self.conditions.get(name).cloned().unwrap_or(json!([]))});
        } else if kind == "httproutes" {
            let all = json!([{"type": "Accepted", "status": self.accepts, "reason": "NoMatchingListenerHostname",
                "message": "no listener has this host"}]);
            let all = if self.accepts.is_empty() { json!([]) } else { all };
            let mut conditions = self.says.get(name).cloned().unwrap_or(all);
            for condition in conditions.as_array_mut().unwrap() {
                condition["observedGeneration"] = generation.clone();
            }
            object["status"] = json!({"parents": [{"parentRef": {"name": "main"}, "controllerName": "example.com/gateway",
                "conditions": conditions}]});
        }
        object
    }

    fn get(&mut self, kind: &str, name: &str) -> Response {
        let key = (kind.to_owned(), name.to_owned());
        let Some(object) = self.objects.get_mut(&key) else {
            return status(404, "NotFound", &format!("{kind} \"{name}\" not found"), json!({"name": name}));
        };
        if object["metadata"]["deletionTimestamp"].is_string() {
            let left = object["metadata"]["lingers"].as_u64().unwrap();
            if left == 0 {
                self.objects.remove(&key);
                self.owners.remove(&key);
                return status(404, "NotFound", "it is gone", json!({}));
            }
            object["metadata"]["lingers"] = json!(left - 1);
        }
        Reply::json(200, &self.shown(kind, name))
    }

    /// The ready pods that a Service selects, unless the controller has not come round to it.
    fn endpoints(&self, service: &str) -> Response {
        let mut addresses = Vec::new();
        let selector = self.objects[&("services".to_owned(), service.to_owned())]["spec"]["selector"].clone();
        for (_, name) in self.objects.keys().filter(|(kind, _)| kind == "deployments" && !self.slow) {
            let deployment = self.shown("deployments", name);
            let labels = &deployment["spec"]["template"]["metadata"]["labels"];
            if selector.as_object().unwrap().iter().all(|(key, value)| labels[key] == *value) {
                let count = deployment["status"]["availableReplicas"].as_u64().unwrap();
                addresses.extend(
                    (0..count).map(|n| json!({"ip": "10.0.0.1", "targetRef": {"name": format!("{name}-{n}")}})),
                );
            }
        }
        Reply::json(
            200,
            &json!({"kind": "Endpoints", "metadata": {"name": service}, "subsets": [{"addresses": addresses}]}),
        )
    }

    fn list(&mut self, kind: &str, query: &BTreeMap<String, String>) -> Response {
        let wanted: Vec<(String, String)> = query
            .get("labelSelector")
            .map(|text| text.split(',').filter_map(|pair| pair.split_once('=')).collect::<Vec<_>>())
            .unwrap_or_default()
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let names: Vec<String> = self
            .objects
            .iter()
            .filter(|((of, _), object)| {
                of == kind && wanted.iter().all(|(key, value)| object["metadata"]["labels"][key] == value.as_str())
            })
            .map(|((_, name), _)| name.clone())
            .collect();
        let from: usize = query.get("continue").map_or(0, |token| token.parse().unwrap());
        let to = (from + self.page).min(names.len());
        let items: Vec<Value> = names[from..to].iter().map(|name| self.shown(kind, name)).collect();
        let next = if to < names.len() { to.to_string() } else { String::new() };
        Reply::json(200, &json!({"kind": "List", "metadata": {"continue": next}, "items": items}))
    }

    fn patch(
        &mut self,
        kind: &str,
        name: &str,
        form: &str,
        query: &BTreeMap<String, String>,
        body: &Value,
    ) -> Response {
        let manager = query["fieldManager"].clone();
        if form == "application/merge-patch+json" {
            let key = (kind.to_owned(), name.to_owned());
            let there = self.objects[&key]["metadata"]["resourceVersion"].clone();
            if body["metadata"]["resourceVersion"] != there {
                return status(409, "Conflict", "the object has been modified; please apply your changes", json!({}));
            }
            let mut fields = BTreeMap::new();
            leaves(body, "", &mut fields);
            let object = self.objects.get_mut(&key).unwrap();
            for (pointer, value) in fields {
                set(object, &pointer, (!value.is_null()).then_some(value));
            }
            self.touch(kind, name);
            return self.get(kind, name);
        }
        assert_eq!(form, "application/apply-patch+yaml");
        assert_eq!(body["metadata"]["name"], name);
        assert_eq!(body["metadata"]["namespace"], "shop");
        assert!(body["apiVersion"].is_string() && body["kind"].is_string());
        if let Some(refused) = self.ports_of_one_name(kind, name, &manager, body) {
            return refused;
        }
        let mode = if query["force"] == "true" { Mode::Force } else { Mode::Gentle };
        let mut fields = body.clone();
        for part in ["apiVersion", "kind"] {
            fields.as_object_mut().unwrap().remove(part);
        }
        match self.write(kind, name, &fields, &manager, mode) {
            Ok(()) => self.get(kind, name),
            Err(refused) => refused,
        }
    }

    /// Kubernetes tells ports apart by number: one that another manager has set stays beside those of a request that does not
    /// know it, and two of one name are refused.
    fn ports_of_one_name(&self, kind: &str, name: &str, manager: &str, body: &Value) -> Option<Response> {
        let key = (kind.to_owned(), name.to_owned());
        let there = self.objects.get(&key).map(|object| &object["spec"]["ports"])?;
        let theirs = |(other, set): (&String, &BTreeMap<String, Value>)| {
            *other != manager && set.get("/spec/ports").is_some_and(|ports| ports == there)
        };
        let beside = there != &body["spec"]["ports"] && self.owners[&key].iter().any(theirs);
        (kind == "services" && beside).then(|| {
            let causes = json!([{"message": "Duplicate value: \"http\"", "field": "spec.ports[1].name"}]);
            status(422, "Invalid", &format!("Service \"{name}\" is invalid"), json!({"causes": causes}))
        })
    }

    fn touch(&mut self, kind: &str, name: &str) {
        self.made += 1;
        let object = self.objects.get_mut(&(kind.to_owned(), name.to_owned())).unwrap();
        object["metadata"]["resourceVersion"] = json!(self.made.to_string());
    }

    fn write(&mut self, kind: &str, name: &str, fields: &Value, manager: &str, mode: Mode) -> Result<(), Response> {
        let key = (kind.to_owned(), name.to_owned());
        let mut wanted = BTreeMap::new();
        leaves(fields, "", &mut wanted);
        wanted.retain(|pointer, _| !["/metadata/name", "/metadata/namespace"].contains(&pointer.as_str()));
        let owners = self.owners.entry(key.clone()).or_default();
        let mut causes = Vec::new();
        for (pointer, value) in &wanted {
            for (other, theirs) in owners.iter_mut().filter(|(other, _)| *other != manager) {
                let differs = theirs.get(pointer).is_some_and(|set| set != value);
                if differs && mode == Mode::Force {
                    theirs.remove(pointer);
                } else if differs {
                    causes.push(
                        json!({"reason": "FieldManagerConflict", "message": format!("conflict with \"{other}\""),
                        "field": pointer.replace('/', ".")}),
                    );
                }
            }
        }
        if !causes.is_empty() {
            let message = format!("Apply failed with {} conflict: conflict with managers", causes.len());
            return Err(status(409, "Conflict", &message, json!({"name": name, "causes": causes})));
        }
        let before = owners.insert(manager.to_owned(), wanted.clone()).unwrap_or_default();
        let kept: Vec<String> = owners.values().flat_map(|set| set.keys().cloned()).collect();
        if !self.objects.contains_key(&key) {
            self.made += 1;
            let uid = format!("uid-{}", self.made);
            self.objects.insert(
                key.clone(),
                json!({"metadata": {"name": name, "namespace": "shop", "uid": uid, "generation": 0, "labels": {},
                    "annotations": {}}, "spec": {}}),
            );
        }
        let object = self.objects.get_mut(&key).unwrap();
        let old = object.clone();
        for pointer in before.keys().filter(|pointer| !kept.contains(pointer)) {
            set(object, pointer, None);
        }
        for (pointer, value) in wanted {
            set(object, &pointer, Some(value));
        }
        if object["spec"] != old["spec"] {
            object["metadata"]["generation"] = json!(old["metadata"]["generation"].as_u64().unwrap() + 1);
        }
        if *object != old || old["metadata"]["resourceVersion"].is_null() {
            self.touch(kind, name);
        }
        Ok(())
    }

    fn delete(&mut self, kind: &str, name: &str, options: &Value) -> Response {
        let key = (kind.to_owned(), name.to_owned());
        let Some(object) = self.objects.get_mut(&key) else {
            return status(404, "NotFound", "not found", json!({}));
        };
        let meta = &object["metadata"];
        for field in ["uid", "resourceVersion"] {
            assert!(options["preconditions"][field].is_string(), "{options}");
            if options["preconditions"][field] != meta[field] {
                return status(409, "Conflict", "the precondition does not hold", json!({}));
            }
        }
        let policy = if kind == "deployments" { "Foreground" } else { "Background" };
        assert_eq!(options["propagationPolicy"], policy);
        if kind == "deployments" {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:04:05Z");
            object["metadata"]["lingers"] = json!(self.lingers);
        } else {
            self.objects.remove(&key);
            self.owners.remove(&key);
        }
        Reply::json(200, &json!({"kind": "Status", "status": "Success"}))
    }
}
