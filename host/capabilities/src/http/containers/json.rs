//! JSON as it is written, so that nothing in it is hidden from whoever looks at it.
//!
//! Stops a second key of one name from replacing the first one unseen: a reader of JSON may take either.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// A value, with the keys of objects in their order and each of them once.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number; which one does not matter here.
    Number,
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Json>),
    /// An object.
    Map(Vec<(String, Json)>),
}

/// Reads one value and nothing behind it.
///
/// # Errors
/// In words, what is wrong.
pub(super) fn read(bytes: &[u8]) -> Result<Json, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E: Error>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
                Ok(Json::Bool(value))
            }

            fn visit_u64<E: Error>(self, _: u64) -> Result<Json, E> {
                Ok(Json::Number)
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<Json, E> {
                Ok(Json::Number)
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<Json, E> {
                Ok(Json::Number)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Json, E> {
                Ok(Json::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Json::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
                let mut map: Vec<(String, Json)> = Vec::new();
                let mut seen = std::collections::BTreeSet::new();
                while let Some((key, value)) = members.next_entry::<String, Json>()? {
                    if !seen.insert(key.clone()) {
                        return Err(A::Error::custom("a key is there twice"));
                    }
                    map.push((key, value));
                }
                Ok(Json::Map(map))
            }
        }
        deserializer.deserialize_any(Any)
    }
}
