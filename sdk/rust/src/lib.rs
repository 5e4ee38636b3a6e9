//! Write plugins for basb-host in plain Rust: implement one trait, export it with one macro.
//!
//! ```
//! use basb_plugin::probe::{Info, Measurement, Probe, ProbeContext, Target};
//! use basb_plugin::{Failure, http::Request};
//!
//! struct Alive;
//!
//! impl Probe for Alive {
//!     type Config = basb_plugin::NoConfig;
//!
//!     fn describe() -> Info {
//!         Info::new().value("status", "", "the response's status code")
//!     }
//!
//!     fn check(cx: &ProbeContext, _config: &Self::Config, target: &Target) -> Result<Measurement, Failure> {
//!         let response = cx.http().send(Request::get(format!("{}/health", target.url)))?;
//!         Ok(Measurement::pass_if(response.is_success(), format!("answered {}", response.status))
//!             .value("status", response.status))
//!     }
//! }
//! # fn main() {}
//! ```
//!
//! A plugin crate adds `basb_plugin::export!(Alive as probe);` and a `plugin.json` beside its `Cargo.toml`. The same
//! code is tested natively: [`testing::FakeHost`] answers what the host would.
//!
//! | kind | trait | may reach |
//! |---|---|---|
//! | `provider` | [`provider::Provider`] | log, http, exec, files |
//! | `strategy` | [`strategy::Strategy`] | nothing |
//! | `judge` | [`judge::Judge`] | nothing |
//! | `probe` | [`probe::Probe`] | log, http, tcp, exec |
//! | `notifier` | [`notifier::Notifier`] | log, http, smtp, files |
//! | `generator` | [`generator::Generator`] | nothing |
//!
//! What it must **never** do: link an import that the plugin's code does not call. The import list of a component is
//! what its reader trusts, so every door is reached by a direct call that the linker can drop, never through a table.

#[doc(hidden)]
pub mod bindings;
pub mod config;
mod context;
pub mod doors;
mod export;
mod failure;
pub mod generator;
#[doc(hidden)]
pub mod glue;
pub mod http;
pub mod judge;
pub mod manifest;
#[cfg(any(test, all(target_arch = "wasm32", feature = "arena")))]
mod memory;
pub mod notifier;
#[doc(hidden)]
pub mod panic;
pub mod probe;
pub mod provider;
pub mod script;
pub mod strategy;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod values;

pub use context::Context;
pub use failure::{Failure, FailureCode, Retry};
pub use values::{Extras, NoConfig, Problem, ServiceRef, Severity, Timestamp, Verdict, Weight, extra};

#[doc(hidden)]
pub use wit_bindgen;
