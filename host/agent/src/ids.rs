//! Checked names and numbers: services, revisions, instances, weights.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a name or number was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a {what}: {why}")]
pub struct InvalidId {
    /// What it should have been, e.g. `service name`.
    pub what: &'static str,
    /// What was given.
    pub given: String,
    /// The rule it breaks.
    pub why: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $extra:expr, $why:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks and wraps a name.
            ///
            /// # Errors
            /// [`InvalidId`] with the rule that the name breaks.
            pub fn new(name: impl Into<String>) -> Result<Self, InvalidId> {
                let name = name.into();
                let extra: fn(u8) -> bool = $extra;
                let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || extra(b);
                let starts = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
                if starts && name.len() <= $max && name.bytes().all(good) {
                    Ok(Self(name))
                } else {
                    Err(InvalidId { what: $what, given: name, why: $why })
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(name: String) -> Result<Self, InvalidId> {
                Self::new(name)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidId;
            fn try_from(name: &str) -> Result<Self, InvalidId> {
                Self::new(name)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(name: &str) -> Result<Self, InvalidId> {
                Self::new(name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}

name!(
    /// The name of a service: `[a-z0-9][a-z0-9.-]{0,127}`.
    ServiceName,
    "service name",
    128,
    |b| b == b'.' || b == b'-',
    "it must be 1 to 128 of a-z, 0-9, `.` and `-`, and start with a letter or digit"
);

name!(
    /// The id of a revision of a service: `[a-z0-9][a-z0-9-]{0,63}`.
    RevisionId,
    "revision id",
    64,
    |b| b == b'-',
    "it must be 1 to 64 of a-z, 0-9 and `-`, and start with a letter or digit"
);

/// The number of an instance within its revision, from 0; it stays the same when the instance is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(pub u32);

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A share of a service's traffic, in hundredths of a percent: 0 to 10000.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Weight(u16);

impl Weight {
    /// No traffic.
    pub const ZERO: Self = Self(0);
    /// All of the traffic.
    pub const FULL: Self = Self(10_000);

    /// Checks and wraps a share, in hundredths of a percent.
    ///
    /// # Errors
    /// [`InvalidId`] over 10000.
    pub fn new(hundredths: u16) -> Result<Self, InvalidId> {
        if hundredths <= Self::FULL.0 {
            Ok(Self(hundredths))
        } else {
            Err(InvalidId {
                what: "weight",
                given: hundredths.to_string(),
                why: "it is in hundredths of a percent, 0 to 10000",
            })
        }
    }

    /// The share in hundredths of a percent.
    #[must_use]
    pub fn hundredths(self) -> u16 {
        self.0
    }

    /// Whether the share is nothing at all.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02} %", self.0 / 100, self.0 % 100)
    }
}

impl TryFrom<u16> for Weight {
    type Error = InvalidId;
    fn try_from(hundredths: u16) -> Result<Self, InvalidId> {
        Self::new(hundredths)
    }
}

impl From<Weight> for u16 {
    fn from(weight: Weight) -> u16 {
        weight.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_folder_are_refused() {
        for bad in ["", ".", "..", "../x", "a/b", "-a", ".a", "A", "a b", "ä"] {
            assert!(ServiceName::new(bad).is_err(), "{bad}");
            assert!(RevisionId::new(bad).is_err(), "{bad}");
        }
        assert!(ServiceName::new("mail.search-1").is_ok());
        assert!(RevisionId::new("mail.search").is_err());
        assert!(ServiceName::new("a".repeat(128)).is_ok());
        assert!(ServiceName::new("a".repeat(129)).is_err());
        assert!(RevisionId::new("a".repeat(65)).is_err());
    }

    #[test]
    fn weights_stop_at_everything() {
        assert!(Weight::new(10_001).is_err());
        assert_eq!(Weight::new(1_234).unwrap().to_string(), "12.34 %");
    }
}
