//! The provider against a model of an engine and of the agent, as far as they are asked: what is sent, what is not sent twice,
//! and what happens when somebody else, or the line, gets in between.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests stop them"
)]

mod model;
mod repairs;

use std::collections::BTreeMap;
use std::time::Duration;

use basb_plugin::http::HttpError;
use basb_plugin::provider::{Action, Desired, Progress, Provider, Readiness, Scaling, Workload};
use basb_plugin::testing::{FakeHost, Reply};
use basb_plugin::{Failure, FailureCode, Retry, ServiceRef, Weight};
use provider_docker::{Config, Docker};
use serde_json::{Value, json};

use model::{Model, Spoil, refused};

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
