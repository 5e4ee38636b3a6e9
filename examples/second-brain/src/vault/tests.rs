use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
};

use jiff::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn vault() -> (TempDir, Vault) {
    let dir = TempDir::new().unwrap();
    let vault = Vault::open(dir.path()).unwrap();
    (dir, vault)
}

fn new_note(title: &str, body: &str) -> NewNote {
    NewNote::parse(title, body, None, &[], Timestamp::UNIX_EPOCH).unwrap()
}

fn reference(id: &NoteId) -> NoteRef {
    NoteRef::parse(&id.to_string()).unwrap()
}

/// Every note of the vault: body by path.
fn everything(vault: &Vault) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for folder in Folder::ALL {
        for id in vault.list(folder).unwrap() {
            let note = vault.read_in(folder, &id).unwrap();
            all.insert(note.path(), note.document.body().to_owned());
        }
    }
    all
}

#[test]
fn same_titles_get_different_names_everywhere() {
    let (_dir, vault) = vault();
    let first = vault.create(Folder::Inbox, &new_note("Same", "1")).unwrap();
    vault.move_to(&reference(&first), Folder::Projects).unwrap();
    let second = vault.create(Folder::Inbox, &new_note("Same", "2")).unwrap();
    assert_eq!(first.to_string(), "1970-01-01 same");
    assert_eq!(second.to_string(), "1970-01-01 same 2");
    assert_eq!(vault.read(&reference(&first)).unwrap().folder, Folder::Projects);
}

#[test]
fn names_given_twice_by_hand_are_asked_about() {
    let (dir, vault) = vault();
    for folder in ["Inbox", "Areas"] {
        fs::write(dir.path().join(folder).join("x.md"), folder).unwrap();
    }
    let message = vault.read(&NoteRef::parse("x").unwrap()).unwrap_err().to_string();
    assert!(message.contains("in Inbox, Areas; name the folder too, as in `Inbox/x`"), "{message}");
    let note = vault.read(&NoteRef::parse("Areas/x").unwrap()).unwrap();
    assert_eq!(note.document.body(), "Areas");
    let taken = vault.move_to(&NoteRef::parse("Inbox/x").unwrap(), Folder::Areas);
    assert!(matches!(taken, Err(VaultError::NameTaken { .. })));
    assert_eq!(everything(&vault).len(), 2);
}

#[test]
fn links_lead_nowhere() {
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("secret.md"), "secret").unwrap();
    let (dir, vault) = vault();
    let inbox = dir.path().join("Inbox");
    symlink(outside.path().join("secret.md"), inbox.join("file.md")).unwrap();
    symlink("/etc/hostname", inbox.join("host.md")).unwrap();
    for name in ["file", "host"] {
        let note = NoteRef::parse(name).unwrap();
        assert!(vault.read(&note).is_err());
        assert!(vault.update(&note, |_| Ok((Some("x".into()), ()))).is_err());
    }
    assert!(vault.list(Folder::Inbox).unwrap().is_empty());

    // A whole folder that leads outside: nothing is read from there and nothing written there.
    fs::remove_dir(dir.path().join("Areas")).unwrap();
    symlink(outside.path(), dir.path().join("Areas")).unwrap();
    assert!(vault.list(Folder::Areas).is_err());
    assert!(vault.create(Folder::Areas, &new_note("x", "x")).is_err());
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(outside.path().join("secret.md")).unwrap(), "secret");
}

#[test]
fn an_edit_from_outside_wins() {
    let (dir, vault) = vault();
    let id = vault.create(Folder::Inbox, &new_note("x", "old")).unwrap();
    let path = dir.path().join("Inbox").join(id.file_name());
    let result = vault.update(&reference(&id), |_| {
        fs::write(&path, "by hand").unwrap();
        Ok((Some("by tool".into()), ()))
    });
    assert!(matches!(result, Err(VaultError::Changed(_))));
    assert_eq!(fs::read_to_string(&path).unwrap(), "by hand");
}

#[test]
fn leftovers_are_removed_and_foreign_files_are_not_notes() {
    let (dir, vault) = vault();
    fs::write(dir.path().join(".second-brain/tmp/1-0"), "half a no").unwrap();
    fs::write(dir.path().join("Inbox/picture.png"), "").unwrap();
    fs::write(dir.path().join("Inbox/.hidden.md"), "").unwrap();
    fs::create_dir(dir.path().join("Inbox/folder.md")).unwrap();
    drop(vault);
    let vault = Vault::open(dir.path()).unwrap();
    assert_eq!(fs::read_dir(dir.path().join(".second-brain/tmp")).unwrap().count(), 0);
    assert_eq!(vault.counts().unwrap(), Counts::default());
    assert_eq!(everything(&vault).len(), 0);
}

#[test]
fn the_template_is_a_vault() {
    let note = Document::parse(include_str!("../../vault-template/Inbox/Welcome.md"));
    assert_eq!(note.meta().title.as_deref(), Some("Welcome"));
    assert_eq!(crate::text::highlights(note.body()), ["Capture what resonates"]);
}

#[test]
fn placing_in_two_steps_never_replaces() {
    let (dir, vault) = vault();
    fs::write(dir.path().join("Inbox/a.md"), "a").unwrap();
    fs::write(dir.path().join("Areas/a.md"), "b").unwrap();
    let (inbox, areas) = (vault.folder(Folder::Inbox).unwrap(), vault.folder(Folder::Areas).unwrap());
    assert!(place_in_two_steps(&inbox, "a.md", &areas, "a.md").is_err());
    assert!(place_in_two_steps(&inbox, "missing.md", &areas, "c.md").is_err());
    assert!(!dir.path().join("Areas/c.md").exists());
    place_in_two_steps(&inbox, "a.md", &areas, "b.md").unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("Areas/b.md")).unwrap(), "a");
    assert_eq!(fs::read_to_string(dir.path().join("Areas/a.md")).unwrap(), "b");
}

#[test]
fn counts_follow_every_change() {
    let (dir, vault) = vault();
    let other = Vault::open(dir.path()).unwrap();
    let old = std::time::SystemTime::now() - Duration::from_secs(60);
    let settle = || {
        for folder in Folder::ALL {
            File::open(dir.path().join(folder.name())).unwrap().set_modified(old).unwrap();
        }
    };
    settle();
    assert_eq!(vault.known_counts(), None);
    assert_eq!(vault.counts().unwrap().total(), 0);
    assert_eq!(vault.known_counts(), Some(Counts::default()));

    // Another process adds one: the remembered count is no longer used.
    let id = other.create(Folder::Inbox, &new_note("x", "x")).unwrap();
    assert_eq!(vault.known_counts(), None);
    assert_eq!(vault.counts().unwrap().inbox, 1);
    // Too fresh to be remembered: the next change may carry the same time.
    assert_eq!(vault.known_counts(), None);
    other.move_to(&reference(&id), Folder::Archives).unwrap();
    let counts = vault.counts().unwrap();
    assert_eq!((counts.inbox, counts.archives, counts.total()), (0, 1, 1));

    fs::remove_dir(dir.path().join("Express")).unwrap();
    settle_existing(dir.path(), old);
    assert_eq!(vault.counts().unwrap().total(), 1);
}

fn settle_existing(root: &Path, time: std::time::SystemTime) {
    for folder in Folder::ALL {
        if let Ok(file) = File::open(root.join(folder.name())) {
            file.set_modified(time).unwrap();
        }
    }
}

#[test]
fn one_of_many_movers_wins_and_nothing_is_lost() {
    let (dir, vault) = vault();
    for round in 0..20 {
        let body = format!("body {round}\n");
        let id = vault.create(Folder::Inbox, &new_note(&format!("n{round}"), &body)).unwrap();
        let barrier = Arc::new(Barrier::new(4));
        let wins = Arc::new(AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for category in Category::ALL {
                let (barrier, wins) = (Arc::clone(&barrier), Arc::clone(&wins));
                let id = id.clone();
                let path = dir.path();
                scope.spawn(move || {
                    let vault = Vault::open(path).unwrap();
                    barrier.wait();
                    let note = NoteRef { folder: Some(Folder::Inbox), id };
                    if vault.move_to(&note, category.folder()).is_ok() {
                        wins.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(wins.load(Ordering::Relaxed), 1);
        assert_eq!(vault.read(&reference(&id)).unwrap().document.body(), body);
    }
    assert_eq!(everything(&vault).len(), 20);
}

#[test]
fn updates_of_many_writers_are_all_kept() {
    let (dir, vault) = vault();
    let id = vault.create(Folder::Inbox, &new_note("log", "start")).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (path, note) = (dir.path(), reference(&id));
            scope.spawn(move || {
                let vault = Vault::open(path).unwrap();
                for n in 0..10 {
                    vault
                        .update(&note, |note| Ok((Some(format!("{}{writer}.{n}\n", note.document.body())), ())))
                        .unwrap();
                }
            });
        }
    });
    let body = vault.read(&reference(&id)).unwrap().document.body().to_owned();
    assert_eq!(body.lines().count(), 41, "{body}");
}

#[derive(Clone, Debug)]
enum Op {
    Create(u8, String),
    Move(usize, usize),
    Append(usize),
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0u8..3, "[ -~\n]{1,40}").prop_map(|(title, body)| Op::Create(title, body)),
        (0usize..12, 0usize..6).prop_map(|(note, folder)| Op::Move(note, folder)),
        (0usize..12).prop_map(Op::Append),
        Just(Op::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is done, every note is in the vault exactly once, with the text it should have.
    #[test]
    fn no_note_is_ever_lost(ops in proptest::collection::vec(op(), 1..25)) {
        let (dir, mut vault) = vault();
        let mut expected: Vec<(NoteId, Folder, String)> = Vec::new();
        for op in ops {
            match op {
                Op::Create(title, body) => {
                    let Ok(note) = NewNote::parse(
                        &format!("t{title}"), &body, None, &[], Timestamp::UNIX_EPOCH,
                    ) else { continue };
                    let id = vault.create(Folder::Inbox, &note).unwrap();
                    expected.push((id, Folder::Inbox, note.body));
                }
                Op::Move(n, folder) => {
                    let Some((id, at, _)) = expected.get_mut(n) else { continue };
                    let moved = vault.move_to(&reference(id), Folder::ALL[folder]).unwrap();
                    prop_assert_eq!(moved.from, *at);
                    *at = moved.to;
                }
                Op::Append(n) => {
                    let Some((id, _, body)) = expected.get_mut(n) else { continue };
                    body.push_str("more\n");
                    vault.update(&reference(id), |_| Ok((Some(body.clone()), ()))).unwrap();
                }
                Op::Reopen => vault = Vault::open(dir.path()).unwrap(),
            }
            let wanted: BTreeMap<_, _> = expected
                .iter()
                .map(|(id, folder, body)| (path_of(*folder, id), body.clone()))
                .collect();
            prop_assert_eq!(wanted.len(), expected.len());
            prop_assert_eq!(everything(&vault), wanted);
            prop_assert_eq!(vault.counts().unwrap().total(), expected.len());
        }
    }
}
