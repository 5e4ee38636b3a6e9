//! A quick figure, not a promise: run with `--ignored --nocapture`.

use super::{entry, run_id, start};
use crate::Journal;
use std::time::Instant;

#[test]
#[ignore = "measures; has nothing to assert"]
fn durable_appends_per_second() {
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let journal = Journal::open(folder.path()).unwrap();
        for (tasks, each) in [(1u64, 1000u64), (64, 300)] {
            for n in 0..tasks {
                journal.start_run(start(&format!("r{tasks}-{n}"), 1)).await.unwrap();
            }
            let began = Instant::now();
            let running: Vec<_> = (0..tasks)
                .map(|n| {
                    let journal = journal.clone();
                    tokio::spawn(async move {
                        let run = run_id(&format!("r{tasks}-{n}"));
                        for at in 0..each {
                            journal.append(&run, entry(at, "k")).await.unwrap();
                        }
                    })
                })
                .collect();
            for task in running {
                task.await.unwrap();
            }
            let seconds = began.elapsed().as_secs_f64();
            println!("{tasks:>3} tasks: {:.0} durable appends/s", (tasks * each) as f64 / seconds);
        }
    });
}
