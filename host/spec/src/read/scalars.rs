//! The scalars of a deployment file.

use super::{Name, Place, Reader, Shape, or_variable};
use crate::tree::{Kind, Node, shorten};
use basb_core::Millis;
use basb_core::analysis::Condition;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;

/// Any text. A number or `true` is refused, since YAML has already changed it: `1.10` has become 1.1.
#[derive(Debug, Clone)]
pub(crate) struct Text(pub(crate) String);

impl Shape for Text {
    fn read(node: &Node, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.kind {
            Kind::Text(text) => Some(Self(text.clone())),
            Kind::Bool(_) | Kind::Int(_) | Kind::BigInt(_) | Kind::Float(_) => {
                reader.wrong_type(node, place, "a text", Some(format!("write it in quotes: `\"{}\"`", node.raw)));
                None
            }
            _ => {
                reader.wrong_type(node, place, "a text", None);
                None
            }
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// `true` or `false`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Flag {
    True,
    False,
}

impl Shape for Flag {
    fn read(node: &Node, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        let help = match &node.kind {
            Kind::Bool(true) => return Some(Self::True),
            Kind::Bool(false) => return Some(Self::False),
            Kind::Text(text) => match text.to_ascii_lowercase().as_str() {
                "yes" | "y" | "on" | "true" => Some("write `true`, without quotes"),
                "no" | "n" | "off" | "false" => Some("write `false`, without quotes"),
                _ => None,
            },
            _ => None,
        };
        reader.wrong_type(node, place, "`true` or `false`", help.map(str::to_owned));
        None
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "boolean" })
    }
}

/// A whole number from `MIN` up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Count<const MIN: u32>(pub(crate) u32);

impl<const MIN: u32> Shape for Count<MIN> {
    fn read(node: &Node, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        let help = match &node.kind {
            Kind::Int(value) => {
                return match u32::try_from(*value) {
                    Ok(value) if value >= MIN => Some(Self(value)),
                    _ => {
                        let message = if *value < i64::from(MIN) {
                            format!("{value} is too small; the least is {MIN}")
                        } else {
                            format!("{value} is too large; the most is {}", u32::MAX)
                        };
                        reader.problem(place, "spec/out-of-range", message);
                        None
                    }
                };
            }
            Kind::Text(text) if text.parse::<u32>().is_ok() && node.filled == crate::tree::Filled::No => {
                Some(format!("write {text} without quotes"))
            }
            _ => None,
        };
        reader.wrong_type(node, place, "a whole number", help);
        None
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": u32::MAX })
    }
}

impl Shape for Millis {
    fn read(node: &Node, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.kind {
            Kind::Text(text) => match Self::parse(text) {
                Ok(duration) => Some(duration),
                Err(message) => {
                    let (message, help) = message.split_once("; ").unwrap_or((&message, "write `30s`"));
                    let (message, help) = match meant(text) {
                        Some(meant) => (format!("`{}` is not a duration", shorten(text)), format!("write `{meant}`")),
                        None => (message.to_owned(), help.to_owned()),
                    };
                    reader.problem_with_help(place, "spec/bad-duration", message, help);
                    None
                }
            },
            Kind::Int(number) => {
                let message = format!("`{number}` is not a duration: it has no unit");
                let help = format!("write `{number}s` for seconds, or `{number}ms`, `{number}m`, `{number}h`");
                reader.problem_with_help(place, "spec/bad-duration", message, help);
                None
            }
            _ => {
                reader.wrong_type(node, place, "a duration such as `30s`", None);
                None
            }
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": or_variable("^([0-9]+(ms|s|m|h|d))+$") })
    }
}

/// The duration that somebody who wrote `10 minutes` or `1.5s` meant.
fn meant(text: &str) -> Option<String> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.')?);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "ms" | "msec" | "msecs" | "millis" | "millisecond" | "milliseconds" => 1.0,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600_000.0,
        "d" | "day" | "days" => 86_400_000.0,
        _ => return None,
    };
    let duration = std::time::Duration::try_from_secs_f64(number.parse::<f64>().ok()? * factor / 1000.0).ok()?;
    let duration = Millis(u64::try_from(duration.as_millis()).ok()?);
    // What is shown rounds: `1.5s` is no duration of this file.
    let shown = if duration.to_string().contains('.') { format!("{}ms", duration.0) } else { duration.to_string() };
    (Millis::parse(&shown) == Ok(duration)).then_some(shown)
}

/// A value, or `never`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum OrNever<T> {
    Some(T),
    Never,
}

impl<T: Copy> OrNever<T> {
    pub(crate) fn get(&self) -> Option<T> {
        match self {
            Self::Some(value) => Some(*value),
            Self::Never => None,
        }
    }
}

impl<T: Shape> Shape for OrNever<T> {
    fn read(node: &Node, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.kind {
            Kind::Text(text) if text == "never" => Some(Self::Never),
            Kind::Text(text) if crate::suggest::nearest(text, ["never"]).is_some() => {
                let message = format!("`{}` is not known here", shorten(text));
                reader.problem_with_help(place, "spec/wrong-type", message, "did you mean `never`?");
                None
            }
            Kind::Int(-1) => {
                reader.problem_with_help(place, "spec/out-of-range", "-1 is too small", "write `never`");
                None
            }
            _ => T::read(node, place, reader).map(Self::Some),
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let value = T::schema(generator);
        json_schema!({ "anyOf": [value, { "const": "never" }] })
    }
}

/// A number of bytes, such as `256MiB`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bytes(pub(crate) u64);

const BYTE_UNITS: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

impl Shape for Bytes {
    fn read(node: &Node, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        let text = match &node.kind {
            Kind::Text(text) => text.trim().to_owned(),
            Kind::Int(number) => number.to_string(),
            _ => {
                reader.wrong_type(node, place, "a size such as `256MiB`", None);
                return None;
            }
        };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim_start();
        let factor = BYTE_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
        let why = match (number.parse::<u64>(), factor) {
            (Ok(0), _) => "it is nothing",
            (Ok(number), Some(factor)) => match number.checked_mul(factor) {
                Some(bytes) => return Some(Self(bytes)),
                None => "it is too large",
            },
            (Err(_), _) => "a whole number is expected",
            (Ok(_), None) if unit.is_empty() => "it has no unit",
            (Ok(_), None) => "its unit is not known",
        };
        let message = format!("`{}` is not a size: {why}", shorten(&text));
        reader.problem_with_help(place, "spec/bad-size", message, "write `256MiB`, `1GiB` or `500MB`");
        None
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": or_variable("^[0-9]+ ?(B|kB|MB|GB|KiB|MiB|GiB)$") })
    }
}

/// `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) text: String,
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    /// Whether both cannot be listened on at the same time.
    pub(crate) fn collides(&self, other: &Self) -> bool {
        let every = |host: &str| matches!(host, "0.0.0.0" | "::");
        let local = |host: &str| matches!(host, "127.0.0.1" | "localhost");
        self.port == other.port
            && (self.host == other.host
                || every(&self.host)
                || every(&other.host)
                || (local(&self.host) && local(&other.host)))
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let (host, port) = text.rsplit_once(':').ok_or("it has no port")?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(v6) => v6.parse::<std::net::Ipv6Addr>().map_err(|_| "its host is not an IPv6 address")?.to_string(),
            None => {
                let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
                if host.is_empty() {
                    return Err("it has no host");
                }
                if text.contains("://") {
                    return Err("it is a URL");
                }
                if host.contains(':') {
                    return Err("an IPv6 address must be in brackets");
                }
                if !host.bytes().all(fine) {
                    return Err("its host is neither a name nor an address");
                }
                host.to_ascii_lowercase()
            }
        };
        let digits = port.bytes().all(|b| b.is_ascii_digit());
        let port = if digits { port.parse().map_err(|_| "its port is over 65535")? } else { 0 };
        if port == 0 {
            Err("its port is not a number from 1 to 65535")
        } else {
            Ok(Self { text: text.to_owned(), host, port })
        }
    }
}

impl Shape for Address {
    fn read(node: &Node, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        let text = match &node.kind {
            Kind::Text(text) => text,
            Kind::Int(port) => {
                let message = format!("`{port}` is not an address: it has no host");
                let help = format!("write `127.0.0.1:{port}`");
                reader.problem_with_help(place, "spec/bad-address", message, help);
                return None;
            }
            _ => {
                reader.wrong_type(node, place, "an address such as `127.0.0.1:7101`", None);
                return None;
            }
        };
        match Self::parse(text) {
            Ok(address) => Some(address),
            Err(why) => {
                let message = format!("`{}` is not an address: {why}", shorten(text));
                let help = "write `127.0.0.1:7101`, `[::1]:7101` or `localhost:7101`";
                reader.problem_with_help(place, "spec/bad-address", message, help);
                None
            }
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": or_variable("^(\\[[0-9A-Fa-f:.]+\\]|[-A-Za-z0-9.]+):[0-9]{1,5}$") })
    }
}

/// The longest condition, in bytes. The parser of conditions cannot count columns over 65,535, and nobody can read it.
const MAX_CONDITION: usize = 1024;

/// A condition of an analysis.
#[derive(Debug, Clone)]
pub(crate) struct Expression(pub(crate) String);

impl Shape for Expression {
    fn read(node: &Node, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        if matches!(node.kind, Kind::Bool(_)) {
            reader.wrong_type(node, place, "a condition about `result`", None);
            return None;
        }
        let Text(text) = Text::read(node, place, reader)?;
        if text.len() > MAX_CONDITION {
            let message = format!("this condition is longer than {MAX_CONDITION} bytes");
            reader.problem_with_help(
                place,
                "spec/bad-condition",
                message,
                "let the probe compute it, and compare the result",
            );
            return None;
        }
        match Condition::parse(&text) {
            Ok(_) => Some(Self(text)),
            Err(why) => {
                let (message, column) = plain_words(&why);
                let place = match column {
                    Some(column) => narrow(place, node, column, reader),
                    None => place.clone(),
                };
                let help = "write a CEL expression about `result`, such as `result.success_rate >= 0.95`";
                reader.problem_with_help(&place, "spec/bad-condition", message, help);
                None
            }
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

/// A parser's message without its drawing, and the column that it points to, from 1.
fn plain_words(why: &str) -> (String, Option<usize>) {
    let first = why.lines().next().unwrap_or_default();
    let Some((before, after)) = first.split_once("ERROR: <input>:") else { return (first.to_owned(), None) };
    let mut parts = after.splitn(3, ':');
    let (_line, column, message) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
    // What the parser would have accepted instead is a list of its tokens; no help to anybody.
    let message = message.split(" expecting ").next().unwrap_or_default().trim();
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let message = if message.contains("<EOF>") { "it ends too early" } else { message };
    (format!("{}: {message}", before.trim_end_matches([':', ' '])), column.and_then(|column| column.parse().ok()))
}

/// The place of a column within a text that is written in one piece.
fn narrow(place: &Place, node: &Node, column: usize, reader: &Reader<'_>) -> Place {
    let Kind::Text(text) = &node.kind else { return place.clone() };
    let written = reader.source.slice(node.span);
    let offset: usize = text.chars().take(column.saturating_sub(1)).map(char::len_utf8).sum();
    match written.find(text.as_str()) {
        Some(start) if node.filled == crate::tree::Filled::No => {
            let start = node.span.start + start + offset;
            let length = text.get(offset..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
            Place { pointer: place.pointer.clone(), span: crate::source::Span { start, end: start + length } }
        }
        _ => place.clone(),
    }
}

/// Where a plugin comes from: `builtin:NAME` or a path.
#[derive(Debug, Clone)]
pub(crate) struct PluginLocation(pub(crate) String);

impl Shape for PluginLocation {
    fn read(node: &Node, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        let Text(text) = Text::read(node, place, reader)?;
        let why = match text.split_once(':') {
            _ if text.trim().is_empty() => "it is empty",
            Some(("builtin", name)) => match basb_core::PluginName::new(name) {
                Ok(_) => return Some(Self(text)),
                Err(_) => "the name of a builtin plugin is one of a-z, 0-9 and `-`",
            },
            Some((scheme, rest)) if rest.starts_with("//") || matches!(scheme, "file" | "oci") => {
                "a plugin is builtin or a file of this machine"
            }
            _ => return Some(Self(text)),
        };
        let message = format!("`{}` is not the source of a plugin: {why}", shorten(&text));
        let help = "write `builtin:strategy-canary`, or a path such as `./plugins/mine.wasm`";
        reader.problem_with_help(place, "spec/bad-source", message, help);
        None
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

/// A map of anything: what a plugin is told.
#[derive(Debug, Clone)]
pub(crate) struct Object(pub(crate) Value);

impl Shape for Object {
    fn read(node: &Node, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        let whole = reader.is_map(node, place);
        let numbers = check_numbers(node, place, reader);
        (whole && numbers).then(|| Self(node.to_json()))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object" })
    }
}

/// JSON has no infinity; a plugin would get nothing instead.
fn check_numbers(node: &Node, place: &Place, reader: &mut Reader<'_>) -> bool {
    match &node.kind {
        Kind::Float(value) if !value.is_finite() => {
            let message = format!("`{}` is not a finite number", node.raw);
            reader.problem_with_help(
                place,
                "spec/out-of-range",
                message,
                "write it in quotes if it is meant as a text",
            );
            false
        }
        Kind::List(items) => items.iter().enumerate().fold(true, |fine, (index, item)| {
            let place = reader.member(place, &index.to_string(), None, item);
            check_numbers(item, &place, reader) && fine
        }),
        Kind::Map(entries) => entries.iter().fold(true, |fine, entry| {
            let place = reader.member(place, &entry.key, Some(entry.key_span), &entry.value);
            check_numbers(&entry.value, &place, reader) && fine
        }),
        _ => true,
    }
}

/// The version of the format: 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Version;

impl Shape for Version {
    fn read(node: &Node, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.kind {
            Kind::Int(1) => return Some(Self),
            Kind::Int(other) => {
                let message = format!("version {other} of the format is not known to this basb-host");
                reader.problem_with_help(
                    place,
                    "spec/version",
                    message,
                    "write `version: 1`, or use a newer basb-host",
                );
            }
            Kind::Text(text) if text == "1" => {
                reader.wrong_type(node, place, "the number 1", Some("write 1 without quotes".to_owned()));
            }
            _ => reader.wrong_type(node, place, "the number 1", None),
        }
        None
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "const": 1 })
    }
}

/// The name of a variable.
#[derive(Debug, Clone)]
pub(crate) struct VariableName;

impl Name for VariableName {
    fn check(name: &str) -> Result<Self, String> {
        if crate::vars::is_name(name) {
            Ok(Self)
        } else {
            Err(format!("`{}` cannot be the name of a variable", shorten(name)))
        }
    }
    const PATTERN: &'static str = "^[A-Za-z_][A-Za-z0-9_.-]*$";
}
