//! What providers want to be given back: one text for each service, replaced as a whole, together with the records of
//! the call that it came from.

use crate::error::WorkError;
use crate::stable::ServiceKey;
use crate::{Journal, JournalError, row};
use basb_core::{PluginName, ServiceName};
use rusqlite::{Connection, params};

/// What a provider wants to be given back for a service from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMemory {
    /// The service.
    pub service: ServiceKey,
    /// The provider's own text; an empty one is forgotten.
    pub text: String,
}

impl Journal {
    /// What there is for the services of a deployment in an environment, by name.
    ///
    /// # Errors
    /// Why the file cannot be read.
    pub async fn memory(
        &self,
        deployment: &ServiceName,
        environment: &PluginName,
    ) -> Result<Vec<(ServiceName, String)>, JournalError> {
        let (deployment, environment) = (deployment.clone(), environment.clone());
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT service, text FROM memory WHERE deployment = ?1 AND environment = ?2 ORDER BY service",
            )?;
            let found = statement
                .query_map(params![deployment.as_str(), environment.as_str()], |r| Ok((row::name(r, 0)?, r.get(1)?)))?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }
}

/// Inside an append's transaction.
pub(crate) fn insert(connection: &Connection, new: &NewMemory) -> Result<(), WorkError> {
    let ServiceKey { deployment, environment, service } = &new.service;
    let key = (deployment.as_str(), environment.as_str(), service.as_str());
    if new.text.is_empty() {
        connection
            .prepare_cached("DELETE FROM memory WHERE deployment = ?1 AND environment = ?2 AND service = ?3")?
            .execute(params![key.0, key.1, key.2])?;
    } else {
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO memory (deployment, environment, service, text) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![key.0, key.1, key.2, new.text])?;
    }
    Ok(())
}
