//! What is asked of a run that another process is at work on: left in the journal, taken by that process.

use crate::drive::Control;
use basb_core::RunId;
use basb_core::run::Record;
use basb_journal::Journal;
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

/// What is asked, as word and body.
pub fn letter(control: &Control) -> (&'static str, String) {
    match control {
        // Records hold nothing that JSON cannot.
        Control::Ask(record) => (RECORD, serde_json::to_string(record).unwrap_or_default()),
        Control::Stop => (STOP, "{}".to_owned()),
        Control::StopNow => (STOP_NOW, "{}".to_owned()),
    }
}

/// What a letter asks; nothing for one that no operator can have meant.
fn read(word: &str, body: &str) -> Option<Control> {
    match word {
        STOP => Some(Control::Stop),
        STOP_NOW => Some(Control::StopNow),
        RECORD => match serde_json::from_str(body).ok()? {
            // Only what operators may say: an outcome or an intent is nobody's to write but the process at work.
            record @ (Record::Request { .. } | Record::Approval { .. }) => Some(Control::Ask(Box::new(record))),
            _ => None,
        },
        _ => None,
    }
}

/// Looks into the mailbox until nobody listens; to be aborted.
pub async fn watch(journal: Arc<Journal>, run: RunId, tell: mpsc::Sender<Control>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let requests = match journal.take_requests(&run).await {
            Ok(requests) => requests,
            Err(e) => {
                tracing::warn!(error = %e, "the mailbox cannot be read");
                continue;
            }
        };
        for request in requests {
            match read(&request.verb, &request.body) {
                Some(control) => {
                    if tell.send(control).await.is_err() {
                        return;
                    }
                }
                None => tracing::warn!(verb = request.verb, "a request that is not known"),
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
        let asked = Control::Ask(Box::new(Record::Request { service: None, verb: Verb::Pause, by, order: None }));
        let (word, body) = letter(&asked);
        assert!(matches!(read(word, &body), Some(Control::Ask(record)) if matches!(*record, Record::Request { .. })));
        let service = ServiceName::new("web").unwrap();
        let forged = Record::Outcome { service, id: 1, outcome: Outcome::Elapsed };
        assert!(read(RECORD, &serde_json::to_string(&forged).unwrap()).is_none());
        assert!(read("nonsense", "{}").is_none());
        assert!(matches!(read(STOP, "{}"), Some(Control::Stop)));
        assert!(matches!(read(STOP_NOW, "{}"), Some(Control::StopNow)));
    }
}
