//! Something to deploy, for the tests of providers.

use std::time::Duration;

use crate::ServiceRef;
use crate::provider::{Desired, Readiness, Workload};

/// The service `web` of the deployment `shop` in the environment `prod`.
#[must_use]
pub fn service() -> ServiceRef {
    ServiceRef { deployment: "shop".into(), environment: "prod".into(), service: "web".into() }
}

/// A revision of [`service`], from an image that is named by its digest; its variable `COLOUR` is the revision's name, so that
/// two revisions differ. The settings are empty.
#[must_use]
pub fn desired(revision: &str, replicas: u32) -> Desired {
    Desired {
        service: service(),
        listen: None,
        revision: revision.into(),
        replicas,
        workload: Workload {
            command: Vec::new(),
            image: Some(format!("registry.example/web@sha256:{}", "ab".repeat(32))),
            working_folder: None,
            env: vec![("COLOUR".into(), revision.into())],
            ready: Readiness::Http("/healthz".into()),
            min_ready: Duration::from_secs(25),
            stop_grace: Duration::from_secs(5),
            memory_limit: None,
            settings: "{}".into(),
        },
    }
}
