//! A model of the Cloud Run Admin API v2, from its reference, for one service.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use basb_plugin::http::{HttpError, Request, Response};
use basb_plugin::testing::{FakeHost, Reply};
use serde_json::{Map, Value, json};

/// What Google has.
#[derive(Default)]
pub struct State {
    pub service: Option<Value>,
    pub revisions: Vec<Value>,
    /// Operations by name: what they come to.
    pub operations: BTreeMap<String, Value>,
    /// So many looks until what goes on has ended.
    pub slow: u32,
    left: u32,
    /// Colours whose containers do not start.
    pub broken: BTreeSet<String>,
    made: u32,
    /// A template of a revision that is there is refused, although it is the same.
    pub stubborn: bool,
    /// Names of revisions that are gone, and cannot be used again.
    pub taken: BTreeSet<String>,
    /// Failures in front of requests, by method and what their path ends with: taken in order.
    pub faults: Vec<(String, Fault)>,
    /// Each change that was sent, and each dry run of one.
    pub changes: Vec<String>,
    /// Somebody else changes the service right before so many changes.
    pub meddle: u32,
    /// Operations are forgotten as soon as they are made.
    pub forgets: bool,
    /// Every request, for what must never be in one.
    pub bodies: Vec<Value>,
}

pub enum Fault {
    /// It has no effect.
    Before(Result<Response, HttpError>),
    /// It has its effect, and the answer is lost.
    Lost,
}

/// Cloud Run, shared with the test.
#[derive(Clone, Default)]
pub struct Model(pub Rc<RefCell<State>>);

pub const NAME: &str = "shop-prod-web";
const PARENT: &str = "projects/shop-1/locations/europe-west3";

pub fn error(code: u16, status: &str, message: &str) -> Response {
    Reply::json(
        code,
        &json!({"error": {"code": code, "status": status, "message": message, "details": [
        {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "req-1"}]}}),
    )
}

impl Model {
    pub fn new() -> Model {
        let model = Model::default();
        model.0.borrow_mut().slow = 2;
        model
    }

    pub fn host(&self) -> FakeHost {
        let model = self.clone();
        FakeHost::new().serve(move |request| Some(model.answer(request)))
    }

    pub fn fault(&self, at: &str, fault: Fault) {
        self.0.borrow_mut().faults.push((at.to_owned(), fault));
    }

    /// Changes since the last time.
    pub fn changes(&self) -> Vec<String> {
        std::mem::take(&mut self.0.borrow_mut().changes)
    }

    /// The names of all revisions.
    pub fn names(&self) -> Vec<String> {
        self.0.borrow().revisions.iter().map(|of| last(of["name"].as_str().unwrap()).to_owned()).collect()
    }

    /// Revision, percent and tag of each target.
    pub fn targets(&self) -> Vec<(String, u64, String)> {
        let state = self.0.borrow();
        let text = |of: &Value, name: &str| of[name].as_str().unwrap_or_default().to_owned();
        let list = state.service.as_ref().map(|service| service["traffic"].as_array().unwrap().clone());
        let all = list.unwrap_or_default();
        all.iter().map(|of| (text(of, "revision"), of["percent"].as_u64().unwrap_or(0), text(of, "tag"))).collect()
    }

    fn answer(&self, request: &Request) -> Result<Response, HttpError> {
        let mut state = self.0.borrow_mut();
        let rest = request.url.strip_prefix("https://run.googleapis.com/v2/").unwrap();
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let query: BTreeMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let path = path.strip_prefix(&format!("{PARENT}/")).unwrap();
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let dry = query.get("validateOnly") == Some(&"true");
        let at = format!("{} {}", request.method, path.trim_start_matches(&format!("services/{NAME}/")));
        if request.method != "GET" {
            let mask = query.get("updateMask").map(|mask| format!(" {mask}")).unwrap_or_default();
            state.changes.push(format!("{}{at}{mask}", if dry { "dry " } else { "" }));
            state.bodies.push(body.clone());
        }
        let fault = state.faults.iter().position(|(of, _)| at.starts_with(of.as_str()));
        let fault = fault.map(|index| state.faults.remove(index).1);
        if let Some(Fault::Before(answer)) = fault {
            return answer;
        }
        state.tick();
        let answer = state.serve(&request.method, path, &query, &body, dry);
        if fault.is_some() {
            return Err(HttpError::Broken("connection reset".into()));
        }
        Ok(answer.unwrap_or_else(|refused| refused))
    }
}

fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap()
}

type Answer = Result<Response, Response>;

impl State {
    fn next(&mut self) -> u32 {
        self.made += 1;
        self.made
    }

    /// Time goes on with each request.
    pub fn tick(&mut self) {
        if self.left > 0 {
            self.left -= 1;
            if self.left == 0 {
                self.reconcile();
            }
        }
    }

    fn operation(&mut self) -> Value {
        let name = format!("{PARENT}/operations/op-{}", self.next());
        if !self.forgets {
            self.operations.insert(name.clone(), json!({"name": name}));
        }
        self.left = self.slow;
        if self.slow == 0 {
            self.reconcile();
        }
        json!({"name": name})
    }

    fn serve(&mut self, method: &str, path: &str, query: &BTreeMap<&str, &str>, body: &Value, dry: bool) -> Answer {
        let mine = format!("services/{NAME}");
        let missing = || error(404, "NOT_FOUND", "Resource 'shop-prod-web' of kind 'SERVICE' was not found.");
        match (method, path.strip_prefix(&mine)) {
            ("POST", None) if path == "services" => {
                assert_eq!(query["serviceId"], NAME);
                if self.service.is_some() {
                    return Err(error(409, "ALREADY_EXISTS", "Resource 'shop-prod-web' already exists."));
                }
                self.check_traffic(body)?;
                if dry {
                    return Ok(Reply::json(200, &json!({"done": true})));
                }
                let mut service = body.clone();
                service["name"] = format!("{PARENT}/{mine}").into();
                service["uri"] = "https://shop-prod-web-abc.run.app".into();
                service["generation"] = "0".into();
                service["observedGeneration"] = "0".into();
                self.service = Some(service);
                self.changed();
                self.make_revision();
                Ok(Reply::json(200, &self.operation()))
            }
            ("GET", None) if path.starts_with("operations/") => {
                match self.operations.get(&format!("{PARENT}/{path}")) {
                    Some(operation) => Ok(Reply::json(200, operation)),
                    None => Err(error(404, "NOT_FOUND", "Operation not found")),
                }
            }
            ("GET", Some("")) => self.service.as_ref().map(|of| Reply::json(200, of)).ok_or_else(missing),
            ("GET", Some("/revisions")) => {
                let from: usize = query.get("pageToken").map_or(0, |token| token.parse().unwrap());
                // Two on a page, whatever was asked for.
                let page: Vec<&Value> = self.revisions.iter().skip(from).take(2).collect();
                let next = (from + 2 < self.revisions.len()).then(|| (from + 2).to_string());
                Ok(Reply::json(200, &json!({"revisions": page, "nextPageToken": next.unwrap_or_default()})))
            }
            ("PATCH", Some("")) => self.patch(query["updateMask"], body, dry),
            ("DELETE", Some("")) => {
                let service = self.service.as_ref().ok_or_else(missing)?;
                let etag = percent_encoding::percent_decode_str(query["etag"]).decode_utf8().unwrap();
                assert_eq!(etag, service["etag"].as_str().unwrap());
                self.service = None;
                self.revisions.clear();
                Ok(Reply::json(200, &self.operation()))
            }
            ("DELETE", Some(rest)) => {
                let name = rest.strip_prefix("/revisions/").unwrap();
                let Some(index) = self.revisions.iter().position(|of| last(of["name"].as_str().unwrap()) == name)
                else {
                    return Err(error(404, "NOT_FOUND", "Revision not found"));
                };
                let service = self.service.as_ref().unwrap();
                let named = service["traffic"].as_array().unwrap().iter().any(|of| of["revision"] == name);
                if named || last(service["latestCreatedRevision"].as_str().unwrap()) == name {
                    return Err(error(
                        400,
                        "FAILED_PRECONDITION",
                        "Revision cannot be deleted: it is in use or the latest.",
                    ));
                }
                self.revisions.remove(index);
                Ok(Reply::json(200, &self.operation()))
            }
            other => panic!("{other:?} is not modelled"),
        }
    }

    fn patch(&mut self, mask: &str, body: &Value, dry: bool) -> Answer {
        if self.service.is_none() {
            return Err(error(404, "NOT_FOUND", "not found"));
        }
        if self.meddle > 0 {
            self.meddle -= 1;
            self.changed();
        }
        let service = self.service.clone().unwrap();
        assert!(body["etag"].is_string(), "every change carries what was read");
        if body["etag"] != service["etag"] {
            return Err(error(
                409,
                "ABORTED",
                "Conflict for resource 'shop-prod-web': version was specified but is another.",
            ));
        }
        let mut after = service.clone();
        for field in mask.split(',') {
            after[field] = body[field].clone();
        }
        assert_eq!(
            body.as_object().unwrap().len(),
            mask.split(',').count() + 1,
            "nothing beside the mask: {mask} {body}"
        );
        self.check_traffic(&after)?;
        let name = after["template"]["revision"].clone();
        let there = self.revisions.iter().find(|of| last(of["name"].as_str().unwrap()) == name);
        let exists = there.is_some();
        let full = there.map(|of| of["name"].clone());
        let is_other = there.is_some_and(|of| {
            let template = after["template"].as_object().unwrap();
            let same = template.iter().all(|(field, value)| field == "revision" || of[field] == *value);
            !same || self.stubborn
        });
        let is_taken = self.taken.contains(name.as_str().unwrap_or_default());
        if (is_other || is_taken) && after["template"] != service["template"] {
            let text = format!("Revision named {name} with different configuration already exists.");
            return Err(error(409, "ALREADY_EXISTS", &text));
        }
        if dry {
            return Ok(Reply::json(200, &json!({"done": true})));
        }
        let is_new = after["template"] != service["template"];
        self.service = Some(after);
        self.changed();
        if is_new && exists {
            self.service.as_mut().unwrap()["latestCreatedRevision"] = full.unwrap();
        } else if is_new {
            self.make_revision();
        }
        Ok(Reply::json(200, &self.operation()))
    }

    fn check_traffic(&self, service: &Value) -> Result<(), Response> {
        let invalid = |why: &str| Err(error(400, "INVALID_ARGUMENT", why));
        let targets = service["traffic"].as_array().cloned().unwrap_or_default();
        assert!(!targets.is_empty(), "traffic that follows the latest revision is never asked for");
        let mut tags = BTreeSet::new();
        for target in &targets {
            assert_eq!(target["type"], "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION", "{target}");
            let name = target["revision"].as_str().unwrap();
            let known = self.revisions.iter().any(|of| last(of["name"].as_str().unwrap()) == name);
            if !known && service["template"]["revision"] != name {
                return invalid(&format!("Revision {name} not found"));
            }
            if let Some(tag) = target["tag"].as_str() {
                assert!(tag.len() >= 3 && tag.len() + NAME.len() <= 46, "{tag}");
                if !tags.insert(tag.to_owned()) {
                    return invalid("tags must be unique");
                }
            }
        }
        let sum: u64 = targets.iter().map(|target| target["percent"].as_u64().unwrap_or(0)).sum();
        if sum == 100 { Ok(()) } else { invalid("traffic percents must sum to 100") }
    }

    pub fn changed(&mut self) {
        let etag = format!("\"etag/{}=\"", self.next());
        let service = self.service.as_mut().unwrap();
        let generation: u64 = service["generation"].as_str().unwrap().parse().unwrap();
        service["generation"] = (generation + 1).to_string().into();
        service["etag"] = etag.into();
        service["reconciling"] = true.into();
    }

    pub fn make_revision(&mut self) {
        let made = self.next();
        let service = self.service.as_mut().unwrap();
        let mut revision: Map<String, Value> = service["template"].as_object().unwrap().clone();
        let name = revision.remove("revision").unwrap();
        let full = format!("{PARENT}/services/{NAME}/revisions/{}", name.as_str().unwrap());
        service["latestCreatedRevision"] = full.clone().into();
        revision.insert("name".into(), full.into());
        revision.insert("createTime".into(), format!("2026-01-02T03:04:{made:02}Z").into());
        revision.insert("conditions".into(), json!([{"type": "Ready", "state": "CONDITION_RECONCILING"}]));
        self.revisions.push(Value::Object(revision));
    }

    fn reconcile(&mut self) {
        let mut problem: Option<(String, String)> = None;
        for revision in &mut self.revisions {
            let is_pending = revision["conditions"][0]["state"] == "CONDITION_RECONCILING";
            let colour = revision["containers"][0]["env"][0]["value"].as_str().unwrap_or_default().to_owned();
            let name = revision["name"].as_str().unwrap().to_owned();
            if is_pending && self.broken.contains(&colour) {
                let message = "The user-provided container failed to start and listen on the port.";
                revision["conditions"] = json!([{"type": "Ready", "state": "CONDITION_FAILED", "message": message,
                    "revisionReason": "HEALTH_CHECK_CONTAINER_ERROR"}]);
                problem = Some((name, message.to_owned()));
            } else if is_pending {
                revision["conditions"] = json!([{"type": "Ready", "state": "CONDITION_SUCCEEDED"}]);
                self.service.as_mut().unwrap()["latestReadyRevision"] = name.into();
            }
        }
        let failed: Vec<String> = self
            .revisions
            .iter()
            .filter(|of| of["conditions"][0]["state"] == "CONDITION_FAILED")
            .map(|of| last(of["name"].as_str().unwrap()).to_owned())
            .collect();
        if let Some(service) = self.service.as_mut() {
            service["reconciling"] = false.into();
            let latest = last(service["latestCreatedRevision"].as_str().unwrap()).to_owned();
            if !failed.contains(&latest) {
                service["latestReadyRevision"] = service["latestCreatedRevision"].clone();
            }
            let targets = service["traffic"].as_array().unwrap().clone();
            if !targets.iter().any(|of| failed.iter().any(|name| of["revision"] == **name)) {
                let status = |target: &Value| {
                    let mut status = target.clone();
                    if let Some(tag) = target["tag"].as_str() {
                        status["uri"] = format!("https://{tag}---shop-prod-web-abc.run.app").into();
                    }
                    status
                };
                service["trafficStatuses"] = targets.iter().map(status).collect();
            }
            // Where its latest revision failed, a service is not well, whatever its traffic.
            if failed.contains(&latest) {
                service["terminalCondition"] =
                    json!({"type": "Ready", "state": "CONDITION_FAILED", "message": "it is not ready"});
            } else {
                service["terminalCondition"] = json!({"type": "Ready", "state": "CONDITION_SUCCEEDED"});
                service["observedGeneration"] = service["generation"].clone();
            }
        }
        for operation in self.operations.values_mut().filter(|of| of["done"].is_null()) {
            operation["done"] = true.into();
            let terminal = self.service.as_ref().map(|service| &service["terminalCondition"]);
            if let Some(terminal) = terminal.filter(|terminal| terminal["state"] == "CONDITION_FAILED")
                && problem.is_none()
            {
                // Also a change that has nothing to do with it is said to have failed.
                operation["error"] = json!({"code": 9, "message": terminal["message"]});
            }
            if let Some((name, message)) = &problem {
                operation["error"] =
                    json!({"code": 9, "message": format!("Revision '{}' is not ready: {message}", last(name))});
            }
        }
    }
}
