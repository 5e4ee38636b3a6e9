//! Fakes for native tests: no Wasm, no network, no clock.
//!
//! ```
//! use basb_plugin::testing::{FakeHost, Reply};
//! use basb_plugin::http::Request;
//!
//! let host = FakeHost::new().respond("GET", "http://it/health", Reply::text(200, "fine"));
//! let cx = host.probe_context();
//! assert_eq!(cx.http().send(Request::get("http://it/health")).unwrap().text(), "fine");
//! assert_eq!(host.requests()[0].url, "http://it/health");
//! ```

mod deployed;
mod fake;
mod manifest;
mod rollout;

pub use deployed::{desired, service};
pub use fake::{FakeHost, Reply, file_digest};
pub use manifest::check_manifest;
pub use rollout::{Ending, Report, Simulation, service_view};
