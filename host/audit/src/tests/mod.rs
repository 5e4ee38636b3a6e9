mod acting;
mod reporting;
mod versions;

use basb_core::{Digest, PluginName};
use basb_grants::Grants;
use basb_inspect::Inspection;
use serde_json::{Value, json};

pub fn name(text: &str) -> PluginName {
    PluginName::new(text).unwrap()
}

/// A plugin with these imports and these requests.
pub fn inspection(kind: &str, imports: &[(&str, &[&str])], requested: &[&str]) -> Inspection {
    let imports: Vec<Value> =
        imports.iter().map(|(name, functions)| json!({"name": name, "functions": functions})).collect();
    let requested: Vec<Value> =
        requested.iter().map(|name| json!({"name": name, "reason": format!("needs {name}")})).collect();
    serde_json::from_value(json!({
        "size": 12_345, "imports": imports, "exports": [format!("basb:host/{kind}@0.1.0")], "kind": kind,
        "manifest": {"manifestVersion": 1, "name": format!("{kind}-x"), "version": "1.2.3", "kind": kind,
            "publisher": "acme", "wit": "0.1", "capabilities": requested, "configSchema": true},
    }))
    .unwrap()
}

pub fn digest() -> Digest {
    Digest::of(b"bytes")
}

pub fn grants(value: &Value) -> Grants {
    Grants::parse(value).unwrap()
}

pub const HTTP: (&str, &[&str]) = ("basb:host/http@0.1.0", &["send"]);
pub const LOG: (&str, &[&str]) = ("basb:host/log@0.1.0", &["write"]);
