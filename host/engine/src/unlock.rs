//! Releasing a lease by force: who held it, where and since when is said, and a holder that lives is not robbed by chance.

use crate::lease::lease_name;
use crate::owner::{Life, Owner};
use crate::session::Session;
use crate::{EngineError, clock::now};
use basb_core::Timestamp;
use basb_journal::{Fence, RunFilter};
use serde::Serialize;
use std::collections::BTreeSet;

/// Whether a holder that lives on this machine may lose its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlock {
    /// It may not.
    UnlessAlive,
    /// It may: it stops at its next write, since its token is worth nothing any more.
    EvenIfAlive,
}

/// Who holds, or held, a lease.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// `deployment/environment`.
    pub lease: String,
    /// Who and where, as `user@host pid N`.
    pub by: String,
    /// Since when.
    pub since: Timestamp,
    /// `lives`, `gone`, or `unknown` for one of another machine.
    pub holder: &'static str,
}

impl Held {
    /// A lease as the journal has it.
    pub(crate) fn of(lease: &str, held: &basb_journal::Held) -> Self {
        let owner = Owner::parse(&held.owner);
        Self {
            lease: lease.to_owned(),
            by: owner.as_ref().map_or_else(|| held.owner.clone(), ToString::to_string),
            since: held.since,
            holder: match owner.map_or(Life::Unknown, |owner| owner.life()) {
                Life::Lives => "lives",
                Life::Gone => "gone",
                Life::Unknown => "unknown",
            },
        }
    }

    /// Who, where and since when, in a line.
    #[must_use]
    pub fn sentence(&self) -> String {
        format!("{}, since {}", self.by, self.since)
    }

    /// The same with how long ago that is.
    #[must_use]
    pub fn sentence_now(&self) -> String {
        format!("{} ({} ago)", self.sentence(), now().since(self.since))
    }
}

impl Session {
    /// Releases the lease of a run, or `deployment/environment`; the only one that is held when left out.
    ///
    /// # Errors
    /// [`EngineError`] when nobody holds it, or its holder lives and must not be robbed.
    pub async fn unlock(&self, which: Option<&str>, how: Unlock) -> Result<Held, EngineError> {
        let name = self.lease_meant(which).await?;
        let Some(held) = self.journal.holder(&name).await? else {
            let message = format!("nobody holds the lease on {name}");
            return Err(EngineError::refused("lease/not-held", message, "there is nothing to unlock"));
        };
        let about = Held::of(&name, &held);
        if about.holder == "lives" && how == Unlock::UnlessAlive {
            let message = format!("{name} is held by a process that lives: {}", about.sentence_now());
            let next = "`basb-host stop --now` has it stop; `basb-host unlock --even-if-alive` takes the lease from it all the \
                        same: it stops at its next write, whatever it is doing";
            return Err(EngineError::refused("lease/holder-alive", message, next));
        }
        self.journal.release(&Fence { lease: name, token: held.fencing_token }).await?;
        Ok(about)
    }

    async fn lease_meant(&self, which: Option<&str>) -> Result<String, EngineError> {
        match which {
            Some(name) if name.contains('/') => Ok(name.to_owned()),
            Some(run) => {
                let start = self.journal.run(run).await?.start;
                Ok(lease_name(&start.deployment, &start.environment))
            }
            None => {
                let runs = self.journal.runs(RunFilter::default(), 10_000).await?;
                let names: BTreeSet<String> =
                    runs.iter().map(|r| lease_name(&r.start.deployment, &r.start.environment)).collect();
                let mut held = Vec::new();
                for name in names {
                    if self.journal.holder(&name).await?.is_some() {
                        held.push(name);
                    }
                }
                match (held.pop(), held.is_empty()) {
                    (Some(only), true) => Ok(only),
                    (None, _) => {
                        let next = "there is nothing to unlock";
                        Err(EngineError::refused("lease/not-held", "nobody holds any lease", next))
                    }
                    (Some(last), false) => {
                        held.push(last);
                        let next = "name one: `basb-host unlock DEPLOYMENT/ENVIRONMENT`";
                        let message = format!("several leases are held: {}", held.join(", "));
                        Err(EngineError::refused("lease/ambiguous", message, next))
                    }
                }
            }
        }
    }
}
