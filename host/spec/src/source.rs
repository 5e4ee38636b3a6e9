//! The text of a file and places in it.

use miette::{MietteError, SourceCode, SourceSpan, SpanContents};
use std::sync::Arc;

/// A range of bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The first byte behind it.
    pub end: usize,
}

impl Span {
    /// How many bytes it has.
    #[must_use]
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Whether it has no byte at all: an empty value.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl From<Span> for SourceSpan {
    fn from(span: Span) -> Self {
        SourceSpan::new(span.start.into(), span.len())
    }
}

/// A place as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The bytes.
    pub span: Span,
}

/// A file: its name as shown, its text, and where its lines start.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    name: String,
    text: String,
    lines: Vec<usize>,
}

impl Source {
    /// A file of this name with this text.
    #[must_use]
    pub fn new(name: &str, text: &str) -> Arc<Self> {
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Arc::new(Self {
            name: name.to_owned(),
            text: text.to_owned(),
            lines: std::iter::once(0).chain(starts).collect(),
        })
    }

    /// Its name as shown.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text of a range; empty when the range is none of this file's.
    #[must_use]
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    /// Line and column of a range's first byte.
    #[must_use]
    pub fn locate(&self, span: Span) -> Location {
        let line = self.lines.partition_point(|start| *start <= span.start).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        let before = self.text.get(start..span.start).unwrap_or_default();
        // A byte order mark is no column: editors do not show it.
        let column = before.trim_start_matches('\u{feff}').chars().count() + 1;
        Location { line, column, span }
    }

    /// The rest of the first line of a range, without trailing blanks: a label over many lines hides what it marks.
    pub(crate) fn first_line(&self, span: Span) -> Span {
        let text = self.slice(span);
        let line = text.lines().next().unwrap_or_default();
        Span { start: span.start, end: span.start + line.trim_end().len() }
    }
}

/// So that a diagnostic can show an excerpt without a copy of the file.
#[derive(Debug, Clone)]
pub(crate) struct Excerpt(pub(crate) Arc<Source>);

impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let inner = self.0.text.as_str().read_span(span, before, after)?;
        Ok(Box::new(miette::MietteSpanContents::new_named(
            self.0.name.clone(),
            inner.data(),
            *inner.span(),
            inner.line(),
            inner.column(),
            inner.line_count(),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let source = Source::new("f", "a: 1\nü: ö\n");
        let at = source.text().find('ö').unwrap();
        let place = source.locate(Span { start: at, end: at + 2 });
        assert_eq!((place.line, place.column), (2, 4));
        assert_eq!(source.locate(Span { start: 0, end: 0 }).line, 1);
    }
}
