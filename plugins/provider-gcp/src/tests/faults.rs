//! Calls that are made again, answers that are lost, operations that are forgotten, and others who are faster.

use basb_plugin::http::HttpError;
use basb_plugin::provider::{Action, Pending, Progress, Provider};
use basb_plugin::testing::Reply;
use basb_plugin::{FailureCode, Retry};
use serde_json::json;

use super::cloud::{Fault, Model, NAME, error};
use super::{config, desired};
use crate::Gcp;

/// At each request in turn: it has no effect, or it has and nobody hears of it. The call is made again with its key.
#[test]
fn a_call_that_is_made_again_makes_nothing_twice() {
    let patch = format!("PATCH services/{NAME}");
    let requests = ["GET services", "GET revisions", "GET operations", "POST services", patch.as_str()];
    for at in requests {
        for lost in [false, true] {
            let model = Model::new();
            let is_first = at == "POST services";
            if !is_first {
                model.deploy("k1", "rev1").unwrap();
            }
            let fault = if lost { Fault::Lost } else { Fault::Before(Ok(Reply::text(503, "busy"))) };
            model.fault(at, fault);
            let failure = model.deploy("k2", "rev2").unwrap_err();
            assert!(matches!(failure.retry, Retry::After(_)), "{failure:?}");
            assert!(failure.message.contains("Cloud Run"), "{failure:?}");
            model.deploy("k2", "rev2").unwrap();
            let count = if is_first { 1 } else { 2 };
            assert_eq!((model.names().len(), model.targets().len()), (count, count), "{at} {lost}");
            assert_eq!(model.shares().last().map(|of| of.0.clone()), Some("rev2".into()));
        }
    }
    for lost in [false, true] {
        let model = Model::new();
        model.deploy("k1", "rev1").unwrap();
        model.deploy("k2", "rev2").unwrap();
        let fault = if lost { Fault::Lost } else { Fault::Before(Err(HttpError::Connect("refused".into()))) };
        model.fault(&patch, fault);
        model.changes();
        assert!(model.traffic(&[("rev1", 50), ("rev2", 50)]).is_err());
        model.traffic(&[("rev1", 50), ("rev2", 50)]).unwrap();
        assert_eq!(model.shares()[1].1, 50);
        assert_eq!(model.changes().len(), if lost { 1 } else { 2 }, "what had its effect is not sent again");
    }
}

#[test]
fn a_host_that_dies_at_any_step_is_taken_over() {
    // The state of each step is lost, or an old one comes back: what is there tells the rest.
    for keep in [false, true] {
        let model = Model::new();
        model.deploy("k1", "rev1").unwrap();
        let action = Action::Deploy(Box::new(desired("rev2", 2)));
        let call = |state: Option<&str>| {
            Gcp::apply(&model.host().provider_context(), &config(json!({})), "k2", &action, state)
        };
        let mut first = None;
        let mut calls = 0;
        loop {
            calls += 1;
            assert!(calls < 60, "it does not end");
            let state = if keep { first.clone() } else { None };
            match call(state.as_deref()).unwrap() {
                Progress::Done(_) => break,
                Progress::Running(Pending { state, .. }) => first = first.or(Some(state)),
            }
        }
        assert_eq!((model.names().len(), model.targets().len()), (2, 2));
        let made = model.changes().iter().filter(|change| change.contains(" template")).count();
        assert_eq!(made, 1, "{keep}");
    }
}

#[test]
fn an_operation_that_is_lost_is_settled_by_reading() {
    let model = Model::new();
    model.0.borrow_mut().forgets = true;
    model.deploy("k1", "rev1").unwrap();
    model.deploy("k2", "rev2").unwrap();
    model.traffic(&[("rev1", 10), ("rev2", 90)]).unwrap();
    model.traffic(&[("rev2", 100)]).unwrap();
    model.retire("rev1").unwrap();
    assert_eq!(model.shares(), [("rev2".into(), 100, 2, 2)]);
    model.0.borrow_mut().broken.insert("rev3".into());
    assert_eq!(model.deploy("k3", "rev3").unwrap_err().code, FailureCode::Unhealthy);
}

#[test]
fn what_others_changed_meanwhile_is_read_again_and_not_overwritten() {
    let model = Model::new();
    model.deploy("k1", "rev1").unwrap();
    model.deploy("k2", "rev2").unwrap();
    model.changes();
    model.0.borrow_mut().meddle = 2;
    model.traffic(&[("rev1", 50), ("rev2", 50)]).unwrap();
    assert_eq!(model.changes().len(), 3, "twice somebody else was faster");
    model.0.borrow_mut().meddle = 100;
    let failure = model.traffic(&[("rev2", 100)]).unwrap_err();
    assert_eq!(model.changes().len(), 4, "it is not tried for ever");
    assert_eq!(failure.code, FailureCode::Conflict);
    assert!(matches!(failure.retry, Retry::After(_)), "the engine may come back: {failure:?}");
    assert!(failure.message.contains("(ABORTED, status 409, request id req-1)"), "{failure:?}");
    assert_eq!(model.shares()[1].1, 50);
}

#[test]
fn nothing_is_repeated_that_cannot_help() {
    let model = Model::new();
    let denied = "Permission 'run.services.create' denied on resource";
    model.fault("POST", Fault::Before(Ok(error(403, "PERMISSION_DENIED", denied))));
    let failure = model.deploy("k1", "rev1").unwrap_err();
    assert_eq!((failure.code, failure.retry), (FailureCode::Denied, Retry::Never));
    assert_eq!(
        failure.message,
        format!("Cloud Run services.create: {denied} (PERMISSION_DENIED, status 403, request id req-1)")
    );
    // A list that is cut off is no list.
    model.deploy("k1", "rev1").unwrap();
    model.fault("GET revisions", Fault::Before(Ok(Reply::text(200, "{\"revisions\": [{\"na"))));
    let failure = model.deploy("k1", "rev1").unwrap_err();
    assert!(matches!(failure.retry, Retry::After(_)), "{failure:?}");
}
