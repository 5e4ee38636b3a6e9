//! In which ways a call that is made again differs from its tape.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest question that is shown, in bytes.
const SHOWN: usize = 600;

/// The way in which two calls differ first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// It asks for the same, in another order.
    Reordered,
    /// It does not ask for something that is on the tape.
    Missing,
    /// It writes other lines to the log.
    OtherLog,
    /// It is called with other arguments.
    OtherArguments,
    /// It asks for the same and comes to another result.
    OtherResult,
    /// It reads something that is not on the tape.
    ExtraRead,
    /// It changes something outside that is not on the tape.
    ExtraWrite,
}

impl Class {
    /// The word for it, as in its JSON form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reordered => "reordered",
            Self::Missing => "missing",
            Self::OtherLog => "other-log",
            Self::OtherArguments => "other-arguments",
            Self::OtherResult => "other-result",
            Self::ExtraRead => "extra-read",
            Self::ExtraWrite => "extra-write",
        }
    }

    /// What it is, for a person.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Reordered => "asks for the same in another order",
            Self::Missing => "does not ask for what is on the tape",
            Self::OtherLog => "writes another line to the log",
            Self::OtherArguments => "is called with other arguments",
            Self::OtherResult => "comes to another result",
            Self::ExtraRead => "reads what is not on the tape",
            Self::ExtraWrite => "changes something outside that is not on the tape",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a call that is made again first differs from its tape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Divergence {
    /// In which way.
    pub class: Class,
    /// At which exchange, from 1; 0 for the arguments, one more than there are for the result.
    pub exchange: u64,
    /// What is on the tape there; none where it has ended.
    pub expected: Option<String>,
    /// What the call came with; none where it has ended.
    pub actual: Option<String>,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |text: &Option<String>| match text {
            Some(text) => shown(text),
            None => "nothing more".to_owned(),
        };
        let place = match self.class {
            Class::OtherArguments => "the arguments".to_owned(),
            Class::OtherResult => "the result".to_owned(),
            _ => format!("exchange {}", self.exchange),
        };
        let (expected, actual) = (side(&self.expected), side(&self.actual));
        write!(f, "it {} ({place}): expected {expected}, got {actual}", self.class.sentence())
    }
}

/// A text on one line and of bounded length.
fn shown(text: &str) -> String {
    if text.len() <= SHOWN {
        return text.to_owned();
    }
    let end = (0..=SHOWN).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}… ({} bytes)", text.get(..end).unwrap_or_default(), text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_json() {
        for class in [
            Class::Reordered,
            Class::Missing,
            Class::OtherLog,
            Class::OtherArguments,
            Class::OtherResult,
            Class::ExtraRead,
            Class::ExtraWrite,
        ] {
            assert_eq!(serde_json::to_value(class).unwrap(), class.as_str());
            assert!(!class.sentence().is_empty());
        }
    }

    #[test]
    fn a_long_question_is_cut_off_between_characters() {
        let divergence =
            Divergence { class: Class::ExtraWrite, exchange: 3, expected: None, actual: Some("ä".repeat(1000)) };
        let text = divergence.to_string();
        assert!(
            text.contains("exchange 3") && text.contains("nothing more") && text.contains("(2000 bytes)"),
            "{text}"
        );
    }
}
