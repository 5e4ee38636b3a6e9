//! The observer of commits: what it is told, and when. One test only: the observer is the whole process's.

#![expect(clippy::unwrap_used, reason = "a test: it fails by panicking")]

use basb_core::{PluginName, RunId, ServiceName, Timestamp};
use basb_journal::{Commit, CommitStage, Journal, NewEntry, RunStart, observe_commits};
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
    let both =
        |number, entries| [CommitStage::Before, CommitStage::After].map(|stage| Commit { stage, number, entries });
    assert_eq!(told(), [both(1, 0), both(2, 2)].concat());

    // Another opener of the same file counts its own transactions, and the entries of everybody.
    let other = Journal::open(folder.path()).unwrap();
    other.append(&run, entry).await.unwrap();
    assert_eq!(told(), both(1, 3));
    // What is read is no commit.
    other.entries(&run, 1).await.unwrap();
    assert_eq!(told(), []);
}
