//! Tests of the whole crate, by subject.

mod care;
mod crash;
mod golden;
mod opening;
mod records;
mod state;
mod tapes;
mod throughput;

use crate::{Journal, NewEntry, NewStable, RunStart, ServiceKey};
use basb_core::{PluginName, RevisionId, RunId, ServiceName, Timestamp};

fn run_id(name: &str) -> RunId {
    RunId::new(name).unwrap()
}

fn service(name: &str) -> ServiceName {
    ServiceName::new(name).unwrap()
}

fn start(run: &str, at: u64) -> RunStart {
    RunStart {
        run: run_id(run),
        deployment: service("second-brain"),
        environment: PluginName::new("local").unwrap(),
        at: Timestamp(at),
        body: format!("{{\"run\":\"{run}\"}}"),
    }
}

fn entry(at: u64, kind: &str) -> NewEntry {
    NewEntry {
        at: Timestamp(at),
        service: at.is_multiple_of(2).then(|| service("capture")),
        kind: kind.to_owned(),
        body: format!("{{\"at\":{at}}}"),
    }
}

fn key(name: &str) -> ServiceKey {
    ServiceKey {
        deployment: service("second-brain"),
        environment: PluginName::new("local").unwrap(),
        service: service(name),
    }
}

fn stable(name: &str, revision: &str, at: u64) -> NewStable {
    NewStable {
        service: key(name),
        revision: RevisionId::new(revision).unwrap(),
        replicas: 2,
        workload_json: format!("{{\"revision\":\"{revision}\"}}"),
        at: Timestamp(at),
    }
}

/// A journal in a folder of its own, with one run.
async fn with_run(run: &str) -> (tempfile::TempDir, Journal, RunId) {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    journal.start_run(start(run, 1000)).await.unwrap();
    (folder, journal, run_id(run))
}
