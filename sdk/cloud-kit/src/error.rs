//! What a counterpart says when it refuses, and what that means to the engine.

use std::time::{Duration, UNIX_EPOCH};

use basb_plugin::http::Response;
use basb_plugin::{Failure, FailureCode, Timestamp};

use crate::jitter::Jitter;

/// An answer that is no success, in the counterpart's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The status.
    pub status: u16,
    /// The counterpart's code, such as `ThrottlingException`; empty where it gave none.
    pub code: String,
    /// The counterpart's message; the body's beginning where it gave none.
    pub message: String,
    /// What its support asks for.
    pub request_id: Option<String>,
    /// How long it wants to be left alone.
    pub retry_after: Option<Duration>,
}

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The request is wrong. Never repeated.
    Invalid,
    /// Not allowed. Never repeated.
    Denied,
    /// What was named is not there. Never repeated.
    NotFound,
    /// It exists with another content, or somebody else changed it. Never repeated.
    Conflict,
    /// It is being changed, or still used, and will not be for long. Repeated.
    Busy,
    /// Too many requests. Repeated.
    Throttled,
    /// The counterpart cannot answer now. Repeated.
    Unavailable,
    /// Nobody knows whether it took effect. Repeated, with the same key.
    InDoubt,
    /// A service does not become healthy. Never repeated.
    Unhealthy,
    /// Anything else. Never repeated.
    Other,
}

impl Class {
    /// What a status means by itself.
    pub fn of_status(status: u16) -> Class {
        match status {
            401 | 403 => Class::Denied,
            404 | 410 => Class::NotFound,
            409 | 412 => Class::Conflict,
            408 | 504 => Class::InDoubt,
            429 => Class::Throttled,
            400..=499 => Class::Invalid,
            500..=599 => Class::Unavailable,
            _ => Class::Other,
        }
    }

    /// How soon at the earliest it is worth another try; `None` for never.
    fn again(self) -> Option<Duration> {
        match self {
            Class::Throttled => Some(Duration::from_secs(2)),
            Class::Busy | Class::Unavailable | Class::InDoubt => Some(Duration::from_secs(1)),
            Class::Invalid | Class::Denied | Class::NotFound | Class::Conflict | Class::Unhealthy | Class::Other => {
                None
            }
        }
    }

    fn code(self) -> FailureCode {
        match self {
            Class::Invalid => FailureCode::Invalid,
            Class::Denied => FailureCode::Denied,
            Class::NotFound => FailureCode::NotFound,
            Class::Conflict | Class::Busy => FailureCode::Conflict,
            Class::Throttled => FailureCode::Throttled,
            Class::Unavailable => FailureCode::Unavailable,
            Class::InDoubt => FailureCode::TimedOut,
            Class::Unhealthy => FailureCode::Unhealthy,
            Class::Other => FailureCode::Other,
        }
    }

    /// A failure of this class, with this message; repeated where that can help, no sooner than the counterpart asked.
    pub fn failure(self, message: impl Into<String>, jitter: Jitter, asked: Option<Duration>) -> Failure {
        let failure = Failure::new(self.code(), message, basb_plugin::Retry::Never);
        match (self.again(), asked) {
            (None, _) => failure,
            (Some(_), Some(asked)) => failure.retry_after(jitter.after(asked)),
            (Some(base), None) => failure.retry_after(jitter.spread(base)),
        }
    }
}

impl ApiError {
    /// What an answer says by itself: status, `retry-after` and the body's beginning.
    pub fn of(response: &Response, now: Timestamp) -> ApiError {
        ApiError {
            status: response.status,
            code: String::new(),
            message: response.excerpt(300),
            request_id: None,
            retry_after: response.header("retry-after").and_then(|value| retry_after(value, now)),
        }
    }

    /// The failure: what was being done, the counterpart's words, its code and its request id.
    pub fn failure(&self, doing: &str, class: Class, jitter: Jitter) -> Failure {
        let mut where_from = Vec::new();
        if !self.code.is_empty() {
            where_from.push(self.code.clone());
        }
        where_from.push(format!("status {}", self.status));
        where_from.extend(self.request_id.as_ref().map(|id| format!("request id {id}")));
        let said = if self.message.is_empty() { "no words" } else { &self.message };
        let mut failure =
            class.failure(format!("{doing}: {said} ({})", where_from.join(", ")), jitter, self.retry_after);
        failure = failure.extra("status", self.status.to_string());
        if !self.code.is_empty() {
            failure = failure.extra("code", self.code.clone());
        }
        if let Some(id) = &self.request_id {
            failure = failure.extra("request-id", id.clone());
        }
        failure
    }
}

/// `Retry-After`: whole seconds or a date (RFC 9110, 10.2.3).
fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(value).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(until.saturating_sub(Duration::from_millis(now.as_millis())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use basb_plugin::Retry;
    use basb_plugin::testing::Reply;

    fn with_header(status: u16, value: &str) -> ApiError {
        let mut response = Reply::text(status, "slow down\nplease");
        response.headers.push(("retry-after".into(), value.into()));
        ApiError::of(&response, Timestamp(1_767_323_045_000))
    }

    #[test]
    fn only_what_passes_is_repeated() {
        let jitter = Jitter::of("key", 1);
        for status in [400, 401, 403, 404, 409, 412, 413, 422, 301, 600] {
            let error = ApiError::of(&Reply::status(status), Timestamp(0));
            assert_eq!(error.failure("x", Class::of_status(status), jitter).retry, Retry::Never, "{status}");
        }
        for status in [408, 429, 500, 502, 503, 504] {
            let error = ApiError::of(&Reply::status(status), Timestamp(0));
            let retry = error.failure("x", Class::of_status(status), jitter).retry;
            assert!(matches!(retry, Retry::After(time) if time >= Duration::from_secs(1)), "{status} {retry:?}");
        }
        // A counterpart cannot talk the engine into repeating what is wrong.
        let asked = with_header(400, "1").failure("x", Class::Invalid, jitter);
        assert_eq!(asked.retry, Retry::Never);
    }

    #[test]
    fn the_counterparts_own_time_is_kept() {
        // The fake host's time, 2026-01-02T03:04:05Z, is a Friday.
        for (value, seconds) in [("30", 30), (" 30 ", 30), ("Fri, 02 Jan 2026 03:05:05 GMT", 60)] {
            assert_eq!(with_header(429, value).retry_after, Some(Duration::from_secs(seconds)), "{value}");
        }
        assert_eq!(with_header(429, "Fri, 02 Jan 2026 03:04:00 GMT").retry_after, Some(Duration::ZERO), "it is over");
        assert_eq!(with_header(429, "soon").retry_after, None);
        let failure = with_header(429, "30").failure("x", Class::Throttled, Jitter::of("key", 1));
        assert!(matches!(failure.retry, Retry::After(time) if time >= Duration::from_secs(30)), "{failure:?}");
    }

    #[test]
    fn the_counterparts_own_words_are_kept() {
        let error = ApiError {
            code: "AccessDeniedException".into(),
            message: "no".into(),
            request_id: Some("7f2".into()),
            ..with_header(403, "")
        };
        let failure = error.failure("UpdateService", Class::Denied, Jitter::of("key", 1));
        assert_eq!(failure.message, "UpdateService: no (AccessDeniedException, status 403, request id 7f2)");
        assert_eq!(basb_plugin::extra(&failure.extras, "request-id"), Some("7f2"));
    }
}
