//! The stable revisions of a deployment, as the engine keeps them in the journal.

use crate::EngineError;
use basb_core::ServiceName;
use basb_core::model::Deployment;
use basb_core::run::StableRevision;
use basb_journal::Journal;
use std::collections::BTreeMap;

/// The stable revision of every service of a deployment that has one, read at once: also of services that the file does
/// not name any more.
///
/// # Errors
/// Why the journal cannot be read.
pub async fn of_deployment(
    journal: &Journal,
    deployment: &Deployment,
) -> Result<BTreeMap<ServiceName, StableRevision>, EngineError> {
    let all = journal.stable_services(&deployment.name, &deployment.environment).await?;
    all.iter().map(|kept| Ok((kept.service.service.clone(), stable(kept)?))).collect()
}

/// A stable revision, in the core's words.
///
/// # Errors
/// [`EngineError::Entry`] when its workload cannot be read.
pub fn stable(kept: &basb_journal::StableRevision) -> Result<StableRevision, EngineError> {
    let workload = serde_json::from_str(&kept.workload_json).map_err(|e| EngineError::Entry {
        run: kept.run.to_string(),
        seq: kept.ordinal,
        why: format!("the workload of {}'s stable revision cannot be read: {e}", kept.service.service),
    })?;
    Ok(StableRevision { revision: kept.revision.clone(), replicas: kept.replicas, workload })
}
