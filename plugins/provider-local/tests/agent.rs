//! The provider against an agent that behaves like the real one, as far as it is asked.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests stop them"
)]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use basb_plugin::http::{HttpError, Request, Response};
use basb_plugin::provider::{
    Action, ActionKind, Desired, Outcome, Progress, Provider, ProviderContext, Readiness, Scaling, Workload,
};
use basb_plugin::testing::{FakeHost, Reply};
use basb_plugin::{Failure, FailureCode, Retry, ServiceRef, Weight};
use provider_local::{Config, Local};
use serde_json::{Value, json};

const SERVICE: &str = "http://agent.socket.internal/v1/services/brain.dev.capture";

/// One service of the agent, in memory.
#[derive(Clone, Default)]
struct FakeAgent(Rc<RefCell<Option<Value>>>);

impl FakeAgent {
    fn host(&self) -> FakeHost {
        let agent = self.clone();
        FakeHost::new().serve(move |request| Some(Ok(agent.answer(request))))
    }

    fn error(status: u16, code: &str, message: &str) -> Response {
        Reply::json(status, &json!({"error": {"code": code, "message": message, "next": "Do something."}}))
    }

    fn revision(&self, id: &str, change: impl FnOnce(&mut Value)) {
        let mut service = self.0.borrow_mut();
        let revisions = service.as_mut().unwrap()["revisions"].as_array_mut().unwrap();
        change(revisions.iter_mut().find(|revision| revision["id"] == id).unwrap());
    }

    fn answer(&self, request: &Request) -> Response {
        let path = request.url.strip_prefix(SERVICE).expect("the service's own path").to_owned();
        let path = path.split('?').next().unwrap();
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let mut service = self.0.borrow_mut();
        if request.method == "PUT" && path.is_empty() {
            let listen = body["listen"].as_str().unwrap().replace(":0", ":7777");
            let there =
                service.get_or_insert_with(|| json!({"name": "brain.dev.capture", "version": 0, "revisions": []}));
            there["url"] = json!(format!("http://{listen}"));
            there["listen"] = json!(listen);
            return Reply::json(200, there);
        }
        let Some(there) = service.as_mut() else { return Self::error(404, "no-such-service", "there is no service") };
        let parts: Vec<_> = path.split('/').skip(1).collect();
        match (request.method.as_str(), parts.as_slice()) {
            ("GET", []) => Reply::json(200, there),
            ("PUT", ["revisions", id]) => {
                let revisions = there["revisions"].as_array_mut().unwrap();
                let workload = body.get("workload");
                match (revisions.iter_mut().find(|revision| revision["id"] == *id), workload) {
                    (None, None) => return Self::error(404, "no-such-revision", "no such revision"),
                    (None, Some(workload)) => revisions.push(json!({
                        "id": id, "desired": body["replicas"], "available": 0, "weight": 0,
                        "previewUrl": "http://127.0.0.1:9001", "workloadDigest": workload.to_string(),
                        "requests": {"total": 0}, "instances": [],
                    })),
                    (Some(revision), Some(workload))
                        if revision["workloadDigest"].as_str() != Some(&workload.to_string()) =>
                    {
                        return Self::error(409, "revision-immutable", "exists with another workload");
                    }
                    (Some(revision), _) => revision["desired"] = body["replicas"].clone(),
                }
                Reply::json(200, there)
            }
            ("PUT", ["traffic"]) => {
                for (id, weight) in body["weights"].as_object().unwrap() {
                    let revisions = there["revisions"].as_array_mut().unwrap();
                    let Some(revision) = revisions.iter_mut().find(|revision| revision["id"] == *id) else {
                        return Self::error(404, "no-such-revision", "no such revision");
                    };
                    if *weight != json!(0) && revision["available"] == 0 {
                        return Self::error(409, "no-available-instance", "no available instance: exited with 3");
                    }
                    revision["weight"] = weight.clone();
                }
                Reply::json(200, there)
            }
            ("DELETE", ["revisions", id]) => {
                let revisions = there["revisions"].as_array_mut().unwrap();
                let Some(at) = revisions.iter().position(|revision| revision["id"] == *id) else {
                    return Reply::json(200, there);
                };
                if revisions[at]["weight"] != 0 {
                    return Self::error(409, "revision-has-traffic", "it has traffic");
                }
                if revisions[at]["retiring"] == true {
                    revisions.remove(at);
                    return Reply::json(200, there);
                }
                revisions[at]["retiring"] = json!(true);
                Reply::json(202, there)
            }
            ("DELETE", []) => {
                assert_eq!(there["revisions"], json!([]), "only an empty service is removed");
                *service = None;
                Reply::json(202, &json!({}))
            }
            other => panic!("{other:?}"),
        }
    }
}

fn service() -> ServiceRef {
    ServiceRef { deployment: "brain".into(), environment: "dev".into(), service: "capture".into() }
}

fn desired(revision: &str, replicas: u32) -> Desired {
    Desired {
        service: service(),
        listen: Some("127.0.0.1:7101".into()),
        revision: revision.into(),
        workload: Workload {
            command: vec!["./capture".into(), "--port={port}".into()],
            image: None,
            working_folder: Some("/srv".into()),
            env: vec![("TOKEN".into(), "hush".into())],
            ready: Readiness::Http("/health".into()),
            min_ready: Duration::from_secs(1),
            stop_grace: Duration::from_secs(5),
            memory_limit: Some(100_000_000),
            settings: "{}".into(),
        },
        replicas,
    }
}

fn deploy(cx: &ProviderContext, desired: Desired) -> Result<Progress, Failure> {
    Local::apply(cx, &Config::default(), "k1", &Action::Deploy(Box::new(desired)), None)
}

fn outputs(progress: Progress) -> Outcome {
    match progress {
        Progress::Done(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_plan_reads_and_says_what_would_be_done() {
    let agent = FakeAgent::default();
    let host = agent.host();
    let cx = host.provider_context();
    let config = Config::default();

    let plan = Local::plan(&cx, &config, &desired("r1", 2)).unwrap();
    assert_eq!(plan.observed, None);
    let kinds: Vec<_> = plan.actions.iter().map(|action| action.kind).collect();
    assert_eq!(kinds, [ActionKind::Create, ActionKind::Create]);
    assert!(plan.actions[1].summary.contains("r1 with 2 instances"), "{plan:?}");
    assert!(!format!("{plan:?}").contains("hush"), "values of the environment stay out of plans");
    assert!(host.requests().iter().all(|request| request.method == "GET"));

    deploy(&cx, desired("r1", 2)).unwrap();
    assert_eq!(Local::plan(&cx, &config, &desired("r1", 2)).unwrap().actions, []);

    let plan = Local::plan(&cx, &config, &desired("r1", 3)).unwrap();
    assert_eq!(plan.actions.len(), 1);
    assert_eq!(plan.actions[0].changes[0].before.as_deref(), Some("2"));

    let mut moved = desired("r2", 1);
    moved.listen = Some("localhost:7102".into());
    let plan = Local::plan(&cx, &config, &moved).unwrap();
    assert_eq!(plan.actions[0].kind, ActionKind::Update);
    assert_eq!(plan.actions[0].changes[0].after.as_deref(), Some("127.0.0.1:7102"));
}

#[test]
fn deploying_twice_is_deploying_once() {
    let agent = FakeAgent::default();
    let host = agent.host();
    let cx = host.provider_context();
    let outcome = outputs(deploy(&cx, desired("r1", 2)).unwrap());
    assert_eq!(outcome.outputs[0], ("url".to_owned(), "http://127.0.0.1:7101".to_owned()));
    assert_eq!(outcome.outputs[1].0, "preview-url");
    let before = agent.0.borrow().clone();
    deploy(&cx, desired("r1", 2)).unwrap();
    assert_eq!(*agent.0.borrow(), before);

    let sent: Vec<Value> = host
        .requests()
        .iter()
        .filter(|r| r.method == "PUT")
        .map(|r| serde_json::from_slice(&r.body).unwrap())
        .collect();
    assert_eq!(
        sent[1],
        json!({"replicas": 2, "workload": {
            "command": ["./capture", "--port={port}"], "workingFolder": "/srv", "env": {"TOKEN": "hush"},
            "ready": {"kind": "http", "path": "/health", "minReadyMs": 1000},
            "limits": {"memoryMb": 96}, "stopGraceMs": 5000,
        }})
    );
}

#[test]
fn a_service_without_an_address_gets_one_and_keeps_it() {
    let agent = FakeAgent::default();
    let host = agent.host();
    let cx = host.provider_context();
    let mut anywhere = desired("r1", 1);
    anywhere.listen = None;
    let outcome = outputs(deploy(&cx, anywhere.clone()).unwrap());
    assert_eq!(outcome.outputs[0].1, "http://127.0.0.1:7777");
    anywhere.revision = "r2".into();
    deploy(&cx, anywhere).unwrap();
    let to_service = host.request_lines().iter().filter(|line| **line == format!("PUT {SERVICE}")).count();
    assert_eq!(to_service, 1);
}

#[test]
fn scaling_leaves_the_workload_alone() {
    let agent = FakeAgent::default();
    let host = agent.host();
    let cx = host.provider_context();
    deploy(&cx, desired("r1", 2)).unwrap();
    let scale = |revision: &str, replicas| {
        let scaling = Scaling { service: service(), revision: revision.into(), replicas };
        Local::apply(&cx, &Config::default(), "k2", &Action::Scale(scaling), None)
    };
    scale("r1", 5).unwrap();
    assert_eq!(Local::read(&cx, &Config::default(), &service()).unwrap().unwrap().revisions[0].desired, 5);
    assert_eq!(scale("r9", 5).unwrap_err().code, FailureCode::NotFound);
}

#[test]
fn traffic_needs_instances() {
    let agent = FakeAgent::default();
    let host = agent.host();
    let cx = host.provider_context();
    let config = Config::default();
    deploy(&cx, desired("r1", 1)).unwrap();
    let weights = [("r1".to_owned(), Weight::FULL)];
    let failure = Local::traffic(&cx, &config, "k", &service(), &weights, None).unwrap_err();
    assert_eq!(failure.code, FailureCode::Unhealthy);
    assert_eq!(failure.retry, Retry::After(Duration::from_secs(1)));
    assert!(failure.message.contains("exited with 3 (Do something)"), "{failure}");

    agent.revision("r1", |revision| revision["available"] = json!(1));
    Local::traffic(&cx, &config, "k", &service(), &weights, None).unwrap();
    let observed = Local::read(&cx, &config, &service()).unwrap().unwrap();
    assert_eq!(observed.revisions[0].weight, Weight::FULL);
    assert_eq!(Local::retire(&cx, &config, "k", &service(), "r1", None).unwrap_err().code, FailureCode::Conflict);
}

#[test]
fn retiring_drains_and_what_is_gone_is_done() {
    let agent = FakeAgent::default();
    let host = agent.host();
    let cx = host.provider_context();
    let config = Config::default();
    assert!(matches!(Local::retire(&cx, &config, "k", &service(), "r1", None), Ok(Progress::Done(_))), "no service");
    deploy(&cx, desired("r1", 1)).unwrap();
    let Progress::Running(pending) = Local::retire(&cx, &config, "k", &service(), "r1", None).unwrap() else {
        panic!("it drains first")
    };
    assert!(Local::plan(&cx, &config, &desired("r1", 1)).is_err(), "a revision that goes away cannot be deployed");
    let again = Local::retire(&cx, &config, "k", &service(), "r1", Some(&pending.state)).unwrap();
    assert!(matches!(again, Progress::Done(_)));
    let quick: Config = serde_json::from_value(json!({"drain": "250ms"})).unwrap();
    Local::retire(&cx, &quick, "k", &service(), "r1", None).unwrap();
    assert!(host.request_lines().iter().any(|line| line.ends_with("/revisions/r1?drainMs=250")));
    let removed = host
        .request_lines()
        .iter()
        .filter(|line| line.starts_with("DELETE") && line.ends_with("brain.dev.capture"))
        .count();
    assert_eq!(removed, 1, "an empty service would keep its address taken: {:?}", host.request_lines());
}

#[test]
fn instances_say_what_is_wrong() {
    let agent = FakeAgent::default();
    let host = agent.host();
    let cx = host.provider_context();
    let config = Config::default();
    assert_eq!(Local::instances(&cx, &config, &service(), "r1").unwrap_err().code, FailureCode::NotFound);
    deploy(&cx, desired("r1", 2)).unwrap();
    let instance = |id: u32, state: &str, message: Option<&str>| {
        json!({"id": id, "pid": null, "port": 4000, "state": state, "restarts": 2,
               "lastExit": {"code": 3, "at": "2026-01-01T00:00:00Z"}, "message": message})
    };
    agent.revision("r1", |revision| {
        let instances = [instance(0, "failed", Some("gave up: no such vault")), instance(1, "backoff", None)];
        revision["instances"] = json!(instances);
    });
    let report = Local::instances(&cx, &config, &service(), "r1").unwrap();
    assert!(!report.hopeless, "one is still tried");
    assert_eq!(report.instances[0].message.as_deref(), Some("gave up: no such vault"));
    assert_eq!(report.instances[1].message.as_deref(), Some("its process ended with status 3"));
    assert_eq!(report.instances[1].restarts, 2);

    agent.revision("r1", |revision| {
        let instances = [instance(0, "failed", None), instance(1, "failed", None), instance(2, "draining", None)];
        revision["instances"] = json!(instances);
    });
    assert!(Local::instances(&cx, &config, &service(), "r1").unwrap().hopeless);
}

#[test]
fn a_changed_workload_needs_a_new_revision() {
    let agent = FakeAgent::default();
    let host = agent.host();
    let cx = host.provider_context();
    deploy(&cx, desired("r1", 1)).unwrap();
    let mut other = desired("r1", 1);
    other.workload.command.push("--verbose".into());
    let failure = deploy(&cx, other).unwrap_err();
    assert_eq!((failure.code, failure.retry), (FailureCode::Conflict, Retry::Never));
    assert_eq!(failure.extras, [("agent-code".to_owned(), "revision-immutable".to_owned())]);
}

#[test]
fn what_cannot_be_run_here_is_refused_before_anything_is_sent() {
    let host = FakeHost::new();
    let cx = host.provider_context();
    let mut image = desired("r1", 1);
    image.workload.image = Some("registry/capture@sha256:00".into());
    assert_eq!(deploy(&cx, image).unwrap_err().code, FailureCode::Invalid);
    let mut elsewhere = desired("r1", 1);
    elsewhere.service.service = "../agent".into();
    assert_eq!(deploy(&cx, elsewhere).unwrap_err().code, FailureCode::Invalid);
    assert!(host.requests().is_empty());
}

#[test]
fn an_agent_that_is_not_there_can_be_started() {
    let host = FakeHost::new().fail("GET", SERVICE, HttpError::Connect("no such file".into()));
    let failure = Local::read(&host.provider_context(), &Config::default(), &service()).unwrap_err();
    assert_eq!(failure.code, FailureCode::Unavailable);
    assert!(failure.message.contains("basb-host agent start"), "{failure}");
    let host = FakeHost::new().fail("GET", SERVICE, HttpError::TimedOut("30 s".into()));
    let failure = Local::read(&host.provider_context(), &Config::default(), &service()).unwrap_err();
    assert_eq!(failure.code, FailureCode::TimedOut);
    let host = FakeHost::new().respond("GET", SERVICE, Reply::text(502, "bad gateway"));
    let failure = Local::read(&host.provider_context(), &Config::default(), &service()).unwrap_err();
    assert_eq!(failure.code, FailureCode::Unavailable);
}
