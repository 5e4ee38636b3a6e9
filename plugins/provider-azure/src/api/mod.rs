//! A thin client of Azure Resource Manager for Container Apps, and how it puts its errors.
//!
//! The plugin writes requests without credentials; the host adds the token of Microsoft Entra. Paths, bodies and answers
//! are those of the description that Microsoft publishes (`Microsoft.App`, version [`VERSION`]).

pub mod apps;
pub mod model;
pub mod operation;

use basb_cloud_kit::{ApiError, Class, Dialect};
use basb_plugin::Timestamp;
use basb_plugin::http::Response;
use serde_json::Value;

/// The version of the API.
pub const VERSION: &str = "2025-07-01";

/// How Azure Resource Manager puts errors.
pub struct Arm;

/// So many details of an error are told.
const MOST_DETAILS: usize = 5;

/// Code and message of an error as ARM writes it, with its details behind the message.
pub fn said(error: &Value) -> (String, String) {
    let text = |of: &Value, name: &str, other: &str| {
        of.get(name).or_else(|| of.get(other)).and_then(Value::as_str).unwrap_or_default().trim().to_owned()
    };
    let code = text(error, "code", "Code");
    let mut message = text(error, "message", "Message");
    let target = text(error, "target", "Target");
    if !target.is_empty() {
        message = format!("{message} (target: {target})");
    }
    let details = error.get("details").or_else(|| error.get("Details")).and_then(Value::as_array);
    for detail in details.into_iter().flatten().take(MOST_DETAILS) {
        let more = text(detail, "message", "Message");
        // Details often say the message once more.
        if !more.is_empty() && !message.contains(&more) {
            let code = text(detail, "code", "Code");
            let code = if code.is_empty() { code } else { format!("{code}: ") };
            message = format!("{message}; {code}{more}");
        }
    }
    (code, message)
}

impl Dialect for Arm {
    fn error(response: &Response, now: Timestamp) -> ApiError {
        let mut error = ApiError::of(response, now);
        let header = |name: &str| response.header(name).filter(|value| !value.is_empty()).map(str::to_owned);
        error.request_id = match (header("x-ms-request-id"), header("x-ms-correlation-request-id")) {
            (Some(id), Some(correlation)) if id != correlation => Some(format!("{id}, correlation id {correlation}")),
            (id, correlation) => id.or(correlation),
        };
        if let Ok(body) = serde_json::from_slice::<Value>(&response.body) {
            let (code, message) = said(body.get("error").filter(|inner| inner.is_object()).unwrap_or(&body));
            error.code = code;
            if !message.is_empty() {
                error.message = message;
            }
        }
        error
    }

    fn class(error: &ApiError) -> Option<Class> {
        let code = error.code.as_str();
        if matches!(error.status, 429 | 500..=599) && error.status != 504 {
            return None;
        }
        Some(match code {
            "TooManyRequests" | "SubscriptionRequestsThrottled" | "ResourceCollectionRequestsThrottled" => {
                Class::Throttled
            }
            // These pass: the app takes one change at a time, and its environment too.
            _ if code.ends_with("LockConflict") || code.ends_with("OperationInProgress") => Class::Busy,
            _ if error.status == 409 && error.message.contains("operation in progress") => Class::Busy,
            // Not the app is missing, but what it should be in: nothing that could be made.
            "ResourceGroupNotFound" | "SubscriptionNotFound" | "InvalidSubscriptionId" => Class::Invalid,
            "ResourceNotFound" | "NotFound" => Class::NotFound,
            "AuthorizationFailed"
            | "LinkedAuthorizationFailed"
            | "AuthenticationFailed"
            | "InvalidAuthenticationToken"
            | "InvalidAuthenticationTokenTenant"
            | "ExpiredAuthenticationToken"
            | "RequestDisallowedByPolicy"
            | "ScopeLocked" => Class::Denied,
            "ServerTimeout" | "GatewayTimeout" => Class::InDoubt,
            _ => return None,
        })
    }
}
