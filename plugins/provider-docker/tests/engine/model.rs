//! A model of an engine and of the agent, as far as they are asked.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use basb_plugin::http::{HttpError, Request, Response};
use basb_plugin::testing::{FakeHost, Reply};
use serde_json::{Value, json};

const AGENT: &str = "http://agent.socket.internal/v1/services/brain.dev.capture";
pub const ENGINE: &str = "http://docker.socket.internal";

/// What becomes of an answer on its way.
pub type Spoil = fn(Result<Response, HttpError>) -> Result<Response, HttpError>;
/// Which change of all it happens to.
pub type Fault = (usize, Spoil);

#[derive(Default)]
pub struct World {
    pub service: Option<Value>,
    pub next_port: u16,
    pub containers: BTreeMap<String, Value>,
    pub images: Vec<String>,
    pub clock: u32,
    /// Of requests that change something: how many there were, and the one that goes wrong.
    pub changes: usize,
    pub fault: Option<Fault>,
    pub api: Option<&'static str>,
}

/// Engine and agent, in memory.
#[derive(Clone, Default)]
pub struct Model(pub Rc<RefCell<World>>);

pub fn refused(status: u16, message: &str) -> Response {
    Reply::json(status, &json!({ "message": message }))
}

impl Model {
    pub fn new() -> Self {
        let model = Self::default();
        model.0.borrow_mut().images.push("brain:1".to_owned());
        model.0.borrow_mut().next_port = 15_000;
        model
    }

    pub fn host(&self) -> FakeHost {
        let model = self.clone();
        FakeHost::new().serve(move |request| Some(model.answer(request)))
    }

    pub fn answer(&self, request: &Request) -> Result<Response, HttpError> {
        let mut world = self.0.borrow_mut();
        let agent = request.url.strip_prefix(AGENT).map(str::to_owned);
        let act = |world: &mut World| match &agent {
            Some(path) => world.agent(request, path.split('?').next().unwrap()),
            None => world.engine(request),
        };
        if request.method == "GET" {
            return Ok(act(&mut world));
        }
        world.changes += 1;
        match world.fault {
            Some((at, fault)) if at == world.changes => {
                let answer = Ok(act(&mut world));
                fault(answer)
            }
            _ => Ok(act(&mut world)),
        }
    }

    /// Every instance that the agent expects and whose container runs takes requests.
    pub fn all_ready(&self) {
        let mut world = self.0.borrow_mut();
        let of = |revision: &str, instance: &str| format!("{revision}.{instance}");
        let label = |c: &Value, name: &str| c["Config"]["Labels"][name].as_str().unwrap().to_owned();
        let running: Vec<String> = world
            .containers
            .values()
            .filter(|c| c["State"]["Status"] == "running")
            .map(|c| of(&label(c, "basb-host:revision"), &label(c, "basb-host:instance")))
            .collect();
        let Some(service) = world.service.as_mut() else { return };
        for revision in service["revisions"].as_array_mut().unwrap() {
            let id = revision["id"].as_str().unwrap().to_owned();
            let mut available = 0;
            for instance in revision["instances"].as_array_mut().unwrap() {
                if instance["state"] != "draining" && running.contains(&of(&id, &instance["id"].to_string())) {
                    instance["state"] = json!("available");
                    available += 1;
                }
            }
            revision["available"] = json!(available);
        }
    }

    /// Whoever was on its way out has left.
    pub fn all_drained(&self) {
        let mut world = self.0.borrow_mut();
        let Some(service) = world.service.as_mut() else { return };
        let revisions = service["revisions"].as_array_mut().unwrap();
        revisions.retain(|revision| revision["retiring"] != true);
        for revision in revisions {
            revision["instances"].as_array_mut().unwrap().retain(|instance| instance["state"] != "draining");
        }
    }

    pub fn states(&self) -> BTreeMap<String, String> {
        let world = self.0.borrow();
        let short = |name: &String| name.strip_prefix("basb.brain.dev.capture.").unwrap_or(name).to_owned();
        world.containers.iter().map(|(n, c)| (short(n), c["State"]["Status"].as_str().unwrap().to_owned())).collect()
    }

    pub fn change(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut world = self.0.borrow_mut();
        change(world.containers.get_mut(&format!("basb.brain.dev.capture.{name}")).expect("the container"));
    }
}

impl World {
    fn engine(&mut self, request: &Request) -> Response {
        let url = request.url.strip_prefix(ENGINE).expect("the engine or the agent");
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        if path == "/_ping" {
            let mut pong = Reply::text(200, "OK");
            pong.headers.push(("api-version".into(), self.api.unwrap_or("1.41").into()));
            return pong;
        }
        let path = path.strip_prefix("/v1.41/").unwrap_or_else(|| panic!("{path}"));
        let parts: Vec<&str> = path.split('/').collect();
        self.clock += 1;
        let now = format!("2026-01-02T00:00:{:02}Z", self.clock);
        match (request.method.as_str(), parts.as_slice()) {
            ("GET", ["images", name, "json"]) if self.images.iter().any(|image| image == name) => {
                Reply::json(200, &json!({}))
            }
            ("GET", ["images", ..]) => refused(404, "No such image"),
            ("GET", ["containers", "json"]) => {
                assert!(query.contains("basb-host%3Aservice%3Dcapture"), "{query}");
                let listed = self.containers.iter().map(|(name, c)| {
                    json!({ "Names": [format!("/{name}")], "Labels": c["Config"]["Labels"], "State": c["State"]["Status"] })
                });
                Reply::json(200, &listed.collect::<Vec<_>>())
            }
            ("POST", ["containers", "create"]) => {
                let name = query.strip_prefix("name=").unwrap().to_owned();
                let body: Value = serde_json::from_slice(&request.body).unwrap();
                if self.containers.contains_key(&name) {
                    return refused(409, "Conflict. The container name is already in use");
                }
                let container = json!({
                    "Config": body, "HostConfig": body["HostConfig"], "RestartCount": 0,
                    "State": { "Status": "created", "FinishedAt": "0001-01-01T00:00:00Z", "ExitCode": 0, "OOMKilled": false },
                });
                self.containers.insert(name, container);
                Reply::json(201, &json!({ "Id": "x" }))
            }
            (method, ["containers", name, rest @ ..]) => {
                let Some(container) = self.containers.get_mut(*name) else { return refused(404, "No such container") };
                let up = container["State"]["Status"] == "running";
                match (method, rest) {
                    ("GET", ["json"]) => Reply::json(200, container),
                    ("GET", ["logs"]) => Reply::text(200, "cannot find the vault\n"),
                    ("POST", ["start" | "stop"]) if up == (rest == ["start"]) => Reply::status(304),
                    ("POST", ["start"]) => {
                        container["State"]["Status"] = json!("running");
                        Reply::status(204)
                    }
                    ("POST", ["stop"]) => {
                        container["State"]["Status"] = json!("exited");
                        container["State"]["FinishedAt"] = json!(now);
                        Reply::status(204)
                    }
                    // As the engine does, unless it is forced: that would cut off what is under way.
                    ("DELETE", []) if up => {
                        refused(409, "You cannot remove a running container. Stop the container first")
                    }
                    ("DELETE", []) => {
                        assert!(!query.contains("force"), "{query}");
                        self.containers.remove(*name);
                        Reply::status(204)
                    }
                    other => panic!("{other:?}"),
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn agent(&mut self, request: &Request, path: &str) -> Response {
        let error =
            |status, code: &str| Reply::json(status, &json!({"error": {"code": code, "message": code, "next": ""}}));
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        if request.method == "PUT" && path.is_empty() {
            let listen = body["listen"].clone();
            let there = self.service.get_or_insert_with(|| json!({"version": 0, "revisions": []}));
            there["url"] = json!(format!("http://{}", listen.as_str().unwrap()));
            there["listen"] = listen;
            return Reply::json(200, there);
        }
        let Some(service) = self.service.as_mut() else { return error(404, "no-such-service") };
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        match (request.method.as_str(), parts.as_slice()) {
            ("GET", []) => {}
            ("PUT", ["revisions", id]) => {
                let wanted = body["replicas"].as_u64().unwrap();
                let revisions = service["revisions"].as_array_mut().unwrap();
                if !revisions.iter().any(|revision| revision["id"] == *id) {
                    assert!(body["external"]["ready"]["kind"].is_string(), "{body}");
                    revisions.push(json!({
                        "id": id, "available": 0, "weight": 0, "previewUrl": "http://127.0.0.1:9001",
                        "workloadDigest": "sha256:x", "instances": [],
                    }));
                }
                let revision = revisions.iter_mut().find(|revision| revision["id"] == *id).unwrap();
                revision["desired"] = json!(wanted);
                let instances = revision["instances"].as_array_mut().unwrap();
                for number in 0..wanted {
                    if !instances.iter().any(|instance| instance["id"] == number) {
                        let address = body["external"]["addresses"][number.to_string()].as_str();
                        let port = address.map_or(self.next_port, |a| a.rsplit(':').next().unwrap().parse().unwrap());
                        self.next_port += 1;
                        instances.push(json!({"id": number, "port": port, "state": "starting", "restarts": 0}));
                    }
                }
                for instance in instances.iter_mut().filter(|instance| instance["id"].as_u64().unwrap() >= wanted) {
                    instance["state"] = json!("draining");
                }
            }
            ("PUT", ["traffic"]) => {
                for revision in service["revisions"].as_array_mut().unwrap() {
                    revision["weight"] =
                        body["weights"].get(revision["id"].as_str().unwrap()).cloned().unwrap_or(json!(0));
                }
            }
            ("DELETE", ["revisions", id]) => {
                let revisions = service["revisions"].as_array_mut().unwrap();
                let Some(revision) = revisions.iter_mut().find(|revision| revision["id"] == *id) else {
                    return Reply::json(200, service);
                };
                revision["retiring"] = json!(true);
                return Reply::json(202, service);
            }
            ("DELETE", []) => {
                self.service = None;
                return Reply::json(202, &json!({}));
            }
            other => panic!("{other:?}"),
        }
        Reply::json(200, service)
    }
}
