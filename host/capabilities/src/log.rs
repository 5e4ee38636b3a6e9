//! Writing to the host's log: needs no grant, but is bounded.
//!
//! Stops a plugin from filling the disk or the terminal, and from forging lines or repainting the screen with control
//! characters, and from writing a secret there that reached it in spite of everything.

use crate::record::Taken;
use crate::{CallScope, Limits, LogLevel, LogLine, printable};
use basb_redact::Redactor;

/// The call has written more than its share; the host ends it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("more than {limit} bytes of log in one call")]
pub struct LogExhausted {
    /// The bound, in bytes.
    pub limit: u64,
}

/// Whether a line is shown to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Yes,
    No,
}

/// The host's log.
#[derive(Debug)]
pub struct Log {
    limits: Limits,
    redactor: Redactor,
}

impl Log {
    pub(crate) fn new(limits: Limits, redactor: Redactor) -> Self {
        Self { limits, redactor }
    }

    /// Writes one line: the one choke point of this capability. Returns the line as it was written.
    ///
    /// # Errors
    /// [`LogExhausted`] once the call has written more than `Limits::log_bytes`.
    pub fn write(&self, scope: &CallScope, level: LogLevel, message: &str) -> Result<String, LogExhausted> {
        self.write_for(scope, level, message, Shown::Yes)
    }

    /// The same for a line that a call writes once more because it is played back: bounded and kept, not shown again.
    ///
    /// # Errors
    /// As [`Log::write`].
    pub(crate) fn write_again(
        &self,
        scope: &CallScope,
        level: LogLevel,
        message: &str,
    ) -> Result<String, LogExhausted> {
        self.write_for(scope, level, message, Shown::No)
    }

    fn write_for(
        &self,
        scope: &CallScope,
        level: LogLevel,
        message: &str,
        shown: Shown,
    ) -> Result<String, LogExhausted> {
        let limit = self.limits.log_bytes;
        // The empty line costs something too, or a loop of them would be free.
        let cost = (message.len() as u64).saturating_add(16);
        if scope.counters.take_log_bytes(cost, limit) == Taken::Exhausted {
            return Err(LogExhausted { limit });
        }
        // Before it is cut off or escaped: a secret in two halves, or with an escaped line end, would not be known again.
        let text = printable(&self.redactor.text(message), self.limits.log_line_bytes);
        let (plugin, call) = (&*scope.caller.plugin, scope.caller.call);
        match level {
            _ if shown == Shown::No => {}
            LogLevel::Debug => tracing::debug!(target: "basb::plugin", plugin, call, "{text}"),
            LogLevel::Info => tracing::info!(target: "basb::plugin", plugin, call, "{text}"),
            LogLevel::Warn => tracing::warn!(target: "basb::plugin", plugin, call, "{text}"),
            LogLevel::Error => tracing::error!(target: "basb::plugin", plugin, call, "{text}"),
        }
        scope.counters.keep_line(LogLine { level, text: text.clone() }, self.limits.kept_lines);
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Grants;
    use crate::scope::Caller;
    use basb_core::Digest;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    #[test]
    fn a_flood_ends_and_control_characters_do_not_pass() {
        let caller = Caller { plugin: "p".into(), digest: Arc::new(Digest::of(b"")), call: "check" };
        let scope = CallScope::new(caller, Arc::new(Grants::default()), Instant::now() + Duration::from_secs(60));
        let log = Log::new(Limits::default(), Redactor::default());
        log.write(&scope, LogLevel::Info, "a\r\nb\u{1b}").unwrap();
        assert_eq!(scope.counters.last_lines()[0].text, "a\\u{d}\\u{a}b\\u{1b}");
        let long = "x".repeat(1000);
        let written = (0..10_000).take_while(|_| log.write(&scope, LogLevel::Info, &long).is_ok()).count();
        assert!((200..300).contains(&written), "{written}");
        assert_eq!(scope.counters.last_lines().len(), 20);
    }
}
