//! What is deployed, and what is under way.

use crate::EngineError;
use crate::history::{RunView, ServiceStatus, rebuild};
use crate::lease::lease_name;
use crate::session::Session;
use crate::unlock::Held as HeldBy;
use basb_core::run::Run;
use basb_core::{PluginName, RevisionId, RunId, ServiceName, Timestamp};
use basb_journal::RunFilter;
use serde::Serialize;
use std::collections::BTreeSet;

/// What is deployed, and what is under way.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusReport {
    /// The version of this form.
    pub version: u32,
    /// Every service with a stable revision.
    pub deployed: Vec<Deployed>,
    /// Runs that are not finished.
    pub unfinished: Vec<Unfinished>,
}

/// A service with its stable revision.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployed {
    /// The deployment.
    pub deployment: ServiceName,
    /// The environment.
    pub environment: PluginName,
    /// The service.
    pub service: ServiceName,
    /// Its stable revision.
    pub revision: RevisionId,
    /// How many instances it has.
    pub replicas: u32,
    /// Since when, as RFC 3339.
    pub since: String,
}

/// A run that is not finished.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unfinished {
    /// The run.
    pub run: RunId,
    /// The deployment.
    pub deployment: ServiceName,
    /// The environment.
    pub environment: PluginName,
    /// Its services.
    pub services: Vec<ServiceStatus>,
    /// The gates that are open.
    pub gates: Vec<GateStatus>,
    /// Who is at work on it.
    pub held: Option<HeldBy>,
}

/// A gate that is open.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GateStatus {
    /// What `approve` calls it.
    pub gate: String,
    /// The service that waits; none when all of the run does.
    pub service: Option<ServiceName>,
    /// What is to be decided.
    pub reason: String,
    /// Until when.
    pub until: Option<Timestamp>,
    /// How many must agree; none where anybody's promotion is enough.
    pub needs: Option<u32>,
    /// Who has agreed.
    pub approvals: Vec<String>,
    /// The plan that they agree to.
    pub plan: basb_core::Digest,
}

impl GateStatus {
    fn of(run: &Run) -> Vec<Self> {
        let plan = run.start().plan_digest();
        let gates = run.gates().into_iter().map(|gate| Self {
            gate: gate.name,
            service: gate.service,
            reason: gate.reason,
            until: gate.until,
            needs: gate.quorum.map(|q| q.approvals),
            approvals: gate.approvals,
            plan: plan.clone(),
        });
        gates.collect()
    }
}

impl Session {
    /// What is deployed, and what is under way.
    ///
    /// # Errors
    /// Why the journal cannot be read.
    pub async fn status(&self) -> Result<StatusReport, EngineError> {
        let runs = self.journal.runs(RunFilter::default(), 10_000).await?;
        let all: BTreeSet<(ServiceName, PluginName)> =
            runs.iter().map(|r| (r.start.deployment.clone(), r.start.environment.clone())).collect();
        let mut deployed = Vec::new();
        for (deployment, environment) in all {
            for stable in self.journal.stable_services(&deployment, &environment).await? {
                deployed.push(Deployed {
                    deployment: deployment.clone(),
                    environment: environment.clone(),
                    service: stable.service.service,
                    revision: stable.revision,
                    replicas: stable.replicas,
                    since: stable.at.to_string(),
                });
            }
        }
        let mut unfinished = Vec::new();
        for record in runs.iter().filter(|r| r.state == basb_journal::RunState::Open) {
            let id = &record.start.run;
            let view = rebuild(id, &self.journal.entries(id, 1).await?).ok();
            let lease = lease_name(&record.start.deployment, &record.start.environment);
            let held = self.journal.holder(&lease).await?.map(|held| HeldBy::of(&lease, &held));
            unfinished.push(Unfinished {
                run: id.clone(),
                deployment: record.start.deployment.clone(),
                environment: record.start.environment.clone(),
                services: view.as_ref().map(RunView::services).unwrap_or_default(),
                gates: view.map(|v| GateStatus::of(&v.run)).unwrap_or_default(),
                held: held.filter(|held| held.holder != "gone"),
            });
        }
        Ok(StatusReport { version: 1, deployed, unfinished })
    }
}
