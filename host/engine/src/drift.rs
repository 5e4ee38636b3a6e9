//! What is there beside what the journal says is stable. Reads, and changes nothing: not even an agent is started.

use crate::plan::{self, AT_ONCE};
use crate::session::Session;
use crate::{EngineError, Prepared, bounds, convert, now, revision, stable};
use basb_core::run::{Failure, StableRevision};
use basb_core::{PluginName, RevisionId, RunId, ServiceName, Weight};
use basb_runtime::wit::provider;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What is there beside what should be.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DriftReport {
    /// The version of this form.
    pub version: u32,
    /// The deployment.
    pub deployment: ServiceName,
    /// The environment.
    pub environment: PluginName,
    /// When it was looked at, as RFC 3339.
    pub at: String,
    /// A run that is under way or was cut off: differences may be its half-way.
    pub unfinished: Option<RunId>,
    /// Each service of the file, and each that is stable and not in the file any more.
    pub services: Vec<ServiceDrift>,
}

/// A service, as it is and as it should be.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceDrift {
    /// The service.
    pub service: ServiceName,
    /// Whether the deployment file names it.
    pub in_file: bool,
    /// The revision that is stable.
    pub stable: Option<RevisionId>,
    /// Every revision that is there.
    pub there: Vec<Seen>,
    /// What differs.
    pub differences: Vec<Difference>,
    /// Why it could not be read: then nothing is known about it.
    pub unreadable: Option<Unreadable>,
}

/// A revision that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// Its id, as the provider calls it.
    pub id: String,
    /// How many instances there should be.
    pub desired: u32,
    /// How many can take traffic.
    pub available: u32,
    /// Its share of traffic.
    pub weight: Weight,
    /// The digest of what runs, where the counterpart tells: compared with the one that was told when it was rolled out.
    pub workload_digest: Option<String>,
}

/// Something that is not as the journal says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// In which way.
    pub kind: DifferenceKind,
    /// Which revision it is about; none for the service.
    pub revision: Option<String>,
    /// How it should be.
    pub expected: String,
    /// How it is.
    pub found: String,
}

/// In which way something differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DifferenceKind {
    /// Nothing is stable, and something is there.
    Unmanaged,
    /// The service, or its stable revision, is not there.
    Missing,
    /// It has another number of instances.
    Instances,
    /// Not all of its instances can take traffic.
    Available,
    /// It has not all of the traffic.
    Traffic,
    /// A revision that should not be there.
    Stray,
    /// It is there and runs something else than what was rolled out, or the provider would change something to make it
    /// what was deployed.
    Workload,
}

/// Why a service could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unreadable {
    /// A stable code.
    pub code: String,
    /// What happened.
    pub message: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(revision) = &self.revision {
            write!(f, "{revision}: ")?;
        }
        write!(f, "should be {}, is {}", self.expected, self.found)
    }
}

impl DriftReport {
    /// Whether everything that could be read is as it should be.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.services.iter().all(|s| s.differences.is_empty())
    }

    /// How many services could not be read.
    #[must_use]
    pub fn unreadable(&self) -> usize {
        self.services.iter().filter(|s| s.unreadable.is_some()).count()
    }
}

/// A provider's answer in our words; unlike in a run, revisions with a foreign id count.
pub(crate) fn seen(observed: Option<provider::Observed>) -> Vec<Seen> {
    let all = observed.into_iter().flat_map(|o| o.revisions).map(|r| Seen {
        id: r.id,
        desired: r.desired,
        available: r.available,
        weight: Weight::new(r.weight).unwrap_or(Weight::FULL),
        // In the form in which it was written down, and fit to be shown.
        workload_digest: r.workload_digest.map(|digest| bounds::line(&digest)),
    });
    all.collect()
}

/// Everything that differs between what is stable and what is there. `digest` is what the counterpart said that the stable
/// revision runs when it was rolled out.
#[must_use]
pub fn compare(stable: Option<&StableRevision>, digest: Option<&str>, there: &[Seen]) -> Vec<Difference> {
    let mut all = Vec::new();
    let mut differ = |kind, revision: Option<&str>, expected: String, found: String| {
        all.push(Difference { kind, revision: revision.map(str::to_owned), expected, found });
    };
    let instances = |n: u32| if n == 1 { "1 instance".to_owned() } else { format!("{n} instances") };
    let as_it_is = |s: &Seen| format!("there with {} and {} of the traffic", instances(s.desired), s.weight);
    let Some(stable) = stable else {
        for s in there {
            differ(DifferenceKind::Unmanaged, Some(&s.id), "absent: nothing is stable".to_owned(), as_it_is(s));
        }
        return all;
    };
    let id = stable.revision.as_str();
    match there.iter().find(|s| s.id == id) {
        None => {
            let found = if there.is_empty() { "absent, and so is any other revision" } else { "absent" };
            let expected = format!("there with {} and all of the traffic", instances(stable.replicas));
            differ(DifferenceKind::Missing, Some(id), expected, found.to_owned());
        }
        Some(s) => {
            if s.desired != stable.replicas {
                differ(DifferenceKind::Instances, Some(id), instances(stable.replicas), instances(s.desired));
            }
            if s.available < s.desired {
                let found = format!("{} available", s.available);
                differ(DifferenceKind::Available, Some(id), format!("{} available", s.desired), found);
            }
            if s.weight != Weight::FULL {
                let found = format!("{} of the traffic", s.weight);
                differ(DifferenceKind::Traffic, Some(id), "100% of the traffic".to_owned(), found);
            }
            // A counterpart that tells nothing any more says nothing about it.
            if let (Some(expected), Some(found)) = (digest, s.workload_digest.as_deref())
                && expected != found
            {
                let expected = format!("what was rolled out, workload {expected}");
                differ(DifferenceKind::Workload, Some(id), expected, format!("workload {found}"));
            }
        }
    }
    for s in there.iter().filter(|s| s.id != id) {
        differ(DifferenceKind::Stray, Some(&s.id), "absent".to_owned(), as_it_is(s));
    }
    all
}

impl Session {
    /// Reads every service and compares it with the journal. Changes nothing, and starts nothing.
    ///
    /// # Errors
    /// [`EngineError`] when secrets are missing or the journal cannot be read. A service that cannot be read is part of
    /// the report.
    pub async fn drift(&self, prepared: &Prepared) -> Result<DriftReport, EngineError> {
        prepared.plugins.access().check().await?;
        let deployment = &prepared.deployment;
        self.recall(deployment, &prepared.plugins).await?;
        let stable = stable::of_deployment(self.journal(), deployment).await?;
        let names: BTreeSet<&ServiceName> = deployment.services.keys().chain(stable.keys()).collect();
        let workloads: BTreeMap<(ServiceName, RevisionId), String> = self
            .journal()
            .workloads(&deployment.name, &deployment.environment)
            .await?
            .into_iter()
            .map(|(service, revision, digest)| ((service, revision), digest))
            .collect();
        let looks = names.into_iter().map(|name| {
            let stable = stable.get(name);
            let digest = stable.and_then(|s| workloads.get(&(name.clone(), s.revision.clone())));
            look(prepared, name, stable, digest.map(String::as_str))
        });
        let services = stream::iter(looks).buffered(AT_ONCE).collect().await;
        let unfinished = self.open_runs(&deployment.name, &deployment.environment).await?;
        Ok(DriftReport {
            version: 1,
            deployment: deployment.name.clone(),
            environment: deployment.environment.clone(),
            at: now().to_string(),
            unfinished: unfinished.first().map(|r| r.start.run.clone()),
            services,
        })
    }
}

async fn look(
    prepared: &Prepared,
    name: &ServiceName,
    stable: Option<&StableRevision>,
    digest: Option<&str>,
) -> ServiceDrift {
    let read = async {
        let there = prepared.plugins.look(convert::service_ref(&prepared.deployment, name)).await.map(seen)?;
        let mut differences = compare(stable, digest, &there);
        if let (Some(stable), true) = (stable, differences.is_empty()) {
            differences.extend(changed(prepared, name, stable).await?);
        }
        Ok::<_, Failure>((there, differences))
    };
    let (there, differences, unreadable) = match read.await {
        Ok((there, differences)) => (there, differences, None),
        Err(failure) => (Vec::new(), Vec::new(), Some(Unreadable { code: failure.code, message: failure.message })),
    };
    ServiceDrift {
        service: name.clone(),
        in_file: prepared.deployment.services.contains_key(name),
        stable: stable.map(|s| s.revision.clone()),
        there,
        differences,
        unreadable,
    }
}

/// What the provider would change to make the stable revision what was deployed: only it can compare a workload with what
/// runs.
async fn changed(prepared: &Prepared, name: &ServiceName, stable: &StableRevision) -> Result<Vec<Difference>, Failure> {
    let Some(service) = prepared.deployment.services.get(name) else { return Ok(Vec::new()) };
    if revision::is_unknown(&stable.workload) {
        return Ok(Vec::new());
    }
    let listen = service.listen.as_deref();
    let (id, workload) = (&stable.revision, &stable.workload);
    let desired = convert::desired(&prepared.deployment, name, listen, id, workload, stable.replicas);
    let planned = prepared.plugins.plan(desired).await?;
    let difference = |action| Difference {
        kind: DifferenceKind::Workload,
        revision: Some(id.to_string()),
        expected: "as it was deployed".to_owned(),
        found: format!("not: the provider would {}", plan::action(action).in_a_line()),
    };
    Ok(bounds::list("actions", planned.actions)?.into_iter().map(difference).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use basb_core::Millis;
    use basb_core::model::{Readiness, Shared, Workload};

    fn stable() -> StableRevision {
        StableRevision {
            revision: RevisionId::new("r1").unwrap(),
            replicas: 2,
            workload: Shared::from(Workload {
                command: vec!["x".into()],
                image: None,
                working_folder: None,
                env: Default::default(),
                ready: Readiness::None,
                min_ready: Millis::ZERO,
                stop_grace: Millis::ZERO,
                memory_limit: None,
                settings: serde_json::Value::Null,
            }),
        }
    }

    fn there(id: &str, desired: u32, available: u32, weight: u16) -> Seen {
        Seen { id: id.into(), desired, available, weight: Weight::new(weight).unwrap(), workload_digest: None }
    }

    #[test]
    fn another_workload_under_the_same_id_is_a_difference() {
        let runs =
            |digest: Option<&str>| Seen { workload_digest: digest.map(str::to_owned), ..there("r1", 2, 2, 10_000) };
        for (told, tells, differs) in [
            (Some("sha256:a"), Some("sha256:a"), false),
            (Some("sha256:a"), Some("sha256:b"), true),
            (None, Some("sha256:b"), false),
            (Some("sha256:a"), None, false),
        ] {
            let found = compare(Some(&stable()), told, &[runs(tells)]);
            let expected = if differs { vec![DifferenceKind::Workload] } else { Vec::new() };
            assert_eq!(found.iter().map(|d| d.kind).collect::<Vec<_>>(), expected, "{told:?} {tells:?}");
        }
    }

    #[test]
    fn every_difference_is_told_and_nothing_else() {
        use DifferenceKind::*;
        let cases: [(Option<StableRevision>, Vec<Seen>, &[DifferenceKind]); 9] = [
            (None, vec![], &[]),
            (None, vec![there("r1", 1, 1, 10_000)], &[Unmanaged]),
            (Some(stable()), vec![there("r1", 2, 2, 10_000)], &[]),
            (Some(stable()), vec![], &[Missing]),
            (Some(stable()), vec![there("r1", 3, 3, 10_000)], &[Instances]),
            (Some(stable()), vec![there("r1", 2, 1, 10_000)], &[Available]),
            (Some(stable()), vec![there("r1", 2, 2, 9_000)], &[Traffic]),
            (Some(stable()), vec![there("r1", 2, 2, 10_000), there("web v2", 1, 1, 0)], &[Stray]),
            (Some(stable()), vec![there("r9", 2, 2, 10_000)], &[Missing, Stray]),
        ];
        for (stable, there, expected) in cases {
            let found = compare(stable.as_ref(), None, &there);
            assert_eq!(found.iter().map(|d| d.kind).collect::<Vec<_>>(), expected, "{there:?}");
        }
        let lost = compare(Some(&stable()), None, &[there("r1", 1, 0, 2_500)]);
        let said: Vec<String> = lost.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "r1: should be 2 instances, is 1 instance",
                "r1: should be 1 available, is 0 available",
                "r1: should be 100% of the traffic, is 25% of the traffic",
            ]
        );
    }
}
