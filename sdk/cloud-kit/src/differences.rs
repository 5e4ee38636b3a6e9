//! What a plan shows: values that are there beside values that there should be.

use basb_plugin::provider::Change;
use serde_json::Value;

/// Collects the values that differ.
#[derive(Debug, Default)]
pub struct Differences(Vec<Change>);

impl Differences {
    /// None yet.
    pub fn new() -> Differences {
        Differences::default()
    }

    /// One value. Nothing where both are the same.
    pub fn value(&mut self, path: &str, before: Option<String>, after: Option<String>) {
        if before != after {
            self.0.push(Change { path: path.to_owned(), before, after });
        }
    }

    /// Environment variables, by name only where they differ: a plan is read by more people than an environment.
    pub fn environment(&mut self, path: &str, before: &[(String, String)], after: &[(String, String)]) {
        let of = |all: &[(String, String)], name: &str| {
            all.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
        };
        let mut names: Vec<&String> = before.iter().chain(after).map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        for name in names {
            let (old, new) = (of(before, name), of(after, name));
            if old != new {
                let after = if old.is_some() { "(another value)" } else { "(a value)" };
                self.0.push(Change {
                    path: format!("{path}.{name}"),
                    before: old.map(|_| "(a value)".to_owned()),
                    after: new.map(|_| after.to_owned()),
                });
            }
        }
    }

    /// Whole documents, leaf by leaf. What only `before` has is left alone: counterparts add fields of their own, and
    /// a field that should go is compared by [`Differences::value`].
    pub fn json(&mut self, path: &str, before: Option<&Value>, after: &Value) {
        match after {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let inner = before.and_then(|before| before.get(name));
                    self.json(&join(path, name), inner, value);
                }
            }
            Value::Array(items) => {
                let old = before.and_then(Value::as_array);
                for (index, value) in items.iter().enumerate() {
                    self.json(&join(path, &index.to_string()), old.and_then(|old| old.get(index)), value);
                }
                for (index, gone) in old.into_iter().flatten().enumerate().skip(items.len()) {
                    self.value(&join(path, &index.to_string()), Some(shown(gone)), None);
                }
            }
            leaf if before.is_none_or(|before| !same(before, leaf)) => {
                self.value(path, before.map(shown), Some(shown(leaf)));
            }
            _ => {}
        }
    }

    /// Whole documents of one counterpart, leaf by leaf: what only `before` has is gone.
    pub fn documents(&mut self, path: &str, before: Option<&Value>, after: &Value) {
        self.json(path, before, after);
        if let Some(before) = before {
            self.gone(path, before, after);
        }
    }

    /// What `before` has in its objects and `after` has not. Lists are compared by [`Differences::json`].
    fn gone(&mut self, path: &str, before: &Value, after: &Value) {
        match (before, after) {
            (Value::Object(old), Value::Object(new)) => {
                for (name, value) in old {
                    match new.get(name) {
                        Some(still) => self.gone(&join(path, name), value, still),
                        None => self.value(&join(path, name), Some(shown(value)), None),
                    }
                }
            }
            (Value::Array(old), Value::Array(new)) => {
                for (index, (value, still)) in old.iter().zip(new).enumerate() {
                    self.gone(&join(path, &index.to_string()), value, still);
                }
            }
            _ => {}
        }
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every value that differs, in the order in which it was compared.
    pub fn into_changes(self) -> Vec<Change> {
        self.0
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Numbers are the same whatever they are written as: a counterpart answers 5.0 to 5.
fn same(one: &Value, other: &Value) -> bool {
    one == other || one.as_f64().zip(other.as_f64()).is_some_and(|(one, other)| (one - other).abs() < 1e-9)
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lines(differences: Differences) -> Vec<String> {
        let text = |value: Option<String>| value.unwrap_or_else(|| "-".into());
        differences
            .into_changes()
            .into_iter()
            .map(|c| format!("{}: {} > {}", c.path, text(c.before), text(c.after)))
            .collect()
    }

    #[test]
    fn documents_are_compared_leaf_by_leaf() {
        let before = json!({"cpu": "256", "added": true, "list": [{"port": 80.0}, 2, 3], "gone": "x"});
        let after = json!({"cpu": "512", "list": [{"port": 80, "host": 8}, 4], "new": null});
        let mut differences = Differences::new();
        differences.json("task", Some(&before), &after);
        assert_eq!(
            lines(differences),
            [
                "task.cpu: 256 > 512",
                "task.list.0.host: - > 8",
                "task.list.1: 2 > 4",
                "task.list.2: 3 > -",
                "task.new: - > null"
            ]
        );
        let mut same = Differences::new();
        same.json("", Some(&before), &json!({"list": [{"port": 80}, 2, 3]}));
        assert!(same.is_empty());
    }

    #[test]
    fn of_one_counterpart_what_is_gone_is_told_too() {
        let before = json!({"a": {"b": 1, "c": [{"d": 1, "e": 2}]}, "f": "x"});
        let after = json!({"a": {"c": [{"d": 1}]}});
        let mut differences = Differences::new();
        differences.documents("it", Some(&before), &after);
        assert_eq!(lines(differences), ["it.a.b: 1 > -", "it.a.c.0.e: 2 > -", "it.f: x > -"]);
        let mut same = Differences::new();
        same.documents("it", Some(&before), &before);
        assert!(same.is_empty());
    }

    #[test]
    fn an_environments_values_are_not_shown() {
        let pairs = |all: &[(&str, &str)]| -> Vec<(String, String)> {
            all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let mut differences = Differences::new();
        differences.environment(
            "env",
            &pairs(&[("A", "1"), ("B", "2"), ("C", "3")]),
            &pairs(&[("B", "9"), ("C", "3"), ("D", "4")]),
        );
        let lines = lines(differences);
        assert_eq!(lines, ["env.A: (a value) > -", "env.B: (a value) > (another value)", "env.D: - > (a value)"]);
    }
}
