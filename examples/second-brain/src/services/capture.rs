//! capture: takes notes into the Inbox.

use jiff::Timestamp;
use rmcp::{
    handler::server::wrapper::{Json, Parameters},
    tool, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Brain, Listing, limit, list_folder};
use crate::vault::{Folder, NewNote, NoteId, VaultError, one_line, path_of, text};

const MAX_QUOTE_BYTES: usize = 16 * 1024;
const MAX_AUTHOR_CHARS: usize = 200;
/// How much of a quote becomes its note's title.
const QUOTE_TITLE_CHARS: usize = 60;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CaptureNote {
    /// One line, at most 200 characters.
    title: String,
    /// Markdown, at most 256 KiB.
    body: String,
    /// Where it comes from, such as a URL.
    source: Option<String>,
    /// Tags without `#`, at most 20.
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CaptureQuote {
    /// The words, at most 16 KiB.
    quote: String,
    /// Who said or wrote them.
    author: String,
    /// Where they come from, such as a URL.
    source: Option<String>,
    /// Why they matter.
    comment: Option<String>,
    /// Tags without `#`, at most 20.
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListInbox {
    /// From 1 to 200; 20 when not given.
    limit: Option<u32>,
}

/// A stored note.
#[derive(Debug, Serialize, JsonSchema)]
struct Captured {
    /// The name to use in other calls and in wiki links.
    note: NoteId,
    /// Where it is in the vault.
    path: String,
}

impl Captured {
    fn new(note: NoteId) -> Self {
        Self { path: path_of(Folder::Inbox, &note), note }
    }
}

#[tool_router(router = capture_tools, vis = "pub(super)")]
impl Brain {
    /// Store a new note in the Inbox.
    #[tool(annotations(
        title = "Capture a note",
        read_only_hint = false,
        destructive_hint = false,
        idempotent_hint = false,
        open_world_hint = false
    ))]
    async fn capture_note(&self, Parameters(given): Parameters<CaptureNote>) -> Result<Json<Captured>, VaultError> {
        let note = NewNote::parse(&given.title, &given.body, given.source.as_deref(), &given.tags, now())?;
        self.with_vault(move |vault| vault.create(Folder::Inbox, &note).map(Captured::new)).await
    }

    /// Store a quotation with its author in the Inbox.
    #[tool(annotations(
        title = "Capture a quotation",
        read_only_hint = false,
        destructive_hint = false,
        idempotent_hint = false,
        open_world_hint = false
    ))]
    async fn capture_quote(&self, Parameters(given): Parameters<CaptureQuote>) -> Result<Json<Captured>, VaultError> {
        let note = quote_note(&given)?;
        self.with_vault(move |vault| vault.create(Folder::Inbox, &note).map(Captured::new)).await
    }

    /// List the notes that wait in the Inbox, newest first.
    #[tool(annotations(
        title = "List the Inbox",
        read_only_hint = true,
        destructive_hint = false,
        idempotent_hint = true,
        open_world_hint = false
    ))]
    async fn list_inbox(&self, Parameters(given): Parameters<ListInbox>) -> Result<Json<Listing>, VaultError> {
        let limit = limit(given.limit)?;
        self.with_vault(move |vault| list_folder(vault, Folder::Inbox, limit)).await
    }
}

fn quote_note(given: &CaptureQuote) -> Result<NewNote, VaultError> {
    let quote = text("quote", &given.quote, MAX_QUOTE_BYTES)?;
    let author = one_line("author", &given.author, MAX_AUTHOR_CHARS)?;
    let mut body = String::new();
    for line in quote.trim().lines() {
        body.push_str(format!("> {line}").trim_end());
        body.push('\n');
    }
    body.push_str(&format!(">\n> — {author}\n"));
    if let Some(comment) = given.comment.as_deref() {
        let comment = text("comment", comment, MAX_QUOTE_BYTES)?;
        body.push_str(&format!("\n{}\n", comment.trim()));
    }
    let words = quote.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut start: String = words.chars().take(QUOTE_TITLE_CHARS).collect();
    if start.len() < words.len() {
        start.push('…');
    }
    // The author is the part that must stay readable: long ones are cut with the title's limit.
    let who: String = author.chars().take(QUOTE_TITLE_CHARS).collect();
    let title = format!("{who}: {start}");
    NewNote::parse(&title, &body, given.source.as_deref(), &given.tags, now())
}

/// Whole seconds: enough for a note, and easier to read.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_becomes_a_block_quote() {
        let note = quote_note(&CaptureQuote {
            quote: "Your mind is for having ideas,\n\nnot holding them.".into(),
            author: "David Allen".into(),
            source: None,
            comment: Some(" Why we capture. ".into()),
            tags: vec!["gtd".into()],
        })
        .unwrap();
        assert_eq!(
            note.body,
            "> Your mind is for having ideas,\n>\n> not holding them.\n>\n> — David Allen\n\n\
             Why we capture.\n"
        );
        assert_eq!(note.title.as_str(), "David Allen: Your mind is for having ideas, not holding them.");
    }
}
