//! How long the texts of tapes are kept: what a deployment says of it is done after its runs.

use crate::EngineError;
use crate::begin::Started;
use crate::clock::now;
use crate::session::Session;
use basb_core::{Millis, PluginName, ServiceName, Timestamp};
use basb_journal::Pruned;

/// What a deployment says of the tapes of its runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    deployment: ServiceName,
    environment: PluginName,
    keep: Millis,
}

impl Started {
    /// What is to be done with old tapes once this run is over; nothing where its file says nothing.
    #[must_use]
    pub fn retention(&self) -> Option<Retention> {
        let deployment = &self.run.start().deployment;
        let keep = deployment.tapes?.keep;
        let (name, environment) = (deployment.name.clone(), deployment.environment.clone());
        Some(Retention { deployment: name, environment, keep })
    }
}

impl Session {
    /// Drops the texts of tapes that are older than they have to be kept, counted from the end of their run. No lease is
    /// needed: nobody writes to the tapes of a run that is finished, and those of others are left alone.
    ///
    /// # Errors
    /// [`EngineError`] when the journal cannot be written. The run that is over is what it was.
    pub async fn drop_old_tapes(&self, retention: &Retention) -> Result<Pruned, EngineError> {
        let Retention { deployment, environment, keep } = retention;
        let by = Timestamp(now().0.saturating_sub(keep.0));
        Ok(self.journal().prune_ended(deployment, environment, by).await?)
    }
}
