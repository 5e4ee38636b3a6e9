//! Builds guests for `wasm32-unknown-unknown` and makes components of them, so that tests and benchmarks do it in one
//! way.
//!
//! **Must never** be linked into the product: it runs `cargo`.

pub mod languages;

use std::path::{Path, PathBuf};
use std::process::Command;
use wit_component::ComponentEncoder;

/// Why a guest could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// `cargo` could not be started.
    #[error("cargo could not be started to build `{package}`: {source}")]
    Cargo {
        /// The package.
        package: String,
        /// The cause.
        source: std::io::Error,
    },
    /// `cargo` failed; what it wrote is in the text.
    #[error(
        "`{package}` does not build for {triple}; if the target is missing: `rustup target add {triple}`\n{stderr}"
    )]
    Failed {
        /// The package.
        package: String,
        /// The target.
        triple: String,
        /// What `cargo` wrote.
        stderr: String,
    },
    /// The module was not where it should be.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Where it should be.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The module cannot be made a component.
    #[error("the core module cannot be made a component: {0}")]
    Componentize(String),
}

/// Makes a component of a core module that carries the type information of `wit-bindgen`, and validates it.
///
/// # Errors
/// [`BuildError::Componentize`] with the reason.
pub fn componentize(core: &[u8]) -> Result<Vec<u8>, BuildError> {
    ComponentEncoder::default()
        .validate(true)
        .module(core)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| BuildError::Componentize(format!("{error:#}")))
}

/// Builds a package of this workspace for `wasm32-unknown-unknown` with the `plugin` profile and returns its core module.
///
/// The target folder is `guests` inside the ordinary one: a folder of its own, since the caller usually runs under a
/// `cargo` that holds the lock of the ordinary one.
///
/// # Errors
/// [`BuildError`] with what `cargo` wrote.
pub fn build_core(package: &str) -> Result<Vec<u8>, BuildError> {
    build_for("wasm32-unknown-unknown", package)
}

/// Builds a package of this workspace for `wasm32-wasip2` with the `plugin` profile; that target makes components itself.
///
/// # Errors
/// [`BuildError`] with what `cargo` wrote.
pub fn build_wasi(package: &str) -> Result<Vec<u8>, BuildError> {
    build_for("wasm32-wasip2", package)
}

fn build_for(triple: &str, package: &str) -> Result<Vec<u8>, BuildError> {
    let workspace = workspace();
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from).join("guests");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--target", triple, "--profile", "plugin", "--package", package])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(&workspace)
        // Flags meant for the host, and clippy's wrapper, have no business in a guest.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .output()
        .map_err(|source| BuildError::Cargo { package: package.to_owned(), source })?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(BuildError::Failed { package: package.to_owned(), triple: triple.to_owned(), stderr });
    }
    let path = target.join(triple).join("plugin").join(format!("{}.wasm", package.replace('-', "_")));
    std::fs::read(&path).map_err(|source| BuildError::Read { path, source })
}

/// Builds a package of this workspace and returns it as a component.
///
/// # Panics
/// With the whole error, when it does not build: callers are tests and tools of this repository.
#[must_use]
pub fn build(package: &str) -> Vec<u8> {
    match build_core(package).and_then(|core| componentize(&core)) {
        Ok(component) => component,
        #[expect(clippy::panic, reason = "a test or a tool of this repository cannot go on without its guest")]
        Err(error) => panic!("{error}"),
    }
}

/// The folder of the workspace.
fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(3).unwrap_or_else(|| Path::new(".")).to_owned()
}
