//! organize: files notes by the PARA method.

use rmcp::{
    handler::server::wrapper::{Json, Parameters},
    tool, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Brain, Listed, Listing, limit, list_folder};
use crate::vault::{Category, Folder, Note, NoteId, NoteRef, Vault, VaultError, path_of};

/// Notes looked at per category when similar ones are searched.
const COMPARED: usize = 200;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileNote {
    /// The note's name, or `Folder/name` when the name exists twice.
    note: String,
    /// Where it belongs.
    category: Category,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListNotes {
    /// Only this folder; all of them when not given.
    folder: Option<Folder>,
    /// From 1 to 200 per folder; 20 when not given.
    limit: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SuggestCategory {
    /// The note's name, or `Folder/name` when the name exists twice.
    note: String,
}

/// A filed note.
#[derive(Debug, Serialize, JsonSchema)]
struct Filed {
    /// The note.
    note: NoteId,
    /// The folder it was in.
    from: Folder,
    /// The folder it is in.
    to: Folder,
    /// Where it is in the vault.
    path: String,
    /// False if it was there already.
    moved: bool,
}

/// A suggestion, with its reason.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
struct Suggestion {
    /// The note.
    note: NoteId,
    /// Where it seems to belong.
    category: Category,
    /// Why.
    reason: String,
}

#[tool_router(router = organize_tools, vis = "pub(super)")]
impl Brain {
    /// Move a note to Projects, Areas, Resources or Archives. Links to it keep working.
    #[tool(annotations(
        title = "File a note",
        read_only_hint = false,
        destructive_hint = false,
        idempotent_hint = true,
        open_world_hint = false
    ))]
    async fn file_note(&self, Parameters(given): Parameters<FileNote>) -> Result<Json<Filed>, VaultError> {
        let note = NoteRef::parse(&given.note)?;
        self.with_vault(move |vault| {
            let moved = vault.move_to(&note, given.category.folder())?;
            Ok(Filed {
                path: path_of(moved.to, &moved.id),
                note: moved.id,
                from: moved.from,
                to: moved.to,
                moved: moved.from != moved.to,
            })
        })
        .await
    }

    /// List notes by folder, newest first.
    #[tool(annotations(
        title = "List notes",
        read_only_hint = true,
        destructive_hint = false,
        idempotent_hint = true,
        open_world_hint = false
    ))]
    async fn list_notes(&self, Parameters(given): Parameters<ListNotes>) -> Result<Json<Listing>, VaultError> {
        let limit = limit(given.limit)?;
        self.with_vault(move |vault| {
            let folders = given.folder.map_or(Folder::ALL.to_vec(), |folder| vec![folder]);
            let mut all = Listing { notes: Vec::new(), total: 0 };
            for folder in folders {
                let listing = list_folder(vault, folder, limit)?;
                all.notes.extend(listing.notes);
                all.total += listing.total;
            }
            Ok(all)
        })
        .await
    }

    /// Suggest where a note belongs, from its tags and its text. Changes nothing.
    #[tool(annotations(
        title = "Suggest a category",
        read_only_hint = true,
        destructive_hint = false,
        idempotent_hint = true,
        open_world_hint = false
    ))]
    async fn suggest_category(
        &self,
        Parameters(given): Parameters<SuggestCategory>,
    ) -> Result<Json<Suggestion>, VaultError> {
        let note = NoteRef::parse(&given.note)?;
        self.with_vault(move |vault| {
            let note = vault.read(&note)?;
            let mut filed = Vec::new();
            for category in Category::ALL {
                filed.push((category, tags_in(vault, category, &note)?));
            }
            Ok(suggest(&note, &filed))
        })
        .await
    }
}

/// The tags of a category's notes, each as often as it occurs, without those of `except`.
fn tags_in(vault: &Vault, category: Category, except: &Note) -> Result<Vec<String>, VaultError> {
    let folder = category.folder();
    let mut tags = Vec::new();
    for id in vault.list(folder)?.into_iter().take(COMPARED) {
        if id == except.id {
            continue;
        }
        // A note that cannot be read has no tags to compare.
        if let Ok(note) = vault.read_in(folder, &id) {
            tags.extend(Listed::new(&note).tags);
        }
    }
    Ok(tags)
}

/// Company first: a note goes where notes of its tags are. Else its wording decides.
fn suggest(note: &Note, filed: &[(Category, Vec<String>)]) -> Suggestion {
    let answer = |category, reason| Suggestion { note: note.id.clone(), category, reason };
    let own = note.document.meta().tags;
    let mut best: Option<(Category, usize)> = None;
    for (category, tags) in filed {
        let shared = tags.iter().filter(|tag| own.contains(tag)).count();
        // The first wins a tie, so that the answer is always the same.
        if shared > best.map_or(0, |(_, most)| most) {
            best = Some((*category, shared));
        }
    }
    if let Some((category, shared)) = best {
        return answer(category, format!("notes there share its tags {shared} time(s)"));
    }
    let text = format!("{}\n{}", note.title(), note.document.body()).to_lowercase();
    let signs: [(Category, &str, &[&str]); 3] = [
        (
            Category::Projects,
            "it speaks of something to finish",
            &["- [ ]", "deadline", "due ", "milestone", "launch", "todo", "next step"],
        ),
        (
            Category::Areas,
            "it speaks of something to keep up",
            &["routine", "every week", "weekly", "monthly", "habit", "maintain", "health"],
        ),
        (
            Category::Archives,
            "it speaks of something that is over",
            &["completed", "cancelled", "obsolete", "no longer", "deprecated"],
        ),
    ];
    for (category, reason, words) in signs {
        if let Some(word) = words.iter().find(|word| text.contains(**word)) {
            return answer(category, format!("{reason} (`{}`)", word.trim()));
        }
    }
    answer(Category::Resources, "nothing says that it is to be done, kept up or over".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::Document;

    fn note(content: &str) -> Note {
        Note { folder: Folder::Inbox, id: NoteId::parse("x").unwrap(), document: Document::parse(content) }
    }

    #[test]
    fn company_decides_before_wording() {
        let tagged = note("---\ntags: [garden]\n---\n- [ ] dig\n");
        let filed = [(Category::Projects, vec!["tax".to_owned()]), (Category::Areas, vec!["garden".to_owned()])];
        assert_eq!(suggest(&tagged, &filed).category, Category::Areas);
        assert_eq!(suggest(&tagged, &[]).category, Category::Projects);
    }

    #[test]
    fn wording_decides_for_new_topics() {
        let of = |text| suggest(&note(text), &[]).category;
        assert_eq!(of("Deadline on Friday"), Category::Projects);
        assert_eq!(of("My weekly review"), Category::Areas);
        assert_eq!(of("This was cancelled"), Category::Archives);
        assert_eq!(of("On moss"), Category::Resources);
    }
}
