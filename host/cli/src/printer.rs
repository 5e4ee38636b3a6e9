//! The one printer: data to standard output, everything else to standard error.

use crate::args::{ColorWhen, Global};
use basb_redact::Redactor;
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::sync::OnceLock;

/// Every secret that this process has read: nothing is printed with one in it.
pub fn secrets() -> &'static Redactor {
    static SECRETS: OnceLock<Redactor> = OnceLock::new();
    SECRETS.get_or_init(Redactor::default)
}

/// Standard error for the log, without secrets. A line comes whole: the subscriber writes each with one call.
#[derive(Debug, Clone, Copy)]
pub struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        std::io::stderr().lock().write_all(&secrets().bytes(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().lock().flush()
    }
}

/// Whether data is for people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Text.
    Text,
    /// JSON.
    Json,
}

/// The one printer.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    form: Form,
    quiet: Quiet,
}

/// Whether to say anything but data and errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quiet {
    Yes,
    No,
}

impl Printer {
    /// Sets colours up for the whole process.
    pub fn new(global: &Global) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let (out, err) = match global.color {
            ColorWhen::Always => (true, true),
            ColorWhen::Never => (false, false),
            ColorWhen::Auto if no_color => (false, false),
            ColorWhen::Auto => (std::io::stdout().is_terminal(), std::io::stderr().is_terminal()),
        };
        console::set_colors_enabled(out);
        console::set_colors_enabled_stderr(err);
        Self {
            form: if global.json { Form::Json } else { Form::Text },
            quiet: if global.quiet { Quiet::Yes } else { Quiet::No },
        }
    }

    /// Whether data is wanted as JSON.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Whether standard error takes a live view.
    pub fn can_draw(&self) -> bool {
        self.form == Form::Text
            && self.quiet == Quiet::No
            && std::io::stderr().is_terminal()
            && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
    }

    /// One line of data.
    pub fn line(&self, text: &str) {
        put(&mut std::io::stdout().lock(), &[text, "\n"]);
    }

    /// Data as it is.
    pub fn raw(&self, bytes: &[u8]) {
        let mut out = std::io::stdout().lock();
        if out.write_all(&secrets().bytes(bytes)).and_then(|()| out.flush()).is_err() {
            gone();
        }
    }

    /// One JSON document on a line of its own.
    pub fn json<T: Serialize>(&self, value: &T) {
        match serde_json::to_string(value) {
            Ok(text) => self.line(&text),
            Err(e) => self.error(&format!("the output cannot be written as JSON: {e}")),
        }
    }

    /// JSON documents, each on a line of its own, in one go.
    pub fn json_lines<T: Serialize>(&self, values: &[T]) {
        match values.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>() {
            Ok(lines) => self.line(&lines.join("\n")),
            Err(e) => self.error(&format!("the output cannot be written as JSON: {e}")),
        }
    }

    /// One JSON document for people to look at.
    pub fn json_pretty<T: Serialize>(&self, value: &T) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.line(&text),
            Err(e) => self.error(&format!("the output cannot be written as JSON: {e}")),
        }
    }

    /// Something for people beside the data.
    pub fn note(&self, text: &str) {
        if self.quiet == Quiet::No {
            put(&mut std::io::stderr().lock(), &[text, "\n"]);
        }
    }

    /// Something that went wrong.
    pub fn error(&self, text: &str) {
        put(&mut std::io::stderr().lock(), &[text, "\n"]);
    }
}

fn put(to: &mut impl Write, parts: &[&str]) {
    let written =
        parts.iter().try_for_each(|part| to.write_all(secrets().text(part).as_bytes())).and_then(|()| to.flush());
    if written.is_err() {
        gone();
    }
}

/// Whoever read our output has gone, as `head` does: that is no error.
fn gone() -> ! {
    std::process::exit(0)
}
