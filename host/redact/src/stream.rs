//! Redacts what comes in pieces.

use crate::Redactor;
use std::ops::Range;

/// Redacts a stream: see [`Redactor::stream`]. What it gives, all pieces together, is what [`Redactor::bytes`] gives for
/// the whole.
///
/// It holds back what may still become a part of a secret, and works in steps of that size: at most twice eight times the
/// longest form of the longest secret and a little. A piece passes unchanged, and at once, while no secret is known.
#[derive(Debug)]
pub struct RedactStream {
    redactor: Redactor,
    held: Vec<u8>,
    /// So many bytes of `held` belong to a secret whose mark was written already.
    covered: usize,
}

impl RedactStream {
    pub(crate) fn new(redactor: Redactor) -> Self {
        Self { redactor, held: Vec::new(), covered: 0 }
    }

    /// Takes a piece; gives what cannot be part of a secret any more.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let known = self.redactor.known();
        if known.is_empty() && self.held.is_empty() {
            return piece.to_vec();
        }
        self.held.extend_from_slice(piece);
        let hold = known.hold();
        if self.held.len() < 2 * hold {
            return Vec::new();
        }
        let found = known.search_up_to(&self.held, self.held.len() - hold);
        let cut = cut(self.held.len() - hold, known.reach(), found.whole);
        let (out, covered) = known.render(&self.held, &found.spans, self.covered, cut);
        self.covered = covered;
        self.held.drain(..cut);
        out
    }

    /// What was held back.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        let known = self.redactor.known();
        let spans = known.search(&self.held);
        known.render(&self.held, &spans, self.covered, self.held.len()).0
    }
}

/// The last place up to `limit` that is inside of none of the ranges. If there is none within `reach` (a text of nothing
/// but escapes that overlap each other when read in different ways, which nobody writes), the limit itself.
fn cut(limit: usize, reach: usize, mut whole: Vec<Range<usize>>) -> usize {
    whole.sort_unstable_by_key(|range| std::cmp::Reverse(range.end));
    let mut cut = limit;
    while let Some(range) = whole.iter().find(|range| range.start < cut && cut < range.end) {
        cut = range.start;
        if cut == 0 || cut + reach <= limit {
            return limit;
        }
    }
    cut
}
