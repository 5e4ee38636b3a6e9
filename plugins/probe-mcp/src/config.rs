//! What can be configured. The meaning of each key is told in the schema of the manifest.

use basb_plugin::config::HumanDuration;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// The configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// The path of the endpoint.
    pub path: String,
    /// Which protocol to speak.
    pub era: EraChoice,
    /// How much is asked of the server.
    pub level: Level,
    /// Further headers of every request.
    pub headers: BTreeMap<String, String>,
    /// The longest to wait for each response.
    pub timeout: HumanDuration,
    /// How many pages a tool list may have.
    pub max_pages: u32,
    /// Tools that must be there.
    pub expect_tools: Vec<String>,
    /// A tool that is called.
    pub call: Option<Call>,
    /// What the tools' contract is compared with.
    pub contract: ContractConfig,
}

/// Which protocol to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EraChoice {
    /// Modern, or else legacy.
    Auto,
    /// Stateless: 2026-07-28.
    Modern,
    /// With a handshake: 2025-11-25 and older.
    Legacy,
}

/// How much is asked of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It answers.
    Liveness,
    /// It can do its work.
    Readiness,
}

/// A tool that is called.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Call {
    /// The tool's name.
    pub tool: String,
    /// Its arguments.
    #[serde(default)]
    pub arguments: Map<String, Value>,
    /// How many calls make one measurement.
    #[serde(default = "one")]
    pub count: u32,
    /// The share of the calls that must succeed.
    #[serde(default = "all")]
    pub min_success_rate: f64,
    /// What makes a call succeed.
    #[serde(default)]
    pub expect: Expect,
}

/// What makes a call succeed.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Expect {
    /// Texts that the result's text must contain.
    pub contains: Vec<String>,
    /// Values that the result must have, by JSON pointer.
    pub json: BTreeMap<String, Value>,
    /// The longest that a call may take.
    pub max_latency: Option<HumanDuration>,
}

/// What the tools' contract is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ContractConfig {
    /// The digest that it must have.
    pub digest: Option<String>,
    /// Let a breaking change pass.
    pub allow_breaking: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: "/mcp".to_owned(),
            era: EraChoice::Auto,
            level: Level::Readiness,
            headers: BTreeMap::new(),
            timeout: HumanDuration(Duration::from_secs(5)),
            max_pages: 20,
            expect_tools: Vec::new(),
            call: None,
            contract: ContractConfig::default(),
        }
    }
}

fn one() -> u32 {
    1
}

fn all() -> f64 {
    1.0
}
