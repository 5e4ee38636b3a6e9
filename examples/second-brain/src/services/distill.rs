//! distill: makes notes shorter, one layer at a time.

use rmcp::{
    handler::server::wrapper::{Json, Parameters},
    tool, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Brain, Listed, Listing, limit};
use crate::{
    text::{self, Marking},
    vault::{Folder, NoteId, NoteRef, VaultError, one_line, shorten},
};

const DEFAULT_POINTS: u32 = 5;
const MAX_POINTS: u32 = 20;
const MAX_PASSAGES: usize = 20;
const MAX_PASSAGE_CHARS: usize = 1000;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReadNote {
    /// The note's name, or `Folder/name` when the name exists twice.
    note: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HighlightNote {
    /// The note's name, or `Folder/name` when the name exists twice.
    note: String,
    /// Passages to highlight, each exactly as it stands in one line of the note; at most 20.
    passages: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DistillNote {
    /// The note's name, or `Folder/name` when the name exists twice.
    note: String,
    /// From 1 to 20; 5 when not given.
    max_points: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DistillQueue {
    /// From 1 to 200; 20 when not given.
    limit: Option<u32>,
}

/// A note with its text.
#[derive(Debug, Serialize, JsonSchema)]
struct Read {
    /// The note.
    #[serde(flatten)]
    listed: Listed,
    /// Its Markdown, without the front matter.
    body: String,
    /// What is highlighted in it.
    highlights: Vec<String>,
}

/// What was highlighted.
#[derive(Debug, Serialize, JsonSchema)]
struct Highlighted {
    /// The note.
    note: NoteId,
    /// How many passages were highlighted now.
    added: usize,
    /// How many had been before.
    already: usize,
    /// Everything that is highlighted in the note.
    highlights: Vec<String>,
}

/// A note's digest.
#[derive(Debug, Serialize, JsonSchema)]
struct Digest {
    /// The note.
    note: NoteId,
    /// Its digest, as it now stands at the top of the note.
    digest: Vec<String>,
    /// True if it was made from highlights, false if from the first sentences.
    from_highlights: bool,
}

#[tool_router(router = distill_tools, vis = "pub(super)")]
impl Brain {
    /// Read a note and what is highlighted in it.
    #[tool(annotations(
        title = "Read a note",
        read_only_hint = true,
        destructive_hint = false,
        idempotent_hint = true,
        open_world_hint = false
    ))]
    async fn read_note(&self, Parameters(given): Parameters<ReadNote>) -> Result<Json<Read>, VaultError> {
        let note = NoteRef::parse(&given.note)?;
        self.with_vault(move |vault| {
            let note = vault.read(&note)?;
            Ok(Read {
                listed: Listed::new(&note),
                body: note.document.body().to_owned(),
                highlights: text::highlights(note.document.body()),
            })
        })
        .await
    }

    /// Highlight passages of a note (`==like this==`). All of them, or none if one is missing.
    #[tool(annotations(
        title = "Highlight passages",
        read_only_hint = false,
        destructive_hint = false,
        idempotent_hint = false,
        open_world_hint = false
    ))]
    async fn highlight_note(
        &self,
        Parameters(given): Parameters<HighlightNote>,
    ) -> Result<Json<Highlighted>, VaultError> {
        let note = NoteRef::parse(&given.note)?;
        let passages = passages(&given.passages)?;
        self.with_vault(move |vault| {
            let (note, (added, already)) = vault.update(&note, |note| {
                let mut body = note.document.body().to_owned();
                let (mut added, mut already) = (0, 0);
                for passage in &passages {
                    match text::mark(&body, passage) {
                        Marking::Marked(marked) => {
                            body = marked;
                            added += 1;
                        }
                        Marking::Already => already += 1,
                        Marking::Missing => return Err(VaultError::NoPassage(shorten(passage))),
                    }
                }
                Ok(((added > 0).then_some(body), (added, already)))
            })?;
            Ok(Highlighted { highlights: text::highlights(note.document.body()), note: note.id, added, already })
        })
        .await
    }

    /// Write the digest at the top of a note: its highlights, or its first sentences without any.
    /// A digest written before is replaced; nothing else in the note changes.
    #[tool(annotations(
        title = "Write the digest",
        read_only_hint = false,
        destructive_hint = false,
        idempotent_hint = true,
        open_world_hint = false
    ))]
    async fn distill_note(&self, Parameters(given): Parameters<DistillNote>) -> Result<Json<Digest>, VaultError> {
        let note = NoteRef::parse(&given.note)?;
        let most = match given.max_points {
            None => DEFAULT_POINTS,
            Some(n @ 1..=MAX_POINTS) => n,
            Some(got) => {
                return Err(VaultError::TooLong {
                    field: "max_points",
                    got: got as usize,
                    limit: MAX_POINTS as usize,
                    unit: "points (at least 1)",
                });
            }
        };
        self.with_vault(move |vault| {
            let (note, (digest, from_highlights)) = vault.update(&note, |note| {
                let body = note.document.body();
                let highlights = text::highlights(body);
                let from_highlights = !highlights.is_empty();
                let mut points = if from_highlights { highlights } else { text::sentences(body) };
                points.truncate(most as usize);
                if points.is_empty() {
                    return Err(VaultError::NothingToDistill(note.id.to_string()));
                }
                let new = text::with_digest(body, &points);
                Ok(((new != body).then_some(new), (points, from_highlights)))
            })?;
            Ok(Digest { note: note.id, digest, from_highlights })
        })
        .await
    }

    /// List filed notes that have no digest yet. Changes nothing.
    #[tool(annotations(
        title = "Notes to distill",
        read_only_hint = true,
        destructive_hint = false,
        idempotent_hint = true,
        open_world_hint = false
    ))]
    async fn distill_queue(&self, Parameters(given): Parameters<DistillQueue>) -> Result<Json<Listing>, VaultError> {
        let limit = limit(given.limit)? as usize;
        self.with_vault(move |vault| {
            let mut queue = Listing { notes: Vec::new(), total: 0 };
            // What is in the Inbox is filed first, and what is archived is no longer worked on.
            for folder in [Folder::Projects, Folder::Areas, Folder::Resources] {
                for id in vault.list(folder)? {
                    // Notes that cannot be read cannot be distilled either.
                    let Ok(note) = vault.read_in(folder, &id) else {
                        continue;
                    };
                    if text::digest(note.document.body()).is_none() {
                        queue.total += 1;
                        if queue.notes.len() < limit {
                            queue.notes.push(Listed::new(&note));
                        }
                    }
                }
            }
            Ok(queue)
        })
        .await
    }
}

fn passages(given: &[String]) -> Result<Vec<String>, VaultError> {
    if given.is_empty() {
        return Err(VaultError::Empty { field: "passages" });
    }
    if given.len() > MAX_PASSAGES {
        return Err(VaultError::TooLong { field: "passages", got: given.len(), limit: MAX_PASSAGES, unit: "entries" });
    }
    given
        .iter()
        .map(|passage| {
            let passage = one_line("passages", passage, MAX_PASSAGE_CHARS)?;
            if passage.contains("==") {
                return Err(VaultError::NoPassage(shorten(&passage)));
            }
            Ok(passage)
        })
        .collect()
}
