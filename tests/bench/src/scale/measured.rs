//! A program from its start to its end: how long, how much processor time, how much memory.

use crate::Result;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a program took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    /// From start to end.
    pub(crate) wall_s: f64,
    /// In its own code and in the kernel's, for it.
    pub(crate) cpu_s: f64,
    /// The most memory that it had at once, in MB of 1,000,000 bytes.
    pub(crate) max_rss_mb: f64,
}

/// The quickest.
pub(crate) fn best(all: &[Measured]) -> Option<Measured> {
    all.iter().copied().min_by(|a, b| a.wall_s.total_cmp(&b.wall_s))
}

/// Runs it with its output in a file; it must succeed.
pub(crate) fn run_measured(mut command: Command, log: &Path) -> Result<Measured> {
    let output = File::create(log)?;
    let start = Instant::now();
    let mut child = command.stdin(Stdio::null()).stderr(output.try_clone()?).stdout(output).spawn()?;
    let pid = Pid::from_child(&child);
    let number = child.id();
    let mut peak_kb = 0_u64;
    let wall = loop {
        // The kernel keeps the peak, but forgets it with the memory: what is read last before the end counts.
        peak_kb = peak_kb.max(peak(number).unwrap_or(0));
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        if waitid(WaitId::Pid(pid), options)?.is_some() {
            break start.elapsed();
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    // The times of a process that has ended stay until it is waited for.
    let cpu_s = cpu(number).unwrap_or(0.0);
    let status = child.wait()?;
    if !status.success() {
        let said = std::fs::read_to_string(log).unwrap_or_default();
        let tail = said.len().saturating_sub(2000);
        return Err(format!("{command:?} ended with {status}: {}", said.get(tail..).unwrap_or(&said)).into());
    }
    Ok(Measured { wall_s: wall.as_secs_f64(), cpu_s, max_rss_mb: peak_kb as f64 * 1024.0 / 1e6 })
}

fn peak(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.split_whitespace().next()?.parse().ok()
}

/// User and system time, in seconds; Linux counts in hundredths.
fn cpu(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u32>().ok();
    Some(f64::from(ticks(11)?.saturating_add(ticks(12)?)) / 100.0)
}
