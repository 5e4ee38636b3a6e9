//! Notifications: which notifier gets which event, and their delivery, at least once.

use crate::clock::now;
use crate::convert;
use crate::plugins::PluginSet;
use basb_core::event::Event;
use basb_core::model::Notifier;
use basb_core::run::RunStart;
use basb_core::{Millis, PluginName};
use basb_journal::{Fence, Journal, JournalError, NewNotification, NextAttempt, Notification};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A notification that nobody could take for so long is given up; it stays in the journal with its last error.
const GIVE_UP_AFTER: u32 = 20;

/// Which notifier gets which kinds of events.
#[derive(Debug, Default, Clone)]
pub struct Routes {
    wants: Vec<(PluginName, Vec<String>)>,
    deployment: String,
    environment: String,
}

/// What is kept until a notification is delivered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Payload {
    /// The deployment.
    pub deployment: String,
    /// The environment.
    pub environment: String,
    /// The event.
    pub event: Event,
}

impl Routes {
    /// The routes of a run: what the deployment file says, or else what the plugin asks for.
    #[must_use]
    pub fn new(start: &RunStart, asks: &BTreeMap<PluginName, Vec<String>>) -> Self {
        let wants = start.deployment.notifiers.iter().map(|(name, notifier)| {
            let kinds = if notifier.events.is_empty() {
                asks.get(name).cloned().unwrap_or_default()
            } else {
                notifier.events.clone()
            };
            (name.clone(), kinds)
        });
        Self {
            wants: wants.collect(),
            deployment: start.deployment.name.to_string(),
            environment: start.deployment.environment.to_string(),
        }
    }

    /// The notifications that an event means.
    pub fn notifications(&self, event: &Event) -> Vec<NewNotification> {
        let kind = event.body.kind();
        let wanted = self.wants.iter().filter(|(_, kinds)| kinds.is_empty() || kinds.iter().any(|k| matches(k, kind)));
        wanted
            .filter_map(|(name, _)| {
                let payload = Payload {
                    deployment: self.deployment.clone(),
                    environment: self.environment.clone(),
                    event: event.clone(),
                };
                Some(NewNotification {
                    event_key: event.key(),
                    notifier: name.to_string(),
                    payload: serde_json::to_string(&payload).ok()?,
                    at: event.at,
                })
            })
            .collect()
    }
}

/// Whether a pattern such as `run.*` covers a kind.
fn matches(pattern: &str, kind: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => kind.starts_with(start),
        None => pattern == kind,
    }
}

/// Delivers what is in the outbox for the notifiers of one deployment.
pub struct Courier {
    journal: Arc<Journal>,
    plugins: Arc<PluginSet>,
    notifiers: BTreeMap<PluginName, Notifier>,
    deployment: String,
    environment: String,
    /// Proves that this process may act.
    fence: Fence,
}

/// What became of one round.
#[derive(Debug, PartialEq, Eq)]
enum Round {
    /// Nothing is left to deliver.
    Empty,
    /// Something was delivered or tried.
    Busy,
    /// What is left is not due yet.
    Later,
    /// The lease is somebody else's, who delivers what is left.
    NotOurs,
}

/// Why a notification counts as not delivered.
enum Undelivered {
    /// For this reason, and what follows.
    Because(String, NextAttempt),
    /// The lease is somebody else's: nothing is noted, and that one delivers it again, under the same key.
    NotOurs,
}

impl Courier {
    /// A courier for the notifiers of this deployment.
    pub fn new(journal: Arc<Journal>, plugins: Arc<PluginSet>, start: &RunStart, fence: Fence) -> Self {
        Self {
            fence,
            journal,
            plugins,
            notifiers: start.deployment.notifiers.clone(),
            deployment: start.deployment.name.to_string(),
            environment: start.deployment.environment.to_string(),
        }
    }

    /// Delivers as long as the lease is held; to be aborted.
    pub async fn run(&self) {
        loop {
            let pause = match self.round().await {
                Round::Busy => Duration::from_millis(10),
                Round::Empty => Duration::from_millis(200),
                Round::Later => Duration::from_millis(500),
                Round::NotOurs => return,
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Delivers what is left, for no longer than this. What is left after that stays for the next run.
    pub async fn flush(&self, within: Duration) -> Option<String> {
        let all = async {
            loop {
                match self.round().await {
                    Round::Empty | Round::NotOurs => return,
                    Round::Busy => {}
                    Round::Later => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        };
        match tokio::time::timeout(within, all).await {
            Ok(()) => None,
            Err(_) => {
                let left = self.mine().await;
                let last = left.iter().find_map(|n| n.last_error.clone()).unwrap_or_else(|| "no answer yet".to_owned());
                Some(format!("{} notifications are not delivered yet and stay in the outbox: {last}", left.len()))
            }
        }
    }

    async fn mine(&self) -> Vec<Notification> {
        let pending = self.journal.pending(1000).await.unwrap_or_default();
        pending.into_iter().filter(|n| self.payload(n).is_some()).collect()
    }

    fn payload(&self, notification: &Notification) -> Option<(PluginName, Payload)> {
        let name = PluginName::new(notification.notifier.clone()).ok()?;
        let payload: Payload = serde_json::from_str(&notification.payload).ok()?;
        (self.notifiers.contains_key(&name)
            && payload.deployment == self.deployment
            && payload.environment == self.environment)
            .then_some((name, payload))
    }

    async fn round(&self) -> Round {
        let mine = self.mine().await;
        if mine.is_empty() {
            return Round::Empty;
        }
        let at = now();
        // In order for each notifier: one that fails holds its own later events back, not those of others.
        let mut held: Vec<String> = Vec::new();
        let mut round = Round::Later;
        for notification in mine {
            if held.contains(&notification.notifier) {
                continue;
            }
            if notification.due_at > at {
                held.push(notification.notifier.clone());
                continue;
            }
            round = Round::Busy;
            let (error, next) = match self.deliver(&notification).await {
                Ok(()) => continue,
                Err(Undelivered::NotOurs) => return Round::NotOurs,
                Err(Undelivered::Because(error, next)) => (error, next),
            };
            if matches!(next, NextAttempt::At(_)) {
                tracing::warn!(notifier = %notification.notifier, %error, "a notification waits for another attempt");
                held.push(notification.notifier.clone());
            } else {
                tracing::error!(notifier = %notification.notifier, %error, "a notification is given up");
            }
            let (key, notifier) = (&notification.event_key, &notification.notifier);
            match self.journal.attempt_failed(Some(&self.fence), key, notifier, &error, next).await {
                Ok(()) => {}
                Err(JournalError::StaleToken { .. }) => return Round::NotOurs,
                Err(e) => {
                    tracing::warn!(error = %e, "the failed delivery could not be written down");
                    return Round::Later;
                }
            }
        }
        round
    }

    async fn deliver(&self, notification: &Notification) -> Result<(), Undelivered> {
        let never = |why: &str| Undelivered::Because(why.to_owned(), NextAttempt::Never);
        let Some((name, payload)) = self.payload(notification) else {
            return Err(never("the payload cannot be read"));
        };
        let backoff = |after: Millis| {
            if notification.attempts >= GIVE_UP_AFTER {
                return NextAttempt::Never;
            }
            let grown = Millis(200_u64 << notification.attempts.min(10)).min(Millis::secs(60));
            NextAttempt::At(now().plus(grown.max(after)))
        };
        let Some(notifier) = self.notifiers.get(&name) else {
            return Err(never("there is no such notifier any more"));
        };
        let event = convert::notifier_event(&payload);
        match self.plugins.notify(&notification.call_key(), &notifier.uses, event).await {
            Ok(()) => {
                let (key, notifier) = (&notification.event_key, &notification.notifier);
                match self.journal.delivered(Some(&self.fence), key, notifier, now()).await {
                    Ok(()) => Ok(()),
                    Err(JournalError::StaleToken { .. }) => Err(Undelivered::NotOurs),
                    Err(e) => Err(Undelivered::Because(e.to_string(), backoff(Millis::ZERO))),
                }
            }
            Err(failure) => {
                let next = failure.retry_after.map_or(NextAttempt::Never, backoff);
                Err(Undelivered::Because(failure.message, next))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_kinds() {
        assert!(matches("run.*", "run.finished"));
        assert!(matches("*", "run.finished"));
        assert!(matches("run.finished", "run.finished"));
        assert!(!matches("run.*", "service.promoted"));
        assert!(!matches("run", "run.finished"));
    }
}
