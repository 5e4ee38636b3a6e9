//! What can go wrong in a vault. The messages are read by the person or model that called a tool, so
//! each one says what to do next.

use std::io;

use super::names::Folder;

/// A failed vault operation.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// A required text has nothing in it.
    #[error("`{field}` is empty; give it some text")]
    Empty {
        /// The argument's name.
        field: &'static str,
    },
    /// A text or a list is over its limit.
    #[error("`{field}` has {got} {unit}, the limit is {limit}; shorten it or split it")]
    TooLong {
        /// The argument's name.
        field: &'static str,
        /// How much was given.
        got: usize,
        /// How much is allowed.
        limit: usize,
        /// What is counted.
        unit: &'static str,
    },
    /// A text has characters that have no place in a Markdown file.
    #[error("`{field}` contains a control character or a line break; remove it")]
    ControlCharacter {
        /// The argument's name.
        field: &'static str,
    },
    /// A number of entries that is not served.
    #[error("`limit` is {got}; give a number from 1 to {limit}")]
    BadLimit {
        /// What was given.
        got: u32,
        /// The largest number.
        limit: u32,
    },
    /// A tag that Obsidian would not accept.
    #[error("`{0}` is not a tag; use letters, digits, `-`, `_` and `/`, at most 50, not only digits")]
    BadTag(String),
    /// A name that cannot be a note's.
    #[error("`{name}` is not a note name: {reason}; use a name as `list_notes` or `list_inbox` gives it")]
    BadNoteName {
        /// The name, shortened.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not one of the PARA categories.
    #[error("`{0}` is not a category; use one of Projects, Areas, Resources, Archives")]
    UnknownCategory(String),
    /// No note has this name.
    #[error(
        "there is no note `{0}`; use a name as `list_notes` or `list_inbox` gives it (it may have been moved or renamed)"
    )]
    NoSuchNote(String),
    /// More than one note has this name.
    #[error("`{name}` exists more than once, in {folders}; name the folder too, as in `{first}/{name}`")]
    Ambiguous {
        /// The name.
        name: String,
        /// Where it exists.
        folders: String,
        /// One of them, for the example.
        first: Folder,
    },
    /// The target of a move is taken.
    #[error("{folder} already has a note `{name}`; rename one of the two in Obsidian, then try again")]
    NameTaken {
        /// The target folder.
        folder: Folder,
        /// The name.
        name: String,
    },
    /// Every candidate name is in use.
    #[error("there are too many notes named `{0}`; use a more specific title")]
    TooManyNames(String),
    /// Somebody else edited the note meanwhile.
    #[error("`{0}` was changed by somebody else meanwhile and was left as it is; try again")]
    Changed(String),
    /// The note cannot be read as a note.
    #[error("`{name}` cannot be used: {reason}")]
    Unreadable {
        /// The note.
        name: String,
        /// Why.
        reason: &'static str,
    },
    /// A passage to highlight is not in the note.
    #[error("the note has no passage `{0}`; quote one line of its text exactly, as `read_note` gives it")]
    NoPassage(String),
    /// The note has no text to work on.
    #[error("`{0}` has no sentences to distill; add some text to it first")]
    NothingToDistill(String),
    /// Another process holds the vault's lock.
    #[error("the vault was busy for {0} seconds; try again")]
    Busy(u64),
    /// The operating system refused.
    #[error("the vault could not {doing}: {source}; check the disk and the vault's permissions")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The worker thread ended without an answer.
    #[error("the operation was cut off; look whether it took effect, then try again")]
    CutOff,
}

/// Turns an I/O error into one that says what was being done.
pub fn io(doing: &'static str) -> impl FnOnce(io::Error) -> VaultError {
    move |source| VaultError::Io { doing, source }
}
