//! A model of Container Apps behind Resource Manager, from their published description, for one app.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use basb_plugin::http::{HttpError, Request, Response};
use basb_plugin::testing::{FakeHost, Reply};
use serde_json::{Map, Value, json};

use super::SUBSCRIPTION;

/// What Azure has.
#[derive(Default)]
pub struct State {
    pub app: Option<Value>,
    pub revisions: Vec<Value>,
    /// Operations by their number: how many looks until they end, and how.
    pub operations: BTreeMap<u32, Operation>,
    /// How many looks an operation takes.
    pub looks: u32,
    /// What operations are answered with from now on: `None` for 404.
    pub forget: bool,
    /// How the next operation ends, instead of well.
    pub fail_next: Option<Value>,
    /// Revisions with this word in their environment do not come up.
    pub broken: Option<&'static str>,
    /// Whether the table is changed by somebody else right after it was set.
    pub meddle: Option<Value>,
    /// Where operations are said to be.
    pub operations_at: Option<&'static str>,
    /// Failures in front of requests: taken in order.
    pub faults: Vec<Fault>,
    /// Every request, as `METHOD rest`.
    pub requests: Vec<String>,
    /// What Azure's records know requests by.
    pub client_ids: Vec<String>,
    made: u32,
}

pub struct Operation {
    looks: u32,
    error: Option<Value>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    App,
    Removal,
}

/// A failure in front of a request, or behind its effect.
pub struct Fault {
    pub request: &'static str,
    pub kind: FaultKind,
}

pub enum FaultKind {
    /// It has no effect.
    Before(Result<Response, HttpError>),
    /// It has its effect, and the answer is lost.
    Lost,
}

/// Azure, shared with the test.
#[derive(Clone, Default)]
pub struct Cloud(pub Rc<RefCell<State>>);

pub const ENDPOINT: &str = "https://management.azure.com";
const DOMAIN: &str = "happy-1.westeurope.azurecontainerapps.io";

/// An error as ARM writes it.
pub fn error(status: u16, code: &str, message: &str) -> Response {
    let mut reply = Reply::json(status, &json!({"error": {"code": code, "message": message}}));
    reply.headers.push(("x-ms-request-id".into(), "req-1".into()));
    reply.headers.push(("x-ms-correlation-request-id".into(), "corr-1".into()));
    reply
}

impl Cloud {
    pub fn new() -> Cloud {
        let cloud = Cloud::default();
        cloud.0.borrow_mut().looks = 2;
        cloud
    }

    pub fn host(&self) -> FakeHost {
        let cloud = self.clone();
        FakeHost::new().serve(move |request| Some(cloud.answer(request)))
    }

    pub fn fault(&self, request: &'static str, kind: FaultKind) {
        self.0.borrow_mut().faults.push(Fault { request, kind });
    }

    /// Requests since the last time, those that change something only.
    pub fn changes(&self) -> Vec<String> {
        let requests = std::mem::take(&mut self.0.borrow_mut().requests);
        requests.into_iter().filter(|request| !request.starts_with("GET")).collect()
    }

    /// The table as it is.
    pub fn table(&self) -> Value {
        self.0.borrow().app.as_ref().unwrap()["properties"]["configuration"]["ingress"]["traffic"].clone()
    }

    /// Names of the active revisions.
    pub fn active(&self) -> Vec<String> {
        let state = self.0.borrow();
        let active = state.revisions.iter().filter(|of| of["properties"]["active"] == true);
        active.map(|of| of["name"].as_str().unwrap().to_owned()).collect()
    }

    fn answer(&self, request: &Request) -> Result<Response, HttpError> {
        let rest = request.url.strip_prefix(ENDPOINT).unwrap();
        let (path, query) = rest.split_once('?').unwrap();
        assert!(query.split('&').any(|pair| pair == "api-version=2025-07-01"), "{query}");
        // The host does not take a GET with an escape in a parameter's name for one that only reads.
        assert!(query.split('&').all(|pair| !pair.split('=').next().unwrap().contains('%')), "{query}");
        assert_eq!(request.header_value("accept"), Some("application/json"));
        let group = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.App/containerApps/");
        let what = path.strip_prefix(&group).map_or(path, |rest| rest.split_once('/').map_or("", |(_, rest)| rest));
        let line = format!("{} {what}", request.method).trim().to_owned();
        let mut state = self.0.borrow_mut();
        state.client_ids.push(request.header_value("x-ms-client-request-id").unwrap().to_owned());
        state.requests.push(line.clone());
        let fault = state.faults.iter().position(|fault| line.starts_with(fault.request));
        let fault = fault.map(|index| state.faults.remove(index));
        if let Some(Fault { kind: FaultKind::Before(answer), .. }) = fault {
            return answer;
        }
        let body = if request.body.is_empty() { Value::Null } else { serde_json::from_slice(&request.body).unwrap() };
        let name = path.strip_prefix(&group).map(|rest| rest.split('/').next().unwrap().to_owned());
        let answer = state.request(&request.method, name.as_deref(), what, query, &body);
        if fault.is_some() {
            return Err(HttpError::Broken("connection reset".into()));
        }
        Ok(answer)
    }
}

impl State {
    fn request(&mut self, method: &str, app: Option<&str>, what: &str, query: &str, body: &Value) -> Response {
        let Some(app) = app else {
            assert_eq!(method, "GET", "{what}");
            return self.operation(what);
        };
        let parts: Vec<&str> = what.split('/').filter(|part| !part.is_empty()).collect();
        if self.app.is_none() && method != "PUT" {
            return error(404, "ResourceNotFound", "The Resource was not found");
        }
        match (method, parts.as_slice()) {
            ("GET", []) => {
                let answer = Reply::json(200, self.app.as_ref().unwrap());
                self.time_passes();
                answer
            }
            ("PUT", []) => self.put(app, body),
            ("PATCH", []) => self.patch(app, body),
            ("DELETE", []) => {
                self.app.as_mut().unwrap()["properties"]["provisioningState"] = "Deleting".into();
                self.begin(202, Value::Null, Kind::Removal)
            }
            ("GET", ["revisions"]) => {
                let from: usize = query.split("$skipToken=").nth(1).map_or(0, |at| at.parse().unwrap());
                let page: Vec<&Value> = self.revisions.iter().skip(from).take(1).collect();
                let url = format!(
                    "{ENDPOINT}/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.App/containerApps/{app}/revisions?api-version=2025-07-01&%24skipToken={}",
                    from + 1
                );
                let next = (from + 1 < self.revisions.len()).then_some(url);
                Reply::json(200, &json!({"value": page, "nextLink": next}))
            }
            ("GET", ["revisions", name, "replicas"]) => Reply::json(200, &json!({"value": self.replicas(name)})),
            ("POST", ["revisions", name, action]) => self.act(name, action),
            other => panic!("{other:?} is not modelled"),
        }
    }

    fn operation(&mut self, path: &str) -> Response {
        let number: u32 = path.rsplit('-').next().unwrap().parse().unwrap();
        if self.forget {
            self.settle_all();
            return error(404, "NotFound", "the operation is unknown");
        }
        let Some(operation) = self.operations.get_mut(&number) else { return error(404, "NotFound", "unknown") };
        if operation.looks > 0 {
            operation.looks -= 1;
            let status = if operation.kind == Kind::Removal { 202 } else { 200 };
            let mut reply = Reply::json(status, &json!({"id": path, "status": "InProgress"}));
            reply.headers.push(("retry-after".into(), "7".into()));
            return reply;
        }
        let error = operation.error.clone();
        self.settle(number);
        match error {
            None => Reply::json(200, &json!({"id": path, "status": "Succeeded"})),
            Some(error) => Reply::json(200, &json!({"id": path, "status": "Failed", "error": error})),
        }
    }

    /// Operations end whether somebody looks or not.
    fn time_passes(&mut self) {
        for number in self.operations.keys().copied().collect::<Vec<_>>() {
            match self.operations.get_mut(&number) {
                Some(operation) if operation.looks > 0 => operation.looks -= 1,
                _ => self.settle(number),
            }
        }
    }

    /// Ends every operation, as time does.
    pub fn settle_all(&mut self) {
        for number in self.operations.keys().copied().collect::<Vec<_>>() {
            self.settle(number);
        }
    }

    fn settle(&mut self, number: u32) {
        let Some(operation) = self.operations.remove(&number) else { return };
        if operation.kind == Kind::Removal {
            (self.app, self.revisions) = (None, Vec::new());
            return;
        }
        let state = if operation.error.is_some() { "Failed" } else { "Succeeded" };
        for revision in &mut self.revisions {
            if revision["properties"]["provisioningState"] == "Provisioning" {
                let broken = self.broken.is_some_and(|word| revision.to_string().contains(word));
                let ends =
                    if broken { ("Failed", "Unhealthy", "Failed") } else { ("Provisioned", "Healthy", "Running") };
                revision["properties"]["provisioningState"] = ends.0.into();
                revision["properties"]["healthState"] = ends.1.into();
                revision["properties"]["runningState"] = ends.2.into();
                if broken {
                    revision["properties"]["provisioningError"] = "the container exits with code 1".into();
                } else if let Some(app) = &mut self.app {
                    app["properties"]["latestReadyRevisionName"] = revision["name"].clone();
                }
            }
        }
        if let Some(app) = &mut self.app {
            app["properties"]["provisioningState"] = state.into();
            if let Some(table) = self.meddle.take() {
                app["properties"]["configuration"]["ingress"]["traffic"] = table;
            }
        }
    }

    fn begin(&mut self, status: u16, body: Value, kind: Kind) -> Response {
        self.made += 1;
        let error = self.fail_next.take();
        self.operations.insert(self.made, Operation { looks: self.looks, error, kind });
        let at = self.operations_at.unwrap_or(ENDPOINT);
        // Real ones are kilobytes long, and on another path.
        let url = format!(
            "{at}/subscriptions/{SUBSCRIPTION}/providers/Microsoft.App/locations/westeurope/containerappOperationStatuses/{}-{}?api-version=2025-07-01&t=1&c={}",
            "0".repeat(32),
            self.made,
            "M".repeat(4_000)
        );
        let mut reply = if body.is_null() { Reply::status(status) } else { Reply::json(status, &body) };
        if kind == Kind::Removal {
            reply.headers.push(("location".into(), url));
        } else {
            reply.headers.push(("azure-asyncoperation".into(), url));
            reply.headers.push(("location".into(), "https://elsewhere.example/never".into()));
        }
        reply
    }

    fn put(&mut self, app: &str, body: &Value) -> Response {
        assert!(self.app.is_none(), "an app that is there is changed by PATCH");
        assert!(body["location"].is_string());
        let mut whole = body.clone();
        whole["name"] = app.into();
        whole["properties"]["provisioningState"] = "InProgress".into();
        self.app = Some(whole);
        self.revision(app);
        let answer = self.app.clone().unwrap();
        self.begin(201, answer, Kind::App)
    }

    fn patch(&mut self, app: &str, body: &Value) -> Response {
        let now = self.app.clone().unwrap();
        if now["properties"]["provisioningState"] == "InProgress" {
            return error(409, "ContainerAppLockConflict", "another modification is in progress");
        }
        assert_eq!(body["location"], now["location"], "every body has a location");
        let mut then = now.clone();
        merge(&mut then, body);
        if let Some(refused) = used(&mut then) {
            return refused;
        }
        if let Some(table) = then.pointer("/properties/configuration/ingress/traffic").and_then(Value::as_array) {
            let sum: u64 = table.iter().map(|line| line["weight"].as_u64().unwrap()).sum();
            let active = |line: &Value| {
                let is = |of: &&Value| of["name"] == line["revisionName"] && of["properties"]["active"] == true;
                line["latestRevision"] == true || self.revisions.iter().any(|of| is(&of))
            };
            if sum != 100 || !table.iter().all(active) {
                return error(400, "InvalidTrafficWeights", &format!("the table is wrong: {table:?}"));
            }
        }
        let is_new = then["properties"]["template"] != now["properties"]["template"];
        let suffix = &then["properties"]["template"]["revisionSuffix"];
        let name = format!("{app}--{}", suffix.as_str().unwrap_or_default());
        if is_new && self.revisions.iter().any(|of| of["name"] == name.as_str()) {
            return error(400, "ContainerAppInvalidRevisionSuffix", "the revision suffix exists already");
        }
        then["properties"]["provisioningState"] = "InProgress".into();
        self.app = Some(then);
        if let Some(ingress) = self.app.as_mut().unwrap().pointer_mut("/properties/configuration/ingress") {
            ingress["fqdn"] = format!("{app}.{DOMAIN}").into();
        }
        if is_new {
            self.revision(app);
        }
        self.begin(202, Value::Null, Kind::App)
    }

    /// Makes a revision of the app's template, with what Azure fills in.
    fn revision(&mut self, app: &str) {
        self.made += 1;
        let whole = self.app.as_mut().unwrap();
        let mut template = whole["properties"]["template"].clone();
        let name = format!("{app}--{}", template["revisionSuffix"].as_str().unwrap());
        for container in template["containers"].as_array_mut().unwrap() {
            container["resources"]["ephemeralStorage"] = "1Gi".into();
            container["imageType"] = "ContainerImage".into();
        }
        template["volumes"] = Value::Null;
        template["scale"]["cooldownPeriod"] = 300.into();
        whole["properties"]["latestRevisionName"] = name.clone().into();
        self.revisions.push(json!({"name": name, "properties": {
            "active": true,
            "createdTime": format!("2026-01-02T03:04:{:02}Z", self.made),
            "fqdn": format!("{name}.{DOMAIN}"),
            "provisioningState": "Provisioning",
            "healthState": "None",
            "runningState": "Processing",
            "template": template,
        }}));
    }

    fn replicas(&self, name: &str) -> Vec<Value> {
        let Some(revision) = self.revisions.iter().find(|of| of["name"] == name) else { return Vec::new() };
        let properties = &revision["properties"];
        if properties["active"] != true {
            return Vec::new();
        }
        let ready = properties["healthState"] == "Healthy";
        let (state, details) = if ready { ("Running", "") } else { ("Waiting", "CrashLoopBackOff") };
        let replica = |number: u64| {
            json!({"name": format!("{name}-5d9774cff-{number}"), "properties": {
                "runningState": if ready { "Running" } else { "NotRunning" },
                "containers": [{"name": "web", "ready": ready, "started": ready, "restartCount": if ready { 0 } else { 3 },
                    "runningState": state, "runningStateDetails": details}],
            }})
        };
        (0..properties["template"]["scale"]["minReplicas"].as_u64().unwrap_or(0)).map(replica).collect()
    }

    fn act(&mut self, name: &str, action: &str) -> Response {
        let table = self.app.as_ref().unwrap().pointer("/properties/configuration/ingress/traffic").cloned();
        let has_weight =
            table.iter().flat_map(|table| table.as_array().unwrap()).any(|line| line["revisionName"] == name);
        let Some(revision) = self.revisions.iter_mut().find(|of| of["name"] == name) else {
            return error(404, "RevisionNotFound", "no such revision");
        };
        let properties = &mut revision["properties"];
        match action {
            "activate" => {
                properties["active"] = true.into();
                let broken = self.broken.is_some_and(|word| properties.to_string().contains(word));
                if !broken {
                    properties["provisioningState"] = "Provisioned".into();
                    properties["healthState"] = "Healthy".into();
                    properties["runningState"] = "Running".into();
                }
            }
            "deactivate" if has_weight => return error(400, "RevisionHasTraffic", "the revision is in the table"),
            "deactivate" => {
                properties["active"] = false.into();
                properties["runningState"] = "Stopped".into();
            }
            other => panic!("{other}"),
        }
        Reply::status(200)
    }
}

/// What Azure says where something refers to what is not there; and what a type of identity takes away.
fn used(app: &mut Value) -> Option<Response> {
    let properties = app["properties"].clone();
    let names = |list: &str, name: &str| -> Vec<Value> {
        let all = properties["configuration"][list].as_array().cloned().unwrap_or_default();
        all.iter().map(|of| of[name].clone()).collect()
    };
    let secrets = names("secrets", "name");
    let env = properties["template"]["containers"][0]["env"].as_array().cloned().unwrap_or_default();
    if let Some(missing) = env.iter().find(|of| of["secretRef"].is_string() && !secrets.contains(&of["secretRef"])) {
        return Some(error(400, "ContainerAppSecretRefNotFound", &format!("{missing}")));
    }
    let kind = app["identity"]["type"].as_str().unwrap_or("None").to_owned();
    if !kind.contains("UserAssigned")
        && let Some(identity) = app.get_mut("identity").and_then(Value::as_object_mut)
    {
        identity.remove("userAssignedIdentities");
    }
    let users = app["identity"]["userAssignedIdentities"].as_object().cloned().unwrap_or_default();
    if kind.contains("UserAssigned") && users.is_empty() {
        return Some(error(400, "InvalidIdentity", "the type says that there are some"));
    }
    let is_there = |id: &Value| match id.as_str() {
        Some("system") => kind.contains("SystemAssigned"),
        Some("") | None => true,
        Some(id) => users.keys().any(|of| of.eq_ignore_ascii_case(id)),
    };
    let used = [names("registries", "identity"), names("secrets", "identity")].concat();
    let missing = used.iter().find(|id| !is_there(id))?;
    Some(error(400, "InvalidIdentity", &format!("{missing} is none of the app's")))
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let target = target.as_object_mut().unwrap();
    for (name, value) in fields {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}
