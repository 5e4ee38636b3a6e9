//! What is wrong with a file, where, and what to do next.

use crate::source::{Excerpt, Location, Source, Span};
use miette::LabeledSpan;
use serde::ser::{Serialize, SerializeStruct, Serializer};
use std::fmt;
use std::sync::Arc;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// It can, but somebody should look.
    Warning,
}

impl Severity {
    /// The word for it in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One problem. Its JSON form `{code, message, file, line, column, pointer, help, severity}` is stable.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Diagnostic {
    /// A stable code such as `spec/unknown-key`; the part before the slash says who found it.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do next.
    pub help: Option<String>,
    /// How bad it is.
    pub severity: Severity,
    /// The file, as it was named by whoever asked for it.
    pub file: String,
    /// The JSON pointer (RFC 6901) of the value in the file after the environment's overrides; empty for the whole.
    pub pointer: String,
    /// Where in the file; nothing when the file could not be read.
    pub location: Option<Location>,
    label: Option<String>,
    also: Vec<(Span, String)>,
    excerpt: Option<Excerpt>,
}

impl Diagnostic {
    /// A problem of a file as a whole, such as one that cannot be read.
    #[must_use]
    pub fn of_file(file: &str, code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            help: None,
            severity: Severity::Error,
            file: file.to_owned(),
            pointer: String::new(),
            location: None,
            label: None,
            also: Vec::new(),
            excerpt: None,
        }
    }

    /// A problem at a place of a file.
    #[must_use]
    pub fn at(source: &Arc<Source>, span: Span, pointer: &str, code: &str, message: impl Into<String>) -> Self {
        Self {
            pointer: pointer.to_owned(),
            location: Some(source.locate(span)),
            excerpt: Some(Excerpt(Arc::clone(source))),
            ..Self::of_file(source.name(), code, message)
        }
    }

    /// With what to do next.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With what to do next, if that is known.
    #[must_use]
    pub(crate) fn with_hint(mut self, hint: Option<String>) -> Self {
        self.help = hint.or(self.help);
        self
    }

    /// With a short text beside the marked place.
    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// With a second place that has to do with it.
    #[must_use]
    pub fn with_also(mut self, span: Span, label: impl Into<String>) -> Self {
        self.also.push((span, label.into()));
        self
    }

    /// As a warning.
    #[must_use]
    pub fn as_warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    fn order(&self) -> (usize, usize, &str, &str) {
        let at = self.location.map_or((0, 0), |at| (at.span.start, at.span.end));
        (at.0, at.1, &self.code, &self.message)
    }
}

impl PartialEq for Diagnostic {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order() && self.pointer == other.pointer && self.severity == other.severity
    }
}

impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut form = serializer.serialize_struct("Diagnostic", 8)?;
        form.serialize_field("code", &self.code)?;
        form.serialize_field("message", &self.message)?;
        form.serialize_field("file", &self.file)?;
        form.serialize_field("line", &self.location.map(|at| at.line))?;
        form.serialize_field("column", &self.location.map(|at| at.column))?;
        form.serialize_field("pointer", &self.pointer)?;
        form.serialize_field("help", &self.help)?;
        form.serialize_field("severity", self.severity.as_str())?;
        form.end()
    }
}

impl miette::Diagnostic for Diagnostic {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display + 'a>)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.excerpt.as_ref().map(|excerpt| excerpt as &dyn miette::SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let at = self.location?;
        let main = LabeledSpan::new_primary_with_span(self.label.clone(), at.span);
        let also = self.also.iter().map(|(span, label)| LabeledSpan::new_with_span(Some(label.clone()), *span));
        Some(Box::new(std::iter::once(main).chain(also)))
    }
}

/// The most problems of one file that are kept: who has more reads the first ones.
pub const MAX_DIAGNOSTICS: usize = 200;

/// All that is wrong with a file, in the order of the file; at least one.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}", self.title())]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// Sorts problems by their place and drops what is there twice.
    #[must_use]
    pub fn new(all: Vec<Diagnostic>) -> Self {
        let mut all = sorted(all);
        if all.len() > MAX_DIAGNOSTICS {
            let more = all.len() - MAX_DIAGNOSTICS;
            all.truncate(MAX_DIAGNOSTICS);
            if let Some(last) = all.last_mut() {
                let note = format!("{more} more problems are not shown");
                last.help = Some(last.help.take().map_or(note.clone(), |help| format!("{help}\n{note}")));
            }
        }
        Self(all)
    }

    /// The problems.
    #[must_use]
    pub fn as_slice(&self) -> &[Diagnostic] {
        &self.0
    }

    /// The problems, one by one.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    fn title(&self) -> String {
        let file = self.0.first().map_or("", |first| first.file.as_str());
        match self.0.len() {
            1 => format!("{file} has a problem"),
            many => format!("{file} has {many} problems"),
        }
    }
}

/// In the order of the file, each once.
pub(crate) fn sorted(mut all: Vec<Diagnostic>) -> Vec<Diagnostic> {
    all.sort_by(|a, b| a.order().cmp(&b.order()));
    all.dedup();
    all
}

impl From<Diagnostic> for Diagnostics {
    fn from(one: Diagnostic) -> Self {
        Self(vec![one])
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl Serialize for Diagnostics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl miette::Diagnostic for Diagnostics {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn miette::Diagnostic> + 'a>> {
        Some(Box::new(self.0.iter().map(|one| one as &dyn miette::Diagnostic)))
    }
}
