//! Notifications that are still to be delivered: at least once, told apart by their keys.

use crate::error::WorkError;
use crate::{Fence, Journal, JournalError, NewNotification, lease, row, tapes};
use basb_core::Timestamp;
use rusqlite::{Connection, Row, params};

/// A notification that is not delivered yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The event's key.
    pub event_key: String,
    /// The notifier's name.
    pub notifier: String,
    /// JSON that belongs to the engine.
    pub payload: String,
    /// When it happened.
    pub at: Timestamp,
    /// How often delivery failed.
    pub attempts: u32,
    /// Why, the last time.
    pub last_error: Option<String>,
    /// Not to be tried sooner than this.
    pub due_at: Timestamp,
}

/// What the keys of deliveries that are open begin with.
pub const DELIVERIES: &str = "outbox/";

fn call_key(event_key: &str, notifier: &str) -> String {
    format!("{DELIVERIES}{event_key}/{notifier}")
}

impl Notification {
    /// The key under which its delivery is written ahead ([`Journal::write_ahead`]); closed with what comes of it.
    #[must_use]
    pub fn call_key(&self) -> String {
        call_key(&self.event_key, &self.notifier)
    }
}

/// What follows a delivery that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextAttempt {
    /// It is tried again, no sooner than this.
    At(Timestamp),
    /// It is given up; it stays in the file with its last error.
    Never,
}

impl Journal {
    /// Puts notifications into the outbox. One that is there already, delivered or not, is left as it is. An append does
    /// it together with its records: [`crate::Append::notify`].
    ///
    /// # Errors
    /// Why the file cannot be written.
    pub async fn enqueue(&self, notifications: Vec<NewNotification>) -> Result<(), JournalError> {
        self.write(move |connection| notifications.iter().try_for_each(|new| insert(connection, new))).await
    }

    /// What is still to be delivered, oldest first, whether due or not.
    ///
    /// # Errors
    /// Why the file cannot be read.
    pub async fn pending(&self, limit: u32) -> Result<Vec<Notification>, JournalError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT event_key, notifier, payload, at, attempts, last_error, due_at FROM outbox \
                 WHERE delivered_at IS NULL AND due_at IS NOT NULL ORDER BY ordinal LIMIT ?1",
            )?;
            Ok(statement.query_map(params![limit], notification)?.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Notes that a notification was delivered. Doing it twice is no error.
    ///
    /// # Errors
    /// [`JournalError::StaleToken`] when the lease is not held any more: whoever holds it delivers. Or
    /// [`JournalError::UnknownNotification`], or why the file cannot be written.
    pub async fn delivered(
        &self,
        fence: Option<&Fence>,
        event_key: &str,
        notifier: &str,
        at: Timestamp,
    ) -> Result<(), JournalError> {
        let (fence, event_key, notifier) = (fence.cloned(), event_key.to_owned(), notifier.to_owned());
        self.write(move |connection| {
            if let Some(fence) = &fence {
                lease::check(connection, fence)?;
            }
            let at = row::to_column("the time of a delivery", at.0)?;
            let changed = connection
                .prepare_cached(
                    "UPDATE outbox SET delivered_at = coalesce(delivered_at, ?3) WHERE event_key = ?1 AND notifier = ?2",
                )?
                .execute(params![event_key, notifier, at])?;
            tapes::close(connection, &call_key(&event_key, &notifier))?;
            found(changed, event_key, notifier)
        })
        .await
    }

    /// Notes that a delivery failed, and why.
    ///
    /// # Errors
    /// As [`Journal::delivered`].
    pub async fn attempt_failed(
        &self,
        fence: Option<&Fence>,
        event_key: &str,
        notifier: &str,
        error: &str,
        next: NextAttempt,
    ) -> Result<(), JournalError> {
        let (fence, error) = (fence.cloned(), error.to_owned());
        let (event_key, notifier) = (event_key.to_owned(), notifier.to_owned());
        self.write(move |connection| {
            if let Some(fence) = &fence {
                lease::check(connection, fence)?;
            }
            let due = match next {
                NextAttempt::At(at) => Some(row::to_column("the time of an attempt", at.0)?),
                NextAttempt::Never => None,
            };
            let changed = connection
                .prepare_cached(
                    "UPDATE outbox SET attempts = attempts + 1, last_error = ?3, due_at = ?4 \
                     WHERE event_key = ?1 AND notifier = ?2",
                )?
                .execute(params![event_key, notifier, error, due])?;
            tapes::close(connection, &call_key(&event_key, &notifier))?;
            found(changed, event_key, notifier)
        })
        .await
    }
}

fn found(changed: usize, event_key: String, notifier: String) -> Result<(), WorkError> {
    if changed > 0 { Ok(()) } else { Err(JournalError::UnknownNotification { event_key, notifier }.into()) }
}

fn notification(r: &Row<'_>) -> rusqlite::Result<Notification> {
    Ok(Notification {
        event_key: r.get(0)?,
        notifier: r.get(1)?,
        payload: r.get(2)?,
        at: row::time(r, 3)?,
        attempts: r.get(4)?,
        last_error: r.get(5)?,
        due_at: row::time(r, 6)?,
    })
}

/// Inside an append's transaction, or in one of its own.
pub(crate) fn insert(connection: &Connection, new: &NewNotification) -> Result<(), WorkError> {
    let at = row::to_column("the time of a notification", new.at.0)?;
    connection
        .prepare_cached(
            "INSERT INTO outbox (event_key, notifier, payload, at, due_at) VALUES (?1, ?2, ?3, ?4, ?4) \
             ON CONFLICT (event_key, notifier) DO NOTHING",
        )?
        .execute(params![new.event_key, new.notifier, new.payload, at])?;
    Ok(())
}
