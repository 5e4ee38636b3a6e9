//! The check that `plugin.json` says what the crate is.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::manifest::Manifest;

const DOORS: &[(&str, &[&str])] = &[
    ("provider", &["log", "http", "exec", "files"]),
    ("strategy", &[]),
    ("judge", &[]),
    ("probe", &["log", "http", "tcp", "exec"]),
    ("notifier", &["log", "http", "smtp", "files"]),
    ("generator", &[]),
];

/// Everything that is wrong with a manifest; nothing when it fits.
///
/// Name and version must be the crate's, the capabilities must be of the kind's world, each property of the schema must
/// have a description, and the schema's defaults (over its first example, where properties are required) must make a
/// configuration.
pub fn check_manifest<C: DeserializeOwned>(text: &str, name: &str, version: &str, kind: &str) -> Vec<String> {
    let manifest: Manifest = match serde_json::from_str(text) {
        Ok(manifest) => manifest,
        Err(error) => return vec![format!("not a manifest: {error}")],
    };
    let mut problems = Vec::new();
    let mut expect = |what: &str, is: &str, should: &str| {
        if is != should {
            problems.push(format!("{what} is `{is}` and should be `{should}`"));
        }
    };
    expect("name", &manifest.name, name);
    expect("version", &manifest.version, version);
    expect("kind", &manifest.kind, kind);
    expect("wit", &manifest.wit, "0.1");
    if manifest.manifest_version != 1 {
        problems.push(format!("manifestVersion is {} and should be 1", manifest.manifest_version));
    }
    let doors = DOORS.iter().find(|(known, _)| *known == kind).map_or(&[][..], |(_, doors)| doors);
    for capability in &manifest.capabilities {
        if !doors.contains(&capability.name.as_str()) {
            problems.push(format!("a {kind} cannot have the capability `{}`", capability.name));
        }
        if capability.reason.trim().is_empty() {
            problems.push(format!("the capability `{}` has no reason", capability.name));
        }
    }
    check_schema::<C>(&manifest.config_schema, &mut problems);
    problems
}

fn check_schema<C: DeserializeOwned>(schema: &Value, problems: &mut Vec<String>) {
    if schema.get("additionalProperties") != Some(&Value::Bool(false)) {
        problems.push("configSchema must have \"additionalProperties\": false".into());
    }
    let mut config = match schema.pointer("/examples/0") {
        Some(Value::Object(example)) => example.clone(),
        _ => Map::new(),
    };
    let none = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    for (property, about) in properties {
        if about.get("description").and_then(Value::as_str).is_none_or(str::is_empty) {
            problems.push(format!("configSchema: `{property}` has no description"));
        }
        if let Some(default) = about.get("default") {
            config.entry(property.clone()).or_insert_with(|| default.clone());
        }
    }
    if let Err(error) = serde_json::from_value::<C>(Value::Object(config)) {
        problems.push(format!(
            "configSchema: its defaults{} do not make a configuration: {error}",
            if schema.get("required").is_some() { " and its first example" } else { "" }
        ));
    }
}
