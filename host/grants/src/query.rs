//! A parameter of a query that turns a request into one that only reads, such as `dryRun=All`.
//!
//! Stops a request from passing for a read by a parameter that the server reads otherwise: the parameter counts only when
//! it stands there as it is written, once, and nothing else in the query could be taken for it. For a `DELETE` it never counts:
//! Kubernetes takes the options of a removal from its body, where it has one, and not from the query.

use crate::PatternError;
use std::fmt;

/// One parameter with its value: `dryRun=All`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryParameter {
    name: String,
    value: String,
}

impl QueryParameter {
    /// Reads `NAME=VALUE`.
    ///
    /// # Errors
    /// [`PatternError`] for anything else, and for what would have to be encoded in a URL.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let plain = |part: &str| {
            !part.is_empty()
                && part.len() <= 100
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
        };
        match text.split_once('=') {
            Some((name, value)) if plain(name) && plain(value) => {
                Ok(Self { name: name.to_owned(), value: value.to_owned() })
            }
            _ => Err(PatternError {
                message: format!("`{text}` is not a parameter with its value"),
                help: "write name and value as they stand in the URL, such as `dryRun=All`; nothing in it is wild"
                    .to_owned(),
            }),
        }
    }

    /// Whether a query, as it goes out, says this beyond doubt: exactly this pair, exactly once. Another parameter of the
    /// same name in whatever letters, and one whose name is encoded, leave a doubt; so does a `;`, at which some servers
    /// split.
    #[must_use]
    pub fn covers(&self, query: &str) -> bool {
        let mut found = 0;
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if name == self.name && value == self.value {
                found += 1;
            } else if name.contains(['%', '+']) || pair.contains(';') || name.eq_ignore_ascii_case(&self.name) {
                return false;
            }
        }
        found == 1
    }
}

impl fmt::Display for QueryParameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_what_leaves_no_doubt_is_covered() {
        let dry = QueryParameter::parse("dryRun=All").unwrap();
        for good in ["dryRun=All", "fieldManager=x&dryRun=All&force=false", "a=%20b&dryRun=All"] {
            assert!(dry.covers(good), "{good}");
        }
        for bad in [
            "",
            "dryRun",
            "dryRun=",
            "dryRun=all",
            "dryRun=All1",
            "dryRun=All&dryRun=All",
            "dryRun=All&dryRun=",
            "dryRun=&dryRun=All",
            "dryrun=All",
            "dryRun=All&DRYRUN=None",
            "%64ryRun=All",
            "dryRun=All&%64ryRun=None",
            "dryRun=%41ll",
            "dryRun=All;force=true",
            "dryRun=All&x=1;dryRun=None",
            "x=dryRun=All",
            "dryRun+=All",
        ] {
            assert!(!dry.covers(bad), "{bad}");
        }
        for wrong in ["", "dryRun", "=All", "dryRun=", "dry*=All", "a=b&c=d", "a=b=c", "a=%41"] {
            assert!(QueryParameter::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(dry.to_string(), "dryRun=All");
    }

    proptest! {
        #[test]
        fn nothing_is_covered_without_the_very_pair(query in "[a-zA-Z=&;%+0-9]{0,30}") {
            let dry = QueryParameter::parse("dryRun=All").unwrap();
            let pairs = query.split('&').filter(|pair| *pair == "dryRun=All").count();
            prop_assert!(!dry.covers(&query) || pairs == 1);
        }
    }
}
