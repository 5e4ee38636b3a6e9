//! Whether an instance takes requests, whoever started it: the checks, and the finishing of what is under way.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::Supervisor;
use super::model::{Instance, Key};
use super::readiness::Check;
use crate::api::{InstancePhase, Ready};

/// Checks that an available instance may miss in a row before it leaves the balancing.
const MISSES_ALLOWED: u32 = 1;

/// Keeps what the model says of one instance up to date.
pub(crate) struct Watch {
    pub(crate) supervisor: Arc<Supervisor>,
    pub(crate) key: Key,
}

impl Watch {
    /// Changes the instance in the model. Nothing happens when it is gone.
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut Instance) -> R) -> Option<R> {
        self.supervisor.update_instance(&self.key, change)
    }

    /// The phase to begin with; one that an agent before us watched may serve already.
    pub(crate) fn first_phase(&self, adopted: bool) -> InstancePhase {
        self.update(|instance| {
            if adopted {
                instance.adopt();
            } else {
                instance.phase = InstancePhase::Starting;
            }
            instance.message = None;
            instance.phase
        })
        .unwrap_or(InstancePhase::Starting)
    }

    /// Checks again and again, and keeps the instance's phase up to date. Never ends.
    pub(crate) async fn readiness(&self, ready: Option<&Ready>, first: InstancePhase) {
        let Some(address) = self.update(|instance| instance.address()) else { return std::future::pending().await };
        let check = Check::new(ready, address);
        let mut available = first == InstancePhase::Available;
        let mut ready_since: Option<Instant> = None;
        let mut misses = 0;
        let mut said: Option<String> = None;
        // Quick at first, so that a fast start is noticed fast.
        let mut pause = Duration::from_millis(10);
        loop {
            match check.ask().await {
                Ok(()) => {
                    misses = 0;
                    let since = *ready_since.get_or_insert_with(Instant::now);
                    if !available && since.elapsed() >= check.min_ready {
                        available = true;
                        said = None;
                        self.became_available();
                    }
                }
                Err(why) => {
                    misses += 1;
                    if !available || misses > MISSES_ALLOWED {
                        available = false;
                        ready_since = None;
                        if said.as_ref() != Some(&why) {
                            said = Some(why.clone());
                            self.update(|instance| {
                                instance.phase = InstancePhase::Starting;
                                instance.message = Some(format!("not ready: {why}"));
                            });
                        }
                    }
                }
            }
            pause = if available { check.interval } else { (pause * 3 / 2).min(check.interval) };
            let until_counted = ready_since.map(|since| check.min_ready.saturating_sub(since.elapsed()));
            let wait = match until_counted {
                Some(left) if !available && left < pause => left.max(Duration::from_millis(1)),
                _ => pause,
            };
            sleep(wait).await;
        }
    }

    fn became_available(&self) {
        let newly_proven = self.update(|instance| {
            instance.phase = InstancePhase::Available;
            instance.message = None;
            !std::mem::replace(&mut instance.proven, true)
        });
        if newly_proven == Some(true) {
            self.supervisor.save_or_log();
        }
    }

    /// No new requests from now on; waits for those under way, but no longer than this.
    pub(crate) async fn drain(&self, longest: Duration) {
        let upstream = self.update(|instance| {
            instance.phase = InstancePhase::Draining;
            instance.message = None;
            instance.upstream.clone()
        });
        let Some(upstream) = upstream.flatten() else { return };
        upstream.drain();
        let drained = async {
            while upstream.in_flight() > 0 {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let _ = timeout(longest, drained).await;
    }
}
