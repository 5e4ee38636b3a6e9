//! A revision's id: made from a digest of everything that makes the workload what it is.

use basb_core::model::{Readiness, Workload};
use basb_core::{Digest, Millis, RevisionId};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

/// Digests of programs, each read once however many services run it.
#[derive(Debug, Default)]
pub struct Programs(BTreeMap<String, Option<Digest>>);

impl Programs {
    /// Those that could be read, by their paths.
    #[must_use]
    pub fn digests(self) -> BTreeMap<String, Digest> {
        self.0.into_iter().filter_map(|(path, digest)| Some((path, digest?))).collect()
    }
}

/// The revision of a workload.
///
/// The digest covers the workload as written and the content of its program, so that a rebuilt binary under the same
/// path is a new revision and an identical spec never is. A program that cannot be read (one that is looked up in
/// `PATH`, or is not there yet) is covered by its name only.
#[must_use]
pub fn of(workload: &Workload, programs: &mut Programs) -> RevisionId {
    let path = workload.command.first().filter(|p| p.contains('/'));
    let program =
        path.and_then(|p| programs.0.entry(p.clone()).or_insert_with(|| digest_of_file(Path::new(p))).clone());
    let whole = json!({
        "revisionFormat": 1,
        "workload": workload,
        "program": program.map(|d| d.to_string()),
    });
    RevisionId::of(&Digest::of(canonical(&whole).to_string().as_bytes()))
}

/// What stands for a workload that nobody knows: one that was adopted, not deployed.
#[must_use]
pub fn unknown() -> Workload {
    Workload {
        command: Vec::new(),
        image: None,
        working_folder: None,
        env: BTreeMap::new(),
        ready: Readiness::None,
        min_ready: Millis::ZERO,
        stop_grace: Millis::ZERO,
        memory_limit: None,
        settings: Value::Null,
    }
}

/// Whether nobody knows what runs.
#[must_use]
pub fn is_unknown(workload: &Workload) -> bool {
    workload.command.is_empty() && workload.image.is_none()
}

/// The same value with the keys of every object in order.
pub(crate) fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            keys.into_iter().filter_map(|k| Some((k.clone(), canonical(map.get(k)?)))).collect()
        }
        Value::Array(items) => items.iter().map(canonical).collect(),
        other => other.clone(),
    }
}

fn digest_of_file(path: &Path) -> Option<Digest> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.read_to_end(&mut bytes).ok()?;
    Some(Digest::of(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(command: &[&str]) -> Workload {
        Workload {
            command: command.iter().map(|s| (*s).to_owned()).collect(),
            image: None,
            working_folder: None,
            env: [("A".to_owned(), "1".to_owned())].into(),
            ready: Readiness::Tcp,
            min_ready: Millis::ZERO,
            stop_grace: Millis::ZERO,
            memory_limit: None,
            settings: json!({"b": 1, "a": {"d": 1, "c": 2}}),
        }
    }

    fn revision(workload: &Workload) -> RevisionId {
        of(workload, &mut Programs::default())
    }

    #[test]
    fn the_same_workload_is_the_same_revision() {
        let a = workload(&["x", "1"]);
        let mut b = a.clone();
        b.settings = json!({"a": {"c": 2, "d": 1}, "b": 1});
        assert_eq!(revision(&a), revision(&b), "the order of keys means nothing");
        assert_ne!(revision(&a), revision(&workload(&["x", "2"])));
    }

    #[test]
    fn a_rebuilt_program_is_a_new_revision() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("p");
        let name = program.to_str().unwrap().to_owned();
        std::fs::write(&program, b"one").unwrap();
        let first = revision(&workload(&[&name]));
        std::fs::write(&program, b"two").unwrap();
        assert_ne!(first, revision(&workload(&[&name])));
        std::fs::write(&program, b"one").unwrap();
        assert_eq!(first, revision(&workload(&[&name])));
    }
}
