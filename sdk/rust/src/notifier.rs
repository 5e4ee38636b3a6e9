//! Notifiers: deliver events, at least once.

use serde::de::DeserializeOwned;

use crate::bindings::notifier::exports::basb::host::notifier as wire;
use crate::context::Context;
use crate::doors::NotifierWorld;
use crate::failure::Failure;
use crate::values::{Severity, Timestamp};

pub use wire::{Info, Receipt};

/// What accompanies a notifier's call: the time, and the doors `log`, `http`, `smtp`, `files`.
pub type NotifierContext = Context<NotifierWorld>;

/// Delivers events to people and systems: at least once, with a key to tell repeats by.
pub trait Notifier {
    /// The configuration; the host has checked it against the schema in the manifest.
    type Config: DeserializeOwned;

    /// What the notifier does. Makes no request.
    fn describe() -> Info;

    /// Delivers one event. The same key again is the same event.
    ///
    /// # Errors
    /// The host repeats a failure that says so.
    fn notify(cx: &NotifierContext, config: &Self::Config, event: &Event) -> Result<Receipt, Failure>;
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The same for every delivery of the same event.
    pub key: String,
    /// When it happened.
    pub at: Timestamp,
    /// Such as `run.finished`.
    pub kind: String,
    /// How much it matters.
    pub severity: Severity,
    /// The deployment.
    pub deployment: String,
    /// The environment.
    pub environment: String,
    /// The run.
    pub run: String,
    /// The service, if it is about one.
    pub service: Option<String>,
    /// The revision, if it is about one.
    pub revision: Option<String>,
    /// In one line.
    pub title: String,
    /// The whole event in the host's event format, as JSON.
    pub data: String,
}

impl Event {
    /// The whole event in the host's event format.
    ///
    /// # Errors
    /// [`crate::FailureCode::Invalid`] where it is not of that shape.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(self.data.as_bytes())
            .map_err(|error| Failure::invalid(format!("the event's data is not as expected: {error}")))
    }
}

impl Info {
    /// Wants every event.
    pub fn every_event() -> Info {
        Info { events: Vec::new(), extras: Vec::new() }
    }

    /// Wants these kinds; a trailing `*` stands for the rest.
    pub fn events<S: Into<String>>(kinds: impl IntoIterator<Item = S>) -> Info {
        Info { events: kinds.into_iter().map(Into::into).collect(), extras: Vec::new() }
    }
}

impl Receipt {
    /// What was delivered, in one line.
    pub fn new(summary: impl Into<String>) -> Receipt {
        Receipt { summary: summary.into(), extras: Vec::new() }
    }

    /// A named value for which no field exists yet.
    #[must_use]
    pub fn extra(mut self, name: impl Into<String>, value: impl Into<String>) -> Receipt {
        self.extras.push((name.into(), value.into()));
        self
    }
}

impl From<wire::Event> for Event {
    fn from(event: wire::Event) -> Event {
        Event {
            key: event.key,
            at: Timestamp(event.at),
            kind: event.kind,
            severity: event.severity,
            deployment: event.deployment,
            environment: event.environment,
            run: event.run,
            service: event.service,
            revision: event.revision,
            title: event.title,
            data: event.data,
        }
    }
}
