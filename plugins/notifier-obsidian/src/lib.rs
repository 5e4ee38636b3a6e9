//! Keeps a daily DevOps log in an Obsidian vault, and keeps what people write into it.
//!
//! **Must never** change or lose a line that a person wrote, write a line twice for the same event, or write over what
//! somebody else wrote since it read the file.

mod document;
mod lines;
mod time;

use basb_plugin::doors::{Expectation, FilesError};
use basb_plugin::notifier::{Event, Info, Notifier, NotifierContext, Receipt};
use basb_plugin::{Failure, FailureCode};
use serde::Deserialize;
use std::time::Duration;
use time::{Local, Offset};

/// The configuration; its meaning is told in the schema of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// The granted folder.
    pub folder: String,
    /// The log's path in it.
    pub path: String,
    /// The time zone.
    pub utc_offset: Offset,
    /// The tags of a new log.
    pub tags: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            folder: "vault".to_owned(),
            // "deply" is how the users spell the folder that they have.
            path: "agent-workspaces/DevOps/deply-notes/{date} dev-ops-log.md".to_owned(),
            utc_offset: Offset::default(),
            tags: vec!["devops".to_owned(), "basb-host".to_owned()],
        }
    }
}

/// How often a write is tried again when somebody else was faster.
const TRIES: u32 = 5;

/// The notifier.
#[derive(Debug)]
pub struct ObsidianNotifier;

impl Notifier for ObsidianNotifier {
    type Config = Config;

    fn describe() -> Info {
        Info::events([
            "run.*",
            "service.*",
            "probe.measured",
            "analysis.finished",
            "gate.*",
            "drift.found",
            "incident.opened",
            "warning",
        ])
    }

    fn notify(cx: &NotifierContext, config: &Config, event: &Event) -> Result<Receipt, Failure> {
        let local = Local::of(event.at.0, config.utc_offset);
        let path = local.fill(&config.path);
        let lines = lines::of(event, &local);
        for _ in 0..TRIES {
            let found = cx.files().read_if_there(&config.folder, &path).map_err(refusal)?;
            let (before, expect) = match found {
                None => (None, Expectation::Absent),
                Some(file) => (Some(text(file.contents, &path)?), Expectation::Digest(file.digest)),
            };
            let after = document::edit(before.as_deref(), &local.date(), &config.tags, &lines);
            if before.as_deref() == Some(after.as_str()) {
                return Ok(Receipt::new(format!("{path} says so already")));
            }
            match cx.files().write(&config.folder, &path, after.as_bytes(), &expect) {
                Ok(digest) => return Ok(Receipt::new(format!("written to {path}")).extra("digest", digest)),
                // Somebody wrote in the meantime: what they wrote is read, and kept.
                Err(FilesError::Conflict(_)) => {}
                Err(error) => return Err(refusal(error)),
            }
        }
        Err(Failure::conflict(format!("{path} changed {TRIES} times while it was being written"))
            .retry_after(Duration::from_secs(2)))
    }
}

basb_plugin::export!(ObsidianNotifier as notifier);

/// A disk that fails or is full may do so for a while only: the event is delivered later, and not lost.
fn refusal(error: FilesError) -> Failure {
    match error {
        FilesError::Other(_) => Failure::from(error).retry_after(Duration::from_secs(5)),
        error => error.into(),
    }
}

fn text(contents: Vec<u8>, path: &str) -> Result<String, Failure> {
    String::from_utf8(contents).map_err(|_| {
        Failure::new(
            FailureCode::Invalid,
            format!("{path} is no UTF-8 text and was left as it is: move it away"),
            basb_plugin::Retry::Never,
        )
        .at("/path")
    })
}

#[cfg(test)]
mod tests;
