//! From a JSON pointer back to the line.

use crate::diagnostic::Diagnostic;
use crate::source::{Location, Source, Span};
use crate::tree::{Kind, Node, members};
use std::sync::Arc;

/// Where every value of a deployment file is, so that whoever finds a problem later can say so with line and column.
///
/// A pointer is that of the value after the environment's overrides: where `environments.local.services.a.replicas`
/// overrides it, `/services/a/replicas` leads to the override.
#[derive(Debug, Clone)]
pub struct SourceMap {
    pub(crate) source: Arc<Source>,
    /// The file in the chosen environment.
    pub(crate) effective: Arc<Node>,
    /// The file as it is written: for pointers into other environments.
    pub(crate) written: Arc<Node>,
}

/// How far a pointer could be followed.
struct Found {
    depth: usize,
    missing: usize,
    focus: Span,
    value: Span,
}

impl SourceMap {
    /// The file.
    #[must_use]
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// Where a value is: all of it, over several lines when need be. A pointer to what is not in the file, such as a
    /// default or a missing key, gives the nearest value that encloses it.
    #[must_use]
    pub fn locate(&self, pointer: &str) -> Location {
        self.source.locate(self.find(pointer).value)
    }

    /// A problem at a value that somebody else found, a plugin say. What is marked is a scalar itself and the key of
    /// anything larger.
    #[must_use]
    pub fn diagnostic_at(
        &self,
        pointer: &str,
        code: &str,
        message: impl Into<String>,
        help: Option<String>,
    ) -> Diagnostic {
        let problem = Diagnostic::at(&self.source, self.find(pointer).focus, pointer, code, message);
        problem.with_hint(help)
    }

    fn find(&self, pointer: &str) -> Found {
        let effective = follow(&self.source, &self.effective, pointer);
        if effective.missing == 0 {
            return effective;
        }
        let written = follow(&self.source, &self.written, pointer);
        if written.depth > effective.depth { written } else { effective }
    }
}

fn follow(source: &Source, root: &Arc<Node>, pointer: &str) -> Found {
    let mut node = root;
    let mut found = Found { depth: 0, missing: 0, focus: focus(source, None, root), value: root.span };
    for member in members(pointer) {
        if found.missing > 0 {
            found.missing += 1;
            continue;
        }
        let (key, next) = match &node.kind {
            Kind::Map(_) => match node.get(&member) {
                Some(entry) => (Some(entry.key_span), &entry.value),
                None => {
                    found.missing = 1;
                    continue;
                }
            },
            Kind::List(items) => match member.parse().ok().and_then(|at: usize| items.get(at)) {
                Some(item) => (None, item),
                None => {
                    found.missing = 1;
                    continue;
                }
            },
            _ => {
                found.missing = 1;
                continue;
            }
        };
        node = next;
        let value = if next.span.is_empty() { key.unwrap_or(next.span) } else { next.span };
        found = Found { depth: found.depth + 1, missing: 0, focus: focus(source, key, next), value };
    }
    found
}

/// What to mark for a value: a scalar itself, the key of a list or a map, else its first line.
pub(crate) fn focus(source: &Source, key: Option<Span>, node: &Node) -> Span {
    match (&node.kind, key) {
        (Kind::List(_) | Kind::Map(_), Some(key)) => key,
        (_, Some(key)) if node.span.is_empty() => key,
        _ => source.first_line(node.span),
    }
}
