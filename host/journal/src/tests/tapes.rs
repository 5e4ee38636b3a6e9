//! Tapes, and calls that are open.

use super::{entry, run_id, service, start, with_run};
use crate::{Append, FILE_NAME, Fence, JournalError, NewTape, OpenCall, OpenExchange, Pruned, RunStart};
use basb_core::{Millis, PluginName, Timestamp};
use rusqlite::Connection;

fn tape(call: u64) -> NewTape {
    NewTape {
        call,
        at: Timestamp(2000 + call),
        sha256: [u8::try_from(call).unwrap(); 32],
        body: format!("{{\"n\":{call}}}"),
    }
}

fn call(key: &str, exchanges: &[(u64, &str, Option<&str>)]) -> OpenCall {
    let exchange = |(number, ask, answer): &(u64, &str, Option<&str>)| OpenExchange {
        number: *number,
        ask: (*ask).to_owned(),
        answer: answer.map(str::to_owned),
    };
    let exchanges = exchanges.iter().map(exchange).collect();
    OpenCall { key: key.to_owned(), at: Timestamp(1500), head: "{}".to_owned(), exchanges }
}

#[tokio::test]
async fn tapes_are_written_with_their_records_or_not_at_all() {
    let (_folder, journal, run) = with_run("01r").await;
    journal.append(&run, Append::from(entry(1, "called")).tape(tape(1)).tape(tape(2))).await.unwrap();
    // The second of these numbers is taken: nothing of the append is there.
    let twice = Append::from(entry(2, "called")).tape(tape(3)).tape(tape(2));
    assert!(journal.append(&run, twice).await.is_err());
    assert_eq!(journal.entries(&run, 1).await.unwrap().len(), 1);
    let all: Vec<u64> = journal.tapes(&run, 1, 9).await.unwrap().iter().map(|tape| tape.call).collect();
    assert_eq!(all, [1, 2]);
    assert_eq!(journal.tapes(&run, 2, 9).await.unwrap().len(), 1);
    assert_eq!(journal.tapes(&run, 1, 1).await.unwrap().len(), 1);
    assert!(matches!(journal.tapes(&run_id("01other"), 1, 9).await, Err(JournalError::UnknownRun { .. })));
}

#[tokio::test]
async fn an_open_call_grows_until_it_is_closed() {
    let (_folder, journal, run) = with_run("01r").await;
    journal.write_ahead(&run, None, call("01r-a-1", &[(1, "get", Some("1")), (2, "put", None)])).await.unwrap();
    journal.write_ahead(&run, None, call("01r-a-1", &[(2, "put", Some("2"))])).await.unwrap();
    journal.write_ahead(&run, None, call("01r-a-1", &[(3, "post", None)])).await.unwrap();
    journal.write_ahead(&run, None, call("01r-b-1", &[(1, "x", None)])).await.unwrap();
    let open = journal.open_calls("01r-a").await.unwrap();
    let expected = call("01r-a-1", &[(1, "get", Some("1")), (2, "put", Some("2")), (3, "post", None)]);
    assert_eq!(open, [expected]);
    // What came of it and its end are one.
    journal.append(&run, Append::from(entry(1, "outcome")).tape(tape(1)).close("01r-a-1")).await.unwrap();
    let left: Vec<String> = journal.open_calls("01r-").await.unwrap().into_iter().map(|call| call.key).collect();
    assert_eq!(left, ["01r-b-1"]);
    journal.close_calls(vec!["01r-b-1".to_owned(), "never-there".to_owned()]).await.unwrap();
    assert!(journal.open_calls("").await.unwrap().is_empty());
}

#[tokio::test]
async fn whoever_lost_the_lease_writes_nothing_ahead() {
    let (_folder, journal, run) = with_run("01r").await;
    let old = journal.acquire("l", "a", Millis(10), Timestamp(1000)).await.unwrap();
    journal.write_ahead(&run, Some(old.fence()), call("01r-a-1", &[(1, "put", None)])).await.unwrap();
    let seen = journal.holder("l").await.unwrap().unwrap();
    let new = journal.take_over("l", &seen, "b", Millis(10), Timestamp(2000)).await.unwrap();
    let late = journal.write_ahead(&run, Some(old.fence()), call("01r-a-1", &[(2, "put", None)])).await;
    assert!(matches!(late, Err(JournalError::StaleToken { .. })));
    let nobody = Fence { lease: "other".to_owned(), token: 1 };
    assert!(journal.write_ahead(&run, Some(nobody), call("01r-a-1", &[(2, "put", None)])).await.is_err());
    assert_eq!(journal.open_calls("").await.unwrap()[0].exchanges.len(), 1);
    journal.write_ahead(&run, Some(new.fence()), call("01r-a-1", &[(2, "put", None)])).await.unwrap();
}

#[tokio::test]
async fn old_texts_are_dropped_and_what_names_them_stays() {
    let (_folder, journal, run) = with_run("01r").await;
    journal.start_run(start("01s", 1000)).await.unwrap();
    for (run, first) in [(&run, 1), (&run_id("01s"), 3)] {
        let append = Append::from(entry(1, "called")).tape(tape(first)).tape(tape(first + 1));
        journal.append(run, append).await.unwrap();
    }
    journal.finish_run(&run, Timestamp(3000), "done", "{}").await.unwrap();
    let before = journal.verify(&run).await.unwrap();
    // Of the run that is not finished nothing is dropped: it may have to be taken up again.
    let pruned = journal.prune_tapes(None, Timestamp(2002)).await.unwrap();
    assert_eq!((pruned.tapes, pruned.bytes), (1, 7));
    assert_eq!(journal.prune_tapes(None, Timestamp(2002)).await.unwrap().tapes, 0);
    assert_eq!(journal.prune_tapes(Some(&run_id("01s")), Timestamp(9000)).await.unwrap().tapes, 0);
    let tapes = journal.tapes(&run, 1, 9).await.unwrap();
    assert_eq!((tapes[0].body.as_deref(), tapes[0].sha256), (None, [1; 32]));
    assert_eq!(tapes[1].body.as_deref(), Some("{\"n\":2}"));
    assert_eq!(journal.verify(&run).await.unwrap(), before);
}

#[tokio::test]
async fn what_ended_long_ago_is_dropped_by_its_end_and_place() {
    let (folder, journal, run) = with_run("01r").await;
    let other = RunStart { environment: PluginName::new("other").unwrap(), ..start("01t", 1000) };
    let elsewhere = RunStart { deployment: service("elsewhere"), ..start("01u", 1000) };
    for start in [start("01s", 1000), start("01v", 1000), start("01w", 1000), other, elsewhere] {
        journal.start_run(start).await.unwrap();
    }
    for name in ["01r", "01s", "01t", "01u", "01v", "01w"] {
        journal.append(&run_id(name), Append::from(entry(1, "called")).tape(tape(1))).await.unwrap();
    }
    // The tapes are all as old; the ends of the runs are not, and the last one goes on.
    for (name, end) in [("01r", 3000), ("01s", 3001), ("01t", 3000), ("01u", 3000), ("01w", 3000)] {
        journal.finish_run(&run_id(name), Timestamp(end), "done", "{}").await.unwrap();
    }
    // Brought here to be looked at, however long ago it ended.
    let file = Connection::open(folder.path().join(FILE_NAME)).unwrap();
    file.execute("INSERT INTO imported (run) VALUES ('01w')", []).unwrap();
    let here = (service("second-brain"), PluginName::new("local").unwrap());
    let by = |at| journal.prune_ended(&here.0, &here.1, Timestamp(at));
    assert_eq!(by(2999).await.unwrap(), Pruned::default());
    assert_eq!(by(3000).await.unwrap(), Pruned { tapes: 1, bytes: 7 });
    assert_eq!(by(3000).await.unwrap(), Pruned::default(), "once");
    let kept = async |name: &str| journal.tapes(&run_id(name), 1, 9).await.unwrap()[0].body.is_some();
    assert!(!kept("01r").await);
    for name in ["01s", "01t", "01u", "01v"] {
        assert!(kept(name).await, "{name}");
    }
    assert_eq!(by(u64::MAX >> 1).await.unwrap().tapes, 1);
    assert!(kept("01w").await);
    assert!(kept("01v").await, "it is not finished: it may have to be taken up again");
    journal.verify(&run).await.unwrap();
}

#[tokio::test]
async fn a_tape_is_not_changed_by_this_program() {
    let (folder, journal, run) = with_run("01r").await;
    journal.append(&run, Append::from(entry(1, "called")).tape(tape(1))).await.unwrap();
    let other = rusqlite::Connection::open(folder.path().join(crate::FILE_NAME)).unwrap();
    for sql in ["UPDATE tapes SET body = '{}'", "UPDATE tapes SET sha256 = zeroblob(32)", "DELETE FROM tapes"] {
        assert!(other.execute(sql, []).is_err(), "{sql}");
    }
    assert_eq!(other.execute("UPDATE tapes SET body = NULL", []).unwrap(), 1);
}
