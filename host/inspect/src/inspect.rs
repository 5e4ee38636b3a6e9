//! What a file is and what it could do, from its bytes alone: nothing is compiled, nothing is run.
//!
//! Only functions that a component really uses are imported by it, so the list of imports is an upper bound of what it
//! can do.

use crate::Kind;
use crate::manifest::{self, Manifest, ManifestError};
use basb_grants::{Capability, printable, printable_list};
use serde::{Deserialize, Serialize};
use wasmparser::{Encoding, Parser, Payload};
use wit_component::DecodedWasm;
use wit_parser::{Resolve, WorldItem, WorldKey};

/// The package of the host's own interfaces.
pub const PACKAGE: &str = "basb:host/";

/// What kind of file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A component.
    Component,
    /// A core module.
    CoreModule,
    /// Something else.
    NotWasm,
}

impl FileKind {
    /// By the first eight bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        match bytes.get(..8) {
            Some(b"\0asm\x0d\0\x01\0") => Self::Component,
            Some(b"\0asm\x01\0\0\0") => Self::CoreModule,
            _ => Self::NotWasm,
        }
    }
}

/// An interface that a component imports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// Its full name, such as `basb:host/http@0.1.0`.
    pub name: String,
    /// The functions that are used; none where only types are.
    pub functions: Vec<String>,
}

/// What a component is and could do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// Its size in bytes.
    pub size: u64,
    /// Everything that it imports.
    pub imports: Vec<Import>,
    /// Everything that it exports.
    pub exports: Vec<String>,
    /// Which world it implements, by what it exports.
    pub kind: Option<Kind>,
    /// What it says of itself.
    pub manifest: Option<Manifest>,
}

/// Why a file cannot be looked into.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// It is not WebAssembly at all.
    #[error(
        "it is not WebAssembly: it begins with `{0}`; a plugin is a component, such as `basb-host plugin inspect` shows"
    )]
    NotWasm(String),
    /// It ends too early.
    #[error("it is cut off after {0} bytes; download or build it again")]
    Truncated(usize),
    /// It is a core module.
    #[error(
        "it is a core module, not a component; make a component of it: `wasm-tools component new MODULE.wasm -o PLUGIN.wasm`"
    )]
    CoreModule,
    /// It is a WIT package in binary form.
    #[error("it is a WIT package without code; a component is needed")]
    WitPackage,
    /// It is damaged.
    #[error("it is damaged: {0}; download or build it again")]
    Damaged(String),
    /// Its manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

impl InspectError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotWasm(_) => "plugin/not-wasm",
            Self::Truncated(_) => "plugin/truncated",
            Self::CoreModule => "plugin/core-module",
            Self::WitPackage => "plugin/wit-package",
            Self::Damaged(_) => "plugin/damaged",
            Self::Manifest(_) => "plugin/manifest",
        }
    }
}

impl Inspection {
    /// The capabilities that its imports amount to.
    #[must_use]
    pub fn capabilities(&self) -> Vec<Capability> {
        Capability::ALL
            .into_iter()
            .filter(|capability| self.imports.iter().any(|import| import.capability() == Some(*capability)))
            .collect()
    }

    /// Imports with functions that are none of the host's interfaces.
    pub fn foreign(&self) -> impl Iterator<Item = &Import> {
        self.imports.iter().filter(|import| !import.functions.is_empty() && import.capability().is_none())
    }

    /// What it exports, for a message.
    #[must_use]
    pub fn exports_shown(&self) -> String {
        printable_list(&self.exports)
    }
}

impl Import {
    /// The capability that it stands for. `types` and other interfaces without functions stand for none.
    #[must_use]
    pub fn capability(&self) -> Option<Capability> {
        let (name, version) = self.name.strip_prefix(PACKAGE)?.split_once('@')?;
        if self.functions.is_empty() || !is_served(version) { None } else { Capability::from_name(name) }
    }
}

/// Whether the host serves this version of its interfaces.
fn is_served(version: &str) -> bool {
    semver::Version::parse(version).is_ok_and(|v| v.major == 0 && v.minor == 1 && v.pre.is_empty())
}

/// Looks into a file.
///
/// # Errors
/// [`InspectError`]: what the file is instead of a component, and what to do about it.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, InspectError> {
    match FileKind::of(bytes) {
        FileKind::Component => {}
        FileKind::CoreModule => return Err(InspectError::CoreModule),
        FileKind::NotWasm if bytes.starts_with(b"\0asm") && bytes.len() < 8 => {
            return Err(InspectError::Truncated(bytes.len()));
        }
        FileKind::NotWasm => {
            let start = bytes.get(..bytes.len().min(16)).unwrap_or_default();
            return Err(InspectError::NotWasm(printable(&String::from_utf8_lossy(start), 40)));
        }
    }
    let manifests = sections(bytes)?;
    let manifest = match manifests.as_slice() {
        [] => None,
        [one, rest @ ..] if rest.iter().all(|other| other == one) => Some(Manifest::parse(one)?),
        several => return Err(ManifestError::Several(several.len()).into()),
    };
    let (resolve, world) = match wit_component::decode(bytes) {
        Ok(DecodedWasm::Component(resolve, world)) => (resolve, world),
        Ok(DecodedWasm::WitPackage(..)) => return Err(InspectError::WitPackage),
        Err(error) => return Err(InspectError::Damaged(printable(&format!("{error:#}"), 300))),
    };
    let Some(world) = resolve.worlds.get(world) else {
        return Err(InspectError::Damaged("it describes no world".to_owned()));
    };
    let imports: Vec<Import> = world.imports.iter().map(|(key, item)| import(&resolve, key, item)).collect();
    let exports: Vec<String> =
        world.exports.iter().map(|(key, _)| printable(&resolve.name_world_key(key), 200)).collect();
    let kind = exports.iter().find_map(|export| {
        let (name, version) = export.strip_prefix(PACKAGE)?.split_once('@')?;
        Kind::from_name(name).filter(|_| is_served(version))
    });
    Ok(Inspection { size: bytes.len() as u64, imports, exports, kind, manifest })
}

fn import(resolve: &Resolve, key: &WorldKey, item: &WorldItem) -> Import {
    let name = printable(&resolve.name_world_key(key), 200);
    let functions = match item {
        WorldItem::Interface { id, .. } => resolve
            .interfaces
            .get(*id)
            .map(|interface| interface.functions.keys().map(|name| printable(name, 100)).collect())
            .unwrap_or_default(),
        WorldItem::Function(_) => vec![name.clone()],
        WorldItem::Type { .. } => Vec::new(),
    };
    Import { name, functions }
}

/// The manifest sections of a component and of the modules inside it. Walks the whole file, so that one which is cut off
/// is told from one which is damaged.
fn sections(bytes: &[u8]) -> Result<Vec<&[u8]>, InspectError> {
    let mut found = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| {
            let cut_off = error.offset() >= bytes.len() || error.message().contains("unexpected end");
            if cut_off {
                InspectError::Truncated(bytes.len())
            } else {
                InspectError::Damaged(printable(&error.to_string(), 300))
            }
        })?;
        match payload {
            Payload::CustomSection(section) if section.name() == manifest::SECTION => found.push(section.data()),
            Payload::Version { encoding: Encoding::Component | Encoding::Module, .. } => {}
            _ => {}
        }
    }
    Ok(found)
}
