//! Which environment, and what the file looks like in it.

use crate::diagnostic::Diagnostic;
use crate::source::Source;
use crate::suggest;
use crate::tree::{Entry, Kind, Node, join};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The names of the environments, in the order of the file.
pub(crate) fn names(root: &Node) -> Vec<String> {
    root.get("environments").map(|e| e.value.entries().iter().map(|e| e.key.clone()).collect()).unwrap_or_default()
}

/// The environment that is wanted: the one that was asked for, else the default, else the only one.
///
/// # Errors
/// One diagnostic when there is none of that name or when it would have to be guessed. `Ok(None)` when the file has no
/// environment at all, which its reader reports.
pub(crate) fn choose(
    source: &Arc<Source>,
    root: &Node,
    asked: Option<&str>,
) -> Result<Option<String>, Box<Diagnostic>> {
    let names = names(root);
    let known = || names.iter().map(String::as_str);
    let Some(section) = root.get("environments").filter(|_| !names.is_empty()) else { return Ok(None) };
    if let Some(asked) = asked {
        if names.iter().any(|name| name == asked) {
            return Ok(Some(asked.to_owned()));
        }
        let message = format!("there is no environment `{asked}`");
        let problem = Diagnostic::at(source, section.key_span, "/environments", "spec/unknown-environment", message);
        return Err(problem.with_hint(suggest::hint(asked, known())).into());
    }
    if let Some(default) = root.get("defaultEnvironment") {
        if let Kind::Text(name) = &default.value.kind {
            if names.contains(name) {
                return Ok(Some(name.clone()));
            }
            let message = format!("there is no environment `{name}`");
            let problem =
                Diagnostic::at(source, default.value.span, "/defaultEnvironment", "spec/unknown-environment", message);
            return Err(problem.with_hint(suggest::hint(name, known())).into());
        }
        // What else it may be is told by the reader.
        return Ok(names.first().cloned());
    }
    match names.as_slice() {
        [only] => Ok(Some(only.clone())),
        _ => {
            let message = "the file has several environments and none is chosen";
            let first = names.first().map_or("", String::as_str);
            let help = format!(
                "choose one with `--environment {first}` ({}), or add the line `defaultEnvironment: {first}`",
                suggest::list(known())
            );
            let problem = Diagnostic::at(source, section.key_span, "/environments", "spec/no-environment", message);
            Err(problem.with_help(help).into())
        }
    }
}

/// The file as it is in one environment: its overrides merged into the services, the other environments left out.
pub(crate) fn apply(source: &Arc<Source>, root: &Node, name: &str, problems: &mut Vec<Diagnostic>) -> Arc<Node> {
    let environment = root.get("environments").and_then(|e| e.value.get(name));
    let overrides = environment.and_then(|e| e.value.get("services"));
    let pointer = join(&join("/environments", name), "services");
    let entries = root
        .entries()
        .iter()
        .map(|entry| match entry.key.as_str() {
            "environments" => {
                let only = environment.map(|e| Entry { value: without(&e.value, "services"), ..e.clone() });
                let kind = if let Kind::Map(_) = entry.value.kind {
                    Kind::Map(only.into_iter().collect())
                } else {
                    entry.value.kind.clone()
                };
                Entry { value: Arc::new(Node { kind, ..(*entry.value).clone() }), ..entry.clone() }
            }
            "services" => {
                let value = match overrides {
                    Some(overrides) => merge_services(source, &entry.value, overrides, &pointer, problems),
                    None => Arc::clone(&entry.value),
                };
                Entry { value, ..entry.clone() }
            }
            _ => entry.clone(),
        })
        .collect();
    Arc::new(Node { kind: Kind::Map(entries), ..root.clone() })
}

fn without(node: &Arc<Node>, key: &str) -> Arc<Node> {
    match &node.kind {
        Kind::Map(entries) => {
            let kept = entries.iter().filter(|entry| entry.key != key).cloned().collect();
            Arc::new(Node { kind: Kind::Map(kept), ..(**node).clone() })
        }
        _ => Arc::clone(node),
    }
}

fn merge_services(
    source: &Arc<Source>,
    services: &Arc<Node>,
    overrides: &Entry,
    pointer: &str,
    problems: &mut Vec<Diagnostic>,
) -> Arc<Node> {
    let wrong = |entry: &Entry, pointer: &str| {
        let span = if entry.value.span.is_empty() { entry.key_span } else { source.first_line(entry.value.span) };
        let message = format!("`{}` must be a map of keys, found {}", entry.key, entry.value.describe());
        Diagnostic::at(source, span, pointer, "spec/wrong-type", message)
            .with_help("leave the key out when nothing is to be overridden")
    };
    if !matches!(overrides.value.kind, Kind::Map(_)) {
        problems.push(wrong(overrides, pointer));
        return Arc::clone(services);
    }
    let mut kept = Vec::new();
    for entry in overrides.value.entries() {
        let pointer = join(pointer, &entry.key);
        if services.get(&entry.key).is_none() {
            let message = format!("there is no service `{}` to override", entry.key);
            let problem = Diagnostic::at(source, entry.key_span, &pointer, "spec/unknown-reference", message);
            let hint = suggest::hint(&entry.key, services.entries().iter().map(|entry| entry.key.as_str()));
            problems.push(problem.with_hint(hint));
        } else if matches!(entry.value.kind, Kind::Map(_)) {
            kept.push(entry.clone());
        } else {
            problems.push(wrong(entry, &pointer));
        }
    }
    merge(services, &Arc::new(Node { kind: Kind::Map(kept), ..(*overrides.value).clone() }))
}

/// JSON Merge Patch (RFC 7396): maps are merged key by key, null removes a key, everything else replaces.
pub(crate) fn merge(base: &Arc<Node>, over: &Arc<Node>) -> Arc<Node> {
    let (Kind::Map(old), Kind::Map(new)) = (&base.kind, &over.kind) else { return Arc::clone(over) };
    let changes: HashMap<&str, &Entry> = new.iter().map(|entry| (entry.key.as_str(), entry)).collect();
    let there: HashSet<&str> = old.iter().map(|entry| entry.key.as_str()).collect();
    let mut merged: Vec<Entry> = Vec::with_capacity(old.len() + new.len());
    for entry in old {
        match changes.get(entry.key.as_str()) {
            None => merged.push(entry.clone()),
            Some(change) => match (&entry.value.kind, &change.value.kind) {
                (_, Kind::Null) => {}
                (Kind::Map(_), Kind::Map(_)) => {
                    merged.push(Entry { value: merge(&entry.value, &change.value), ..entry.clone() });
                }
                _ => merged.push((*change).clone()),
            },
        }
    }
    let added =
        new.iter().filter(|entry| !there.contains(entry.key.as_str()) && !matches!(entry.value.kind, Kind::Null));
    merged.extend(added.cloned());
    Arc::new(Node { kind: Kind::Map(merged), ..(**base).clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    fn node(text: &str) -> Arc<Node> {
        crate::yaml::parse(&Source::new("f", text)).unwrap()
    }

    fn model(base: &Value, over: &Value) -> Value {
        let (Value::Object(base), Value::Object(over)) = (base, over) else { return over.clone() };
        let mut out = base.clone();
        for (key, value) in over {
            match (out.get(key), value) {
                (_, Value::Null) => {
                    out.shift_remove(key);
                }
                (Some(old @ Value::Object(_)), Value::Object(_)) => {
                    let new = model(old, value);
                    out.insert(key.clone(), new);
                }
                _ => {
                    out.insert(key.clone(), value.clone());
                }
            }
        }
        Value::Object(out)
    }

    #[test]
    fn lists_are_replaced_and_null_removes() {
        let merged = merge(&node("{a: {b: [1, 2], c: 3}, d: 4}"), &node("{a: {b: [9]}, d: null, e: 5}"));
        assert_eq!(merged.to_json(), json!({"a": {"b": [9], "c": 3}, "e": 5}));
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![Just(Value::Null), any::<i32>().prop_map(Value::from), "[a-z]{0,3}".prop_map(Value::from)];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-d]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn merging_is_a_merge_patch(base in value(), over in value()) {
            // JSON is YAML, so the tree of a value is that of its text.
            let merged = merge(&node(&base.to_string()), &node(&over.to_string()));
            prop_assert_eq!(merged.to_json(), model(&base, &over));
        }

        #[test]
        fn merging_nothing_changes_nothing(base in value()) {
            let base = json!({ "x": base });
            prop_assert_eq!(merge(&node(&base.to_string()), &node("{}")).to_json(), base);
        }
    }
}
