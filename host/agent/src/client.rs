//! Talking to an agent over its unix socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::api::{
    AgentInfo, ErrorBody, LogQuery, PutRevision, PutService, PutTraffic, ServiceState, StopAgent, StopServices,
};
use crate::error::AgentError;
use crate::ids::{RevisionId, ServiceName};
use crate::socket::SocketPath;

pub use crate::ensure::ensure_running;

/// How long an agent may take to stop its services and itself.
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// An agent, addressed by its state folder. Each call opens a connection of its own, so a client stays usable when the
/// agent restarts.
#[derive(Debug, Clone)]
pub struct Client {
    state_dir: PathBuf,
}

impl Client {
    /// The agent of a state folder. Nothing is connected yet.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self { state_dir: state_dir.into() }
    }

    /// The state folder.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// `GET /v1/agent`: who is there.
    ///
    /// # Errors
    /// [`AgentError::NotRunning`] when nobody answers; otherwise as every call.
    pub async fn agent(&self) -> Result<AgentInfo, AgentError> {
        self.call(Method::GET, "/v1/agent", None::<&()>).await
    }

    /// `GET /v1/services`: all services.
    ///
    /// # Errors
    /// As every call.
    pub async fn services(&self) -> Result<Vec<ServiceState>, AgentError> {
        self.call(Method::GET, "/v1/services", None::<&()>).await
    }

    /// `GET /v1/services/{service}`: one service.
    ///
    /// # Errors
    /// [`AgentError::Api`] with code `no-such-service`; otherwise as every call.
    pub async fn service(&self, service: &ServiceName) -> Result<ServiceState, AgentError> {
        self.call(Method::GET, &format!("/v1/services/{service}"), None::<&()>).await
    }

    /// `PUT /v1/services/{service}`: creates a service or moves it to another address.
    ///
    /// # Errors
    /// [`AgentError::Api`] with codes `port-in-use`, `not-loopback`, `retiring`; otherwise as every call.
    pub async fn put_service(&self, service: &ServiceName, put: &PutService) -> Result<ServiceState, AgentError> {
        self.call(Method::PUT, &format!("/v1/services/{service}"), Some(put)).await
    }

    /// `PUT /v1/services/{service}/revisions/{revision}`: creates a revision or scales it. Answers at once; poll
    /// [`Client::service`] for availability.
    ///
    /// # Errors
    /// [`AgentError::Api`] with codes `no-such-service`, `revision-immutable`, `revision-has-traffic`, `retiring`,
    /// `invalid-request`; otherwise as every call.
    pub async fn put_revision(
        &self,
        service: &ServiceName,
        revision: &RevisionId,
        put: &PutRevision,
    ) -> Result<ServiceState, AgentError> {
        self.call(Method::PUT, &format!("/v1/services/{service}/revisions/{revision}"), Some(put)).await
    }

    /// `PUT /v1/services/{service}/traffic`: sets all weights at once.
    ///
    /// # Errors
    /// [`AgentError::Api`] with codes `no-such-revision`, `no-available-instance`, `version-conflict`,
    /// `invalid-request`; otherwise as every call.
    pub async fn put_traffic(&self, service: &ServiceName, put: &PutTraffic) -> Result<ServiceState, AgentError> {
        self.call(Method::PUT, &format!("/v1/services/{service}/traffic"), Some(put)).await
    }

    /// `DELETE /v1/services/{service}/revisions/{revision}`: drains and stops a revision without traffic. It is gone
    /// from the state once that is done.
    ///
    /// # Errors
    /// [`AgentError::Api`] with codes `revision-has-traffic`, `no-such-service`; otherwise as every call.
    pub async fn retire_revision(
        &self,
        service: &ServiceName,
        revision: &RevisionId,
        drain: Option<Duration>,
    ) -> Result<ServiceState, AgentError> {
        let path = format!("/v1/services/{service}/revisions/{revision}{}", drain_query(drain));
        self.call(Method::DELETE, &path, None::<&()>).await
    }

    /// `DELETE /v1/services/{service}`: retires everything of a service and closes its address. Nothing when there is
    /// no such service.
    ///
    /// # Errors
    /// As every call.
    pub async fn delete_service(
        &self,
        service: &ServiceName,
        drain: Option<Duration>,
    ) -> Result<Option<ServiceState>, AgentError> {
        self.call(Method::DELETE, &format!("/v1/services/{service}{}", drain_query(drain)), None::<&()>).await
    }

    /// `GET /v1/services/{service}/logs`: the log lines that there are now, each after `revision/instance `.
    ///
    /// # Errors
    /// [`AgentError::Api`] with code `no-such-service`; otherwise as every call.
    pub async fn logs(&self, service: &ServiceName, query: &LogQuery) -> Result<String, AgentError> {
        let mut stream = self.open_logs(service, query, "").await?;
        let mut text = Vec::new();
        while let Some(chunk) = stream.next_chunk().await? {
            text.extend_from_slice(&chunk);
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// The same, and then further lines as they are written, until the stream is dropped or the agent stops.
    ///
    /// # Errors
    /// [`AgentError::Api`] with code `no-such-service`; otherwise as every call.
    pub async fn follow_logs(&self, service: &ServiceName, query: &LogQuery) -> Result<LogStream, AgentError> {
        self.open_logs(service, query, "follow=true").await
    }

    /// `POST /v1/agent/stop`: stops the agent, and waits until it has let go of its folder, so that another can be
    /// started at once.
    ///
    /// # Errors
    /// As every call; [`AgentError::Protocol`] when it is still there after a minute.
    pub async fn stop(&self, services: StopServices) -> Result<(), AgentError> {
        let _: serde_json::Value = self.call(Method::POST, "/v1/agent/stop", Some(&StopAgent { services })).await?;
        let gone = async {
            while crate::state::is_held(&self.state_dir) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(STOP_WITHIN, gone).await.map_err(|_| AgentError::Protocol {
            why: format!("the agent was asked to stop and is still there after {} s", STOP_WITHIN.as_secs()),
        })
    }

    /// One call with JSON both ways, for paths without a method of their own.
    ///
    /// # Errors
    /// [`AgentError::NotRunning`] when nobody answers, [`AgentError::Protocol`] when the connection breaks or the
    /// answer is not understood, [`AgentError::Api`] when the agent answers with an error.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, AgentError> {
        let body = match body {
            Some(body) => serde_json::to_vec(body).map_err(|error| protocol("the request", error))?,
            None => Vec::new(),
        };
        let (status, bytes) = self.exchange(method, path, Bytes::from(body)).await?;
        if status.is_success() {
            serde_json::from_slice(&bytes).map_err(|error| protocol("the answer", error))
        } else {
            Err(reported(status, &bytes))
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), AgentError> {
        let response = self.send(method, path, body).await?;
        let status = response.status();
        let bytes = response.into_body().collect().await.map_err(|error| protocol("the answer", error))?.to_bytes();
        Ok((status, bytes))
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, AgentError> {
        let not_running = |why: String| AgentError::NotRunning { state_dir: self.state_dir.clone(), why };
        if !self.state_dir.is_dir() {
            return Err(not_running("the folder does not exist".to_owned()));
        }
        let socket = SocketPath::of(&self.state_dir)?;
        let stream = UnixStream::connect(socket.path()).await.map_err(|error| not_running(error.to_string()))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| protocol("the connection", error))?;
        tokio::spawn(async move {
            // An error here reaches whoever waits for the answer.
            let _ = connection.await;
        });
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "agent")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| protocol("the request", error))?;
        sender.send_request(request).await.map_err(|error| protocol("the connection", error))
    }

    async fn open_logs(&self, service: &ServiceName, query: &LogQuery, more: &str) -> Result<LogStream, AgentError> {
        let mut parts: Vec<String> = Vec::new();
        parts.extend(query.revision.as_ref().map(|revision| format!("revision={revision}")));
        parts.extend(query.instance.map(|instance| format!("instance={instance}")));
        parts.extend(query.tail.map(|tail| format!("tail={tail}")));
        parts.extend((!more.is_empty()).then(|| more.to_owned()));
        let path = format!("/v1/services/{service}/logs?{}", parts.join("&"));
        let response = self.send(Method::GET, &path, Bytes::new()).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(LogStream { body: response.into_body(), partial: Vec::new() });
        }
        let bytes = response.into_body().collect().await.map_err(|error| protocol("the answer", error))?.to_bytes();
        Err(reported(status, &bytes))
    }
}

/// Log lines as they arrive. Dropping it ends the following.
#[derive(Debug)]
pub struct LogStream {
    body: Incoming,
    partial: Vec<u8>,
}

impl LogStream {
    /// The next line without its line end, or nothing at the end.
    ///
    /// # Errors
    /// [`AgentError::Protocol`] when the connection breaks.
    pub async fn next_line(&mut self) -> Result<Option<String>, AgentError> {
        loop {
            if let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
                let rest = self.partial.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.partial, rest);
                line.pop();
                return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
            }
            match self.next_chunk().await? {
                Some(chunk) => self.partial.extend_from_slice(&chunk),
                None if self.partial.is_empty() => return Ok(None),
                None => {
                    let line = std::mem::take(&mut self.partial);
                    return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
                }
            }
        }
    }

    /// The next bytes as they arrive, or nothing at the end. Use either this or [`LogStream::next_line`].
    ///
    /// # Errors
    /// [`AgentError::Protocol`] when the connection breaks.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, AgentError> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| protocol("the log", error))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

fn drain_query(drain: Option<Duration>) -> String {
    drain.map(|drain| format!("?drainMs={}", drain.as_millis())).unwrap_or_default()
}

fn protocol(what: &str, error: impl std::fmt::Display) -> AgentError {
    AgentError::Protocol { why: format!("{what}: {error}") }
}

fn reported(status: StatusCode, bytes: &[u8]) -> AgentError {
    match serde_json::from_slice::<ErrorBody>(bytes) {
        Ok(ErrorBody { error }) => {
            AgentError::Api { status: status.as_u16(), code: error.code, message: error.message, next: error.next }
        }
        Err(_) => AgentError::Protocol { why: format!("it answered {status} without an error that can be read") },
    }
}
