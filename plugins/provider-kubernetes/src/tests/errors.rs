//! Kubernetes' errors.

use std::time::Duration;

use basb_cloud_kit::{Class, Dialect};
use basb_plugin::testing::Reply;
use basb_plugin::{FailureCode, Retry, Timestamp};
use serde_json::json;

use super::cluster::{Fault, Model, status};
use super::{config, deploy};
use crate::api::Dialectic;

#[test]
fn reasons_mean_what_kubernetes_says() {
    let class = |code: u16, reason: &str| {
        let error = Dialectic::error(&status(code, reason, "x", json!({})), Timestamp(0));
        Dialectic::class(&error).unwrap_or_else(|| Class::of_status(error.status))
    };
    for (code, reason, expected) in [
        (400, "BadRequest", Class::Invalid),
        (401, "Unauthorized", Class::Denied),
        (403, "Forbidden", Class::Denied),
        (404, "NotFound", Class::NotFound),
        (409, "AlreadyExists", Class::Conflict),
        (409, "Conflict", Class::Busy),
        (410, "Expired", Class::Busy),
        (422, "Invalid", Class::Invalid),
        (429, "TooManyRequests", Class::Throttled),
        (500, "InternalError", Class::Unavailable),
        (500, "ServerTimeout", Class::Unavailable),
        (503, "ServiceUnavailable", Class::Unavailable),
        (504, "Timeout", Class::InDoubt),
    ] {
        assert_eq!(class(code, reason), expected, "{code} {reason}");
    }
    let page = Dialectic::error(&Reply::text(502, "<html>Bad Gateway</html>"), Timestamp(0));
    assert_eq!((page.code.as_str(), page.status), ("", 502));
}

#[test]
fn the_servers_words_causes_and_id_reach_the_person() {
    let causes = json!({"causes": [
        {"reason": "FieldValueInvalid", "message": "Invalid value: \"x\"", "field": "spec.replicas"}]});
    let model = Model::new();
    let refused = status(422, "Invalid", "Deployment.apps \"web\" is invalid", causes);
    model.fault("PATCH deployments", Fault::Before(Ok(refused)));
    let failure = deploy(&model, &config(json!({})), "r1", 1).unwrap_err();
    assert_eq!((failure.code, failure.retry), (FailureCode::Invalid, Retry::Never));
    assert_eq!(
        failure.message,
        "APPLY Deployment shop-prod-web-r1: Deployment.apps \"web\" is invalid; spec.replicas: Invalid value: \"x\" \
         (Invalid, status 422, request id audit-1)"
    );
    // Asked to come back later, in the body or by a header: no sooner.
    for (details, header) in [(json!({"retryAfterSeconds": 30}), None), (json!({}), Some("30"))] {
        let model = Model::new();
        let mut busy = status(429, "TooManyRequests", "too many requests", details);
        busy.headers.extend(header.map(|seconds| ("retry-after".to_owned(), seconds.to_owned())));
        model.fault("PATCH services", Fault::Before(Ok(busy)));
        let failure = deploy(&model, &config(json!({})), "r1", 1).unwrap_err();
        assert_eq!(failure.code, FailureCode::Throttled);
        assert!(matches!(failure.retry, Retry::After(after) if after >= Duration::from_secs(30)), "{failure:?}");
    }
}
