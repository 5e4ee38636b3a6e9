//! Taking what exists for what is stable: after a lost journal, or for a service that was made by other means.

use crate::cause::Cause;
use crate::drift::{Seen, seen};
use crate::only::{Order, only};
use crate::plan::AT_ONCE;
use crate::session::Session;
use crate::{EngineError, Prepared, convert, revision, stable};
use basb_core::run::StartMode;
use basb_core::{RevisionId, ServiceName, Weight};
use futures_util::{StreamExt, stream};
use serde::Serialize;

/// What an import makes of a service.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Imported {
    /// The service.
    pub service: ServiceName,
    /// What becomes of it.
    #[serde(flatten)]
    pub fate: Fate,
}

/// What becomes of a service.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "result", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Fate {
    /// It is adopted.
    Adopted {
        /// The revision that has all of the traffic.
        revision: RevisionId,
        /// How many instances it has.
        replicas: u32,
        /// What cannot be known of it.
        unknown: Vec<String>,
    },
    /// Nothing is there.
    Absent,
    /// It is not adopted.
    Refused {
        /// Why.
        reason: String,
    },
}

impl Session {
    /// Reads what is there, and makes the deployment one that takes it for stable. Services of which something is stable
    /// already are left out, and so are those that do not have exactly one revision with all of the traffic.
    ///
    /// # Errors
    /// [`EngineError::Refused`] when nothing can be adopted, or the provider cannot be asked; nothing was changed.
    pub async fn import(&self, mut prepared: Prepared) -> Result<(Prepared, Vec<Imported>), EngineError> {
        prepared.plugins.access().check().await?;
        self.ensure_agent_for(&prepared.deployment).await?;
        self.recall(&prepared.deployment, &prepared.plugins).await?;
        let stable = stable::of_deployment(self.journal(), &prepared.deployment).await?;
        let names: Vec<ServiceName> = prepared.deployment.services.keys().cloned().collect();
        let looks = names.into_iter().map(|service| {
            let (prepared, stable) = (&prepared, &stable);
            async move {
                let fate = match stable.get(&service) {
                    Some(s) => Fate::Refused { reason: format!("{} is stable already", s.revision) },
                    None => match prepared.plugins.look(convert::service_ref(&prepared.deployment, &service)).await {
                        Ok(observed) => fate(&seen(observed), prepared.revisions.get(&service)),
                        Err(failure) => Fate::Refused {
                            reason: format!("it cannot be read: {} ({})", failure.message, failure.code),
                        },
                    },
                };
                Imported { service, fate }
            }
        });
        let imported: Vec<Imported> = stream::iter(looks).buffered(AT_ONCE).collect().await;
        let adopted = |name: &ServiceName| {
            imported.iter().find_map(|i| match &i.fate {
                Fate::Adopted { revision, replicas, .. } if i.service == *name => Some((revision.clone(), *replicas)),
                _ => None,
            })
        };
        if !imported.iter().any(|i| matches!(i.fate, Fate::Adopted { .. })) {
            return Err(EngineError::refused(
                "import/nothing",
                format!("nothing can be adopted:{}", told(&imported)),
                "`basb-host drift` shows what is there, `basb-host revisions` what is stable; nothing was changed",
            ));
        }
        let file = prepared.revisions.clone();
        only(&mut prepared, |name| adopted(name).is_some(), Order::None);
        for (name, service) in &mut prepared.deployment.services {
            let Some((revision, replicas)) = adopted(name) else { continue };
            if file.get(name) != Some(&revision) {
                service.workload = revision::unknown();
            }
            service.replicas = replicas;
            prepared.revisions.insert(name.clone(), revision);
        }
        prepared.mode = StartMode::Adopt;
        prepared.cause = Cause::Import;
        Ok((prepared, imported))
    }
}

/// A line for each service.
fn told(imported: &[Imported]) -> String {
    let line = |i: &Imported| match &i.fate {
        Fate::Refused { reason } => format!("\n  {}: {reason}", i.service),
        Fate::Absent => format!("\n  {}: nothing is there", i.service),
        Fate::Adopted { revision, .. } => format!("\n  {}: {revision}", i.service),
    };
    imported.iter().map(line).collect()
}

/// What can be made of what is there. `candidate` is the revision that the file describes.
fn fate(there: &[Seen], candidate: Option<&RevisionId>) -> Fate {
    let with_traffic: Vec<&Seen> = there.iter().filter(|s| !s.weight.is_zero()).collect();
    let shares = || {
        let all: Vec<String> = there.iter().map(|s| format!("{} {}", s.id, s.weight)).collect();
        all.join(", ")
    };
    let refused = |reason: String| Fate::Refused { reason };
    match with_traffic[..] {
        [] if there.is_empty() => Fate::Absent,
        [only] if only.weight == Weight::FULL => match RevisionId::new(only.id.clone()) {
            Err(e) => refused(format!("its revision cannot be named: {e}")),
            Ok(_) if only.available == 0 => refused(format!("no instance of {} can take traffic", only.id)),
            Ok(revision) => {
                let mut unknown =
                    vec!["whether it was ever verified".to_owned(), "what was stable before it".to_owned()];
                if candidate != Some(&revision) {
                    let what = "what it runs: it can be gone back to while it is there, and not be made again";
                    unknown.insert(0, what.to_owned());
                }
                Fate::Adopted { revision, replicas: only.desired, unknown }
            }
        },
        [] => refused(format!("no revision has traffic: {}", shares())),
        _ => refused(format!("not exactly one revision has all of the traffic: {}", shares())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(id: &str, available: u32, weight: u16) -> Seen {
        Seen { id: id.into(), desired: 2, available, weight: Weight::new(weight).unwrap(), workload_digest: None }
    }

    #[test]
    fn only_one_revision_with_all_of_the_traffic_is_adopted() {
        let r1 = RevisionId::new("r1").unwrap();
        let adopted = |all: &[Seen]| fate(all, Some(&r1));
        assert_eq!(adopted(&[]), Fate::Absent);
        for (all, said) in [
            (vec![there("r1", 2, 5_000), there("r2", 2, 5_000)], "r1 50%, r2 50%"),
            (vec![there("r1", 2, 9_999)], "not exactly one"),
            (vec![there("r1", 2, 0)], "no revision has traffic"),
            (vec![there("r1", 0, 10_000)], "no instance of r1"),
            (vec![there("web v2", 1, 10_000)], "cannot be named"),
        ] {
            let Fate::Refused { reason } = adopted(&all) else { panic!("{all:?}") };
            assert!(reason.contains(said), "{reason}");
        }
        let Fate::Adopted { revision, replicas: 2, unknown } = adopted(&[there("r2", 1, 0), there("r1", 1, 10_000)])
        else {
            panic!()
        };
        assert_eq!((revision, unknown.len()), (r1.clone(), 2), "the file says what it runs");
        let Fate::Adopted { unknown, .. } = adopted(&[there("r3", 1, 10_000)]) else { panic!() };
        assert!(unknown[0].starts_with("what it runs"), "{unknown:?}");
    }
}
