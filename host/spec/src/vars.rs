//! Variables: `${name}` in a text is replaced, `$${` stands for `${` itself. `${secret.name}` becomes a placeholder: the
//! value never enters the deployment, the host puts it in its place when a request leaves.

use crate::diagnostic::Diagnostic;
use crate::source::{Source, Span};
use crate::suggest;
use crate::tree::{Entry, Filled, Kind, Node, join, shorten};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The most text that variables may blow a file up to, in bytes.
const MAX_FILLED: usize = 16 * 1024 * 1024;

/// What stands in front of a secret's name.
const SECRET: &str = "secret.";

/// The placeholder of a secret: made of characters that URLs, forms and JSON leave as they are.
/// `basb_credentials::placeholder` knows the same.
#[must_use]
pub fn placeholder(secret: &str) -> String {
    format!("__basb.secret.{secret}__")
}

/// Whether a name can be that of a variable: a letter, then letters, digits, `_`, `-` and `.`.
pub(crate) fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// Puts variables into a tree.
pub(crate) struct Filler<'a> {
    pub(crate) source: &'a Arc<Source>,
    pub(crate) vars: &'a BTreeMap<String, String>,
    pub(crate) secrets: &'a BTreeSet<&'a str>,
    pub(crate) used: &'a mut BTreeSet<String>,
    pub(crate) problems: &'a mut Vec<Diagnostic>,
    /// How many bytes it has made so far.
    pub(crate) made: usize,
}

impl Filler<'_> {
    /// The tree with its variables replaced; `skip` says at which pointers it stays as it is.
    pub(crate) fn fill(&mut self, node: &Arc<Node>, pointer: &str, skip: &dyn Fn(&str) -> bool) -> Arc<Node> {
        if skip(pointer) {
            return Arc::clone(node);
        }
        match &node.kind {
            Kind::Text(text) if text.contains("${") => {
                let filled = self.text(text, node.span, pointer);
                Arc::new(Node { kind: Kind::Text(filled), filled: Filled::Yes, ..(**node).clone() })
            }
            Kind::List(items) => {
                let new: Vec<_> = items
                    .iter()
                    .enumerate()
                    .map(|(i, item)| self.fill(item, &format!("{pointer}/{i}"), skip))
                    .collect();
                let same = new.iter().zip(items).all(|(a, b)| Arc::ptr_eq(a, b));
                if same { Arc::clone(node) } else { Arc::new(Node { kind: Kind::List(new), ..(**node).clone() }) }
            }
            Kind::Map(entries) => {
                let new: Vec<_> = entries
                    .iter()
                    .map(|entry| Entry {
                        value: self.fill(&entry.value, &join(pointer, &entry.key), skip),
                        ..entry.clone()
                    })
                    .collect();
                let same = new.iter().zip(entries).all(|(a, b)| Arc::ptr_eq(&a.value, &b.value));
                if same { Arc::clone(node) } else { Arc::new(Node { kind: Kind::Map(new), ..(**node).clone() }) }
            }
            _ => Arc::clone(node),
        }
    }

    fn text(&mut self, text: &str, span: Span, pointer: &str) -> String {
        let written = self.source.slice(span);
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        let mut seen = 0;
        while let Some(at) = rest.find("${") {
            let (before, tail) = rest.split_at(at);
            let body = tail.get(2..).unwrap_or_default();
            if let Some(before) = before.strip_suffix('$') {
                out.push_str(before);
                out.push_str("${");
                rest = body;
                seen = advance(written, seen, "$${");
                continue;
            }
            out.push_str(before);
            let Some((name, tail)) = body.split_once('}') else {
                self.problem(span, pointer, "a `${` is not closed".to_owned(), help_literal("${"));
                out.push_str("${");
                rest = body;
                continue;
            };
            let reference = format!("${{{name}}}");
            let place = written.get(seen..).and_then(|rest| rest.find(&reference)).map_or(span, |found| {
                let start = span.start + seen + found;
                Span { start, end: start + reference.len() }
            });
            seen = advance(written, seen, &reference);
            rest = tail;
            if let Some(secret) = name.strip_prefix(SECRET) {
                self.used.insert(name.to_owned());
                if self.secrets.contains(secret) {
                    out.push_str(&placeholder(secret));
                } else {
                    let message = format!("there is no secret `{}`", shorten(secret));
                    let near = suggest::nearest(secret, self.secrets.iter().copied());
                    let help = near.map_or_else(
                        || {
                            format!(
                                "name it under `secrets`:\nsecrets:\n  {}: {{ store: env, key: NAME }}",
                                shorten(secret)
                            )
                        },
                        |near| format!("did you mean `${{secret.{near}}}`?"),
                    );
                    self.problem(place, pointer, message, help);
                }
            } else if let Some(value) = self.vars.get(name) {
                self.used.insert(name.to_owned());
                self.made = self.made.saturating_add(value.len());
                if self.made <= MAX_FILLED {
                    out.push_str(value);
                } else if self.made - value.len() <= MAX_FILLED {
                    self.problem(
                        place,
                        pointer,
                        "variables make the file too long".to_owned(),
                        "at most 16 MiB".into(),
                    );
                }
            } else if is_name(name) {
                let message = format!("`{}` is not a variable", shorten(&reference));
                let near = suggest::nearest(name, self.vars.keys().map(String::as_str));
                let near = near.map(|near| format!("did you mean `${{{near}}}`?\n")).unwrap_or_default();
                let help = format!(
                    "{near}define it under `vars`, give it with `--set {name}=…`, or write `${reference}` for the text itself"
                );
                self.problem(place, pointer, message, help);
            } else {
                let message = format!("`{}` cannot be the name of a variable", shorten(name));
                self.problem(place, pointer, message, help_literal(&shorten(&reference)));
            }
        }
        out.push_str(rest);
        out
    }

    fn problem(&mut self, span: Span, pointer: &str, message: String, help: String) {
        if self.problems.len() >= crate::read::MAX_COLLECTED {
            return;
        }
        let problem = Diagnostic::at(self.source, span, pointer, "spec/unknown-variable", message);
        self.problems.push(problem.with_help(help));
    }
}

fn help_literal(text: &str) -> String {
    format!("write `${text}` for the text itself")
}

/// Behind the next place where something is written, so that the next search starts there.
fn advance(written: &str, from: usize, what: &str) -> usize {
    written.get(from..).and_then(|rest| rest.find(what)).map_or(from, |found| from + found + what.len())
}
