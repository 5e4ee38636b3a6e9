//! What is written down of one plugin.

use crate::grant_lines::{credential_line, grant_lines};
use crate::signature::SignedBy;
use basb_core::{Digest, PluginName};
use basb_grants::{Capability, Grants, printable};
use basb_inspect::{Inspection, Kind};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// Everything about one plugin that must not change unnoticed. Two entries are equal only when the plugin is the same and
/// may do the same.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LockEntry {
    /// `builtin:NAME`, or the file: relative to the lock file where it lies below its folder.
    pub source: String,
    /// The digest of its bytes.
    pub digest: Digest,
    /// The name in its manifest.
    pub plugin: PluginName,
    /// Its version, by its manifest.
    pub version: semver::Version,
    /// What it is, by its manifest.
    pub kind: Kind,
    /// Who publishes it, by its manifest: a claim unless `signed_by` is there.
    pub publisher: String,
    /// The publisher whose key its signature was checked with.
    pub signed_by: Option<PluginName>,
    /// That key: a minisign public key in base64. The whole of it, as a key's id can be imitated.
    pub key: Option<String>,
    /// The versions of the packages that it imports from and exports to, such as `basb:host@0.1.0`.
    pub wit: BTreeSet<String>,
    /// Each function that it imports, such as `basb:host/http@0.1.0#send`; an interface of types only stands alone.
    pub imports: BTreeSet<String>,
    /// The capabilities that its manifest asks for.
    pub requested: BTreeSet<Capability>,
    /// What is granted: see [`grant_lines`].
    pub granted: BTreeSet<String>,
    /// The credentials that the host may add to its requests, and where: see [`credential_line`].
    pub credentials: BTreeSet<String>,
}

/// Where a plugin comes from, as the lock file writes it: the same on every machine that has the same folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedSource(String);

impl LockedSource {
    /// The source of a plugin as it stands in a deployment, seen from the lock file's folder.
    #[must_use]
    pub fn new(source: &str, base: &Path) -> Self {
        if source.starts_with("builtin:") {
            return Self(source.to_owned());
        }
        let below = Path::new(source).strip_prefix(base).unwrap_or(Path::new(source));
        // Without `.` parts: `./a.wasm` and `a.wasm` are one file.
        Self(below.components().collect::<std::path::PathBuf>().display().to_string())
    }
}

/// What an entry is made of.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Where it comes from.
    pub source: &'a LockedSource,
    /// The digest of its bytes.
    pub digest: &'a Digest,
    /// What its bytes say.
    pub inspection: &'a Inspection,
    /// What the operator grants.
    pub grants: &'a Grants,
    /// The names of the credentials that the host may add to its requests.
    pub credentials: &'a [PluginName],
    /// The section `credentials` of the deployment file, as written; null where there is none.
    pub bindings: &'a Value,
    /// Who signed it, if that was checked.
    pub signed_by: Option<&'a SignedBy>,
}

impl LockEntry {
    /// The entry of a plugin; none for one without a manifest, which does not load either.
    #[must_use]
    pub fn of(facts: Facts<'_>) -> Option<Self> {
        let Facts { source, digest, inspection, grants, credentials, bindings, signed_by } = facts;
        let manifest = inspection.manifest.as_ref()?;
        let imports = inspection.imports.iter().flat_map(|import| {
            let alone = import.functions.is_empty().then(|| import.name.clone());
            alone.into_iter().chain(import.functions.iter().map(|function| format!("{}#{function}", import.name)))
        });
        let interfaces = inspection.imports.iter().map(|import| import.name.as_str());
        let wit = interfaces.chain(inspection.exports.iter().map(String::as_str)).filter_map(package);
        Some(Self {
            source: source.0.clone(),
            digest: digest.clone(),
            plugin: PluginName::new(manifest.name.as_str()).ok()?,
            version: manifest.version.clone(),
            kind: manifest.kind,
            publisher: printable(&manifest.publisher, 200),
            signed_by: signed_by.map(|signed| signed.publisher.clone()),
            key: signed_by.map(|signed| signed.key.clone()),
            wit: wit.collect(),
            imports: imports.collect(),
            requested: manifest.capabilities.iter().map(|requested| requested.name).collect(),
            granted: grant_lines(grants),
            credentials: credentials.iter().map(|name| credential_line(name.as_str(), bindings)).collect(),
        })
    }
}

/// `basb:host@0.1.0` of `basb:host/http@0.1.0`.
fn package(interface: &str) -> Option<String> {
    let (package, rest) = interface.split_once('/')?;
    let (_, version) = rest.split_once('@')?;
    Some(format!("{package}@{version}"))
}
