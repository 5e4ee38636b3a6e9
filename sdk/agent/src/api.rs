//! What travels to the agent and back, as far as providers need it. Fields that it does not know are ignored, so
//! that a newer agent may say more.

use std::collections::BTreeMap;
use std::time::Duration;

use basb_plugin::provider::{self, Observed, ObservedRevision, Readiness};
use basb_plugin::{Failure, Weight};
use serde::{Deserialize, Serialize};

/// Body of `PUT /v1/services/{service}`.
#[derive(Debug, Serialize)]
pub struct PutService {
    /// Where users reach it.
    pub listen: String,
}

/// Body of `PUT …/revisions/{revision}`.
#[derive(Debug, Default, Serialize)]
pub struct PutRevision {
    /// What runs; absent to scale a revision that is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
    /// How instances are checked that the agent does not start, instead of a workload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<External>,
    /// How many instances.
    pub replicas: u32,
}

/// Instances that the agent does not start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct External {
    /// How to tell that one of them is ready.
    pub ready: Ready,
    /// Where they are, by number, if not on a port that the agent reserves.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub addresses: BTreeMap<u64, String>,
}

/// Body of `PUT …/traffic`.
#[derive(Debug, Serialize)]
pub(crate) struct PutTraffic {
    /// Hundredths of a percent for each revision.
    pub weights: BTreeMap<String, u16>,
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Program and arguments.
    pub command: Vec<String>,
    /// The folder that it runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_folder: Option<String>,
    /// Environment variables.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// How to tell that an instance is ready.
    pub ready: Ready,
    /// Bounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Between asking it to end and ending it, in milliseconds.
    pub stop_grace_ms: u64,
}

/// How to tell that an instance is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    min_ready_ms: u64,
}

/// Bounds on an instance.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    memory_mb: u64,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Ready {
    /// How to tell that an instance of this workload is ready.
    pub fn of(workload: &provider::Workload) -> Ready {
        let (kind, path) = match &workload.ready {
            Readiness::None => ("none", None),
            Readiness::Tcp => ("tcp", None),
            Readiness::Http(path) => ("http", Some(path.clone())),
        };
        Ready { kind: kind.to_owned(), path, min_ready_ms: millis(workload.min_ready) }
    }
}

impl Workload {
    /// The workload as the agent has it.
    ///
    /// # Errors
    /// [`basb_plugin::FailureCode::Invalid`] for what a machine without containers cannot run.
    pub fn of(workload: &provider::Workload) -> Result<Workload, Failure> {
        if let Some(image) = &workload.image {
            return Err(Failure::invalid(format!(
                "the local provider runs programs, not container images ({image}): give the service a `command`"
            )));
        }
        if workload.command.is_empty() {
            return Err(Failure::invalid("the local provider needs a `command`: the program and its arguments"));
        }
        Ok(Workload {
            command: workload.command.clone(),
            working_folder: workload.working_folder.clone(),
            env: workload.env.iter().cloned().collect(),
            ready: Ready::of(workload),
            limits: workload.memory_limit.map(|bytes| Limits { memory_mb: bytes.div_ceil(1024 * 1024).max(1) }),
            stop_grace_ms: millis(workload.stop_grace),
        })
    }
}

/// A service, as the agent has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceState {
    /// Where users reach it, as `address:port`.
    pub listen: String,
    /// The same as a URL.
    pub url: String,
    /// Rises with every change of weights.
    pub version: u64,
    /// What is wrong with the service as a whole.
    pub message: Option<String>,
    /// Its revisions.
    pub revisions: Vec<RevisionState>,
}

/// A revision, as the agent has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionState {
    /// Its id.
    pub id: String,
    /// How many instances there should be.
    pub desired: u32,
    /// How many take requests.
    pub available: u32,
    /// Hundredths of a percent.
    pub weight: u16,
    /// Where it alone can be reached.
    pub preview_url: Option<String>,
    /// Digest of what runs.
    pub workload_digest: Option<String>,
    /// Whether it is going away.
    #[serde(default)]
    pub retiring: bool,
    /// Its instances.
    pub instances: Vec<InstanceState>,
}

/// An instance, as the agent has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceState {
    /// Its number.
    pub id: u64,
    /// The port on loopback that it is told to listen on.
    #[serde(default)]
    pub port: u16,
    /// Where it is in its life.
    pub state: InstancePhase,
    /// How often it was started again.
    pub restarts: u32,
    /// How its last process ended.
    pub last_exit: Option<LastExit>,
    /// Why it is not available.
    pub message: Option<String>,
}

/// Where an instance is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstancePhase {
    /// Not ready yet.
    Starting,
    /// Takes requests.
    Available,
    /// Waits to be started again.
    Backoff,
    /// Finishes its requests.
    Draining,
    /// Ended for good.
    Exited,
    /// Ended too often: given up.
    Failed,
    /// What a newer agent calls by a word of its own.
    #[serde(other)]
    Other,
}

impl InstancePhase {
    /// The agent's word.
    pub fn word(self) -> &'static str {
        match self {
            InstancePhase::Starting => "starting",
            InstancePhase::Available => "available",
            InstancePhase::Backoff => "backoff",
            InstancePhase::Draining => "draining",
            InstancePhase::Exited => "exited",
            InstancePhase::Failed => "failed",
            InstancePhase::Other => "other",
        }
    }
}

/// How a process ended.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastExit {
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl InstanceState {
    /// What is wrong with it: the agent's words, which hold its last lines of output, or else how it ended.
    pub fn message(&self) -> Option<String> {
        let ended = self.last_exit.as_ref().map(|exit| match (exit.code, exit.signal) {
            (Some(code), _) => format!("its process ended with status {code}"),
            (None, Some(signal)) => format!("its process was ended by signal {signal}"),
            (None, None) => "its process ended".to_owned(),
        });
        self.message.clone().or(if self.state == InstancePhase::Available { None } else { ended })
    }
}

impl ServiceState {
    /// The revision with this id.
    pub fn revision(&self, id: &str) -> Option<&RevisionState> {
        self.revisions.iter().find(|revision| revision.id == id)
    }

    /// As the host wants to see it.
    pub fn observed(&self) -> Observed {
        let extras =
            |name: &str, value: Option<String>| value.map(|value| (name.to_owned(), value)).into_iter().collect();
        Observed {
            url: Some(self.url.clone()),
            revisions: self
                .revisions
                .iter()
                .map(|revision| ObservedRevision {
                    id: revision.id.clone(),
                    desired: revision.desired,
                    available: revision.available,
                    weight: Weight::from_hundredths(revision.weight),
                    preview_url: revision.preview_url.clone(),
                    workload_digest: revision.workload_digest.clone(),
                    extras: extras("retiring", revision.retiring.then(|| "true".to_owned())),
                })
                .collect(),
            version: Some(self.version.to_string()),
            extras: extras("message", self.message.clone()),
        }
    }
}

/// The body of an answer that reports an error.
#[derive(Debug, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// An error, as the agent reports it.
#[derive(Debug, Deserialize)]
pub struct ErrorDetail {
    /// A stable code.
    pub code: String,
    /// What failed.
    pub message: String,
    /// What to do next.
    #[serde(default)]
    pub next: String,
}
