//! The one door to the network: a whole request goes out as a value, a whole response comes back as one.
//!
//! [`Http::send`] is the one choke point: it reads the URL ([`url`]), checks the headers ([`headers`]), decides by the
//! grant ([`policy`]), puts credentials in and decides again (`prepare`), sends by a connection whose address was checked
//! (`client`, [`crate::network`]), and takes secrets out of what comes back ([`answer`]). Connections are pooled by how far
//! their names may lead and by whose certificate was shown, so that one plugin's grant never opens a connection that
//! another one then uses. Redirects are not followed: the next hop is a request of its own.

pub mod action;
pub mod answer;
mod client;
mod connect;
pub mod containers;
pub mod headers;
pub mod policy;
mod prepare;
mod renew;
pub(crate) mod tls;
mod transport;
pub mod url;

pub use prepare::{Prepared, Ready};
pub use tls::Roots;

use crate::exchange::form;
use crate::network::Network;
use crate::outside::Outside;
use crate::record::{Recording, Taken};
use crate::{CallScope, Capability, Limits, denial, placeholder};
use answer::{Raw, Shown};
use basb_credentials::Credentials;
use basb_redact::Redactor;
use basb_secrets::Transport;
use client::Clients;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// Absolute.
    pub url: String,
    /// In the order given; may hold placeholders of secrets, as may the URL and the body.
    pub headers: Vec<(String, String)>,
    /// Empty where there is none.
    #[serde(default, with = "form::bytes", skip_serializing_if = "Vec::is_empty")]
    pub body: Vec<u8>,
    /// The longest to wait for the whole response.
    #[serde(default, with = "form::maybe_millis", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

/// How long the parts of an exchange took, in microseconds since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Timing {
    /// Until the connection was there; 0 for one that was open already.
    pub connected: u64,
    /// Until the response's head had arrived.
    pub head: u64,
    /// Until the whole response had arrived.
    pub total: u64,
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case; values that are no UTF-8 are converted with replacement characters.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    #[serde(default, with = "form::bytes", skip_serializing_if = "Vec::is_empty")]
    pub body: Vec<u8>,
    /// How long it took.
    pub timing: Timing,
}

/// Why no response can be given. The texts are whole sentences for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
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

    fn redacted(mut self, redactor: &Redactor) -> Self {
        let (Self::Denied(text)
        | Self::Invalid(text)
        | Self::Dns(text)
        | Self::Connect(text)
        | Self::Tls(text)
        | Self::TimedOut(text)
        | Self::Broken(text)
        | Self::TooLarge(text)
        | Self::Exhausted(text)
        | Self::Other(text)) = &mut self;
        *text = redactor.text(text).into_owned();
        self
    }
}

/// How a request that is ready gets its answer: over the network, or, for a measurement of the door alone, from memory.
pub trait Exchange: Sync {
    /// Sends a request and waits for the whole answer.
    fn exchange<'a>(&'a self, ready: &'a Ready, start: Instant) -> BoxFuture<'a, Result<(Raw, Timing), HttpError>>;
}

/// Over the network.
struct Live<'n> {
    http: &'n Http,
    scope: &'n CallScope,
}

impl Exchange for Live<'_> {
    fn exchange<'a>(&'a self, ready: &'a Ready, start: Instant) -> BoxFuture<'a, Result<(Raw, Timing), HttpError>> {
        Box::pin(self.http.clients.exchange(start, self.scope, ready, &self.http.limits))
    }
}

/// From what stands in the network's place.
struct InPlace<'o>(&'o dyn Outside);

impl Exchange for InPlace<'_> {
    fn exchange<'a>(&'a self, ready: &'a Ready, _start: Instant) -> BoxFuture<'a, Result<(Raw, Timing), HttpError>> {
        self.0.http(ready)
    }
}

/// Answers above this size are decoded and searched on a thread that may take its time.
const LARGE: usize = 64 << 10;

/// The door.
#[derive(Debug)]
pub struct Http {
    limits: Limits,
    redactor: Redactor,
    credentials: Arc<OnceLock<Arc<Credentials>>>,
    clients: Clients,
    known_sockets: Vec<String>,
    outside: Option<Arc<dyn Outside>>,
}

impl Http {
    pub(crate) fn new(
        sockets: BTreeMap<String, PathBuf>,
        limits: Limits,
        roots: Roots,
        redactor: Redactor,
        credentials: Arc<OnceLock<Arc<Credentials>>>,
        way: Network,
    ) -> Self {
        let known_sockets = sockets.keys().cloned().collect();
        let clients = Clients::new(sockets, &limits, roots, way);
        Self { limits, redactor, credentials, clients, known_sockets, outside: None }
    }

    /// The same with something else in the network's place.
    pub(crate) fn before(mut self, outside: Option<Arc<dyn Outside>>) -> Self {
        self.outside = outside;
        self
    }

    /// The host's own way to the network.
    pub(crate) fn transport(&self) -> Arc<dyn Transport> {
        let (client, redactor) = (self.clients.host.clone(), self.redactor.clone());
        Arc::new(transport::OwnTransport { client, redactor })
    }

    /// TLS as it is spoken here, for mail.
    pub(crate) fn tls(&self) -> tls::Tls {
        self.clients.tls().clone()
    }

    /// Sends one request and waits for its response: the one choke point of this capability. A request whose token the
    /// destination refuses is sent once more with another one (`renew`).
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn send(&self, scope: &CallScope, request: Request) -> Result<Response, HttpError> {
        match &self.outside {
            None => self.through(scope, request, &Live { http: self, scope }).await,
            Some(outside) => self.through(scope, request, &InPlace(outside.as_ref())).await,
        }
    }

    /// The whole door with another way of getting the answer: everything is decided, changed and recorded as for
    /// [`Http::send`].
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn through(
        &self,
        scope: &CallScope,
        request: Request,
        exchange: &dyn Exchange,
    ) -> Result<Response, HttpError> {
        let what = prepare::shown(&request);
        let Some(mut recording) = scope.counters.begin(Capability::Http, &what, &self.limits, &self.redactor) else {
            return Err(HttpError::Exhausted(denial::too_many(scope, &self.limits)));
        };
        let result = self.unseen(scope, request, &mut recording, exchange).await;
        let result = result.map_err(|error| error.redacted(&self.redactor));
        match &result {
            Ok(response) => recording.finish(response.status.to_string().as_str()),
            Err(error) => {
                if matches!(error, HttpError::Denied(_)) {
                    recording.deny();
                }
                recording.finish(error.word());
            }
        }
        result
    }

    /// Sends several at once; the results are in the order of the requests.
    pub async fn send_many(&self, scope: &CallScope, requests: Vec<Request>) -> Vec<Result<Response, HttpError>> {
        let sends = requests.into_iter().map(|request| self.send(scope, request));
        stream::iter(sends).buffered(self.limits.parallel_requests.max(1)).collect().await
    }

    async fn unseen<'s>(
        &self,
        scope: &'s CallScope,
        request: Request,
        recording: &mut Recording<'s>,
        exchange: &dyn Exchange,
    ) -> Result<Response, HttpError> {
        if scope.counters.take_request(self.limits.requests) == Taken::Exhausted {
            return Err(HttpError::Exhausted(denial::requests_used_up(scope, &self.limits)));
        }
        let start = Instant::now();
        let left = scope.deadline.saturating_duration_since(start);
        let longest = request.timeout.unwrap_or(self.limits.http_timeout).min(self.limits.http_timeout).min(left);
        let until = tokio::time::Instant::from_std(start + longest);
        let what = prepare::shown(&request);
        // Tokens may have to be fetched first; a request that waits for one has had no effect.
        let mut ready = match tokio::time::timeout_at(until, self.ready(scope, request)).await {
            Ok(ready) => ready?,
            Err(_) => {
                let ms = longest.as_millis();
                return Err(HttpError::TimedOut(format!(
                    "the credentials for {what} were not there within {ms} ms: nothing was sent"
                )));
            }
        };
        let mut answered = self.answered(&ready, recording, exchange, until, longest).await?;
        let renewed = tokio::time::timeout_at(until, self.renewed(scope, &mut ready, &answered.0)).await;
        if let Ok(Some(again)) = renewed
            && scope.counters.take_request(self.limits.requests) == Taken::Yes
            && let Some(second) =
                scope.counters.begin(Capability::Http, &Self::recorded_again(&again), &self.limits, &self.redactor)
        {
            let refused = std::mem::replace(recording, second);
            refused.finish(answered.0.status.to_string().as_str());
            answered = self.answered(&again, recording, exchange, until, longest).await?;
            if !renew::is_refusal(&again, &answered.0) {
                again.fetched.accepted();
            }
        }
        let (raw, timing) = answered;
        let wanted = ready.wanted();
        let status = raw.status;
        let Shown { headers, body } = self.show(raw, ready.method.clone(), wanted).await?;
        Ok(Response { status, headers, body, timing })
    }

    /// One exchange, recorded.
    async fn answered(
        &self,
        ready: &Ready,
        recording: &Recording<'_>,
        exchange: &dyn Exchange,
        until: tokio::time::Instant,
        longest: Duration,
    ) -> Result<(Raw, Timing), HttpError> {
        recording.allow(ready.body_bytes() as u64, ready.credentials().to_vec());
        // What a probe measures begins here: a token that had to be fetched first is not the service's doing.
        let answered = tokio::time::timeout_at(until, exchange.exchange(ready, Instant::now())).await;
        let answered = answered.unwrap_or_else(|_| {
            Err(HttpError::TimedOut(format!(
                "{} was not answered within {} ms: whether it had an effect is in doubt",
                ready.wanted(),
                longest.as_millis()
            )))
        })?;
        recording.received(answered.0.body.len() as u64);
        Ok(answered)
    }

    /// Everything up to the network.
    async fn ready(&self, scope: &CallScope, request: Request) -> Result<Ready, HttpError> {
        let resolved = self.resolve(scope, &request).await?;
        self.complete(scope, self.prepare(scope, request, resolved)?).await
    }

    /// What the URL of a request stands for, where it is a secret as a whole.
    async fn resolve(&self, scope: &CallScope, request: &Request) -> Result<Option<String>, HttpError> {
        if !placeholder::is_in(request.url.as_bytes()) {
            return Ok(None);
        }
        if let Some(text) = denial::sealed(scope, &prepare::shown(request)) {
            return Err(HttpError::Denied(text));
        }
        let Some(credentials) = self.credentials.get() else { return Ok(None) };
        let resolved = credentials.resolve_url(&scope.credentials, &request.url).await;
        // Where the URL leads is not known, so neither is whether a grant covers it.
        let resolved = resolved.map_err(|error| prepare::secret_url_error(scope, &error, &prepare::shown(request)))?;
        Ok(resolved.map(String::from))
    }

    /// What of an answer the plugin sees.
    async fn show(&self, raw: Raw, method: ::http::Method, wanted: String) -> Result<Shown, HttpError> {
        if raw.body.len() <= LARGE && !raw.headers.contains_key(::http::header::CONTENT_ENCODING) {
            return self.show_now(raw, &method, &wanted);
        }
        let (redactor, limits) = (self.redactor.clone(), self.limits.clone());
        tokio::task::spawn_blocking(move || answer::shown(raw, &method, &redactor, &limits, &wanted))
            .await
            .unwrap_or_else(|error| Err(HttpError::Other(format!("the answer could not be read: {error}"))))
    }

    /// What of an answer a plugin sees: decoded, without secrets.
    ///
    /// # Errors
    /// See [`answer::shown`].
    pub fn show_now(&self, raw: Raw, method: &::http::Method, wanted: &str) -> Result<Shown, HttpError> {
        answer::shown(raw, method, &self.redactor, &self.limits, wanted)
    }
}

#[cfg(test)]
mod tests;
