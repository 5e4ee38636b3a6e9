//! The one place where the engine reads clocks.
//!
//! The wall clock is read once, when the process first asks for the time. From then on time goes on with the clock that
//! counts since the machine's start, sleep included: whoever sets the wall clock in the middle of a run neither cuts a
//! pause short nor makes it longer. What the journal holds is never in the future: when the wall clock was set back
//! between two processes, the later one goes on where the journal ends.

use basb_core::{Millis, Timestamp};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};

/// How far the engine's time is ahead of the time since the machine's start, in milliseconds.
static AHEAD: OnceLock<AtomicI64> = OnceLock::new();

fn ahead() -> &'static AtomicI64 {
    AHEAD.get_or_init(|| AtomicI64::new(anchor(wall(), since_boot())))
}

/// The time, in milliseconds since the Unix epoch.
#[must_use]
pub fn now() -> Timestamp {
    at(ahead().load(Ordering::Relaxed), since_boot())
}

/// From now on the time is not before this one.
pub fn not_before(floor: Timestamp) {
    let boot = since_boot();
    let wanted = anchor(floor, boot);
    if wanted > ahead().fetch_max(wanted, Ordering::Relaxed) {
        let late = floor.since(wall());
        if late > Millis::secs(1) {
            tracing::warn!("the clock was set back by {late}: time goes on from the journal's last entry");
        }
    }
}

/// What makes this time of this moment.
fn anchor(time: Timestamp, boot: Millis) -> i64 {
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    signed(time.0).saturating_sub(signed(boot.0))
}

/// The time at a moment; one before 1970 reads as 0.
fn at(ahead: i64, boot: Millis) -> Timestamp {
    Timestamp(boot.0.saturating_add_signed(ahead))
}

/// What the wall clock says. A clock before 1970 reads as 0.
fn wall() -> Timestamp {
    Timestamp(u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0))
}

/// Time since the machine's start, sleep included.
fn since_boot() -> Millis {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    #[expect(unsafe_code, reason = "std has no clock that counts sleep; the pointer is to a value of ours")]
    // SAFETY: the call writes one timespec, to which the pointer is valid and exclusive.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) } != 0;
    if failed {
        // Linux has had this clock since 2.6.39; where it is hidden, the wall clock is what there is.
        return Millis(wall().0);
    }
    let part = |n: i64| u64::try_from(n).unwrap_or(0);
    Millis(part(time.tv_sec).saturating_mul(1000).saturating_add(part(time.tv_nsec) / 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    /// A machine with two clocks, and a process that reads the wall clock at its start only.
    struct Machine {
        wall: u64,
        boot: u64,
    }

    impl Machine {
        fn process(&self) -> i64 {
            anchor(Timestamp(self.wall), Millis(self.boot))
        }

        fn passes(&mut self, time: u64) {
            self.wall += time;
            self.boot += time;
        }

        fn now(&self, process: i64) -> u64 {
            at(process, Millis(self.boot)).0
        }
    }

    fn machine() -> Machine {
        Machine { wall: 1_700_000_000_000, boot: 5_000 }
    }

    #[test]
    fn a_wall_clock_that_is_set_changes_nothing_for_a_process() {
        for jump in [0, 24 * HOUR, HOUR] {
            let mut it = machine();
            let process = it.process();
            let until = it.now(process) + HOUR;
            it.passes(HOUR / 2);
            it.wall = if jump == HOUR { it.wall - 2 * HOUR } else { it.wall + jump };
            assert_eq!(until - it.now(process), HOUR / 2, "half of the pause is left");
            it.passes(HOUR / 2);
            assert_eq!(it.now(process), until);
        }
    }

    #[test]
    fn a_pause_of_an_hour_that_was_interrupted_after_40_minutes_takes_20_more() {
        let minute = HOUR / 60;
        let mut it = machine();
        let first = it.process();
        let until = it.now(first) + HOUR;
        it.passes(40 * minute);
        let last_entry = it.now(first);
        // The process is killed; another one takes the run up.
        for set_back in [0, 10 * minute, 24 * HOUR] {
            it.wall -= set_back;
            let second = it.process().max(anchor(Timestamp(last_entry), Millis(it.boot)));
            assert_eq!(until - it.now(second), 20 * minute, "set back by {set_back}");
            it.wall += set_back;
        }
        // The time in between counts.
        it.passes(15 * minute);
        assert_eq!(until - it.now(it.process()), 5 * minute);
        it.passes(HOUR);
        assert!(it.now(it.process()) > until, "it is over");
    }

    #[test]
    fn time_never_goes_behind_what_was_written() {
        let mut it = machine();
        let written = it.now(it.process());
        it.wall -= 24 * HOUR;
        let process = it.process();
        let held = process.max(anchor(Timestamp(written), Millis(it.boot)));
        assert_eq!(it.now(held), written);
        it.passes(1);
        assert_eq!(it.now(held), written + 1, "and it goes on from there");
        let (early, late) = (at(i64::MIN, Millis(1)), at(i64::MAX, Millis(u64::MAX)));
        assert_eq!((early.0, late.0), (0, u64::MAX), "no clock makes it panic");
    }

    #[test]
    fn the_real_clocks_agree() {
        let before = wall();
        let time = now();
        assert!(time.0.abs_diff(before.0) < HOUR, "{time} {before}");
        let later = Timestamp(time.0 + 10 * HOUR);
        not_before(later);
        assert!(now() >= later);
        not_before(time);
        assert!(now() >= later, "an older floor changes nothing");
    }
}
