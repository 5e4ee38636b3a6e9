//! The two ways to the network: the host's own interface, and `wasi:http`. Both must meet the same policy.

use crate::case::Outcome;
use crate::expect;
use crate::lab::Lab;
use basb_guest_script::Outcome as Told;
use basb_runtime::{Plugin, Runtime};
use serde_json::Value;

/// A way to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// `basb:host/http`.
    Host,
    /// `wasi:http`.
    Wasi,
}

impl Door {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Host, Self::Wasi];

    /// What the names of its cases begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Host => "http",
            Self::Wasi => "wasi",
        }
    }

    /// The scripted guest that uses it.
    pub fn guest(self, lab: &Lab, runtime: &Runtime, http: &Value) -> Plugin {
        let grants = serde_json::json!({ "http": http });
        match self {
            Self::Host => lab.probe_in(runtime, &grants),
            Self::Wasi => lab.wasi_in(runtime, &grants),
        }
    }

    /// A request that was stopped at the door, whether it was denied or is malformed.
    pub fn stopped(self, told: &Told, plugin: &Plugin, parts: &[&str]) -> Outcome {
        if told.kind() == "denied" || (told.kind() == "internal" && told.text().contains("asked for")) {
            return expect::denied(told, plugin, "check", parts);
        }
        match self {
            Self::Host => expect::failed(told, &["invalid"], parts),
            // Some of it is stopped by the WASI library already, before the door.
            Self::Wasi => expect::failed(told, &["invalid", "internal", "other"], &[]),
        }
    }

    /// A request that failed in one of these ways; over `wasi:http`, what has no case of its own is an internal error with
    /// the same text.
    pub fn failed(self, told: &Told, kinds: &[&str], parts: &[&str]) -> Outcome {
        match self {
            Self::Host => expect::failed(told, kinds, parts),
            Self::Wasi if told.kind() == "internal" => expect::failed(told, &["internal"], parts),
            Self::Wasi => expect::failed(told, kinds, &[]),
        }
    }
}
