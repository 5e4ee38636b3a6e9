//! Standard output and error: line by line into the plugin's log, within its bounds.
//!
//! Stops a plugin from writing to the host's terminal or filling its memory by printing.

use super::CHUNK;
use crate::host::{HostStop, Reach};
use basb_capabilities::{LogLevel, printable};
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

/// The longest panic message that is kept, in bytes.
const LONGEST_PANIC: usize = 4096;

/// What the message of a Rust guest's panic is recognised by.
const PANICKED: &str = "panicked at";

/// One of the two outputs of a call; all streams that a guest makes of it write to the same line.
#[derive(Clone)]
pub(super) struct Output(Arc<Mutex<Lines>>);

struct Lines {
    level: LogLevel,
    reach: Option<Reach>,
    /// What stands in the line so far.
    line: Vec<u8>,
    panic: Option<String>,
}

impl Output {
    pub(super) fn new(level: LogLevel, reach: Option<&Reach>) -> Self {
        Self(Arc::new(Mutex::new(Lines { level, reach: reach.cloned(), line: Vec::new(), panic: None })))
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the guest said when it panicked.
    pub(super) fn panic(&self) -> Option<String> {
        let mut lines = self.lines();
        lines.finish();
        lines.panic.take()
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Lines {
    /// The call is over, in whatever way: what stands in an unfinished line is written too.
    fn finish(&mut self) {
        if !self.line.is_empty() {
            // A line too many ends the call no more.
            let _ = self.end();
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), HostStop> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(rest) => {
                    self.line.extend_from_slice(rest);
                    self.end()?;
                }
                None => self.line.extend_from_slice(piece),
            }
            // No newline in sight: the log cuts long lines off, so nothing is kept that it would not show.
            if self.line.len() > CHUNK {
                self.end()?;
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), HostStop> {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        match &mut self.panic {
            Some(panic) if panic.len() < LONGEST_PANIC => {
                panic.push('\n');
                panic.push_str(&printable(&text, LONGEST_PANIC));
            }
            Some(_) => {}
            None if self.level == LogLevel::Warn && text.contains(PANICKED) => {
                self.panic = Some(printable(&text, LONGEST_PANIC));
            }
            None => {}
        }
        if let Some(reach) = &self.reach {
            reach.log(self.level, &text)?;
        }
        Ok(())
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // For WASI 0.3, which is not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.lines().write(&bytes).map_err(|stop| StreamError::Trap(stop.into()))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK)
    }
}
