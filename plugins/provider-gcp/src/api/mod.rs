//! A thin client of the Cloud Run Admin API v2, and how Google puts its errors.
//!
//! Paths, fields and enums are those of the discovery document that Google publishes (`run.v2`). Requests leave without a
//! token; the host adds it.

mod types;

use std::time::Duration;

use basb_cloud_kit::{ApiError, Class, Client, Dialect, IfFound, Page, Refused, UNRESERVED, pages};
use basb_plugin::http::{Request, Response};
use basb_plugin::{Failure, Timestamp};
use percent_encoding::utf8_percent_encode;
use serde::Deserialize;
use serde_json::Value;

pub use types::{Condition, Operation, Revision, Service, TrafficStatus, TrafficTarget, short};

/// So many revisions on a page.
const PAGE: u32 = 100;

/// Whether a change is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// It is.
    ForReal,
    /// The server says what it thinks of it, and nothing is changed.
    Dry,
}

impl Run {
    fn parameter(self) -> &'static str {
        match self {
            Run::ForReal => "",
            Run::Dry => "&validateOnly=true",
        }
    }
}

/// Cloud Run in one project and location, for one service.
#[derive(Clone, Copy)]
pub struct RunApi<'a> {
    client: Client<'a>,
    /// `https://run.googleapis.com/v2/`
    root: &'a str,
    /// `projects/P/locations/L`
    parent: &'a str,
    service: &'a str,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RevisionsPage {
    revisions: Vec<Revision>,
    next_page_token: Option<String>,
}

impl<'a> RunApi<'a> {
    /// For one service.
    pub fn new(client: Client<'a>, root: &'a str, parent: &'a str, service: &'a str) -> RunApi<'a> {
        RunApi { client, root, parent, service }
    }

    /// The requests' client.
    pub fn client(&self) -> Client<'a> {
        self.client
    }

    fn url(&self, rest: &str) -> String {
        format!("{}{}/services/{}{rest}", self.root, self.parent, self.service)
    }

    /// The service, if it is there.
    pub fn service(&self) -> Result<Option<Service>, Failure> {
        self.client.json::<Google, _>("Cloud Run services.get", Request::get(self.url(""))).if_found()
    }

    /// Its revisions; none where it is not there.
    pub fn revisions(&self) -> Result<Vec<Revision>, Failure> {
        pages("Cloud Run revisions.list", |token| {
            let token = token.map(|token| format!("&pageToken={}", utf8_percent_encode(token, UNRESERVED)));
            let url = self.url(&format!("/revisions?pageSize={PAGE}{}", token.unwrap_or_default()));
            let page = self.client.json::<Google, RevisionsPage>("Cloud Run revisions.list", Request::get(url));
            let page = page.if_found()?.unwrap_or_default();
            Ok(Page { items: page.revisions, next: page.next_page_token })
        })
    }

    /// Makes the service.
    pub fn create(&self, body: &Value, run: Run) -> Result<Operation, Refused> {
        let url = format!("{}{}/services?serviceId={}{}", self.root, self.parent, self.service, run.parameter());
        self.client.json::<Google, _>("Cloud Run services.create", Request::post(url).json(body))
    }

    /// Changes the fields that `mask` names, and nothing else.
    pub fn patch(&self, mask: &[&str], body: &Value, run: Run) -> Result<Operation, Refused> {
        let url = self.url(&format!("?updateMask={}{}", mask.join(","), run.parameter()));
        self.client.json::<Google, _>("Cloud Run services.patch", Request::new("PATCH", url).json(body))
    }

    /// Removes the service with everything of it, if it is as it was read.
    pub fn delete(&self, etag: &str) -> Result<Operation, Refused> {
        let url = self.url(&format!("?etag={}", utf8_percent_encode(etag, UNRESERVED)));
        self.client.json::<Google, _>("Cloud Run services.delete", Request::delete(url))
    }

    /// Removes a revision.
    pub fn delete_revision(&self, name: &str) -> Result<Operation, Refused> {
        let url = self.url(&format!("/revisions/{name}"));
        self.client.json::<Google, _>("Cloud Run revisions.delete", Request::delete(url))
    }

    /// An operation by its name; none where it is not known any more.
    pub fn operation(&self, name: &str) -> Result<Option<Operation>, Failure> {
        let url = format!("{}{}/operations/{}", self.root, self.parent, utf8_percent_encode(short(name), UNRESERVED));
        self.client.json::<Google, _>("Cloud Run operations.get", Request::get(url)).if_found()
    }
}

/// How Google puts errors: `{"error": {"code", "message", "status", "details"}}`.
pub struct Google;

#[derive(Deserialize)]
struct Body {
    error: Status,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    message: Option<String>,
    status: Option<String>,
    details: Vec<Value>,
}

impl Dialect for Google {
    fn error(response: &Response, now: Timestamp) -> ApiError {
        let mut error = ApiError::of(response, now);
        error.request_id = response.header("x-request-id").filter(|id| !id.is_empty()).map(str::to_owned);
        if let Ok(Body { error: said }) = serde_json::from_slice::<Body>(&response.body) {
            error.code = said.status.unwrap_or_default();
            error.message = said.message.unwrap_or(error.message);
            for detail in &said.details {
                let text = |name: &str| detail.get(name).and_then(Value::as_str);
                match text("@type").and_then(|kind| kind.rsplit('.').next()) {
                    Some("RequestInfo") => error.request_id = text("requestId").map(str::to_owned).or(error.request_id),
                    Some("RetryInfo") => {
                        let asked = text("retryDelay").and_then(delay);
                        error.retry_after = error.retry_after.or(asked);
                    }
                    Some("BadRequest") => error.message.push_str(&violations(detail)),
                    _ => {}
                }
            }
        }
        error
    }

    fn class(error: &ApiError) -> Option<Class> {
        class_of(&error.code)
    }
}

/// What a code of `google.rpc.Code` means.
fn class_of(code: &str) -> Option<Class> {
    Some(match code {
        "INVALID_ARGUMENT" | "OUT_OF_RANGE" => Class::Invalid,
        "UNAUTHENTICATED" | "PERMISSION_DENIED" => Class::Denied,
        "NOT_FOUND" => Class::NotFound,
        "ALREADY_EXISTS" | "FAILED_PRECONDITION" => Class::Conflict,
        // Somebody else changed it meanwhile: what is read next is newer.
        "ABORTED" => Class::Busy,
        "RESOURCE_EXHAUSTED" => Class::Throttled,
        "UNAVAILABLE" | "INTERNAL" => Class::Unavailable,
        "DEADLINE_EXCEEDED" | "CANCELLED" | "UNKNOWN" => Class::InDoubt,
        _ => return None,
    })
}

/// What the number in an operation's error means.
pub fn class_of_number(code: i64) -> Class {
    let name = match code {
        1 => "CANCELLED",
        3 => "INVALID_ARGUMENT",
        4 => "DEADLINE_EXCEEDED",
        5 => "NOT_FOUND",
        6 => "ALREADY_EXISTS",
        7 => "PERMISSION_DENIED",
        8 => "RESOURCE_EXHAUSTED",
        9 => "FAILED_PRECONDITION",
        10 => "ABORTED",
        11 => "OUT_OF_RANGE",
        13 => "INTERNAL",
        14 => "UNAVAILABLE",
        16 => "UNAUTHENTICATED",
        _ => "",
    };
    class_of(name).unwrap_or(Class::Other)
}

/// `3s`, `0.250s`
fn delay(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.strip_suffix('s')?.parse().ok()?).ok()
}

/// Which fields are wrong, and why, as Google lists it beside its message.
fn violations(detail: &Value) -> String {
    let list = detail.get("fieldViolations").and_then(Value::as_array);
    let text = |of: &Value, name: &str| of.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    list.into_iter().flatten().map(|of| format!("; {}: {}", text(of, "field"), text(of, "description"))).collect()
}
