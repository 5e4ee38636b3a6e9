//! What a lock file means for a run: a pure function of what it says and what is there.
//!
//! Stops three attacks. *A plugin's file is replaced* (on the disk, in a registry, by a build): other bytes. *A wider grant
//! is smuggled into the deployment file* in a change that looks harmless: the lock file would have to change with it, where
//! the widening stands on a line of its own. *A downgrade* to a version whose faults are known, which a publisher's
//! signature does not stop: an older version.
//!
//! *An environment that the lock file does not name* is taken over where every plugin was agreed to, with at least the same
//! rights, for another environment of the same deployment. That gives away nothing: what could be had by renaming an
//! environment is what somebody agreed to. An environment that is named is compared with its own part alone, so a plugin
//! of production cannot take what was agreed to for a test; and `--locked` takes nothing over.
//!
//! It does not stop somebody who can write the lock file too: that is what its review is for. Nor is a first use more than
//! a first use: without a lock file there is nothing to compare with, which `--locked` forbids.

use crate::compare::{Difference, Direction};
use crate::file::{LockError, LockFile, Locked, Scope};
use basb_core::PluginName;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

/// What may be done where there is no lock file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Trust what is there, and write it down.
    TrustFirstUse,
    /// Nothing: `--locked`.
    Locked,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Everything is as it was agreed to.
    Same {
        /// The plugins that the lock file names and that are not used any more; nothing to stop for.
        unused: Vec<PluginName>,
    },
    /// There is no lock file: this is the one to write before anything else happens, and to say so.
    FirstUse(LockFile),
    /// The lock file does not name the environment, but everything about its plugins was agreed to for others of the same
    /// deployment: to be added to the lock file before anything else happens, and to be said.
    NewEnvironment(NewEnvironment),
}

/// An environment that the lock file does not name yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEnvironment {
    /// Its plugins.
    pub plugins: Locked,
    /// The environments for which they were agreed to.
    pub agreed_for: BTreeSet<PluginName>,
}

/// The plugins are not those that the lock file names, or may do something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differs {
    /// The deployment and the environment.
    pub scope: Scope,
    /// What differs, by plugin; not empty.
    pub plugins: BTreeMap<PluginName, Vec<Difference>>,
}

/// Compares what is there with what was agreed to.
///
/// # Errors
/// [`LockError::Differs`] with everything that differs, or [`LockError::Missing`].
pub fn check(lock: Option<&LockFile>, now: &Locked, policy: Policy) -> Result<Decision, LockError> {
    let Some(lock) = lock else {
        return match policy {
            Policy::TrustFirstUse => Ok(Decision::FirstUse(LockFile::default().with(now.clone()))),
            Policy::Locked => Err(LockError::Missing),
        };
    };
    let named = lock.scope(&now.scope).is_some() || now.plugins.is_empty();
    let plugins = match (named, policy) {
        (true, _) | (false, Policy::TrustFirstUse) => lock.check(now),
        (false, Policy::Locked) => {
            let new = now.plugins.iter().map(|(name, entry)| (name.clone(), Difference::new_plugin(entry)));
            new.collect()
        }
    };
    if plugins.is_empty() && named {
        return Ok(Decision::Same { unused: lock.unused(now) });
    }
    if plugins.is_empty() {
        let agreed = now.plugins.iter().filter_map(|(name, entry)| lock.agreed_elsewhere(&now.scope, name, entry));
        let agreed_for = agreed.cloned().collect();
        return Ok(Decision::NewEnvironment(NewEnvironment { plugins: now.clone(), agreed_for }));
    }
    Err(LockError::Differs(Differs { scope: now.scope.clone(), plugins }))
}

/// How many differences of a plugin a message shows.
const SHOWN: usize = 12;

impl Differs {
    /// Which way the differences go, taken together.
    #[must_use]
    pub fn direction(&self) -> Direction {
        let all = self.plugins.values().flatten().map(|difference| difference.direction);
        all.min().unwrap_or(Direction::Changes)
    }

    /// What to do next, for the deployment file `deployment.yaml` of the working folder.
    #[must_use]
    pub fn help(&self) -> String {
        self.help_for(Path::new("deployment.yaml"))
    }

    /// What to do next, for this deployment file.
    #[must_use]
    pub fn help_for(&self, file: &Path) -> String {
        let names: Vec<&str> = self.plugins.keys().map(PluginName::as_str).collect();
        let mut command = format!("basb-host plugin update {}", names.join(" "));
        if file != Path::new("deployment.yaml") {
            let _ = write!(command, " --file {}", shell_word(&file.display().to_string()));
        }
        let _ = write!(command, " --environment {}", self.scope.environment);
        format!("see what differs with\n  {command}\nand when you meant it, agree with\n  {command} --accept")
    }
}

impl std::error::Error for Differs {}

impl std::fmt::Display for Differs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.plugins.len();
        let (plugins, verb) = if count == 1 { ("plugin", "differs") } else { ("plugins", "differ") };
        write!(f, "{count} {plugins} of {} {verb} from basb.lock", self.scope)?;
        for (name, differences) in &self.plugins {
            for difference in differences.iter().take(SHOWN) {
                write!(f, "\n  {name}: {difference}")?;
            }
            let more = differences.len().saturating_sub(SHOWN);
            if more > 0 {
                write!(f, "\n  {name}: and {more} more")?;
            }
        }
        Ok(())
    }
}

/// A word of a shell command, in quotes where it needs them.
fn shell_word(word: &str) -> String {
    let plain = !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"./_-".contains(&b));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}
