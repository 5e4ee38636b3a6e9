//! What a plugin talks to while it is tested.
//!
//! A counterpart has a state, which can be set back and looked at, and counts what is made: how often something is asked
//! for is the plugin's affair, how often something is made is not.

mod external;
mod folder;
mod recorded;
mod stand_ins;

pub use external::{External, ExternalSetup, LONGEST_PAUSE, Place};
pub use folder::WithFolder;
pub use recorded::{Recorded, RecordedCall, RecordedExchange, Recording};
pub use stand_ins::sections as secret_sections;

use crate::KitError;
use basb_capabilities::http::HttpError;
use basb_capabilities::http::action::Action;
use basb_capabilities::tcp::{Exchange, Reply, TcpError};
use basb_core::Timestamp;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method};
use serde_json::Value;
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use url::Url;

/// A request as it goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The method.
    pub method: String,
    /// Where it goes.
    pub url: Url,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Sent {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Method and URL without its query, and the action where that tells requests apart.
    #[must_use]
    pub fn shown(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        let action = self.action().map(|action| format!(" {action}")).unwrap_or_default();
        format!("{} {url}{action}", self.method)
    }

    /// The action of AWS's protocols that have one address for everything, without its version, as the door reads it.
    #[must_use]
    pub fn action(&self) -> Option<String> {
        self.whole_action()?.rsplit('.').next().map(str::to_owned)
    }

    /// The same with its version, as grants may name it.
    #[must_use]
    pub fn whole_action(&self) -> Option<String> {
        let method = Method::from_bytes(self.method.as_bytes()).ok()?;
        let headers = self.headers.iter().filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)));
        let headers: HeaderMap = headers.collect();
        match Action::of(&method, &self.url, &headers, &self.body) {
            Action::Named(name) => Some(name),
            Action::None | Action::Unclear(_) => None,
        }
    }

    /// Whether it reads and changes nothing: by its method, or by the verb of its action.
    #[must_use]
    pub fn reads(&self) -> bool {
        let verbs = ["Describe", "List", "Get", "BatchGet"];
        matches!(self.method.as_str(), "GET" | "HEAD")
            || self.action().is_some_and(|action| verbs.iter().any(|verb| action.starts_with(verb)))
    }

    /// What tells it from other requests: method, URL, and the body of a read that has one.
    #[must_use]
    pub fn key(&self) -> String {
        let body = if self.reads() { String::from_utf8_lossy(&self.body) } else { "".into() };
        format!("{} {} {body}", self.method, self.url)
    }

    /// What is asked for: method, URL and body, without the number that JSON-RPC gives to each request anew.
    #[must_use]
    pub fn thing(&self) -> String {
        let body = match serde_json::from_slice::<Value>(&self.body) {
            Ok(Value::Object(mut body)) => {
                body.remove("id");
                Value::Object(body).to_string()
            }
            _ => String::from_utf8_lossy(&self.body).into_owned(),
        };
        format!("{} {} {body}", self.method, self.url)
    }
}

/// An answer as it comes back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Answered {
    /// An answer with a JSON body; none for null.
    #[must_use]
    pub fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        Self { status, headers, body }
    }
}

/// What is there at a counterpart, as far as two runs must agree about it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    /// Everything that is there, without what differs between two runs that did the same, such as generated ids.
    pub there: Value,
    /// How many were made so far, by what they are.
    pub made: BTreeMap<String, u64>,
    /// What nobody may ask for and was asked for, in words.
    pub violations: Vec<String>,
}

/// A state that can be gone back to.
pub type Saved = Arc<dyn Any + Send + Sync>;

/// What a plugin talks to.
pub trait Counterpart: Send + Sync + Debug {
    /// What it is, in a few words.
    fn name(&self) -> String;

    /// As at the very beginning.
    fn reset(&self) -> BoxFuture<'_, Result<(), KitError>>;

    /// Answers a request.
    fn http<'a>(&'a self, sent: &'a Sent, now: Timestamp) -> BoxFuture<'a, Result<Answered, HttpError>>;

    /// Answers a read with what was there before the last change; none where it does not know.
    fn stale(&self, _sent: &Sent, _now: Timestamp) -> Option<Answered> {
        None
    }

    /// An attempt at a step begins. Most do not care.
    fn begin(&self, _step: usize) {}

    /// Something that was asked for and that it cannot know; what came of it says nothing.
    fn unknown(&self) -> Option<String> {
        None
    }

    /// What is wrong with the counterpart itself, which no plugin is to blame for.
    fn unsound(&self) -> Option<KitError> {
        None
    }

    /// What a plugin left unread in the whole run without a fault, in words.
    ///
    /// # Errors
    /// [`KitError`] when there was nothing that it could have left unread although there should have been.
    fn unread(&self) -> Result<Option<String>, KitError> {
        Ok(None)
    }

    /// Answers an exchange over TCP.
    fn tcp<'a>(&'a self, exchange: &'a Exchange, _now: Timestamp) -> BoxFuture<'a, Result<Reply, TcpError>> {
        Box::pin(
            async move { Err(TcpError::Refused(format!("nobody listens at {}:{}", exchange.host, exchange.port))) },
        )
    }

    /// What is there now.
    fn state(&self, now: Timestamp) -> BoxFuture<'_, Result<State, KitError>>;

    /// Its state, to go back to; none where it cannot.
    fn save(&self) -> BoxFuture<'_, Result<Option<Saved>, KitError>> {
        Box::pin(async { Ok(None) })
    }

    /// Goes back to a state that [`Counterpart::save`] gave.
    fn restore<'a>(&'a self, _saved: &'a Saved) -> BoxFuture<'a, Result<(), KitError>> {
        Box::pin(async { Ok(()) })
    }

    /// Whether time passes there by itself, so that waiting takes real time.
    fn pace(&self) -> Pace {
        Pace::Virtual
    }
}

/// How time passes at a counterpart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pace {
    /// It is told the time.
    Virtual,
    /// It has a clock of its own.
    #[default]
    Real,
}
