//! Providers: make services run in a cloud, by a daemon, or through an infrastructure tool.
//!
//! Every mutating call takes a key minted by the host: the same key again is the same intention. A call that needs
//! longer than a few seconds returns [`Progress::Running`] with a state, and is called again with it.

use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::doors::ProviderWorld;
use crate::failure::Failure;
use crate::values::{Extras, ServiceRef, Weight};

pub use crate::bindings::provider::exports::basb::host::provider::{
    ActionKind, Change, Instance, InstanceReport, Outcome, PlannedAction, Readiness, Scaling,
};

/// What accompanies a provider's call: the time, and the doors `log`, `http`, `exec`, `files`.
pub type ProviderContext = Context<ProviderWorld>;

/// Talks to a cloud, a daemon, or an infrastructure tool.
pub trait Provider {
    /// The configuration; the host has checked it against the schema in the manifest.
    type Config: DeserializeOwned;

    /// What the provider can do. Makes no request.
    fn describe() -> Info;

    /// What `apply` would do. Sends only requests that read: the host lets no other through.
    ///
    /// # Errors
    /// Where the counterpart cannot tell.
    fn plan(cx: &ProviderContext, config: &Self::Config, desired: &Desired) -> Result<ServicePlan, Failure>;

    /// Does something, or goes on doing it where `state` is given.
    ///
    /// # Errors
    /// Where it cannot be done.
    fn apply(
        cx: &ProviderContext,
        config: &Self::Config,
        key: &str,
        action: &Action,
        state: Option<&str>,
    ) -> Result<Progress, Failure>;

    /// What is there; nothing where the service is not.
    ///
    /// # Errors
    /// Where the counterpart cannot tell.
    fn read(cx: &ProviderContext, config: &Self::Config, service: &ServiceRef) -> Result<Option<Observed>, Failure>;

    /// Sets the shares of traffic; revisions that are not named get none. The host verifies by [`Provider::read`].
    ///
    /// # Errors
    /// Where they cannot be set.
    fn traffic(
        cx: &ProviderContext,
        config: &Self::Config,
        key: &str,
        service: &ServiceRef,
        weights: &[(String, Weight)],
        state: Option<&str>,
    ) -> Result<Progress, Failure>;

    /// The instances of a revision.
    ///
    /// # Errors
    /// Where the counterpart cannot tell.
    fn instances(
        cx: &ProviderContext,
        config: &Self::Config,
        service: &ServiceRef,
        revision: &str,
    ) -> Result<InstanceReport, Failure>;

    /// Removes a revision that has no traffic; one that is not there is done.
    ///
    /// # Errors
    /// Where it cannot be removed.
    fn retire(
        cx: &ProviderContext,
        config: &Self::Config,
        key: &str,
        service: &ServiceRef,
        revision: &str,
        state: Option<&str>,
    ) -> Result<Progress, Failure>;

    /// Stops what `state` describes, as far as the counterpart can.
    ///
    /// # Errors
    /// Where it cannot be stopped.
    fn cancel(cx: &ProviderContext, config: &Self::Config, key: &str, state: &str) -> Result<Progress, Failure>;
}

/// What the provider can do.
#[derive(Debug, Clone, PartialEq)]
pub struct Info {
    /// Of: `split-traffic`, `preview-url`, `mirror`, `header-routes`, `server-dry-run`, `optimistic-lock`.
    pub abilities: Vec<String>,
    /// The smallest change of weight that it can make.
    pub weight_granularity: Weight,
    /// Named values for which no field exists yet.
    pub extras: Extras,
}

/// What runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// Program and arguments. `{port}` stands for the port that the instance must listen on.
    pub command: Vec<String>,
    /// The container image, by digest.
    pub image: Option<String>,
    /// The folder that the program starts in.
    pub working_folder: Option<String>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// How to tell that it can take traffic.
    pub ready: Readiness,
    /// How long it must be ready before it counts as available.
    pub min_ready: Duration,
    /// How long it has to end after being asked to.
    pub stop_grace: Duration,
    /// The most memory that an instance may use, in bytes.
    pub memory_limit: Option<u64>,
    /// Settings of this provider as JSON, already checked against its schema.
    pub settings: String,
}

/// What there should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// The service.
    pub service: ServiceRef,
    /// Where users reach it, as `host:port`.
    pub listen: Option<String>,
    /// The revision's id, named by a digest of the workload.
    pub revision: String,
    /// What runs.
    pub workload: Workload,
    /// How many instances of the revision.
    pub replicas: u32,
}

/// A revision, as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct ObservedRevision {
    /// Its id.
    pub id: String,
    /// How many instances there should be.
    pub desired: u32,
    /// How many of them can take traffic.
    pub available: u32,
    /// Its share of traffic.
    pub weight: Weight,
    /// Where it alone can be reached.
    pub preview_url: Option<String>,
    /// Digest of the workload that runs, where the counterpart can tell.
    pub workload_digest: Option<String>,
    /// Named values for which no field exists yet.
    pub extras: Extras,
}

/// A service, as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// Where users reach it.
    pub url: Option<String>,
    /// Every revision that is there.
    pub revisions: Vec<ObservedRevision>,
    /// The version for optimistic locking, where there is one.
    pub version: Option<String>,
    /// Named values for which no field exists yet.
    pub extras: Extras,
}

/// Everything that `apply` will do for a service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServicePlan {
    /// What is there now, if anything is.
    pub observed: Option<Observed>,
    /// What will be done, in order; empty when nothing differs.
    pub actions: Vec<PlannedAction>,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Make service and revision be there, with that many instances.
    Deploy(Box<Desired>),
    /// Change how many instances a revision has.
    Scale(Scaling),
}

/// How far a mutating call has come. A failure is the `Err` beside it.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// It is done.
    Done(Outcome),
    /// It goes on at the counterpart: call again with the state.
    Running(Pending),
}

/// What a call that goes on needs to be called again.
#[derive(Debug, Clone, PartialEq)]
pub struct Pending {
    /// Belongs to the provider; kept by the host, and given back as it was.
    pub state: String,
    /// Call again no sooner than after this time.
    pub poll_after: Duration,
    /// What is being waited for, in one line.
    pub note: String,
}

impl Progress {
    /// It is done.
    pub fn done(summary: impl Into<String>) -> Progress {
        Progress::Done(Outcome { summary: summary.into(), outputs: Vec::new() })
    }

    /// It goes on: call again with the state.
    pub fn running(state: impl Into<String>, poll_after: Duration, note: impl Into<String>) -> Progress {
        Progress::Running(Pending { state: state.into(), poll_after, note: note.into() })
    }
}

impl Outcome {
    /// Adds a named result, such as `url`.
    #[must_use]
    pub fn output(mut self, name: impl Into<String>, value: impl Into<String>) -> Outcome {
        self.outputs.push((name.into(), value.into()));
        self
    }
}
