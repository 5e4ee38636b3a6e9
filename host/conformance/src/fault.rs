//! The faults, and what is expected of a plugin that meets one.

use std::fmt;

/// Something that goes wrong at one exchange. Unless it says otherwise it happens once: the counterpart is well before and
/// afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The connection breaks before the request had its effect.
    ResetBefore,
    /// The request has its effect, and the connection breaks before the answer is there.
    ResetAfter,
    /// 429 with `retry-after`; no effect.
    ThrottledRetryAfter,
    /// 429 without a word of when to come back; no effect.
    Throttled,
    /// 500; no effect.
    ServerError,
    /// 503; no effect.
    Unavailable,
    /// The request has its effect; no answer in time.
    TimeOut,
    /// The request has its effect; the answer's body ends in the middle, and nothing says so.
    Truncated,
    /// The request has its effect; the answer's body is something else, as a proxy's page.
    Malformed,
    /// The request has its effect; the answer is larger than the host lets in.
    Huge,
    /// A read shows what was there before the last change.
    StaleRead,
    /// 403, now and as often as it is asked for, until the operation has failed.
    Refused,
    /// 503 in the same way; no effect.
    UnavailableLasting,
    /// The connection breaks before the request had its effect, in the same way.
    ResetLasting,
    /// The host is killed when the request is written down and not sent yet.
    KillBefore,
    /// The host is killed when the request has had its effect and its answer is not known yet.
    KillAfter,
}

/// What is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The operation comes to the same end, by the engine's own attempts at the most.
    TheSame,
    /// That, or a failure with a code that is final; begun once more, as a new run would, it comes to the same end.
    TheSameOrFinal,
}

/// At which door an exchange is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoorKind {
    /// `http`.
    Http,
    /// `tcp`.
    Tcp,
    /// `files`.
    Files,
}

/// What is known of an exchange of the fault-free run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// At which door.
    pub door: DoorKind,
    /// Method and URL, or what was asked for in one line.
    pub what: String,
    /// Whether it only reads.
    pub reads: bool,
    /// How long the body of the answer is, in bytes.
    pub answer: usize,
}

impl Fault {
    /// All of them, in the order of the tables.
    pub const ALL: [Self; 16] = [
        Self::ResetBefore,
        Self::ResetAfter,
        Self::ThrottledRetryAfter,
        Self::Throttled,
        Self::ServerError,
        Self::Unavailable,
        Self::TimeOut,
        Self::Truncated,
        Self::Malformed,
        Self::Huge,
        Self::StaleRead,
        Self::Refused,
        Self::UnavailableLasting,
        Self::ResetLasting,
        Self::KillBefore,
        Self::KillAfter,
    ];

    /// Its name on the command line and in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::ResetBefore => "reset-before",
            Self::ResetAfter => "reset-after",
            Self::ThrottledRetryAfter => "429-retry-after",
            Self::Throttled => "429",
            Self::ServerError => "500",
            Self::Unavailable => "503",
            Self::TimeOut => "time-out",
            Self::Truncated => "truncated",
            Self::Malformed => "malformed",
            Self::Huge => "huge",
            Self::StaleRead => "stale-read",
            Self::Refused => "403",
            Self::UnavailableLasting => "503-lasting",
            Self::ResetLasting => "reset-lasting",
            Self::KillBefore => "kill-before",
            Self::KillAfter => "kill-after",
        }
    }

    /// The fault of that name.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.word() == word)
    }

    /// What is expected of a plugin that meets it.
    #[must_use]
    pub fn expected(self) -> Expected {
        match self {
            // The same answer would come again, what is forbidden stays forbidden, and what lasts outlasts every attempt.
            Self::Huge | Self::Refused | Self::UnavailableLasting | Self::ResetLasting => Expected::TheSameOrFinal,
            _ => Expected::TheSame,
        }
    }

    /// Whether who meets it can see that something is wrong: an old answer looks like any other, and who is killed sees
    /// nothing.
    #[must_use]
    pub fn shows(self) -> bool {
        !matches!(self, Self::StaleRead | Self::KillBefore | Self::KillAfter)
    }

    /// Whether it goes on until the operation has failed.
    #[must_use]
    pub fn lasts(self) -> bool {
        matches!(self, Self::Refused | Self::UnavailableLasting | Self::ResetLasting)
    }

    /// Whether it can happen at an exchange.
    #[must_use]
    pub fn fits(self, seen: &Seen) -> bool {
        match (self, seen.door) {
            (Self::Truncated | Self::Malformed, DoorKind::Http | DoorKind::Tcp) => seen.answer > 1,
            (Self::StaleRead, DoorKind::Http) => seen.reads,
            (Self::StaleRead, DoorKind::Tcp) => false,
            (_, DoorKind::Http) => true,
            (
                Self::ResetBefore
                | Self::ResetAfter
                | Self::ResetLasting
                | Self::TimeOut
                | Self::KillBefore
                | Self::KillAfter,
                DoorKind::Tcp,
            ) => true,
            (_, DoorKind::Tcp) => false,
            (Self::ResetAfter, DoorKind::Files) => !seen.reads,
            (
                Self::ResetBefore
                | Self::ResetLasting
                | Self::Huge
                | Self::Refused
                | Self::KillBefore
                | Self::KillAfter,
                DoorKind::Files,
            ) => true,
            (Self::StaleRead, DoorKind::Files) => seen.reads,
            (_, DoorKind::Files) => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back_and_unlike_one_another() {
        for fault in Fault::ALL {
            assert_eq!(Fault::from_word(fault.word()), Some(fault));
        }
        assert_eq!(Fault::from_word("500 "), None);
    }

    #[test]
    fn what_can_be_repeated_is_expected_to_come_to_the_same_end() {
        let final_ones: Vec<_> = Fault::ALL.into_iter().filter(|f| f.expected() != Expected::TheSame).collect();
        assert_eq!(final_ones, [Fault::Huge, Fault::Refused, Fault::UnavailableLasting, Fault::ResetLasting]);
    }
}
