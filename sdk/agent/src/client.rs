//! The agent's API for one service, and what its errors mean to the engine.

use std::time::Duration;

use basb_plugin::http::{HttpError, Request, Response};
use basb_plugin::provider::{Progress, ProviderContext};
use basb_plugin::{Failure, FailureCode, Retry, ServiceRef, Weight};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::{ErrorBody, ErrorDetail, PutRevision, PutService, PutTraffic, ServiceState};

/// The agent's socket, as the host names it.
const BASE: &str = "http://agent.socket.internal/v1/services";
/// The agent's own value where a request names none.
const DEFAULT_DRAIN: Duration = Duration::from_secs(10);

/// The agent, for one service.
#[derive(Debug)]
pub struct Agent<'a> {
    cx: &'a ProviderContext,
    name: String,
}

/// What became of a revision that is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// It is not there.
    Yes,
    /// It finishes its requests; so many instances are left.
    Draining(usize),
}

impl<'a> Agent<'a> {
    /// The agent for this service, whose name there says where it belongs.
    ///
    /// # Errors
    /// [`FailureCode::Invalid`] for a name that would mean something else in a URL.
    pub fn new(cx: &'a ProviderContext, service: &ServiceRef) -> Result<Agent<'a>, Failure> {
        let parts = [&service.deployment, &service.environment, &service.service];
        for part in parts {
            check_segment(part)?;
        }
        Ok(Agent { cx, name: parts.map(String::as_str).join(".") })
    }

    /// The service's name at the agent.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The service, if it is there.
    ///
    /// # Errors
    /// Where the agent cannot tell.
    pub fn service(&self) -> Result<Option<ServiceState>, Failure> {
        let response = self.send(Request::get(self.url("")))?;
        if response.status == 404 && code(&response).as_deref() == Some("no-such-service") {
            return Ok(None);
        }
        whole(succeeded(&response)?).map(Some)
    }

    /// Makes the service be there.
    ///
    /// # Errors
    /// Where the address cannot be listened on.
    pub fn put_service(&self, put: &PutService) -> Result<(), Failure> {
        self.put("", put).map(drop)
    }

    /// Makes a revision be there, or scales it.
    ///
    /// # Errors
    /// Where it exists with another workload, or should be scaled and is not there.
    pub fn put_revision(&self, revision: &str, put: &PutRevision) -> Result<ServiceState, Failure> {
        check_segment(revision)?;
        whole(&self.put(&format!("/revisions/{revision}"), put)?)
    }

    /// Sets the shares of traffic; who is not named gets none.
    ///
    /// # Errors
    /// Where a revision that should have some has no available instance.
    pub fn share_out(&self, weights: &[(String, Weight)]) -> Result<Progress, Failure> {
        let put = PutTraffic {
            weights: weights.iter().map(|(revision, weight)| (revision.clone(), weight.hundredths())).collect(),
        };
        self.put("/traffic", &put)?;
        let shown: Vec<_> = weights.iter().map(|(revision, weight)| format!("{revision} {weight}")).collect();
        Ok(Progress::done(format!("traffic: {}", shown.join(", "))))
    }

    /// Removes a revision, or looks how far that has come.
    ///
    /// # Errors
    /// Where it has traffic.
    pub fn delete_revision(&self, revision: &str, drain: Duration) -> Result<Gone, Failure> {
        check_segment(revision)?;
        let query = if drain == DEFAULT_DRAIN { String::new() } else { format!("?drainMs={}", drain.as_millis()) };
        let response = self.send(Request::delete(self.url(&format!("/revisions/{revision}{query}"))))?;
        if response.status == 404 && matches!(code(&response).as_deref(), Some("no-such-service" | "no-such-revision"))
        {
            return Ok(Gone::Yes);
        }
        if succeeded(&response)?.status != 202 {
            return Ok(Gone::Yes);
        }
        let left = whole::<ServiceState>(&response)?.revision(revision).map_or(0, |revision| revision.instances.len());
        Ok(Gone::Draining(left))
    }

    /// Removes the service.
    ///
    /// # Errors
    /// What the agent says.
    pub fn delete_service(&self) -> Result<(), Failure> {
        let response = self.send(Request::delete(self.url("")))?;
        if response.status == 404 { Ok(()) } else { succeeded(&response).map(|_| ()) }
    }

    fn put(&self, path: &str, body: &impl Serialize) -> Result<Response, Failure> {
        let response = self.send(Request::put(self.url(path)).json(body))?;
        succeeded(&response)?;
        Ok(response)
    }

    fn send(&self, request: Request) -> Result<Response, Failure> {
        let doing = format!("{} at the agent", request.method);
        self.cx.http().send(request).map_err(|error| match error {
            HttpError::Connect(_) => {
                Failure::from(error).context("the agent does not answer (`basb-host agent start` starts it)")
            }
            error => Failure::from(error).context(doing),
        })
    }

    fn url(&self, path: &str) -> String {
        format!("{BASE}/{}{path}", self.name)
    }
}

/// Whether a name is one path segment and nothing else.
///
/// # Errors
/// [`FailureCode::Invalid`] where it is not.
pub fn check_segment(name: &str) -> Result<(), Failure> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !name.is_empty() && name.bytes().all(good) {
        return Ok(());
    }
    Err(Failure::invalid(format!("the agent cannot have the name `{name}`: use a-z, 0-9 and `-`")))
}

/// The answer's JSON. One that cannot be read did not arrive whole: nobody knows what it would have said.
fn whole<T: DeserializeOwned>(response: &Response) -> Result<T, Failure> {
    response.json().map_err(|failure| Failure::timed_out(failure.message).context("at the agent"))
}

fn code(response: &Response) -> Option<String> {
    response.json::<ErrorBody>().ok().map(|body| body.error.code)
}

fn succeeded(response: &Response) -> Result<&Response, Failure> {
    if response.is_success() {
        return Ok(response);
    }
    match response.json::<ErrorBody>() {
        Ok(body) => Err(failure(response, body.error)),
        // Not the agent's own words: somebody between, or a crash. That says nothing of what is there, whatever its status.
        Err(_) => Err(response.to_failure().retry_after(Duration::from_secs(1))),
    }
}

fn failure(response: &Response, error: ErrorDetail) -> Failure {
    let status = response.status;
    let again = |ms| Retry::After(Duration::from_millis(ms));
    let (code, retry) = match error.code.as_str() {
        "invalid-request" | "body-too-large" | "not-loopback" => (FailureCode::Invalid, Retry::Never),
        "no-such-service" | "no-such-revision" => (FailureCode::NotFound, Retry::Never),
        "port-in-use" | "revision-immutable" | "revision-has-traffic" => (FailureCode::Conflict, Retry::Never),
        // These pass: an instance comes up, a revision is gone, somebody else is done.
        "retiring" => (FailureCode::Conflict, again(1_000)),
        "version-conflict" => (FailureCode::Conflict, again(200)),
        "no-available-instance" => (FailureCode::Unhealthy, again(1_000)),
        // As any server says it, with its own word of when to come back.
        _ if status == 429 => (FailureCode::Throttled, response.to_failure().retry),
        _ if status >= 500 => (FailureCode::Unavailable, response.to_failure().retry),
        _ => (FailureCode::Other, Retry::Never),
    };
    let message = match error.next.trim() {
        "" => error.message,
        next => format!("{} ({})", error.message, next.trim_end_matches('.')),
    };
    Failure::new(code, message, retry).extra("agent-code", error.code)
}
