//! What can go wrong, with a stable code, the facts, and the next step.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use http::StatusCode;

use crate::api::{ErrorBody, ErrorDetail};
use crate::ids::{InvalidId, RevisionId, ServiceName};

/// Everything that the agent, its client and its starter report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// A name, number or body that breaks its rule.
    #[error("invalid request: {why}")]
    InvalidRequest {
        /// The rule and what was given.
        why: String,
    },
    /// A body over the API's bound.
    #[error("the request body is larger than {limit} bytes")]
    BodyTooLarge {
        /// The bound in bytes.
        limit: usize,
    },
    /// No such path.
    #[error("there is nothing at {method} {path}")]
    NoSuchRoute {
        /// The request's method.
        method: String,
        /// The request's path.
        path: String,
    },
    /// No such service.
    #[error("there is no service `{service}`")]
    NoSuchService {
        /// Its name.
        service: ServiceName,
    },
    /// No such revision.
    #[error("service `{service}` has no revision `{revision}`")]
    NoSuchRevision {
        /// The service.
        service: ServiceName,
        /// The revision.
        revision: RevisionId,
    },
    /// An address that is not on loopback.
    #[error("service `{service}` asks to listen on {address}, which is not a loopback address")]
    NotLoopback {
        /// The service.
        service: ServiceName,
        /// The address.
        address: SocketAddr,
    },
    /// An address that something else listens on.
    #[error("cannot listen on {address} for {what}: {why}")]
    PortInUse {
        /// The address.
        address: SocketAddr,
        /// What should listen there.
        what: String,
        /// What the system said, or which service has it.
        why: String,
    },
    /// The revision exists with another workload.
    #[error("revision `{revision}` of service `{service}` exists with another workload ({existing}, not {given})")]
    RevisionImmutable {
        /// The service.
        service: ServiceName,
        /// The revision.
        revision: RevisionId,
        /// Digest of the workload it has.
        existing: String,
        /// Digest of the workload that was given.
        given: String,
    },
    /// The revision still gets requests.
    #[error("revision `{revision}` of service `{service}` has {weight} of the traffic")]
    RevisionHasTraffic {
        /// The service.
        service: ServiceName,
        /// The revision.
        revision: RevisionId,
        /// Its share, in words.
        weight: String,
    },
    /// The revision or service is being removed.
    #[error("{what} is being retired")]
    Retiring {
        /// Which.
        what: String,
    },
    /// Weight for a revision that cannot serve.
    #[error("revision `{revision}` of service `{service}` has no available instance{detail}")]
    NoAvailableInstance {
        /// The service.
        service: ServiceName,
        /// The revision.
        revision: RevisionId,
        /// What its instances say, starting with `: `, or nothing.
        detail: String,
    },
    /// Someone else changed the traffic.
    #[error("service `{service}` is at version {actual}, not {expected}")]
    VersionConflict {
        /// The service.
        service: ServiceName,
        /// The version that was expected.
        expected: u64,
        /// The version that it has.
        actual: u64,
    },
    /// The state file cannot be understood.
    #[error("the agent's state {} cannot be read: {why}; a copy was kept as {}", path.display(), kept.display())]
    StateCorrupt {
        /// The file.
        path: PathBuf,
        /// Where a copy was put.
        kept: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Another agent has the folder.
    #[error("another agent is running on {}", state_dir.display())]
    AlreadyRunning {
        /// The state folder.
        state_dir: PathBuf,
    },
    /// Nobody answers.
    #[error("no agent answers on {}: {why}", state_dir.display())]
    NotRunning {
        /// The state folder.
        state_dir: PathBuf,
        /// What the system said.
        why: String,
    },
    /// A started agent did not come up.
    #[error("the agent started as `{command}` did not come up: {why}")]
    StartFailed {
        /// The command line.
        command: String,
        /// What was observed, with the last lines of its log.
        why: String,
    },
    /// The agent answered with an error.
    #[error("{message}")]
    Api {
        /// The HTTP status.
        status: u16,
        /// The error's code.
        code: String,
        /// The error's message.
        message: String,
        /// What to do next.
        next: String,
    },
    /// The connection to the agent broke, or it answered nonsense.
    #[error("talking to the agent failed: {why}")]
    Protocol {
        /// What happened.
        why: String,
    },
    /// The system refused something.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried, e.g. `write`.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl AgentError {
    /// The stable code, e.g. `port-in-use`. For an error answer of the agent it is the code that the agent gave.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::InvalidRequest { .. } => "invalid-request",
            Self::BodyTooLarge { .. } => "body-too-large",
            Self::NoSuchRoute { .. } => "no-such-route",
            Self::NoSuchService { .. } => "no-such-service",
            Self::NoSuchRevision { .. } => "no-such-revision",
            Self::NotLoopback { .. } => "not-loopback",
            Self::PortInUse { .. } => "port-in-use",
            Self::RevisionImmutable { .. } => "revision-immutable",
            Self::RevisionHasTraffic { .. } => "revision-has-traffic",
            Self::Retiring { .. } => "retiring",
            Self::NoAvailableInstance { .. } => "no-available-instance",
            Self::VersionConflict { .. } => "version-conflict",
            Self::StateCorrupt { .. } => "state-corrupt",
            Self::AlreadyRunning { .. } => "already-running",
            Self::NotRunning { .. } => "not-running",
            Self::StartFailed { .. } => "start-failed",
            Self::Api { code, .. } => code,
            Self::Protocol { .. } => "protocol",
            Self::Io { .. } => "io",
        }
    }

    /// What to do next, as a sentence.
    #[must_use]
    pub fn next(&self) -> &str {
        match self {
            Self::InvalidRequest { .. } => "Correct the request.",
            Self::BodyTooLarge { .. } => "Send a smaller body.",
            Self::NoSuchRoute { .. } => "Check that client and agent have the same version (GET /v1/agent).",
            Self::NoSuchService { .. } => "Create it with PUT /v1/services/{service}.",
            Self::NoSuchRevision { .. } => "Create it with PUT /v1/services/{service}/revisions/{revision}.",
            Self::NotLoopback { .. } => {
                "Listen on 127.0.0.1 or [::1], or start the agent with permission to listen beyond loopback."
            }
            Self::PortInUse { .. } => "Choose another address, or stop what listens there (`ss -ltnp` names it).",
            Self::RevisionImmutable { .. } => "Give the changed workload a new revision id.",
            Self::RevisionHasTraffic { .. } => "Move its weight to another revision first.",
            Self::Retiring { .. } => "Wait until it is gone, then try again.",
            Self::NoAvailableInstance { .. } => "Wait until an instance is available, or read the revision's logs.",
            Self::VersionConflict { .. } => "Read the service again, and decide anew.",
            Self::StateCorrupt { .. } => {
                "Repair the file from the copy, or move it away to start empty. Service processes were left running."
            }
            Self::AlreadyRunning { .. } => "Use the running agent, or stop it first.",
            Self::NotRunning { .. } => "Start it: `basb-host agent start`",
            Self::StartFailed { .. } => "Read the agent's log, or start it in the foreground to see why.",
            Self::Api { next, .. } => next,
            Self::Protocol { .. } => "Try again; if it repeats, read the agent's log.",
            Self::Io { .. } => "Check the path, its permissions and the free space.",
        }
    }

    /// The HTTP status with which the API reports it.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::InvalidRequest { .. } | Self::NotLoopback { .. } => StatusCode::BAD_REQUEST,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NoSuchRoute { .. } | Self::NoSuchService { .. } | Self::NoSuchRevision { .. } => {
                StatusCode::NOT_FOUND
            }
            Self::PortInUse { .. }
            | Self::RevisionImmutable { .. }
            | Self::RevisionHasTraffic { .. }
            | Self::Retiring { .. }
            | Self::NoAvailableInstance { .. }
            | Self::VersionConflict { .. }
            | Self::AlreadyRunning { .. } => StatusCode::CONFLICT,
            Self::Api { status, .. } => StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            Self::StateCorrupt { .. }
            | Self::NotRunning { .. }
            | Self::StartFailed { .. }
            | Self::Protocol { .. }
            | Self::Io { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The error as the API reports it.
    #[must_use]
    pub fn body(&self) -> ErrorBody {
        ErrorBody {
            error: ErrorDetail {
                code: self.code().to_owned(),
                message: self.to_string(),
                next: self.next().to_owned(),
            },
        }
    }

    pub(crate) fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), source }
    }
}

impl From<InvalidId> for AgentError {
    fn from(error: InvalidId) -> Self {
        Self::InvalidRequest { why: error.to_string() }
    }
}
