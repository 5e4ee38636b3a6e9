//! Virtual time: it moves when somebody waits, and never by itself, so that a run of the kit is the same every time.

use basb_core::{Millis, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// 2026-01-01T00:00:00Z.
const START: u64 = 1_767_225_600_000;

/// A clock that is shared by all who need one.
#[derive(Debug, Clone)]
pub struct Clock(Arc<AtomicU64>);

impl Default for Clock {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(START)))
    }
}

impl Clock {
    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    /// Waits.
    pub fn wait(&self, time: Millis) {
        self.0.fetch_add(time.0, Ordering::SeqCst);
    }

    /// Sets it back to what it was.
    pub fn set(&self, to: Timestamp) {
        self.0.store(to.0, Ordering::SeqCst);
    }
}
