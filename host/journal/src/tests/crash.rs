//! A writer that is killed in the middle of its work loses nothing that it was told is written.

use super::{entry, run_id, start};
use crate::{FILE_NAME, Journal};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

const FOLDER: &str = "BASB_JOURNAL_CRASH_FOLDER";

/// The child: writes without end from eight tasks, and says what was acknowledged.
#[test]
#[ignore = "started by the test below, as a process of its own"]
fn child_that_writes_until_it_is_killed() {
    let folder = std::env::var(FOLDER).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let journal = Journal::open(Path::new(&folder)).unwrap();
        let tasks: Vec<_> = (0..8)
            .map(|n| {
                let journal = journal.clone();
                tokio::spawn(async move {
                    let run = run_id(&format!("run-{n}"));
                    let _ = journal.start_run(start(run.as_str(), 1)).await;
                    for at in 0.. {
                        let seqs = journal.append(&run, vec![entry(at, "k"), entry(at, "l")]).await.unwrap();
                        // One write per line: a line is there whole or not at all.
                        let line = format!("ack {n} {}\n", seqs[1]);
                        std::io::stdout().write_all(line.as_bytes()).unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn nothing_acknowledged_is_lost_by_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = [0u64; 8];
    // Each round goes on in what the last one left behind.
    for round in 1..=3u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::crash::child_that_writes_until_it_is_killed", "--ignored", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        let mut note = |line: String| {
            let Some(rest) = line.strip_prefix("ack ") else { return false };
            let (run, seq) = rest.split_once(' ').unwrap();
            acknowledged[run.parse::<usize>().unwrap()] = seq.parse().unwrap();
            true
        };
        while seen < 400 * round {
            seen += u64::from(note(lines.next().unwrap().unwrap()));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it still managed to say counts, too.
        lines.map_while(Result::ok).for_each(|line| {
            note(line);
        });

        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let journal = Journal::open(folder.path()).unwrap();
            journal.check_file().await.unwrap();
            for (n, last) in acknowledged.iter().enumerate() {
                let run = run_id(&format!("run-{n}"));
                let head = journal.verify(&run).await.unwrap();
                assert!(head.seq >= *last, "run {n}: {last} was acknowledged, {} are there", head.seq);
                assert_eq!(head.seq % 2, 0, "half an append is there");
                assert_eq!(journal.entries(&run, 1).await.unwrap().len() as u64, head.seq);
            }
        });
        assert!(folder.path().join(FILE_NAME).exists());
    }
}
