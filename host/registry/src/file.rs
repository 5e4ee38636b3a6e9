//! The lock file as text: read strictly.
//!
//! Stops a lock file from saying less than it seems to: an unknown key, a key twice, a missing field and a newer version
//! are errors, never ignored.

use crate::compare::{Difference, Direction, compare};
use crate::entry::LockEntry;
use basb_core::{PluginName, ServiceName};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// The version of the form that this host reads and writes.
pub const LOCK_VERSION: u32 = 1;
/// The longest lock file that is read, in bytes: some thousands of plugins.
pub const MAX_LOCK_BYTES: usize = 4 << 20;

/// What a part of a lock file is about: one deployment in one environment. Variables differ between environments, and
/// grants with them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    /// The deployment.
    pub deployment: ServiceName,
    /// The environment.
    pub environment: PluginName,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.deployment, self.environment)
    }
}

/// The plugins of one deployment in one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    /// Which.
    pub scope: Scope,
    /// Each plugin, by its name in the deployment file.
    pub plugins: BTreeMap<PluginName, LockEntry>,
}

/// A lock file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LockFile {
    pub(crate) scopes: BTreeMap<Scope, BTreeMap<PluginName, LockEntry>>,
}

/// What is wrong with a lock file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// It cannot be read.
    #[error("{} cannot be read: {why}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        why: String,
    },
    /// It cannot be written.
    #[error("{} cannot be written: {why}", file.display())]
    Unwritable {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        why: String,
    },
    /// It is too long to be one.
    #[error("the lock file has {0} bytes; more than {MAX_LOCK_BYTES} are not read")]
    TooLarge(usize),
    /// It is not of the right form.
    #[error("line {line} of the lock file: {why}")]
    Form {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// Its form is not the one that this host knows.
    #[error("the lock file has version {0}, this host knows version {LOCK_VERSION}")]
    Version(i64),
    /// There is none, and none may be written.
    #[error("there is no lock file, and `--locked` forbids writing one")]
    Missing,
    /// The plugins are not those that the lock file names.
    #[error(transparent)]
    Differs(crate::policy::Differs),
}

impl LockError {
    /// A code that stays the same from version to version.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "lock/unreadable",
            Self::Unwritable { .. } => "lock/unwritable",
            Self::TooLarge(_) => "lock/too-large",
            Self::Form { .. } => "lock/form",
            Self::Version(_) => "lock/version",
            Self::Missing => "lock/missing",
            Self::Differs(_) => "lock/differs",
        }
    }

    /// What to do next.
    #[must_use]
    pub fn next_step(&self) -> String {
        match self {
            Self::Unreadable { .. } | Self::Unwritable { .. } => "check the permissions of the file and its folder".into(),
            Self::TooLarge(_) | Self::Form { .. } => {
                "take the file as it was committed last; it is written by basb-host and not by hand. After a merge, keep \
                 one side whole, then `basb-host plugin update --accept`"
                    .into()
            }
            Self::Version(_) => "use the newest basb-host, or take the file as it was committed last".into(),
            Self::Missing => "write it with `basb-host plugin update --accept`, look at it, and commit it".into(),
            Self::Differs(differs) => differs.help(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    #[expect(dead_code, reason = "checked before, in `Head`")]
    version: i64,
    #[serde(default)]
    deployments: BTreeMap<ServiceName, BTreeMap<PluginName, BTreeMap<PluginName, LockEntry>>>,
}

#[derive(Deserialize)]
struct Head {
    version: i64,
}

impl LockFile {
    /// Reads a lock file.
    ///
    /// # Errors
    /// [`LockError::TooLarge`], [`LockError::Form`] with the line, or [`LockError::Version`].
    pub fn parse(text: &str) -> Result<Self, LockError> {
        if text.len() > MAX_LOCK_BYTES {
            return Err(LockError::TooLarge(text.len()));
        }
        // The version alone first: a newer form may differ in every other respect.
        let head: Head = toml::from_str(text).map_err(|error| form(text, &error))?;
        if head.version != i64::from(LOCK_VERSION) {
            return Err(LockError::Version(head.version));
        }
        let whole: Whole = toml::from_str(text).map_err(|error| form(text, &error))?;
        let mut scopes = BTreeMap::new();
        for (deployment, environments) in whole.deployments {
            for (environment, plugins) in environments {
                if let Some(half) = plugins.iter().find(|(_, entry)| entry.signed_by.is_some() != entry.key.is_some()) {
                    let why = format!("`{}` has one of `signed-by` and `key` without the other", half.0);
                    let scope = format!("[deployments.{deployment}.{environment}.{}]", half.0);
                    let line = text.lines().position(|line| line.trim() == scope).map_or(1, |at| at + 1);
                    return Err(LockError::Form { line, why });
                }
                if plugins.is_empty() {
                    continue;
                }
                scopes.insert(Scope { deployment: deployment.clone(), environment }, plugins);
            }
        }
        Ok(Self { scopes })
    }

    /// What it says of one deployment in one environment.
    #[must_use]
    pub fn scope(&self, scope: &Scope) -> Option<&BTreeMap<PluginName, LockEntry>> {
        self.scopes.get(scope)
    }

    /// Each deployment and environment that it has entries for, sorted.
    pub fn scopes(&self) -> impl Iterator<Item = (&Scope, &BTreeMap<PluginName, LockEntry>)> {
        self.scopes.iter()
    }

    /// The same with everything about one deployment in one environment replaced.
    #[must_use]
    pub fn with(mut self, now: Locked) -> Self {
        if now.plugins.is_empty() {
            self.scopes.remove(&now.scope);
        } else {
            self.scopes.insert(now.scope, now.plugins);
        }
        self
    }

    /// The same with the entry of one plugin replaced.
    #[must_use]
    pub fn with_plugin(mut self, scope: &Scope, name: PluginName, entry: LockEntry) -> Self {
        self.scopes.entry(scope.clone()).or_default().insert(name, entry);
        self
    }

    /// Everything that differs between what it says and what is there now, by plugin. A plugin that it does not name
    /// differs; one that it names and that is not used any more does not, as nothing can come of it. For an environment
    /// that it does not name at all, what was agreed to for another one counts: see [`LockFile::agreed_elsewhere`].
    #[must_use]
    pub fn check(&self, now: &Locked) -> BTreeMap<PluginName, Vec<Difference>> {
        let locked = self.scopes.get(&now.scope);
        let differences = |(name, entry): (&PluginName, &LockEntry)| {
            let found = match locked {
                Some(plugins) => match plugins.get(name) {
                    Some(locked) => compare(locked, entry),
                    None => Difference::new_plugin(entry),
                },
                None if self.agreed_elsewhere(&now.scope, name, entry).is_some() => Vec::new(),
                None => Difference::new_plugin(entry),
            };
            (!found.is_empty()).then(|| (name.clone(), found))
        };
        now.plugins.iter().filter_map(differences).collect()
    }

    /// The environment of the same deployment for which this very plugin, by its name and by everything else, was agreed
    /// to with at least these rights. Nothing that it could do here is new then.
    #[must_use]
    pub fn agreed_elsewhere(&self, scope: &Scope, name: &PluginName, entry: &LockEntry) -> Option<&PluginName> {
        let others = self.scopes.iter().filter(|(other, _)| other.deployment == scope.deployment && *other != scope);
        let mut named = others.filter_map(|(other, plugins)| Some((other, plugins.get(name)?)));
        let no_more = |agreed: &LockEntry| compare(agreed, entry).iter().all(|d| d.direction == Direction::Narrows);
        named.find(|(_, agreed)| no_more(agreed)).map(|(other, _)| &other.environment)
    }

    /// The plugins that it names and that are not used any more.
    #[must_use]
    pub fn unused(&self, now: &Locked) -> Vec<PluginName> {
        let locked = self.scopes.get(&now.scope).into_iter().flat_map(BTreeMap::keys);
        locked.filter(|name| !now.plugins.contains_key(*name)).cloned().collect()
    }
}

fn form(text: &str, error: &toml::de::Error) -> LockError {
    let start = error.span().map_or(0, |span| span.start);
    let line = text.as_bytes().iter().take(start).filter(|byte| **byte == b'\n').count() + 1;
    let conflict = text.lines().position(|line| line.starts_with("<<<<<<<") || line.starts_with(">>>>>>>"));
    match conflict {
        Some(at) => LockError::Form { line: at + 1, why: "it holds the marks of a merge conflict".to_owned() },
        None => LockError::Form { line, why: basb_grants::printable(error.message(), 300).replace("\\u{a}", "; ") },
    }
}
