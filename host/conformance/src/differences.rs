//! What differs between two runs, in words.

use crate::counterpart::State;
use serde_json::Value;
use std::collections::BTreeMap;

/// What was made more often than it may be, in words.
pub(crate) fn made_twice(before: &BTreeMap<String, u64>, now: &BTreeMap<String, u64>) -> Option<String> {
    now.iter().find_map(|(kind, count)| {
        let usual = before.get(kind).copied().unwrap_or(0);
        (*count > usual).then(|| format!("makes {count} of {kind}, and without the fault {usual}"))
    })
}

/// The first difference between two states, in words.
pub(crate) fn first_difference(wanted: &State, found: &State) -> Option<String> {
    if wanted.there == found.there {
        return None;
    }
    let (at, wanted, found) = differs("", &wanted.there, &found.there)?;
    Some(format!("at {at}: {} instead of {}", short(&found), short(&wanted)))
}

/// A value as text, its beginning where it is long.
pub(crate) fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// Where two values differ first, and the two there.
pub(crate) fn differs(at: &str, a: &Value, b: &Value) -> Option<(String, Value, Value)> {
    match (a, b) {
        (Value::Object(left), Value::Object(right)) => {
            let names: std::collections::BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            let none = Value::Null;
            names.into_iter().find_map(|name| {
                let pair = (left.get(name).unwrap_or(&none), right.get(name).unwrap_or(&none));
                differs(&format!("{at}/{name}"), pair.0, pair.1)
            })
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            left.iter().zip(right).enumerate().find_map(|(n, (a, b))| differs(&format!("{at}/{n}"), a, b))
        }
        (a, b) if a == b => None,
        (a, b) => Some((if at.is_empty() { "/".to_owned() } else { at.to_owned() }, a.clone(), b.clone())),
    }
}
