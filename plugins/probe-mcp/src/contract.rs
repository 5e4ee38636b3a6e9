//! The contract of a server's tools: what clients rely on, its digest, and what changed from one to another.

use crate::canonical::canonical;
use crate::schema::{Sender, breaks};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// What of a tool belongs to its contract; words for people do not.
const PARTS: &[&str] = &["name", "inputSchema", "outputSchema", "annotations"];

/// The contract of all tools, by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Contract {
    tools: BTreeMap<String, Value>,
}

/// What is different.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Changes {
    /// Tools that are new.
    pub(crate) added: Vec<String>,
    /// Tools that are gone.
    pub(crate) removed: Vec<String>,
    /// Tools that differ.
    pub(crate) changed: Vec<String>,
    /// What clients cannot cope with: nothing when all changes are compatible.
    pub(crate) breaking: Vec<String>,
}

impl Contract {
    /// Of a list of tools, as a server gives it.
    pub(crate) fn of(tools: &[Value]) -> Result<Self, String> {
        let mut contract = Self::default();
        for tool in tools {
            let Some(name) = tool.get("name").and_then(Value::as_str) else {
                return Err(format!("a tool has no name: {}", excerpt(tool)));
            };
            let mut parts = Map::new();
            for part in PARTS {
                if let Some(value) = tool.get(part).filter(|value| !value.is_null()) {
                    parts.insert((*part).to_owned(), value.clone());
                }
            }
            if contract.tools.insert(name.to_owned(), parts.into()).is_some() {
                return Err(format!("two tools are named `{name}`"));
            }
        }
        Ok(contract)
    }

    /// Of the text that [`Contract::text`] made.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let tools: Vec<Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        Self::of(&tools)
    }

    /// The canonical text: an array, sorted by name.
    pub(crate) fn text(&self) -> String {
        canonical(&self.tools.values().cloned().collect::<Vec<_>>().into())
    }

    /// `sha256:` and 64 hexadecimal digits over the canonical text.
    pub(crate) fn digest(&self) -> String {
        let hex: String = Sha256::digest(self.text()).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    }

    /// A tool by name.
    pub(crate) fn tool(&self, name: &str) -> Option<&Value> {
        self.tools.get(name)
    }

    /// How many tools there are.
    pub(crate) fn len(&self) -> usize {
        self.tools.len()
    }

    /// What changed since an older one.
    pub(crate) fn since(&self, old: &Self) -> Changes {
        let mut changes = Changes::default();
        for (name, before) in &old.tools {
            match self.tools.get(name) {
                None => {
                    changes.removed.push(name.clone());
                    changes.breaking.push(format!("`{name}` is gone"));
                }
                Some(now) if canonical(now) != canonical(before) => {
                    changes.changed.push(name.clone());
                    changes.breaking.extend(broken(before, now).into_iter().map(|why| format!("`{name}` {why}")));
                }
                Some(_) => {}
            }
        }
        changes.added = self.tools.keys().filter(|name| !old.tools.contains_key(*name)).cloned().collect();
        changes
    }
}

/// What of a tool's change clients cannot cope with.
fn broken(before: &Value, now: &Value) -> Vec<String> {
    let any = Value::Bool(true);
    let part = |tool: &'_ Value, name: &str| tool.get(name).cloned();
    let (sent, taken) = (part(before, "inputSchema"), part(now, "inputSchema"));
    let input = breaks(sent.as_ref().unwrap_or(&any), taken.as_ref().unwrap_or(&any), Sender::Client);
    let mut found: Vec<String> = input.into_iter().map(|why| format!("input {why}")).collect();
    match (part(before, "outputSchema"), part(now, "outputSchema")) {
        (Some(_), None) => found.push("output: its schema is gone".to_owned()),
        (Some(read), Some(given)) => {
            found.extend(breaks(&given, &read, Sender::Server).into_iter().map(|why| format!("output {why}")));
        }
        (None, _) => {}
    }
    // A promise that a client may have relied on, such as to call without asking. Defaults: MCP's ToolAnnotations.
    let hint = |tool: &Value, name: &str, default: bool| {
        tool.get("annotations").and_then(|hints| hints.get(name)).and_then(Value::as_bool).unwrap_or(default)
    };
    for (name, default, promise) in [
        ("readOnlyHint", false, true),
        ("destructiveHint", true, false),
        ("idempotentHint", false, true),
        ("openWorldHint", true, false),
    ] {
        if hint(before, name, default) == promise && hint(now, name, default) != promise {
            found.push(format!("annotations: `{name}` is {} no more", promise));
        }
    }
    found
}

fn excerpt(value: &Value) -> String {
    value.to_string().chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn contract(tools: Value) -> Contract {
        Contract::of(tools.as_array().unwrap()).unwrap()
    }

    fn note(properties: Value) -> Value {
        json!({"name": "note", "description": "takes a note", "inputSchema": {"type": "object", "properties": properties}})
    }

    #[test]
    fn the_digest_is_of_what_clients_rely_on() {
        let one = contract(json!([note(json!({"a": {"type": "string"}})), {"name": "find"}]));
        let same = contract(
            json!([{"title": "Find", "name": "find", "annotations": null}, note(json!({"a": {"type": "string"}}))]),
        );
        assert_eq!(one.digest(), same.digest());
        assert_eq!(one.since(&same), Changes::default());
        assert_eq!(Contract::parse(&one.text()).unwrap(), one);
        // Fixed for good: a pinned digest must mean the same with every version.
        let empty = contract(json!([]));
        assert_eq!(empty.digest(), "sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945");
    }

    #[test]
    fn changes_are_told_apart() {
        let old = contract(json!([note(json!({"a": {"type": "string"}})), {"name": "find"}]));
        let grown = contract(
            json!([note(json!({"a": {"type": "string"}, "b": {"type": "string"}})), {"name": "find"}, {"name": "more"}]),
        );
        let changes = grown.since(&old);
        assert_eq!(
            (changes.added, changes.changed, changes.breaking),
            (vec!["more".to_owned()], vec!["note".to_owned()], vec![])
        );
        let back = old.since(&grown);
        assert_eq!(back.removed, ["more"]);
        assert_eq!(back.breaking, ["`more` is gone", "`note` input /b: is not known"]);
    }

    #[test]
    fn a_promise_taken_back_is_a_break() {
        let hints = |hints: Value| contract(json!([{"name": "find", "annotations": hints}]));
        let breaking = |old: Value, new: Value| hints(new).since(&hints(old)).breaking.len();
        assert_eq!(breaking(json!({"readOnlyHint": true}), json!({})), 1);
        assert_eq!(breaking(json!({"destructiveHint": false}), json!({"destructiveHint": true})), 1);
        assert_eq!(breaking(json!({}), json!({"readOnlyHint": true, "title": "x"})), 0);
    }

    #[test]
    fn a_list_that_is_none_is_refused() {
        assert!(Contract::of(&[json!({"title": "x"})]).is_err());
        assert!(Contract::of(&[json!({"name": "x"}), json!({"name": "x"})]).is_err());
        assert!(Contract::parse("{}").is_err());
    }
}
