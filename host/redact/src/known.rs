//! What a redactor knows at one moment: the secrets, their forms, and how to find them.

use crate::decode::{Coding, Decoded, PlusAlone, decode};
use crate::forms::{Edges, forms};
use crate::{SecretName, SecretValue};
use std::collections::HashMap;
use std::ops::Range;
use zeroize::Zeroizing;

/// No form is shorter, so that this many bytes say whether one may start at a place.
const START: usize = 4;
/// Bits of the table that says so. Small enough to stay in the innermost cache, large enough that with a hundred secrets
/// one place in a hundred is looked at in vain.
const TABLE_BITS: u32 = 16;
/// Escapes may make a form so many times longer: `\\u0041` is seven, `%2541` is five.
const STRETCH: usize = 8;
/// An escape inside of an escape needs to be seen as a whole.
const ESCAPE: usize = Coding::LONGEST * Coding::LONGEST;
/// How many layers of escapes are undone.
const LAYERS: u8 = 2;

/// A place in a text where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) range: Range<usize>,
    /// Its index in [`Known::secrets`].
    pub(crate) secret: usize,
}

/// What a search found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// By their start; they may overlap.
    pub(crate) spans: Vec<Span>,
    /// Ranges near the limit of the search that must not be cut: escapes, and marks of earlier redaction.
    pub(crate) whole: Vec<Range<usize>>,
}

/// A form of a secret, or the mark that stands for one already.
struct Pattern {
    bytes: Zeroizing<Vec<u8>>,
    edges: Edges,
    /// The index of the secret; none for a mark.
    secret: Option<usize>,
}

#[derive(Clone)]
struct Secret {
    name: SecretName,
    value: SecretValue,
    mark: String,
}

/// The secrets and how to find them.
pub(crate) struct Known {
    secrets: Vec<Secret>,
    finder: Finder,
    /// How far a form reaches at most, escapes included.
    reach: usize,
}

/// Where a form may start is read from a table of the first bytes of all forms, one place after the other and without
/// depending on the place before: more than twice as fast as an Aho-Corasick automaton for the hundreds of patterns that
/// some secrets have, and no slower for thousands. A place that the table lets through is compared with the forms that
/// start with these bytes.
struct Finder {
    table: Box<[u64; 1 << (TABLE_BITS - 6)]>,
    /// By the first bytes; the longest first.
    patterns: HashMap<[u8; START], Vec<Pattern>>,
    plus: PlusAlone,
    /// The length of the longest form.
    longest: usize,
}

impl Default for Known {
    fn default() -> Self {
        Self::of(Vec::new())
    }
}

impl Known {
    /// These secrets and some more; nothing if it has all of them already.
    pub(crate) fn with(&self, more: impl IntoIterator<Item = (SecretName, SecretValue)>) -> Option<Self> {
        let mut secrets = self.secrets.clone();
        for (name, value) in more {
            let known = |old: &Secret| old.name == name && old.value.expose() == value.expose();
            if !secrets.iter().any(known) {
                let mark = format!("[secret {name}]");
                secrets.push(Secret { name, value, mark });
            }
        }
        (secrets.len() > self.secrets.len()).then(|| Self::of(secrets))
    }

    fn of(secrets: Vec<Secret>) -> Self {
        let mut patterns = Vec::new();
        for (index, secret) in secrets.iter().enumerate() {
            for form in forms(&secret.value) {
                patterns.push(Pattern { bytes: form.bytes, edges: form.edges, secret: Some(index) });
            }
        }
        // after the forms: where a mark is a secret itself, hiding that is what counts
        for secret in &secrets {
            let bytes = Zeroizing::new(secret.mark.clone().into_bytes());
            patterns.push(Pattern { bytes, edges: Edges::Sharp, secret: None });
        }
        // a stable sort: of two secrets with the same form the first one gives the name
        patterns.sort_by(|a, b| a.bytes.cmp(&b.bytes));
        patterns.dedup_by(|later, first| later.bytes == first.bytes);
        let longest = patterns.iter().map(|pattern| pattern.bytes.len()).max().unwrap_or_default();
        let spaces = secrets.iter().any(|secret| secret.value.expose().contains(&b' '));
        let plus = if spaces { PlusAlone::Matters } else { PlusAlone::DoesNot };
        Self { secrets, finder: Finder::of(patterns, plus), reach: longest * STRETCH + 2 * ESCAPE }
    }

    pub(crate) fn count(&self) -> usize {
        self.secrets.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    pub(crate) fn name(&self, span: &Span) -> Option<&SecretName> {
        self.secrets.get(span.secret).map(|secret| &secret.name)
    }

    /// What stands in the place of a secret.
    pub(crate) fn mark(&self, span: &Span) -> &str {
        self.secrets.get(span.secret).map_or("[secret]", |secret| &secret.mark)
    }

    /// So many bytes from a place on say whether a secret starts there, and where it ends.
    pub(crate) fn hold(&self) -> usize {
        self.reach + ESCAPE
    }

    /// See [`Known::search_up_to`]: how far from its limit what must not be cut is known.
    pub(crate) fn reach(&self) -> usize {
        self.reach
    }

    /// All places of secrets in the whole text.
    pub(crate) fn search(&self, text: &[u8]) -> Vec<Span> {
        self.search_up_to(text, text.len()).spans
    }

    /// All places of secrets that start before `limit`.
    pub(crate) fn search_up_to(&self, text: &[u8], limit: usize) -> Found {
        let found = Found::default();
        if self.secrets.is_empty() {
            return found;
        }
        let mut search = Search { finder: &self.finder, reach: self.reach, limit, found };
        search.layer(text, None, 0);
        search.found.spans.sort_by_key(|span| (span.range.start, usize::MAX - span.range.end));
        search.found
    }

    /// `text` up to `end` with marks for the spans. The bytes before `done` belong to a mark that was written before; how
    /// many bytes from `end` on belong to one that was written now is returned with the result.
    pub(crate) fn render(&self, text: &[u8], spans: &[Span], mut done: usize, end: usize) -> (Vec<u8>, usize) {
        let mut out = Vec::with_capacity(end + 64);
        for span in spans.iter().take_while(|span| span.range.start < end) {
            if span.range.start >= done {
                out.extend_from_slice(text.get(done..span.range.start).unwrap_or_default());
                out.extend_from_slice(self.mark(span).as_bytes());
            }
            done = done.max(span.range.end);
        }
        out.extend_from_slice(text.get(done..end).unwrap_or_default());
        (out, done.saturating_sub(end))
    }
}

impl Finder {
    fn of(patterns: Vec<Pattern>, plus: PlusAlone) -> Self {
        let mut finder =
            Self { table: Box::new([0; 1 << (TABLE_BITS - 6)]), patterns: HashMap::new(), plus, longest: 0 };
        for pattern in patterns {
            let Some(start) = pattern.bytes.first_chunk().copied() else { continue };
            let (word, bit) = Self::place(start);
            if let Some(word) = finder.table.get_mut(word) {
                *word |= bit;
            }
            finder.longest = finder.longest.max(pattern.bytes.len());
            finder.patterns.entry(start).or_default().push(pattern);
        }
        for patterns in finder.patterns.values_mut() {
            patterns.sort_by_key(|pattern| std::cmp::Reverse(pattern.bytes.len()));
        }
        finder
    }

    /// Where a table has the bit for these bytes (multiplicative hashing: Knuth, TAOCP 3, section 6.4).
    fn place(start: [u8; START]) -> (usize, u64) {
        let hash = u32::from_le_bytes(start).wrapping_mul(0x9e37_79b1) >> (u32::BITS - TABLE_BITS);
        ((hash >> 6) as usize, 1 << (hash & 63))
    }

    /// The first of these places of the text where a form may start.
    fn candidate(&self, text: &[u8], places: Range<usize>) -> Option<usize> {
        let may_start = |start: &[u8; START]| {
            let (word, bit) = Self::place(*start);
            self.table.get(word).is_some_and(|word| word & bit != 0)
        };
        let end = (places.end + START - 1).min(text.len());
        text.get(places.start..end)?.array_windows().position(may_start).map(|at| places.start + at)
    }

    /// The longest form at the start of `text`.
    fn longest(&self, text: &[u8]) -> Option<&Pattern> {
        self.patterns.get(text.first_chunk()?)?.iter().find(|pattern| text.starts_with(&pattern.bytes))
    }
}

/// A text that a layer of escapes was taken off, and the layers above.
struct Layer<'a> {
    decoded: &'a Decoded,
    above: Option<&'a Layer<'a>>,
}

impl Layer<'_> {
    fn source(&self, range: Range<usize>) -> Range<usize> {
        let range = self.decoded.source(range);
        self.above.map_or(range.clone(), |above| above.source(range))
    }
}

struct Search<'a> {
    finder: &'a Finder,
    reach: usize,
    limit: usize,
    found: Found,
}

impl Search<'_> {
    fn layer(&mut self, text: &[u8], layer: Option<&Layer<'_>>, depth: u8) {
        match layer.map(|layer| layer.decoded.near_escapes(self.finder.longest)) {
            // what no escape is in was found in the layer above
            Some(Some(ranges)) => ranges.for_each(|places| self.one(text, layer, places)),
            Some(None) | None => self.one(text, layer, 0..text.len()),
        }
        if depth == LAYERS {
            return;
        }
        for coding in Coding::ALL {
            let Some(decoded) = decode(text, coding, self.finder.plus) else { continue };
            for escape in decoded.escapes() {
                self.keep_whole(layer.map_or(escape.clone(), |above| above.source(escape)));
            }
            self.layer(&decoded.text, Some(&Layer { decoded: &decoded, above: layer }), depth + 1);
        }
    }

    /// All places of these in a text where a form starts, with the longest form that starts there.
    fn one(&mut self, text: &[u8], layer: Option<&Layer<'_>>, places: Range<usize>) {
        let source = |range: Range<usize>| layer.map_or(range.clone(), |layer| layer.source(range));
        let finder = self.finder;
        let mut at = places.start;
        while let Some(start) = finder.candidate(text, at..places.end) {
            at = start + 1;
            let Some(pattern) = finder.longest(text.get(start..).unwrap_or_default()) else { continue };
            let range = start..start + pattern.bytes.len();
            let Some(secret) = pattern.secret else {
                // what looks like a mark only when an escape in it is undone was not written by a redactor
                if layer.is_none_or(|layer| !layer.decoded.has_token(&range)) {
                    at = range.end;
                    self.keep_whole(source(range));
                }
                continue;
            };
            if layer.is_some_and(|layer| !layer.decoded.has_escape(&range)) {
                continue;
            }
            let range = source(pattern.edges.widen(text, range));
            if range.start >= self.limit {
                break;
            }
            self.add(Span { range, secret });
        }
    }

    fn add(&mut self, span: Span) {
        if span.range.len() > self.reach {
            return;
        }
        match self.found.spans.last_mut() {
            // the usual overlap: a secret that repeats itself
            Some(last) if last.range.start <= span.range.start && span.range.start < last.range.end => {
                last.range.end = last.range.end.max(span.range.end);
            }
            _ => self.found.spans.push(span),
        }
    }

    /// Only the ones near the limit are of use.
    fn keep_whole(&mut self, range: Range<usize>) {
        if range.end + self.reach > self.limit && range.start < self.limit {
            self.found.whole.push(range);
        }
    }
}
