//! The observer of commits: what it is told, and when. One test only: the observer is the whole process's.

#![expect(clippy::unwrap_used, reason = "a test: it fails by panicking")]

use basb_core::{PluginName, RunId, ServiceName, Timestamp};
use basb_journal::{Append, Commit, CommitStage, Journal, NewEntry, OpenCall, OpenExchange, RunStart, observe_commits};
use std::sync::Mutex;

static TOLD: Mutex<Vec<Commit>> = Mutex::new(Vec::new());

fn tell(commit: Commit) {
    TOLD.lock().unwrap().push(commit);
}

fn told() -> Vec<Commit> {
    std::mem::take(&mut *TOLD.lock().unwrap())
}

#[tokio::test]
async fn it_is_told_of_every_commit_before_and_after_it() {
    assert!(observe_commits(tell));
    assert!(!observe_commits(tell), "the first one stays");
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    let run = RunId::new("r").unwrap();
    let start = RunStart {
        run: run.clone(),
        deployment: ServiceName::new("d").unwrap(),
        environment: PluginName::new("e").unwrap(),
        at: Timestamp(1),
        body: "{}".to_owned(),
    };
    journal.start_run(start).await.unwrap();
    let entry = NewEntry { at: Timestamp(2), service: None, kind: "k".to_owned(), body: "{}".to_owned() };
    journal.append(&run, vec![entry.clone(), entry.clone()]).await.unwrap();
    let at = |number, entries, ahead| {
        [CommitStage::Before, CommitStage::After].map(|stage| Commit { stage, number, entries, ahead, taken: 0 })
    };
    let both = |number, entries| at(number, entries, 0);
    assert_eq!(told(), [both(1, 0), both(2, 2)].concat());

    // A question that is written ahead, then its answer.
    for (number, answer) in [(3, None), (4, Some("{}".to_owned()))] {
        let exchanges = vec![OpenExchange { number: 1, ask: "{}".to_owned(), answer }];
        let call = OpenCall { key: "k".to_owned(), at: Timestamp(2), head: "{}".to_owned(), exchanges };
        journal.write_ahead(&run, None, call).await.unwrap();
        assert_eq!(told(), at(number, 2, number - 2));
    }
    journal.close_calls(vec!["k".to_owned()]).await.unwrap();
    assert_eq!(told(), both(5, 2));

    // A request, then its record.
    let request = journal.request(&run, Timestamp(3), "abort", "{}").await.unwrap();
    assert_eq!(told(), both(6, 2));
    journal.append(&run, Append { takes: vec![request], ..Append::from(entry.clone()) }).await.unwrap();
    assert_eq!(told(), both(7, 3).map(|commit| Commit { taken: 1, ..commit }));
    let both = |number, entries| both(number, entries).map(|commit| Commit { taken: 1, ..commit });

    // Another opener of the same file counts its own transactions, and the entries of everybody.
    let other = Journal::open(folder.path()).unwrap();
    other.append(&run, entry).await.unwrap();
    assert_eq!(told(), both(1, 4));
    // What is read is no commit.
    other.entries(&run, 1).await.unwrap();
    assert_eq!(told(), []);
}
