//! Containers that are not as they should be: made anew without cutting off what they were asked.

use std::time::Duration;

use basb_plugin::FailureCode;
use basb_plugin::http::HttpError;
use basb_plugin::provider::{Action, ActionKind, Progress, Provider, Scaling};
use basb_plugin::testing::FakeHost;
use provider_docker::{Config, Docker};
use serde_json::json;

use super::model::{ENGINE, Model};
use super::{PLAIN, apply, deploy, desired, retired, scale, service, states};

/// What was done to containers, without the agent's part and the looking.
fn done_to_containers(host: &FakeHost) -> Vec<String> {
    let changes = host.request_lines().into_iter().filter(|line| !line.starts_with("GET") && line.contains(ENGINE));
    changes
        .map(|line| line.replace(ENGINE, "").replace("/v1.41/containers/", "").replace("basb.brain.dev.", ""))
        .collect()
}

fn available(model: &Model, count: u32) {
    model.0.borrow_mut().service.as_mut().unwrap()["revisions"][0]["available"] = json!(count);
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
fn one_that_takes_requests_is_asked_to_stop_before_it_is_made_anew() {
    // Somebody changed it; or the configuration says another port, for all of them.
    let port = Config { port: 9_000, ..Config::default() };
    for (config, edited) in [(Config::default(), true), (port, false)] {
        let model = Model::new();
        deploy(&model, "r1", 2).unwrap();
        model.all_ready();
        if edited {
            model.change("r1.0", |c| c["HostConfig"]["Memory"] = json!(1 << 30));
        }
        let host = model.host();
        let again = || {
            let action = Action::Deploy(Box::new(desired("r1", 2, PLAIN)));
            Docker::apply(&host.provider_context(), &config, "k1", &action, None).unwrap()
        };
        let Progress::Running(pending) = again() else { panic!("it goes on") };
        // The agent has had the time to see that it is away.
        assert!(pending.poll_after >= Duration::from_secs(1), "{pending:?}");
        let asked = [
            "POST capture.r1.0/stop",
            "DELETE capture.r1.0?v=true",
            "POST create?name=capture.r1.0",
            "POST capture.r1.0/start",
        ];
        assert_eq!(done_to_containers(&host), asked);
        // As long as it is not back, the other one is not touched.
        available(&model, 1);
        again();
        assert_eq!(done_to_containers(&host).len(), asked.len());
        available(&model, 2);
        again();
        assert_eq!(done_to_containers(&host).len(), if edited { asked.len() } else { 2 * asked.len() });
        assert!(matches!(again(), Progress::Done(_)));
    }
}

#[test]
fn one_that_stops_slowly_is_waited_for_and_never_started_as_it_was() {
    let model = Model::new();
    deploy(&model, "r1", 2).unwrap();
    model.all_ready();
    model.change("r1.0", |c| c["HostConfig"]["Memory"] = json!(1 << 30));
    // The agent is told once more first, and then it is stopped, which takes longer than anybody waits.
    let slow = model.0.borrow().changes + 2;
    model.0.borrow_mut().fault = Some((slow, |_| Err(HttpError::TimedOut("8 s".into()))));
    let host = model.host();
    let again = || apply(&host, &Action::Deploy(Box::new(desired("r1", 2, PLAIN)))).unwrap();
    let Progress::Running(pending) = again() else { panic!("it goes on") };
    assert!(pending.note.contains("finishes its requests"), "{pending:?}");
    assert_eq!(done_to_containers(&host), ["POST capture.r1.0/stop"]);
    // It has stopped meanwhile. What its labels say is right, and what it is is not.
    again();
    assert_eq!(
        done_to_containers(&host)[1..],
        ["DELETE capture.r1.0?v=true", "POST create?name=capture.r1.0", "POST capture.r1.0/start"]
    );
    assert!(matches!(again(), Progress::Done(_)));
}

#[test]
fn two_are_never_away_at_once() {
    let model = Model::new();
    deploy(&model, "r1", 2).unwrap();
    model.all_ready();
    // One is gone, which the agent has not seen yet; the other one is to be made anew.
    model.0.borrow_mut().containers.remove("basb.brain.dev.capture.r1.1");
    model.change("r1.0", |c| c["HostConfig"]["Memory"] = json!(1 << 30));
    let host = model.host();
    let again = || apply(&host, &Action::Deploy(Box::new(desired("r1", 2, PLAIN)))).unwrap();
    let Progress::Running(pending) = again() else { panic!("it goes on") };
    assert!(pending.poll_after >= Duration::from_secs(1), "{pending:?}");
    assert_eq!(done_to_containers(&host), ["POST create?name=capture.r1.1", "POST capture.r1.1/start"]);
}

#[test]
fn what_says_what_a_revision_is_takes_no_place_before_its_requests_are_finished() {
    let model = Model::new();
    deploy(&model, "r1", 1).unwrap();
    model.all_ready();
    let port = Config { port: 9_000, ..Config::default() };
    let none = || {
        let action = Action::Deploy(Box::new(desired("r1", 0, PLAIN)));
        Docker::apply(&model.host().provider_context(), &port, "k1", &action, None).unwrap()
    };
    assert!(matches!(none(), Progress::Running(_)));
    assert_eq!(model.states()["r1.0"], "running");
    model.all_drained();
    assert!(matches!(none(), Progress::Done(_)));
    assert_eq!(model.states(), states(&[("r1.0", "created")]));
    scale(&model, "r1", 1).unwrap();
    assert_eq!(model.0.borrow().containers["basb.brain.dev.capture.r1.0"]["Config"]["Env"][2], "PORT=9000");
}

#[test]
fn another_prefix_is_for_new_containers() {
    let model = Model::new();
    deploy(&model, "r1", 2).unwrap();
    model.all_ready();
    let config = Config { name_prefix: "other".to_owned(), ..Config::default() };
    let host = model.host();
    let cx = host.provider_context();
    let plan = Docker::plan(&cx, &config, &desired("r1", 2, PLAIN)).unwrap();
    assert_eq!(plan.actions, []);
    assert_eq!(plan.observed.unwrap().revisions[0].available, 2);
    let report = Docker::instances(&cx, &config, &service(), "r1").unwrap();
    assert_eq!((report.available, report.hopeless), (2, false), "{report:?}");
    let deploy_now = |replicas| {
        let action = Action::Deploy(Box::new(desired("r1", replicas, PLAIN)));
        Docker::apply(&cx, &config, "k1", &action, None).unwrap()
    };
    assert!(matches!(deploy_now(2), Progress::Done(_)));
    assert_eq!(done_to_containers(&host), [""; 0]);
    // A new one has the new prefix, and the old ones beside it keep theirs: made anew, started again, taken away.
    deploy_now(3);
    let names = || model.0.borrow().containers.keys().cloned().collect::<Vec<_>>();
    let (old, new) = ("basb.brain.dev.capture.r1", "other.brain.dev.capture.r1");
    let all = [format!("{old}.0"), format!("{old}.1"), format!("{new}.2")];
    assert_eq!(names(), all);
    model.all_ready();
    model.change("r1.0", |c| c["State"]["Status"] = json!("exited"));
    model.change("r1.1", |c| c["HostConfig"]["Memory"] = json!(1 << 30));
    let planned = Docker::plan(&cx, &config, &desired("r1", 3, PLAIN)).unwrap().actions;
    let said: Vec<&str> = planned.iter().map(|action| action.summary.as_str()).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains(&all[0]) && said[1].contains(&all[1]), "{said:?}");
    deploy_now(3);
    deploy_now(3);
    assert!(matches!(deploy_now(3), Progress::Done(_)));
    assert_eq!(names(), all);
    let scaling = Scaling { service: service(), revision: "r1".into(), replicas: 1 };
    Docker::apply(&cx, &config, "k1", &Action::Scale(scaling.clone()), None).unwrap();
    model.all_drained();
    Docker::apply(&cx, &config, "k1", &Action::Scale(scaling), None).unwrap();
    let state = |name: &str| model.0.borrow().containers[name]["State"]["Status"].clone();
    assert_eq!([state(&all[0]), state(&all[1]), state(&all[2])], ["running", "exited", "exited"]);
    assert!(retired(&model, &config, "r1").contains("the empty service with it"));
    assert_eq!(names(), [""; 0]);
}

#[test]
fn of_two_with_the_same_labels_the_one_that_runs_counts() {
    let model = Model::new();
    deploy(&model, "r1", 1).unwrap();
    model.all_ready();
    // As an earlier version left it after the prefix was changed: made, and never started since the port was taken.
    let mut second = model.0.borrow().containers["basb.brain.dev.capture.r1.0"].clone();
    second["State"]["Status"] = json!("created");
    let name = |prefix: &str| format!("{prefix}.brain.dev.capture.r1.0");
    model.0.borrow_mut().containers.insert(name("other"), second.clone());
    model.0.borrow_mut().containers.insert(name("a"), second);
    // One whose name is not as its labels say is not ours.
    let mut foreign = model.0.borrow().containers[&name("basb")].clone();
    foreign["State"]["Status"] = json!("running");
    model.0.borrow_mut().containers.insert("x.brain.prod.capture.r1.0".into(), foreign);
    let config = Config { name_prefix: "other".to_owned(), ..Config::default() };
    let host = model.host();
    let cx = host.provider_context();
    assert_eq!(Docker::plan(&cx, &config, &desired("r1", 1, PLAIN)).unwrap().actions, []);
    let action = Action::Deploy(Box::new(desired("r1", 1, PLAIN)));
    assert!(matches!(Docker::apply(&cx, &config, "k1", &action, None).unwrap(), Progress::Done(_)));
    assert_eq!(done_to_containers(&host), [""; 0]);
}
