//! YAML text into a [`Node`] tree.
//!
//! Everything by which a file could mean something else than it seems to is refused: duplicate keys, keys that are not
//! text, merge keys, tags of other schemas, a second document. Aliases are allowed but counted, so that a small file
//! cannot stand for a huge one.

use crate::diagnostic::Diagnostic;
use crate::source::{Source, Span};
use crate::tree::{Entry, Filled, Kind, Node, shorten};
use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Tag};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// The most values of a file, aliases counted as what they stand for. A deployment of twenty thousand
/// small services has 400,000.
pub(crate) const MAX_NODES: usize = 1_000_000;
/// The deepest nesting.
pub(crate) const MAX_DEPTH: usize = 64;

/// Reads a document.
///
/// # Errors
/// One diagnostic for a text that is not YAML, or that is not one document; else all that is refused in it.
pub(crate) fn parse(source: &Arc<Source>) -> Result<Arc<Node>, Vec<Diagnostic>> {
    let mut builder = Builder::new(source);
    let mut options = granit_parser::Options::default();
    options.set_emit_comments(false);
    options.flow_nesting_limit = MAX_DEPTH;
    options.block_nesting_limit = MAX_DEPTH;
    options.emit_unresolved_aliases = true;
    for next in Parser::new_from_str_with_options(source.text(), options) {
        let outcome = match next {
            Ok((event, span)) => builder.take(event, bytes(span), span.tag_span().map(bytes)),
            Err(error) => Err(Box::new(not_yaml(source, &error))),
        };
        if let Err(fatal) = outcome {
            builder.problems.push(*fatal);
            return Err(builder.problems);
        }
    }
    match builder.root {
        Some(root) if builder.problems.is_empty() => Ok(root.0),
        Some(_) => Err(builder.problems),
        None => Err(vec![empty(source)]),
    }
}

/// A file without any value.
fn empty(source: &Arc<Source>) -> Diagnostic {
    Diagnostic::of_file(source.name(), "spec/empty", format!("{} is empty", source.name()))
        .with_help("start with these lines:\nversion: 1\nname: my-deployment")
}

fn bytes(span: granit_parser::Span) -> Span {
    span.byte_range().map_or(Span::default(), |range| Span { start: range.start, end: range.end.max(range.start) })
}

fn not_yaml(source: &Arc<Source>, error: &ScanError) -> Diagnostic {
    let at = error.marker().byte_offset().unwrap_or_default().min(source.text().len());
    let span = Span { start: at, end: at };
    if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
        return too_deep(source, span);
    }
    let help = match error.kind() {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart => "indent with spaces, not with tabs",
        ErrorKind::MappingValueNotAllowed => {
            "put a text that contains `: ` into quotes; check that the line is indented like its neighbours"
        }
        ErrorKind::UnclosedQuotedScalar => "close the quote that was opened here",
        ErrorKind::UnclosedFlowCollection { .. } | ErrorKind::MismatchedFlowCollectionEnd { .. } => {
            "every `[` needs a `]` and every `{` a `}`; put a text that contains one of them into quotes"
        }
        ErrorKind::UnexpectedCharacter { .. } => "put a text that begins with this character into quotes",
        ErrorKind::UnknownQuotedScalarEscape => "write `\\\\` for a backslash, or use single quotes",
        _ => "check the indentation and the quotes of this line and of the one before it",
    };
    let why = error.kind().to_string();
    Diagnostic::at(source, span, "", "spec/not-yaml", format!("this is not YAML: {why}")).with_help(help)
}

fn too_deep(source: &Arc<Source>, span: Span) -> Diagnostic {
    Diagnostic::at(source, span, "", "spec/too-deep", format!("values are nested deeper than {MAX_DEPTH} levels"))
        .with_help("check for a `[` or `{` that was not meant to be one")
}

/// A list or a map that is not complete yet.
struct Frame {
    kind: Open,
    span: Span,
    anchor: usize,
    size: Size,
}

enum Open {
    List(Vec<Arc<Node>>),
    Map { entries: Vec<Entry>, places: HashMap<String, Span>, key: Option<(Option<String>, Span)> },
}

/// How many values a node stands for, and how deep they are nested.
#[derive(Clone, Copy)]
struct Size {
    values: usize,
    height: usize,
}

const ONE: Size = Size { values: 1, height: 1 };

type Measured = (Arc<Node>, Size);

struct Builder<'s> {
    source: &'s Arc<Source>,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Measured>,
    root: Option<Measured>,
    documents: usize,
    total: usize,
    problems: Vec<Diagnostic>,
}

impl<'s> Builder<'s> {
    fn new(source: &'s Arc<Source>) -> Self {
        Self {
            source,
            stack: Vec::new(),
            anchors: HashMap::new(),
            root: None,
            documents: 0,
            total: 0,
            problems: Vec::new(),
        }
    }

    fn problem(&self, span: Span, code: &str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::at(self.source, span, "", code, message)
    }

    fn take(&mut self, event: Event<'_>, span: Span, tag_span: Option<Span>) -> Result<(), Box<Diagnostic>> {
        let tag_span = tag_span.unwrap_or(span);
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(self
                        .problem(span, "spec/documents", "the file has more than one document")
                        .with_help("make it one document: remove the line `---`, or put the rest into another file")
                        .into());
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let node = self.scalar(&text, style, tag.as_deref(), span, tag_span);
                self.count(1, span)?;
                self.add((Arc::new(node), ONE), anchor);
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), "seq", tag_span);
                self.open(Open::List(Vec::new()), span, anchor)?;
            }
            Event::MappingStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), "map", tag_span);
                self.open(Open::Map { entries: Vec::new(), places: HashMap::new(), key: None }, span, anchor)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            Event::Alias(anchor) => {
                let Some((node, size)) = self.anchors.get(&anchor).cloned() else {
                    return Err(self
                        .problem(span, "spec/alias", "an alias refers to the value that contains it")
                        .with_help("write the value out")
                        .into());
                };
                if self.stack.len() + size.height > MAX_DEPTH {
                    return Err(Box::new(too_deep(self.source, span)));
                }
                self.count(size.values, span)?;
                // The alias is where a person would change the value; what is inside it stays where it is written.
                self.add((Arc::new(Node { span, ..(*node).clone() }), size), 0);
            }
            Event::UnresolvedAlias(name) => {
                self.problems.push(
                    self.problem(span, "spec/alias", format!("there is no anchor `&{}` above", shorten(&name)))
                        .with_help("put a text that begins with `*` into quotes"),
                );
                self.add((Arc::new(Node::made(Kind::Null)), ONE), 0);
            }
            _ => {}
        }
        Ok(())
    }

    /// Bounds what the file stands for, before it is made.
    fn count(&mut self, more: usize, span: Span) -> Result<(), Box<Diagnostic>> {
        self.total = self.total.saturating_add(more);
        if self.total <= MAX_NODES {
            return Ok(());
        }
        Err(self
            .problem(span, "spec/too-many-values", format!("the file stands for more than {MAX_NODES} values"))
            .with_help("an alias counts as all that it stands for; split the deployment into several files")
            .into())
    }

    fn open(&mut self, kind: Open, span: Span, anchor: usize) -> Result<(), Box<Diagnostic>> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(Box::new(too_deep(self.source, span)));
        }
        self.count(1, span)?;
        self.stack.push(Frame { kind, span, anchor, size: ONE });
        Ok(())
    }

    fn close(&mut self, end: Span) {
        let Some(frame) = self.stack.pop() else { return };
        let (kind, first, last) = match frame.kind {
            Open::List(items) => {
                let last = items.last().map(|item| item.span);
                (Kind::List(items), None, last)
            }
            Open::Map { entries, .. } => {
                let first = entries.first().map(|entry| entry.key_span);
                let last = entries.last().map(|e| if e.value.span.is_empty() { e.key_span } else { e.value.span });
                (Kind::Map(entries), first, last)
            }
        };
        // Only a flow collection has an end of its own; a block ends with its last value, not where the next one starts.
        let start = if frame.span.is_empty() { first.map_or(frame.span.start, |s| s.start) } else { frame.span.start };
        let end = if end.is_empty() { last.map_or(frame.span.end, |s| s.end) } else { end.end };
        let span = Span { start, end: end.max(start) };
        let node = Node { kind, span, raw: Arc::from(""), filled: Filled::No };
        self.add((Arc::new(node), frame.size), frame.anchor);
    }

    fn add(&mut self, (node, size): Measured, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, (Arc::clone(&node), size));
        }
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some((node, size));
            return;
        };
        frame.size.values = frame.size.values.saturating_add(size.values);
        frame.size.height = frame.size.height.max(size.height + 1);
        match &mut frame.kind {
            Open::List(items) => items.push(node),
            Open::Map { entries, places, key } => match key.take() {
                None => {
                    let (name, problem) = key_name(self.source, &node);
                    self.problems.extend(problem);
                    let span = node.span;
                    let name = name.filter(|name| {
                        let before = places.get(name).copied();
                        if let Some(before) = before {
                            let message = format!("the key `{}` is there twice", shorten(name));
                            self.problems.push(
                                Diagnostic::at(self.source, span, "", "spec/duplicate-key", message)
                                    .with_label("again here")
                                    .with_also(before, "first here")
                                    .with_help("remove one of the two"),
                            );
                        }
                        before.is_none()
                    });
                    if let Some(name) = &name {
                        places.insert(name.clone(), span);
                    }
                    *key = Some((name, span));
                }
                Some((Some(key), key_span)) => entries.push(Entry { key, key_span, value: node }),
                Some((None, _)) => {}
            },
        }
    }

    fn check_tag(&mut self, tag: Option<&Tag>, expected: &str, span: Span) {
        if let Some(tag) = tag
            && tag.core_suffix() != Some(expected)
        {
            let message = format!("the tag `{}` means nothing here", tag.original());
            self.problems.push(self.problem(span, "spec/tag", message).with_help("remove the tag"));
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: Span, tag_span: Span) -> Node {
        let kind = match (tag.map(Tag::core_suffix), style) {
            (None, ScalarStyle::Plain) => resolve(text),
            (None, _) | (Some(Some("str")), _) => Kind::Text(text.to_owned()),
            (Some(Some(suffix)), _) => {
                let kind = resolve(text);
                let fits = matches!(
                    (suffix, &kind),
                    ("null", Kind::Null)
                        | ("bool", Kind::Bool(_))
                        | ("int", Kind::Int(_) | Kind::BigInt(_))
                        | ("float", Kind::Int(_) | Kind::BigInt(_) | Kind::Float(_))
                );
                if !fits {
                    let message = format!("`{}` is no `!!{suffix}`", shorten(text));
                    self.problems.push(self.problem(tag_span, "spec/tag", message).with_help("remove the tag"));
                }
                kind
            }
            (Some(None), _) => {
                self.check_tag(tag, "str", tag_span);
                Kind::Text(text.to_owned())
            }
        };
        Node { kind, span, raw: Arc::from(shorten(text)), filled: Filled::No }
    }
}

/// A key's name, and what is wrong with it.
fn key_name(source: &Arc<Source>, node: &Node) -> (Option<String>, Option<Diagnostic>) {
    match &node.kind {
        Kind::Text(text) if text == "<<" => {
            let problem = Diagnostic::at(source, node.span, "", "spec/merge-key", "YAML 1.2 has no merge key `<<`")
                .with_help("write the keys out; what differs between environments goes to `environments`");
            (None, Some(problem))
        }
        Kind::Text(text) => (Some(text.clone()), None),
        Kind::List(_) | Kind::Map(_) => {
            let message = format!("a key must be a text, found {}", node.describe());
            let problem = Diagnostic::at(source, node.span, "", "spec/key", message)
                .with_help("put it into quotes if it is meant as a text");
            (None, Some(problem))
        }
        _ => {
            let raw = if node.raw.is_empty() { "" } else { &node.raw };
            let problem = Diagnostic::at(
                source,
                node.span,
                "",
                "spec/key",
                format!("a key must be a text, found {}", node.describe()),
            )
            .with_help(format!("write it in quotes: `\"{raw}\":`"));
            (None, Some(problem))
        }
    }
}

/// What a plain scalar means: YAML 1.2.2, section 10.3.2. `no` and `on` are texts.
fn resolve(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "true" | "True" | "TRUE" => return Kind::Bool(true),
        "false" | "False" | "FALSE" => return Kind::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Kind::Float(f64::NAN),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(digits, ".inf" | ".Inf" | ".INF") {
        return Kind::Float(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    if let Some(octal) = text.strip_prefix("0o").filter(|d| all(d, |b| (b'0'..=b'7').contains(&b))) {
        return integer(octal, 8).unwrap_or_else(|| Kind::Text(text.to_owned()));
    }
    if let Some(hex) = text.strip_prefix("0x").filter(|d| all(d, |b| b.is_ascii_hexdigit())) {
        return integer(hex, 16).unwrap_or_else(|| Kind::Text(text.to_owned()));
    }
    if all(digits, |b| b.is_ascii_digit()) {
        let number = Cow::Borrowed(text.strip_prefix('+').unwrap_or(text));
        return integer(&number, 10).or_else(|| text.parse().ok().map(Kind::Float)).unwrap_or(Kind::Null);
    }
    if is_float(digits)
        && let Ok(value) = text.parse()
    {
        return Kind::Float(value);
    }
    Kind::Text(text.to_owned())
}

fn all(text: &str, test: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && text.bytes().all(test)
}

fn integer(digits: &str, radix: u32) -> Option<Kind> {
    match i64::from_str_radix(digits, radix) {
        Ok(value) => Some(Kind::Int(value)),
        Err(_) => u64::from_str_radix(digits, radix).ok().map(Kind::BigInt),
    }
}

/// `( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let exponent = exponent.is_none_or(|e| all(e.strip_prefix(['-', '+']).unwrap_or(e), |b| b.is_ascii_digit()));
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    exponent && digits(whole) && digits(part) && !(whole.is_empty() && part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<serde_json::Value, Vec<String>> {
        match parse(&Source::new("f", text)) {
            Ok(root) => Ok(root.to_json()),
            Err(problems) => Err(problems.into_iter().map(|p| p.code).collect()),
        }
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        let text = "a: no\nb: 0o17\nc: 0x1F\nd: 1.50\ne: '1'\nf: ~\ng: 12:30\nh: +7\ni: 1e3\nj: 007\nk: 18446744073709551615\nl: !!str 1\nm:\nn: e\no: ' '\np: 1_000\n";
        let expected = serde_json::json!({"a": "no", "b": 15, "c": 31, "d": 1.5, "e": "1", "f": null, "g": "12:30",
            "h": 7, "i": 1000.0, "j": 7, "k": u64::MAX, "l": "1", "m": null, "n": "e", "o": " ", "p": "1_000"});
        assert_eq!(read(text).unwrap(), expected);
    }

    #[test]
    fn what_could_mean_something_else_is_refused() {
        for (text, code) in [
            ("a: 1\na: 2", "spec/duplicate-key"),
            ("1: a", "spec/key"),
            ("[a]: b", "spec/key"),
            ("a: &x {b: 1}\nc: {<<: *x}", "spec/merge-key"),
            ("a: !mine b", "spec/tag"),
            ("a: !!int x", "spec/tag"),
            ("a: !!set {b}", "spec/tag"),
            ("a: 1\n---\nb: 2", "spec/documents"),
            ("a: *x", "spec/alias"),
            ("a: &x [*x]", "spec/alias"),
            ("a: [", "spec/not-yaml"),
            ("a:\n\tb: 1", "spec/not-yaml"),
            ("", "spec/empty"),
            ("# only a comment\n", "spec/empty"),
        ] {
            assert_eq!(read(text), Err(vec![code.to_owned()]), "{text}");
        }
    }

    #[test]
    fn an_alias_bomb_is_stopped() {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for i in 1..10 {
            let refs = vec![format!("*a{}", i - 1); 10].join(",");
            text.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
        }
        assert_eq!(read(&text), Err(vec!["spec/too-many-values".to_owned()]));
        let mut text = "a0: &a0 [x]\n".to_owned();
        for i in 1..400 {
            text.push_str(&format!("a{i}: &a{i} [[[[*a{}]]]]\n", i - 1));
        }
        assert_eq!(read(&text), Err(vec!["spec/too-deep".to_owned()]));
        assert_eq!(read(&"[".repeat(5000)), Err(vec!["spec/too-deep".to_owned()]));
        assert_eq!(read(&"- ".repeat(5000)), Err(vec!["spec/too-deep".to_owned()]));
    }

    #[test]
    fn aliases_are_what_they_stand_for() {
        assert_eq!(read("a: &x {b: 1}\nc: *x").unwrap(), serde_json::json!({"a": {"b": 1}, "c": {"b": 1}}));
    }
}
