//! The provider against a model of an engine and of the agent, as far as they are asked: what is sent, what is not sent twice,
//! and what happens when somebody else, or the line, gets in between.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests stop them"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use basb_plugin::http::{HttpError, Request, Response};
use basb_plugin::provider::{Action, ActionKind, Desired, Progress, Provider, Readiness, Scaling, Workload};
use basb_plugin::testing::{FakeHost, Reply};
use basb_plugin::{Failure, FailureCode, Retry, ServiceRef, Weight};
use provider_docker::{Config, Docker};
use serde_json::{Value, json};

const AGENT: &str = "http://agent.socket.internal/v1/services/brain.dev.capture";
const ENGINE: &str = "http://docker.socket.internal";

/// What becomes of an answer on its way.
type Spoil = fn(Result<Response, HttpError>) -> Result<Response, HttpError>;
/// Which change of all it happens to.
type Fault = (usize, Spoil);

#[derive(Default)]
struct World {
    service: Option<Value>,
    next_port: u16,
    containers: BTreeMap<String, Value>,
    images: Vec<String>,
    clock: u32,
    /// Of requests that change something: how many there were, and the one that goes wrong.
    changes: usize,
    fault: Option<Fault>,
    api: Option<&'static str>,
}

/// Engine and agent, in memory.
#[derive(Clone, Default)]
struct Model(Rc<RefCell<World>>);

fn refused(status: u16, message: &str) -> Response {
    Reply::json(status, &json!({ "message": message }))
}

impl Model {
    fn new() -> Self {
        let model = Self::default();
        model.0.borrow_mut().images.push("brain:1".to_owned());
        model.0.borrow_mut().next_port = 15_000;
        model
    }

    fn host(&self) -> FakeHost {
        let model = self.clone();
        FakeHost::new().serve(move |request| Some(model.answer(request)))
    }

    fn answer(&self, request: &Request) -> Result<Response, HttpError> {
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
    fn all_ready(&self) {
        let mut world = self.0.borrow_mut();
        let names: Vec<String> = world
            .containers
            .iter()
            .filter(|(_, c)| c["State"]["Status"] == "running")
            .map(|(n, _)| n.clone())
            .collect();
        let Some(service) = world.service.as_mut() else { return };
        for revision in service["revisions"].as_array_mut().unwrap() {
            let id = revision["id"].as_str().unwrap().to_owned();
            let mut available = 0;
            for instance in revision["instances"].as_array_mut().unwrap() {
                let name = format!("basb.brain.dev.capture.{id}.{}", instance["id"]);
                if instance["state"] != "draining" && names.contains(&name) {
                    instance["state"] = json!("available");
                    available += 1;
                }
            }
            revision["available"] = json!(available);
        }
    }

    /// Whoever was on its way out has left.
    fn all_drained(&self) {
        let mut world = self.0.borrow_mut();
        let Some(service) = world.service.as_mut() else { return };
        let revisions = service["revisions"].as_array_mut().unwrap();
        revisions.retain(|revision| revision["retiring"] != true);
        for revision in revisions {
            revision["instances"].as_array_mut().unwrap().retain(|instance| instance["state"] != "draining");
        }
    }

    fn states(&self) -> BTreeMap<String, String> {
        let world = self.0.borrow();
        let short = |name: &String| name.strip_prefix("basb.brain.dev.capture.").unwrap_or(name).to_owned();
        world.containers.iter().map(|(n, c)| (short(n), c["State"]["Status"].as_str().unwrap().to_owned())).collect()
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Value)) {
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
                    ("DELETE", []) => {
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

fn service() -> ServiceRef {
    ServiceRef { deployment: "brain".into(), environment: "dev".into(), service: "capture".into() }
}

fn desired(revision: &str, replicas: u32, settings: &str) -> Desired {
    Desired {
        service: service(),
        listen: Some("127.0.0.1:7101".into()),
        revision: revision.into(),
        workload: Workload {
            command: Vec::new(),
            image: Some("brain:1".into()),
            working_folder: None,
            env: vec![
                ("TOKEN".into(), "__basb.secret.token__".into()),
                ("PLAIN".into(), "§ 5 __basb".into()),
                ("WHERE".into(), "http://x:{port}".into()),
            ],
            ready: Readiness::Http("/healthz".into()),
            min_ready: Duration::from_secs(1),
            stop_grace: Duration::from_millis(1_500),
            memory_limit: Some(64 << 20),
            settings: settings.into(),
        },
        replicas,
    }
}

const PLAIN: &str = r#"{"command":["serve","--port={port}"]}"#;

fn apply(host: &FakeHost, action: &Action) -> Result<Progress, Failure> {
    Docker::apply(&host.provider_context(), &Config::default(), "k1", action, None)
}

fn deploy(model: &Model, revision: &str, replicas: u32) -> Result<Progress, Failure> {
    apply(&model.host(), &Action::Deploy(Box::new(desired(revision, replicas, PLAIN))))
}

fn scale(model: &Model, revision: &str, replicas: u32) -> Result<Progress, Failure> {
    apply(&model.host(), &Action::Scale(Scaling { service: service(), revision: revision.into(), replicas }))
}

fn retire(model: &Model, config: &Config, revision: &str) -> Result<Progress, Failure> {
    Docker::retire(&model.host().provider_context(), config, "k2", &service(), revision, None)
}

fn states(all: &[(&str, &str)]) -> BTreeMap<String, String> {
    all.iter().map(|(name, state)| ((*name).to_owned(), (*state).to_owned())).collect()
}

/// Retires in as many calls as it takes.
fn retired(model: &Model, config: &Config, revision: &str) -> String {
    for _ in 0..5 {
        match retire(model, config, revision).unwrap() {
            Progress::Done(outcome) => return outcome.summary,
            Progress::Running(_) => model.all_drained(),
        }
    }
    panic!("it goes on and on")
}

#[test]
fn a_container_is_what_the_workload_says_and_no_more() {
    let model = Model::new();
    assert!(matches!(deploy(&model, "r1", 1).unwrap(), Progress::Done(_)));
    let world = model.0.borrow();
    let body = &world.containers["basb.brain.dev.capture.r1.0"]["Config"];
    assert_eq!(body["Cmd"], json!(["serve", "--port=8080"]));
    assert_eq!(
        body["Env"],
        json!(["HOST=0.0.0.0", "PLAIN=§ 5 __basb", "PORT=8080", "TOKEN=__basb.secret.token__", "WHERE=http://x:8080"])
    );
    assert_eq!(body["StopTimeout"], 2);
    let host = &body["HostConfig"];
    assert_eq!(host["PortBindings"], json!({"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "15000"}]}));
    assert_eq!((&host["Memory"], &host["MemorySwap"]), (&json!(64 << 20), &json!(64 << 20)));
    assert_eq!((&host["CapDrop"], &host["SecurityOpt"]), (&json!(["ALL"]), &json!(["no-new-privileges"])));
    for absent in ["Privileged", "CapAdd", "Mounts", "Devices", "PidMode", "Ulimits", "Binds"] {
        assert_eq!(host[absent], Value::Null, "{absent}");
    }
    let labels = &body["Labels"];
    for (label, value) in
        [("managed-by", "basb-host"), ("deployment", "brain"), ("revision", "r1"), ("instance", "0"), ("port", "15000")]
    {
        assert_eq!(labels[format!("basb-host:{label}")], value);
    }
    // The host would put the secret into every place where its placeholder stands.
    assert!(!labels.to_string().contains("__basb.secret"), "{labels}");
}

#[test]
fn every_interrupted_deploy_comes_to_the_same_end() {
    let faults: [(&str, Spoil); 5] = [
        ("cut off after the effect", |_| Err(HttpError::Broken("reset".into()))),
        ("no answer", |_| Err(HttpError::TimedOut("60 s".into()))),
        ("throttled after the effect", |_| Ok(refused(429, "slow down"))),
        ("an error after the effect", |_| Ok(refused(500, "something"))),
        ("no such place", |_| Ok(refused(503, "starting"))),
    ];
    for (name, fault) in faults {
        for at in 1..=6 {
            let model = Model::new();
            model.0.borrow_mut().fault = Some((at, fault));
            let first = deploy(&model, "r1", 2);
            if let Err(failure) = &first {
                assert!(matches!(failure.retry, Retry::After(_)), "{name} at {at}: {failure:?}");
            }
            let again = deploy(&model, "r1", 2).unwrap_or_else(|failure| panic!("{name} at {at}: {failure:?}"));
            assert!(matches!(again, Progress::Done(_)), "{name} at {at}: {again:?}");
            assert_eq!(model.states(), states(&[("r1.0", "running"), ("r1.1", "running")]), "{name} at {at}");
        }
    }
}

#[test]
fn the_same_again_changes_nothing() {
    let model = Model::new();
    deploy(&model, "r1", 2).unwrap();
    model.all_ready();
    let changes = model.0.borrow().changes;
    deploy(&model, "r1", 2).unwrap();
    // Only the agent is told once more what it knows.
    assert_eq!(model.0.borrow().changes, changes + 1);
    let cx = model.host().provider_context();
    let plan = Docker::plan(&cx, &Config::default(), &desired("r1", 2, PLAIN)).unwrap();
    assert_eq!(plan.actions, []);
}

#[test]
fn scaled_to_nothing_and_back_without_being_told_what_it_is() {
    let model = Model::new();
    // As the first step of a rollout: there, without an instance.
    deploy(&model, "r1", 0).unwrap();
    assert_eq!(model.states(), states(&[("r1.0", "created")]));
    scale(&model, "r1", 2).unwrap();
    assert_eq!(model.states(), states(&[("r1.0", "running"), ("r1.1", "running")]));
    model.all_ready();
    // Requests finish first.
    assert!(matches!(scale(&model, "r1", 1).unwrap(), Progress::Running(_)));
    assert_eq!(model.states()["r1.1"], "running");
    model.all_drained();
    assert!(matches!(scale(&model, "r1", 1).unwrap(), Progress::Done(_)));
    assert_eq!(model.states(), states(&[("r1.0", "running"), ("r1.1", "exited")]));
    scale(&model, "r1", 2).unwrap();
    assert_eq!(model.states(), states(&[("r1.0", "running"), ("r1.1", "running")]));
    let failure = scale(&Model::new(), "r1", 2).unwrap_err();
    assert_eq!((failure.code, failure.retry), (FailureCode::NotFound, Retry::Never));
}

#[test]
fn the_last_revisions_are_kept_and_started_again() {
    let model = Model::new();
    let config = Config { retain: 1, ..Config::default() };
    for revision in ["r1", "r2", "r3"] {
        deploy(&model, revision, 1).unwrap();
        model.all_ready();
    }
    assert!(matches!(retire(&model, &config, "r1").unwrap(), Progress::Running(_)), "requests finish first");
    assert_eq!(model.states()["r1.0"], "running");
    assert!(retired(&model, &config, "r1").contains("are kept of r1"));
    assert!(retired(&model, &config, "r2").contains("are kept of r2"));
    assert_eq!(model.states(), states(&[("r2.0", "exited"), ("r3.0", "running")]));
    let plan = Docker::plan(&model.host().provider_context(), &config, &desired("r2", 1, PLAIN)).unwrap();
    assert!(plan.actions[0].summary.contains("1 container of it were kept"), "{:?}", plan.actions);
    let host = model.host();
    apply(&host, &Action::Deploy(Box::new(desired("r2", 1, PLAIN)))).unwrap();
    assert!(host.request_lines().iter().all(|line| !line.contains("/create")), "{:?}", host.request_lines());
    assert_eq!(model.states()["r2.0"], "running");
    // With the last revision everything goes.
    retired(&model, &config, "r2");
    assert!(retired(&model, &config, "r3").contains("the empty service with it"));
    assert_eq!(model.states(), states(&[]));
    assert!(model.0.borrow().service.is_none());
    assert!(retired(&model, &config, "r9").contains("gone"), "what is not there is done");
}

#[test]
fn a_slow_stop_is_waited_for_in_later_calls() {
    let model = Model::new();
    deploy(&model, "r1", 1).unwrap();
    let changes = model.0.borrow().changes;
    assert!(matches!(retire(&model, &Config::default(), "r1").unwrap(), Progress::Running(_)));
    model.all_drained();
    // The second change from here is the stop: it does not come back in time.
    model.0.borrow_mut().fault = Some((changes + 3, |_| Err(HttpError::TimedOut("8 s".into()))));
    assert!(matches!(retire(&model, &Config::default(), "r1").unwrap(), Progress::Running(_)));
    assert!(matches!(retire(&model, &Config::default(), "r1").unwrap(), Progress::Done(_)));
}

#[test]
fn what_somebody_changed_is_seen_and_mended_one_at_a_time() {
    let model = Model::new();
    deploy(&model, "r1", 2).unwrap();
    model.all_ready();
    model.change("r1.0", |c| c["HostConfig"]["Memory"] = json!(1 << 30));
    model.change("r1.1", |c| c["Config"]["Env"][3] = json!("TOKEN=[secret token]"));
    model.change("r1.1", |c| c["Config"]["Env"][4] = json!("WHERE=http://evil"));
    let plan = || Docker::plan(&model.host().provider_context(), &Config::default(), &desired("r1", 2, PLAIN)).unwrap();
    let planned = plan();
    let seen: Vec<_> = planned.actions.iter().map(|a| (a.kind, a.changes[0].path.clone(), a.changes.len())).collect();
    assert_eq!(seen, [(ActionKind::Replace, "memoryLimit".into(), 1), (ActionKind::Replace, "env.WHERE".into(), 1)]);
    let running = |progress| matches!(progress, Progress::Running(_));
    assert!(running(deploy(&model, "r1", 2).unwrap()));
    // The second one waits until the first is back.
    model.0.borrow_mut().service.as_mut().unwrap()["revisions"][0]["available"] = json!(1);
    let changes = model.0.borrow().changes;
    assert!(running(deploy(&model, "r1", 2).unwrap()));
    assert_eq!(model.0.borrow().changes, changes + 1, "only the agent was asked");
    model.all_ready();
    assert!(running(deploy(&model, "r1", 2).unwrap()));
    model.all_ready();
    assert!(!running(deploy(&model, "r1", 2).unwrap()));
    assert_eq!(plan().actions, []);
    // One that is gone, and one of another program under the same name.
    model.0.borrow_mut().containers.remove("basb.brain.dev.capture.r1.0");
    model.change("r1.1", |c| c["Config"]["Labels"]["basb-host:managed-by"] = json!("compose"));
    assert_eq!(plan().actions.iter().map(|a| a.kind).collect::<Vec<_>>(), [ActionKind::Create, ActionKind::Create]);
    let failure = deploy(&model, "r1", 2).unwrap_err();
    assert_eq!(failure.code, FailureCode::Conflict, "what is not ours is not touched: {failure}");
    assert_eq!(model.states()["r1.1"], "running");
}

#[test]
fn what_does_not_come_up_says_why() {
    let model = Model::new();
    deploy(&model, "r1", 2).unwrap();
    let report = |model: &Model| {
        Docker::instances(&model.host().provider_context(), &Config::default(), &service(), "r1").unwrap()
    };
    assert_eq!((report(&model).available, report(&model).hopeless), (0, false));
    model.all_ready();
    model.change("r1.0", |c| c["State"]["Health"] = json!({"Status": "unhealthy"}));
    let one = report(&model);
    assert_eq!((one.available, one.hopeless), (1, false));
    assert!(one.instances[0].message.as_ref().unwrap().contains("`unhealthy`"), "{:?}", one.instances);
    for name in ["r1.0", "r1.1"] {
        model.change(name, |c| {
            c["State"] = json!({"Status": "restarting", "ExitCode": 137, "OOMKilled": true});
            c["RestartCount"] = json!(4);
        });
    }
    let both = report(&model);
    assert_eq!((both.available, both.hopeless), (0, true));
    let said = both.instances[1].message.clone().unwrap();
    assert!(said.contains("more memory") && said.contains("cannot find the vault"), "{said}");
    let read = Docker::read(&model.host().provider_context(), &Config::default(), &service()).unwrap().unwrap();
    assert_eq!((read.revisions[0].desired, read.revisions[0].weight), (2, Weight::ZERO));
}

#[test]
fn containers_that_the_agent_does_not_know_are_reported() {
    let model = Model::new();
    deploy(&model, "r1", 2).unwrap();
    model.0.borrow_mut().service = None;
    let read = Docker::read(&model.host().provider_context(), &Config::default(), &service()).unwrap().unwrap();
    let seen = &read.revisions[0];
    assert_eq!((seen.id.as_str(), seen.desired, seen.available, seen.weight), ("r1", 2, 0, Weight::ZERO));
    // Whoever deploys it again takes them over as they are.
    let host = model.host();
    apply(&host, &Action::Deploy(Box::new(desired("r1", 2, PLAIN)))).unwrap();
    assert!(host.request_lines().iter().all(|line| !line.contains("/create") && !line.starts_with("DELETE")));
    assert_eq!(Docker::read(&Model::new().host().provider_context(), &Config::default(), &service()).unwrap(), None);
}

#[test]
fn failures_say_what_the_engine_said() {
    let fail = |status, message: &'static str| {
        let host = Model::new().host();
        let refusing = FakeHost::new().serve({
            let model = Model::new();
            move |request| match request.url.ends_with("/start") {
                true => Some(Ok(refused(status, message))),
                false => Some(model.answer(request)),
            }
        });
        drop(host);
        apply(&refusing, &Action::Deploy(Box::new(desired("r1", 1, PLAIN)))).unwrap_err()
    };
    let cases = [
        (400, "OCI runtime create failed: exec: \"x\": executable file not found", FailureCode::Unhealthy, false),
        (500, "driver failed: Bind for 127.0.0.1:1 failed: port is already allocated", FailureCode::Conflict, false),
        (500, "something else", FailureCode::Unavailable, true),
        (429, "busy", FailureCode::Throttled, true),
    ];
    for (status, message, code, again) in cases {
        let failure = fail(status, message);
        assert_eq!((failure.code, matches!(failure.retry, Retry::After(_))), (code, again), "{failure:?}");
        assert!(failure.message.contains(message), "{failure}");
    }
    let model = Model::new();
    model.0.borrow_mut().images.clear();
    let failure = deploy(&model, "r1", 1).unwrap_err();
    assert_eq!(failure.code, FailureCode::NotFound);
    assert!(failure.message.contains("docker pull brain:1"), "{failure}");
    assert!(model.0.borrow().service.is_none(), "nothing was begun");
    // A page of somebody between the two says nothing of what is there.
    for (path, end) in [("images/brain:1/json", "GET"), ("containers/json", "GET")] {
        let model = Model::new();
        let between = FakeHost::new().serve(move |request| match request.url.contains(path) && request.method == end {
            true => Some(Ok(Reply::text(404, "<html>not here</html>"))),
            false => Some(model.answer(request)),
        });
        let failure = apply(&between, &Action::Deploy(Box::new(desired("r1", 1, PLAIN)))).unwrap_err();
        assert_eq!(
            (failure.code, matches!(failure.retry, Retry::After(_))),
            (FailureCode::TimedOut, true),
            "{failure:?}"
        );
    }
    model.0.borrow_mut().api = Some("1.24");
    assert_eq!(deploy(&model, "r1", 1).unwrap_err().code, FailureCode::Invalid);
    let gone =
        FakeHost::new().fail("GET", "http://docker.socket.internal/_ping", HttpError::Connect("no such file".into()));
    let failure = apply(&gone, &Action::Deploy(Box::new(desired("r1", 1, PLAIN)))).unwrap_err();
    assert_eq!(failure.code, FailureCode::Unavailable);
    assert!(failure.message.contains("is it running"), "{failure}");
}

#[test]
fn what_no_container_can_be_is_said_before_anything_is_asked() {
    let plan = |change: fn(&mut Desired)| {
        let mut desired = desired("r1", 1, PLAIN);
        change(&mut desired);
        let host = FakeHost::new();
        let failure = Docker::plan(&host.provider_context(), &Config::default(), &desired).unwrap_err();
        assert_eq!((failure.code, host.requests().len()), (FailureCode::Invalid, 0));
        failure.path.unwrap_or_default()
    };
    assert_eq!(plan(|d| d.workload.image = None), "/image");
    assert_eq!(plan(|d| d.workload.working_folder = Some("/srv".into())), "/workingFolder");
    assert_eq!(plan(|d| d.workload.settings = r#"{"tmpfs":["x"]}"#.into()), "/settings/mounts");
    plan(|d| d.revision = "../x".into());
}
