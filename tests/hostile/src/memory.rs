//! How much memory this process and its children use, from the kernel.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// What the kernel says of this process, in KiB.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Now.
    pub now: u64,
    /// At the highest since [`reset_peak`].
    pub peak: u64,
}

/// Asks the kernel.
pub fn memory() -> Memory {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    Memory { now: value(&status, "VmRSS:").unwrap(), peak: value(&status, "VmHWM:").unwrap() }
}

fn value(status: &str, key: &str) -> Option<u64> {
    status.lines().find(|line| line.starts_with(key))?.split_whitespace().nth(1)?.parse().ok()
}

/// The most memory that another process was seen to use, in KiB; 0 when it is gone.
pub fn peak_of(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    value(&status, "VmHWM:").unwrap_or(0)
}

/// Begins to look for the highest anew.
pub fn reset_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// Looks at the memory of this process's children until it is dropped.
pub struct Children {
    stop: Arc<AtomicBool>,
    highest: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Children {
    /// Begins to look.
    pub fn watch() -> Self {
        let (stop, highest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (seen, most) = (Arc::clone(&stop), Arc::clone(&highest));
        let thread = std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                for child in children() {
                    let status = std::fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
                    most.fetch_max(value(&status, "VmHWM:").unwrap_or(0), Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(3));
            }
        });
        Self { stop, highest, thread: Some(thread) }
    }

    /// The most that one of them was seen to use, in MiB.
    pub fn highest_mib(&self) -> u64 {
        self.highest.load(Ordering::Relaxed) >> 10
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The process numbers of this process's children.
pub fn children() -> Vec<u32> {
    let own = std::process::id().to_string();
    let entries = std::fs::read_dir("/proc").unwrap();
    let is_child = |id: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // After the name, which is in brackets and may hold anything: state, then the parent.
        stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)) == Some(own.as_str())
    };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).filter(is_child).collect()
}
