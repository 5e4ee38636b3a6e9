//! Values that configurations are made of.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time as people write it: `500ms`, `30s`, `5m`, `1h`, `2d`. The unit is required.
///
/// In a JSON Schema: `{"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$"}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

impl HumanDuration {
    /// Reads `30s` and the like.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(text: &str) -> Result<HumanDuration, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let advice =
            || format!("`{text}` is not a length of time: write a whole number and a unit, such as `30s` or `5m`");
        let number: u64 = number.parse().map_err(|_| advice())?;
        let factor: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "" => return Err(format!("`{text}` has no unit: write `{text}s` for seconds")),
            _ => return Err(advice()),
        };
        number.checked_mul(factor).map(|ms| HumanDuration(Duration::from_millis(ms))).ok_or_else(advice)
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
        match units.iter().find(|(size, _)| ms > 0 && ms.is_multiple_of(*size)) {
            Some((size, unit)) => write!(f, "{}{unit}", ms / size),
            None => write!(f, "{ms}ms"),
        }
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = HumanDuration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length of time with its unit, such as `30s` or `5m`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<HumanDuration, E> {
                HumanDuration::parse(text).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<HumanDuration, E> {
                HumanDuration::parse(&number.to_string()).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A number of instances, or a share of all of them: `2` or `"25%"`.
///
/// In a JSON Schema: `{"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9]+%$"}]}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many.
    Count(u32),
    /// So many of a hundred.
    Percent(u32),
}

impl Amount {
    /// How many of `total`, a share rounded up.
    pub fn of_rounded_up(self, total: u32) -> u32 {
        match self {
            Amount::Count(count) => count,
            Amount::Percent(percent) => saturate((u64::from(total) * u64::from(percent)).div_ceil(100)),
        }
    }

    /// How many of `total`, a share rounded down.
    pub fn of_rounded_down(self, total: u32) -> u32 {
        match self {
            Amount::Count(count) => count,
            Amount::Percent(percent) => saturate(u64::from(total) * u64::from(percent) / 100),
        }
    }

    /// Whether it is nothing, of whatever total.
    pub fn is_zero(self) -> bool {
        matches!(self, Amount::Count(0) | Amount::Percent(0))
    }
}

fn saturate(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Amount::Count(count) => write!(f, "{count}"),
            Amount::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number such as `2`, or a percentage such as `25%`")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Amount, E> {
                u32::try_from(number).map(Amount::Count).map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
                let percent = text.strip_suffix('%').and_then(|number| number.trim().parse().ok());
                percent.map(Amount::Percent).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Amount::Count(count) => serializer.serialize_u32(*count),
            Amount::Percent(_) => serializer.collect_str(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(HumanDuration::parse("5m").unwrap().0, Duration::from_secs(300));
        assert_eq!(HumanDuration::parse("500ms").unwrap().to_string(), "500ms");
        assert_eq!(HumanDuration::parse("90s").unwrap().to_string(), "90s");
        assert_eq!(HumanDuration::parse("0s").unwrap().to_string(), "0ms");
        assert!(HumanDuration::parse("30").unwrap_err().contains("write `30s`"));
        assert!(serde_json::from_str::<HumanDuration>("30").unwrap_err().to_string().contains("write `30s`"));
        for wrong in ["", "s", "1.5s", "5 m", "-1s", "99999999999999999999s", "18446744073709551615d"] {
            assert!(HumanDuration::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn shares_round_as_asked() {
        let quarter: Amount = serde_json::from_str("\"25%\"").unwrap();
        assert_eq!((quarter.of_rounded_up(5), quarter.of_rounded_down(5)), (2, 1));
        assert_eq!((quarter.of_rounded_up(1), quarter.of_rounded_down(1)), (1, 0));
        assert_eq!(serde_json::from_str::<Amount>("3").unwrap(), Amount::Count(3));
        assert!(serde_json::from_str::<Amount>("\"3\"").is_err());
        assert!(serde_json::from_str::<Amount>("-1").is_err());
    }
}
