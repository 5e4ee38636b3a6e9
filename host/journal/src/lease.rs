//! Locks with an end: an owner, an expiry, and a token that rises with every new holder. A holder that was taken over
//! without noticing cannot write any more, since its token is refused.
//!
//! The attack it stops: a clock that is set forward. An expiry is a time by the holder's clock; whoever takes a lease over
//! must have seen by a clock of its own that nothing was renewed, and names what it saw.

use crate::error::WorkError;
use crate::{Journal, JournalError, row};
use basb_core::{Millis, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

/// A lease that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What it is on.
    pub name: String,
    /// Who holds it.
    pub owner: String,
    /// Higher than that of every holder before.
    pub fencing_token: u64,
    /// Since when.
    pub since: Timestamp,
    /// When others may take it, unless it is renewed.
    pub expires: Timestamp,
}

impl Lease {
    /// What proves to a write that the lease is held.
    #[must_use]
    pub fn fence(&self) -> Fence {
        Fence { lease: self.name.clone(), token: self.fencing_token }
    }
}

/// The lease under which something is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The lease's name.
    pub lease: String,
    /// The holder's token.
    pub token: u64,
}

/// Who holds a lease.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{owner}` holds it since {since}, until {expires} at least")]
pub struct Held {
    /// Who holds it.
    pub owner: String,
    /// Since when.
    pub since: Timestamp,
    /// When it expires, unless it is renewed.
    pub expires: Timestamp,
    /// The holder's token. Whoever knows for certain that the holder is dead can release its lease with it, and need not
    /// wait for the expiry.
    pub fencing_token: u64,
}

/// Why a lease was not acquired.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcquireError {
    /// Somebody holds it (`journal/lease-held`).
    #[error(transparent)]
    Held(#[from] Held),
    /// The file cannot be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl AcquireError {
    /// A code that stays the same from version to version.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Held(_) => "journal/lease-held",
            Self::Journal(error) => error.code(),
        }
    }
}

impl Journal {
    /// Takes a lease that is free. One that somebody holds is refused, expired or not: an expiry is a time by the holder's
    /// clock, and says nothing by another one. An owner that holds it already is refused like anybody else: two processes
    /// may bear the same name.
    ///
    /// # Errors
    /// [`AcquireError::Held`], or why the file cannot be written.
    pub async fn acquire(&self, name: &str, owner: &str, ttl: Millis, now: Timestamp) -> Result<Lease, AcquireError> {
        let (name, owner) = (name.to_owned(), owner.to_owned());
        Ok(self.write(move |connection| acquire(connection, name, owner, ttl, now, None)).await??)
    }

    /// Takes a lease over from a holder that is known to be gone, or that gave no sign of life for as long as a lease lasts:
    /// only if nothing has changed of it since `from` was read. Its token fences a late write of the former holder off.
    ///
    /// # Errors
    /// [`AcquireError::Held`] when it was renewed, or taken by another, or why the file cannot be written.
    pub async fn take_over(
        &self,
        name: &str,
        from: &Held,
        owner: &str,
        ttl: Millis,
        now: Timestamp,
    ) -> Result<Lease, AcquireError> {
        let (name, owner, from) = (name.to_owned(), owner.to_owned(), from.clone());
        Ok(self.write(move |connection| acquire(connection, name, owner, ttl, now, Some(&from))).await??)
    }

    /// Keeps a lease for longer: until `now` plus `ttl`. One that has expired can be renewed while nobody took it.
    ///
    /// # Errors
    /// [`JournalError::StaleToken`] when somebody took it or it was released, or why the file cannot be written.
    pub async fn renew(&self, lease: &Lease, ttl: Millis, now: Timestamp) -> Result<Lease, JournalError> {
        let mut lease = lease.clone();
        self.write(move |connection| {
            check(connection, &lease.fence())?;
            lease.expires = lease.expires.max(now.plus(ttl));
            connection
                .prepare_cached("UPDATE leases SET expires_at = ?2 WHERE name = ?1")?
                .execute(params![lease.name, row::to_column("the expiry of a lease", lease.expires.0)?])?;
            Ok(lease)
        })
        .await
    }

    /// Gives a lease back. Its token is worth nothing from then on.
    ///
    /// # Errors
    /// [`JournalError::StaleToken`] when somebody took it or it was released, or why the file cannot be written.
    pub async fn release(&self, fence: &Fence) -> Result<(), JournalError> {
        let fence = fence.clone();
        self.write(move |connection| {
            check(connection, &fence)?;
            connection
                .prepare_cached("UPDATE leases SET owner = NULL WHERE name = ?1")?
                .execute(params![fence.lease])?;
            Ok(())
        })
        .await
    }

    /// Who holds a lease, expired or not.
    ///
    /// # Errors
    /// Why the file cannot be read.
    pub async fn holder(&self, name: &str) -> Result<Option<Held>, JournalError> {
        let name = name.to_owned();
        self.read(move |connection| Ok(stored(connection, &name)?.and_then(|(_, held)| held))).await
    }
}

/// The last token of a lease, and its holder if it has one.
fn stored(connection: &Connection, name: &str) -> Result<Option<(u64, Option<Held>)>, WorkError> {
    let found = connection
        .prepare_cached("SELECT token, owner, acquired_at, expires_at FROM leases WHERE name = ?1")?
        .query_row(params![name], |r| {
            let fencing_token = row::unsigned(r, 0)?;
            let owner: Option<String> = r.get(1)?;
            let (since, expires) = (row::time(r, 2)?, row::time(r, 3)?);
            Ok((fencing_token, owner.map(|owner| Held { owner, since, expires, fencing_token })))
        })
        .optional()?;
    Ok(found)
}

fn acquire(
    connection: &Connection,
    name: String,
    owner: String,
    ttl: Millis,
    now: Timestamp,
    from: Option<&Held>,
) -> Result<Result<Lease, Held>, WorkError> {
    let last = match stored(connection, &name)? {
        Some((_, Some(held))) if from != Some(&held) => return Ok(Err(held)),
        Some((token, _)) => token,
        None => 0,
    };
    let lease = Lease { name, owner, fencing_token: last + 1, since: now, expires: now.plus(ttl) };
    connection
        .prepare_cached(
            "INSERT INTO leases (name, token, owner, acquired_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (name) DO UPDATE SET token = ?2, owner = ?3, acquired_at = ?4, expires_at = ?5",
        )?
        .execute(params![
            lease.name,
            row::to_column("a fencing token", lease.fencing_token)?,
            lease.owner,
            row::to_column("the time of a lease", lease.since.0)?,
            row::to_column("the expiry of a lease", lease.expires.0)?
        ])?;
    Ok(Ok(lease))
}

/// An error unless the lease is held with this very token. Inside the transaction of the write that it guards.
pub(crate) fn check(connection: &Connection, fence: &Fence) -> Result<(), WorkError> {
    match stored(connection, &fence.lease)? {
        Some((token, Some(_))) if token == fence.token => Ok(()),
        _ => Err(JournalError::StaleToken { lease: fence.lease.clone(), given: fence.token }.into()),
    }
}
