//! Thin clients of the three services that this provider speaks to, and how AWS puts its errors.
//!
//! The plugin writes unsigned requests; the host signs them. The wire formats are those of the service descriptions that
//! AWS publishes: JSON 1.1 (ECS), the Query protocol with XML answers (Elastic Load Balancing), REST with JSON (Lambda).

pub mod ecs;
pub mod elb;
pub mod lambda;
mod query;
mod xml;

use basb_cloud_kit::{ApiError, Class, Dialect};
use basb_plugin::Timestamp;
use basb_plugin::http::Response;
use serde::{Deserialize, Deserializer};

/// How AWS puts errors, in all of its protocols.
pub struct Aws;

/// A field that is written as `null` is one that is not written: `#[serde(default)]` alone would make the whole answer one
/// that cannot be read. Not for what names a thing: without its name there is no half of it.
fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(of: D) -> Result<T, D::Error> {
    Option::deserialize(of).map(Option::unwrap_or_default)
}

#[derive(Deserialize)]
struct JsonError {
    #[serde(rename = "__type")]
    kind: Option<String>,
    code: Option<String>,
    #[serde(alias = "Message", alias = "errorMessage")]
    message: Option<String>,
}

impl Dialect for Aws {
    fn error(response: &Response, now: Timestamp) -> ApiError {
        let mut error = ApiError::of(response, now);
        let header = |name: &str| response.header(name).filter(|value| !value.is_empty()).map(str::to_owned);
        error.request_id = header("x-amzn-requestid").or_else(|| header("x-amz-request-id"));
        if let Ok(body) = serde_json::from_slice::<JsonError>(&response.body) {
            error.code = header("x-amzn-errortype").or(body.kind).or(body.code).unwrap_or_default();
            error.message = body.message.unwrap_or(error.message);
        } else if let Some(found) = xml::error(&response.text()) {
            error.code = found.code;
            error.message = found.message;
            error.request_id = error.request_id.or(found.request_id);
        } else if let Some(kind) = header("x-amzn-errortype") {
            error.code = kind;
        }
        // `com.amazonaws.ecs#ClientException:http://…` is `ClientException`.
        let plain = error.code.rsplit('#').next().unwrap_or_default().split(':').next().unwrap_or_default();
        error.code = plain.trim().to_owned();
        error
    }

    fn class(error: &ApiError) -> Option<Class> {
        let code = error.code.as_str();
        Some(match code {
            // AWS names a code in each of its refusals: what has none is half an answer, or somebody else's.
            "" if error.status == 400 => Class::InDoubt,
            _ if code.contains("Throttl") => Class::Throttled,
            "TooManyRequestsException" | "RequestLimitExceeded" | "SlowDown" => Class::Throttled,
            "AccessDenied"
            | "AccessDeniedException"
            | "UnauthorizedOperation"
            | "OptInRequired"
            | "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "RequestExpired"
            | "AuthFailure" => Class::Denied,
            "ClusterNotFoundException"
            | "ServiceNotFoundException"
            | "ServiceDeploymentNotFoundException"
            | "ResourceNotFoundException"
            | "TargetGroupNotFound"
            | "RuleNotFound"
            | "ListenerNotFound"
            | "LoadBalancerNotFound" => Class::NotFound,
            // These pass: another change is finished, a rule is gone, a priority is chosen anew.
            "UpdateInProgressException"
            | "ConcurrentModificationException"
            | "ServiceNotActiveException"
            | "ResourceInUse"
            | "ResourceInUseException"
            | "PriorityInUse" => Class::Busy,
            // What was read was not the last word: it exists by now, or is another one. It is read again.
            "ResourceConflictException" | "CodeVerificationFailedException" | "PreconditionFailedException" => {
                Class::Busy
            }
            "ConflictException" | "DuplicateTargetGroupName" => Class::Conflict,
            "RequestTimeout" | "RequestTimeoutException" => Class::InDoubt,
            _ => return None,
        })
    }
}
