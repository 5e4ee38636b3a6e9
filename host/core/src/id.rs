//! Names and identifiers, each a type of its own so that no two can be mistaken for one another.

use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::sync::Arc;

/// Why a name cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a valid {what}: {why}")]
pub struct NameError {
    /// What the name was meant for.
    pub what: &'static str,
    /// The name as given.
    pub name: String,
    /// Which rule it breaks.
    pub why: &'static str,
}

/// The longest name, in bytes. Clouds have shorter ones: Cloud Run services end at 49, ECS families at 255.
pub const MAX_NAME: usize = 63;

/// Checks a name against DNS label rules (RFC 1123 section 2.1): what is a valid name everywhere a service may go.
fn check_label(what: &'static str, name: &str) -> Result<(), NameError> {
    let why = if name.is_empty() {
        "it is empty"
    } else if name.len() > MAX_NAME {
        "it is longer than 63 characters"
    } else if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        "only a-z, 0-9 and `-` may be used"
    } else if name.starts_with('-') || name.ends_with('-') {
        "it must start and end with a letter or a digit"
    } else {
        return Ok(());
    };
    Err(NameError { what, name: name.to_owned(), why })
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// A clone shares the text: names are everywhere in a run of thousands of services.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl $name {
            /// Checks and wraps a name.
            ///
            /// # Errors
            /// [`NameError`] unless it is 1 to 63 of a–z, 0–9 and inner `-`.
            pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
                let name = name.into();
                check_label($what, &name)?;
                Ok(Self(name.into()))
            }

            /// The name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

label!(
    /// The name of a service in the deployment file: what users reach.
    ServiceName,
    "service name"
);
label!(
    /// The name that a deployment file gives to a plugin, a strategy, a probe, an analysis or a notifier.
    PluginName,
    "name"
);
label!(
    /// The id of one immutable version of a service, made from a digest of its workload.
    RevisionId,
    "revision id"
);
label!(
    /// The id of one execution of a deployment.
    RunId,
    "run id"
);

impl RevisionId {
    /// The id of the revision with this workload digest: `r` and the first twelve hexadecimal digits, short enough for
    /// a person to compare and for every cloud's name limit.
    #[must_use]
    pub fn of(digest: &Digest) -> Self {
        Self(format!("r{}", digest.hex().get(..12).unwrap_or_default()).into())
    }
}

/// A SHA-256 digest, written `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// The digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut text = String::with_capacity(71);
        text.push_str("sha256:");
        for byte in Sha256::digest(bytes) {
            text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
            text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
        }
        Self(text)
    }

    /// The whole text, with its prefix.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> &str {
        self.0.strip_prefix("sha256:").unwrap_or_default()
    }

    /// The first twelve hexadecimal digits: what people see.
    #[must_use]
    pub fn short(&self) -> &str {
        self.hex().get(..12).unwrap_or_default()
    }
}

impl TryFrom<String> for Digest {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        let valid = text.strip_prefix("sha256:").is_some_and(|hex| {
            hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        });
        if valid {
            Ok(Self(text))
        } else {
            Err(NameError {
                what: "digest",
                name: text,
                why: "it must be `sha256:` and 64 lower-case hexadecimal digits",
            })
        }
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_dns_labels() {
        for good in ["a", "capture", "a-1", &"x".repeat(63)] {
            assert!(ServiceName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "ä", &"x".repeat(64)] {
            assert!(ServiceName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_digest_is_sha256() {
        // FIPS 180-2, appendix B.1.
        let digest = Digest::of(b"abc");
        assert_eq!(digest.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(RevisionId::of(&digest).as_str(), "rba7816bf8f01");
        assert_eq!(Digest::try_from(digest.as_str().to_owned()).unwrap(), digest);
        assert!(Digest::try_from("sha256:abc".to_owned()).is_err());
    }
}
