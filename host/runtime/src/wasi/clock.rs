//! Virtual clocks: they start at the call's own `now` and move on by a microsecond whenever they are read, and by what
//! was slept. The same call sees the same times when it is played back.
//!
//! Stops a plugin from timing its host or its neighbours, and from sleeping past its call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock, wall_clock};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

/// What a look at the clock costs, in nanoseconds; also what the clocks say is their resolution.
const STEP: u64 = 1_000;

/// The clock of one call.
pub(super) struct Clock {
    /// When the call began, in milliseconds since the Unix epoch.
    began: u64,
    /// Nanoseconds since then.
    passed: AtomicU64,
    deadline: Option<Instant>,
}

impl Clock {
    pub(super) fn new(began: u64, deadline: Option<Instant>) -> Self {
        Self { began, passed: AtomicU64::new(0), deadline }
    }

    fn look(&self) -> u64 {
        self.passed.fetch_add(STEP, Ordering::Relaxed).saturating_add(STEP)
    }

    fn reach(&self, moment: u64) {
        self.passed.fetch_max(moment, Ordering::Relaxed);
    }
}

/// The clocks as the linker hands them out.
pub(crate) struct ClockView<'a> {
    pub(super) clock: &'a Arc<Clock>,
    pub(super) table: &'a mut ResourceTable,
}

impl ClockView<'_> {
    fn sleep(&mut self, until: u64, duration: Duration) -> wasmtime::Result<Resource<DynPollable>> {
        let now = Instant::now();
        let end = now.checked_add(duration);
        // The call ends at its deadline whatever is awaited, so nothing is awaited for longer.
        let end = match (end, self.clock.deadline) {
            (Some(end), Some(deadline)) => end.min(deadline),
            (end, deadline) => end.or(deadline).unwrap_or(now),
        };
        let sleep = self.table.push(Sleep { until, end, clock: Arc::clone(self.clock) })?;
        subscribe(self.table, sleep)
    }
}

/// A guest that sleeps. The sleep is real, or a guest that polls would not leave its counterpart a pause.
struct Sleep {
    until: u64,
    end: Instant,
    clock: Arc<Clock>,
}

#[wasmtime_wasi::async_trait]
impl Pollable for Sleep {
    async fn ready(&mut self) {
        if self.end <= Instant::now() {
            // A guest that polls without a pause must not keep the others from being looked at.
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep_until(self.end.into()).await;
        }
        self.clock.reach(self.until);
    }
}

impl monotonic_clock::Host for ClockView<'_> {
    fn now(&mut self) -> wasmtime::Result<monotonic_clock::Instant> {
        Ok(self.clock.look())
    }

    fn resolution(&mut self) -> wasmtime::Result<monotonic_clock::Duration> {
        Ok(STEP)
    }

    fn subscribe_instant(&mut self, when: monotonic_clock::Instant) -> wasmtime::Result<Resource<DynPollable>> {
        let left = when.saturating_sub(self.clock.look());
        self.sleep(when, Duration::from_nanos(left))
    }

    fn subscribe_duration(&mut self, length: monotonic_clock::Duration) -> wasmtime::Result<Resource<DynPollable>> {
        let until = self.clock.look().saturating_add(length);
        self.sleep(until, Duration::from_nanos(length))
    }
}

impl wall_clock::Host for ClockView<'_> {
    fn now(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        let now = Duration::from_millis(self.clock.began).saturating_add(Duration::from_nanos(self.clock.look()));
        Ok(wall_clock::Datetime { seconds: now.as_secs(), nanoseconds: now.subsec_nanos() })
    }

    fn resolution(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        Ok(wall_clock::Datetime { seconds: 0, nanoseconds: 1_000 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use monotonic_clock::Host as _;

    #[tokio::test]
    async fn time_passes_by_looking_and_by_sleeping_and_in_no_other_way() {
        let clock = Arc::new(Clock::new(1_000, Some(Instant::now() + Duration::from_secs(60))));
        let mut table = ResourceTable::new();
        let mut view = ClockView { clock: &clock, table: &mut table };
        assert_eq!((view.now().unwrap(), view.now().unwrap()), (1_000, 2_000));
        let wall = wall_clock::Host::now(&mut view).unwrap();
        assert_eq!((wall.seconds, wall.nanoseconds), (1, 3_000));
        let mut sleep = Sleep { until: 50_000_000, end: Instant::now(), clock: Arc::clone(&clock) };
        sleep.ready().await;
        assert_eq!(view.now().unwrap(), 50_001_000);
        // What lies in the past moves nothing.
        Sleep { until: 10, end: Instant::now(), clock: Arc::clone(&clock) }.ready().await;
        assert_eq!(view.now().unwrap(), 50_002_000);
    }

    #[test]
    fn nobody_sleeps_past_the_deadline() {
        let deadline = Instant::now() + Duration::from_secs(1);
        let clock = Arc::new(Clock::new(0, Some(deadline)));
        let mut table = ResourceTable::new();
        for length in [u64::MAX, 3_600_000_000_000] {
            ClockView { clock: &clock, table: &mut table }.subscribe_duration(length).unwrap();
        }
        let ends: Vec<Instant> =
            table.iter_mut().filter_map(|entry| entry.downcast_ref::<Sleep>().map(|sleep| sleep.end)).collect();
        assert_eq!(ends, [deadline, deadline]);
    }
}
