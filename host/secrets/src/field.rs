//! Takes a value out of what a store holds.

use crate::error::{self, StoreError};
use crate::reading::suggest;
use basb_redact::SecretValue;
use serde_json::{Map, Value};
use zeroize::{Zeroize, Zeroizing};

/// The longest secret, in bytes: what AWS Secrets Manager holds at most.
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html>
pub(crate) const LONGEST: usize = 64 * 1024;

/// How an object was written, which decides whether a number in it is what somebody wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notation {
    /// `12` can only be written so.
    Json,
    /// `12` may have been `0xC` or `0o14`: only what is in quotes is certain.
    Yaml,
}

/// An object that a store holds; wiped from memory when it goes.
pub(crate) struct Object {
    map: Map<String, Value>,
    notation: Notation,
}

impl Drop for Object {
    fn drop(&mut self) {
        self.map.values_mut().for_each(wipe);
    }
}

/// Overwrites every text in a value.
pub(crate) fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(map) => map.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What a store gives.
pub(crate) enum Raw {
    /// A value as it is.
    Value(SecretValue),
    /// An object: the secret is one of its fields, or all of it as JSON.
    Object(Object),
}

impl Object {
    pub fn new(map: Map<String, Value>, notation: Notation) -> Self {
        Self { map, notation }
    }

    /// Whether there is such a key.
    pub fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// The key that was probably meant.
    pub fn near(&self, key: &str) -> Option<&str> {
        let known: Vec<&str> = self.map.keys().map(String::as_str).collect();
        suggest(key, &known)
    }

    /// What is under a key.
    pub fn get(&self, key: &str, what: &str) -> Result<Raw, StoreError> {
        let Some(value) = self.map.get(key) else {
            let help = self.near(key).map_or_else(
                || "look into the store for how it is called there".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            return Err(StoreError::new(error::FIELD, format!("there is no `{key}` in {what}"), help));
        };
        match (value, self.notation) {
            (Value::String(text), _) => Ok(Raw::Value(SecretValue::new(text.as_bytes()))),
            (Value::Object(map), notation) => Ok(Raw::Object(Self::new(map.clone(), notation))),
            (Value::Null, _) => Err(StoreError::new(
                error::EMPTY,
                format!("`{key}` in {what} is empty"),
                "write its value into the store",
            )),
            (Value::Number(number), Notation::Json) if !number.is_f64() => {
                Ok(Raw::Value(SecretValue::new(number.to_string())))
            }
            (Value::Bool(_) | Value::Number(_), _) => Err(StoreError::new(
                error::FIELD,
                format!("`{key}` in {what} is not text, and may have been written in another way than it was read"),
                format!("put its value in quotes: `{key}: \"…\"`"),
            )),
            (Value::Array(_), _) => {
                Err(StoreError::new(error::FIELD, format!("`{key}` in {what} is a list"), "store the value as text"))
            }
        }
    }
}

impl Raw {
    /// The secret: the field, or everything.
    pub fn pick(self, field: Option<&str>, what: &str) -> Result<SecretValue, StoreError> {
        let value = match (self, field) {
            (Self::Value(value), None) => value,
            (Self::Object(object), None) => object.whole(what)?,
            (Self::Object(object), Some(field)) => match object.get(field, what)? {
                Self::Value(value) => value,
                Self::Object(inner) => inner.whole(what)?,
            },
            (Self::Value(value), Some(field)) => {
                // The parser's error is left out: it may quote what it could not read.
                let Ok(Value::Object(map)) = serde_json::from_slice(value.expose()) else {
                    return Err(StoreError::new(
                        error::FIELD,
                        format!("{what} is not a JSON object, so it has no `{field}`"),
                        "remove `field`, or store a JSON object",
                    ));
                };
                Self::Object(Object::new(map, Notation::Json)).pick(Some(field), what)?
            }
        };
        if value.expose().is_empty() {
            return Err(StoreError::new(error::EMPTY, format!("{what} is empty"), "write its value into the store"));
        }
        if value.expose().len() > LONGEST {
            return Err(too_long(what));
        }
        Ok(value)
    }
}

impl Object {
    /// All of it, as JSON.
    fn whole(&self, what: &str) -> Result<SecretValue, StoreError> {
        let failed = |_| StoreError::new(error::FAILED, format!("{what} cannot be written as JSON"), "name a `field`");
        serde_json::to_vec(&self.map).map(SecretValue::new).map_err(failed)
    }
}

pub(crate) fn too_long(what: &str) -> StoreError {
    StoreError::new(
        error::TOO_LONG,
        format!("{what} is longer than {} KiB, the most that a secret may have", LONGEST / 1024),
        "store the secret itself there and nothing else",
    )
}

/// Parts of a secret names that say that a value is a secret of its own.
const TELLING: [&str; 8] = ["pass", "secret", "token", "key", "credential", "pwd", "auth", "private"];

/// The texts inside a secret that is a JSON object which are secrets of their own, going by their names: whoever gets the
/// object takes them out of it, so that they travel alone. Others in it, such as a project's name, stand in every log.
pub(crate) fn inner_secrets(secret: &SecretValue) -> Vec<SecretValue> {
    let mut out = Vec::new();
    if secret.expose().first() == Some(&b'{')
        && let Ok(mut value) = serde_json::from_slice::<Value>(secret.expose())
    {
        collect(&value, "", &mut out);
        wipe(&mut value);
    }
    out
}

fn collect(value: &Value, name: &str, out: &mut Vec<SecretValue>) {
    match value {
        Value::String(text) => {
            let name = Zeroizing::new(name.to_lowercase());
            if TELLING.iter().any(|telling| name.contains(telling)) {
                out.push(SecretValue::new(text.as_bytes()));
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, name, out)),
        Value::Object(map) => map.iter().for_each(|(key, item)| collect(item, key, out)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value, notation: Notation) -> Raw {
        let Value::Object(map) = value else { panic!("an object") };
        Raw::Object(Object::new(map, notation))
    }

    #[test]
    fn a_field_is_text_or_what_can_only_be_written_in_one_way() {
        let value =
            json!({"a": "text", "n": 5432, "f": 1.10, "t": true, "o": {"b": "c"}, "l": [1], "z": null, "e": ""});
        let pick = |field: Option<&str>, notation| {
            object(value.clone(), notation).pick(field, "it").map(|v| v.expose_text().unwrap().to_owned())
        };
        assert_eq!(pick(Some("a"), Notation::Yaml).unwrap(), "text");
        assert_eq!(pick(Some("o"), Notation::Json).unwrap(), r#"{"b":"c"}"#);
        assert_eq!(pick(Some("n"), Notation::Json).unwrap(), "5432");
        for (field, notation, code) in [
            ("n", Notation::Yaml, error::FIELD),
            ("f", Notation::Json, error::FIELD),
            ("t", Notation::Json, error::FIELD),
            ("l", Notation::Json, error::FIELD),
            ("z", Notation::Json, error::EMPTY),
            ("e", Notation::Json, error::EMPTY),
            ("nope", Notation::Json, error::FIELD),
        ] {
            assert_eq!(pick(Some(field), notation).unwrap_err().code, code, "{field}");
        }
        assert!(pick(None, Notation::Json).unwrap().starts_with('{'));
    }

    #[test]
    fn what_is_not_json_has_no_fields_and_is_not_quoted() {
        let error = Raw::Value(SecretValue::new("canary-value")).pick(Some("a"), "it").unwrap_err();
        assert_eq!(error.code, error::FIELD);
        assert!(!format!("{error:?}").contains("canary-value"));
    }

    #[test]
    fn only_fields_with_telling_names_are_secrets_of_their_own() {
        let value =
            json!({"project_id": "my-project", "private_key": "k1", "db": {"PassWord": "k2"}, "tokens": ["k3"]});
        let inner = inner_secrets(&SecretValue::new(value.to_string()));
        let inner: Vec<_> = inner.iter().map(|v| v.expose_text().unwrap()).collect();
        assert_eq!(inner, ["k1", "k2", "k3"]);
    }
}
