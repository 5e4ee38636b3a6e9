//! What a revision runs, by its content: what one environment passes on to the next.

use crate::begin::RunNotes;
use crate::cause::Cause;
use crate::{EngineError, revision, stable};
use basb_core::Digest;
use basb_core::model::Workload;
use basb_journal::Journal;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// What a revision runs, by its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Artefact {
    /// An image, as it is written in the file: with its digest, or it may mean something else tomorrow.
    Image(String),
    /// A program, by the digest of its bytes.
    Program(Digest),
}

impl fmt::Display for Artefact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(image) => write!(f, "image {image}"),
            Self::Program(digest) => write!(f, "program {digest}"),
        }
    }
}

impl Artefact {
    /// Whether it can only ever mean the same content.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        match self {
            Self::Program(_) => true,
            Self::Image(image) => image
                .rsplit_once('@')
                .is_some_and(|(name, digest)| !name.is_empty() && Digest::try_from(digest.to_owned()).is_ok()),
        }
    }

    /// That of a workload, given the contents of programs; none when nothing tells.
    #[must_use]
    pub fn of(workload: &Workload, programs: &BTreeMap<String, Digest>) -> Option<Self> {
        match (&workload.image, workload.command.first()) {
            (Some(image), _) => Some(Self::Image(image.clone())),
            (None, Some(program)) => programs.get(program).cloned().map(Self::Program),
            (None, None) => None,
        }
    }
}

/// What is known of how a revision became stable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// What asked for the run that made it stable.
    pub cause: Cause,
    /// What it runs.
    pub artefact: Option<Artefact>,
}

/// How a revision became stable, and what it runs: from what was written down then, or, for a run of an earlier version,
/// from the program that is there, if that still makes the same revision.
///
/// # Errors
/// [`EngineError`] when the journal cannot be read.
pub async fn provenance(
    journal: &Journal,
    kept: &basb_journal::StableRevision,
    notes: &mut BTreeMap<basb_core::RunId, Option<RunNotes>>,
) -> Result<Provenance, EngineError> {
    if !notes.contains_key(&kept.run) {
        let body = journal.run(kept.run.as_str()).await?.start.body;
        notes.insert(kept.run.clone(), serde_json::from_str(&body).ok());
    }
    let noted = notes.get(&kept.run).and_then(Option::as_ref);
    let workload = stable::stable(kept)?.workload;
    let artefact = noted.and_then(|n| Artefact::of(&workload, &n.programs)).or_else(|| {
        let mut programs = revision::Programs::default();
        let same = revision::of(&workload, &mut programs) == kept.revision;
        if same { Artefact::of(&workload, &programs.digests()) } else { None }
    });
    Ok(Provenance { cause: noted.map(|n| n.cause.clone()).unwrap_or_default(), artefact })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_image_with_a_digest_is_pinned() {
        let digest = Digest::of(b"x");
        for (image, pinned) in [
            (format!("reg.example/web@{digest}"), true),
            (format!("reg.example/web:1@{digest}"), true),
            ("reg.example/web:1".to_owned(), false),
            ("web".to_owned(), false),
            (format!("@{digest}"), false),
            ("web@sha256:abc".to_owned(), false),
        ] {
            assert_eq!(Artefact::Image(image.clone()).is_pinned(), pinned, "{image}");
        }
        assert!(Artefact::Program(digest).is_pinned());
    }
}
