//! Patterns for AWS actions.
//!
//! Stops a pattern from covering more than it shows: one without a dot is compared with the name of the operation alone,
//! one with a dot with service and operation, and nothing but letters, digits, `_`, `-`, `.`, `*` and `?` can be in it.

use crate::{PatternError, TextPattern};
use std::fmt;

/// AWS actions: `Describe*`, or with the service in front as in `X-Amz-Target`:
/// `AmazonEC2ContainerServiceV20141113.Update*`.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionPattern {
    pattern: TextPattern,
    whole: Part,
}

/// What of an action is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// All of it.
    Whole,
    /// What stands behind the last dot.
    Operation,
}

impl ActionPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`] when it holds a character that no action has.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let plain = !text.is_empty()
            && text.len() <= 200
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.*?".contains(&b));
        if !plain {
            return Err(PatternError {
                message: format!("`{text}` is not an AWS action"),
                help: "write an operation such as `DescribeServices` or `Describe*`, or service and operation as in \
                       `X-Amz-Target`, such as `AmazonEC2ContainerServiceV20141113.UpdateService`"
                    .to_owned(),
            });
        }
        let whole = if text.contains('.') { Part::Whole } else { Part::Operation };
        Ok(Self { pattern: TextPattern::parse(text)?, whole })
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.pattern.as_str()
    }

    /// Whether it covers this action: the whole value of `X-Amz-Target`, or of the parameter `Action`.
    #[must_use]
    pub fn covers(&self, action: &str) -> bool {
        let part = match self.whole {
            Part::Whole => action,
            Part::Operation => action.rsplit('.').next().unwrap_or(action),
        };
        self.pattern.covers(part)
    }
}

impl fmt::Display for ActionPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn covers(pattern: &str, action: &str) -> bool {
        ActionPattern::parse(pattern).unwrap().covers(action)
    }

    #[test]
    fn an_operation_is_covered_with_and_without_its_service() {
        let ecs = "AmazonEC2ContainerServiceV20141113.DescribeServices";
        for (pattern, action, expected) in [
            ("DescribeServices", ecs, true),
            ("DescribeServices", "DescribeServices", true),
            ("Describe*", ecs, true),
            ("Describe*", "DeleteDescribe", false),
            ("Describe*", "Describe.DeleteAll", false),
            ("AmazonEC2ContainerServiceV20141113.Describe*", ecs, true),
            ("AmazonEC2ContainerServiceV20141113.Describe*", "DescribeServices", false),
            ("AmazonEC2ContainerServiceV20141113.Update*", ecs, false),
            ("Other.Describe*", ecs, false),
            ("describeservices", ecs, false),
            ("*", ecs, true),
        ] {
            assert_eq!(covers(pattern, action), expected, "{pattern} {action}");
        }
        for bad in ["", "a b", "Describe{A,B}", "[a]", "a/b", "a\\*", "ä"] {
            assert!(ActionPattern::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_without_wildcards_covers_itself_only(
            wanted in "[A-Za-z0-9]{1,8}(\\.[A-Za-z0-9]{1,8})?",
            other in "[A-Za-z0-9]{1,8}(\\.[A-Za-z0-9]{1,8})?",
        ) {
            prop_assert!(covers(&wanted, &wanted));
            let operation = other.rsplit('.').next().unwrap();
            prop_assert_eq!(covers(&wanted, &other), wanted == other || wanted == operation);
        }
    }
}
