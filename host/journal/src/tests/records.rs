//! Runs, records, the chain.

use super::{entry, run_id, service, start, with_run};
use crate::{Append, Entry, Finish, Journal, JournalError, NewEntry, Only, RunFilter, RunState, VerifyError};
use basb_core::{Millis, Timestamp};
use proptest::prelude::*;
use rusqlite::Connection;

#[tokio::test]
async fn records_come_back_as_they_were_written() {
    let (_folder, journal, run) = with_run("r-1").await;
    assert_eq!(journal.append(&run, vec![entry(1, "a"), entry(2, "b")]).await.unwrap(), [1, 2]);
    assert_eq!(journal.append(&run, entry(3, "c")).await.unwrap(), [3]);
    let from_two = journal.entries(&run, 2).await.unwrap();
    let seen: Vec<_> = from_two.iter().map(|e| (e.seq, e.at.0, e.kind.as_str(), e.service.is_some())).collect();
    assert_eq!(seen, [(2, 2, "b", true), (3, 3, "c", false)]);
    assert_eq!(journal.entries(&run, 4).await.unwrap(), []);
    assert_eq!(journal.verify(&run).await.unwrap().seq, 3);
}

/// A run begins with its first records or not at all: whoever lost its lease begins none.
#[tokio::test]
async fn a_run_and_its_first_records_are_one() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    let lease = journal.acquire("l", "a", Millis::secs(1), Timestamp(1)).await.unwrap();
    let first = || Append::from(vec![entry(1, "a"), entry(2, "b")]).fenced(lease.fence());
    assert_eq!(journal.begin_run(start("r-1", 1), first()).await.unwrap(), [1, 2]);
    assert_eq!(journal.verify(&run_id("r-1")).await.unwrap().seq, 2);
    journal.release(&lease.fence()).await.unwrap();
    let refused = journal.begin_run(start("r-2", 1), first()).await.unwrap_err();
    assert_eq!(refused.code(), "journal/stale-token");
    assert_eq!(journal.run("r-2").await.unwrap_err().code(), "journal/unknown-run");
}

#[tokio::test]
async fn a_finished_run_takes_no_more() {
    let (_folder, journal, run) = with_run("r-1").await;
    let before = journal.verify(&run).await.unwrap();
    journal.finish_run(&run, Timestamp(9), "done", "{\"ok\":true}").await.unwrap();
    assert_ne!(journal.verify(&run).await.unwrap().hash, before.hash);
    let refused = journal.append(&run, entry(1, "late")).await.unwrap_err();
    assert_eq!(refused, JournalError::RunFinished { run: run.clone() });
    assert_eq!(journal.finish_run(&run, Timestamp(9), "done", "").await.unwrap_err().code(), "journal/run-finished");
    let record = journal.run("r-1").await.unwrap();
    let body = "{\"ok\":true}".to_owned();
    assert_eq!(record.state, RunState::Finished { at: Timestamp(9), outcome: "done".to_owned(), body });
}

/// Notes behind the finish are part of the chain, and change neither the finish nor how the run ended.
#[tokio::test]
async fn notes_may_follow_the_finish() {
    let (folder, journal, run) = with_run("r-1").await;
    journal.append(&run, vec![entry(1, "a"), entry(2, "b")]).await.unwrap();
    journal.finish_run(&run, Timestamp(9), "done", "{}").await.unwrap();
    let finished = journal.verify(&run).await.unwrap();
    let note = |at| Append::from(entry(at, "note")).addendum();
    assert_eq!(journal.append(&run, note(10)).await.unwrap(), [3]);
    assert_eq!(journal.append(&run, note(11)).await.unwrap(), [4]);
    let finish = Finish { at: Timestamp(12), outcome: "failed".to_owned(), body: "{}".to_owned() };
    assert_eq!(journal.append(&run, note(12).finish(finish)).await.unwrap_err().code(), "journal/run-finished");
    let head = journal.verify(&run).await.unwrap();
    assert_eq!(head.seq, 4);
    assert_ne!(head.hash, finished.hash);
    assert!(matches!(journal.run("r-1").await.unwrap().state, RunState::Finished { outcome, .. } if outcome == "done"));
    drop(journal);
    let path = folder.path().join(crate::FILE_NAME);
    for (sql, seq) in [
        ("UPDATE runs SET outcome = 'failed'", 2),
        ("UPDATE runs SET finish_seq = 3", 3),
        ("UPDATE runs SET finish_seq = 9", 3),
        ("UPDATE runs SET finish_seq = NULL, finished_at = NULL, outcome = NULL, result = NULL, finish_hash = NULL", 3),
    ] {
        let copy = tempfile::tempdir().unwrap();
        std::fs::copy(&path, copy.path().join(crate::FILE_NAME)).unwrap();
        Connection::open(copy.path().join(crate::FILE_NAME)).unwrap().execute_batch(sql).unwrap();
        match Journal::open(copy.path()).unwrap().verify(&run).await.unwrap_err() {
            VerifyError::Broken(broken) => assert_eq!(broken.seq, seq, "{sql}: {broken}"),
            other => panic!("{sql}: {other}"),
        }
    }
}

#[tokio::test]
async fn runs_are_found_by_prefix_and_filter() {
    let (_folder, journal, _) = with_run("01ab").await;
    journal.start_run(start("01ac", 2000)).await.unwrap();
    journal.start_run(start("01", 3000)).await.unwrap();
    assert_eq!(journal.start_run(start("01", 1)).await.unwrap_err(), JournalError::RunExists { run: run_id("01") });
    assert_eq!(journal.run("01a%").await.unwrap_err().code(), "journal/unknown-run");
    assert_eq!(journal.run("").await.unwrap_err().code(), "journal/ambiguous-run");
    assert_eq!(journal.run("01").await.unwrap().start.run, run_id("01"), "an exact id is no prefix");
    assert_eq!(journal.run("01ab").await.unwrap().start.at, Timestamp(1000));
    let ambiguous = journal.run("01a").await.unwrap_err();
    assert_eq!(ambiguous.to_string(), "`01a` fits several runs: 01ac, 01ab");

    journal.finish_run(&run_id("01ac"), Timestamp(5), "aborted", "{}").await.unwrap();
    let names = |runs: Vec<crate::RunRecord>| -> Vec<String> {
        runs.into_iter().map(|r| r.start.run.as_str().to_owned()).collect()
    };
    assert_eq!(names(journal.runs(RunFilter::default(), 2).await.unwrap()), ["01", "01ac"]);
    assert_eq!(names(journal.runs(RunFilter::open(), 9).await.unwrap()), ["01", "01ab"]);
    let finished = RunFilter { only: Some(Only::Finished), ..RunFilter::default() };
    assert_eq!(names(journal.runs(finished, 9).await.unwrap()), ["01ac"]);
    let other = RunFilter { deployment: Some(service("other")), ..RunFilter::default() };
    assert_eq!(names(journal.runs(other, 9).await.unwrap()), Vec::<String>::new());
    let since = RunFilter { since: Some(Timestamp(2000)), ..RunFilter::default() };
    assert_eq!(names(journal.runs(since, 9).await.unwrap()), ["01", "01ac"]);
}

#[tokio::test]
async fn a_run_must_exist() {
    let (_folder, journal, _) = with_run("r-1").await;
    let nobody = run_id("nobody");
    assert_eq!(journal.append(&nobody, entry(1, "a")).await.unwrap_err().code(), "journal/unknown-run");
    assert_eq!(journal.entries(&nobody, 1).await.unwrap_err().code(), "journal/unknown-run");
    assert_eq!(journal.verify(&nobody).await.unwrap_err().code(), "journal/unknown-run");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_leave_no_gap_and_a_failed_one_fails_alone() {
    let (_folder, journal, run) = with_run("r-1").await;
    let tasks: Vec<_> = (0..200u64)
        .map(|n| {
            let (journal, run) = (journal.clone(), run.clone());
            // Every tenth asks for what cannot be, in the middle of the others' transaction.
            let run = if n % 10 == 0 { run_id("nobody") } else { run };
            tokio::spawn(async move { journal.append(&run, vec![entry(n, "x"), entry(n, "y")]).await })
        })
        .collect();
    let (mut written, mut refused) = (Vec::new(), 0);
    for task in tasks {
        match task.await.unwrap() {
            Ok(seqs) => {
                assert_eq!(seqs[0] + 1, seqs[1], "an append's records are neighbours");
                written.extend(seqs);
            }
            Err(error) => {
                assert_eq!(error.code(), "journal/unknown-run");
                refused += 1;
            }
        }
    }
    written.sort_unstable();
    assert_eq!(written, (1..=360).collect::<Vec<_>>());
    assert_eq!(refused, 20);
    assert_eq!(journal.verify(&run).await.unwrap().seq, 360);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_whole() {
    let (_folder, journal, run) = with_run("r-1").await;
    let both = vec![entry(1, "fits"), entry(u64::MAX, "does not")];
    assert_eq!(journal.append(&run, both).await.unwrap_err().code(), "journal/out-of-range");
    assert_eq!(journal.entries(&run, 1).await.unwrap(), []);
    assert_eq!(journal.append(&run, entry(1, "fits")).await.unwrap(), [1]);
}

/// Every way to change the file behind the journal's back is found.
#[tokio::test]
async fn tampering_is_found() {
    let cases: &[(&str, u64)] = &[
        ("UPDATE entries SET body = '{}' WHERE seq = 2", 2),
        ("UPDATE entries SET at = at + 1 WHERE seq = 1", 1),
        ("UPDATE entries SET service = '' WHERE seq = 3", 3),
        ("UPDATE entries SET kind = kind || body, body = '' WHERE seq = 3", 3),
        ("DELETE FROM entries WHERE seq = 2", 2),
        ("DELETE FROM entries WHERE seq = 5", 5),
        ("DELETE FROM entries WHERE seq >= 4", 4),
        ("INSERT INTO entries SELECT run, 6, at, service, kind, body, hash FROM entries WHERE seq = 5", 6),
        ("UPDATE runs SET body = '{}'", 0),
        ("UPDATE runs SET environment = 'production'", 0),
        ("UPDATE runs SET outcome = 'done'", 5),
        ("UPDATE runs SET head_hash = root", 5),
    ];
    for (sql, seq) in cases {
        let (folder, journal, run) = with_run("r-1").await;
        let entries: Vec<_> = (1..=5).map(|n| entry(n, "k")).collect();
        let finish = Finish { at: Timestamp(7), outcome: "aborted".to_owned(), body: "{}".to_owned() };
        journal.append(&run, Append::from(entries).finish(finish)).await.unwrap();
        journal.verify(&run).await.unwrap();
        let other = Connection::open(folder.path().join(crate::FILE_NAME)).unwrap();
        assert!(
            !sql.contains("entries") || sql.starts_with("INSERT") || other.execute_batch(sql).is_err(),
            "the file itself refuses {sql}"
        );
        other.execute_batch("DROP TRIGGER entries_are_not_changed; DROP TRIGGER entries_are_not_removed;").unwrap();
        other.execute_batch(sql).unwrap();
        match journal.verify(&run).await.unwrap_err() {
            VerifyError::Broken(broken) => assert_eq!(broken.seq, *seq, "{sql}: {broken}"),
            other => panic!("{sql}: {other}"),
        }
    }
}

fn any_entry() -> impl Strategy<Value = NewEntry> {
    let text = prop_oneof![".{0,20}", Just("\0".to_owned()), Just("\u{1F9E0}\r\n'\"".to_owned())];
    let named = proptest::option::of("[a-z]([a-z0-9-]{0,8}[a-z0-9])?");
    (0u64..=i64::MAX as u64, named, text.clone(), text).prop_map(|(at, named, kind, body)| NewEntry {
        at: Timestamp(at),
        service: named.map(|name| service(&name)),
        kind,
        body,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// However the records are cut into appends: they come back in order, and the chain depends on the records alone.
    #[test]
    fn the_chain_depends_on_the_records_alone(
        entries in proptest::collection::vec(any_entry(), 0..24),
        cuts in proptest::collection::vec(1usize..6, 1..24),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (_folder, cut, run) = with_run("r-1").await;
            let (mut rest, mut sizes) = (&entries[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                cut.append(&run, now.to_vec()).await.unwrap();
                rest = later;
            }
            let (_folder, whole, _) = with_run("r-1").await;
            whole.append(&run, entries.clone()).await.unwrap();
            assert_eq!(cut.verify(&run).await.unwrap(), whole.verify(&run).await.unwrap());
            let expected: Vec<Entry> = (1..)
                .zip(&entries)
                .map(|(seq, e)| Entry {
                    seq,
                    at: e.at,
                    service: e.service.clone(),
                    kind: e.kind.clone(),
                    body: e.body.clone(),
                })
                .collect();
            assert_eq!(cut.entries(&run, 1).await.unwrap(), expected);
        });
    }
}

#[tokio::test]
async fn what_was_handed_over_is_written_before_the_journal_closes() {
    let folder = tempfile::tempdir().unwrap();
    {
        let journal = Journal::open(folder.path()).unwrap();
        journal.start_run(start("r-1", 1)).await.unwrap();
        let run = run_id("r-1");
        // Polled once, then forgotten.
        let mut append = Box::pin(journal.append(&run, entry(1, "a")));
        let waker = std::task::Waker::noop();
        let _ = append.as_mut().poll(&mut std::task::Context::from_waker(waker));
    }
    let journal = Journal::open(folder.path()).unwrap();
    assert_eq!(journal.entries(&run_id("r-1"), 1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn every_run_is_verified_and_a_broken_one_hides_no_other() {
    let (folder, journal, run) = with_run("r-1").await;
    journal.append(&run, vec![entry(1, "a"), entry(2, "b")]).await.unwrap();
    journal.start_run(start("r-2", 2000)).await.unwrap();
    journal.append(&run_id("r-2"), entry(1, "c")).await.unwrap();
    drop(journal);
    let connection = Connection::open(folder.path().join(crate::FILE_NAME)).unwrap();
    connection
        .execute_batch(
            "DROP TRIGGER entries_are_not_changed; UPDATE entries SET kind = 'x' WHERE run = 'r-1' AND seq = 2",
        )
        .unwrap();
    drop(connection);
    let journal = Journal::open(folder.path()).unwrap();
    let found = journal.verify_all().await.unwrap();
    assert_eq!(found.iter().map(|(run, _)| run.as_str()).collect::<Vec<_>>(), ["r-2", "r-1"]);
    assert_eq!(found[0].1.as_ref().unwrap().seq, 1);
    assert_eq!(found[1].1.as_ref().unwrap_err().seq, 2);
    assert_eq!(found[0].1.as_ref().ok(), journal.verify(&run_id("r-2")).await.ok().as_ref());
}
