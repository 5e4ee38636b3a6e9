//! Writes projects of plugins, and builds them: `basb-host plugin new` and `basb-host plugin build`.
//!
//! What is written is a project like any other, under `templates/`: it builds, its tests pass, and the conformance kit
//! certifies it, before its author has changed a line.
//!
//! **Must never** write over a file that is there, or run anything but `cargo`.

mod build;
mod project;

pub use build::{Built, build, componentize};
pub use project::{Project, Sdk, write};

use std::path::PathBuf;

/// Where the SDK is when no folder is given.
pub const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

/// Why a project cannot be written or built.
#[derive(Debug, thiserror::Error)]
pub enum AuthoringError {
    /// The name cannot be that of a plugin (`authoring/bad-name`).
    #[error("`{0}` cannot be the name of a plugin: 1 to 63 of a-z, 0-9 and inner `-`, beginning with a letter")]
    Name(String),
    /// Something is there already (`authoring/exists`).
    #[error("{} is there already and is left as it is", .0.display())]
    Exists(PathBuf),
    /// A file or folder cannot be used (`authoring/file`).
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The SDK is not in the folder that was given (`authoring/no-sdk`).
    #[error("the SDK is not in {}: {why}", folder.display())]
    NoSdk {
        /// The folder.
        folder: PathBuf,
        /// Why.
        why: String,
    },
    /// `cargo` cannot be started (`authoring/no-cargo`).
    #[error("cargo cannot be started: {0}")]
    NoCargo(std::io::Error),
    /// `cargo` failed (`authoring/cargo`).
    #[error("the plugin does not build:\n{0}")]
    Cargo(String),
    /// The folder is no project of a plugin (`authoring/no-plugin`).
    #[error("{} is no project of a plugin: {why}", folder.display())]
    NoPlugin {
        /// The folder.
        folder: PathBuf,
        /// Why.
        why: String,
    },
    /// The module cannot be made a component (`authoring/no-component`).
    #[error("the module cannot be made a component: {0}")]
    Component(String),
}

impl AuthoringError {
    /// A code that stays the same from version to version.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Name(_) => "authoring/bad-name",
            Self::Exists(_) => "authoring/exists",
            Self::File { .. } => "authoring/file",
            Self::NoSdk { .. } => "authoring/no-sdk",
            Self::NoCargo(_) => "authoring/no-cargo",
            Self::Cargo(_) => "authoring/cargo",
            Self::NoPlugin { .. } => "authoring/no-plugin",
            Self::Component(_) => "authoring/no-component",
        }
    }

    /// What to do next.
    #[must_use]
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::Name(_) => "choose one such as `provider-acme`",
            Self::Exists(_) => "choose another name, or remove it",
            Self::File { .. } => "check the path and who may write there",
            Self::NoSdk { .. } => "name the folder `sdk/rust` of a checkout, or leave `--sdk` out",
            Self::NoCargo(_) => "install Rust: plugins are built by cargo",
            Self::Cargo(said) if said.contains("can't find crate for `core`") || said.contains("target may not be") => {
                "add the target: `rustup target add wasm32-unknown-unknown`"
            }
            Self::Cargo(_) => "mend it and build again",
            Self::NoPlugin { .. } => "`basb-host plugin new KIND NAME` writes one",
            Self::Component(_) => "export a type with `basb_plugin::export!`",
        }
    }
}
