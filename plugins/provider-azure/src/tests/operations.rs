//! Operations: waited for, lost, cut off, disturbed.

use std::time::Duration;

use basb_plugin::http::HttpError;
use basb_plugin::provider::{Action, Pending, Progress};
use basb_plugin::{FailureCode, Retry};
use serde_json::json;

use super::cloud::{FaultKind, error};
use super::{Caller, desired};

fn pending(progress: Progress) -> Pending {
    let Progress::Running(pending) = progress else { panic!("{progress:?}") };
    pending
}

#[test]
fn an_operation_is_waited_for_as_azure_asks() {
    let caller = Caller::new();
    let action = Action::Deploy(Box::new(desired("r1", 1)));
    let begun = pending(caller.apply(&action, None).unwrap());
    assert!(begun.state.contains("containerappOperationStatuses"), "Azure-AsyncOperation goes before Location");
    assert!(begun.state.len() > 4_000, "kilobytes of a URL are kept");
    let goes_on = pending(caller.apply(&action, Some(&begun.state)).unwrap());
    assert!(goes_on.poll_after >= Duration::from_secs(7), "Retry-After is kept: {:?}", goes_on.poll_after);
    assert!(goes_on.note.contains("goes on"), "{}", goes_on.note);
    assert_eq!(caller.cloud.changes(), ["PUT"]);
    // The host was gone for a while: the same state tells the same later.
    caller.cloud.0.borrow_mut().settle_all();
    let done = caller.apply(&action, Some(&begun.state)).unwrap();
    assert!(matches!(done, Progress::Done(_)), "the operation is forgotten, and the app tells: {done:?}");
    assert_eq!(caller.cloud.changes(), [""; 0]);
}

#[test]
fn an_operation_that_nobody_knows_is_settled_by_reading() {
    let caller = Caller::new();
    caller.cloud.0.borrow_mut().forget = true;
    caller.deploy("r1", 1).unwrap();
    caller.traffic(&[("r1", 10_000)]).unwrap();
    caller.deploy("r2", 1).unwrap();
    caller.traffic(&[("r1", 5_000), ("r2", 5_000)]).unwrap();
    assert_eq!(caller.cloud.0.borrow().revisions.len(), 2);
    assert_eq!(caller.shares().len(), 2);
}

#[test]
fn an_operation_elsewhere_is_not_asked_for() {
    let caller = Caller::new();
    caller.cloud.0.borrow_mut().operations_at = Some("https://management.azure.com.evil.example");
    let action = Action::Deploy(Box::new(desired("r1", 1)));
    let begun = pending(caller.apply(&action, None).unwrap());
    let waits = pending(caller.apply(&action, Some(&begun.state)).unwrap());
    assert!(waits.note.contains("busy"), "{}", waits.note);
    caller.cloud.0.borrow_mut().settle_all();
    assert!(matches!(caller.apply(&action, Some(&waits.state)).unwrap(), Progress::Done(_)));
}

#[test]
fn an_answer_that_is_lost_makes_nothing_twice() {
    for (request, times) in [("PUT", 1), ("PATCH", 1), ("PATCH", 2), ("PATCH", 3), ("POST", 1), ("GET", 3)] {
        let caller = if request == "PUT" { Caller::new() } else { Caller::released() };
        // The plainest fault is a kill: the state of the call is lost with its answer.
        for _ in 0..times {
            caller.cloud.fault(request, FaultKind::Lost);
        }
        let run = || {
            if request == "PUT" {
                caller.deploy("r1", 1)?;
                caller.traffic(&[("r1", 10_000)])?;
            }
            caller.deploy("r2", 1)?;
            caller.traffic(&[("r1", 9_000), ("r2", 1_000)])?;
            caller.traffic(&[("r2", 10_000)])?;
            caller.retire("r1")
        };
        run().unwrap_or_else(|failure| panic!("{request} {times}: {failure:?}"));
        let state = caller.cloud.0.borrow();
        assert_eq!(state.faults.len(), 0, "{request} {times}: they were there");
        assert_eq!(state.revisions.len(), 2, "{request} {times}");
        drop(state);
        assert_eq!(caller.shares(), [("r2".into(), 10_000, (1, 1))], "{request} {times}");
    }
}

#[test]
fn a_call_that_is_made_again_from_any_of_its_states_ends_the_same() {
    let whole = Caller::released();
    let action = Action::Deploy(Box::new(desired("r2", 1)));
    let mut states = vec![None];
    while let Progress::Running(pending) = whole.apply(&action, states.last().unwrap().as_deref()).unwrap() {
        states.push(Some(pending.state));
    }
    assert!(states.len() > 4, "{}", states.len());
    whole.cloud.changes();
    for state in states {
        // Killed right after that state was written down; everything else was forgotten.
        let again = whole.to_end(|later| whole.apply(&action, later.or(state.as_deref())));
        assert!(again.is_ok(), "{again:?}");
    }
    assert_eq!(whole.cloud.changes(), [""; 0]);
    assert_eq!(whole.cloud.0.borrow().revisions.len(), 2);
}

#[test]
fn what_passes_is_repeated_and_nothing_else_is() {
    let again = [
        (429, "TooManyRequests", FailureCode::Throttled),
        (503, "ServiceUnavailable", FailureCode::Unavailable),
        (500, "InternalServerError", FailureCode::Unavailable),
        (409, "ContainerAppLockConflict", FailureCode::Conflict),
        (409, "ManagedEnvironmentOperationInProgress", FailureCode::Conflict),
    ];
    let never = [
        (400, "InvalidRequestContent", FailureCode::Invalid),
        (403, "AuthorizationFailed", FailureCode::Denied),
        (404, "ResourceGroupNotFound", FailureCode::Invalid),
        (409, "Conflict", FailureCode::Conflict),
    ];
    let repeated = again.map(|case| (case, true)).into_iter().chain(never.map(|case| (case, false)));
    for ((status, code, expected), repeated) in repeated {
        let caller = Caller::new();
        caller.cloud.fault("PUT", FaultKind::Before(Ok(error(status, code, "no"))));
        let action = Action::Deploy(Box::new(desired("r1", 1)));
        let failure = caller.apply(&action, None).unwrap_err();
        assert_eq!((failure.code, matches!(failure.retry, Retry::After(_))), (expected, repeated), "{failure:?}");
        assert!(failure.message.contains("request id req-1, correlation id corr-1"), "{failure:?}");
        assert!(caller.cloud.0.borrow().app.is_none());
    }
    let caller = Caller::new();
    let mut slow = error(429, "TooManyRequests", "slow down");
    slow.headers.push(("retry-after".into(), "40".into()));
    caller.cloud.fault("GET", FaultKind::Before(Ok(slow)));
    let failure = caller.apply(&Action::Deploy(Box::new(desired("r1", 1))), None).unwrap_err();
    assert!(matches!(failure.retry, Retry::After(time) if time >= Duration::from_secs(40)), "{failure:?}");
}

#[test]
fn another_change_is_waited_for_and_not_worked_against() {
    let caller = Caller::released();
    caller.cloud.0.borrow_mut().app.as_mut().unwrap()["properties"]["provisioningState"] = "InProgress".into();
    let waits = pending(caller.traffic_once(&[("r1", 10_000)], None).unwrap());
    assert!(waits.note.contains("busy"), "{}", waits.note);
    let waits = pending(caller.apply(&Action::Deploy(Box::new(desired("r2", 1))), None).unwrap());
    assert!(waits.note.contains("busy"), "{}", waits.note);
    assert_eq!(caller.cloud.changes(), [""; 0]);
}

#[test]
fn somebody_elses_table_is_not_overwritten() {
    let caller = Caller::released();
    caller.deploy("r2", 1).unwrap();
    let name = caller.cloud.active()[0].clone();
    caller.cloud.0.borrow_mut().meddle = Some(json!([{"revisionName": name, "weight": 100, "label": "theirs"}]));
    caller.cloud.changes();
    let failure = caller.traffic(&[("r1", 5_000), ("r2", 5_000)]).unwrap_err();
    assert_eq!((failure.code, failure.retry), (FailureCode::Conflict, Retry::Never));
    assert!(failure.message.contains("somebody else changed it") && failure.message.contains("theirs"), "{failure:?}");
    assert_eq!(caller.cloud.changes(), ["PATCH"]);
}

#[test]
fn a_list_that_breaks_off_is_no_list() {
    let caller = Caller::released();
    caller.deploy("r2", 1).unwrap();
    caller.cloud.fault("GET revisions", FaultKind::Before(Err(HttpError::Broken("cut off".into()))));
    let action = Action::Deploy(Box::new(desired("r3", 1)));
    assert_eq!(caller.apply(&action, None).unwrap_err().code, FailureCode::TimedOut);
    caller.deploy("r3", 1).unwrap();
    assert_eq!(caller.shares().len(), 3, "every page is read");
}

#[test]
fn azures_records_know_the_same_request_by_the_same_id() {
    let ids = || {
        let caller = Caller::new();
        caller.deploy("r1", 1).unwrap();
        caller.cloud.0.borrow().client_ids.clone()
    };
    assert_eq!(ids(), ids());
    let mut different = ids();
    different.sort();
    different.dedup();
    assert!(different.len() >= 3, "{different:?}");
}
