//! express: assembles notes into drafts.

use jiff::Timestamp;
use rmcp::{
    handler::server::wrapper::{Json, Parameters},
    tool, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Brain, Listing, limit, list_folder};
use crate::{
    text,
    vault::{Folder, NewNote, Note, NoteId, NoteRef, Title, Vault, VaultError, path_of},
};

const MAX_NOTES: usize = 30;
/// Sentences taken from a note that was not distilled.
const LEAD_SENTENCES: usize = 3;

/// The same for a preview and for the real thing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AssembleDraft {
    /// One line, at most 200 characters.
    title: String,
    /// The notes to use, in order; at most 30. A name, or `Folder/name` when the name exists twice.
    notes: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListDrafts {
    /// From 1 to 200; 20 when not given.
    limit: Option<u32>,
}

/// A stored draft.
#[derive(Debug, Serialize, JsonSchema)]
struct Drafted {
    /// The draft's name.
    draft: NoteId,
    /// Where it is in the vault.
    path: String,
    /// How many notes went into it.
    sections: usize,
}

/// A draft that was not stored.
#[derive(Debug, Serialize, JsonSchema)]
struct Preview {
    /// Its Markdown.
    body: String,
    /// How many notes went into it.
    sections: usize,
}

#[tool_router(router = express_tools, vis = "pub(super)")]
impl Brain {
    /// Assemble notes into a new draft under Express: one section per note, from its digest, its
    /// highlights or its first sentences. The notes stay as they are.
    #[tool(annotations(
        title = "Assemble a draft",
        read_only_hint = false,
        destructive_hint = false,
        idempotent_hint = false,
        open_world_hint = false
    ))]
    async fn assemble_draft(&self, Parameters(given): Parameters<AssembleDraft>) -> Result<Json<Drafted>, VaultError> {
        let title = Title::parse(&given.title)?;
        let notes = references(&given.notes)?;
        self.with_vault(move |vault| {
            let body = compose(vault, &title, &notes)?;
            let draft = NewNote::parse(title.as_str(), &body, None, &["draft".to_owned()], Timestamp::now())?;
            let id = vault.create(Folder::Express, &draft)?;
            Ok(Drafted { path: path_of(Folder::Express, &id), draft: id, sections: notes.len() })
        })
        .await
    }

    /// Show the draft that `assemble_draft` would store. Changes nothing.
    #[tool(annotations(
        title = "Preview a draft",
        read_only_hint = true,
        destructive_hint = false,
        idempotent_hint = true,
        open_world_hint = false
    ))]
    async fn preview_draft(&self, Parameters(given): Parameters<AssembleDraft>) -> Result<Json<Preview>, VaultError> {
        let title = Title::parse(&given.title)?;
        let notes = references(&given.notes)?;
        self.with_vault(move |vault| Ok(Preview { body: compose(vault, &title, &notes)?, sections: notes.len() })).await
    }

    /// List the drafts, newest first.
    #[tool(annotations(
        title = "List drafts",
        read_only_hint = true,
        destructive_hint = false,
        idempotent_hint = true,
        open_world_hint = false
    ))]
    async fn list_drafts(&self, Parameters(given): Parameters<ListDrafts>) -> Result<Json<Listing>, VaultError> {
        let limit = limit(given.limit)?;
        self.with_vault(move |vault| list_folder(vault, Folder::Express, limit)).await
    }
}

fn references(given: &[String]) -> Result<Vec<NoteRef>, VaultError> {
    if given.is_empty() {
        return Err(VaultError::Empty { field: "notes" });
    }
    if given.len() > MAX_NOTES {
        return Err(VaultError::TooLong { field: "notes", got: given.len(), limit: MAX_NOTES, unit: "entries" });
    }
    given.iter().map(|note| NoteRef::parse(note)).collect()
}

fn compose(vault: &Vault, title: &Title, notes: &[NoteRef]) -> Result<String, VaultError> {
    let mut body = format!("# {}\n", title.as_str());
    for note in notes {
        body.push_str(&section(&vault.read(note)?));
    }
    Ok(body)
}

/// The most distilled layer that the note has.
fn section(note: &Note) -> String {
    let body = note.document.body();
    let points = text::digest(body)
        .filter(|points| !points.is_empty())
        .or_else(|| Some(text::highlights(body)).filter(|points| !points.is_empty()));
    let content = match points {
        Some(points) => points.iter().map(|point| format!("- {point}\n")).collect(),
        None => {
            let mut lead = text::sentences(body);
            lead.truncate(LEAD_SENTENCES);
            let mut lead = lead.join(" ");
            lead.push('\n');
            lead
        }
    };
    format!("\n## {}\n\nFrom [[{}]].\n\n{content}", note.title(), note.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::Document;

    #[test]
    fn a_section_uses_the_most_distilled_layer() {
        let of = |body: &str| {
            section(&Note {
                folder: Folder::Areas,
                id: NoteId::parse("2026-01-01 x").unwrap(),
                document: Document::parse(&format!("---\ntitle: X\n---\n\n{body}")),
            })
        };
        let head = "\n## X\n\nFrom [[2026-01-01 x]].\n\n";
        assert_eq!(of("One. Two. Three. Four."), format!("{head}One. Two. Three.\n"));
        assert_eq!(of("One. ==Two==."), format!("{head}- Two\n"));
        let distilled = text::with_digest("One. ==Two==.", &["Three".to_owned()]);
        assert_eq!(of(&distilled), format!("{head}- Three\n"));
    }
}
