//! A deployment, read and resolved: every name refers to something, every duration has its unit.
//!
//! `basb-spec` makes it from a file and is the only one who does; everything behind it can rely on what the types say.

use crate::run::OnTimeout;
use crate::{Millis, PluginName, ServiceName};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// A part of the model that several hold at once: a clone costs a pointer, so that a deployment of thousands of services
/// is in memory once. Reads and is written like what it holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Shared<T>(Arc<T>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> From<T> for Shared<T> {
    fn from(whole: T) -> Self {
        Self(Arc::new(whole))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// Whoever changes it gets a copy of their own, where others hold it too.
impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

impl<T: Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::from)
    }
}

/// A deployment in one environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// Its name.
    pub name: ServiceName,
    /// The environment that was chosen.
    pub environment: PluginName,
    /// The provider of that environment.
    pub provider: Use,
    /// Who must agree before anything is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approve: Option<Approve>,
    /// The services, by name.
    pub services: BTreeMap<ServiceName, Shared<Service>>,
    /// Services that are promoted together or not at all; a service is in one group at the most.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<PluginName, Group>,
    /// The strategies that services refer to.
    pub strategies: BTreeMap<PluginName, Use>,
    /// The probes that services and analyses refer to.
    pub probes: BTreeMap<PluginName, Use>,
    /// The analyses that services and strategies refer to.
    pub analyses: BTreeMap<PluginName, Analysis>,
    /// Who is told what.
    pub notifiers: BTreeMap<PluginName, Notifier>,
    /// Every plugin that is used, and what it may do.
    pub plugins: BTreeMap<PluginName, PluginSource>,
    /// Where secrets come from, as written: `basb-secrets` reads it.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub secret_stores: serde_json::Value,
    /// Which secrets there are, as written; never a value. `basb-secrets` reads it.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub secrets: serde_json::Value,
    /// Which credentials there are, as written; never a value. `basb-credentials` reads it.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub credentials: serde_json::Value,
    /// The keys of those who sign plugins, by the names that plugins refer to: minisign public keys in base64.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub publishers: BTreeMap<PluginName, String>,
    /// What is done with the tapes of its runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tapes: Option<Tapes>,
}

/// What is done with the tapes of runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tapes {
    /// How long their texts are kept after the end of the run.
    pub keep: Millis,
}

/// A plugin with a configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Use {
    /// The plugin's name under `plugins`.
    pub plugin: PluginName,
    /// Its configuration, not yet checked against its schema.
    pub config: serde_json::Value,
}

/// Where a plugin comes from and what it may do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginSource {
    /// `builtin:NAME` or the path of a component file, absolute.
    pub source: String,
    /// The grants, as written: `basb-grants` reads them. An empty object grants nothing.
    pub grants: serde_json::Value,
    /// The credentials that the host may add to its requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<PluginName>,
    /// Who must have signed it: a name under `publishers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher: Option<PluginName>,
}

/// How many people must agree, and who counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quorum {
    /// How many different people; at least 1.
    pub approvals: u32,
    /// Who may; empty for everybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<String>,
}

/// Who must agree before a run changes anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approve {
    /// How many, and who.
    #[serde(flatten)]
    pub quorum: Quorum,
    /// How long to wait; none is without end.
    pub timeout: Option<Millis>,
    /// What happens then.
    pub on_timeout: OnTimeout,
}

/// Services that are promoted together or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Its services.
    pub services: Vec<ServiceName>,
}

/// A service and how it is released.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// What runs.
    pub workload: Workload,
    /// How many instances it has in full; at least 1.
    pub replicas: u32,
    /// Where users reach it, as `host:port`.
    pub listen: Option<String>,
    /// The services that must be done before this one starts.
    pub depends_on: Vec<ServiceName>,
    /// The strategy, by its name under `strategies`.
    pub strategy: PluginName,
    /// Probes that must pass before anything is changed; measured at the stable revision, if there is one.
    pub readiness: Vec<PluginName>,
    /// Probes that must pass after the rollout, measured at the service's URL.
    pub verify: Vec<PluginName>,
    /// What must hold for a while after that.
    pub bake: Option<Bake>,
    /// Who must agree at each gate of its rollout; none leaves it to anybody who promotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gates: Option<Quorum>,
    /// No progress for so long aborts the rollout; paused time does not count.
    pub progress_deadline: Millis,
    /// Keep the old revision for so long after success.
    pub scale_down_delay: Millis,
    /// Keep the candidate for so long after an abort; `None` keeps it for good.
    pub abort_scale_down_delay: Option<Millis>,
}

/// What must hold for a while after a rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bake {
    /// For how long.
    pub duration: Millis,
    /// Analyses that run meanwhile.
    pub analyses: Vec<PluginName>,
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Program and arguments. `{port}` stands for the port that the instance must listen on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The container image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The folder that the program starts in, absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_folder: Option<String>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// How to tell that it can take traffic.
    pub ready: Readiness,
    /// How long it must be ready before it counts as available.
    pub min_ready: Millis,
    /// How long it has to end after being asked to.
    pub stop_grace: Millis,
    /// The most memory that an instance may use, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<u64>,
    /// Settings of the provider.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub settings: serde_json::Value,
}

/// How to tell that an instance can take traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Readiness {
    /// A process that lives is ready.
    None,
    /// A TCP connection is accepted.
    Tcp,
    /// A GET of this path is answered with 2xx or 3xx.
    Http(String),
}

/// Repeated measurements under limits, ending in one verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Analysis {
    /// What is measured; at least one.
    pub metrics: Vec<Metric>,
}

impl Metric {
    /// Whether no number of passes ends it: nothing but a failure does, or the end of what it runs beside.
    #[must_use]
    pub fn is_endless(&self) -> bool {
        self.interval.is_some() && self.count.is_none() && self.consecutive_success_limit == 0
    }
}

/// One metric of an analysis. Names and rules: Argo Rollouts' analysis templates, with the differences noted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metric {
    /// Its name.
    pub name: PluginName,
    /// The probe that measures, by its name under `probes`.
    pub probe: PluginName,
    /// Time from one measurement to the next. Without it there is one measurement.
    pub interval: Option<Millis>,
    /// Time before the first measurement.
    pub initial_delay: Millis,
    /// How many measurements; none with an interval is endless, for analyses beside the steps and for bakes.
    pub count: Option<u32>,
    /// A CEL expression over `result` that means success.
    pub success_condition: Option<String>,
    /// A CEL expression over `result` that means failure.
    pub failure_condition: Option<String>,
    /// More failed measurements than this fail the metric; `None` never does.
    pub failure_limit: Option<u32>,
    /// More inconclusive ones make it inconclusive.
    pub inconclusive_limit: u32,
    /// More errors in a row make it an error.
    pub consecutive_error_limit: u32,
    /// More empty measurements in a row make it no-data.
    pub consecutive_no_data_limit: u32,
    /// So many successes in a row pass it at once; 0 is off.
    pub consecutive_success_limit: u32,
    /// Fewer judged measurements than this are not enough for a pass.
    pub min_samples: u32,
    /// Measured and shown, but without effect on the verdict.
    pub dry_run: DryRun,
}

/// Whether a metric counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DryRun {
    /// It counts.
    No,
    /// It is only shown.
    Yes,
}

/// Who is told what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notifier {
    /// The plugin and its configuration.
    #[serde(flatten)]
    pub uses: Use,
    /// The kinds of events; a trailing `*` stands for the rest. Empty for what the plugin itself asks for.
    pub events: Vec<String>,
}
