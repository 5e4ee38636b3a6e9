//! Back-up, restore, check and recovery of the file.

use super::{entry, run_id, service, stable, start, with_run};
use crate::care::{Beside, Closing, Replace, backup, check, first_records, recover, restore};
use crate::{Append, Entry, FILE_NAME, Finish, Journal, RunState};
use basb_core::{RunId, Timestamp};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn closing(_: &RunId) -> Closing {
    let finish = Finish { at: Timestamp(9), outcome: "superseded".into(), body: "{}".into() };
    Closing { entries: vec![entry(9, "finished")], finish }
}

fn nothing(one: &Beside) -> std::io::Result<()> {
    panic!("{} lies beside it", one.name)
}

/// A journal with a finished run, an open one and stable revisions; closed, so that everything is in one file.
async fn filled(entries: u64) -> (tempfile::TempDir, Vec<(RunId, Vec<Entry>)>) {
    let (folder, journal, first) = with_run("r-1").await;
    let many: Vec<_> = (0..entries).map(|n| entry(n, "k")).collect();
    let finish = Finish { at: Timestamp(7), outcome: "done".into(), body: "{}".into() };
    let append = Append::from(many.clone()).stable(stable("capture", "r1", 5)).finish(finish);
    journal.append(&first, append).await.unwrap();
    let second = run_id("r-2");
    journal.start_run(start("r-2", 2000)).await.unwrap();
    journal.append(&second, Append::from(many).stable(stable("organize", "r2", 6))).await.unwrap();
    let mut all = Vec::new();
    for run in [first, second] {
        all.push((run.clone(), journal.entries(&run, 1).await.unwrap()));
    }
    drop(journal);
    (folder, all)
}

async fn read(folder: &Path) -> Vec<(RunId, Vec<Entry>)> {
    let journal = Journal::open(folder).unwrap();
    let mut all = Vec::new();
    for run in ["r-1", "r-2"].map(run_id) {
        journal.verify(&run).await.unwrap();
        let mut entries = journal.entries(&run, 1).await.unwrap();
        // What a closing adds is no part of what was written.
        entries.retain(|e| e.kind != "finished");
        all.push((run.clone(), entries));
    }
    all
}

fn journal_file(folder: &Path) -> PathBuf {
    folder.join(FILE_NAME)
}

#[tokio::test]
async fn a_backup_while_somebody_writes_is_one_state() {
    let (folder, journal, run) = with_run("r-1").await;
    let place = tempfile::tempdir().unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let mut at = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let pair = vec![entry(at, "a"), entry(at, "b")];
                runtime.block_on(journal.append(&run, pair)).unwrap();
                at += 1;
            }
        });
        for n in 0..10 {
            let to = place.path().join(format!("{n}.backup"));
            let made = backup(folder.path(), &to, &[]).unwrap();
            assert!(made.is_whole(), "{made:?}");
            assert_eq!(made.entries % 2, 0, "half of an append: {made:?}");
            assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        writer.join().unwrap();
    });
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 10, "nothing is left beside them");
    let first = place.path().join("0.backup");
    let before = fs::read(&first).unwrap();
    assert_eq!(backup(folder.path(), &first, &[]).unwrap_err().code(), "journal/exists");
    assert_eq!(fs::read(&first).unwrap(), before);
    let nowhere = place.path().join("no/such/folder");
    assert_eq!(backup(folder.path(), &nowhere, &[]).unwrap_err().code(), "journal/not-a-journal");
    assert_eq!(backup(place.path(), &place.path().join("x"), &[]).unwrap_err().code(), "journal/not-a-journal");
}

#[tokio::test]
async fn a_restored_journal_is_what_was_backed_up() {
    let (folder, all) = filled(50).await;
    let place = tempfile::tempdir().unwrap();
    let copy = place.path().join("copy");
    let made = backup(folder.path(), &copy, &[]).unwrap();

    let elsewhere = place.path().join("state/journal");
    let restored = restore(&elsewhere, &copy, Replace::OnlyEmpty, "old", &closing, &nothing).unwrap();
    assert_eq!(restored.kept, None);
    assert_eq!((restored.checked.runs.len(), made.runs.len()), (2, 2));
    assert_eq!(restored.closed, [run_id("r-2")], "what it did after the back-up is not known");
    assert_eq!(read(&elsewhere).await, all);

    // It goes on, and what it was is not put over it by mistake.
    let journal = Journal::open(&elsewhere).unwrap();
    assert_eq!(journal.append(&run_id("r-2"), entry(99, "more")).await.unwrap_err().code(), "journal/run-finished");
    journal.start_run(start("r-3", 3000)).await.unwrap();
    journal.append(&run_id("r-3"), entry(99, "more")).await.unwrap();
    drop(journal);
    let more = read(&elsewhere).await;
    let refused = restore(&elsewhere, &copy, Replace::OnlyEmpty, "old", &closing, &nothing).unwrap_err();
    assert_eq!(refused.code(), "journal/not-empty");
    assert_eq!(read(&elsewhere).await, more);
    for n in 1..3 {
        let restored = restore(&elsewhere, &copy, Replace::Any, "old", &closing, &nothing).unwrap();
        let kept = restored.kept.unwrap();
        assert_eq!(read(&elsewhere).await, all);
        let expected = if n == 1 { 102 } else { 101 };
        assert_eq!(check(&kept).unwrap().entries, expected, "the old one is kept as it was: {kept:?}");
    }

    // An empty journal is no loss.
    let empty = place.path().join("empty");
    drop(Journal::open(&empty).unwrap());
    assert!(restore(&empty, &copy, Replace::OnlyEmpty, "old", &closing, &nothing).unwrap().kept.is_some());
    assert_eq!(read(&empty).await, all);

    // What is no back-up changes nothing.
    let mut damaged = fs::read(&copy).unwrap();
    let middle = damaged.len() / 2 / 4096 * 4096;
    damaged[middle..middle + 4096].fill(0xa5);
    for (name, content, code) in [
        ("text", b"hello".to_vec(), "journal/not-a-journal"),
        ("damaged", damaged, "journal/corrupted"),
        ("cut", fs::read(&copy).unwrap()[..middle].to_vec(), "journal/corrupted"),
    ] {
        let from = place.path().join(name);
        fs::write(&from, content).unwrap();
        assert_eq!(restore(&empty, &from, Replace::Any, "old", &closing, &nothing).unwrap_err().code(), code, "{name}");
    }
    assert_eq!(read(&empty).await, all);
}

#[tokio::test]
async fn a_journal_that_somebody_has_open_is_left_alone() {
    let (folder, _) = filled(5).await;
    let place = tempfile::tempdir().unwrap();
    let copy = place.path().join("copy");
    backup(folder.path(), &copy, &[]).unwrap();
    let file = journal_file(folder.path());
    let script = format!("exec 3<'{}'; echo; read _", file.display());
    let mut other =
        Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Read::read_exact(other.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    for refused in [
        restore(folder.path(), &copy, Replace::Any, "old", &closing, &nothing).unwrap_err(),
        recover(folder.path(), "damaged", &closing).unwrap_err(),
    ] {
        assert_eq!(refused.code(), "journal/in-use");
        assert!(refused.to_string().contains(&format!("process {}", other.id())), "{refused}");
    }
    drop(other.stdin.take());
    other.wait().unwrap();
    assert!(restore(folder.path(), &copy, Replace::Any, "old", &closing, &nothing).is_ok());
}

#[tokio::test]
async fn what_is_whole_needs_no_recovery() {
    let (folder, all) = filled(20).await;
    let checked = check(&journal_file(folder.path())).unwrap();
    assert!(checked.is_whole(), "{checked:?}");
    assert_eq!((checked.entries, checked.runs.len()), (40, 2));
    assert_eq!(recover(folder.path(), "damaged", &closing).unwrap(), None);
    assert_eq!(read(folder.path()).await, all);
    assert_eq!(check(&folder.path().join("none")).unwrap_err().code(), "journal/not-a-journal");
}

/// However a file is damaged: what is saved is what was written, in order from the first record on; the damaged file is
/// kept byte for byte; and the new one is whole.
#[tokio::test]
async fn what_is_left_of_a_damaged_file_is_saved() {
    const PAGE: usize = 4096;
    let (folder, all) = filled(400).await;
    let whole = fs::read(journal_file(folder.path())).unwrap();
    let pages = whole.len() / PAGE;
    assert!(pages > 20, "{pages}");
    let mut cases: Vec<(String, Vec<u8>)> = Vec::new();
    for part in [2, 3, 4, 6] {
        cases.push((format!("cut at {part}/8"), whole[..whole.len() * part / 8].to_vec()));
        cases.push((format!("cut inside of a page at {part}/8"), whole[..whole.len() * part / 8 + 100].to_vec()));
    }
    for page in (0..pages).step_by(3).chain([pages - 1]) {
        let mut damaged = whole.clone();
        damaged[page * PAGE..(page + 1) * PAGE].fill(0);
        cases.push((format!("page {page} without content"), damaged));
    }
    for at in (200..whole.len()).step_by(7_919) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        cases.push((format!("a bit at {at}"), damaged));
    }
    let (mut saved_something, mut had) = (0, 0);
    for (name, content) in &cases {
        let place = tempfile::tempdir().unwrap();
        fs::write(journal_file(place.path()), content).unwrap();
        let recovered = match recover(place.path(), "damaged", &closing) {
            Err(e) => {
                assert_eq!(e.code(), "journal/nothing-left", "{name}: {e}");
                assert_eq!(&fs::read(journal_file(place.path())).unwrap(), content, "{name}: nothing is changed");
                continue;
            }
            Ok(recovered) => recovered,
        };
        let Some(recovered) = recovered else {
            assert!(name.starts_with("a bit"), "{name}: not found");
            assert_eq!(read(place.path()).await, all, "{name}: where nothing is found nothing is lost");
            continue;
        };
        had += 1;
        assert!(!recovered.damage.is_empty(), "{name}");
        assert!(recovered.checked.is_whole(), "{name}: {recovered:?}");
        assert_eq!(&fs::read(&recovered.kept).unwrap(), content, "{name}: the damaged file is kept");
        assert_eq!(fs::metadata(journal_file(place.path())).unwrap().permissions().mode() & 0o777, 0o600);
        let names = fs::read_dir(place.path()).unwrap().count();
        assert_eq!(names, 3, "{name}: the new one, the damaged one and the lock");
        let journal = Journal::open(place.path()).unwrap();
        for saved in &recovered.runs {
            let written = &all.iter().find(|(run, _)| *run == saved.run).unwrap().1;
            let entries = journal.entries(&saved.run, 1).await.unwrap_or_default();
            let count = usize::try_from(saved.saved).unwrap();
            assert_eq!(entries[..count], written[..count], "{name}");
            journal.verify(&saved.run).await.unwrap();
            let finished = journal.run(saved.run.as_str()).await.unwrap().state != RunState::Open;
            assert_eq!(finished, saved.closed || saved.run == run_id("r-1"), "{name}: {saved:?}");
            assert!(saved.saved == saved.had || finished, "{name}: a run that lost records is not gone on with");
            assert_eq!(entries.len(), count + usize::from(saved.closed), "{name}");
            saved_something += u32::from(saved.saved > 0);
        }
        // It is a journal like any other: it takes a new run.
        journal.start_run(start("r-3", 3000)).await.unwrap();
        journal.append(&run_id("r-3"), Append::from(entry(1, "k")).stable(stable("capture", "r3", 9))).await.unwrap();
        let environment = super::key("x").environment;
        let stable = journal.stable_services(&service("second-brain"), &environment).await.unwrap();
        assert!(!stable.is_empty(), "{name}");
    }
    assert!(had > 20 && saved_something > 20, "{had} damaged, {saved_something} runs saved");
}

/// A lost first page is made again: everything else can be read.
#[tokio::test]
async fn a_file_without_its_first_page_is_saved_whole() {
    let (folder, all) = filled(400).await;
    let file = journal_file(folder.path());
    let mut damaged = fs::read(&file).unwrap();
    damaged[16..4096].fill(0xff);
    fs::write(&file, &damaged).unwrap();
    assert!(Journal::open(folder.path()).is_err());
    let recovered = recover(folder.path(), "damaged", &closing).unwrap().unwrap();
    assert_eq!(recovered.runs.iter().map(|r| (r.saved, r.closed)).collect::<Vec<_>>(), [(400, false), (400, false)]);
    assert_eq!(read(folder.path()).await, all);
}

/// What waits in the log counts: a crash right before the damage loses nothing of it.
#[tokio::test]
async fn what_waits_in_the_log_is_saved_too() {
    let (folder, journal, run) = with_run("r-1").await;
    let many: Vec<_> = (0..300).map(|n| entry(n, "k")).collect();
    journal.append(&run, many).await.unwrap();
    // As a crash leaves it: the copy is made while the log is not played in.
    let place = tempfile::tempdir().unwrap();
    let log = format!("{FILE_NAME}-wal");
    for name in [FILE_NAME, &log] {
        fs::copy(folder.path().join(name), place.path().join(name)).unwrap();
    }
    let mut main = fs::read(journal_file(place.path())).unwrap();
    main.truncate(main.len() / 2);
    fs::write(journal_file(place.path()), &main).unwrap();
    let expected = journal.entries(&run, 1).await.unwrap();
    let entries = match recover(place.path(), "damaged", &closing).unwrap() {
        Some(recovered) => {
            let mut kept = recovered.kept.into_os_string();
            kept.push("-wal");
            assert!(Path::new(&kept).exists(), "the log is kept as well");
            recovered.checked.entries
        }
        None => check(&journal_file(place.path())).unwrap().entries,
    };
    assert_eq!(entries, 300);
    let again = Journal::open(place.path()).unwrap();
    assert_eq!(again.entries(&run, 1).await.unwrap(), expected);
}

#[tokio::test]
async fn a_damaged_file_is_reported_at_open() {
    let (folder, _) = filled(400).await;
    let file = journal_file(folder.path());
    let whole = fs::read(&file).unwrap();
    for page in [3, whole.len() / 4096 / 2, whole.len() / 4096 - 1] {
        let mut damaged = whole.clone();
        damaged[page * 4096..(page + 1) * 4096].fill(0x5a);
        fs::write(&file, &damaged).unwrap();
        let found = Journal::open(folder.path()).unwrap_err();
        assert_eq!(found.code(), "journal/corrupted", "page {page}: {found}");
        assert!(found.next_step().contains("basb-host state recover"), "{}", found.next_step());
        assert_eq!(fs::read(&file).unwrap(), damaged, "nothing is changed");
    }
}

#[tokio::test]
async fn what_lies_beside_a_backup_comes_back_and_leaves_the_journal() {
    let (folder, all) = filled(3).await;
    let place = tempfile::tempdir().unwrap();
    let (copy, elsewhere) = (place.path().join("copy"), place.path().join("elsewhere"));
    let beside: Vec<Beside> =
        [("a", vec![7; 5000]), ("b", Vec::new())].map(|(name, bytes)| Beside { name: name.to_owned(), bytes }).into();
    backup(folder.path(), &copy, &beside).unwrap();
    assert!(check(&copy).unwrap().is_whole());
    let firsts: Vec<_> = first_records(&copy).unwrap().into_iter().map(|(run, _)| run).collect();
    assert_eq!(firsts, ["r-1", "r-2"].map(run_id));

    // What cannot be kept keeps the journal from being replaced.
    let full = |_: &Beside| Err(std::io::Error::from(std::io::ErrorKind::StorageFull));
    let refused = restore(&elsewhere, &copy, Replace::OnlyEmpty, "old", &closing, &full).unwrap_err();
    assert_eq!(refused.code(), "journal/disk-full");
    assert!(!journal_file(&elsewhere).exists());

    let kept = std::sync::Mutex::new(Vec::new());
    let keep = |one: &Beside| {
        kept.lock().unwrap().push(one.clone());
        Ok(())
    };
    restore(&elsewhere, &copy, Replace::OnlyEmpty, "old", &closing, &keep).unwrap();
    assert_eq!(*kept.lock().unwrap(), beside);
    assert_eq!(read(&elsewhere).await, all);
    let tables = |file: &Path| {
        let connection = rusqlite::Connection::open(file).unwrap();
        let mut found = connection.prepare("SELECT name FROM sqlite_schema ORDER BY name").unwrap();
        found.query_map([], |r| r.get::<_, String>(0)).unwrap().map(Result::unwrap).collect::<Vec<_>>()
    };
    assert_eq!(tables(&journal_file(&elsewhere)), tables(&journal_file(folder.path())));
}
