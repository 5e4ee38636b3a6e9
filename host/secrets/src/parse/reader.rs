//! Collects problems on the way through JSON.

use crate::ConfigProblem;
use crate::config::Held;
use basb_core::NameError;
use serde_json::{Map, Value};
use url::Url;

use crate::reading::{absolute, is_loopback, kind, pointer, says_more_than_where, unknown_keys};

#[derive(Default)]
pub(super) struct Reader {
    pub problems: Vec<ConfigProblem>,
}

/// Whether `text` can name an environment variable (POSIX.1-2017, 8.1, and lower case).
pub(super) fn is_variable(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !text.starts_with(|c: char| c.is_ascii_digit())
}

impl Reader {
    pub fn wrong(&mut self, at: &str, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(ConfigProblem { pointer: at.to_owned(), message: message.into(), help: help.into() });
    }

    /// The entries of a section, each with its pointer; `null` stands for none.
    pub fn entries<'a>(&mut self, at: &str, value: &'a Value, example: &str) -> Vec<(String, &'a str, &'a Value)> {
        match value {
            Value::Null => Vec::new(),
            Value::Object(map) => map.iter().map(|(name, value)| (pointer(at, name), name.as_str(), value)).collect(),
            other => {
                self.wrong(
                    at,
                    format!("this is {}", kind(other)),
                    format!("write names and what they mean: {example}"),
                );
                Vec::new()
            }
        }
    }

    pub fn name<T>(&mut self, at: &str, name: &str, parse: fn(String) -> Result<T, NameError>) -> Option<T> {
        parse(name.to_owned()).map_err(|e| self.wrong(at, e.to_string(), "use a name such as `team-1`")).ok()
    }

    pub fn map<'a>(&mut self, at: &str, value: &'a Value, example: &str) -> Option<&'a Map<String, Value>> {
        let map = value.as_object();
        if map.is_none() {
            self.wrong(at, format!("this is {}", kind(value)), format!("write a mapping: {example}"));
        }
        map
    }

    /// Everything in `map` that is not in `known` is wrong.
    pub fn only(&mut self, at: &str, map: &Map<String, Value>, known: &[&str]) {
        self.problems.extend(unknown_keys(at, map, known));
    }

    pub fn text<'a>(&mut self, at: &str, map: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
        match map.get(key)? {
            Value::String(text) if text.is_empty() => {
                self.wrong(&pointer(at, key), format!("`{key}` is empty"), "write a value or remove the key");
                None
            }
            Value::String(text) if text.contains(|c: char| c.is_control()) => {
                self.wrong(
                    &pointer(at, key),
                    format!("`{key}` has a control character"),
                    "write it in one line, without tabs",
                );
                None
            }
            Value::String(text) => Some(text),
            other => {
                let help = format!("put it in quotes: `{key}: \"…\"`");
                self.wrong(&pointer(at, key), format!("`{key}` is {}, but must be text", kind(other)), help);
                None
            }
        }
    }

    /// Says so when a key is not there.
    pub fn needed(&mut self, at: &str, map: &Map<String, Value>, key: &str, example: &str) {
        if !map.contains_key(key) {
            self.wrong(at, format!("`{key}` is missing"), format!("add `{key}: {example}`"));
        }
    }

    pub fn required<'a>(&mut self, at: &str, map: &'a Map<String, Value>, key: &str, example: &str) -> Option<&'a str> {
        self.needed(at, map, key, example);
        self.text(at, map, key)
    }

    pub fn texts(&mut self, at: &str, map: &Map<String, Value>, key: &str, example: &str) -> Option<Vec<String>> {
        let at = pointer(at, key);
        let Value::Array(items) = map.get(key)? else {
            self.wrong(&at, format!("`{key}` is not a list"), format!("write `{key}: {example}`"));
            return None;
        };
        let mut out = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match item {
                Value::String(text) if !text.contains('\0') => out.push(text.clone()),
                Value::String(_) => self.wrong(&format!("{at}/{index}"), "this has a NUL character", "remove it"),
                other => {
                    let help = "put it in quotes";
                    self.wrong(&format!("{at}/{index}"), format!("this is {}, but must be text", kind(other)), help);
                }
            }
        }
        (out.len() == items.len()).then_some(out)
    }

    /// Where a store's own credential is: `{env: NAME}` or `{file: PATH}`.
    pub fn held(&mut self, at: &str, map: &Map<String, Value>, key: &str) -> Option<Held> {
        let value = map.get(key)?;
        let at = pointer(at, key);
        let either = format!("write `{key}: {{env: NAME}}` or `{key}: {{file: PATH}}`");
        let Value::Object(inner) = value else {
            // The value is not quoted: it may be the credential itself.
            let message = format!("`{key}` is {}, but must say where it is, never what it is", kind(value));
            self.wrong(&at, message, either);
            return None;
        };
        self.only(&at, inner, &["env", "file"]);
        match (inner.contains_key("env"), inner.contains_key("file")) {
            (true, false) => {
                let variable = self.text(&at, inner, "env")?;
                if !is_variable(variable) {
                    let help = "use letters, digits and `_`, without a value";
                    self.wrong(&pointer(&at, "env"), "this is not the name of a variable", help);
                    return None;
                }
                Some(Held::Env(variable.to_owned()))
            }
            (false, true) => Some(Held::File(self.text(&at, inner, "file")?.to_owned())),
            _ => {
                self.wrong(&at, format!("it is not clear where `{key}` is"), either);
                None
            }
        }
    }

    pub fn required_held(&mut self, at: &str, map: &Map<String, Value>, key: &str) -> Option<Held> {
        self.needed(at, map, key, "{env: NAME}");
        self.held(at, map, key)
    }

    /// An address that the host itself sends credentials to: `https`, or `http` on this machine.
    pub fn address(&mut self, at: &str, key: &str, text: &str) -> Option<Url> {
        let at = pointer(at, key);
        let help = format!("write it as in `{key}: \"https://vault.example.com:8200\"`");
        let Some(url) = absolute(text) else {
            // Not quoted: it may hold a password.
            self.wrong(&at, format!("`{key}` is not an http or https URL"), help);
            return None;
        };
        if says_more_than_where(&url) {
            let message = format!("`{key}` has a user, a password, a query or a fragment");
            self.wrong(&at, message, "leave only scheme, host, port and path");
            return None;
        }
        if url.scheme() == "http" && !is_loopback(&url) {
            let message =
                format!("`{key}` is not encrypted: credentials and secrets would cross the network in the clear");
            self.wrong(
                &at,
                message,
                "write `https://`; `http://` is for this machine only, such as http://127.0.0.1:8200",
            );
            return None;
        }
        Some(url)
    }
}
