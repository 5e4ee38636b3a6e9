//! From a folder with a `Cargo.toml` to a component.

use crate::AuthoringError;
use basb_inspect::inspect;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use wit_component::ComponentEncoder;

/// What default plugins are built for: a component without any WASI import.
const TARGET: &str = "wasm32-unknown-unknown";

/// The custom section of the manifest.
const SECTION: &str = "basb-host:manifest";

/// A plugin that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The package.
    pub name: String,
    /// The component's file.
    pub path: PathBuf,
    /// The component.
    pub bytes: Vec<u8>,
}

/// Builds the project in a folder, makes a component of it, and writes it to `out`, or else to
/// `target/plugin/NAME.wasm` in the folder of cargo's output.
///
/// # Errors
/// [`AuthoringError`] with what cargo said.
pub fn build(folder: &Path, out: Option<&Path>) -> Result<Built, AuthoringError> {
    let (name, target) = package(folder)?;
    let built = run(folder, &["build", "--quiet", "--lib", "--profile", "plugin", "--target", TARGET]);
    match built {
        // A project that was not written by `plugin new` may have no such profile.
        Err(AuthoringError::Cargo(said)) if said.contains("profile `plugin` is not defined") => {
            return Err(AuthoringError::NoPlugin {
                folder: folder.to_owned(),
                why: "its Cargo.toml has no `[profile.plugin]` (docs/plugins.md has one)".to_owned(),
            });
        }
        other => drop(other?),
    }
    let module = target.join(TARGET).join("plugin").join(format!("{}.wasm", name.replace('-', "_")));
    let core = read(&module)?;
    let mut bytes = componentize(&core)?;
    let has_manifest = inspect(&bytes).is_ok_and(|inspection| inspection.manifest.is_some());
    if !has_manifest {
        bytes = with_manifest(bytes, &read(&folder.join("plugin.json"))?);
    }
    let path = out.map_or_else(|| target.join("plugin").join(format!("{name}.wasm")), Path::to_owned);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|source| AuthoringError::File { path: parent.to_owned(), source })?;
    }
    std::fs::write(&path, &bytes).map_err(|source| AuthoringError::File { path: path.clone(), source })?;
    Ok(Built { name, path, bytes })
}

/// Makes a component of a core module that carries the types of `wit-bindgen`, and validates it.
///
/// # Errors
/// [`AuthoringError::Component`] with the reason.
pub fn componentize(core: &[u8]) -> Result<Vec<u8>, AuthoringError> {
    ComponentEncoder::default()
        .validate(true)
        .module(core)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| AuthoringError::Component(format!("{error:#}")))
}

/// The component with a manifest as its last section: for plugins of other tools, which have no macro that does it.
#[must_use]
pub fn with_manifest(mut component: Vec<u8>, manifest: &[u8]) -> Vec<u8> {
    let mut section = Vec::with_capacity(manifest.len() + SECTION.len() + 4);
    leb128(&mut section, SECTION.len());
    section.extend_from_slice(SECTION.as_bytes());
    section.extend_from_slice(manifest);
    component.push(0);
    leb128(&mut component, section.len());
    component.extend(section);
    component
}

/// An unsigned number as WebAssembly writes it.
fn leb128(to: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            to.push(low);
            return;
        }
        to.push(low | 0x80);
    }
}

fn read(path: &Path) -> Result<Vec<u8>, AuthoringError> {
    std::fs::read(path).map_err(|source| AuthoringError::File { path: path.to_owned(), source })
}

/// The name of the package in a folder, and where cargo puts what it builds.
fn package(folder: &Path) -> Result<(String, PathBuf), AuthoringError> {
    let no = |why: &str| AuthoringError::NoPlugin { folder: folder.to_owned(), why: why.to_owned() };
    let manifest = folder.join("Cargo.toml");
    if !manifest.is_file() {
        return Err(no("it has no Cargo.toml"));
    }
    let text = run(folder, &["metadata", "--format-version", "1", "--no-deps"])?;
    let metadata: Value = serde_json::from_slice(&text).map_err(|e| no(&format!("cargo metadata: {e}")))?;
    let manifest = manifest.canonicalize().unwrap_or(manifest);
    let packages = metadata.get("packages").and_then(Value::as_array).cloned().unwrap_or_default();
    let path = |package: &Value| package.get("manifest_path").and_then(Value::as_str).map(PathBuf::from);
    let own = packages.iter().find(|p| path(p).is_some_and(|path| path.canonicalize().unwrap_or(path) == manifest));
    let name = own.and_then(|p| p.get("name")).and_then(Value::as_str).ok_or_else(|| no("it is no package"))?;
    let target =
        metadata.get("target_directory").and_then(Value::as_str).ok_or_else(|| no("it has no target folder"))?;
    Ok((name.to_owned(), PathBuf::from(target)))
}

/// Runs cargo in a folder. Flags meant for the machine have no business in a plugin.
fn run(folder: &Path, args: &[&str]) -> Result<Vec<u8>, AuthoringError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(args)
        .current_dir(folder)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .output()
        .map_err(AuthoringError::NoCargo)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(AuthoringError::Cargo(String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_webassembly_reads_them() {
        let written = |value| {
            let mut bytes = Vec::new();
            leb128(&mut bytes, value);
            bytes
        };
        assert_eq!(written(0), [0]);
        assert_eq!(written(127), [127]);
        assert_eq!(written(128), [0x80, 1]);
        assert_eq!(written(624_485), [0xe5, 0x8e, 0x26]);
    }

    #[test]
    fn a_manifest_can_be_added_to_a_component_and_is_found_there() {
        // The smallest component: magic, version 13, layer 1.
        let empty = vec![0, b'a', b's', b'm', 13, 0, 1, 0];
        let manifest = br#"{"manifestVersion":1,"name":"p","version":"0.1.0","kind":"probe","publisher":"x","wit":"0.1","capabilities":[],"configSchema":{}}"#;
        let bytes = with_manifest(empty, manifest);
        let found = inspect(&bytes).unwrap().manifest.unwrap();
        assert_eq!(found.name, "p");
    }
}
