//! Google's errors, in every form that it puts them in.

use std::time::Duration;

use basb_cloud_kit::{Class, Dialect};
use basb_plugin::Timestamp;
use basb_plugin::testing::Reply;
use serde_json::json;

use super::cloud::error;
use crate::api::{Google, class_of_number};

#[test]
fn codes_mean_what_google_says() {
    for (status, code, expected) in [
        (400, "INVALID_ARGUMENT", Class::Invalid),
        (400, "FAILED_PRECONDITION", Class::Conflict),
        (401, "UNAUTHENTICATED", Class::Denied),
        (403, "PERMISSION_DENIED", Class::Denied),
        (404, "NOT_FOUND", Class::NotFound),
        (409, "ABORTED", Class::Busy),
        (409, "ALREADY_EXISTS", Class::Conflict),
        (429, "RESOURCE_EXHAUSTED", Class::Throttled),
        (500, "INTERNAL", Class::Unavailable),
        (503, "UNAVAILABLE", Class::Unavailable),
        (504, "DEADLINE_EXCEEDED", Class::InDoubt),
    ] {
        let found = Google::error(&error(status, code, "why"), Timestamp(0));
        assert_eq!(Google::class(&found), Some(expected), "{code}");
        assert_eq!((found.message.as_str(), found.request_id.as_deref()), ("why", Some("req-1")));
    }
    assert_eq!(class_of_number(9), Class::Conflict);
    assert_eq!(class_of_number(2), Class::Other);
}

#[test]
fn details_are_told_and_obeyed() {
    let body = json!({"error": {"code": 400, "message": "The request was invalid", "status": "INVALID_ARGUMENT", "details": [
        {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [
            {"field": "template.containers[0].image", "description": "may not be empty"}]}]}});
    let invalid = Google::error(&Reply::json(400, &body), Timestamp(0));
    assert_eq!(invalid.message, "The request was invalid; template.containers[0].image: may not be empty");
    let body = json!({"error": {"code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED", "details": [
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7.5s"}]}});
    let busy = Google::error(&Reply::json(429, &body), Timestamp(0));
    assert_eq!(busy.retry_after, Some(Duration::from_millis(7_500)));
    let mut both = Reply::json(429, &body);
    both.headers.push(("retry-after".into(), "30".into()));
    assert_eq!(Google::error(&both, Timestamp(0)).retry_after, Some(Duration::from_secs(30)));
    let page = Google::error(&Reply::text(502, "<html>Bad Gateway"), Timestamp(0));
    assert_eq!((page.code.as_str(), page.message.as_str(), page.status), ("", "<html>Bad Gateway", 502));
}
