//! Loads plugins, which are WebAssembly components, and calls them: each call in a store of its own, under limits, with
//! nothing linked that the operator did not grant.
//!
//! **Must never** link an interface that is not in a plugin's world, in its manifest and in its grants; run code from
//! the cache that this host did not write; or lose the message of a plugin that panics.
//!
//! | To change | go to |
//! |---|---|
//! | how wasmtime is set up | [`engine`] |
//! | what is read from a plugin's bytes | [`mod@inspect`] |
//! | what a manifest may say | [`manifest`] |
//! | who may load | [`load`] |
//! | compiled code on disk | [`cache`] |
//! | how a call runs, and its limits | [`call`], [`limits`] |
//! | what a failed call says | [`error`] |
//! | the functions of a world | [`worlds`] |
//! | what the host does for a plugin | `host` |

pub mod cache;
pub mod call;
pub mod engine;
pub mod error;
mod guests;
mod host;
pub mod inspect;
mod kind;
pub mod limits;
mod link;
pub mod load;
pub mod manifest;
mod panic;
mod ticker;
pub mod wit;
pub mod worlds;

pub use cache::CacheFolder;
pub use call::{CallOptions, CallReport, Called, Held};
pub use engine::PoolSize;
pub use error::{CallError, Failure};
pub use inspect::{FileKind, Import, InspectError, Inspection, inspect};
pub use kind::Kind;
pub use limits::CallLimits;
pub use load::{LoadError, LoadRequest, Plugin, Runtime, RuntimeError, RuntimeOptions};
pub use manifest::{Manifest, ManifestError, RequestedCapability};

/// Several names in one line, without anything that could repaint a terminal.
pub(crate) fn printable_list(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    let shown: Vec<_> =
        names.iter().take(12).map(|name| format!("`{}`", basb_capabilities::printable(name, 100))).collect();
    let more = names.len().saturating_sub(12);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}
