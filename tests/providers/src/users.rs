//! Users: requests one after the other, until they are stopped, and what became of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use basb_e2e::Mcp;
use serde_json::Value;

/// Users who ask for `/work`.
#[derive(Debug)]
pub struct Users {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Seen>>,
}

/// What they saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// How many answers came from each release.
    pub releases: BTreeMap<String, u64>,
    /// What the requests without an answer say.
    pub failed: Vec<String>,
}

impl Users {
    /// Starts asking.
    #[must_use]
    pub fn start(port: u16) -> Users {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let client = Mcp::new(port);
            let mut seen = Seen::default();
            while !told.load(Ordering::Relaxed) {
                match client.get("/work") {
                    Ok((200, body)) => {
                        let body: Value = serde_json::from_str(&body).unwrap_or_default();
                        *seen.releases.entry(body["release"].as_str().unwrap_or("none").to_owned()).or_default() += 1;
                    }
                    Ok((status, body)) => seen.failed.push(format!("{status} {body}")),
                    Err(why) => seen.failed.push(why),
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            seen
        });
        Users { stop, thread: Some(thread) }
    }

    /// Stops them.
    ///
    /// # Panics
    /// When their thread did.
    #[must_use]
    pub fn stop(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
