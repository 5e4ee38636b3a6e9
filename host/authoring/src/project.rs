//! What a new project holds.

use crate::AuthoringError;
use basb_inspect::Kind;
use std::path::{Path, PathBuf};

/// Where the SDK comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sdk {
    /// The repository, by its URL.
    Repository(String),
    /// A folder on this machine.
    Folder(PathBuf),
}

/// A project that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// What it makes.
    pub kind: Kind,
    /// Its name: that of the folder, the package and the plugin.
    pub name: String,
    /// Who publishes it.
    pub publisher: String,
    /// Where the SDK comes from.
    pub sdk: Sdk,
}

type File = (&'static str, &'static str);

/// The files that every project has.
const COMMON: [File; 3] = [
    ("Cargo.toml", include_str!("../templates/Cargo.toml.txt")),
    (".gitignore", "/target\n"),
    ("README.md", include_str!("../templates/README.md")),
];

macro_rules! files {
    ($folder:literal: $($file:literal from $source:literal),*) => {
        &[$(($file, include_str!(concat!("../templates/", $folder, "/", $source)))),*]
    };
}

fn files(kind: Kind) -> &'static [File] {
    match kind {
        Kind::Provider => files!("provider": "plugin.json" from "plugin.json", "src/lib.rs" from "lib.rs.txt",
            "src/cloud.rs" from "cloud.rs.txt", "conformance.yaml" from "conformance.yaml", "cloud.yaml" from "cloud.yaml"),
        Kind::Probe => files!("probe": "plugin.json" from "plugin.json", "src/lib.rs" from "lib.rs.txt",
            "conformance.yaml" from "conformance.yaml"),
        Kind::Notifier => files!("notifier": "plugin.json" from "plugin.json", "src/lib.rs" from "lib.rs.txt",
            "conformance.yaml" from "conformance.yaml"),
        Kind::Strategy => files!("strategy": "plugin.json" from "plugin.json", "src/lib.rs" from "lib.rs.txt"),
        Kind::Judge => files!("judge": "plugin.json" from "plugin.json", "src/lib.rs" from "lib.rs.txt"),
        Kind::Generator => files!("generator": "plugin.json" from "plugin.json", "src/lib.rs" from "lib.rs.txt"),
    }
}

/// Writes a project into a new folder, and returns the files in it.
///
/// # Errors
/// [`AuthoringError`]; nothing is written over.
pub fn write(project: &Project, folder: &Path) -> Result<Vec<PathBuf>, AuthoringError> {
    let first = project.name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !first || project.name.len() > 63 || project.name.ends_with('-') || !project.name.bytes().all(good) {
        return Err(AuthoringError::Name(project.name.clone()));
    }
    if folder.exists() {
        return Err(AuthoringError::Exists(folder.to_owned()));
    }
    let sdk = match &project.sdk {
        // The SDK of this very version: what it makes fits this host, today and in a year.
        Sdk::Repository(url) => format!("{{ git = {}, tag = {} }}", quoted(url), quoted(&tag())),
        Sdk::Folder(path) => {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            is_sdk(&path)?;
            format!("{{ path = {} }}", quoted(&path.to_string_lossy()))
        }
    };
    let filled = |text: &str| {
        text.replace("__NAME__", &project.name)
            .replace("__CRATE__", &project.name.replace('-', "_"))
            .replace("__KIND__", project.kind.name())
            .replace("\"__PUBLISHER__\"", &quoted(&project.publisher))
            .replace("\"__SDK__\"", &sdk)
    };
    let mut written = Vec::new();
    for (name, text) in COMMON.iter().chain(files(project.kind)) {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)
                .map_err(|source| AuthoringError::File { path: parent.to_owned(), source })?;
        }
        std::fs::write(&path, filled(text)).map_err(|source| AuthoringError::File { path: path.clone(), source })?;
        written.push(path);
    }
    Ok(written)
}

/// The tag of this version in the repository.
fn tag() -> String {
    format!("v{}", env!("CARGO_PKG_VERSION"))
}

/// Whether the SDK is in a folder: cargo would say so much later, and of a file that nobody wrote by hand.
fn is_sdk(folder: &Path) -> Result<(), AuthoringError> {
    let no = |why: String| AuthoringError::NoSdk { folder: folder.to_owned(), why };
    let manifest = folder.join("Cargo.toml");
    let text = std::fs::read_to_string(&manifest).map_err(|e| no(format!("{}: {e}", manifest.display())))?;
    let package = text.lines().map(str::trim).skip_while(|line| *line != "[package]").skip(1);
    let mut own = package.take_while(|line| !line.starts_with('['));
    let names_it = own.any(|line| {
        let pair = line.split_once('=').map(|(name, value)| (name.trim(), value.trim()));
        pair == Some(("name", "\"basb-plugin\""))
    });
    if names_it { Ok(()) } else { Err(no(format!("{} is not that of `basb-plugin`", manifest.display()))) }
}

/// A text in quotes, as TOML and JSON have it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(name: &str) -> Project {
        Project {
            kind: Kind::Probe,
            name: name.to_owned(),
            publisher: "Acme \"GmbH\"".to_owned(),
            sdk: Sdk::Repository("https://example.com/sdk".to_owned()),
        }
    }

    #[test]
    fn every_kind_has_its_files_and_no_gap_is_left() {
        let root = std::env::temp_dir().join(format!("basb-authoring-{}", std::process::id()));
        for kind in Kind::ALL {
            let folder = root.join(kind.name());
            let files = write(&Project { kind, ..project("my-plugin") }, &folder).unwrap();
            assert!(files.len() >= 5, "{kind}: {files:?}");
            for file in files {
                let text = std::fs::read_to_string(&file).unwrap();
                assert!(!text.contains("__"), "{}: {text}", file.display());
            }
            let manifest = std::fs::read(folder.join("plugin.json")).unwrap();
            let manifest = basb_inspect::Manifest::parse(&manifest).unwrap();
            assert_eq!((manifest.kind, manifest.name.as_str()), (kind, "my-plugin"));
            assert!(matches!(write(&project("my-plugin"), &folder), Err(AuthoringError::Exists(_))));
        }
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn the_sdk_is_of_this_version() {
        let root = std::env::temp_dir().join(format!("basb-authoring-tag-{}", std::process::id()));
        write(&project("my-plugin"), &root).unwrap();
        let text = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
        let pinned =
            format!("basb-plugin = {{ git = \"https://example.com/sdk\", tag = \"v{}\" }}", env!("CARGO_PKG_VERSION"));
        assert!(text.contains(&pinned), "{text}");
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_folder_without_the_sdk_is_refused_and_nothing_is_written() {
        let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().join("sdk/rust");
        let root = std::env::temp_dir().join(format!("basb-authoring-sdk-{}", std::process::id()));
        let with = |sdk: &Path| Project { sdk: Sdk::Folder(sdk.to_owned()), ..project("my-plugin") };
        for other in ["/nope", env!("CARGO_MANIFEST_DIR"), env!("CARGO_MANIFEST_PATH")] {
            let refused = write(&with(Path::new(other)), &root).unwrap_err();
            assert_eq!(refused.code(), "authoring/no-sdk", "{other}");
            assert!(refused.to_string().contains(other), "{refused}");
            assert!(!root.exists());
        }
        write(&with(&sdk), &root).unwrap();
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn names_that_no_plugin_can_have_are_refused() {
        for name in ["", "A", "1a", "a_b", "a-", "-a", "a/b", "..", &"a".repeat(64)] {
            let refused = write(&project(name), Path::new("/nonexistent/x"));
            assert!(matches!(refused, Err(AuthoringError::Name(_))), "{name}");
        }
    }
}
