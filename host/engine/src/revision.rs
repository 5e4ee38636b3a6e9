//! A revision's id: made from a digest of everything that makes the workload what it is.

use basb_core::model::{Readiness, Workload};
use basb_core::{Digest, Millis, RevisionId};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// So many arguments of a command are looked at: nobody writes more by hand, and each may be a file to read.
const MOST_ARGUMENTS: usize = 256;
/// A file that is larger counts by its name only: it has to be read whenever a deployment is.
const LARGEST_FILE: u64 = 256 << 20;
/// How files are named that an interpreter or a virtual machine runs.
const RUN_BY_OTHERS: &[&str] = &[
    "py", "pyz", "pyc", "js", "mjs", "cjs", "ts", "mts", "jar", "war", "rb", "pl", "php", "sh", "bash", "lua", "r",
    "jl", "ex", "exs", "tcl", "dll", "wasm", "phar",
];

/// Digests of programs and of the files that arguments name, each read once however many services run it.
#[derive(Debug, Default)]
pub struct Programs(BTreeMap<String, Option<Digest>>);

impl Programs {
    /// Those that could be read, by their paths.
    #[must_use]
    pub fn digests(&self) -> BTreeMap<String, Digest> {
        self.0.iter().filter_map(|(path, digest)| Some((path.clone(), digest.clone()?))).collect()
    }

    fn read(&mut self, path: &str) -> Option<Digest> {
        self.0.entry(path.to_owned()).or_insert_with(|| digest_of_file(Path::new(path))).clone()
    }
}

/// The revision of a workload.
///
/// The digest covers the workload as written and the content of its program, so that a rebuilt binary under the same
/// path is a new revision and an identical spec never is. A program that cannot be read (one that is looked up in
/// `PATH`, or is not there yet) is covered by its name only. So that a changed script is a new revision too, it covers the
/// files that the arguments name; see [`place_of`] and [`counts`].
#[must_use]
pub fn of(workload: &Workload, programs: &mut Programs) -> RevisionId {
    let files = files(workload, programs);
    if files.is_empty() {
        return of_program(workload, programs);
    }
    id(&json!({
        "revisionFormat": 2,
        "workload": workload,
        "program": program(workload, programs).map(|d| d.to_string()),
        "files": files,
    }))
}

/// Whether a workload is still this revision. One without files among its arguments, as every one of an earlier version
/// is, is held to its program only: more was not written down of it.
#[must_use]
pub fn is(revision: &RevisionId, workload: &Workload, programs: &mut Programs) -> bool {
    of(workload, programs) == *revision || of_program(workload, programs) == *revision
}

/// The revision of a workload whose arguments name no file.
fn of_program(workload: &Workload, programs: &mut Programs) -> RevisionId {
    let program = program(workload, programs).map(|d| d.to_string());
    id(&json!({ "revisionFormat": 1, "workload": workload, "program": program }))
}

fn id(whole: &Value) -> RevisionId {
    RevisionId::of(&Digest::of(canonical(whole).to_string().as_bytes()))
}

fn program(workload: &Workload, programs: &mut Programs) -> Option<Digest> {
    workload.command.first().filter(|path| path.contains('/')).and_then(|path| programs.read(path))
}

/// The files that the arguments name and that count, as written.
fn files(workload: &Workload, programs: &mut Programs) -> BTreeMap<String, Digest> {
    let arguments = workload.command.iter().zip(workload.command.iter().skip(1)).take(MOST_ARGUMENTS);
    let file = |(before, argument): (&String, &String)| {
        let place = place_of(workload, argument).filter(|place| counts(before, Path::new(place)))?;
        Some((argument.clone(), programs.read(&place)?))
    };
    arguments.filter_map(file).collect()
}

/// Where the file of an argument would be: in the folder that the program starts in. Without one, that is the agent's, of
/// which nothing is known here.
#[must_use]
pub fn place_of(workload: &Workload, argument: &str) -> Option<String> {
    if argument.is_empty() || argument.starts_with('-') {
        return None;
    }
    if Path::new(argument).is_absolute() {
        return Some(argument.to_owned());
    }
    let folder = Path::new(workload.working_folder.as_ref()?);
    folder.join(argument).to_str().map(str::to_owned)
}

/// Whether a file is of what runs. The value of an option may be a database that the service writes to, with which every run
/// would be one of another revision: it counts only when it is a program itself.
fn counts(before: &str, path: &Path) -> bool {
    let Ok(is) = std::fs::metadata(path) else { return false };
    let of_option = before.starts_with('-') && before != "--";
    is.is_file() && is.len() <= LARGEST_FILE && (!of_option || is.permissions().mode() & 0o111 != 0 || is_script(path))
}

fn is_script(path: &Path) -> bool {
    let named = path.extension().and_then(|e| e.to_str()).is_some_and(|e| {
        let e = e.to_ascii_lowercase();
        RUN_BY_OTHERS.contains(&e.as_str())
    });
    let begins = || {
        let mut first = [0; 2];
        std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut first)).is_ok() && first == *b"#!"
    };
    named || begins()
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

    /// The revision of a command in a folder with these files.
    fn in_folder(folder: &Path, command: &[&str]) -> RevisionId {
        let mut workload = workload(command);
        workload.working_folder = Some(folder.to_str().unwrap().to_owned());
        revision(&workload)
    }

    #[test]
    fn a_changed_script_is_a_new_revision() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, script) = (folder.path(), folder.path().join("server.py"));
        let absolute = script.to_str().unwrap();
        for command in [
            &["/bin/sh", "server.py"][..],
            &["python3", "-u", "server.py"],
            &["python3", "--", "server.py", "{port}"],
            &["python3", absolute],
        ] {
            std::fs::write(&script, "print(1)").unwrap();
            let first = in_folder(folder, command);
            assert_eq!(first, in_folder(folder, command), "the same content is the same revision");
            std::fs::write(&script, "print(2)").unwrap();
            assert_ne!(first, in_folder(folder, command), "{command:?}");
            std::fs::write(&script, "print(1)").unwrap();
            assert_eq!(first, in_folder(folder, command));
        }
        // Relative to a folder that is not known, it is covered by its name only.
        let first = revision(&workload(&["python3", "server.py"]));
        std::fs::write(&script, "print(2)").unwrap();
        assert_eq!(first, revision(&workload(&["python3", "server.py"])));
    }

    #[test]
    fn what_a_service_writes_to_makes_no_new_revision() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, data) = (folder.path(), folder.path().join("data.db"));
        let command = ["/bin/sh", "--db", "data.db", "--folder", "."];
        let without = in_folder(folder, &command);
        std::fs::write(&data, "one").unwrap();
        assert_eq!(without, in_folder(folder, &command));
        // The value of an option that is a program itself is another thing.
        std::fs::write(&data, "#!/bin/sh\n").unwrap();
        let one = in_folder(folder, &command);
        std::fs::write(&data, "#!/bin/sh\nexit\n").unwrap();
        assert!(without != one && one != in_folder(folder, &command));
    }

    /// The ids of what was deployed before arguments counted are what they were.
    #[test]
    fn a_command_without_files_is_the_revision_that_it_always_was() {
        let plain = workload(&["x", "1"]);
        let first = json!({ "revisionFormat": 1, "workload": plain, "program": null });
        let first = RevisionId::of(&Digest::of(canonical(&first).to_string().as_bytes()));
        assert_eq!(revision(&plain), first);
        let folder = tempfile::tempdir().unwrap();
        let mut with = workload(&["sh", "start"]);
        with.working_folder = Some(folder.path().to_str().unwrap().to_owned());
        let before = revision(&with);
        std::fs::write(folder.path().join("start"), "1").unwrap();
        let mut programs = Programs::default();
        assert_ne!(of(&with, &mut programs), before, "a new revision");
        assert!(is(&before, &with, &mut programs), "and the old one is held to what is known of it");
        let after = revision(&with);
        std::fs::write(folder.path().join("start"), "2").unwrap();
        assert!(!is(&after, &with, &mut Programs::default()));
    }
}
