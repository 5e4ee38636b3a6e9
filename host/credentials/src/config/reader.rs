//! Reads JSON and says of everything that is wrong where it is and what to write instead.

use basb_redact::SecretName;
use basb_secrets::ConfigProblem;
use basb_secrets::reading::{absolute, is_loopback, kind, pointer, says_more_than_where, unknown_keys};
use serde_json::{Map, Value};
use url::Url;

/// Which schemes an address of the host's own requests may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clear {
    /// `http` to this machine only: what is sent is a secret.
    Loopback,
    /// `http` to the metadata server too, which speaks nothing else.
    Metadata,
}

/// Collects problems on the way.
#[derive(Default)]
pub(super) struct Reader {
    pub problems: Vec<ConfigProblem>,
}

impl Reader {
    pub fn wrong(&mut self, at: &str, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(ConfigProblem { pointer: at.to_owned(), message: message.into(), help: help.into() });
    }

    /// Everything in `map` that is not in `known` is wrong.
    pub fn only(&mut self, at: &str, map: &Map<String, Value>, known: &[&str]) {
        self.problems.extend(unknown_keys(at, map, known));
    }

    /// A mapping.
    pub fn mapping<'a>(&mut self, at: &str, value: &'a Value, example: &str) -> Option<&'a Map<String, Value>> {
        let map = value.as_object();
        if map.is_none() {
            self.wrong(at, format!("this is {}", kind(value)), format!("write a mapping, such as `{example}`"));
        }
        map
    }

    /// The text of a value that must be one.
    pub fn value_text<'a>(&mut self, at: &str, key: &str, value: &'a Value) -> Option<&'a str> {
        match value {
            Value::String(text) if !text.is_empty() => Some(text),
            Value::String(_) => {
                self.wrong(at, format!("`{key}` is empty"), "write a value or remove the key");
                None
            }
            other => {
                self.wrong(
                    at,
                    format!("`{key}` is {}, but must be text", kind(other)),
                    format!("put it in quotes: `{key}: \"…\"`"),
                );
                None
            }
        }
    }

    /// A text that may be missing.
    pub fn text<'a>(&mut self, at: &str, map: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
        let value = map.get(key)?;
        self.value_text(&pointer(at, key), key, value)
    }

    /// A text that must be there.
    pub fn required<'a>(&mut self, at: &str, map: &'a Map<String, Value>, key: &str, example: &str) -> Option<&'a str> {
        if !map.contains_key(key) {
            self.wrong(at, format!("`{key}` is missing"), format!("add `{key}: {example}`"));
        }
        self.text(at, map, key)
    }

    /// The name of a secret; `key` is only for the message.
    pub fn secret_name(&mut self, at: &str, key: &str, text: &str) -> Option<SecretName> {
        match SecretName::new(text) {
            Ok(name) => Some(name),
            Err(error) => {
                // What is written here may be the secret itself, by mistake; so it is not repeated.
                self.wrong(
                    at,
                    format!("`{key}` is not the name of a secret: {}", error.why),
                    format!("write the name of an entry under `secrets`, such as `{key}: api-token`; never the value"),
                );
                None
            }
        }
    }

    /// The name of a secret that may be missing.
    pub fn secret(&mut self, at: &str, map: &Map<String, Value>, key: &str) -> Option<SecretName> {
        let text = self.text(at, map, key)?;
        self.secret_name(&pointer(at, key), key, text)
    }

    /// The name of a secret that must be there.
    pub fn required_secret(
        &mut self,
        at: &str,
        map: &Map<String, Value>,
        key: &str,
        example: &str,
    ) -> Option<SecretName> {
        let text = self.required(at, map, key, example)?;
        self.secret_name(&pointer(at, key), key, text)
    }

    /// A list of texts that must be there and hold at least one.
    pub fn texts(&mut self, at: &str, map: &Map<String, Value>, key: &str, example: &str) -> Vec<String> {
        let Some(value) = map.get(key) else {
            self.wrong(at, format!("`{key}` is missing"), format!("add `{key}: [{example}]`"));
            return Vec::new();
        };
        let at = pointer(at, key);
        match value {
            Value::Array(items) if items.is_empty() => {
                self.wrong(&at, format!("`{key}` is empty"), format!("write `{key}: [{example}]`"));
                Vec::new()
            }
            Value::Array(items) => {
                let texts = items.iter().enumerate();
                texts
                    .filter_map(|(i, item)| self.value_text(&format!("{at}/{i}"), key, item))
                    .map(str::to_owned)
                    .collect()
            }
            other => {
                self.wrong(&at, format!("`{key}` is {}", kind(other)), format!("write a list: `{key}: [{example}]`"));
                Vec::new()
            }
        }
    }

    pub fn word<T: Copy>(&mut self, at: &str, map: &Map<String, Value>, key: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(at, map, key)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            self.wrong(
                &pointer(at, key),
                format!("`{text}` is not a value of `{key}`"),
                format!("write {}", known.join(" or ")),
            );
        }
        found
    }

    pub fn port(&mut self, at: &str, map: &Map<String, Value>) -> Option<u16> {
        let value = map.get("port")?;
        let port = value.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
        if port.is_none() {
            self.wrong(&pointer(at, "port"), format!("`{value}` is not a port"), "write a number from 1 to 65535");
        }
        port
    }

    /// The address of an endpoint that the host itself asks.
    pub fn endpoint(&mut self, at: &str, map: &Map<String, Value>, key: &str, clear: Clear) -> Option<Url> {
        let text = self.text(at, map, key)?;
        let at = pointer(at, key);
        let Some(url) = absolute(text) else {
            // Not quoted: it may hold a password.
            self.wrong(&at, format!("`{key}` is not an absolute URL"), "begin it with `https://`");
            return None;
        };
        if says_more_than_where(&url) {
            let help = "write scheme, host, port and path only";
            self.wrong(&at, format!("`{key}` holds user information, a query or a fragment"), help);
            return None;
        }
        let metadata = clear == Clear::Metadata
            && matches!(url.host_str(), Some("metadata.google.internal" | "169.254.169.254" | "[fd20:ce::254]"));
        if url.scheme() == "http" && !is_loopback(&url) && !metadata {
            self.wrong(&at, "a secret would be sent in the clear".to_owned(), "begin it with `https://`");
            return None;
        }
        Some(url)
    }
}
