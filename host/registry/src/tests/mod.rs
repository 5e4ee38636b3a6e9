mod checking;
mod resolving;
mod signing;
mod text;

use crate::{Facts, LockEntry, LockedSource, Scope};
use basb_core::{Digest, PluginName, ServiceName};
use basb_grants::Grants;
use basb_inspect::Inspection;
use serde_json::{Value, json};
use std::path::Path;

pub fn name(text: &str) -> PluginName {
    PluginName::new(text).unwrap()
}

pub fn scope() -> Scope {
    Scope { deployment: ServiceName::new("second-brain").unwrap(), environment: name("production") }
}

pub fn manifest() -> Value {
    json!({"manifestVersion": 1, "name": "probe-http", "version": "1.2.3", "kind": "probe", "publisher": "acme",
        "wit": "0.1", "capabilities": [{"name": "http", "reason": "measures"}], "configSchema": true})
}

pub fn inspection() -> Inspection {
    serde_json::from_value(json!({
        "size": 100,
        "imports": [{"name": "basb:host/http@0.1.0", "functions": ["send", "send-many"]},
            {"name": "basb:host/types@0.1.0", "functions": []}],
        "exports": ["basb:host/probe@0.1.0"],
        "kind": "probe",
        "manifest": manifest(),
    }))
    .unwrap()
}

/// Every key of every grant, none at its default.
pub fn full_grants() -> Value {
    json!({
        "http": [
            {"host": "**.example.com", "scheme": "http", "port": 8080, "methods": ["POST", "GET"], "path": "/v1/**",
                "actions": ["Describe*"], "reads": ["POST", "/v1/search"], "resolves": "private"},
            {"socket": "agent", "methods": ["PUT"], "path": "/x"},
            {"target": "service", "methods": ["GET"], "path": "/healthz"},
        ],
        "tcp": [{"host": "db.example.com", "port": 5432, "resolves": "private", "effect": "read"}, {"target": "service"}],
        "files": [{"folder": "vault", "path": "./vault", "access": "read-write"}],
        "exec": [{"program": "tofu", "path": "/usr/bin/tofu", "sha256": "9".repeat(64), "args": ["plan", "-out=*"],
            "env": ["TF_LOG"], "folder": "./infra", "effect": "read"}],
        "smtp": [{"server": "office", "host": "mail.example.com", "port": 25, "resolves": "private",
            "tls": "implicit", "login": "mail", "from": ["*@example.com"], "to": ["ops@example.com"]}],
    })
}

pub fn entry(grants: &Value) -> LockEntry {
    entry_of(&inspection(), grants, b"bytes")
}

pub fn entry_of(inspection: &Inspection, grants: &Value, bytes: &[u8]) -> LockEntry {
    LockEntry::of(Facts {
        source: &LockedSource::new("/srv/brain/plugins/probe.wasm", Path::new("/srv/brain")),
        digest: &Digest::of(bytes),
        inspection,
        grants: &Grants::parse(grants).unwrap(),
        credentials: &[name("github")],
        bindings: &json!({"github": {"to": ["https://api.github.com"], "bearer": {"secret": "token"}}}),
        signed_by: None,
    })
    .unwrap()
}
