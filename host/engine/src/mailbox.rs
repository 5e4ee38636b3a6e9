//! What is asked of a run that another process is at work on: left in the journal, taken up by that process.
//!
//! A letter lies in the mailbox until the record that it asks for is written, and is taken out by that very write. So a
//! process that is killed between the two loses nothing, and whoever takes the run up next carries it out, once.

use crate::drive::Control;
use basb_core::RunId;
use basb_core::run::Record;
use basb_journal::{Journal, JournalError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Time between two looks into the mailbox.
const LOOK: Duration = Duration::from_millis(500);

/// The word of a request whose body is a record.
const RECORD: &str = "record";
/// The word of a stop after what is under way.
const STOP: &str = "stop";
/// The word of a stop at once.
const STOP_NOW: &str = "stop-now";

/// What somebody asks, as word and body.
#[derive(Debug, Clone)]
pub enum Letter {
    /// A [`Record::Request`] or a [`Record::Approval`].
    Record(Box<Record>),
    /// Begin nothing new, and end.
    Stop,
    /// End at once.
    StopNow,
}

impl Letter {
    /// As it lies in the mailbox.
    pub fn written(&self) -> (&'static str, String) {
        match self {
            // Records hold nothing that JSON cannot.
            Self::Record(record) => (RECORD, serde_json::to_string(record).unwrap_or_default()),
            Self::Stop => (STOP, "{}".to_owned()),
            Self::StopNow => (STOP_NOW, "{}".to_owned()),
        }
    }

    /// What a letter asks; nothing for one that no operator can have meant.
    pub fn read(word: &str, body: &str) -> Option<Self> {
        match word {
            STOP => Some(Self::Stop),
            STOP_NOW => Some(Self::StopNow),
            RECORD => match serde_json::from_str(body).ok()? {
                // Only what operators may say: an outcome or an intent is nobody's to write but the process at work.
                record @ (Record::Request { .. } | Record::Approval { .. }) => Some(Self::Record(Box::new(record))),
                _ => None,
            },
            _ => None,
        }
    }
}

/// What was asked of a run while nobody was at work on it that took it up.
#[derive(Debug, Default)]
pub struct Left {
    /// What was asked, in order, with its number.
    pub records: Vec<(u64, Record)>,
    /// The number of the last letter.
    pub last: u64,
}

/// What lies in the mailbox when a run is taken up: what an earlier process did not write down any more is carried out by
/// this one, since nobody knows whether whoever asked still waits for it. Stops were for that process, which has ended.
///
/// # Errors
/// Why the journal cannot be read or written.
pub async fn left(journal: &Journal, run: &RunId) -> Result<Left, JournalError> {
    let (mut left, mut over) = (Left::default(), Vec::new());
    for request in journal.requests(run, 0).await? {
        left.last = request.ordinal;
        match Letter::read(&request.verb, &request.body) {
            Some(Letter::Record(record)) => left.records.push((request.ordinal, *record)),
            Some(Letter::Stop | Letter::StopNow) => over.push(request.ordinal),
            None => {
                tracing::warn!(verb = request.verb, "a request that is not known is dropped");
                over.push(request.ordinal);
            }
        }
    }
    if !over.is_empty() {
        journal.drop_requests(over).await?;
    }
    Ok(left)
}

/// Looks into the mailbox, behind a number, until nobody listens; to be aborted. What it hands over goes on lying there
/// until it is written down.
pub async fn watch(journal: Arc<Journal>, run: RunId, mut seen: u64, tell: mpsc::Sender<Control>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let requests = match journal.requests(&run, seen).await {
            Ok(requests) => requests,
            Err(e) => {
                tracing::warn!(error = %e, "the mailbox cannot be read");
                continue;
            }
        };
        for request in requests {
            seen = request.ordinal;
            let (control, over) = match Letter::read(&request.verb, &request.body) {
                Some(Letter::Record(record)) => (Some(Control::Ask(record, Some(seen))), false),
                Some(Letter::Stop) => (Some(Control::Stop), true),
                Some(Letter::StopNow) => (Some(Control::StopNow), true),
                None => {
                    tracing::warn!(verb = request.verb, "a request that is not known is dropped");
                    (None, true)
                }
            };
            // Nothing is written down of a stop: it is over when this process has ended, in whatever way.
            if over && let Err(e) = journal.drop_requests(vec![seen]).await {
                tracing::warn!(error = %e, "a request cannot be taken out of the mailbox");
            }
            if let Some(control) = control
                && tell.send(control).await.is_err()
            {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use basb_core::ServiceName;
    use basb_core::run::{Outcome, Verb};

    #[test]
    fn only_what_operators_may_say_is_taken() {
        let by = "ann@box pid 1".to_owned();
        let asked = Letter::Record(Box::new(Record::Request { service: None, verb: Verb::Pause, by, order: None }));
        let (word, body) = asked.written();
        let read = Letter::read(word, &body);
        assert!(matches!(read, Some(Letter::Record(record)) if matches!(*record, Record::Request { .. })));
        let service = ServiceName::new("web").unwrap();
        let forged = Record::Outcome { service, id: 1, outcome: Outcome::Elapsed };
        assert!(Letter::read(RECORD, &serde_json::to_string(&forged).unwrap()).is_none());
        assert!(Letter::read("nonsense", "{}").is_none());
        assert!(matches!(Letter::read(STOP, "{}"), Some(Letter::Stop)));
        assert!(matches!(Letter::read(STOP_NOW, "{}"), Some(Letter::StopNow)));
    }
}
