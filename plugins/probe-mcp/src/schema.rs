//! Whether one JSON Schema allows everything that another allows, as far as that can be told.
//!
//! What cannot be told counts as a break: a human looks at it, and allows it.

use crate::canonical::canonical;
use serde_json::{Map, Value};

/// Who sends what the schema describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    /// The client: arguments.
    Client,
    /// The server: results.
    Server,
}

/// Schemas nested deeper than this are not compared.
const DEPTH: u32 = 32;

/// Keywords that allow or forbid nothing.
const WORDS: &[&str] = &[
    "title",
    "description",
    "examples",
    "default",
    "$schema",
    "$id",
    "$comment",
    "$defs",
    "definitions",
    "deprecated",
    "readOnly",
    "writeOnly",
    "format",
    "x-mcp-header",
];

/// Keywords that are compared by their meaning.
const KNOWN: &[&str] = &["$ref", "type", "enum", "const", "properties", "required", "additionalProperties", "items"];

/// Lower bounds may fall, upper bounds may rise.
const LOWER: &[&str] = &["minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"];
const UPPER: &[&str] = &["maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"];

/// A schema and the document that its references point into.
#[derive(Clone, Copy)]
struct In<'a> {
    root: &'a Value,
    here: &'a Value,
}

impl<'a> In<'a> {
    fn at(self, here: &'a Value) -> Self {
        Self { here, ..self }
    }

    /// Follows references within the document.
    fn resolved(self) -> Option<Self> {
        let mut now = self;
        for _ in 0..DEPTH {
            let Some(reference) = now.here.get("$ref").and_then(Value::as_str) else { return Some(now) };
            now = now.at(now.root.pointer(reference.strip_prefix('#')?)?);
        }
        None
    }

    fn object(self, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.here.get(key).and_then(Value::as_object).into_iter().flatten()
    }
}

/// What a value described by `sent` may contain that one who expects `expected` does not understand; nothing when every
/// such value is fine.
pub(crate) fn breaks(sent: &Value, expected: &Value, sender: Sender) -> Vec<String> {
    let mut found = Vec::new();
    let (a, b) = (In { root: sent, here: sent }, In { root: expected, here: expected });
    compare(a, b, sender, "", DEPTH, &mut found);
    found
}

fn compare(a: In<'_>, b: In<'_>, sender: Sender, path: &str, depth: u32, found: &mut Vec<String>) {
    let place = if path.is_empty() { "the value" } else { path };
    if canonical(a.here) == canonical(b.here) && canonical(a.root) == canonical(b.root) {
        return;
    }
    let (Some(a), Some(b), 1..) = (a.resolved(), b.resolved(), depth) else {
        found.push(format!("{place}: cannot be compared"));
        return;
    };
    match (a.here, b.here) {
        (Value::Bool(false), _) | (_, Value::Bool(true)) => return,
        (_, Value::Bool(false)) => {
            found.push(format!("{place}: nothing is allowed any more"));
            return;
        }
        _ => {}
    }
    types(a, b, place, found);
    choices(a, b, place, found);
    for (keyword, wider) in bounds() {
        let (Some(limit), before) = (b.here.get(keyword), a.here.get(keyword)) else { continue };
        let fits = before.and_then(Value::as_f64).zip(limit.as_f64()).is_some_and(|(before, now)| wider(now, before));
        if !fits {
            found.push(format!("{place}: `{keyword}` is narrower"));
        }
    }
    for (keyword, now) in b.here.as_object().into_iter().flatten() {
        let told = WORDS.contains(&keyword.as_str()) || KNOWN.contains(&keyword.as_str());
        let bound = LOWER.contains(&keyword.as_str()) || UPPER.contains(&keyword.as_str());
        if !told && !bound && a.here.get(keyword).map(canonical) != Some(canonical(now)) {
            found.push(format!("{place}: `{keyword}` differs"));
        }
    }
    members(a, b, sender, path, depth, found);
    if let Some(now) = b.here.get("items") {
        let any = Value::Bool(true);
        compare(a.at(a.here.get("items").unwrap_or(&any)), b.at(now), sender, &format!("{path}[]"), depth - 1, found);
    }
}

type Wider = fn(f64, f64) -> bool;

fn bounds() -> impl Iterator<Item = (&'static str, Wider)> {
    let lower = LOWER.iter().map(|keyword| (*keyword, (|now, before| now <= before) as Wider));
    lower.chain(UPPER.iter().map(|keyword| (*keyword, (|now, before| now >= before) as Wider)))
}

fn types(a: In<'_>, b: In<'_>, place: &str, found: &mut Vec<String>) {
    let list = |schema: In<'_>| -> Option<Vec<String>> {
        match schema.here.get("type")? {
            Value::String(one) => Some(vec![one.clone()]),
            Value::Array(many) => Some(many.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
            _ => None,
        }
    };
    let Some(allowed) = list(b) else { return };
    let Some(sent) = list(a) else {
        // Values that are listed one by one have their types with them.
        if a.here.get("enum").is_none() && a.here.get("const").is_none() {
            found.push(format!("{place}: only {} is allowed", allowed.join(" or ")));
        }
        return;
    };
    let fits =
        |kind: &String| allowed.contains(kind) || (kind == "integer" && allowed.iter().any(|kind| kind == "number"));
    if let Some(kind) = sent.iter().find(|kind| !fits(kind)) {
        found.push(format!("{place}: {kind} became {}", allowed.join(" or ")));
    }
}

fn choices(a: In<'_>, b: In<'_>, place: &str, found: &mut Vec<String>) {
    let list = |schema: In<'_>| -> Option<Vec<String>> {
        match (schema.here.get("const"), schema.here.get("enum")) {
            (Some(only), _) => Some(vec![canonical(only)]),
            (None, Some(Value::Array(many))) => Some(many.iter().map(canonical).collect()),
            _ => None,
        }
    };
    let Some(allowed) = list(b) else { return };
    match list(a) {
        None => found.push(format!("{place}: only {} is allowed", allowed.join(" or "))),
        Some(sent) => {
            for gone in sent.iter().filter(|value| !allowed.contains(value)) {
                found.push(format!("{place}: {gone} is not allowed"));
            }
        }
    }
}

fn members(a: In<'_>, b: In<'_>, sender: Sender, path: &str, depth: u32, found: &mut Vec<String>) {
    let inside = |name: &str| format!("{path}/{name}");
    let names = |schema: In<'_>| -> Vec<String> {
        let required = schema.here.get("required").and_then(Value::as_array);
        required.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let sure = names(a);
    for name in names(b).iter().filter(|name| !sure.contains(name)) {
        found.push(match sender {
            Sender::Client => format!("{}: became required", inside(name)),
            Sender::Server => format!("{}: is not always there any more", inside(name)),
        });
    }
    let none = Map::new();
    let understood = b.here.get("properties").and_then(Value::as_object).unwrap_or(&none);
    let others = b.here.get("additionalProperties");
    for (name, sent) in a.object("properties") {
        match (understood.get(name), others) {
            (Some(now), _) => compare(a.at(sent), b.at(now), sender, &inside(name), depth - 1, found),
            // An argument that is ignored from now on is not harmless; a result that is not read is.
            (None, None | Some(Value::Bool(true))) if sender == Sender::Server => {}
            (None, None | Some(Value::Bool(_))) => found.push(format!("{}: is not known", inside(name))),
            (None, Some(now)) => compare(a.at(sent), b.at(now), sender, &inside(name), depth - 1, found),
        }
    }
    match (a.here.get("additionalProperties"), others) {
        (_, None | Some(Value::Bool(true))) | (Some(Value::Bool(false)), _) => {}
        // Members that nobody declared are not counted as sent.
        (None | Some(Value::Bool(true)), Some(_)) => {}
        (Some(sent), Some(now)) => compare(a.at(sent), b.at(now), sender, &format!("{path}/*"), depth - 1, found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn input(old: Value, new: Value) -> Vec<String> {
        breaks(&old, &new, Sender::Client)
    }

    #[test]
    fn what_clients_may_go_on_sending_is_no_break() {
        let old = json!({"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}, "required": ["a"]});
        let fine = [
            json!({"type": "object", "properties": {"a": {"type": "number", "minimum": 0}, "b": {"type": "string"}}, "required": ["a"]}),
            json!({"type": "object", "properties": {"a": {"type": ["integer", "null"], "description": "x"}}}),
            json!({"title": "T", "type": "object", "additionalProperties": false, "properties": {"a": true}}),
            json!(true),
        ];
        for new in fine {
            assert_eq!(input(old.clone(), new.clone()), Vec::<String>::new(), "{new}");
        }
    }

    #[test]
    fn what_clients_send_and_is_refused_is_a_break() {
        let old = json!({"type": "object", "properties": {"a": {"type": "string"}, "k": {"enum": ["x", "y"]}}});
        let cases = [
            (
                json!({"type": "object", "properties": {"a": {"type": "integer"}, "k": {"enum": ["x", "y"]}}}),
                "/a: string became integer",
            ),
            (json!({"type": "object", "properties": {"k": {"enum": ["x", "y"]}}}), "/a: is not known"),
            (
                json!({"type": "object", "properties": {"a": {"type": "string"}, "k": {"enum": ["x"]}}}),
                "/k: \"y\" is not allowed",
            ),
            (
                json!({"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}, "k": true}}),
                "/a: `maxLength` is narrower",
            ),
            (
                json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "^x"}, "k": true}}),
                "/a: `pattern` differs",
            ),
            (json!({"type": "object", "required": ["k"], "properties": {"a": true, "k": true}}), "/k: became required"),
            (json!({"type": "array"}), "the value: object became array"),
            (json!(false), "the value: nothing is allowed any more"),
        ];
        for (new, words) in cases {
            assert!(
                input(old.clone(), new.clone()).iter().any(|found| found == words),
                "{new}: {:?}",
                input(old.clone(), new.clone())
            );
        }
    }

    #[test]
    fn references_are_followed_and_circles_end() {
        let old = json!({"$defs": {"N": {"type": "object", "properties": {"next": {"$ref": "#/$defs/N"}, "v": {"type": "string"}}}}, "$ref": "#/$defs/N"});
        let mut new = old.clone();
        new["$defs"]["N"]["properties"]["v"] = json!({"type": "integer"});
        assert!(input(old.clone(), new).iter().any(|found| found.contains("string became integer")));
        assert_eq!(input(old.clone(), old), Vec::<String>::new());
        let circle = json!({"$ref": "#"});
        assert!(!input(circle, json!({"type": "string"})).is_empty());
    }

    #[test]
    fn results_may_grow_but_not_shrink() {
        let old = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]});
        let more =
            json!({"type": "object", "properties": {"a": {"type": "string"}, "b": true}, "required": ["a", "b"]});
        assert_eq!(breaks(&more, &old, Sender::Server), Vec::<String>::new());
        assert_eq!(breaks(&old, &more, Sender::Server), ["/b: is not always there any more"]);
    }
}
