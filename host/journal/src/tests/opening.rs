//! Files that are missing, foreign, damaged, newer, in use.

use super::{entry, run_id, start, with_run};
use crate::{FILE_NAME, Journal, JournalError, SCHEMA_VERSION};
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn error(folder: &Path) -> JournalError {
    let error = Journal::open(folder).unwrap_err();
    assert!(!error.next_step().is_empty());
    error
}

#[tokio::test]
async fn folder_and_files_are_for_their_owner_alone() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a/b");
    let journal = Journal::open(&folder).unwrap();
    journal.start_run(start("r-1", 1)).await.unwrap();
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|f| f.unwrap()).collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[test]
fn a_folder_that_cannot_be_is_an_error() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "text").unwrap();
    assert_eq!(error(&file).code(), "journal/unwritable");
    assert_eq!(error(&file.join("below")).code(), "journal/unwritable");
    assert_eq!(error(Path::new("/proc/nowhere")).code(), "journal/unwritable");
}

#[test]
fn what_is_no_journal_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE_NAME);
    for content in ["x", "just a text that is longer than any head of a file", "SQLite format 2\0"] {
        fs::write(&file, content).unwrap();
        assert_eq!(error(folder.path()).code(), "journal/not-a-journal");
        assert_eq!(fs::read_to_string(&file).unwrap(), content);
    }
    fs::remove_file(&file).unwrap();
    Connection::open(&file).unwrap().execute_batch("CREATE TABLE notes (text TEXT)").unwrap();
    let before = fs::read(&file).unwrap();
    let found = error(folder.path());
    assert_eq!(found.code(), "journal/not-a-journal");
    assert!(found.to_string().contains("another program"), "{found}");
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let (folder, journal, _) = with_run("r-1").await;
    drop(journal);
    let other = Connection::open(folder.path().join(FILE_NAME)).unwrap();
    other.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(other);
    let file = folder.path().join(FILE_NAME);
    assert_eq!(error(folder.path()), JournalError::Newer { file, found: 99, known: SCHEMA_VERSION });
}

#[tokio::test]
async fn a_cut_file_is_reported_and_kept() {
    let (folder, journal, run) = with_run("r-1").await;
    let many: Vec<_> = (0..2000).map(|n| entry(n, "k")).collect();
    journal.append(&run, many).await.unwrap();
    drop(journal);
    let file = folder.path().join(FILE_NAME);
    let whole = fs::read(&file).unwrap();
    for length in [whole.len() / 2, 4096, 100] {
        fs::write(&file, &whole[..length]).unwrap();
        let found = error(folder.path());
        assert!(matches!(found.code(), "journal/corrupted" | "journal/not-a-journal"), "{length}: {found}");
        assert_eq!(fs::read(&file).unwrap(), &whole[..length], "nothing is changed");
    }
}

/// Whatever bytes are flipped: an error, or the very records that were written. Never others, and never a panic.
#[tokio::test]
async fn flipped_bytes_never_give_other_records() {
    let (folder, journal, run) = with_run("r-1").await;
    let many: Vec<_> = (0..300).map(|n| entry(n, "k")).collect();
    journal.append(&run, many).await.unwrap();
    let expected = journal.entries(&run, 1).await.unwrap();
    drop(journal);
    let file = folder.path().join(FILE_NAME);
    let whole = fs::read(&file).unwrap();

    let (mut found, mut state) = (0, 0x2545_f491_4f6c_dd1d_u64);
    for _ in 0..120 {
        let mut damaged = whole.clone();
        for _ in 0..8 {
            // xorshift64: spread over the file, and the same every time.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let place = usize::try_from(state % whole.len() as u64).unwrap();
            damaged[place] ^= u8::try_from(1 << (state >> 61)).unwrap();
        }
        fs::write(&file, &damaged).unwrap();
        let read = match Journal::open(folder.path()) {
            Err(_) => None,
            Ok(journal) => match journal.verify(&run).await {
                Err(_) => None,
                Ok(_) => Some(journal.entries(&run, 1).await.unwrap()),
            },
        };
        match read {
            None => found += 1,
            Some(entries) => assert_eq!(entries, expected),
        }
        // The next round begins with the file alone.
        for side in ["-wal", "-shm"] {
            let _ = fs::remove_file(folder.path().join(format!("{FILE_NAME}{side}")));
        }
    }
    assert!(found > 60, "only {found} of 120 damages were found");
}

#[tokio::test]
async fn the_whole_file_can_be_checked() {
    let (folder, journal, run) = with_run("r-1").await;
    let many: Vec<_> = (0..300).map(|n| entry(n, "k")).collect();
    journal.append(&run, many).await.unwrap();
    journal.check_file().await.unwrap();
    drop(journal);
    let file = folder.path().join(FILE_NAME);
    let mut bytes = fs::read(&file).unwrap();
    let from = bytes.len() - 4096;
    bytes[from..].fill(0xff);
    fs::write(&file, bytes).unwrap();
    assert_eq!(error(folder.path()).code(), "journal/corrupted", "a small file is looked through when it is opened");
    let found = crate::care::check(&file).unwrap();
    assert!(!found.is_whole(), "{found:?}");
}

#[test]
fn many_can_open_a_new_journal_at_once() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for n in 0..8u64 {
            let folder = folder.path();
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async {
                    let journal = Journal::open(folder).unwrap();
                    let own = format!("own-{n}");
                    journal.start_run(start(&own, n)).await.unwrap();
                    let _ = journal.start_run(start("shared", 1)).await;
                    for at in 0..20 {
                        journal.append(&run_id(&own), entry(at, "k")).await.unwrap();
                        journal.append(&run_id("shared"), entry(at, "k")).await.unwrap();
                    }
                });
            });
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let journal = Journal::open(folder.path()).unwrap();
        assert_eq!(journal.verify(&run_id("shared")).await.unwrap().seq, 160);
        for n in 0..8 {
            assert_eq!(journal.verify(&run_id(&format!("own-{n}"))).await.unwrap().seq, 20);
        }
    });
}

/// A full disk, as SQLite reports it: the page limit of a connection gives the same error.
#[tokio::test]
async fn a_full_disk_loses_nothing_and_can_be_got_over() {
    let (_folder, journal, run) = with_run("r-1").await;
    journal.append(&run, entry(1, "k")).await.unwrap();
    let limit = |pages: i64| {
        let journal = journal.clone();
        async move {
            let set = move |c: &Connection| {
                Ok(c.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get::<_, i64>(0))?)
            };
            journal.write(set).await.unwrap()
        }
    };
    limit(1).await;
    let mut large = entry(2, "k");
    large.body = "x".repeat(1 << 20);
    let full = journal.append(&run, large.clone()).await.unwrap_err();
    assert_eq!(full.code(), "journal/disk-full");
    assert!(full.next_step().contains("df -h"));
    assert_eq!(journal.verify(&run).await.unwrap().seq, 1);
    limit(1 << 30).await;
    assert_eq!(journal.append(&run, large).await.unwrap(), [2]);
    assert_eq!(journal.verify(&run).await.unwrap().seq, 2);
}
