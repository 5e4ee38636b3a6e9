//! What travels over the agent's socket: requests, answers and errors, as camelCase JSON.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use crate::ids::{InstanceId, InvalidId, RevisionId, ServiceName, Weight};

/// Answer of `GET /v1/agent`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentInfo {
    /// The version of the agent's crate.
    pub version: String,
    /// The version of the API, see [`crate::API_VERSION`].
    pub api_version: u32,
    /// The agent's process id.
    pub pid: u32,
    /// When this agent process started to serve.
    pub started_at: Timestamp,
    /// The folder with the agent's socket, state and logs.
    pub state_dir: String,
}

/// Body of `PUT /v1/services/{service}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PutService {
    /// The address at which users reach the service, e.g. `127.0.0.1:7101`. Port 0 lets the agent choose once.
    pub listen: SocketAddr,
}

/// Body of `PUT /v1/services/{service}/revisions/{revision}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PutRevision {
    /// What to run. Immutable once the revision exists; when neither this nor `external` is there, the revision must exist
    /// and is scaled as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
    /// Instances that somebody else runs, instead of a `workload`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<External>,
    /// How many instances to keep running; of external ones, how many there are.
    pub replicas: u32,
}

/// Instances that the agent did not start: containers, say. It checks them, sends them their share of the requests and
/// drains them; starting and stopping them is up to whoever runs them.
///
/// An instance is on a loopback port that the agent reserves and names in [`InstanceState::port`], unless `addresses` says
/// where it is. Whoever runs it starts it once it has the port, and stops it once it is gone from the state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct External {
    /// How to tell that an instance is ready; a TCP connection when absent. Immutable once the revision exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<Ready>,
    /// Where instances are, by number, for those that are not on a port that the agent chooses. On loopback only, unless the
    /// agent was told that services may listen anywhere. An instance keeps the address that it has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub addresses: BTreeMap<InstanceId, SocketAddr>,
}

/// A process to run, and how to tell that it serves.
///
/// The process gets `PORT`, `HOST` and `BASB_INSTANCE` in its environment; `{port}` is replaced in arguments and in
/// values of `env`. Apart from these and from `env`, it sees the agent's `PATH`, `HOME` and `LANG` only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workload {
    /// Program and arguments. A program without `/` is looked up in `PATH`.
    pub command: Vec<String>,
    /// The folder to run in; the agent's state folder when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_folder: Option<String>,
    /// Environment variables; names are `[A-Za-z_][A-Za-z0-9_]*`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// How to tell that an instance is ready; a TCP connection when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<Ready>,
    /// Bounds on what an instance may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Milliseconds between SIGTERM and SIGKILL; 5000 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_grace_ms: Option<u64>,
}

/// How to tell that an instance is ready for requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ready {
    /// Which check.
    pub kind: ReadyKind,
    /// For [`ReadyKind::Http`]: the path to get, `/` when absent. 2xx and 3xx count as ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Milliseconds between two checks; 200 when absent, at least 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// Milliseconds that one check may take; 2000 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Milliseconds of uninterrupted readiness before an instance counts as available; 0 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_ready_ms: Option<u64>,
}

/// The kinds of readiness check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadyKind {
    /// An HTTP GET answered with 2xx or 3xx.
    Http,
    /// A TCP connection that is accepted.
    Tcp,
    /// Ready as long as the process lives.
    None,
}

/// Bounds on what one instance may use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Private writable memory in mebibytes (`RLIMIT_DATA`; per process, not per process group).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u64>,
    /// Open file descriptors per process (`RLIMIT_NOFILE`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u64>,
    /// Processes and threads of the agent's user (`RLIMIT_NPROC`: counted per user, not per instance; not enforced for root).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
}

/// Body of `PUT /v1/services/{service}/traffic`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PutTraffic {
    /// Weight per revision. They sum to 10000, or are all zero (or absent) for no traffic.
    pub weights: BTreeMap<RevisionId, Weight>,
    /// Refuse with `version-conflict` unless the service is at this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_version: Option<u64>,
}

/// Body of `POST /v1/agent/stop`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StopAgent {
    /// What becomes of the service processes.
    #[serde(default)]
    pub services: StopServices,
}

/// What becomes of the service processes when the agent stops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopServices {
    /// They keep running; the next agent adopts them.
    #[default]
    Keep,
    /// They are stopped, and started again by the next agent.
    Stop,
}

/// A service as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceState {
    /// Its name.
    pub name: ServiceName,
    /// Where users reach it.
    pub listen: SocketAddr,
    /// The same as a URL, e.g. `http://127.0.0.1:7101`.
    pub url: String,
    /// Rises by one with every change of weights.
    pub version: u64,
    /// What is wrong with the service as a whole, e.g. that its address cannot be opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Its revisions, by id.
    pub revisions: Vec<RevisionState>,
}

impl ServiceState {
    /// The revision with this id, if there is one.
    #[must_use]
    pub fn revision(&self, id: &str) -> Option<&RevisionState> {
        self.revisions.iter().find(|revision| revision.id.as_str() == id)
    }
}

/// A revision as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionState {
    /// Its id.
    pub id: RevisionId,
    /// How many instances are wanted; 0 while it retires.
    pub desired: u32,
    /// How many instances take requests.
    pub available: u32,
    /// Its share of the service's traffic.
    pub weight: Weight,
    /// A URL that reaches this revision only, whatever its weight.
    pub preview_url: String,
    /// `sha256:` of the workload.
    pub workload_digest: String,
    /// Whether somebody else runs its instances.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub external: bool,
    /// Requests since this agent process started, through the service's address and the preview together.
    pub requests: Requests,
    /// Whether it is being retired: it goes away once its instances have stopped.
    #[serde(default)]
    pub retiring: bool,
    /// Its instances, by id.
    pub instances: Vec<InstanceState>,
}

/// Counters of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    /// Requests that this revision answered, or that failed on it.
    pub total: u64,
    /// Of `total`: answered with 5xx by the revision, or failed in the proxy (502, 503, 504, a broken body).
    pub failed: u64,
    /// Of `failed`: those that the proxy failed itself, not an answer of the revision.
    #[serde(default)]
    pub proxy_failed: u64,
    /// Attempts that broke on an instance of this revision and were repeated (not part of `total`).
    #[serde(default)]
    pub retried: u64,
    /// Requests under way now.
    pub in_flight: u64,
}

/// An instance as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceState {
    /// Its number within the revision.
    pub id: InstanceId,
    /// Its process, while it has one.
    pub pid: Option<u32>,
    /// The loopback port that it was told to listen on, or, for an external one, is expected on.
    pub port: u16,
    /// Where an external instance is, if it was said; otherwise it is on `port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// Where it is in its life.
    pub state: InstancePhase,
    /// How often it was started again.
    pub restarts: u32,
    /// When its present (or last) process was started.
    pub started_at: Option<Timestamp>,
    /// How its last process ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<LastExit>,
    /// Why it is not available, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Where an instance is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstancePhase {
    /// Started, not (or no longer) ready.
    Starting,
    /// Ready, and taking requests when its revision has weight.
    Available,
    /// Waiting to be started again.
    Backoff,
    /// Takes no new requests; finishes those under way, then stops.
    Draining,
    /// Ended, and not started again.
    Exited,
    /// Ended too often before it was ever ready; started again only when the revision is put again.
    Failed,
}

/// How a process ended. Code and signal are both absent when the agent was not there to see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastExit {
    /// Its exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// When the agent noticed.
    pub at: Timestamp,
}

/// Which log lines to get.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Only this revision.
    pub revision: Option<RevisionId>,
    /// Only instances with this number.
    pub instance: Option<InstanceId>,
    /// Only so many last lines of each instance; everything that is kept when absent.
    pub tail: Option<u32>,
}

/// The body of an answer that reports an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// An error as the API reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorDetail {
    /// A stable code, e.g. `port-in-use`.
    pub code: String,
    /// What failed, where and why.
    pub message: String,
    /// What to do next.
    pub next: String,
}
