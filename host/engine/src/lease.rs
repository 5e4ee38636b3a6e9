//! The lease on a deployment in an environment: one run acts at a time.

use crate::EngineError;
use crate::clock::{self, now};
use crate::owner::{Life, Owner};
use basb_core::{Millis, PluginName, ServiceName};
use basb_journal::{AcquireError, Fence, Held, Journal, JournalError, Lease};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a lease lasts without a heartbeat.
const TTL: Millis = Millis::secs(15);
/// Time from one heartbeat to the next.
const HEARTBEAT: std::time::Duration = std::time::Duration::from_secs(4);

/// A lease whose last renewal is younger than this cannot be anybody else's yet.
const CERTAIN: std::time::Duration = std::time::Duration::from_secs(12);
/// For so long a lease that has expired must stay as it is before it is taken over: as long as it lasts, by a clock that
/// nobody sets and that stands still while the machine sleeps, as the holder does. So it is longer than [`CERTAIN`].
const SILENCE: std::time::Duration = std::time::Duration::from_millis(TTL.0);
/// Time between two looks at it.
const LOOK: std::time::Duration = std::time::Duration::from_millis(250);

/// A lease with its heartbeat; released by [`HeldLease::release`].
#[derive(Debug)]
pub struct HeldLease {
    holding: Holding,
    fence: Fence,
    heartbeat: JoinHandle<()>,
    lost: watch::Receiver<bool>,
}

/// Whether the lease is held, for whoever is about to change something outside. A process that was stopped for longer than
/// its lease finds out here that it may be somebody else's by now, however long ago it last asked.
#[derive(Debug, Clone)]
pub struct Holding {
    journal: Arc<Journal>,
    /// The lease as it was renewed last, and when that was begun by a clock that does not jump.
    renewed: Arc<Mutex<(Lease, Instant)>>,
}

impl Holding {
    fn renewed(&self) -> (Lease, Instant) {
        self.renewed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn renew(&self) -> Result<(), JournalError> {
        let (lease, _) = self.renewed();
        let began = Instant::now();
        let renewed = self.journal.renew(&lease, TTL, now()).await?;
        *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = (renewed, began);
        Ok(())
    }

    /// Returns once it is certain that the lease is held at this moment. Costs nothing while it was renewed lately.
    ///
    /// # Errors
    /// [`JournalError::StaleToken`] when it is somebody else's, or why the file cannot be written.
    pub async fn confirm(&self) -> Result<(), JournalError> {
        // Again, if the renewal itself took so long that it says nothing any more: the process may have been stopped then.
        while self.renewed().1.elapsed() >= CERTAIN {
            self.renew().await?;
        }
        Ok(())
    }
}

impl HeldLease {
    /// Takes the lease; one that has expired only after nobody renewed it for as long as a lease lasts, since a clock that
    /// was set forward makes any look expired.
    ///
    /// # Errors
    /// [`EngineError::Busy`] with who holds it, unless that process is known to be dead, or gives no sign of life.
    pub async fn acquire(
        journal: &Arc<Journal>,
        deployment: &ServiceName,
        environment: &PluginName,
    ) -> Result<Self, EngineError> {
        // The lease's own times are not before what is in the journal either.
        clock::not_before(journal.last_at().await?);
        let name = lease_name(deployment, environment);
        let owner = Owner::this().for_lease();
        let mut began = Instant::now();
        let lease = match journal.acquire(&name, &owner, TTL, now()).await {
            Ok(lease) => lease,
            // Of a process that is gone for certain nobody need wait for the expiry.
            Err(AcquireError::Held(held)) if is_dead(&held) || is_silent(journal, &name, &held).await? => {
                began = Instant::now();
                journal.take_over(&name, &held, &owner, TTL, now()).await.map_err(|e| busy(&name, e))?
            }
            Err(e) => return Err(busy(&name, e)),
        };
        // Whoever has it writes to the journal next: never at a time before what is there, which may have become more while
        // somebody else had it.
        clock::not_before(journal.last_at().await?);
        let fence = lease.fence();
        let (tell, lost) = watch::channel(false);
        let holding = Holding { journal: Arc::clone(journal), renewed: Arc::new(Mutex::new((lease, began))) };
        let heartbeat = tokio::spawn(beat(holding.clone(), tell));
        Ok(Self { holding, fence, heartbeat, lost })
    }

    /// What proves to a write that the lease is held.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.fence.clone()
    }

    /// What is asked before anything is changed outside.
    #[must_use]
    pub fn holding(&self) -> Holding {
        self.holding.clone()
    }

    /// Becomes true when the lease was lost: nothing may be done any more.
    #[must_use]
    pub fn lost(&self) -> watch::Receiver<bool> {
        self.lost.clone()
    }

    /// An error that means that somebody else holds the lease by now, with who that is; any other as it is.
    pub async fn explain(&self, error: EngineError) -> EngineError {
        let lost =
            matches!(error, EngineError::LeaseLost { .. } | EngineError::Journal(JournalError::StaleToken { .. }));
        if !lost {
            return error;
        }
        let what = self.fence.lease.clone();
        let by = self
            .holding
            .journal
            .holder(&what)
            .await
            .ok()
            .flatten()
            .filter(|held| held.fencing_token != self.fence.token);
        EngineError::LeaseLost { what, by }
    }

    /// Lets go of it.
    pub async fn release(self) {
        self.heartbeat.abort();
        if let Err(e) = self.holding.journal.release(&self.fence).await {
            tracing::debug!(error = %e, "the lease was not released; it expires by itself");
        }
    }
}

async fn beat(holding: Holding, tell: watch::Sender<bool>) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        match holding.renew().await {
            Ok(()) => {}
            Err(e @ JournalError::StaleToken { .. }) => {
                tracing::warn!(error = %e, "the lease was lost");
                // Nobody listens when the run is over already.
                let _ = tell.send(true);
                return;
            }
            // A file that cannot be written just now says nothing about who holds the lease: whoever takes it over is
            // noticed at the next write, which the token guards.
            Err(e) => tracing::warn!(error = %e, "the lease could not be renewed; trying again"),
        }
    }
}

/// Whether a lease that has expired stays as it is for as long as a lease lasts.
async fn is_silent(journal: &Journal, name: &str, held: &Held) -> Result<bool, JournalError> {
    if held.expires > now() {
        return Ok(false);
    }
    let (owner, since) = (&held.owner, held.since);
    tracing::warn!("{owner} holds {name} since {since} and has not renewed it: waiting {TTL} for a sign of life");
    let began = Instant::now();
    while began.elapsed() < SILENCE {
        tokio::time::sleep(LOOK).await;
        match journal.holder(name).await? {
            Some(now) if now == *held => {}
            // Released is as good as silent: the next look finds it free.
            None => return Ok(true),
            Some(_) => return Ok(false),
        }
    }
    Ok(true)
}

fn busy(name: &str, e: AcquireError) -> EngineError {
    match e {
        AcquireError::Held(held) => EngineError::Busy { what: name.to_owned(), held },
        AcquireError::Journal(e) => EngineError::Journal(e),
    }
}

/// The lease on a deployment in an environment.
pub fn lease_name(deployment: &ServiceName, environment: &PluginName) -> String {
    format!("{deployment}/{environment}")
}

/// Whether the holder was a process of this machine that does not live any more.
pub fn is_dead(held: &Held) -> bool {
    Owner::parse(&held.owner).is_some_and(|owner| owner.life() == Life::Gone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use basb_core::Timestamp;

    fn held(owner: String) -> Held {
        Held { owner, since: Timestamp(0), expires: Timestamp(1), fencing_token: 1 }
    }

    #[test]
    fn only_a_process_known_to_be_gone_is_dead() {
        let this = Owner::this();
        assert!(!is_dead(&held(this.for_lease())), "this one lives");
        assert!(is_dead(&held(format!("{this} (started 1)"))), "another start time");
        assert!(is_dead(&held(format!("pid {} (started 1) on {}", this.pid, this.host))), "as it was written before");
        assert!(!is_dead(&held("pid 1 (started 1) on elsewhere".into())), "another machine cannot be looked at");
        assert!(!is_dead(&held("ann@elsewhere pid 1 (started 1)".into())));
        assert!(!is_dead(&held("somebody".into())));
    }
}
