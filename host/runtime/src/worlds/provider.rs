//! `world provider-plugin`: talks to a cloud, a daemon, or an infrastructure tool.

use crate::wit::provider::{Action, Desired, Info, InstanceReport, Observed, Progress, ServicePlan};
use crate::wit::types::{CallContext, Failure, ServiceRef};

super::world! {
    /// A provider.
    Provider, Provider, provider;
    /// What the provider can do. Makes no request.
    "describe" 0 pub fn describe() -> Info;
    /// What `apply` would do. Call it with [`crate::CallOptions::read_only`].
    "plan" 1 pub fn plan(cx: CallContext, desired: Desired) -> Result<ServicePlan, Failure>;
    /// Does something, or goes on doing it where `state` is given.
    "apply" 2 pub fn apply(cx: CallContext, key: String, action: Action, state: Option<String>) -> Progress;
    /// What is there. Call it with [`crate::CallOptions::read_only`].
    "read" 3 pub fn read(cx: CallContext, service: ServiceRef) -> Result<Option<Observed>, Failure>;
    /// Sets the shares of traffic; revisions that are not named get none.
    "traffic" 4 pub fn traffic(cx: CallContext, key: String, service: ServiceRef, weights: Vec<(String, u16)>, state: Option<String>) -> Progress;
    /// The instances of a revision. Call it with [`crate::CallOptions::read_only`].
    "instances" 5 pub fn instances(cx: CallContext, service: ServiceRef, revision: String) -> Result<InstanceReport, Failure>;
    /// Removes a revision that has no traffic; one that is not there is done.
    "retire" 6 pub fn retire(cx: CallContext, key: String, service: ServiceRef, revision: String, state: Option<String>) -> Progress;
    /// Stops what `state` describes, as far as the counterpart can.
    "cancel" 7 pub fn cancel(cx: CallContext, key: String, state: String) -> Progress;
}
