//! From one environment to the next: the very artefacts that were verified there, through the next one's own rollout.

use crate::artefact::{Artefact, provenance};
use crate::cause::Cause;
use crate::session::Session;
use crate::{EngineError, Prepared, revision, stable};
use basb_core::{PluginName, ServiceName};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// An artefact on its way to another environment.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Promoted {
    /// The service.
    pub service: ServiceName,
    /// The revision that is stable in the environment that it comes from.
    pub from: basb_core::RevisionId,
    /// What it runs.
    pub artefact: Artefact,
}

impl Session {
    /// Makes a prepared deployment one that deploys exactly what is stable and verified in another environment. Images
    /// are taken over; a program must have the same content, and so must the files that its arguments name.
    ///
    /// # Errors
    /// [`EngineError::Refused`] with every service that has nothing verified there, or whose artefact is not the same;
    /// nothing was changed.
    pub async fn promote_from(
        &self,
        mut prepared: Prepared,
        from: &PluginName,
    ) -> Result<(Prepared, Vec<Promoted>), EngineError> {
        let deployment = &prepared.deployment;
        let to = deployment.environment.clone();
        let stable = self.journal().stable_services(&deployment.name, from).await?;
        let (mut promoted, mut problems, mut runs) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut notes = BTreeMap::new();
        for (name, service) in &deployment.services {
            let Some(kept) = stable.iter().find(|s| s.service.service == *name) else {
                problems.push(format!("{name}: nothing is stable in {from}"));
                continue;
            };
            let id = &kept.revision;
            let there = provenance(self.journal(), kept, &mut notes).await?;
            if there.cause == Cause::Import {
                problems.push(format!("{name}: {id} was adopted in {from} by an import, and never verified"));
                continue;
            }
            let Some(artefact) = there.artefact else {
                let workload = stable::stable(kept)?.workload;
                problems.push(match workload.command.first().filter(|program| !program.contains('/')) {
                    Some(program) => format!(
                        "{name}: `{program}` is looked up in PATH, so its content is no part of {id}: write the program's path, or \
                         deploy an image with its digest"
                    ),
                    None => format!("{name}: it is not known what exactly {id} runs in {from}"),
                });
                continue;
            };
            if !artefact.is_pinned() {
                problems.push(format!("{name}: {artefact} has no digest: it may mean something else by now"));
                continue;
            }
            let Some(here) = Artefact::of(&service.workload, &prepared.programs) else {
                problems.push(format!("{name}: {from} verified {artefact}; what {to} would deploy cannot be read"));
                continue;
            };
            let unlike = artefact.lacks(&here);
            if !unlike.is_empty() {
                problems.extend(unlike.into_iter().map(|it| match it.here {
                    Some(verified) => {
                        format!("{name}: {from} verified {verified}, and {to} would deploy {}", it.there)
                    }
                    None => format!("{name}: {to} would deploy {}, which {from} did not verify", it.there),
                }));
                continue;
            }
            runs.insert(kept.run.clone());
            promoted.push(Promoted { service: name.clone(), from: id.clone(), artefact });
        }
        if !problems.is_empty() {
            return Err(EngineError::refused(
                "promotion/not-the-same",
                format!("what {from} verified cannot be deployed in {to}:\n  {}", problems.join("\n  ")),
                format!("`basb-host run -e {from}` verifies what is there now; nothing was changed"),
            ));
        }
        let mut programs = revision::Programs::default();
        for p in &promoted {
            let (Artefact::Image { image }, Some(service)) =
                (&p.artefact, prepared.deployment.services.get_mut(&p.service))
            else {
                continue;
            };
            service.workload.image = Some(image.clone());
            prepared.revisions.insert(p.service.clone(), revision::of(&service.workload, &mut programs));
        }
        prepared.cause = Cause::Promotion { from: from.clone(), runs: runs.into_iter().collect() };
        Ok((prepared, promoted))
    }
}
