//! What revisions run, in the words of their counterparts: a digest for each, to compare with what runs later.

use crate::error::WorkError;
use crate::stable::ServiceKey;
use crate::{Journal, JournalError, row};
use basb_core::{PluginName, RevisionId, ServiceName};
use rusqlite::{Connection, params};

/// The digest of what a revision runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWorkload {
    /// The service.
    pub service: ServiceKey,
    /// The revision.
    pub revision: RevisionId,
    /// The counterpart's own text.
    pub digest: String,
}

impl Journal {
    /// The digest of every revision of a deployment in an environment of which one is known, by service.
    ///
    /// # Errors
    /// Why the file cannot be read.
    pub async fn workloads(
        &self,
        deployment: &ServiceName,
        environment: &PluginName,
    ) -> Result<Vec<(ServiceName, RevisionId, String)>, JournalError> {
        let (deployment, environment) = (deployment.clone(), environment.clone());
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT service, revision, digest FROM workloads WHERE deployment = ?1 AND environment = ?2 \
                 ORDER BY service, revision",
            )?;
            let found = statement.query_map(params![deployment.as_str(), environment.as_str()], |r| {
                Ok((row::name(r, 0)?, row::name(r, 1)?, r.get(2)?))
            })?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }
}

/// Inside an append's transaction.
pub(crate) fn insert(connection: &Connection, new: &NewWorkload) -> Result<(), WorkError> {
    let ServiceKey { deployment, environment, service } = &new.service;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO workloads (deployment, environment, service, revision, digest) \
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            deployment.as_str(),
            environment.as_str(),
            service.as_str(),
            new.revision.as_str(),
            new.digest
        ])?;
    Ok(())
}
