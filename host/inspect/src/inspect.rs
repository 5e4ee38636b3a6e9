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

    /// Imports that the host does not offer.
    pub fn foreign(&self) -> impl Iterator<Item = &Import> {
        self.imports.iter().filter(|import| import.class() == ImportClass::Foreign)
    }

    /// Imports that are served but reach nothing: the inert baseline.
    pub fn inert(&self) -> impl Iterator<Item = &Import> {
        self.imports.iter().filter(|import| import.class() == ImportClass::Inert)
    }

    /// How exactly a recorded call of it can be played back.
    #[must_use]
    pub fn replay(&self) -> Replay {
        let own_client =
            self.imports.iter().any(|import| wasi(&import.name).is_some_and(|name| WASI_HTTP.contains(&name)));
        if own_client { Replay::BestEffort } else { Replay::Exact }
    }

    /// What it exports, for a message.
    #[must_use]
    pub fn exports_shown(&self) -> String {
        printable_list(&self.exports)
    }
}

/// What an import amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportClass {
    /// A way to the outside that needs a request in the manifest and, but for the log, a grant.
    Capability(Capability),
    /// Served, but it reaches nothing: the environment is empty, there is no folder and no socket, the clock is virtual
    /// and the randomness seeded. Languages' standard libraries import it even where they never use it.
    Inert,
    /// An interface of the host that holds types only.
    Types,
    /// What this host does not offer.
    Foreign,
}

/// How exactly a recorded call can be played back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Replay {
    /// Every request is one call of the host, so their order is total and the same again.
    Exact,
    /// It brings an HTTP client of its own (`wasi:http`), and may race two requests: which one is answered first is not
    /// in its hands, nor in the tape's.
    BestEffort,
}

/// The interfaces of WASI 0.2 that are served and reach nothing.
pub const WASI_INERT: [&str; 27] = [
    "cli/environment",
    "cli/exit",
    "cli/stderr",
    "cli/stdin",
    "cli/stdout",
    "cli/terminal-input",
    "cli/terminal-output",
    "cli/terminal-stderr",
    "cli/terminal-stdin",
    "cli/terminal-stdout",
    "clocks/monotonic-clock",
    "clocks/wall-clock",
    "filesystem/preopens",
    "filesystem/types",
    "io/error",
    "io/poll",
    "io/streams",
    "random/insecure",
    "random/insecure-seed",
    "random/random",
    "sockets/instance-network",
    "sockets/ip-name-lookup",
    "sockets/network",
    "sockets/tcp",
    "sockets/tcp-create-socket",
    "sockets/udp",
    "sockets/udp-create-socket",
];

/// The interfaces of WASI 0.2 that amount to the capability `http`: they go through the same door as the host's own.
pub const WASI_HTTP: [&str; 2] = ["http/outgoing-handler", "http/types"];

impl Import {
    /// What it amounts to.
    #[must_use]
    pub fn class(&self) -> ImportClass {
        // Of WASI, an interface without functions still has resources, which have to be there.
        match wasi(&self.name) {
            Some(name) if WASI_HTTP.contains(&name) => return ImportClass::Capability(Capability::Http),
            Some(name) if WASI_INERT.contains(&name) => return ImportClass::Inert,
            _ => {}
        }
        if self.functions.is_empty() {
            return ImportClass::Types;
        }
        let own = self.name.strip_prefix(PACKAGE).and_then(|rest| rest.split_once('@'));
        own.filter(|(_, version)| is_served(version))
            .and_then(|(name, _)| Capability::from_name(name))
            .map_or(ImportClass::Foreign, ImportClass::Capability)
    }

    /// The capability that it stands for. `types` and other interfaces without functions stand for none.
    #[must_use]
    pub fn capability(&self) -> Option<Capability> {
        match self.class() {
            ImportClass::Capability(capability) => Some(capability),
            ImportClass::Inert | ImportClass::Types | ImportClass::Foreign => None,
        }
    }
}

/// The package and interface of an import from a version of WASI that is served.
fn wasi(import: &str) -> Option<&str> {
    let (name, version) = import.strip_prefix("wasi:")?.split_once('@')?;
    // All of 0.2 is linked as one: a function that this host does not know yet is found missing by its name.
    let served = semver::Version::parse(version).is_ok_and(|v| v.major == 0 && v.minor == 2 && v.pre.is_empty());
    served.then_some(name)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn import(name: &str, functions: &[&str]) -> Import {
        Import { name: name.to_owned(), functions: functions.iter().map(|f| (*f).to_owned()).collect() }
    }

    #[test]
    fn every_import_is_one_of_four_things() {
        let http = ImportClass::Capability(Capability::Http);
        for (name, functions, class) in [
            ("basb:host/http@0.1.0", &["send"][..], http),
            ("basb:host/http@0.1.7", &["send"], http),
            ("basb:host/http@0.2.0", &["send"], ImportClass::Foreign),
            ("basb:host/http", &["send"], ImportClass::Foreign),
            ("basb:host/nothing@0.1.0", &["x"], ImportClass::Foreign),
            ("basb:host/types@0.1.0", &[], ImportClass::Types),
            ("wasi:http/outgoing-handler@0.2.4", &["handle"], http),
            ("wasi:http/types@0.2.4", &[], http),
            ("wasi:http/incoming-handler@0.2.4", &["handle"], ImportClass::Foreign),
            ("wasi:io/error@0.2.6", &[], ImportClass::Inert),
            ("wasi:random/random@0.2.0", &["get-random-u64"], ImportClass::Inert),
            ("wasi:random/random@0.3.0", &["get-random-u64"], ImportClass::Foreign),
            ("wasi:random/random@0.2.0-rc.1", &["get-random-u64"], ImportClass::Foreign),
            ("wasi:keyvalue/store@0.2.0", &["open"], ImportClass::Foreign),
            ("wasi:sockets/tcp@0.2.6", &["[method]tcp-socket.start-connect"], ImportClass::Inert),
            ("evil:wasi:io/error@0.2.6", &["x"], ImportClass::Foreign),
        ] {
            assert_eq!(import(name, functions).class(), class, "{name}");
        }
    }

    #[test]
    fn a_client_of_its_own_makes_replay_a_best_effort() {
        let with = |imports| Inspection { size: 0, imports, exports: Vec::new(), kind: None, manifest: None };
        let ours = with(vec![import("basb:host/http@0.1.0", &["send"]), import("wasi:io/poll@0.2.0", &["poll"])]);
        assert_eq!(ours.replay(), Replay::Exact);
        assert_eq!(ours.capabilities(), [Capability::Http]);
        assert_eq!(ours.inert().count(), 1);
        let own = with(vec![import("wasi:http/outgoing-handler@0.2.0", &["handle"])]);
        assert_eq!(own.replay(), Replay::BestEffort);
        assert_eq!(own.capabilities(), [Capability::Http]);
        assert_eq!(own.foreign().count(), 0);
    }
}
