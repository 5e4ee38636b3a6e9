//! Small values that every kind of plugin meets.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use crate::bindings::host::basb::host::types::{Problem, ServiceRef, Severity, Verdict};

/// Named values for which no field exists yet. Ignore names that you do not know.
pub type Extras = Vec<(String, String)>;

/// The value of a name in [`Extras`].
pub fn extra<'a>(extras: &'a [(String, String)], name: &str) -> Option<&'a str> {
    extras.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// A configuration without any key, for plugins that have nothing to set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// A point in time: milliseconds since the Unix epoch, UTC. A plugin has no clock; the host tells it the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Milliseconds since the Unix epoch.
    pub fn as_millis(self) -> u64 {
        self.0
    }

    /// The time from `earlier` until this one; zero when `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Timestamp;

    fn add(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(millis(by)))
    }
}

/// A share of traffic in hundredths of a percent, never more than all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Weight(u16);

impl Weight {
    /// No traffic.
    pub const ZERO: Weight = Weight(0);
    /// All traffic.
    pub const FULL: Weight = Weight(10_000);

    /// From hundredths of a percent; more than 10000 is all of it.
    pub fn from_hundredths(hundredths: u16) -> Weight {
        Weight(hundredths.min(10_000))
    }

    /// From a percentage; `None` for anything outside 0 to 100. Rounded to the nearest hundredth.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
    pub fn from_percent(percent: f64) -> Option<Weight> {
        (0.0..=100.0).contains(&percent).then(|| Weight((percent * 100.0).round() as u16))
    }

    /// Hundredths of a percent.
    pub fn hundredths(self) -> u16 {
        self.0
    }

    /// As a percentage.
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 100.0
    }

    /// What is left for the other side.
    pub fn rest(self) -> Weight {
        Weight(10_000 - self.0)
    }

    /// The share that `part` of `part + rest` instances have, to the nearest multiple of `granularity`, but neither
    /// nothing nor everything unless it is. Nothing for no instances.
    pub fn share(part: u32, rest: u32, granularity: Weight) -> Weight {
        if part == 0 {
            return Weight::ZERO;
        }
        if rest == 0 {
            return Weight::FULL;
        }
        let grain = u64::from(granularity.0.clamp(1, 5_000));
        let exact = u64::from(part) * 10_000 / (u64::from(part) + u64::from(rest));
        let grains = (exact + grain / 2) / grain;
        let most = (10_000 - 1) / grain;
        u16::try_from(grains.clamp(1, most) * grain).map_or(Weight::FULL, Weight::from_hundredths)
    }

    /// How many of `replicas` this share needs at the least: rounded up, so that nobody is asked for more than its part.
    pub fn replicas_up(self, replicas: u32) -> u32 {
        let exact = u64::from(replicas) * u64::from(self.0);
        u32::try_from(exact.div_ceil(10_000)).unwrap_or(replicas)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 100, self.0 % 100);
        match part {
            0 => write!(f, "{whole} %"),
            _ if part % 10 == 0 => write!(f, "{whole}.{} %", part / 10),
            _ => write!(f, "{whole}.{part:02} %"),
        }
    }
}

impl Problem {
    /// Something that forbids the run. `path` is a JSON pointer into the configuration, such as `/steps/0/setWeight`.
    pub fn error(path: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem { path: path.into(), message: message.into(), severity: Severity::Error }
    }

    /// Something worth attention that forbids nothing.
    pub fn warning(path: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem { path: path.into(), message: message.into(), severity: Severity::Warning }
    }
}

/// Whole milliseconds, at most `u64::MAX`.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
