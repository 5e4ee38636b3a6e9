//! What a plugin is and what it can ask for, read from its bytes alone.

use crate::EngineError;
use basb_core::Digest;
use serde_json::{Value, json};

/// Everything that the bytes say, as JSON with a version.
///
/// # Errors
/// [`EngineError::Plugin`] when it is no plugin.
pub fn report(source: &str, bytes: &[u8]) -> Result<Value, EngineError> {
    let found = basb_runtime::inspect(bytes).map_err(|e| EngineError::Plugin {
        name: source.to_owned(),
        code: e.code().to_owned(),
        message: e.to_string(),
        next: "a plugin is a WebAssembly component that exports one of the `basb:host` interfaces".to_owned(),
    })?;
    let imports: Vec<Value> =
        found.imports.iter().map(|i| json!({ "interface": i.name, "functions": i.functions })).collect();
    let manifest = found.manifest.as_ref();
    Ok(json!({
        "reportVersion": 1,
        "source": source,
        "digest": Digest::of(bytes),
        "size": found.size,
        "kind": found.kind,
        "name": manifest.map(|m| &m.name),
        "version": manifest.map(|m| m.version.to_string()),
        "publisher": manifest.map(|m| &m.publisher),
        "wit": manifest.map(|m| &m.wit),
        "imports": imports,
        "exports": found.exports,
        "capabilities": manifest.map(|m| &m.capabilities),
        "configSchema": manifest.map(|m| &m.config_schema),
    }))
}
