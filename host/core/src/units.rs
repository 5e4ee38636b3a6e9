//! Quantities with their units in the type.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A share of traffic, in hundredths of a percent, from 0 to 10000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Weight(u16);

/// A weight over 100 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a weight of {0} hundredths of a percent is more than all of the traffic (10000)")]
pub struct WeightError(pub u16);

impl Weight {
    /// No traffic.
    pub const ZERO: Self = Self(0);
    /// All of the traffic.
    pub const FULL: Self = Self(10_000);

    /// A weight in hundredths of a percent.
    ///
    /// # Errors
    /// [`WeightError`] over 10000.
    pub fn new(hundredths: u16) -> Result<Self, WeightError> {
        if hundredths <= 10_000 { Ok(Self(hundredths)) } else { Err(WeightError(hundredths)) }
    }

    /// In hundredths of a percent.
    #[must_use]
    pub fn hundredths(self) -> u16 {
        self.0
    }

    /// What is left of the traffic.
    #[must_use]
    pub fn rest(self) -> Self {
        Self(10_000 - self.0)
    }

    /// Whether it is no traffic at all.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl TryFrom<u16> for Weight {
    type Error = WeightError;
    fn try_from(hundredths: u16) -> Result<Self, WeightError> {
        Self::new(hundredths)
    }
}

impl From<Weight> for u16 {
    fn from(weight: Weight) -> u16 {
        weight.0
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 100, self.0 % 100);
        match part {
            0 => write!(f, "{whole}%"),
            part if part.is_multiple_of(10) => write!(f, "{whole}.{}%", part / 10),
            part => write!(f, "{whole}.{part:02}%"),
        }
    }
}

/// A length of time in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// No time.
    pub const ZERO: Self = Self(0);

    /// A length of time in seconds.
    #[must_use]
    pub const fn secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Reads `250ms`, `30s`, `5m`, `1h`, `2d` or a sum such as `1h30m`. A bare number is refused: its unit would have
    /// to be guessed.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            |why: &str| format!("`{text}` is not a duration: {why}; write `500ms`, `30s`, `5m`, `1h` or `1h30m`");
        let mut rest = text.trim();
        let mut total: u64 = 0;
        if rest.is_empty() {
            return Err(wrong("it is empty"));
        }
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at(digits);
            let number: u64 = number.parse().map_err(|_| wrong("a whole number is expected"))?;
            let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
            let (unit, tail) = tail.split_at(letters);
            let factor: u64 = match unit {
                "ms" => 1,
                "s" => 1000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                "" => return Err(wrong("it has no unit")),
                _ => return Err(wrong("its unit is not known")),
            };
            total =
                number.checked_mul(factor).and_then(|n| total.checked_add(n)).ok_or_else(|| wrong("it is too long"))?;
            rest = tail;
        }
        Ok(Self(total))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0;
        if ms == 0 {
            return f.write_str("0s");
        }
        for (factor, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")] {
            if ms >= factor && ms.is_multiple_of(factor) {
                return write!(f, "{}{unit}", ms / factor);
            }
        }
        if ms >= 60_000 {
            write!(f, "{}m{}", ms / 60_000, Millis(ms % 60_000))
        } else if ms >= 1000 {
            write!(f, "{}.{}s", ms / 1000, (ms % 1000) / 100)
        } else {
            write!(f, "{ms}ms")
        }
    }
}

/// A point in time: milliseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Later by so much.
    #[must_use]
    pub fn plus(self, duration: Millis) -> Self {
        Self(self.0.saturating_add(duration.0))
    }

    /// How long after `earlier`; nothing when it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 with milliseconds, UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = i64::try_from(self.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        match at {
            Some(at) => write!(f, "{at:.3}"),
            None => write!(f, "{}ms", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(Millis::parse("30s"), Ok(Millis(30_000)));
        assert_eq!(Millis::parse("1h30m"), Ok(Millis(5_400_000)));
        assert_eq!(Millis::parse("250ms"), Ok(Millis(250)));
        for bad in ["", "30", "s", "-1s", "1.5s", "1y", "99999999999999999999h", "1s2"] {
            assert!(Millis::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn weights_read_as_percent() {
        assert_eq!(Weight::new(1250).unwrap().to_string(), "12.5%");
        assert_eq!(Weight::FULL.to_string(), "100%");
        assert_eq!(Weight::new(5).unwrap().to_string(), "0.05%");
        assert!(Weight::new(10_001).is_err());
    }

    #[test]
    fn time_reads_as_rfc_3339() {
        assert_eq!(Timestamp(1_700_000_000_123).to_string(), "2023-11-14T22:13:20.123Z");
    }

    proptest! {
        #[test]
        fn whole_seconds_survive_a_round_trip(s in 1u64..1_000_000) {
            let shown = Millis::secs(s).to_string();
            prop_assert_eq!(Millis::parse(&shown), Ok(Millis::secs(s)));
        }
    }
}
