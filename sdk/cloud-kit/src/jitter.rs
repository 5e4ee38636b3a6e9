//! Chance without a source of it: a plugin has none, so it is drawn from the key of the call.

use std::time::Duration;

use crate::name::hash;

/// Spreads what would otherwise happen at the same moment: a thousand services that a counterpart throttles at once
/// come back at different times. The same seed gives the same times, so a call that is made again is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jitter(u64);

impl Jitter {
    /// Of a call: its key and its time, so that the attempts of one call differ too.
    pub fn of(key: &str, now: u64) -> Jitter {
        Jitter(hash(&[key.as_bytes(), &now.to_le_bytes()]))
    }

    /// The time, and up to as much again; never less than a millisecond more than nothing.
    pub fn spread(self, time: Duration) -> Duration {
        let base = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
        Duration::from_millis(base.saturating_add(self.0 % base))
    }

    /// The time, and up to a tenth more, but at least a chance of a whole second: for what a counterpart asked for,
    /// which is never cut short.
    pub fn after(self, time: Duration) -> Duration {
        let base = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(base.saturating_add(self.0 % (base / 10).max(1_000)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_spread_and_the_same_call_is_not() {
        let second = Duration::from_secs(1);
        let times: Vec<_> = (0..100).map(|n| Jitter::of(&format!("run-web-{n}"), 7).spread(second)).collect();
        assert!(times.iter().all(|time| (second..second * 2).contains(time)), "{times:?}");
        let different: std::collections::BTreeSet<_> = times.iter().collect();
        assert!(different.len() > 80, "{different:?}");
        assert_eq!(Jitter::of("a", 1).spread(second), Jitter::of("a", 1).spread(second));
        assert_ne!(Jitter::of("a", 1).spread(second), Jitter::of("a", 2).spread(second));
    }

    #[test]
    fn what_was_asked_for_is_never_cut_short() {
        for n in 0..100 {
            let after = Jitter::of("key", n).after(Duration::from_secs(30));
            assert!((Duration::from_secs(30)..Duration::from_secs(33)).contains(&after), "{after:?}");
        }
        assert_eq!(Jitter::of("key", 1).spread(Duration::ZERO), Duration::from_millis(1));
    }
}
