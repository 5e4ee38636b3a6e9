//! The names that may exist in a vault, as types: nothing that is not one of these reaches the disk.

use std::{ffi::OsStr, fmt};

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::error::VaultError;

/// Longest note name in bytes: with a number and `.md` it stays below the 255 of common file systems.
const MAX_ID_BYTES: usize = 200;
/// Longest slug made from a title, in bytes.
const MAX_SLUG_BYTES: usize = 100;
const EXTENSION: &str = ".md";

/// A folder of the vault that holds notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Folder {
    /// New notes, not yet filed.
    Inbox,
    /// Work with an end.
    Projects,
    /// Responsibilities without an end.
    Areas,
    /// Topics of interest.
    Resources,
    /// What is no longer active.
    Archives,
    /// Drafts made from notes.
    Express,
}

impl Folder {
    /// Every folder, in the order in which notes are looked up.
    pub const ALL: [Self; 6] =
        [Self::Inbox, Self::Projects, Self::Areas, Self::Resources, Self::Archives, Self::Express];

    /// The folder's name on disk.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inbox => "Inbox",
            Self::Projects => "Projects",
            Self::Areas => "Areas",
            Self::Resources => "Resources",
            Self::Archives => "Archives",
            Self::Express => "Express",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|folder| folder.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One of the four PARA categories a note can be filed under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[schemars(inline)]
pub enum Category {
    /// Work with an end.
    Projects,
    /// Responsibilities without an end.
    Areas,
    /// Topics of interest.
    Resources,
    /// What is no longer active.
    Archives,
}

impl Category {
    /// Every category, in PARA order.
    pub const ALL: [Self; 4] = [Self::Projects, Self::Areas, Self::Resources, Self::Archives];

    /// The folder that holds the category's notes.
    pub const fn folder(self) -> Folder {
        match self {
            Self::Projects => Folder::Projects,
            Self::Areas => Folder::Areas,
            Self::Resources => Folder::Resources,
            Self::Archives => Folder::Archives,
        }
    }

    /// Reads a category from its name, in any case.
    pub fn parse(name: &str) -> Result<Self, VaultError> {
        Self::ALL
            .into_iter()
            .find(|category| category.folder().name().eq_ignore_ascii_case(name.trim()))
            .ok_or_else(|| VaultError::UnknownCategory(shorten(name)))
    }
}

impl<'de> Deserialize<'de> for Category {
    // By hand, so that the message says what to do and any case is accepted.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::parse(&name).map_err(de::Error::custom)
    }
}

/// The name of a note: its file name without `.md`, which is also what a wiki link to it says.
///
/// Always one ordinary path component: no separators, no leading dot, no control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct NoteId(String);

impl NoteId {
    /// Checks a name given from outside.
    pub fn parse(name: &str) -> Result<Self, VaultError> {
        let bad = |reason| VaultError::BadNoteName { name: shorten(name), reason };
        if name.is_empty() {
            return Err(bad("it is empty"));
        }
        if name.len() > MAX_ID_BYTES {
            return Err(bad("it is longer than 200 bytes"));
        }
        if name.starts_with('.') {
            return Err(bad("it starts with a dot"));
        }
        if name.trim() != name {
            return Err(bad("it starts or ends with a space"));
        }
        if name.chars().any(|c| c == '/' || c == '\\') {
            return Err(bad("it names a folder that is not one of the vault's"));
        }
        if name.chars().any(char::is_control) {
            return Err(bad("it contains a control character"));
        }
        Ok(Self(name.to_owned()))
    }

    /// The note that a directory entry holds, or `None` for files that are not notes.
    pub fn from_file_name(name: &OsStr) -> Option<Self> {
        Self::parse(name.to_str()?.strip_suffix(EXTENSION)?).ok()
    }

    /// A name for a new note: `<date> <slug of the title>`.
    pub fn for_title(date: Date, title: &str) -> Self {
        Self(format!("{date} {}", slug(title)))
    }

    /// The n-th name to try when names are taken: the name itself, then `<name> 2`, `<name> 3`...
    pub fn candidate(&self, n: u32) -> Self {
        if n <= 1 { self.clone() } else { Self(format!("{} {n}", self.0)) }
    }

    /// The note's file name.
    pub fn file_name(&self) -> String {
        format!("{}{EXTENSION}", self.0)
    }
}

impl fmt::Display for NoteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a caller names a note: `name`, `name.md`, `Folder/name` or `Folder/name.md`, or as a wiki
/// link. The folder is needed only when a name exists twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteRef {
    /// The folder, when one was given.
    pub folder: Option<Folder>,
    /// The note's name.
    pub id: NoteId,
}

impl NoteRef {
    /// Reads a reference given from outside.
    pub fn parse(text: &str) -> Result<Self, VaultError> {
        let text = text.trim();
        let text = text.strip_prefix("[[").and_then(|inner| inner.strip_suffix("]]")).unwrap_or(text);
        let (folder, name) = match text.split_once('/') {
            Some((folder, name)) => match Folder::from_name(folder) {
                Some(folder) => (Some(folder), name),
                // Not one of ours: let the name check refuse the whole text.
                None => (None, text),
            },
            None => (None, text),
        };
        let name = name.strip_suffix(EXTENSION).unwrap_or(name);
        Ok(Self { folder, id: NoteId::parse(name)? })
    }
}

/// Lower-case letters and digits of any script, the rest folded into single hyphens.
fn slug(title: &str) -> String {
    let mut slug = String::new();
    for c in title.chars().flat_map(char::to_lowercase) {
        if slug.len() + c.len_utf8() > MAX_SLUG_BYTES {
            break;
        }
        if c.is_alphanumeric() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "note" } else { slug }.to_owned()
}

/// Text from a caller, cut so that it can be repeated in a message.
pub fn shorten(text: &str) -> String {
    const LIMIT: usize = 80;
    let mut short: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(LIMIT).collect();
    if text.chars().count() > LIMIT {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    fn is_one_plain_component(name: &str) -> bool {
        let mut components = Path::new(name).components();
        matches!(components.next(), Some(Component::Normal(part)) if part == name)
            && components.next().is_none()
            && !name.contains('\\')
            && !name.contains('\0')
    }

    #[test]
    fn titles_become_dated_slugs() {
        let id = |title| NoteId::for_title(date(2026, 7, 28), title).to_string();
        assert_eq!(id("Building a Second Brain!"), "2026-07-28 building-a-second-brain");
        assert_eq!(id("  Zürich / 東京 "), "2026-07-28 zürich-東京");
        assert_eq!(id("../../etc/passwd"), "2026-07-28 etc-passwd");
        assert_eq!(id("🧠"), "2026-07-28 note");
    }

    #[test]
    fn escapes_are_refused() {
        for text in [
            "..",
            ".",
            "",
            "   ",
            "../x",
            "Inbox/../x",
            "Inbox/../../x",
            "/etc/passwd",
            "Inbox//etc/passwd",
            "a\\b",
            "a\0b",
            ".obsidian/app",
            ".hidden",
            "Nowhere/x",
            "Inbox/.hidden",
        ] {
            assert!(NoteRef::parse(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn references_may_be_paths_and_links() {
        let plain = NoteRef::parse("2026-07-28 x").unwrap();
        assert_eq!(plain.folder, None);
        assert_eq!(NoteRef::parse("[[2026-07-28 x]]").unwrap(), plain);
        let path = NoteRef::parse("inbox/2026-07-28 x.md").unwrap();
        assert_eq!(path.folder, Some(Folder::Inbox));
        assert_eq!(path.id, plain.id);
    }

    #[test]
    fn unknown_categories_name_the_known_ones() {
        assert_eq!(Category::parse(" areas ").unwrap(), Category::Areas);
        let message = Category::parse("Inbox").unwrap_err().to_string();
        assert!(message.contains("Projects, Areas, Resources, Archives"), "{message}");
    }

    proptest! {
        #[test]
        fn names_from_titles_never_escape(title in ".*", n in 0u32..2000) {
            let id = NoteId::for_title(date(2026, 1, 2), &title).candidate(n);
            let file = id.file_name();
            prop_assert!(is_one_plain_component(&file), "{file:?}");
            prop_assert!(file.len() <= 255);
            prop_assert_eq!(NoteId::from_file_name(OsStr::new(&file)), Some(id));
        }

        #[test]
        fn names_from_callers_never_escape(text in "[./\\\\a-zA-Z\\[\\]\0 ]{0,12}|(Inbox|Areas)?/?.*") {
            if let Ok(reference) = NoteRef::parse(&text) {
                let file = reference.id.file_name();
                prop_assert!(is_one_plain_component(&file), "{file:?}");
            }
        }
    }
}
