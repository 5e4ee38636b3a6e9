//! The entries of `secrets`.

use super::Known;
use super::reader::{Reader, is_variable};
use crate::config::{Item, KvVersion, StoreName};
use crate::reading::{kind, pointer, suggest};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The longest name or ARN of an AWS secret.
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html>
const LONGEST_AWS_ID: usize = 2048;

impl Reader {
    pub(super) fn secret(&mut self, at: &str, value: &Value, stores: &BTreeMap<String, Known>) -> Option<Item> {
        let map = self.map(at, value, "`{store: env, key: NAME}`")?;
        self.only(at, map, &["store", "key", "field", "stage", "version"]);
        let store = self.required(at, map, "store", "env");
        let key = self.required(at, map, "key", "NAME");
        let field = self.text(at, map, "field").map(str::to_owned);
        let stage = self.text(at, map, "stage").map(str::to_owned);
        let version = self.version(at, map);
        let store = store?;
        let Some(known) = stores.get(store) else {
            let names: Vec<&str> = stores.keys().map(String::as_str).collect();
            let help = suggest(store, &names)
                .map_or_else(|| format!("there are {}", names.join(", ")), |near| format!("did you mean `{near}`?"));
            self.wrong(&pointer(at, "store"), format!("there is no store `{store}`"), help);
            return None;
        };
        let key = key?;
        self.fits(at, known, key);
        if stage.is_some() && !matches!(known, Known::Aws | Known::Broken) {
            let message = format!("`stage` is for AWS Secrets Manager, and `{store}` is something else");
            self.wrong(&pointer(at, "stage"), message, "remove it");
        }
        if let Some(version) = &version {
            let at = pointer(at, "version");
            match known {
                Known::Broken => {}
                Known::Vault(KvVersion::V2) => {
                    if version.parse::<u32>().ok().is_none_or(|number| number == 0) {
                        self.wrong(&at, "a version in Vault is a number from 1", "write it as in `version: 3`");
                    }
                }
                Known::Vault(KvVersion::V1) => {
                    self.wrong(&at, "version 1 of the KV engine keeps no versions", "remove it");
                }
                Known::Aws => {
                    if !(32..=64).contains(&version.len()) {
                        let help = "write what `aws secretsmanager list-secret-version-ids` shows, or use `stage`";
                        self.wrong(&at, "this is not the id of a version", help);
                    }
                }
                Known::Env | Known::Age | Known::Exec => {
                    self.wrong(&at, format!("the store `{store}` keeps no versions"), "remove it");
                }
            }
        }
        Some(Item { store: StoreName::new(store).ok()?, key: key.to_owned(), field, stage, version })
    }

    /// A number or text.
    fn version(&mut self, at: &str, map: &Map<String, Value>) -> Option<String> {
        match map.get("version")? {
            Value::Number(number) if number.as_u64().is_some_and(|number| number > 0) => Some(number.to_string()),
            Value::String(_) => self.text(at, map, "version").map(str::to_owned),
            other => {
                let message = format!("`version` is {}, but not one from 1", kind(other));
                self.wrong(&pointer(at, "version"), message, "write it as in `version: 3`");
                None
            }
        }
    }

    /// Whether a store of this kind can have such a key.
    fn fits(&mut self, at: &str, known: &Known, key: &str) {
        let at = pointer(at, "key");
        match known {
            Known::Env if !is_variable(key) => {
                // Not quoted: it may be `NAME=value`.
                self.wrong(&at, "this is not the name of a variable", "use letters, digits and `_`, without a value");
            }
            Known::Vault(_) => {
                self.path(&at, "key", key);
            }
            Known::Aws if key.len() > LONGEST_AWS_ID => {
                self.wrong(&at, "this is too long for a secret in AWS", "write its name or its ARN");
            }
            Known::Exec if key.starts_with('-') => {
                let help = "write a key that does not begin with `-`";
                self.wrong(&at, "the program would take this key for an option", help);
            }
            _ => {}
        }
    }
}
