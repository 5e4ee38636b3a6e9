//! `plugin.json`: what a plugin says about itself, read from its bytes without running it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The name of the custom section that holds the manifest.
pub const SECTION: &str = "basb-host:manifest";

/// What a plugin says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// The version of this format: 1.
    pub manifest_version: u32,
    /// The plugin's name, as in `Cargo.toml`.
    pub name: String,
    /// Its version, as in `Cargo.toml`.
    pub version: String,
    /// `provider`, `strategy`, `judge`, `probe`, `notifier` or `generator`.
    pub kind: String,
    /// Who made it.
    pub publisher: String,
    /// The WIT versions that it works with, such as `0.1`.
    pub wit: String,
    /// What it asks the host for.
    #[serde(default)]
    pub capabilities: Vec<Capability>,
    /// The JSON Schema (2020-12) of its configuration.
    pub config_schema: Value,
}

/// Something that a plugin asks the host for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Capability {
    /// `log`, `http`, `tcp`, `exec`, `files` or `smtp`.
    pub name: String,
    /// What it needs it for.
    pub reason: String,
}
