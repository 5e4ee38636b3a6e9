//! The report on plugins: one value that the text, the JSON and the SARIF are all made of, so that they cannot disagree.

use crate::capability::{Effective, effective};
use crate::findings::findings;
use crate::rule::{Finding, Severity};
use crate::subject::{LockState, SignatureState, Subject};
use basb_grants::{Capability, printable};
use basb_inspect::{Import, ImportClass, Inspection, Kind, Replay};
use basb_registry::{Difference, grant_lines};
use serde::Serialize;

/// A report on plugins.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The version of this form: 1. A new field does not change it.
    pub version: u32,
    /// Each plugin.
    pub plugins: Vec<PluginReport>,
    /// How many findings there are.
    pub summary: Summary,
}

/// How many findings there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Summary {
    /// What does not load, or must not.
    pub errors: usize,
    /// What somebody should look at.
    pub warnings: usize,
    /// What is good to know.
    pub notes: usize,
}

/// A report on one plugin.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginReport {
    /// Its name in the deployment file, or its source.
    pub name: String,
    /// Where it comes from.
    pub source: String,
    /// The digest of its bytes.
    pub digest: Option<String>,
    /// How many bytes it has.
    pub size: Option<u64>,
    /// Its name, by its manifest.
    pub plugin: Option<String>,
    /// Its version, by its manifest.
    #[serde(rename = "pluginVersion")]
    pub version: Option<String>,
    /// Who publishes it, by its manifest.
    pub publisher: Option<String>,
    /// What it is, by its exports.
    pub kind: Option<Kind>,
    /// What a plugin of its kind may import at all.
    pub ceiling: Vec<Capability>,
    /// What its bytes import.
    pub imports: Vec<ImportLine>,
    /// What its manifest asks for.
    pub requested: Vec<Request>,
    /// What the operator grants; none where no deployment file was looked at.
    pub granted: Option<Vec<Granted>>,
    /// What it imports and does not ask for.
    pub used_but_undeclared: Vec<Capability>,
    /// What it asks for and does not import.
    pub declared_but_unused: Vec<Capability>,
    /// What it is granted and does not import.
    pub granted_but_not_imported: Vec<Capability>,
    /// Imports that are served and reach nothing.
    pub inert_baseline: Vec<String>,
    /// What it can do: imports ∩ request ∩ grant.
    pub effective: Vec<Effective>,
    /// The credentials that the host may add to its requests.
    pub credentials: Vec<CredentialUse>,
    /// How exactly its calls can be replayed.
    pub replay: Option<Replay>,
    /// Whether it is signed; none where no deployment file was looked at.
    pub signature: Option<Signature>,
    /// Whether it is the one that was agreed to; none where no deployment file was looked at.
    pub lock: Option<Lock>,
    /// What somebody should look at, what matters most first.
    pub findings: Vec<Finding>,
}

/// An import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportLine {
    /// The interface.
    pub interface: String,
    /// The functions that are used.
    pub functions: Vec<String>,
    /// `capability`, `inert`, `types` or `foreign`.
    pub class: &'static str,
    /// The capability that it stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability: Option<Capability>,
}

/// A capability that a manifest asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Request {
    /// Which.
    pub capability: Capability,
    /// Why.
    pub reason: String,
}

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Granted {
    /// Of which capability.
    pub capability: Capability,
    /// All of it, in one line.
    pub what: String,
}

/// A credential that a plugin may use; never its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CredentialUse {
    /// Its name.
    pub name: String,
    /// Where it may be used.
    pub to: Vec<String>,
}

/// Whether a plugin is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Signature {
    /// It is part of the host.
    Builtin,
    /// No key is pinned, so nothing was checked.
    NotDemanded,
    /// It is.
    #[serde(rename_all = "camelCase")]
    Signed {
        /// By whom.
        publisher: String,
        /// With which key.
        key_id: String,
        /// What the signer wrote.
        comment: String,
    },
    /// It does not load.
    Refused {
        /// The stable code.
        code: String,
        /// What is wrong.
        message: String,
    },
}

/// Whether a plugin is the one that was agreed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Lock {
    /// There is no lock file.
    NoFile,
    /// The lock file cannot be read.
    Unreadable,
    /// It is.
    Same,
    /// It is not.
    Differs {
        /// In what.
        differences: Vec<Difference>,
    },
    /// It could not be compared.
    NotCompared,
}

/// Reports on plugins.
#[must_use]
pub fn report(subjects: &[Subject<'_>]) -> Report {
    let plugins: Vec<PluginReport> = subjects.iter().map(one).collect();
    let mut summary = Summary::default();
    for finding in plugins.iter().flat_map(|plugin| &plugin.findings) {
        match finding.severity {
            Severity::Error => summary.errors += 1,
            Severity::Warning => summary.warnings += 1,
            Severity::Note => summary.notes += 1,
        }
    }
    Report { version: 1, plugins, summary }
}

fn one(subject: &Subject<'_>) -> PluginReport {
    let inspection = subject.bytes.as_ref().ok().map(|bytes| bytes.inspection);
    let manifest = inspection.and_then(|inspection| inspection.manifest.as_ref());
    let granted: Option<Vec<(Capability, String)>> = subject.operator.as_ref().map(|operator| {
        // Each line begins with the name of its capability.
        let split = |line: String| {
            let (name, what) = line.split_once(' ')?;
            Some((Capability::from_name(name)?, what.to_owned()))
        };
        grant_lines(operator.grants).into_iter().filter_map(split).collect()
    });
    let effective = inspection.map(|inspection| effective(inspection, granted.as_deref())).unwrap_or_default();
    let imported = inspection.map(Inspection::capabilities).unwrap_or_default();
    let requested: Vec<Capability> =
        manifest.map(|manifest| manifest.capabilities.iter().map(|wish| wish.name).collect()).unwrap_or_default();
    let covers =
        |capability: &Capability| capability.needs_grant() && granted.iter().flatten().any(|(of, _)| of == capability);
    let kind = inspection.and_then(|inspection| inspection.kind).or(manifest.map(|manifest| manifest.kind));
    PluginReport {
        name: printable(subject.name, 200),
        source: printable(subject.source, 400),
        digest: subject.bytes.as_ref().ok().map(|bytes| bytes.digest.to_string()),
        size: inspection.map(|inspection| inspection.size),
        plugin: manifest.map(|manifest| manifest.name.clone()),
        version: manifest.map(|manifest| manifest.version.to_string()),
        publisher: manifest.map(|manifest| printable(&manifest.publisher, 200)),
        kind,
        ceiling: kind.map(|kind| kind.may_import().to_vec()).unwrap_or_default(),
        imports: inspection.map(|inspection| inspection.imports.iter().map(import).collect()).unwrap_or_default(),
        requested: manifest
            .into_iter()
            .flat_map(|manifest| &manifest.capabilities)
            .map(|wish| Request { capability: wish.name, reason: printable(&wish.reason, 500) })
            .collect(),
        used_but_undeclared: imported
            .iter()
            .copied()
            .filter(|capability| capability.needs_grant() && !requested.contains(capability))
            .collect(),
        declared_but_unused: requested
            .iter()
            .copied()
            .filter(|capability| capability.needs_grant() && !imported.contains(capability))
            .collect(),
        granted_but_not_imported: Capability::ALL
            .into_iter()
            .filter(|capability| covers(capability) && !imported.contains(capability))
            .collect(),
        inert_baseline: inspection
            .map(|inspection| inspection.inert().map(|import| import.name.clone()).collect())
            .unwrap_or_default(),
        granted: granted
            .map(|granted| granted.into_iter().map(|(capability, what)| Granted { capability, what }).collect()),
        effective,
        credentials: subject
            .operator
            .iter()
            .flat_map(|operator| &operator.credentials)
            .map(|(name, to)| CredentialUse { name: name.clone(), to: to.clone() })
            .collect(),
        replay: inspection.map(Inspection::replay),
        signature: subject.operator.as_ref().map(|operator| match &operator.signature {
            SignatureState::Builtin => Signature::Builtin,
            SignatureState::NotDemanded => Signature::NotDemanded,
            SignatureState::Signed(by) => Signature::Signed {
                publisher: by.publisher.to_string(),
                key_id: by.key_id.clone(),
                comment: by.comment.clone(),
            },
            SignatureState::Refused { code, message, .. } => {
                Signature::Refused { code: code.clone(), message: message.clone() }
            }
        }),
        lock: subject.operator.as_ref().map(|operator| match &operator.lock {
            LockState::NoFile => Lock::NoFile,
            LockState::Unreadable(_) => Lock::Unreadable,
            LockState::Same => Lock::Same,
            LockState::NotCompared => Lock::NotCompared,
            LockState::Differs(differences) => Lock::Differs { differences: differences.clone() },
        }),
        findings: findings(subject),
    }
}

fn import(import: &Import) -> ImportLine {
    let (class, capability) = match import.class() {
        ImportClass::Capability(capability) => ("capability", Some(capability)),
        ImportClass::Inert => ("inert", None),
        ImportClass::Types => ("types", None),
        ImportClass::Foreign => ("foreign", None),
    };
    ImportLine { interface: import.name.clone(), functions: import.functions.clone(), class, capability }
}
