//! Guests written by hand as WebAssembly text, one file each beside this crate's manifest: what no compiler would make.
//!
//! A file is a core module with the functions of the canonical ABI. Comments that begin with `;;!` say what component is
//! made of it:
//!
//! | line | meaning |
//! |---|---|
//! | `;;! world: import …; export …;` | its world; without it, a probe that imports nothing |
//! | `;;! version: 0.0.9` | there is a second `basb:host` with this version that its world can name |
//! | `;;! replace: A => B` | a text of that second `basb:host` that is another |
//! | `;;! also: interface …` | something more in that second `basb:host` |
//! | `;;! own: interface …` | something in the guest's own package, `test:guest` |
//!
//! **Must never** be linked into the product.

mod bytes;
pub mod generated;

pub use bytes::{append_section, leb, with_section};

use std::path::{Path, PathBuf};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The custom section of a manifest.
pub const MANIFEST: &str = "basb-host:manifest";

/// Why a guest cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum WatError {
    /// A file is not there.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// It is no component.
    #[error("`{name}` cannot be made a component: {why}")]
    Make {
        /// Which.
        name: String,
        /// The cause.
        why: String,
    },
}

/// The names of all guests here, sorted.
///
/// # Errors
/// [`WatError::Read`].
pub fn names() -> Result<Vec<String>, WatError> {
    let folder = here();
    let entries = std::fs::read_dir(&folder).map_err(|source| WatError::Read { path: folder, source })?;
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".wat").map(str::to_owned)).collect();
    names.sort();
    Ok(names)
}

/// A guest as a component without a manifest. Each of `changes` is a text in the file that is replaced by another.
///
/// # Errors
/// [`WatError`].
pub fn component(name: &str, changes: &[(&str, &str)]) -> Result<Vec<u8>, WatError> {
    let path = here().join(format!("{name}.wat"));
    let mut text = std::fs::read_to_string(&path).map_err(|source| WatError::Read { path, source })?;
    for (from, to) in changes {
        text = text.replace(from, to);
    }
    component_of(name, &text)
}

/// The same of a text.
///
/// # Errors
/// [`WatError::Make`].
pub fn component_of(name: &str, text: &str) -> Result<Vec<u8>, WatError> {
    let make = |why: String| WatError::Make { name: name.to_owned(), why };
    let core = wat::parse_str(text).map_err(|error| make(error.to_string()))?;
    let mut lines = Lines::default();
    for line in text.lines().filter_map(|line| line.trim().strip_prefix(";;! ")) {
        lines.read(line);
    }
    encode(core, &lines).map_err(|error| make(format!("{error:#}")))
}

/// A component with this manifest.
#[must_use]
pub fn with_manifest(component: Vec<u8>, json: &[u8]) -> Vec<u8> {
    with_section(component, MANIFEST, json)
}

/// A manifest in good order, for a plugin of this kind that asks for these capabilities.
#[must_use]
pub fn manifest(kind: &str, capabilities: &[&str]) -> String {
    let asked: Vec<String> =
        capabilities.iter().map(|name| format!(r#"{{"name":"{name}","reason":"to be bad"}}"#)).collect();
    format!(
        r#"{{"manifestVersion":1,"name":"by-hand","version":"0.1.0","kind":"{kind}","publisher":"mallory","wit":"0.1","capabilities":[{}],"configSchema":{{"type":"object"}}}}"#,
        asked.join(",")
    )
}

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What the comments of a file say.
#[derive(Debug, Default)]
struct Lines {
    world: Option<String>,
    version: Option<String>,
    replace: Vec<(String, String)>,
    also: Vec<String>,
    own: Vec<String>,
}

impl Lines {
    fn read(&mut self, line: &str) {
        let Some((key, value)) = line.split_once(": ") else { return };
        match key {
            "world" => self.world = Some(value.to_owned()),
            "version" => self.version = Some(value.to_owned()),
            "replace" => {
                self.replace.extend(value.split_once(" => ").map(|(from, to)| (from.to_owned(), to.to_owned())));
            }
            "also" => self.also.push(value.to_owned()),
            "own" => self.own.push(value.to_owned()),
            _ => {}
        }
    }
}

fn encode(mut core: Vec<u8>, lines: &Lines) -> Result<Vec<u8>, String> {
    let text = |error: &dyn std::fmt::Display| format!("{error:#}");
    let mut resolve = Resolve::default();
    let folder = here().join("../../../wit/host/0.1.0");
    if lines.version.as_deref() != Some("0.1.0") {
        resolve.push_dir(&folder).map_err(|error| text(&error))?;
    }
    if let Some(version) = &lines.version {
        let own = format!("package basb:host@{version};");
        let mut other = whole(&folder).map_err(|error| text(&error))?.replacen("package basb:host@0.1.0;", &own, 1);
        for (from, to) in &lines.replace {
            other = other.replace(from, to);
        }
        other.push_str(&lines.also.join("\n"));
        resolve.push_str("other.wit", &other).map_err(|error| text(&error))?;
    }
    let world = lines.world.as_deref().unwrap_or("export basb:host/probe@0.1.0;");
    let package = format!("package test:guest; {} world guest {{ {world} }}", lines.own.join(" "));
    let package = resolve.push_str("guest.wit", &package).map_err(|error| text(&error))?;
    let world = resolve.select_world(&[package], Some("guest")).map_err(|error| text(&error))?;
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).map_err(|error| text(&error))?;
    let encoder = ComponentEncoder::default().validate(true).module(&core);
    encoder.and_then(|mut encoder| encoder.encode()).map_err(|error| text(&error))
}

/// All files of the package as one text, the one with its name first.
fn whole(folder: &Path) -> std::io::Result<String> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    let mut texts = files.iter().map(std::fs::read_to_string).collect::<Result<Vec<_>, _>>()?;
    texts.sort_by_key(|text| !text.contains("package basb:host@0.1.0;"));
    Ok(texts.join("\n"))
}
