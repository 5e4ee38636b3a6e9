//! Finds every form of every known secret and puts `[secret NAME]` in its place.

use crate::known::Known;
use crate::{RedactStream, SecretName, SecretValue};
use arc_swap::ArcSwap;
use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

/// Shorter secrets, white space at the ends left out, would be found in every text.
const SHORTEST: usize = 4;

/// Secrets that are too short to be kept out of a text: fewer than four bytes without the white space at their ends.
/// Their values are not known to the redactor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "secret `{}` has fewer than four bytes, so it cannot be told from any other text and not be kept out of logs",
    .names.iter().map(SecretName::as_str).collect::<Vec<_>>().join("`, `")
)]
pub struct TooShort {
    /// Which ones.
    pub names: Vec<SecretName>,
}

impl TooShort {
    /// The stable code of this error.
    pub const CODE: &'static str = "secret/too-short";
    /// What to do about it.
    pub const HELP: &'static str = "use a longer secret, or write the value into the deployment file if it is none";
}

/// Knows all secrets of a host. Cheap to clone: all clones know what one of them learns.
#[derive(Clone, Default)]
pub struct Redactor {
    known: Arc<ArcSwap<Known>>,
    /// Held while learning, so that building an automaton is never done in vain.
    learning: Arc<Mutex<()>>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").field("secrets", &self.known.load().count()).finish()
    }
}

impl Redactor {
    /// Learns a secret; from then on it is replaced everywhere. Learning it again changes nothing; a second value for a
    /// name is known beside the first. Many at once: [`Redactor::learn_all`].
    ///
    /// # Errors
    /// The secret is too short to be told from other text; it was not learned.
    pub fn learn(&self, name: &SecretName, value: &SecretValue) -> Result<(), TooShort> {
        self.learn_all([(name.clone(), value.clone())])
    }

    /// Learns many secrets; builds the search for them once.
    ///
    /// # Errors
    /// Some are too short to be told from other text; the others were learned.
    pub fn learn_all(&self, secrets: impl IntoIterator<Item = (SecretName, SecretValue)>) -> Result<(), TooShort> {
        let (good, short): (Vec<_>, Vec<_>) =
            secrets.into_iter().partition(|(_, value)| value.expose().trim_ascii().len() >= SHORTEST);
        {
            let _alone = self.learning.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = self.known.load().with(good) {
                self.known.store(Arc::new(known));
            }
        }
        if short.is_empty() {
            return Ok(());
        }
        Err(TooShort { names: short.into_iter().map(|(name, _)| name).collect() })
    }

    /// Whether it knows no secret, so that nothing needs to be searched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.load().is_empty()
    }

    /// `bytes` with every form of every known secret replaced; borrowed when there is none in it.
    #[must_use]
    pub fn bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let known = self.known.load();
        let spans = known.search(bytes);
        if spans.is_empty() {
            return Cow::Borrowed(bytes);
        }
        Cow::Owned(known.render(bytes, &spans, 0, bytes.len()).0)
    }

    /// The first `limit` of `bytes`, redacted with the rest in view: a secret that begins before the limit is replaced as a
    /// whole, wherever the limit is in it. See [`Redactor::beyond`].
    #[must_use]
    pub fn first<'a>(&self, bytes: &'a [u8], limit: usize) -> Cow<'a, [u8]> {
        let known = self.known.load();
        let limit = limit.min(bytes.len());
        let spans = known.search_up_to(bytes, limit).spans;
        if spans.is_empty() {
            return Cow::Borrowed(bytes.get(..limit).unwrap_or_default());
        }
        Cow::Owned(known.render(bytes, &spans, 0, limit).0)
    }

    /// How many bytes beyond a limit [`Redactor::first`] wants to see, to know every secret that begins before it; none
    /// while no secret is known.
    #[must_use]
    pub fn beyond(&self) -> usize {
        let known = self.known.load();
        if known.is_empty() { 0 } else { known.hold() }
    }

    /// `text` with every form of every known secret replaced; borrowed when there is none in it.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let known = self.known.load();
        let mut spans = known.search(text.as_bytes());
        if spans.is_empty() {
            return Cow::Borrowed(text);
        }
        for span in &mut spans {
            // a secret of any bytes may begin or end inside of a character
            span.range.start = text.floor_char_boundary(span.range.start);
            span.range.end = text.ceil_char_boundary(span.range.end);
        }
        let redacted = known.render(text.as_bytes(), &spans, 0, text.len()).0;
        Cow::Owned(
            String::from_utf8(redacted).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
        )
    }

    /// The same in every text of a JSON value, keys included. Two keys that become the same get a number. Numbers are left
    /// as they are.
    pub fn json(&self, value: &mut serde_json::Value) {
        if !self.is_empty() {
            self.json_value(value);
        }
    }

    fn json_value(&self, value: &mut serde_json::Value) {
        match value {
            serde_json::Value::String(text) => {
                if let Cow::Owned(redacted) = self.text(text) {
                    *text = redacted;
                }
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(|item| self.json_value(item)),
            serde_json::Value::Object(fields) => {
                fields.values_mut().for_each(|field| self.json_value(field));
                if fields.keys().any(|key| matches!(self.text(key), Cow::Owned(_))) {
                    let old = std::mem::take(fields);
                    for (key, field) in old {
                        let redacted = self.text(&key).into_owned();
                        let mut unique = redacted.clone();
                        let mut number = 2_u64;
                        while fields.contains_key(&unique) {
                            unique = format!("{redacted} ({number})");
                            number += 1;
                        }
                        fields.insert(unique, field);
                    }
                }
            }
            serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
        }
    }

    /// The first secret that is in `bytes` in any form.
    #[must_use]
    pub fn find(&self, bytes: &[u8]) -> Option<SecretName> {
        let known = self.known.load();
        known.search(bytes).first().and_then(|span| known.name(span).cloned())
    }

    /// Redacts what comes in pieces, also where a secret is cut by the border of two pieces.
    #[must_use]
    pub fn stream(&self) -> RedactStream {
        RedactStream::new(self.clone())
    }

    pub(crate) fn known(&self) -> arc_swap::Guard<Arc<Known>> {
        self.known.load()
    }
}
