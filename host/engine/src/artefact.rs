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
#[serde(untagged)]
pub enum Artefact {
    /// An image.
    Image {
        /// As it is written in the file: with its digest, or it may mean something else tomorrow.
        image: String,
    },
    /// A program.
    Program {
        /// The digest of its bytes.
        program: Digest,
        /// The files that its arguments name, as written there: what an interpreter runs.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        files: BTreeMap<String, Digest>,
    },
}

impl fmt::Display for Artefact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image { image } => write!(f, "image {image}"),
            Self::Program { program, files } => {
                write!(f, "program {program}")?;
                files.iter().try_for_each(|(file, digest)| write!(f, ", {file} {digest}"))
            }
        }
    }
}

impl Artefact {
    /// Whether it can only ever mean the same content.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        match self {
            Self::Program { .. } => true,
            Self::Image { image } => image
                .rsplit_once('@')
                .is_some_and(|(name, digest)| !name.is_empty() && Digest::try_from(digest.to_owned()).is_ok()),
        }
    }

    /// That of a workload, given the contents of programs and of files that arguments name; none when nothing tells.
    #[must_use]
    pub fn of(workload: &Workload, programs: &BTreeMap<String, Digest>) -> Option<Self> {
        if let Some(image) = &workload.image {
            return Some(Self::Image { image: image.clone() });
        }
        let (program, arguments) = workload.command.split_first()?;
        let file = |argument: &String| {
            let digest = programs.get(&revision::place_of(workload, argument)?)?;
            Some((argument.clone(), digest.clone()))
        };
        let files = arguments.iter().filter_map(file).collect();
        programs.get(program).cloned().map(|program| Self::Program { program, files })
    }

    /// What of another artefact is not in this one, each in words. An argument that is written the same must name the same
    /// content; a file may go by another name there, and be left out.
    #[must_use]
    pub fn lacks(&self, other: &Self) -> Vec<Unlike> {
        match (self, other) {
            (Self::Program { program, files }, Self::Program { program: other_program, files: others }) => {
                let programs = (program != other_program).then(|| Unlike {
                    here: Some(format!("program {program}")),
                    there: format!("program {other_program}"),
                });
                let unlike = others.iter().filter_map(|(file, digest)| match files.get(file) {
                    Some(same) if same == digest => None,
                    Some(here) => {
                        Some(Unlike { here: Some(format!("{file} {here}")), there: format!("{file} {digest}") })
                    }
                    None if files.values().any(|known| known == digest) => None,
                    None => Some(Unlike { here: None, there: format!("{file} {digest}") }),
                });
                programs.into_iter().chain(unlike).collect()
            }
            // An image is named by its content: the name is all that there is to take over.
            (Self::Image { .. }, Self::Image { .. }) => Vec::new(),
            _ => vec![Unlike { here: Some(self.to_string()), there: other.to_string() }],
        }
    }
}

/// Something that two artefacts do not have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlike {
    /// What the first one has in its place; none where it has nothing of that name.
    pub here: Option<String>,
    /// What the other one has.
    pub there: String,
}

/// What of a workload is not what it was, as it is written there: a file that an argument names, or else its program.
#[must_use]
pub fn changed<'a>(was: Option<&Artefact>, workload: &'a Workload, now: &BTreeMap<String, Digest>) -> &'a str {
    let mut arguments = workload.command.iter();
    let program = arguments.next().map_or("its program", String::as_str);
    let Some(Artefact::Program { program: was, files }) = was else { return program };
    if now.get(program) != Some(was) {
        return program;
    }
    let digest = |argument: &String| now.get(&revision::place_of(workload, argument)?);
    arguments.find(|argument| digest(argument) != files.get(*argument)).map_or(program, String::as_str)
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
            assert_eq!(Artefact::Image { image: image.clone() }.is_pinned(), pinned, "{image}");
        }
        assert!(program("sh", &[]).is_pinned());
    }

    fn program(program: &str, files: &[(&str, &str)]) -> Artefact {
        let files = files.iter().map(|(file, content)| ((*file).to_owned(), Digest::of(content.as_bytes()))).collect();
        Artefact::Program { program: Digest::of(program.as_bytes()), files }
    }

    #[test]
    fn what_was_not_verified_is_found() {
        let verified = program("python", &[("server.py", "1"), ("more.py", "2")]);
        for (other, lacking) in [
            (verified.clone(), &[][..]),
            (program("python", &[("server.py", "1")]), &[]),
            (program("python", &[("/srv/server.py", "1")]), &[]),
            (program("pypy", &[("server.py", "1")]), &["program"]),
            (program("python", &[("server.py", "3")]), &["server.py"]),
            (program("python", &[("server.py", "2")]), &["server.py"]),
            (program("python", &[("other.py", "3"), ("server.py", "1")]), &["other.py"]),
            (Artefact::Image { image: "web".to_owned() }, &["image"]),
        ] {
            let found: Vec<Unlike> = verified.lacks(&other);
            let words: Vec<&str> = found.iter().filter_map(|unlike| unlike.there.split(' ').next()).collect();
            assert_eq!(words, lacking, "{other}");
        }
        assert_eq!(verified.lacks(&program("python", &[("other.py", "3")]))[0].here, None);
        // One that an earlier version wrote down has no files: nothing of them was verified.
        assert_eq!(program("python", &[]).lacks(&verified).len(), 2);
    }

    #[test]
    fn what_changed_is_named() {
        let mut workload = revision::unknown();
        workload.command = ["python", "--port", "1", "/srv/server.py"].map(str::to_owned).into();
        let was = program("python", &[("/srv/server.py", "1")]);
        let now = |program: &str, script: &str| -> BTreeMap<String, Digest> {
            let digest = |content: &str| Digest::of(content.as_bytes());
            [("python".to_owned(), digest(program)), ("/srv/server.py".to_owned(), digest(script))].into()
        };
        assert_eq!(changed(Some(&was), &workload, &now("python", "2")), "/srv/server.py");
        assert_eq!(changed(Some(&was), &workload, &now("pypy", "1")), "python");
        let mut gone = now("python", "1");
        gone.remove("/srv/server.py");
        assert_eq!(changed(Some(&was), &workload, &gone), "/srv/server.py");
        assert_eq!(changed(None, &workload, &now("python", "1")), "python");
    }

    #[test]
    fn its_form_is_what_it_was() {
        let sh = Digest::of(b"sh");
        let form = |artefact: &Artefact| serde_json::to_value(artefact).unwrap();
        assert_eq!(form(&program("sh", &[])), serde_json::json!({ "program": sh }));
        assert_eq!(form(&Artefact::Image { image: "web".to_owned() }), serde_json::json!({ "image": "web" }));
        let script = program("sh", &[("start.sh", "exec")]);
        let files = serde_json::json!({ "start.sh": Digest::of(b"exec") });
        assert_eq!(form(&script), serde_json::json!({ "program": sh, "files": files }));
    }
}
