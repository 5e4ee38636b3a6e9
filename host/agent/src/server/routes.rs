//! From an HTTP request to what the supervisor is asked, and back.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::{Agent, logs};
use crate::API_VERSION;
use crate::api::{AgentInfo, PutRevision, PutService, PutTraffic, StopAgent};
use crate::error::AgentError;
use crate::ids::{RevisionId, ServiceName};
use crate::supervisor::Retired;

/// The largest request body, in bytes.
const LARGEST_BODY: usize = 1024 * 1024;

/// Of a body that is too large, so much is read and thrown away: a caller that is still writing would not see our answer.
const MOST_DISCARDED: usize = 64 * LARGEST_BODY;

const DEFAULT_DRAIN: Duration = Duration::from_secs(10);

/// The body of an answer: complete, or lines as they come.
pub(crate) enum Answer {
    Whole(Bytes),
    Lines(mpsc::Receiver<Bytes>),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Lines(lines) => lines.poll_recv(context).map(|lines| lines.map(|lines| Ok(Frame::data(lines)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }
}

/// Answers one API request.
pub(crate) async fn answer(agent: &Arc<Agent>, request: Request<Incoming>) -> Response<Answer> {
    match route(agent, request).await {
        Ok(response) => response,
        Err(error) => json(error.status(), &error.body()),
    }
}

async fn route(agent: &Arc<Agent>, request: Request<Incoming>) -> Result<Response<Answer>, AgentError> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let query = Query(parts.uri.query().unwrap_or_default().to_owned());
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let supervisor = &agent.supervisor;
    match (&parts.method, segments.as_slice()) {
        (&Method::GET, ["v1", "agent"]) => Ok(json(
            StatusCode::OK,
            &AgentInfo {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                api_version: API_VERSION,
                pid: std::process::id(),
                started_at: agent.started_at,
                state_dir: supervisor.state_dir().display().to_string(),
            },
        )),
        (&Method::POST, ["v1", "agent", "stop"]) => {
            let stop: StopAgent = read_or_default(body).await?;
            agent.stop(stop.services);
            Ok(json(StatusCode::ACCEPTED, &serde_json::json!({ "stopping": true, "services": stop.services })))
        }
        (&Method::GET, ["v1", "services"]) => Ok(json(StatusCode::OK, &supervisor.services())),
        (&Method::GET, ["v1", "services", name]) => {
            Ok(json(StatusCode::OK, &supervisor.service(&ServiceName::new(*name)?)?))
        }
        (&Method::PUT, ["v1", "services", name]) => {
            let (name, put): (_, PutService) = (ServiceName::new(*name)?, read(body).await?);
            Ok(json(StatusCode::OK, &supervisor.put_service(&name, &put)?))
        }
        (&Method::DELETE, ["v1", "services", name]) => {
            let drain = query.millis("drainMs")?.unwrap_or(DEFAULT_DRAIN);
            Ok(match supervisor.delete_service(&ServiceName::new(*name)?, drain)? {
                Some(state) => json(StatusCode::ACCEPTED, &state),
                None => json(StatusCode::OK, &serde_json::Value::Null),
            })
        }
        (&Method::PUT, ["v1", "services", name, "traffic"]) => {
            let (name, put): (_, PutTraffic) = (ServiceName::new(*name)?, read(body).await?);
            Ok(json(StatusCode::OK, &supervisor.put_traffic(&name, put)?))
        }
        (&Method::GET, ["v1", "services", name, "logs"]) => {
            let name = ServiceName::new(*name)?;
            let selection = logs::Selection {
                revision: query.get("revision").map(RevisionId::new).transpose()?,
                instance: query.number("instance")?,
                tail: query.number("tail")?,
                follow: matches!(query.get("follow"), Some("true" | "1" | "")),
            };
            let lines = logs::read(agent, name, selection)?;
            let mut response = Response::new(Answer::Lines(lines));
            let plain = http::HeaderValue::from_static("text/plain; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, plain);
            Ok(response)
        }
        (&Method::PUT, ["v1", "services", name, "revisions", id]) => {
            let (name, id) = (ServiceName::new(*name)?, RevisionId::new(*id)?);
            let put: PutRevision = read(body).await?;
            Ok(json(StatusCode::OK, &supervisor.put_revision(&name, &id, put)?))
        }
        (&Method::DELETE, ["v1", "services", name, "revisions", id]) => {
            let (name, id) = (ServiceName::new(*name)?, RevisionId::new(*id)?);
            let drain = query.millis("drainMs")?.unwrap_or(DEFAULT_DRAIN);
            Ok(match supervisor.retire_revision(&name, &id, drain)? {
                Retired::Already(state) => json(StatusCode::OK, &state),
                Retired::Leaving(state) => json(StatusCode::ACCEPTED, &state),
            })
        }
        _ => Err(AgentError::NoSuchRoute { method: parts.method.to_string(), path }),
    }
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Answer> {
    // The types of the API have no way to fail; an empty body would still say that something is wrong.
    let text = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Answer::Whole(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

async fn bytes(mut body: Incoming) -> Result<Bytes, AgentError> {
    let mut bytes = Vec::new();
    let mut length = 0_usize;
    while let Some(frame) = body.frame().await {
        let why = |error| AgentError::InvalidRequest { why: format!("the body could not be read: {error}") };
        let Ok(data) = frame.map_err(why)?.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length <= LARGEST_BODY {
            bytes.extend_from_slice(&data);
        } else if length > MOST_DISCARDED {
            break;
        }
    }
    if length > LARGEST_BODY { Err(AgentError::BodyTooLarge { limit: LARGEST_BODY }) } else { Ok(bytes.into()) }
}

async fn read<T: DeserializeOwned>(body: Incoming) -> Result<T, AgentError> {
    let bytes = bytes(body).await?;
    serde_json::from_slice(&bytes).map_err(|error| AgentError::InvalidRequest { why: format!("the body: {error}") })
}

async fn read_or_default<T: DeserializeOwned + Default>(body: Incoming) -> Result<T, AgentError> {
    let bytes = bytes(body).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(&bytes).map_err(|error| AgentError::InvalidRequest { why: format!("the body: {error}") })
}

/// A query string. No value that the API knows needs percent-encoding.
struct Query(String);

impl Query {
    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .find_map(|(key, value)| (key == name).then_some(value))
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, AgentError> {
        self.get(name)
            .map(|text| {
                text.parse().map_err(|_| AgentError::InvalidRequest {
                    why: format!("`{name}={text}` is not a number in range"),
                })
            })
            .transpose()
    }

    fn millis(&self, name: &str) -> Result<Option<Duration>, AgentError> {
        Ok(self.number(name)?.map(Duration::from_millis))
    }
}
