//! The lock file as text.

use super::{entry, full_grants, name, scope};
use crate::{LockEntry, LockError, LockFile, Locked};
use basb_core::{Digest, PluginName, ServiceName};
use basb_grants::Capability;
use basb_inspect::Kind;
use proptest::collection::{btree_map, btree_set};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;

const GOLDEN: &str = include_str!("golden.lock");

fn golden() -> LockFile {
    let mut signed = entry(&json!({}));
    signed.signed_by = Some(name("acme"));
    signed.key = Some("RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3".to_owned());
    signed.credentials.clear();
    let plugins = [(name("checks"), entry(&full_grants())), (name("bare"), signed)].into();
    LockFile::default().with(Locked { scope: scope(), plugins })
}

#[test]
fn a_released_lock_file_stays_readable_and_is_written_the_same() {
    assert_eq!(golden().to_string(), GOLDEN, "a new form needs a new version");
    assert_eq!(LockFile::parse(GOLDEN).unwrap(), golden());
}

fn refused(text: &str) -> (usize, String) {
    match LockFile::parse(text) {
        Err(LockError::Form { line, why }) => (line, why),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_as_it_was_written_is_refused_with_its_line() {
    let line_of = |part: &str| GOLDEN.lines().position(|line| line.contains(part)).unwrap() + 1;

    let unknown = GOLDEN.replacen("kind = ", "sort = \"x\"\nkind = ", 1);
    let (line, why) = refused(&unknown);
    assert!(why.contains("unknown field `sort`"), "{why}");
    assert_eq!(line, line_of("kind = "));

    let twice = GOLDEN.replacen("kind = \"probe\"", "kind = \"probe\"\nkind = \"probe\"", 1);
    assert!(refused(&twice).1.contains("duplicate"), "{:?}", refused(&twice));

    // A field that is left out must not be taken for an empty one: here, no grants were agreed to.
    let left_out = GOLDEN.replacen("granted = []\n", "", 1);
    assert!(refused(&left_out).1.contains("missing field `granted`"), "{:?}", refused(&left_out));

    assert!(refused(&GOLDEN.replacen("\"sha256:", "\"sha1:", 1)).1.contains("64 lower-case"));
    assert!(refused(&GOLDEN.replacen("kind = \"probe\"", "kind = \"wizard\"", 1)).1.contains("wizard"));
    assert!(refused(&GOLDEN.replacen("\"http\"", "\"root\"", 1)).1.contains("root"));
    assert!(refused(&GOLDEN.replacen("deployments.second-brain", "deployments.Second", 1)).1.contains("Second"));
    assert_eq!(refused(""), (1, "missing field `version`".to_owned()));

    let half = GOLDEN.replacen("signed-by = \"acme\"\n", "", 1);
    assert_eq!(refused(&half).0, line_of(".bare]"));

    let conflict = GOLDEN.replacen("version = 1\n", "version = 1\n<<<<<<< ours\n", 1);
    assert_eq!(refused(&conflict), (line_of("version = 1") + 1, "it holds the marks of a merge conflict".to_owned()));
}

#[test]
fn a_newer_form_is_named_as_such_whatever_else_it_holds() {
    assert_eq!(LockFile::parse("version = 2\nanything = [1]"), Err(LockError::Version(2)));
    assert_eq!(LockFile::parse("version = -1"), Err(LockError::Version(-1)));
    let long = format!("version = 1 #{}", "x".repeat(crate::MAX_LOCK_BYTES));
    assert!(matches!(LockFile::parse(&long), Err(LockError::TooLarge(_))));
}

#[test]
fn deep_nesting_is_an_error_and_no_overflow() {
    for deep in
        [format!("version = 1\nx = {}", "[".repeat(200_000)), format!("version = 1\n[{}x]", "a.".repeat(200_000))]
    {
        assert!(LockFile::parse(&deep).is_err());
    }
}

#[test]
fn text_that_reads_differently_than_it_is_is_written_as_escapes() {
    let mut entry = entry(&json!({}));
    entry.publisher = "ac\u{202e}me\u{200b}\r\n\u{7f}x = 1 \u{1f600}ß".to_owned();
    let lock = LockFile::default().with(Locked { scope: scope(), plugins: [(name("a"), entry)].into() });
    let text = lock.to_string();
    assert!(text.contains("publisher = \"ac\\u202Eme\\u200B\\u000D\\n\\u007Fx = 1 \\U0001F600ß\""), "{text}");
    assert_eq!(LockFile::parse(&text).unwrap(), lock);
}

#[test]
fn the_file_is_replaced_whole_and_a_broken_one_is_no_first_use() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(crate::read_lock(folder.path()), Ok(None));
    crate::write_first_lock(folder.path(), &LockFile::default()).unwrap();
    let second = crate::write_first_lock(folder.path(), &golden()).unwrap_err();
    assert_eq!(second.code(), "lock/unwritable");
    assert_eq!(crate::read_lock(folder.path()), Ok(Some(LockFile::default())));
    let file = crate::write_lock(folder.path(), &golden()).unwrap();
    assert_eq!(crate::read_lock(folder.path()), Ok(Some(golden())));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left behind");
    std::fs::write(&file, b"version = 1\n\xff").unwrap();
    assert_eq!(crate::read_lock(folder.path()), Err(LockError::Form { line: 2, why: "it is not UTF-8".to_owned() }));
    std::fs::write(&file, b"").unwrap();
    assert_eq!(crate::read_lock(folder.path()).unwrap_err().code(), "lock/form");
    #[cfg(unix)]
    {
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("nowhere", &file).unwrap();
        assert_eq!(crate::read_lock(folder.path()).unwrap_err().code(), "lock/unreadable");
    }
}

fn names() -> impl Strategy<Value = PluginName> {
    "[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?".prop_map(|text| PluginName::new(text).unwrap())
}

fn entries() -> impl Strategy<Value = LockEntry> {
    let any_text = || "\\PC{0,12}|.{0,12}|[\"'\\\\\n\t#\u{202e}\u{7f}]{0,6}";
    let set = move || btree_set(any_text(), 0..4);
    let kinds = prop::sample::select(Kind::ALL.to_vec());
    let requested = btree_set(prop::sample::select(Capability::ALL.to_vec()), 0..4);
    let version = (0u64..9, 0u64..9, prop::sample::select(vec!["", "-rc.1", "+x"]))
        .prop_map(|(a, b, rest)| format!("{a}.{b}.0{rest}").parse().unwrap());
    let signed = prop::option::of((names(), any_text()));
    let first = (any_text(), any::<[u8; 4]>(), names(), version, kinds, any_text(), signed);
    (first, set(), set(), requested, set(), set()).prop_map(|(first, wit, imports, requested, granted, credentials)| {
        let (source, bytes, plugin, version, kind, publisher, signed) = first;
        let (signed_by, key) = signed.unzip();
        LockEntry {
            source,
            digest: Digest::of(&bytes),
            plugin,
            version,
            kind,
            publisher,
            signed_by,
            key,
            wit,
            imports,
            requested,
            granted,
            credentials,
        }
    })
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(
        scopes in btree_map((names(), names()), btree_map(names(), entries(), 1..3), 0..4),
    ) {
        let mut lock = LockFile::default();
        for ((deployment, environment), plugins) in scopes {
            let scope = crate::Scope { deployment: ServiceName::new(deployment.as_str()).unwrap(), environment };
            lock = lock.with(Locked { scope, plugins });
        }
        let text = lock.to_string();
        prop_assert_eq!(LockFile::parse(&text).unwrap(), lock);
        prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(version = 1\n)?(\\[deployments[.a-z\"]{0,9}\\]|[a-z]{1,9} = |\\PC{0,9}|\n){0,9}") {
        let _ = LockFile::parse(&text);
    }

    #[test]
    fn what_was_agreed_to_does_not_differ(entry in entries()) {
        let now = Locked { scope: scope(), plugins: [(name("a"), entry)].into() };
        let read = LockFile::parse(&LockFile::default().with(now.clone()).to_string()).unwrap();
        prop_assert_eq!(read.check(&now), BTreeMap::new());
    }

    #[test]
    fn whatever_differs_is_found(a in entries(), b in entries()) {
        let mut mixed = vec![a.clone(), b.clone()];
        macro_rules! one_field {
            ($($field:ident)*) => {
                $(mixed.push(LockEntry { $field: b.$field.clone(), ..a.clone() });)*
            };
        }
        one_field!(source digest plugin version kind publisher signed_by key wit imports requested granted credentials);
        for entry in mixed {
            prop_assert_eq!(crate::compare(&a, &entry).is_empty(), a == entry);
        }
    }
}

/// `cargo test -p basb-registry write_golden -- --ignored` writes the golden file again, for a new version of the form.
#[test]
#[ignore = "writes the golden file"]
fn write_golden() {
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/golden.lock"), golden().to_string()).unwrap();
}
