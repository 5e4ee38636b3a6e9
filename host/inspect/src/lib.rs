//! What a plugin is and what it could do, read from its bytes: its imports and exports, its kind, its manifest.
//!
//! **Must never** compile or run anything, or believe a manifest where the bytes say otherwise.

mod inspect;
mod kind;
pub mod manifest;

pub use inspect::{
    FileKind, Import, ImportClass, InspectError, Inspection, PACKAGE, Replay, WASI_HTTP, WASI_INERT, inspect,
};
pub use kind::Kind;
pub use manifest::{Manifest, ManifestError, RequestedCapability};
