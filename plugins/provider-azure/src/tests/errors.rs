//! ARM's errors, in every form that it puts them in.

use basb_cloud_kit::{Class, Dialect};
use basb_plugin::Timestamp;
use basb_plugin::testing::Reply;
use serde_json::json;

use super::cloud::error;
use crate::api::Arm;

#[test]
fn codes_messages_and_details_are_found() {
    let now = Timestamp(0);
    let plain = Arm::error(&error(404, "ResourceNotFound", "The Resource 'x' was not found."), now);
    assert_eq!((plain.code.as_str(), plain.message.as_str()), ("ResourceNotFound", "The Resource 'x' was not found."));
    assert_eq!(plain.request_id.as_deref(), Some("req-1, correlation id corr-1"));
    let detailed = json!({"error": {"code": "InvalidTemplate", "message": "it is wrong", "target": "template",
        "details": [{"code": "A", "message": "first"}, {"code": "B", "message": "it is wrong"}, {"message": "third"}]}});
    let detailed = Arm::error(&Reply::json(400, &detailed), now);
    assert_eq!(detailed.message, "it is wrong (target: template); A: first; third");
    let capital = Arm::error(&Reply::json(409, &json!({"Code": "Conflict", "Message": "busy"})), now);
    assert_eq!((capital.code.as_str(), capital.message.as_str()), ("Conflict", "busy"));
    let page = Arm::error(&Reply::text(502, "<html><body>Bad Gateway</body></html>"), now);
    assert_eq!((page.code.as_str(), page.status), ("", 502));
}

#[test]
fn codes_mean_what_azure_says() {
    let class = |status: u16, code: &str, message: &str| {
        let error = Arm::error(&error(status, code, message), Timestamp(0));
        Arm::class(&error).unwrap_or_else(|| Class::of_status(error.status))
    };
    for (status, code, expected) in [
        (429, "TooManyRequests", Class::Throttled),
        (429, "Anything", Class::Throttled),
        (400, "SubscriptionRequestsThrottled", Class::Throttled),
        (500, "InternalServerError", Class::Unavailable),
        (503, "ResourceNotFound", Class::Unavailable),
        (504, "GatewayTimeout", Class::InDoubt),
        (408, "RequestTimeout", Class::InDoubt),
        (401, "ExpiredAuthenticationToken", Class::Denied),
        (403, "AuthorizationFailed", Class::Denied),
        (409, "ScopeLocked", Class::Denied),
        (404, "ResourceNotFound", Class::NotFound),
        (404, "ResourceGroupNotFound", Class::Invalid),
        (404, "SubscriptionNotFound", Class::Invalid),
        (409, "ContainerAppLockConflict", Class::Busy),
        (409, "ContainerAppOperationInProgress", Class::Busy),
        (409, "ManagedEnvironmentOperationInProgress", Class::Busy),
        (409, "Conflict", Class::Conflict),
        (412, "PreconditionFailed", Class::Conflict),
        (400, "InvalidParameterValueInContainerTemplate", Class::Invalid),
    ] {
        assert_eq!(class(status, code, "x"), expected, "{status} {code}");
    }
    let busy = "Cannot modify a container app because there is an active provisioning operation in progress";
    assert_eq!(class(409, "Conflict", busy), Class::Busy);
}
