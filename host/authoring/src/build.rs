//! From a folder with a `Cargo.toml` to a component.

use crate::AuthoringError;
use basb_inspect::{Manifest, ManifestError, inspect};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use wit_component::ComponentEncoder;

/// What default plugins are built for: a component without any WASI import.
const TARGET: &str = "wasm32-unknown-unknown";

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
    let no = |why: String| AuthoringError::NoPlugin { folder: folder.to_owned(), why };
    let core = std::fs::read(&module).map_err(|e| {
        let needs = "its Cargo.toml needs `[lib]` with `crate-type = [\"cdylib\", \"rlib\"]`";
        no(format!("cargo made no {} ({e}): {needs}", module.display()))
    })?;
    let mut bytes = componentize(&core)?;
    let found = inspect(&bytes).map_err(|e| AuthoringError::Component(e.to_string()))?;
    if found.manifest.is_none() {
        // For plugins of other tools, which have no macro that does it.
        let wrong = |e: ManifestError| no(format!("plugin.json: {e}"));
        bytes = Manifest::parse(&read(&folder.join("plugin.json"))?).map_err(wrong)?.append_to(&bytes);
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
    let mut packages = metadata.get("packages").and_then(Value::as_array).into_iter().flatten();
    let path = |package: &Value| package.get("manifest_path").and_then(Value::as_str).map(PathBuf::from);
    let own = packages.find(|p| path(p).is_some_and(|path| path.canonicalize().unwrap_or(path) == manifest));
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
