//! Files of released formats stay readable. A dump is added with each format; none is ever edited.

use super::{key, run_id};
use crate::{FILE_NAME, Journal, NewTape, OpenCall, OpenExchange, Origin, RunFilter, RunState, SCHEMA_VERSION};
use basb_core::{RevisionId, Timestamp};
use rusqlite::Connection;
use std::path::Path;

const V1: &str = include_str!("golden-v1.sql");
const V2: &str = include_str!("golden-v2.sql");
const V3: &str = include_str!("golden-v3.sql");
const V4: &str = include_str!("golden-v4.sql");
const V5: &str = include_str!("golden-v5.sql");
const V6: &str = include_str!("golden-v6.sql");

fn restored(dump: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let connection = Connection::open(folder.path().join(FILE_NAME)).unwrap();
    connection.execute_batch(dump).unwrap();
    folder
}

#[tokio::test]
async fn old_formats_are_readable() {
    for dump in [V1, V2, V3, V4, V5, V6] {
        format_is_readable(dump).await;
    }
    for dump in [V2, V3, V4, V5, V6] {
        let journal = restored(dump);
        let journal = Journal::open(journal.path()).unwrap();
        assert_eq!(journal.verify(&run_id("01golden-late")).await.unwrap().seq, 2);
    }
    let journal = restored(V3);
    let journal = Journal::open(journal.path()).unwrap();
    let tapes = journal.tapes(&run_id("01golden-done"), 1, 9).await.unwrap();
    let bodies: Vec<_> = tapes.iter().map(|tape| (tape.call, tape.body.as_deref())).collect();
    assert_eq!(bodies, [(1, None), (2, Some("{\"tape\":2}"))]);
    assert_eq!(tapes[0].sha256, [7; 32]);
    let open = journal.open_calls("01golden-open").await.unwrap();
    assert_eq!((open.len(), open[0].head.as_str(), open[0].at), (1, "{}", Timestamp(1_700_000_020_003)));
    let exchanges: Vec<_> = open[0].exchanges.iter().map(|e| (e.number, e.ask.as_str(), e.answer.as_deref())).collect();
    assert_eq!(exchanges, [(1, "\"a\"", Some("1")), (2, "\"b\"", None)]);
    let journal = restored(V4);
    let journal = Journal::open(journal.path()).unwrap();
    let key = key("capture");
    let memory = journal.memory(&key.deployment, &key.environment).await.unwrap();
    assert_eq!(memory, [(key.service.clone(), "r2 1 10000".to_owned())]);
    let journal = restored(V5);
    let journal = Journal::open(journal.path()).unwrap();
    let workloads = journal.workloads(&key.deployment, &key.environment).await.unwrap();
    assert_eq!(workloads, [(key.service, RevisionId::new("r2").unwrap(), "sha256:00".to_owned())]);
    let journal = restored(V6);
    let journal = Journal::open(journal.path()).unwrap();
    assert_eq!(journal.run("01golden-late").await.unwrap().origin, Origin::Imported);
    let here = journal.runs(RunFilter::here(), 9).await.unwrap();
    assert_eq!(here.len(), 2, "{here:?}");
    assert_eq!(journal.last_at().await.unwrap(), Timestamp(1_700_000_020_001), "what was imported is no clock");
}

async fn format_is_readable(dump: &str) {
    let folder = restored(dump);
    let journal = Journal::open(folder.path()).unwrap();

    let done = journal.run("01golden-d").await.unwrap();
    assert_eq!((done.start.at, done.entries), (Timestamp(1_700_000_000_000), 3));
    let state = RunState::Finished {
        at: Timestamp(1_700_000_009_000),
        outcome: "done".to_owned(),
        body: "{\"services\":1}".to_owned(),
    };
    assert_eq!(done.state, state);
    let entries = journal.entries(&run_id("01golden-done"), 1).await.unwrap();
    let kinds: Vec<_> = entries.iter().map(|e| (e.seq, e.kind.as_str(), e.service.is_some())).collect();
    assert_eq!(kinds, [(1, "phase.started", false), (2, "service.promoted", true), (3, "note", false)]);
    assert_eq!(entries[2].body, "{\"text\":\"it's \u{1F9E0}\"}");
    let head = journal.verify(&run_id("01golden-done")).await.unwrap();
    assert_eq!(head.hash.as_str(), "sha256:8640af3d6babdf12dd54fc830ab68f162793945016086ab18c593aa0823439dc");
    assert_eq!(journal.verify(&run_id("01golden-open")).await.unwrap().seq, 1);

    assert_eq!(journal.stable(&key("capture")).await.unwrap().unwrap().revision.as_str(), "r2");
    assert_eq!(journal.revisions(&key("capture"), 9).await.unwrap().len(), 2);
    let pending = journal.pending(9).await.unwrap();
    assert_eq!((pending.len(), pending[0].event_key.as_str(), pending[0].attempts), (1, "e2", 1));
    assert_eq!(journal.holder("second-brain/local").await.unwrap().unwrap().fencing_token, 2);
    let requests = journal.requests(&run_id("01golden-open"), 0).await.unwrap();
    assert_eq!(requests[0].verb, "abort");

    // And it can be written on.
    journal.append(&run_id("01golden-open"), super::entry(1, "k")).await.unwrap();
    assert_eq!(journal.verify(&run_id("01golden-open")).await.unwrap().seq, 2);
}

fn tables(path: &Path) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let mut statement =
        connection.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// A change of the tables without a new format, or a migration that leads somewhere else, is noticed here.
#[test]
fn an_old_file_and_a_new_one_have_the_same_tables() {
    assert_eq!(SCHEMA_VERSION, 6, "a new format needs a dump of its own beside these");
    let new = tempfile::tempdir().unwrap();
    drop(Journal::open(new.path()).unwrap());
    for dump in [V1, V2, V3, V4, V5, V6] {
        let old = restored(dump);
        drop(Journal::open(old.path()).unwrap());
        assert_eq!(tables(&old.path().join(FILE_NAME)), tables(&new.path().join(FILE_NAME)));
    }
}

/// Makes what is committed as the dump, apart from the dumping: `sqlite3 FILE .dump`, the two pragmas in front, and from
/// format 6 on the row that says that `01golden-late` was imported.
#[tokio::test]
#[ignore = "writes the folder that is named in BASB_JOURNAL_GOLDEN"]
async fn write_a_sample() {
    use super::{entry, stable, start};
    use crate::{Append, NewEntry, NewMemory, NewNotification, NewWorkload, NextAttempt};
    use basb_core::Millis;
    let journal = Journal::open(Path::new(&std::env::var("BASB_JOURNAL_GOLDEN").unwrap())).unwrap();
    let at = 1_700_000_000_000;
    let (done, open) = (run_id("01golden-done"), run_id("01golden-open"));
    journal.start_run(start(done.as_str(), at)).await.unwrap();
    journal.start_run(start(open.as_str(), at + 20_000)).await.unwrap();
    let note = |event_key: &str| NewNotification {
        event_key: event_key.to_owned(),
        notifier: "daily-log".to_owned(),
        payload: "{}".to_owned(),
        at: Timestamp(at),
    };
    journal.set_stable(&done, stable("capture", "r1", at)).await.unwrap();
    let free = NewEntry { service: None, body: "{\"text\":\"it's \u{1F9E0}\"}".to_owned(), ..entry(at + 3, "note") };
    let records = vec![entry(at + 1, "phase.started"), entry(at + 2, "service.promoted"), free];
    let all = Append::from(records).stable(stable("capture", "r2", at + 2)).notify(note("e1")).notify(note("e2"));
    journal.append(&done, all).await.unwrap();
    journal.finish_run(&done, Timestamp(at + 9000), "done", "{\"services\":1}").await.unwrap();
    journal.append(&open, entry(at + 20_001, "phase.started")).await.unwrap();
    journal.delivered(None, "e1", "daily-log", Timestamp(at + 10)).await.unwrap();
    journal.attempt_failed(None, "e2", "daily-log", "refused", NextAttempt::At(Timestamp(at + 11))).await.unwrap();
    let (name, ttl) = ("second-brain/local", Millis(1000));
    journal.acquire(name, "a", ttl, Timestamp(at)).await.unwrap();
    let seen = journal.holder(name).await.unwrap().unwrap();
    journal.take_over(name, &seen, "b", ttl, Timestamp(at + 5000)).await.unwrap();
    journal.request(&open, Timestamp(at + 20_002), "abort", "{}").await.unwrap();
    let late = run_id("01golden-late");
    journal.start_run(start(late.as_str(), at + 30_000)).await.unwrap();
    journal.append(&late, entry(at + 30_001, "phase.started")).await.unwrap();
    journal.finish_run(&late, Timestamp(at + 30_002), "done", "{}").await.unwrap();
    journal.append(&late, Append::from(entry(at + 30_003, "note")).addendum()).await.unwrap();
    for (run, call, body) in [(&done, 1, "{}"), (&done, 2, "{\"tape\":2}")] {
        let tape = NewTape { call, at: Timestamp(at + 40_000 * call), sha256: [7; 32], body: body.to_owned() };
        journal.append(run, Append::default().tape(tape).addendum()).await.unwrap();
    }
    journal.prune_tapes(None, Timestamp(at + 40_001)).await.unwrap();
    let exchange = |number, ask: &str, answer: Option<&str>| OpenExchange {
        number,
        ask: ask.to_owned(),
        answer: answer.map(str::to_owned),
    };
    let call = OpenCall {
        key: "01golden-open-capture-1".to_owned(),
        at: Timestamp(at + 20_003),
        head: "{}".to_owned(),
        exchanges: vec![exchange(1, "\"a\"", Some("1")), exchange(2, "\"b\"", None)],
    };
    journal.write_ahead(&open, None, call).await.unwrap();
    let memory = NewMemory { service: key("capture"), text: "r2 1 10000".to_owned() };
    let (service, revision) = (key("capture"), RevisionId::new("r2").unwrap());
    let workload = NewWorkload { service, revision, digest: "sha256:00".to_owned() };
    journal
        .append(&late, Append { memory: vec![memory], workloads: vec![workload], ..Append::default().addendum() })
        .await
        .unwrap();
    println!("{}", journal.verify(&done).await.unwrap().hash);
}
