//! Which revision of a service is stable, and which ones were before.

use crate::error::WorkError;
use crate::{Append, Journal, JournalError, NewStable, row};
use basb_core::{PluginName, RevisionId, RunId, ServiceName, Timestamp};
use rusqlite::{Connection, Row, params};

/// A service in an environment.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// The deployment.
    pub deployment: ServiceName,
    /// The environment.
    pub environment: PluginName,
    /// The service.
    pub service: ServiceName,
}

/// A revision that was verified and became stable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StableRevision {
    /// Its place in the order of all of them: the highest of a service is its stable one.
    pub ordinal: u64,
    /// The service.
    pub service: ServiceKey,
    /// The revision.
    pub revision: RevisionId,
    /// How many instances it had.
    pub replicas: u32,
    /// What ran, as JSON that belongs to the engine.
    pub workload_json: String,
    /// The run that made it stable.
    pub run: RunId,
    /// Since when.
    pub at: Timestamp,
}

const COLUMNS: &str = "ordinal, deployment, environment, service, revision, replicas, workload, run, at";

impl Journal {
    /// The stable revision of a service, if it has one.
    ///
    /// # Errors
    /// Why the file cannot be read.
    pub async fn stable(&self, service: &ServiceKey) -> Result<Option<StableRevision>, JournalError> {
        Ok(self.revisions(service, 1).await?.pop())
    }

    /// What was stable, newest first; the first one is stable now. One that became stable again is listed again.
    ///
    /// # Errors
    /// Why the file cannot be read.
    pub async fn revisions(&self, service: &ServiceKey, limit: u32) -> Result<Vec<StableRevision>, JournalError> {
        let key = service.clone();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM stable_revisions WHERE deployment = ?1 AND environment = ?2 AND service = ?3 \
                 ORDER BY ordinal DESC LIMIT ?4"
            ))?;
            let parameters = params![key.deployment.as_str(), key.environment.as_str(), key.service.as_str(), limit];
            Ok(statement.query_map(parameters, revision)?.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// How the stable revision of every service of a deployment in an environment became stable, by name. A repair and a change
    /// of the number of instances write it down again: what counts is when it took the place of another one.
    ///
    /// # Errors
    /// Why the file cannot be read.
    pub async fn stable_since(
        &self,
        deployment: &ServiceName,
        environment: &PluginName,
    ) -> Result<Vec<StableRevision>, JournalError> {
        let since = "WITH here AS (SELECT ordinal, service, revision FROM stable_revisions \
                     WHERE deployment = ?1 AND environment = ?2), \
                     newest AS (SELECT service, revision, max(ordinal) AS last FROM here GROUP BY service), \
                     others AS (SELECT here.service, max(here.ordinal) AS last FROM here JOIN newest USING (service) \
                     WHERE here.revision <> newest.revision GROUP BY here.service) \
                     SELECT min(here.ordinal) FROM here LEFT JOIN others USING (service) \
                     WHERE here.ordinal > coalesce(others.last, 0) GROUP BY here.service";
        self.of_services(deployment, environment, since).await
    }

    /// The stable revision of every service of a deployment in an environment, by name.
    ///
    /// # Errors
    /// Why the file cannot be read.
    pub async fn stable_services(
        &self,
        deployment: &ServiceName,
        environment: &PluginName,
    ) -> Result<Vec<StableRevision>, JournalError> {
        let newest =
            "SELECT max(ordinal) FROM stable_revisions WHERE deployment = ?1 AND environment = ?2 GROUP BY service";
        self.of_services(deployment, environment, newest).await
    }

    /// One row for each service: those whose places a query chooses.
    async fn of_services(
        &self,
        deployment: &ServiceName,
        environment: &PluginName,
        ordinals: &'static str,
    ) -> Result<Vec<StableRevision>, JournalError> {
        let (deployment, environment) = (deployment.clone(), environment.clone());
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM stable_revisions WHERE ordinal IN ({ordinals}) ORDER BY service"
            ))?;
            let found = statement.query_map(params![deployment.as_str(), environment.as_str()], revision)?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Makes a revision stable, outside of any record. An append does both at once: [`Append::stable`].
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub async fn set_stable(&self, run: &RunId, stable: NewStable) -> Result<(), JournalError> {
        self.append(run, Append::default().stable(stable)).await.map(|_| ())
    }
}

fn revision(r: &Row<'_>) -> rusqlite::Result<StableRevision> {
    Ok(StableRevision {
        ordinal: row::unsigned(r, 0)?,
        service: ServiceKey { deployment: row::name(r, 1)?, environment: row::name(r, 2)?, service: row::name(r, 3)? },
        revision: row::name(r, 4)?,
        replicas: r.get(5)?,
        workload_json: r.get(6)?,
        run: row::name(r, 7)?,
        at: row::time(r, 8)?,
    })
}

/// Inside an append's transaction.
pub(crate) fn insert(connection: &Connection, run: &RunId, new: &NewStable) -> Result<(), WorkError> {
    let at = row::to_column("the time of a stable revision", new.at.0)?;
    connection
        .prepare_cached(
            "INSERT INTO stable_revisions (deployment, environment, service, revision, replicas, workload, run, at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            new.service.deployment.as_str(),
            new.service.environment.as_str(),
            new.service.service.as_str(),
            new.revision.as_str(),
            new.replicas,
            new.workload_json,
            run.as_str(),
            at
        ])?;
    Ok(())
}
