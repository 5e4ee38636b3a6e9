//! Reads a tree into the shapes of [`crate::shape`], with every problem of it and the schema from the same words.
//!
//! A shape is declared once, with [`record!`]: its keys, their types, defaults and descriptions. The reader and the JSON
//! Schema both come from that, so they cannot disagree.

mod scalars;

pub(crate) use scalars::{
    Address, Bytes, Count, Expression, Flag, Object, OrNever, PluginLocation, Text, VariableName, Version,
};

use crate::diagnostic::Diagnostic;
use crate::source::{Source, Span};
use crate::source_map::focus;
use crate::suggest;
use crate::tree::{Filled, Kind, Node, join};
use schemars::{Schema, SchemaGenerator, json_schema};
use std::sync::Arc;

/// Where a value is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) pointer: String,
    /// What to mark.
    pub(crate) span: Span,
}

/// A value and where it is.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// The most problems that are collected in one environment; far more than are shown.
pub(crate) const MAX_COLLECTED: usize = 1000;

/// What reading collects.
pub(crate) struct Reader<'a> {
    pub(crate) source: &'a Arc<Source>,
    pub(crate) problems: Vec<Diagnostic>,
}

/// Something that a value of the file can be.
pub(crate) trait Shape: Sized {
    /// Reads it; what is wrong goes to the reader. Nothing when it cannot be used at all.
    fn read(node: &Node, place: &Place, reader: &mut Reader<'_>) -> Option<Self>;
    /// Its JSON Schema.
    fn schema(generator: &mut SchemaGenerator) -> Schema;
}

impl Reader<'_> {
    /// Adds a problem, unless there are so many that nobody will read them.
    pub(crate) fn push(&mut self, problem: Diagnostic) {
        if !self.is_full() {
            self.problems.push(problem);
        }
    }

    /// Whether more problems would not be kept: then what is costly about them can be left out.
    pub(crate) fn is_full(&self) -> bool {
        self.problems.len() >= MAX_COLLECTED
    }

    /// Adds a problem.
    pub(crate) fn problem(&mut self, place: &Place, code: &str, message: impl Into<String>) {
        self.push(Diagnostic::at(self.source, place.span, &place.pointer, code, message));
    }

    /// Adds a problem with what to do next.
    pub(crate) fn problem_with_help(
        &mut self,
        place: &Place,
        code: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(Diagnostic::at(self.source, place.span, &place.pointer, code, message).with_help(help));
    }

    /// A value of the wrong type.
    pub(crate) fn wrong_type(&mut self, node: &Node, place: &Place, expected: &str, help: Option<String>) {
        let found = node.describe();
        let what = place.pointer.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("the file");
        let what = if what.bytes().all(|b| b.is_ascii_digit()) { "this".to_owned() } else { format!("`{what}`") };
        let message = match node.kind {
            Kind::Null => format!("{what} has no value; it must be {expected}"),
            _ => format!("{what} must be {expected}, found {found}"),
        };
        let help = help.or_else(|| match (node.filled, &node.kind) {
            (Filled::Yes, _) => {
                Some("a variable is always text; override the key under `environments` instead".to_owned())
            }
            (_, Kind::Null) => Some("give it a value, or leave the key out".to_owned()),
            _ => None,
        });
        let problem = Diagnostic::at(self.source, place.span, &place.pointer, "spec/wrong-type", message);
        self.push(problem.with_hint(help));
    }

    /// Whether it is a map; if not, that is a problem.
    pub(crate) fn is_map(&mut self, node: &Node, place: &Place) -> bool {
        let is = matches!(node.kind, Kind::Map(_));
        if !is {
            self.wrong_type(node, place, "a map of keys", None);
        }
        is
    }

    /// The place of a member.
    pub(crate) fn member(&self, place: &Place, key: &str, key_span: Option<Span>, node: &Node) -> Place {
        Place { pointer: join(&place.pointer, key), span: focus(self.source, key_span, node) }
    }

    /// Every key that nobody knows is a problem.
    pub(crate) fn unknown_keys(&mut self, node: &Node, place: &Place, known: &[&'static str]) {
        for entry in node.entries().iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            if self.is_full() {
                return;
            }
            let at = Place { pointer: join(&place.pointer, &entry.key), span: entry.key_span };
            let message = format!("the key `{}` is not known here", crate::tree::shorten(&entry.key));
            match suggest::hint(&entry.key, known.iter().copied()) {
                Some(hint) => self.problem_with_help(&at, "spec/unknown-key", message, hint),
                None => self.problem(&at, "spec/unknown-key", message),
            }
        }
    }

    /// Reads a member, when it is there.
    pub(crate) fn optional<T: Shape>(&mut self, node: &Node, place: &Place, key: &str) -> Option<At<T>> {
        let entry = node.get(key)?;
        let place = self.member(place, key, Some(entry.key_span), &entry.value);
        Some(At { value: T::read(&entry.value, &place, self)?, place })
    }

    /// Reads a member; that it is not there is a problem.
    pub(crate) fn required<T: Shape>(&mut self, node: &Node, place: &Place, key: &str, about: &str) -> Option<At<T>> {
        if node.get(key).is_none() {
            // A misspelt key has been told with the right one.
            if node.entries().iter().any(|entry| suggest::nearest(&entry.key, [key]).is_some()) {
                return None;
            }
            let owner = place.pointer.rsplit('/').next().filter(|name| !name.is_empty());
            let message = match owner {
                Some(owner) if owner.bytes().all(|b| b.is_ascii_digit()) => format!("the key `{key}` is missing"),
                Some(owner) => format!("the key `{key}` is missing in `{owner}`"),
                None => format!("the key `{key}` is missing"),
            };
            self.problem_with_help(place, "spec/missing-key", message, format!("add `{key}`: {}", lower_first(about)));
            return None;
        }
        self.optional(node, place, key)
    }

    /// Reads a member, or its default as if it had been written.
    pub(crate) fn or_default<T: Shape>(
        &mut self,
        node: &Node,
        place: &Place,
        key: &str,
        default: &serde_json::Value,
    ) -> Option<At<T>> {
        if node.get(key).is_some() {
            return self.optional(node, place, key);
        }
        let kind = match default {
            serde_json::Value::Bool(value) => Kind::Bool(*value),
            serde_json::Value::Number(value) => Kind::Int(value.as_i64().unwrap_or_default()),
            serde_json::Value::String(text) => Kind::Text(text.clone()),
            serde_json::Value::Array(_) => Kind::List(Vec::new()),
            serde_json::Value::Object(_) => Kind::Map(Vec::new()),
            serde_json::Value::Null => Kind::Null,
        };
        // Where a default is blamed, the value around it is marked.
        let place = Place { pointer: join(&place.pointer, key), span: place.span };
        Some(At { value: T::read(&Node::made(kind), &place, self)?, place })
    }
}

/// A description as a part of a sentence.
fn lower_first(about: &str) -> String {
    let about = crate::schema::tidy(about);
    let mut letters = about.trim_end_matches('.').chars();
    letters.next().into_iter().flat_map(char::to_lowercase).chain(letters).collect()
}

/// A list.
#[derive(Debug, Clone)]
pub(crate) struct List<T>(pub(crate) Vec<At<T>>);

impl<T: Shape> Shape for List<T> {
    fn read(node: &Node, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        let Kind::List(items) = &node.kind else {
            let help = match &node.kind {
                Kind::Text(text) if place.pointer.ends_with("/command") => {
                    let words: Vec<String> = text.split_whitespace().map(|word| format!("{word:?}")).collect();
                    Some(format!("write `[{}]`", crate::tree::shorten(&words.join(", "))))
                }
                Kind::Text(text) => Some(format!("write `[{}]` for a list of one", crate::tree::shorten(text))),
                _ => None,
            };
            reader.wrong_type(node, place, "a list", help);
            return None;
        };
        let read = items.iter().enumerate().filter_map(|(index, item)| {
            let place = reader.member(place, &index.to_string(), None, item);
            Some(At { value: T::read(item, &place, reader)?, place })
        });
        Some(Self(read.collect()))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let items = T::schema(generator);
        json_schema!({ "type": "array", "items": items })
    }
}

/// A list of at least one.
#[derive(Debug, Clone)]
pub(crate) struct NonEmpty<T>(pub(crate) Vec<At<T>>);

impl<T: Shape> Shape for NonEmpty<T> {
    fn read(node: &Node, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        if matches!(&node.kind, Kind::List(items) if items.is_empty()) {
            let name = place.pointer.rsplit('/').next().unwrap_or_default();
            reader.problem_with_help(
                place,
                "spec/empty-list",
                format!("`{name}` is empty"),
                "give it at least one item",
            );
            return None;
        }
        List::read(node, place, reader).map(|List(items)| Self(items))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let items = T::schema(generator);
        json_schema!({ "type": "array", "items": items, "minItems": 1 })
    }
}

/// A key that is a name.
pub(crate) trait Name: Sized {
    /// Checks it.
    fn check(name: &str) -> Result<Self, String>;
    /// What it looks like, for the schema.
    const PATTERN: &'static str;
}

/// DNS labels, RFC 1123.
pub(crate) const LABEL: &str = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$";

/// A pattern for the schema; a text with a variable in it is judged when its value is known.
pub(crate) fn or_variable(pattern: &str) -> String {
    format!("({pattern})|\\$\\{{")
}

macro_rules! label {
    ($($name:ty),*) => {$(
        impl Name for $name {
            fn check(name: &str) -> Result<Self, String> {
                Self::new(name).map_err(|error| error.to_string())
            }
            const PATTERN: &'static str = LABEL;
        }

        impl Shape for $name {
            fn read(node: &Node, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
                let Text(text) = Text::read(node, place, reader)?;
                named(&text, place, reader)
            }
            fn schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": or_variable(LABEL) })
            }
        }
    )*};
}

label!(basb_core::PluginName, basb_core::ServiceName);

/// Checks a name.
fn named<N: Name>(name: &str, place: &Place, reader: &mut Reader<'_>) -> Option<N> {
    match N::check(name) {
        Ok(name) => Some(name),
        Err(message) => {
            let help = match repaired(name) {
                Some(repaired) if N::check(&repaired).is_ok() => format!("write `{repaired}`"),
                _ => "a name is 1 to 63 of a-z, 0-9 and, inside, `-`".to_owned(),
            };
            reader.problem_with_help(place, "spec/bad-name", message, help);
            None
        }
    }
}

/// What a name was probably meant as.
fn repaired(name: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    let text: String = lower.chars().map(|c| if matches!(c, '_' | '.' | ' ') { '-' } else { c }).collect();
    let text = text.trim_matches('-');
    (!text.is_empty()).then(|| text.to_owned())
}

/// A map from names to values, in the order of the file.
#[derive(Debug, Clone)]
pub(crate) struct Dict<K, V>(pub(crate) Vec<Item<K, V>>);

/// An entry of a [`Dict`]. Even when it cannot be used its key is known, so that references to it do not dangle.
#[derive(Debug, Clone)]
pub(crate) struct Item<K, V> {
    pub(crate) key: String,
    pub(crate) name: Option<K>,
    pub(crate) value: Option<V>,
}

impl<K, V> Dict<K, V> {
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.iter().map(|item| item.key.as_str())
    }

    /// The entries that could be read.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&Item<K, V>, &V)> {
        self.0.iter().filter_map(|item| Some((item, item.value.as_ref()?)))
    }
}

impl<K: Name, V: Shape> Shape for Dict<K, V> {
    fn read(node: &Node, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        if !reader.is_map(node, place) {
            return None;
        }
        let items = node.entries().iter().map(|entry| {
            let key_place = Place { pointer: join(&place.pointer, &entry.key), span: entry.key_span };
            let name = named(&entry.key, &key_place, reader);
            let place = reader.member(place, &entry.key, Some(entry.key_span), &entry.value);
            let value = V::read(&entry.value, &place, reader);
            Item { key: entry.key.clone(), name, value }
        });
        Some(Self(items.collect()))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let value = V::schema(generator);
        json_schema!({
            "type": "object",
            "propertyNames": { "pattern": K::PATTERN },
            "additionalProperties": value,
        })
    }
}

/// Declares a map of known keys: its struct, its reader and its schema.
///
/// `required` keys must be there, `optional` ones need not, `default` ones are read as if the default had been written.
macro_rules! record {
    ($(#[doc = $doc:literal])* $name:ident {
        $( $(#[doc = $about:literal])* $key:literal $field:ident : $kind:ident $ty:ty $(= $default:tt)? ; )*
    }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone)]
        #[allow(dead_code, reason = "some keys are read and checked here, and used before that from the tree")]
        pub(crate) struct $name {
            $( $(#[doc = $about])* pub(crate) $field: Option<$crate::read::At<$ty>>, )*
            /// The keys that are there, even if what they have cannot be used.
            written: Vec<&'static str>,
        }

        impl $name {
            /// Whether a key is there, even if what it has cannot be used.
            #[allow(dead_code, reason = "not every record is asked")]
            pub(crate) fn has(&self, key: &str) -> bool {
                self.written.contains(&key)
            }
        }

        impl $crate::read::Shape for $name {
            fn read(
                node: &$crate::tree::Node,
                place: &$crate::read::Place,
                reader: &mut $crate::read::Reader<'_>,
            ) -> Option<Self> {
                if !reader.is_map(node, place) {
                    return None;
                }
                reader.unknown_keys(node, place, &[$($key),*]);
                Some(Self {
                    $( $field: record!(@read $kind reader, node, place, $key, concat!($($about, "\n"),*) $(, $default)?), )*
                    written: [$($key),*].into_iter().filter(|key| node.get(key).is_some()).collect(),
                })
            }

            fn schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                generator.subschema_for::<Self>()
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let mut record = $crate::schema::Record::new(concat!($($doc, "\n"),*));
                $(
                    let member = <$ty as $crate::read::Shape>::schema(generator);
                    record.member($key, member, concat!($($about, "\n"),*), record!(@presence $kind $($default)?));
                )*
                record.finish()
            }
        }
    };
    (@read required $reader:ident, $node:ident, $place:ident, $key:literal, $about:expr) => {
        $reader.required($node, $place, $key, $about)
    };
    (@read optional $reader:ident, $node:ident, $place:ident, $key:literal, $about:expr) => {
        $reader.optional($node, $place, $key)
    };
    (@read default $reader:ident, $node:ident, $place:ident, $key:literal, $about:expr, $default:tt) => {
        $reader.or_default($node, $place, $key, &serde_json::json!($default))
    };
    (@presence required) => { $crate::schema::Presence::Required };
    (@presence optional) => { $crate::schema::Presence::Optional };
    (@presence default $default:tt) => { $crate::schema::Presence::Default(serde_json::json!($default)) };
}
pub(crate) use record;
