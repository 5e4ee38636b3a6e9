//! AWS's errors, in every form that it puts them in.

use basb_cloud_kit::{Class, Dialect};
use basb_plugin::Timestamp;
use basb_plugin::testing::Reply;
use serde_json::json;

use super::cloud::{ecs_error, elb_error};
use crate::api::Aws;

#[test]
fn codes_are_found_in_every_form() {
    let now = Timestamp(0);
    let json = Aws::error(&ecs_error(400, "com.amazonaws.ecs#ClusterNotFoundException", "Cluster not found."), now);
    assert_eq!((json.code.as_str(), json.message.as_str()), ("ClusterNotFoundException", "Cluster not found."));
    assert_eq!(json.request_id.as_deref(), Some("req-1"));
    let xml = Aws::error(&elb_error(403, "AccessDenied", "no &amp; never"), now);
    assert_eq!((xml.code.as_str(), xml.message.as_str()), ("AccessDenied", "no & never"));
    assert_eq!(xml.request_id.as_deref(), Some("req-2"));
    let mut rest = Reply::json(412, &json!({"Type": "User", "Message": "The RevisionId provided does not match"}));
    rest.headers.push(("x-amzn-ErrorType".to_ascii_lowercase(), "PreconditionFailedException:http://internal/".into()));
    let rest = Aws::error(&rest, now);
    assert_eq!(
        (rest.code.as_str(), rest.message.as_str()),
        ("PreconditionFailedException", "The RevisionId provided does not match")
    );
    let page = Aws::error(&Reply::text(502, "<html><body>Bad Gateway</body></html>"), now);
    assert_eq!((page.code.as_str(), page.status), ("", 502));
}

#[test]
fn codes_mean_what_aws_says() {
    let class = |status: u16, code: &str, message: &str| {
        let error = Aws::error(&ecs_error(status, code, message), Timestamp(0));
        Aws::class(&error).unwrap_or_else(|| Class::of_status(error.status))
    };
    for (status, code, expected) in [
        (400, "ThrottlingException", Class::Throttled),
        (400, "Throttling", Class::Throttled),
        (429, "TooManyRequestsException", Class::Throttled),
        (503, "RequestLimitExceeded", Class::Throttled),
        (400, "LimitExceededException", Class::Invalid),
        (500, "ServerException", Class::Unavailable),
        (500, "ServiceException", Class::Unavailable),
        (503, "ServiceUnavailable", Class::Unavailable),
        (400, "AccessDeniedException", Class::Denied),
        (403, "SignatureDoesNotMatch", Class::Denied),
        (400, "ExpiredTokenException", Class::Denied),
        (400, "ServiceNotFoundException", Class::NotFound),
        (400, "TargetGroupNotFound", Class::NotFound),
        (400, "UpdateInProgressException", Class::Busy),
        (400, "ResourceInUse", Class::Busy),
        (400, "PriorityInUse", Class::Busy),
        (409, "ResourceConflictException", Class::Busy),
        (412, "PreconditionFailedException", Class::Busy),
        (400, "InvalidParameterException", Class::Invalid),
        (400, "ClientException", Class::Invalid),
    ] {
        assert_eq!(class(status, code, "x"), expected, "{status} {code}");
    }
}
