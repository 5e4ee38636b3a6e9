//! The JSON Schema of a deployment file, for editors and for whoever writes one by program.

use crate::shape::DeploymentFile;
use schemars::{Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// The JSON Schema (2020-12) of a deployment file: every key with its description and default, nothing else allowed.
#[must_use]
pub fn schema() -> Value {
    let generator = SchemaGenerator::new(SchemaSettings::draft2020_12());
    let mut schema = generator.into_root_schema_for::<DeploymentFile>();
    schema.insert("title".to_owned(), json!("basb-host deployment file, version 1"));
    schema.to_value()
}

/// Whether a key must be there.
pub(crate) enum Presence {
    Required,
    Optional,
    Default(Value),
}

/// The schema of a map of known keys, while it is made.
pub(crate) struct Record {
    about: String,
    properties: Map<String, Value>,
    required: Vec<Value>,
}

impl Record {
    pub(crate) fn new(about: &str) -> Self {
        Self { about: tidy(about), properties: Map::new(), required: Vec::new() }
    }

    pub(crate) fn member(&mut self, key: &str, mut schema: Schema, about: &str, presence: Presence) {
        schema.insert("description".to_owned(), Value::String(tidy(about)));
        match presence {
            Presence::Required => self.required.push(Value::from(key)),
            Presence::Optional => {}
            Presence::Default(value) => {
                schema.insert("default".to_owned(), value);
            }
        }
        self.properties.insert(key.to_owned(), schema.to_value());
    }

    pub(crate) fn finish(self) -> Schema {
        let mut schema = schemars::json_schema!({
            "type": "object",
            "description": self.about,
            "properties": self.properties,
            "additionalProperties": false,
        });
        if !self.required.is_empty() {
            schema.insert("required".to_owned(), Value::Array(self.required));
        }
        schema
    }
}

/// Doc comments come line by line, each with a leading blank.
pub(crate) fn tidy(about: &str) -> String {
    about.lines().map(str::trim).collect::<Vec<_>>().join(" ").trim().to_owned()
}
