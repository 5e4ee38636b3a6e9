//! The plugins of a deployment, read once: bytes, what they are, what they may do, who signed them.
//!
//! Stops a file from being swapped between check and use: the bytes that were checked are returned, and they are what is
//! to be loaded.

use crate::entry::{Facts, LockEntry, LockedSource};
use crate::file::{Locked, Scope};
use crate::signature::{Publishers, SignatureFile, SignedBy, read_signature, verify};
use basb_core::model::{Deployment, PluginSource};
use basb_core::{Digest, PluginName};
use basb_grants::Grants;
use basb_inspect::{Inspection, inspect};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// A plugin whose bytes were read and checked.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its bytes: what is to be loaded.
    pub bytes: Cow<'static, [u8]>,
    /// Their digest.
    pub digest: Digest,
    /// What they say.
    pub inspection: Inspection,
    /// What the operator grants.
    pub grants: Grants,
    /// Who signed it, if a signature was demanded.
    pub signed_by: Option<SignedBy>,
    /// What the lock file says of it.
    pub entry: LockEntry,
}

/// Every plugin of a deployment.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The deployment and the environment.
    pub scope: Scope,
    /// Each plugin.
    pub plugins: BTreeMap<PluginName, Found>,
}

/// Why a plugin cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Where in the deployment file: a JSON pointer, such as `/plugins/checks/publisher`.
    pub pointer: String,
    /// A code that stays the same from version to version.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do next.
    pub help: String,
}

impl Resolved {
    /// What a lock file says of it.
    #[must_use]
    pub fn locked(&self) -> Locked {
        let plugins = self.plugins.iter().map(|(name, found)| (name.clone(), found.entry.clone())).collect();
        Locked { scope: self.scope.clone(), plugins }
    }
}

/// Reads and checks every plugin of a deployment. `base` is the deployment file's folder, and `read` gives the bytes of a
/// source; it is asked once for each plugin.
///
/// # Errors
/// Everything that is wrong, in the order of the plugins' names.
pub fn resolve(
    deployment: &Deployment,
    base: &Path,
    read: impl Fn(&str) -> Result<Cow<'static, [u8]>, Refusal>,
) -> Result<Resolved, Vec<Refusal>> {
    let mut wrong: Vec<Refusal> = Vec::new();
    let publishers = Publishers::parse(&deployment.publishers).unwrap_or_else(|problems| {
        wrong.extend(problems.into_iter().map(|problem| Refusal {
            pointer: format!("/publishers/{}", problem.publisher),
            code: "signature/bad-key".to_owned(),
            message: problem.to_string(),
            help: "make a pair of keys with `minisign -G`, and paste the second line of minisign.pub".to_owned(),
        }));
        Publishers::default()
    });
    // With a key that is none, no signature can be judged; the rest is still worth telling.
    let keys = wrong.is_empty().then_some(publishers);
    let mut plugins = BTreeMap::new();
    for (name, source) in &deployment.plugins {
        match one(deployment, name, source, base, keys.as_ref(), &read) {
            Ok(found) => {
                plugins.insert(name.clone(), found);
            }
            Err(refusals) => wrong.extend(refusals),
        }
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let scope = Scope { deployment: deployment.name.clone(), environment: deployment.environment.clone() };
    Ok(Resolved { scope, plugins })
}

fn one(
    deployment: &Deployment,
    name: &PluginName,
    source: &PluginSource,
    base: &Path,
    publishers: Option<&Publishers>,
    read: &impl Fn(&str) -> Result<Cow<'static, [u8]>, Refusal>,
) -> Result<Found, Vec<Refusal>> {
    let at = |below: &str, code: &str, message: String, help: &str| Refusal {
        pointer: format!("/plugins/{name}{below}"),
        code: code.to_owned(),
        message,
        help: help.to_owned(),
    };
    let grants = Grants::parse(&source.grants).map_err(|problems| {
        let refusal =
            |p: basb_grants::GrantProblem| at(&format!("/grants{}", p.pointer), "plugin/bad-grant", p.message, &p.help);
        problems.into_iter().map(refusal).collect::<Vec<_>>()
    })?;
    let bytes = read(&source.source).map_err(|mut refusal| {
        refusal.pointer = format!("/plugins/{name}/source");
        vec![refusal]
    })?;
    let inspection = inspect(&bytes).map_err(|e| vec![at("", e.code(), e.to_string(), "use another file")])?;
    let signature = if source.source.starts_with("builtin:") {
        SignatureFile::Missing
    } else {
        read_signature(&base.join(&source.source))
    };
    let manifest = inspection.manifest.as_ref();
    let signed_by = match publishers {
        None => None,
        Some(keys) => verify(keys, source.publisher.as_ref(), &source.source, &bytes, &signature, manifest)
            .map_err(|e| vec![at("", e.code(), e.to_string(), e.help())])?,
    };
    let digest = Digest::of(&bytes);
    let facts = Facts {
        source: &LockedSource::new(&source.source, base),
        digest: &digest,
        inspection: &inspection,
        grants: &grants,
        credentials: &source.credentials,
        bindings: &deployment.credentials,
        signed_by: signed_by.as_ref(),
    };
    let Some(entry) = LockEntry::of(facts) else {
        let help = "build it with the SDK, or with `basb-host plugin build`, which writes one";
        return Err(vec![at("", "plugin/no-manifest", "it carries no manifest".to_owned(), help)]);
    };
    Ok(Found { bytes, digest, inspection, grants, signed_by, entry })
}
