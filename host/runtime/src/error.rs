//! What a failed call says: what happened, in which plugin and call, what it wrote and did last.

use crate::call::CallReport;
use basb_capabilities::exchange::Divergence;
use basb_core::Digest;
use basb_redact::Redactor;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What ended a call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The plugin panicked; its own words.
    Panic(String),
    /// It did something impossible; wasmtime's words and the innermost functions.
    Trap(String),
    /// Its time was up: what it had the host do last may have had an effect.
    TimedOut(Duration),
    /// It wanted more memory than it may have, in bytes.
    Memory {
        /// What it wanted in all.
        wanted: usize,
        /// What it may have.
        limit: usize,
    },
    /// Its calls went too deep.
    Stack,
    /// A result, or the arguments of a host call, were larger than may be passed.
    TooLarge {
        /// The limit, in bytes and elements.
        limit: usize,
    },
    /// It held more handles of resources, such as streams, than it may.
    Handles {
        /// The limit.
        limit: usize,
    },
    /// It wrote more to the log than a call may.
    LogFlood(String),
    /// It has no such function, or one of another type: it was built for another version of the interface.
    Interface(String),
    /// It is not the call that is on its tape.
    Diverged(Box<Divergence>),
    /// Its tape, which is all that there is, ends where the call was cut off.
    CutOff,
    /// What it wanted to do could not be written down first, so it was not done.
    NotDurable(String),
    /// The host itself failed.
    Host(String),
}

impl Failure {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Panic(_) => "plugin/panic",
            Self::Trap(_) => "plugin/trap",
            Self::TimedOut(_) => "plugin/timed-out",
            Self::Memory { .. } => "plugin/memory",
            Self::Stack => "plugin/stack",
            Self::TooLarge { .. } => "plugin/too-large",
            Self::Handles { .. } => "plugin/handles",
            Self::LogFlood(_) => "plugin/log-flood",
            Self::Interface(_) => "plugin/interface",
            Self::Diverged(_) => "tape/diverged",
            Self::CutOff => "tape/cut-off",
            Self::NotDurable(_) => "tape/not-durable",
            Self::Host(_) => "host/call",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self {
            Self::Panic(_) | Self::Trap(_) | Self::Stack => {
                "this is an error in the plugin: report it to its publisher"
            }
            Self::TimedOut(_) => {
                "see its last host calls for what it was waiting for; a longer timeout helps if the counterpart is slow"
            }
            Self::Memory { .. } | Self::TooLarge { .. } | Self::Handles { .. } | Self::LogFlood(_) => {
                "the plugin works on more than it may: narrow its configuration, or report it to its publisher"
            }
            Self::Interface(_) => "build the plugin with the current SDK",
            Self::Diverged(_) => {
                "the plugin does not do the same twice: report it to its publisher, with `basb-host tape export`"
            }
            Self::CutOff => "nothing is known of the call after that",
            Self::NotDurable(_) => {
                "see whether another runner took over (`basb-host status`), and the disk of the journal"
            }
            Self::Host(_) => "this is an error in basb-host or on this machine",
        }
    }
}

impl Failure {
    /// The same without any secret that the redactor knows: a plugin may have made its last words of an answer.
    pub(crate) fn redacted(self, redactor: &Redactor) -> Self {
        let clean = |text: String| match redactor.text(&text) {
            Cow::Borrowed(_) => text,
            Cow::Owned(clean) => clean,
        };
        match self {
            Self::Panic(text) => Self::Panic(clean(text)),
            Self::Trap(text) => Self::Trap(clean(text)),
            Self::LogFlood(text) => Self::LogFlood(clean(text)),
            Self::Interface(text) => Self::Interface(clean(text)),
            Self::Host(text) => Self::Host(clean(text)),
            Self::NotDurable(text) => Self::NotDurable(clean(text)),
            // Both sides of a divergence were redacted before they were compared.
            Self::TimedOut(_)
            | Self::Memory { .. }
            | Self::Stack
            | Self::TooLarge { .. }
            | Self::Handles { .. }
            | Self::Diverged(_)
            | Self::CutOff => self,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mb = |bytes: usize| bytes.div_ceil(1 << 20);
        match self {
            Self::Panic(message) => write!(f, "panicked: {message}"),
            Self::Trap(what) => write!(f, "trapped: {what}"),
            Self::TimedOut(after) => write!(f, "was cut off after {} ms", after.as_millis()),
            Self::Memory { wanted, limit } => {
                write!(f, "wanted {} MiB of memory and may have {} MiB", mb(*wanted), mb(*limit))
            }
            Self::Stack => f.write_str("called itself too deeply: its stack is used up"),
            Self::TooLarge { limit } => write!(f, "passed more than {} MiB at once", mb(*limit)),
            Self::Handles { limit } => write!(f, "held more than {limit} handles at once"),
            Self::LogFlood(what) => write!(f, "wrote {what}"),
            Self::Interface(what) => write!(f, "does not fit this host: {what}"),
            Self::Diverged(divergence) => write!(f, "is not the call on its tape: {divergence}"),
            Self::CutOff => f.write_str("came to where the call on its tape was cut off"),
            Self::NotDurable(why) => write!(f, "was stopped before it changed anything more: {why}"),
            Self::Host(what) => write!(f, "could not be called: {what}"),
        }
    }
}

/// A call that did not end well.
#[derive(Debug, Clone, thiserror::Error)]
#[error("plugin `{plugin}` ({}) {failure}, in `{call}`", digest.short())]
pub struct CallError {
    /// What ended it.
    pub failure: Failure,
    /// The plugin's name in the deployment file.
    pub plugin: Arc<str>,
    /// The digest of its bytes.
    pub digest: Arc<Digest>,
    /// The function that was called.
    pub call: &'static str,
    /// How long it took, what it did and wrote last.
    pub report: Box<CallReport>,
}

impl CallError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.failure.code()
    }

    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> &'static str {
        self.failure.help()
    }

    /// `name@digest`, the digest shortened.
    #[must_use]
    pub fn subject(&self) -> String {
        format!("{}@{}", self.plugin, self.digest.short())
    }

    /// What the plugin wrote and did last, a line each, oldest first.
    #[must_use]
    pub fn evidence(&self) -> Vec<String> {
        let calls =
            self.report.last_calls.iter().map(|call| format!("{}: {} -> {}", call.capability, call.what, call.outcome));
        let lines = self
            .report
            .last_lines
            .iter()
            .map(|line| format!("log: {}", basb_capabilities::printable(&line.text, 1000)));
        calls.chain(lines).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use basb_redact::{SecretName, SecretValue};

    #[test]
    fn last_words_hold_no_secret() {
        let redactor = Redactor::default();
        redactor.learn(&SecretName::new("token").unwrap(), &SecretValue::new("s3cr3t-t0ken-value")).unwrap();
        let text = || "the answer was s3cr3t-t0ken-value".to_owned();
        for failure in [
            Failure::Panic(text()),
            Failure::Trap(text()),
            Failure::LogFlood(text()),
            Failure::Interface(text()),
            Failure::Host(text()),
        ] {
            let code = failure.code();
            let shown = failure.redacted(&redactor);
            assert_eq!(shown.code(), code);
            assert!(!format!("{shown} {shown:?}").contains("s3cr3t"), "{shown}");
        }
        assert_eq!(Failure::Panic("fine".to_owned()).redacted(&redactor), Failure::Panic("fine".to_owned()));
    }
}
