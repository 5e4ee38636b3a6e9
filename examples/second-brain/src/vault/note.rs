//! A note's text: YAML front matter and a Markdown body.
//!
//! Reading never loses anything: a [`Document`] keeps the front matter as the bytes it had, so keys
//! that people or Obsidian plugins added survive every change made here.

use std::fmt::Write as _;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{error::VaultError, names::shorten};

/// Largest body taken in, in bytes.
pub const MAX_BODY_BYTES: usize = 256 * 1024;
const MAX_TITLE_CHARS: usize = 200;
const MAX_SOURCE_CHARS: usize = 2000;
const MAX_TAGS: usize = 20;
const MAX_TAG_CHARS: usize = 50;
/// Larger front matter is not read as YAML: nobody writes it, and it is not trusted.
const MAX_FRONT_BYTES: usize = 64 * 1024;

/// A one-line title, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Title(String);

impl Title {
    /// Checks a title given from outside.
    pub fn parse(text: &str) -> Result<Self, VaultError> {
        Ok(Self(one_line("title", text, MAX_TITLE_CHARS)?))
    }

    /// The title as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A tag as Obsidian knows it, without the `#`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Tag(String);

impl Tag {
    /// Checks a tag given from outside; a leading `#` is dropped.
    pub fn parse(text: &str) -> Result<Self, VaultError> {
        let tag = text.trim();
        let tag = tag.strip_prefix('#').unwrap_or(tag);
        let valid = !tag.is_empty()
            && tag.chars().count() <= MAX_TAG_CHARS
            && tag.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '/'))
            && !tag.chars().all(|c| c.is_ascii_digit());
        if valid { Ok(Self(tag.to_owned())) } else { Err(VaultError::BadTag(shorten(text))) }
    }

    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A new note, checked, before it has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewNote {
    /// Its title.
    pub title: Title,
    /// Its text, ending in a line break.
    pub body: String,
    /// Where it came from.
    pub source: Option<String>,
    /// Its tags, each once.
    pub tags: Vec<Tag>,
    /// When it was made.
    pub created: Timestamp,
}

impl NewNote {
    /// Checks what a caller gave.
    pub fn parse(
        title: &str,
        body: &str,
        source: Option<&str>,
        tags: &[String],
        created: Timestamp,
    ) -> Result<Self, VaultError> {
        let mut body = text("body", body, MAX_BODY_BYTES)?;
        if !body.ends_with('\n') {
            body.push('\n');
        }
        if tags.len() > MAX_TAGS {
            return Err(VaultError::TooLong { field: "tags", got: tags.len(), limit: MAX_TAGS, unit: "entries" });
        }
        let mut unique = Vec::with_capacity(tags.len());
        for tag in tags {
            let tag = Tag::parse(tag)?;
            if !unique.contains(&tag) {
                unique.push(tag);
            }
        }
        Ok(Self {
            title: Title::parse(title)?,
            body,
            source: source.map(|source| one_line("source", source, MAX_SOURCE_CHARS)).transpose()?,
            tags: unique,
            created,
        })
    }

    /// The note's file content.
    pub fn render(&self) -> String {
        let mut out = String::with_capacity(self.body.len() + 256);
        out.push_str("---\n");
        // Writing to a String cannot fail.
        let _ = writeln!(out, "title: {}", quoted(self.title.as_str()));
        let _ = writeln!(out, "created: {}", self.created);
        if let Some(source) = &self.source {
            let _ = writeln!(out, "source: {}", quoted(source));
        }
        if !self.tags.is_empty() {
            let tags: Vec<_> = self.tags.iter().map(|tag| quoted(tag.as_str())).collect();
            let _ = writeln!(out, "tags: [{}]", tags.join(", "));
        }
        out.push_str("---\n\n");
        out.push_str(&self.body);
        out
    }
}

/// A note's text, split where the body begins and otherwise untouched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// From the first `---` to the blank line after the second one; empty without front matter.
    front: String,
    /// Everything else.
    body: String,
}

/// What the front matter says that the services use. Everything is optional: people edit notes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The title.
    pub title: Option<String>,
    /// When the note was made, as written there.
    pub created: Option<String>,
    /// Where it came from.
    pub source: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
}

impl Document {
    /// Splits a file's content.
    pub fn parse(content: &str) -> Self {
        let at = front_matter_end(content).unwrap_or(0);
        let (front, body) = content.split_at(at);
        Self { front: front.to_owned(), body: body.to_owned() }
    }

    /// The file's content: exactly what was parsed, unless the body was replaced.
    pub fn render(&self) -> String {
        format!("{}{}", self.front, self.body)
    }

    /// The Markdown after the front matter.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// The same note with another body.
    pub fn with_body(&self, body: String) -> Self {
        Self { front: self.front.clone(), body }
    }

    /// Reads the front matter; what cannot be understood counts as absent.
    pub fn meta(&self) -> Meta {
        if self.front.len() > MAX_FRONT_BYTES {
            return Meta::default();
        }
        let yaml = self.front.trim().trim_matches('-');
        let Ok(Value::Object(map)) = serde_saphyr::from_str::<Value>(yaml) else {
            return Meta::default();
        };
        let tags = match map.get("tags") {
            Some(Value::Array(items)) => items.iter().filter_map(scalar).collect(),
            // Obsidian also takes a list in one string.
            Some(value) => scalar(value)
                .iter()
                .flat_map(|list| list.split([',', ' ']))
                .filter(|tag| !tag.is_empty())
                .map(str::to_owned)
                .collect(),
            None => Vec::new(),
        };
        Meta {
            title: map.get("title").and_then(scalar),
            created: map.get("created").and_then(scalar),
            source: map.get("source").and_then(scalar),
            tags,
        }
    }
}

/// Where the body begins, if the content has front matter.
fn front_matter_end(content: &str) -> Option<usize> {
    let mut at = 0;
    let mut lines = content.split_inclusive('\n');
    let first = lines.next()?;
    if first.trim_end() != "---" {
        return None;
    }
    at += first.len();
    loop {
        let line = lines.next()?;
        at += line.len();
        if line.trim_end() == "---" {
            break;
        }
    }
    // One blank line belongs to the front matter, so that a body starts with its text.
    if let Some(line) = lines.next()
        && line.trim().is_empty()
    {
        at += line.len();
    }
    Some(at)
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// A YAML double-quoted scalar. What YAML does not print as it is gets escaped.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            ' '..='~'
            | '\u{a0}'..='\u{2027}'
            | '\u{202a}'..='\u{d7ff}'
            | '\u{e000}'..='\u{fefe}'
            | '\u{ff00}'..='\u{fffd}'
            | '\u{10000}'.. => out.push(c),
            // Below U+10000 by the arms above.
            other => {
                let _ = write!(out, "\\u{:04X}", u32::from(other));
            }
        }
    }
    out.push('"');
    out
}

/// Checks a text of one line and trims it.
pub fn one_line(field: &'static str, text: &str, limit: usize) -> Result<String, VaultError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(VaultError::Empty { field });
    }
    let got = text.chars().count();
    if got > limit {
        return Err(VaultError::TooLong { field, got, limit, unit: "characters" });
    }
    if text.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        return Err(VaultError::ControlCharacter { field });
    }
    Ok(text.to_owned())
}

/// Checks a text of many lines; line breaks become `\n`.
pub fn text(field: &'static str, text: &str, limit: usize) -> Result<String, VaultError> {
    if text.trim().is_empty() {
        return Err(VaultError::Empty { field });
    }
    if text.len() > limit {
        return Err(VaultError::TooLong { field, got: text.len(), limit, unit: "bytes" });
    }
    let text = text.replace("\r\n", "\n");
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        return Err(VaultError::ControlCharacter { field });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_new_note_is_plain_markdown() {
        let note = NewNote::parse(
            " The \"PARA\" method ",
            "Four folders.",
            Some("https://example.org/para"),
            &["#method".into(), "method".into(), "notes/para".into()],
            Timestamp::UNIX_EPOCH,
        )
        .unwrap();
        assert_eq!(
            note.render(),
            "---\ntitle: \"The \\\"PARA\\\" method\"\ncreated: 1970-01-01T00:00:00Z\n\
             source: \"https://example.org/para\"\ntags: [\"method\", \"notes/para\"]\n---\n\n\
             Four folders.\n"
        );
    }

    #[test]
    fn bad_input_is_refused_with_a_reason() {
        let parse = |title: &str, body: &str, tags: &[&str]| {
            let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
            NewNote::parse(title, body, None, &tags, Timestamp::UNIX_EPOCH).unwrap_err().to_string()
        };
        assert!(parse("  ", "x", &[]).contains("`title` is empty"));
        assert!(parse("x", "\n", &[]).contains("`body` is empty"));
        assert!(parse("a\nb", "x", &[]).contains("line break"));
        assert!(parse("x", "a\0b", &[]).contains("control character"));
        assert!(parse(&"x".repeat(201), "x", &[]).contains("limit is 200"));
        assert!(parse("x", &"x".repeat(MAX_BODY_BYTES + 1), &[]).contains("limit is 262144"));
        assert!(parse("x", "x", &["two words"]).contains("is not a tag"));
        assert!(parse("x", "x", &["2026"]).contains("is not a tag"));
    }

    #[test]
    fn foreign_front_matter_is_understood_or_left_alone() {
        let windows = Document::parse("---\r\ntitle: 2024\r\ntags: a, b\r\n---\r\n\r\nText\r\n");
        assert_eq!(windows.meta().title.as_deref(), Some("2024"));
        assert_eq!(windows.meta().tags, ["a", "b"]);
        assert_eq!(windows.body(), "Text\r\n");

        let broken = "---\ntitle: [unclosed\n---\nText\n";
        assert_eq!(Document::parse(broken).meta(), Meta::default());
        assert_eq!(Document::parse(broken).render(), broken);

        for none in ["", "---", "---\nno end\n", "Text\n---\n", "----\n---\n"] {
            assert_eq!(Document::parse(none).body(), none);
        }
    }

    proptest! {
        #[test]
        fn front_matter_round_trips(
            title in "\\PC{1,80}",
            source in proptest::option::of("\\PC{1,80}"),
            tags in proptest::collection::vec("[a-z\u{e4}\u{4eac}_/-]{1,20}", 0..6),
            body in "(\\PC|\n|---\n){1,200}",
            seconds in 0i64..4_000_000_000,
        ) {
            let created = Timestamp::from_second(seconds).unwrap();
            let Ok(note) = NewNote::parse(&title, &body, source.as_deref(), &tags, created) else {
                // Only what the checks refuse on purpose is left out.
                let refused = |text: &str| text.trim().is_empty()
                    || text.contains(['\u{2028}', '\u{2029}']);
                prop_assert!(refused(&title) || body.trim().is_empty()
                    || source.is_some_and(|source| refused(&source)));
                return Ok(());
            };
            let document = Document::parse(&note.render());
            let meta = document.meta();
            prop_assert_eq!(meta.title.as_deref(), Some(note.title.as_str()));
            prop_assert_eq!(meta.created, Some(created.to_string()));
            prop_assert_eq!(meta.source, note.source.clone());
            let tags: Vec<_> = note.tags.iter().map(|tag| tag.as_str().to_owned()).collect();
            prop_assert_eq!(meta.tags, tags);
            prop_assert_eq!(document.body(), note.body.as_str());
        }

        #[test]
        fn no_text_is_changed_by_reading(content in "(---\r?\n|\\PC|\n){0,60}") {
            let document = Document::parse(&content);
            prop_assert_eq!(document.render(), content.as_str());
            let _ = document.meta();
        }
    }
}
