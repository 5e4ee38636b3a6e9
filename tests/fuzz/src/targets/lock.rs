//! The text of a lock file.

use crate::Target;
use basb_registry::{LockError, LockFile, Locked};

pub(crate) const TARGET: Target = Target {
    name: "lock",
    run,
    more: &[],
    words: &[
        "version = 1\n",
        "[deployments.a.prod.b]\n",
        "source = ",
        "digest = \"sha256:",
        "plugin = ",
        "kind = \"probe\"\n",
        "publisher = ",
        "signed-by = ",
        "key = ",
        "wit = [",
        "imports = [",
        "requested = [",
        "granted = [",
        "credentials = []\n",
        "\"\"\"",
        "'''",
        "\\u202e",
        "\\U0010ffff",
        "<<<<<<< a\n",
        ">>>>>>> b\n",
        "=",
        "]",
        "#",
    ],
};

fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match LockFile::parse(text) {
        Ok(lock) => {
            let written = lock.to_string();
            assert_eq!(LockFile::parse(&written).as_ref(), Ok(&lock), "{written}");
            assert_eq!(LockFile::parse(&written).map(|again| again.to_string()), Ok(written.clone()));
            // Nothing in it can hide or reorder what is on a screen.
            let hidden = |c: char| {
                c != '\n' && c != ' ' && (c.is_control() || c.is_whitespace() || !(c.is_ascii() || c.is_alphanumeric()))
            };
            assert!(!written.contains(hidden), "{written:?}");
            for (scope, plugins) in lock.scopes() {
                let now = Locked { scope: scope.clone(), plugins: plugins.clone() };
                assert!(lock.check(&now).is_empty() && lock.unused(&now).is_empty());
                // Any other entry is told from this one.
                for (name, entry) in plugins {
                    let mut other = now.clone();
                    let mut changed = entry.clone();
                    changed.granted.insert("http GET https://**.example:443 \"/**\"".to_owned());
                    let differs = changed != *entry;
                    other.plugins.insert(name.clone(), changed);
                    assert_eq!(lock.check(&other).contains_key(name), differs);
                }
            }
        }
        Err(error) => {
            assert!(error.code().starts_with("lock/") && !error.next_step().is_empty());
            if let LockError::Form { line, why } = &error {
                assert!(*line >= 1 && *line <= text.split('\n').count(), "{error}");
                assert!(!why.chars().any(char::is_control), "{why:?}");
            }
        }
    }
}
