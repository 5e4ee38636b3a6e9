//! How this crate reaches the network: through whoever holds the host's one HTTP client.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method};
use std::time::Duration;
use url::Url;

/// A request of the host itself, to a place that the operator named in the deployment file. No redirect is followed.
#[derive(Debug, Clone)]
pub struct Ask {
    /// `GET`, `POST`, …
    pub method: Method,
    /// Absolute.
    pub url: Url,
    /// Its headers; may hold credentials.
    pub headers: HeaderMap,
    /// Its body; may hold credentials.
    pub body: Bytes,
    /// The longest to wait.
    pub timeout: Duration,
}

/// An answer, at most 1 MiB long.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Why there is no answer; a sentence without secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TransportError(pub String);

/// The host's own way to the network.
pub trait Transport: Send + Sync + std::fmt::Debug {
    /// Sends one request and waits for its answer.
    fn exchange(&self, ask: Ask) -> BoxFuture<'_, Result<Answer, TransportError>>;
}
