//! The bounds of what one call may have the host do.

use std::time::Duration;

/// The bounds of what one call may have the host do. A bound that is reached is an error for the plugin, or the end of
/// the call; never a larger bill for the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// HTTP requests, TCP exchanges, mails and programs of one call together.
    pub requests: u32,
    /// Requests that `send-many` has in flight at once.
    pub parallel_requests: usize,
    /// The largest request body, in bytes.
    pub request_bytes: usize,
    /// The largest response body, in bytes; also what a TCP exchange may read.
    pub response_bytes: usize,
    /// Header lines of a request or a response together, in bytes.
    pub header_bytes: usize,
    /// Header lines of a request or a response.
    pub headers: usize,
    /// The longest wait for a response where the plugin names none, and the longest it can name.
    pub http_timeout: Duration,
    /// The longest wait for a connection.
    pub connect_timeout: Duration,
    /// The largest file that can be read or written, in bytes.
    pub file_bytes: u64,
    /// The most entries of one folder.
    pub folder_entries: usize,
    /// Output and error output of a program, each, in bytes.
    pub output_bytes: usize,
    /// Log lines of one call together, in bytes.
    pub log_bytes: u64,
    /// The longest log line, in bytes; the rest is cut off.
    pub log_line_bytes: usize,
    /// Log lines that are kept to be shown with an error.
    pub kept_lines: usize,
    /// Host calls that are shown with an error.
    pub kept_calls: usize,
    /// Host calls of one call over all capabilities, the log aside. Each is recorded; one more is refused.
    pub host_calls: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests: 1000,
            parallel_requests: 16,
            request_bytes: 8 << 20,
            response_bytes: 8 << 20,
            header_bytes: 64 << 10,
            headers: 100,
            http_timeout: Duration::from_mins(1),
            connect_timeout: Duration::from_secs(10),
            file_bytes: 16 << 20,
            folder_entries: 10_000,
            output_bytes: 4 << 20,
            log_bytes: 256 << 10,
            log_line_bytes: 8 << 10,
            kept_lines: 20,
            kept_calls: 20,
            host_calls: 2000,
        }
    }
}
