//! The one door to the network: a whole request goes out, a whole response comes back.
//!
//! Credentials never pass here: the host adds them on the way out. Redirects are not followed.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::host::basb::host::http as wire;
use crate::doors::{Backend, door_error};
use crate::failure::Failure;
use crate::values::millis;

type WireError = wire::Error;

door_error! {
    /// Why no response can be given.
    HttpError from WireError {
        /// The grant does not cover the request; the text holds the lines that would.
        Denied = "not granted: " => denied,
        /// The request is malformed.
        Invalid = "malformed request: " => invalid,
        /// The name could not be resolved.
        Dns = "name not resolved: " => unavailable,
        /// No connection.
        Connect = "no connection: " => unavailable,
        /// The TLS handshake failed.
        Tls = "TLS handshake failed: " => unavailable,
        /// No answer in time: the effect is in doubt.
        TimedOut = "no answer in time: " => timed_out,
        /// The connection broke after the request had been sent: the effect is in doubt.
        Broken = "connection broken: " => timed_out,
        /// A body or a head over the limit.
        TooLarge = "too large: " => other,
        /// The plugin has used up its requests for this call.
        Exhausted = "too many requests in one call: " => other,
        /// Anything else.
        Other = "" => other,
    }
}

impl HttpError {
    /// Whether the request may have had its effect all the same.
    pub fn effect_in_doubt(&self) -> bool {
        matches!(self, HttpError::TimedOut(_) | HttpError::Broken(_))
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// Absolute: scheme, host, port if not the scheme's own, path and query.
    pub url: String,
    /// In the order given. `host` and `content-length` are set by the host.
    pub headers: Vec<(String, String)>,
    /// Empty where there is none.
    pub body: Vec<u8>,
    /// The longest to wait for the whole response; the call's deadline holds in any case.
    pub timeout: Option<Duration>,
}

impl Request {
    /// A request without headers or body.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Request {
        Request { method: method.into(), url: url.into(), headers: Vec::new(), body: Vec::new(), timeout: None }
    }

    /// `GET`.
    pub fn get(url: impl Into<String>) -> Request {
        Request::new("GET", url)
    }

    /// `POST`.
    pub fn post(url: impl Into<String>) -> Request {
        Request::new("POST", url)
    }

    /// `PUT`.
    pub fn put(url: impl Into<String>) -> Request {
        Request::new("PUT", url)
    }

    /// `DELETE`.
    pub fn delete(url: impl Into<String>) -> Request {
        Request::new("DELETE", url)
    }

    /// Adds a header; one of the same name stays.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Request {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = body.into();
        self
    }

    /// Sets the body to this value as JSON, and the content type. A value that JSON cannot hold (a map whose keys are
    /// no strings) becomes `null`.
    #[must_use]
    pub fn json(mut self, value: &impl Serialize) -> Request {
        self.body = serde_json::to_vec(value).unwrap_or_else(|_| b"null".to_vec());
        self.header("content-type", "application/json")
    }

    /// The longest to wait for the whole response.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Request {
        self.timeout = Some(timeout);
        self
    }

    /// The value of a header, whatever the case of its name.
    pub fn header_value(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

/// How long the parts of an exchange took since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timing {
    /// Until the connection was there; zero for one that was open already.
    pub connected: Duration,
    /// Until the response's head had arrived.
    pub head: Duration,
    /// Until the whole response had arrived.
    pub total: Duration,
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
    /// How long it took.
    pub timing: Timing,
}

impl Response {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the status is 3xx.
    pub fn is_redirect(&self) -> bool {
        (300..400).contains(&self.status)
    }

    /// The first value of a header, whatever the case of the name.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The body as text; bytes that are no UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body's first line in at most `limit` characters, for messages.
    pub fn excerpt(&self, limit: usize) -> String {
        let text = String::from_utf8_lossy(self.body.get(..limit.saturating_mul(4)).unwrap_or(&self.body)).into_owned();
        let line = text.trim().lines().next().unwrap_or_default();
        match line.char_indices().nth(limit) {
            Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
            None => line.to_owned(),
        }
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// [`crate::FailureCode::Other`] where it is none, or not of that shape, with the body's beginning. It is repeated after
    /// a second: an answer that cannot be read, such as a proxy's page or one that was cut off, says nothing of the effect.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Failure::other(format!(
                "the response (status {}) is not the expected JSON: {error}: {}",
                self.status,
                self.excerpt(200)
            ))
            .retry_after(Duration::from_secs(1))
        })
    }

    /// Itself when the status is 2xx.
    ///
    /// # Errors
    /// The failure that the status stands for, with the body's first line; 429 and 503 obey `retry-after`.
    pub fn require_success(self) -> Result<Response, Failure> {
        if self.is_success() { Ok(self) } else { Err(self.to_failure()) }
    }

    /// The failure that the status stands for.
    pub fn to_failure(&self) -> Failure {
        let message = format!("the counterpart answered {}: {}", self.status, self.excerpt(300));
        let failure = match self.status {
            401 | 403 => Failure::denied(message),
            404 | 410 => Failure::not_found(message),
            409 | 412 => Failure::conflict(message),
            408 | 504 => Failure::timed_out(message),
            429 => Failure::throttled(message),
            400..=499 => Failure::invalid(message),
            500..=599 => Failure::unavailable(message),
            _ => Failure::other(message),
        };
        match self.header("retry-after").and_then(|value| value.trim().parse().ok()) {
            Some(seconds) if matches!(self.status, 429 | 503) => failure.retry_after(Duration::from_secs(seconds)),
            _ => failure,
        }
    }
}

/// The HTTP door.
#[derive(Debug, Clone, Copy)]
pub struct Http<'a>(pub(crate) &'a Backend);

impl Http<'_> {
    /// Sends one request and waits for its response. A status of 4xx or 5xx is a response, not an error.
    ///
    /// # Errors
    /// Where the grant does not cover it, or no response arrives.
    pub fn send(self, request: Request) -> Result<Response, HttpError> {
        match self.0 {
            Backend::Live => match wire::send(&to_wire(request)) {
                Ok(response) => Ok(from_wire(response)),
                Err(error) => Err(error.into()),
            },
            #[cfg(not(target_arch = "wasm32"))]
            Backend::Fake(host) => host.http_send(request),
        }
    }

    /// Sends several at once; the results are in the order of the requests.
    pub fn send_many(self, requests: Vec<Request>) -> Vec<Result<Response, HttpError>> {
        match self.0 {
            Backend::Live => {
                let requests: Vec<_> = requests.into_iter().map(to_wire).collect();
                let results = wire::send_many(&requests);
                results.into_iter().map(|result| result.map(from_wire).map_err(HttpError::from)).collect()
            }
            #[cfg(not(target_arch = "wasm32"))]
            Backend::Fake(host) => requests.into_iter().map(|request| host.http_send(request)).collect(),
        }
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn to_wire(request: Request) -> wire::Request {
    wire::Request {
        method: request.method,
        url: request.url,
        headers: request.headers,
        body: request.body,
        timeout: request.timeout.map(millis),
    }
}

fn from_wire(response: wire::Response) -> Response {
    Response {
        status: response.status,
        headers: response.headers,
        body: response.body,
        timing: Timing {
            connected: Duration::from_micros(response.timing.connected),
            head: Duration::from_micros(response.timing.head),
            total: Duration::from_micros(response.timing.total),
        },
    }
}
