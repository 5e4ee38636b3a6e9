//! The one place where the engine reads the clock.

use basb_core::Timestamp;

/// The time, in milliseconds since the Unix epoch. A clock before 1970 reads as 0.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp(u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0))
}
