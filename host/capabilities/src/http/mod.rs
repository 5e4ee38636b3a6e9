//! The one door to the network: a whole request goes out as a value, a whole response comes back as one.
//!
//! [`Http::send`] is the one choke point: it reads the URL ([`url`]), checks the headers ([`headers`]), decides by the
//! grant ([`policy`]), and sends by a connection whose address was checked ([`crate::network`]). Connections are pooled
//! by how far their names may lead, so that one plugin's grant never opens a connection that another one then uses.

mod connect;
pub mod headers;
pub mod policy;
mod tls;
pub mod url;

pub use tls::Roots;

use crate::network::ConnectError;
use crate::network::address::Reach;
use crate::scope::Taken;
use crate::{CallScope, Capability, Limits, denial};
use ::http::{HeaderMap, Method, Request as HyperRequest, Uri};
use bytes::{Bytes, BytesMut};
use connect::{ConnectedAt, NetworkConnector, SocketConnector};
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioExecutor;
use policy::{Refusal, Route};
use std::collections::BTreeMap;
use std::error::Error as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use url::Destination;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// Absolute.
    pub url: String,
    /// In the order given.
    pub headers: Vec<(String, String)>,
    /// Empty where there is none.
    pub body: Vec<u8>,
    /// The longest to wait for the whole response.
    pub timeout: Option<Duration>,
}

/// How long the parts of an exchange took, in microseconds since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timing {
    /// Until the connection was there; 0 for one that was open already.
    pub connected: u64,
    /// Until the response's head had arrived.
    pub head: u64,
    /// Until the whole response had arrived.
    pub total: u64,
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case; values that are no UTF-8 are converted with replacement characters.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
    /// How long it took.
    pub timing: Timing,
}

/// Why no response can be given. The texts are whole sentences for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The grant does not cover the request; the text holds the lines that would.
    #[error("{0}")]
    Denied(String),
    /// The request is malformed.
    #[error("{0}")]
    Invalid(String),
    /// The name could not be resolved.
    #[error("{0}")]
    Dns(String),
    /// No connection.
    #[error("{0}")]
    Connect(String),
    /// The TLS handshake failed.
    #[error("{0}")]
    Tls(String),
    /// No answer in time: the effect is in doubt.
    #[error("{0}")]
    TimedOut(String),
    /// The connection broke after the request had been sent: the effect is in doubt.
    #[error("{0}")]
    Broken(String),
    /// A body or a head over the limit.
    #[error("{0}")]
    TooLarge(String),
    /// The plugin has used up its requests for this call.
    #[error("{0}")]
    Exhausted(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl HttpError {
    /// In one word, for the list of host calls.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Denied(_) => "denied",
            Self::Invalid(_) => "invalid",
            Self::Dns(_) => "dns",
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::TimedOut(_) => "timed out",
            Self::Broken(_) => "broken",
            Self::TooLarge(_) => "too large",
            Self::Exhausted(_) => "exhausted",
            Self::Other(_) => "failed",
        }
    }
}

type NetworkClient = Client<NetworkConnector, Full<Bytes>>;

/// The door.
#[derive(Debug)]
pub struct Http {
    limits: Limits,
    public: NetworkClient,
    private: NetworkClient,
    loopback: NetworkClient,
    literal: NetworkClient,
    sockets: Client<SocketConnector, Full<Bytes>>,
    known_sockets: Vec<String>,
}

impl Http {
    pub(crate) fn new(sockets: BTreeMap<String, PathBuf>, limits: Limits, roots: Roots) -> Self {
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            // Shorter than what common servers keep a connection for, so that a request seldom meets one that is closing.
            .pool_idle_timeout(Duration::from_secs(4))
            .pool_timer(hyper_util::rt::TokioTimer::new())
            .pool_max_idle_per_host(8)
            .http1_max_headers(limits.headers)
            .http1_max_buf_size(limits.header_bytes.max(8 << 10));
        let tls = tls::Tls::new(roots);
        let network = |reach| {
            builder.build(NetworkConnector { reach, tls: tls.clone(), connect_timeout: limits.connect_timeout })
        };
        Self {
            public: network(Reach::Public),
            private: network(Reach::Private),
            loopback: network(Reach::Loopback),
            literal: network(Reach::Literal),
            known_sockets: sockets.keys().cloned().collect(),
            sockets: builder.build(SocketConnector { sockets: sockets.into() }),
            limits,
        }
    }

    /// Sends one request and waits for its response: the one choke point of this capability.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn send(&self, scope: &CallScope, request: Request) -> Result<Response, HttpError> {
        let shown = match url::parse(&request.url) {
            Ok(destination) => destination.shown(),
            Err(_) => crate::printable(&request.url, 200),
        };
        let method = crate::printable(&request.method, 20);
        let number = scope.counters.begin(Capability::Http, format!("{method} {shown}"), self.limits.kept_calls);
        let result = self.send_unseen(scope, request).await;
        let outcome = match &result {
            Ok(response) => response.status.to_string(),
            Err(error) => error.word().to_owned(),
        };
        scope.counters.finish(number, outcome);
        result
    }

    /// Sends several at once; the results are in the order of the requests.
    pub async fn send_many(&self, scope: &CallScope, requests: Vec<Request>) -> Vec<Result<Response, HttpError>> {
        let sends = requests.into_iter().map(|request| self.send(scope, request));
        stream::iter(sends).buffered(self.limits.parallel_requests.max(1)).collect().await
    }

    async fn send_unseen(&self, scope: &CallScope, request: Request) -> Result<Response, HttpError> {
        if scope.counters.take_request(self.limits.requests) == Taken::Exhausted {
            let text = format!("{} has made {} requests, which is the limit", denial::who(scope), self.limits.requests);
            return Err(HttpError::Exhausted(text));
        }
        if request.body.len() > self.limits.request_bytes {
            let text = format!(
                "a request body of {} bytes is over the limit of {}",
                request.body.len(),
                self.limits.request_bytes
            );
            return Err(HttpError::TooLarge(text));
        }
        let destination = url::parse(&request.url).map_err(HttpError::Invalid)?;
        let method = method(&request.method).map_err(HttpError::Invalid)?;
        let route = self.decide(scope, &method, &destination)?;
        let headers = headers::checked(&request.headers, &self.limits).map_err(HttpError::Invalid)?;

        let start = Instant::now();
        let left = scope.deadline.saturating_duration_since(start);
        let longest = request.timeout.unwrap_or(self.limits.http_timeout).min(self.limits.http_timeout).min(left);
        let exchange = self.exchange(start, scope, route, &method, &destination, headers, request.body);
        match tokio::time::timeout(longest, exchange).await {
            Ok(result) => result,
            Err(_) => Err(HttpError::TimedOut(format!(
                "{method} {} was not answered within {} ms: whether it had an effect is in doubt",
                destination.shown(),
                longest.as_millis()
            ))),
        }
    }

    fn decide(&self, scope: &CallScope, method: &Method, destination: &Destination) -> Result<Route, HttpError> {
        let target = scope.target.as_ref();
        let wanted = || format!("{method} {}", destination.shown());
        match policy::decide(&scope.grants.http, target, scope.mode, method.as_str(), destination) {
            Ok(Route::Socket(name)) if !self.known_sockets.contains(&name) => {
                let text = format!("there is no socket `{name}`; known: {}", self.known_sockets.join(", "));
                Err(HttpError::Connect(text))
            }
            Ok(route) => Ok(route),
            Err(Refusal::NotGranted) => {
                let lines = policy::lines_for(target, method.as_str(), destination);
                Err(HttpError::Denied(denial::not_granted(scope, &wanted(), &lines)))
            }
            Err(Refusal::NotARead) => {
                let path = crate::yaml_value(&crate::grants::PathPattern::literal(destination.url.path()));
                let why = format!(
                    "this call may only read; if the request only reads, add to its entry in `grants`: `reads: [{path}]`"
                );
                Err(HttpError::Denied(denial::refused(scope, &wanted(), &why)))
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one request, each checked by somebody else")]
    async fn exchange(
        &self,
        start: Instant,
        scope: &CallScope,
        route: Route,
        method: &Method,
        destination: &Destination,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<Response, HttpError> {
        let wanted = || format!("{method} {}", destination.shown());
        let uri: Uri =
            destination.url.as_str().parse().map_err(|error| HttpError::Invalid(format!("{}: {error}", wanted())))?;
        let body = Bytes::from(body);
        let attempt = async || {
            let mut outgoing = HyperRequest::new(Full::new(body.clone()));
            *outgoing.method_mut() = method.clone();
            *outgoing.uri_mut() = uri.clone();
            *outgoing.headers_mut() = headers.clone();
            let connection = capture_connection(&mut outgoing);
            let result = match &route {
                Route::Socket(_) => self.sockets.request(outgoing).await,
                Route::Network(Reach::Public) => self.public.request(outgoing).await,
                Route::Network(Reach::Private) => self.private.request(outgoing).await,
                Route::Network(Reach::Loopback) => self.loopback.request(outgoing).await,
                Route::Network(Reach::Literal) => self.literal.request(outgoing).await,
            };
            (result, connection)
        };
        let response = match attempt().await {
            (Ok(response), _) => response,
            // The server closed a connection that was kept open just when it was used again. A request that only reads
            // is sent once more; of any other it is in doubt whether it was seen.
            (Err(error), connection) if is_safe(method) && !error.is_connect() && was_open(&connection, start) => {
                tracing::debug!(%error, "a connection that was kept open is gone: the request is sent once more");
                attempt().await.0.map_err(|error| client_error(scope, &error, &wanted(), destination))?
            }
            (Err(error), _) => return Err(client_error(scope, &error, &wanted(), destination)),
        };
        let head = micros(start);
        let connected = response.extensions().get::<ConnectedAt>().map_or(0, |at| {
            let since = at.0.saturating_duration_since(start);
            u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
        });

        let (parts, mut incoming) = response.into_parts();
        let mut body = BytesMut::new();
        while let Some(frame) = incoming.frame().await {
            let frame =
                frame.map_err(|error| HttpError::Broken(format!("the answer to {} broke off: {error}", wanted())))?;
            if let Ok(data) = frame.into_data() {
                if body.len().saturating_add(data.len()) > self.limits.response_bytes {
                    let text =
                        format!("the answer to {} is over the limit of {} bytes", wanted(), self.limits.response_bytes);
                    return Err(HttpError::TooLarge(text));
                }
                body.extend_from_slice(&data);
            }
        }
        Ok(Response {
            status: parts.status.as_u16(),
            headers: headers::shown(&parts.headers),
            body: body.into(),
            timing: Timing { connected, head, total: micros(start) },
        })
    }
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Whether the connection of a request was there before it.
fn was_open(connection: &CaptureConnection, start: Instant) -> bool {
    let mut extras = ::http::Extensions::new();
    if let Some(connected) = connection.connection_metadata().as_ref() {
        connected.get_extras(&mut extras);
    }
    extras.get::<ConnectedAt>().is_some_and(|at| at.0 < start)
}

fn micros(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// Methods are compared letter by letter with the grant, so only the usual spelling is let through.
fn method(text: &str) -> Result<Method, String> {
    let plain = !text.is_empty() && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
    let shown = crate::printable(text, 20);
    if !plain || matches!(text, "CONNECT" | "TRACE") {
        return Err(format!("`{shown}` is not a method that can be sent; methods are upper-case words such as `GET`"));
    }
    Method::from_bytes(text.as_bytes()).map_err(|_| format!("`{shown}` is not a method"))
}

fn client_error(scope: &CallScope, error: &ClientError, wanted: &str, destination: &Destination) -> HttpError {
    let mut cause = error.source();
    let mut last = error.to_string();
    while let Some(inner) = cause {
        if let Some(connect) = inner.downcast_ref::<ConnectError>() {
            return connect_error(scope, connect, wanted, destination);
        }
        if let Some(hyper) = inner.downcast_ref::<hyper::Error>()
            && hyper.is_parse_too_large()
        {
            return HttpError::TooLarge(format!("the head of the answer to {wanted} is over the limit"));
        }
        last = inner.to_string();
        cause = inner.source();
    }
    if error.is_connect() {
        HttpError::Connect(format!("no connection for {wanted}: {last}"))
    } else {
        HttpError::Broken(format!(
            "the connection for {wanted} broke: {last}; whether the request had an effect is in doubt"
        ))
    }
}

fn connect_error(scope: &CallScope, error: &ConnectError, wanted: &str, destination: &Destination) -> HttpError {
    let text = format!("{wanted}: {error}");
    match error {
        ConnectError::Forbidden { class, .. } => {
            HttpError::Denied(denial::forbidden_address(scope, wanted, &error.to_string(), *class, &destination.place))
        }
        ConnectError::Dns(..) => HttpError::Dns(text),
        ConnectError::Refused(_) | ConnectError::Failed(..) => HttpError::Connect(text),
        ConnectError::Tls(..) => HttpError::Tls(text),
    }
}

#[cfg(test)]
mod tests;
