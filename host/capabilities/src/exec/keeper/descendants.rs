//! Ends everything that was started below this process.

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, wait};
use std::time::{Duration, Instant};

/// Ends all children until there are none. This process is their subreaper, so the children of what ends become its own
/// children, however deep they were and whatever session they made: one generation after the other.
///
/// Only this process's own children are signalled: until it sweeps them up, their numbers belong to nobody else.
///
/// Gives how many are left when time is up: processes that have become another user's.
pub(super) fn end_all(patience: Duration) -> usize {
    let start = Instant::now();
    let mut pause = Duration::from_micros(100);
    loop {
        let swept = loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some(_)) => pause = Duration::from_micros(100),
                Ok(None) => break None,
                Err(Errno::INTR) => {}
                Err(_) => break Some(0),
            }
        };
        if let Some(none) = swept {
            return none;
        }
        let children = children();
        for child in &children {
            // Gone already is what is wanted.
            let _ = kill_process(*child, Signal::KILL);
        }
        if start.elapsed() > patience {
            return children.len().max(1);
        }
        // A child that starts another one and ends, again and again, is met by looking often.
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// The children of every thread of this process.
fn children() -> Vec<Pid> {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return by_looking_at_all() };
    let mut all = Vec::new();
    for thread in threads.flatten() {
        match std::fs::read_to_string(thread.path().join("children")) {
            Ok(text) => all.extend(text.split_whitespace().filter_map(number)),
            // A kernel that is built without these lists; or a thread that has just ended, whose children are another's.
            Err(_) => return by_looking_at_all(),
        }
    }
    all
}

fn by_looking_at_all() -> Vec<Pid> {
    let own = getpid().as_raw_pid().to_string();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let is_child = |pid: &Pid| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).unwrap_or_default();
        // The name before it is in brackets and may hold anything.
        stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)) == Some(own.as_str())
    };
    let pids = entries.flatten().filter_map(|entry| number(entry.file_name().to_str()?));
    pids.filter(is_child).collect()
}

fn number(text: &str) -> Option<Pid> {
    Pid::from_raw(text.parse().ok()?)
}
