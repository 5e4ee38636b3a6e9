//! Loads plugins, which are WebAssembly components, and calls them: each call in a store of its own, under limits, with
//! nothing linked that the operator did not grant.
//!
//! **Must never** link an interface that is not in a plugin's world, in its manifest and in its grants; run code from
//! the cache that this host did not write; or lose the message of a plugin that panics.
//!
//! | To change | go to |
//! |---|---|
//! | how wasmtime is set up | [`engine`] |
//! | what is read from a plugin's bytes, its manifest included | the crate `basb-inspect` |
//! | who may load | [`load`] |
//! | how plugins are compiled: by a child process, and only there | [`compiler`] |
//! | compiled code on disk | [`cache`] |
//! | how a call runs, and its limits | [`call`], [`limits`] |
//! | what a failed call says | [`error`] |
//! | the functions of a world | [`worlds`] |
//! | what the host does for a plugin | `host`, and `wasi` for guests that bring WASI 0.2 along |
//! | what can be linked at all | `link` |

pub mod cache;
pub mod call;
pub mod compiler;
pub mod engine;
pub mod error;
mod guests;
mod host;
pub mod limits;
mod link;
pub mod load;
mod panic;
mod ticker;
mod wasi;
pub mod wit;
pub mod worlds;

pub(crate) use basb_grants::printable_list;
pub use basb_inspect::{
    FileKind, Import, ImportClass, InspectError, Inspection, Kind, Manifest, ManifestError, Replay,
    RequestedCapability, inspect,
};
pub use cache::CacheFolder;
pub use call::{CallObserver, CallOptions, CallReport, CallTape, Called, FinishedCall, Held};
pub use compiler::{CompileError, CompileLimits, Compiler};
pub use engine::PoolSize;
pub use error::{CallError, Failure};
pub use limits::CallLimits;
pub use load::{LoadError, LoadRequest, Plugin, Runtime, RuntimeError, RuntimeOptions};
pub use worlds::{ReplayError, Replayed};
