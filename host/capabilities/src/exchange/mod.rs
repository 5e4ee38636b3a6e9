//! The one way from a plugin to the doors: everything that a call asks for passes here, whatever interface and version it
//! came by (`wasi:http` included), and is put on the call's tape, or played back from it.
//!
//! Stops a plugin from doing something that is on no tape: there is no other way to the doors. When a tape is played
//! offline, no door is opened at all: the answer is on the tape, or the call ends.
//!
//! A call that changes something is **written ahead** ([`WriteAhead`]): what it asked for is durable before it leaves the
//! host, and the answer before the plugin sees it, so that a call that is cut off at any point can be made again over its
//! tape and goes on where it was.

mod ask;
mod deck;
pub mod form;

pub use ask::{Ask, Path, Write};
pub use basb_tape::{Class, Divergence, Exchange};
pub use deck::{Head, Matching, Page, Recorded, Taping, WriteAhead};

use crate::log::LogExhausted;
use crate::{CallScope, Capabilities, LogLevel, exec, files, http, smtp, tcp};
use basb_core::Digest;
use deck::{Deck, Next};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Why a call is not to go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// It wrote too much to the log.
    #[error(transparent)]
    Log(#[from] LogExhausted),
    /// It is not what is on its tape.
    #[error("the call differs from its tape: {0}")]
    Diverged(Box<Divergence>),
    /// The tape ends where the call was cut off.
    #[error("the tape ends here: the call was cut off while it waited for an answer")]
    CutOff,
    /// What it wanted to do could not be made durable before it was done, so it was not done.
    #[error("nothing was sent, since it could not be written down first: {0}")]
    NotDurable(String),
}

/// An answer, as it is read from a tape.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Reply<T, E> {
    Ok(T),
    Error(E),
}

impl<T, E> From<Reply<T, E>> for Result<T, E> {
    fn from(reply: Reply<T, E>) -> Self {
        match reply {
            Reply::Ok(value) => Ok(value),
            Reply::Error(error) => Err(error),
        }
    }
}

/// The same as it is written to one.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Written<'a, T, E> {
    Ok(&'a T),
    Error(&'a E),
}

impl<'a, T, E> From<&'a Result<T, E>> for Written<'a, T, E> {
    fn from(result: &'a Result<T, E>) -> Self {
        match result {
            Ok(value) => Self::Ok(value),
            Err(error) => Self::Error(error),
        }
    }
}

/// The way from one call to the doors.
#[derive(Debug)]
pub struct Exchanges {
    scope: CallScope,
    capabilities: Capabilities,
    deck: Option<Deck>,
}

impl Exchanges {
    /// The way of a call whose exchanges are kept on no tape.
    #[must_use]
    pub fn new(scope: CallScope, capabilities: Capabilities) -> Self {
        Self { scope, capabilities, deck: None }
    }

    /// The way of a call with a tape. `args` are its arguments as JSON.
    ///
    /// # Errors
    /// [`Stop::Diverged`] when the tape that is to be played belongs to a call with other arguments.
    pub fn taped(scope: CallScope, capabilities: Capabilities, args: String, taping: Taping) -> Result<Self, Stop> {
        let head = Head {
            plugin: Arc::clone(&scope.caller.plugin),
            digest: Arc::clone(&scope.caller.digest),
            function: scope.caller.call,
            args,
        };
        let deck = Deck::new(head, capabilities.redactor().clone(), taping)?;
        Ok(Self { scope, capabilities, deck: Some(deck) })
    }

    /// Who asks.
    #[must_use]
    pub fn scope(&self) -> &CallScope {
        &self.scope
    }

    /// The bounds of the call.
    #[must_use]
    pub fn limits(&self) -> &crate::Limits {
        self.capabilities.limits()
    }

    /// What was put on the tape so far, and how the call differs from the tape that was played; taken once.
    #[must_use]
    pub fn recorded(&self) -> Option<Recorded> {
        self.deck.as_ref().map(Deck::recorded)
    }

    /// Where the call differs from the tape that is played, if it does by now.
    #[must_use]
    pub fn diverged(&self) -> Option<Stop> {
        self.deck.as_ref().and_then(Deck::stopped)
    }

    /// The one choke point: from the tape, or through the door and onto the tape.
    async fn through<T, E>(&self, ask: Ask, live: impl Future<Output = Result<T, E>>) -> Result<Result<T, E>, Stop>
    where
        T: Serialize + DeserializeOwned,
        E: Serialize + DeserializeOwned,
    {
        let Some(deck) = &self.deck else { return Ok(live.await) };
        let slot = match deck.next::<Reply<T, E>>(&ask)? {
            Next::Played(answer) => {
                self.note_played(&ask);
                return Ok(answer.into());
            }
            Next::Live(slot) => slot,
        };
        let ahead = !ask.reads();
        if ahead {
            deck.write_ahead().await?;
        }
        let answer = live.await;
        deck.answered(slot, &Written::from(&answer));
        if ahead {
            deck.write_ahead().await?;
        }
        Ok(answer)
    }

    /// An access to a file: the access itself, or what stands in its place.
    async fn file<T>(
        &self,
        ask: Ask,
        live: impl Future<Output = Result<T, files::FilesError>> + Send,
    ) -> Result<Result<T, files::FilesError>, Stop>
    where
        T: Serialize + DeserializeOwned + Send,
    {
        let Some(outside) = self.capabilities.outside() else { return self.through(ask, live).await };
        let about = ask.clone();
        let text = async { serde_json::to_string(&Written::from(&live.await)).unwrap_or_default() };
        let answer = async {
            let text = outside.file(&about, Box::pin(text)).await;
            let read = serde_json::from_str::<Reply<T, files::FilesError>>(&text);
            read.map_or_else(|e| Err(files::FilesError::Other(e.to_string())), Result::from)
        };
        self.through(ask, answer).await
    }

    /// What was done before the call was cut off belongs to the record of what it did.
    fn note_played(&self, ask: &Ask) {
        let counters = &self.scope.counters;
        let (limits, redactor) = (self.capabilities.limits(), self.capabilities.redactor());
        if let Some(recording) = counters.begin(ask.capability(), &ask.shown(), limits, redactor) {
            recording.allow(0, Vec::new());
            recording.finish("from the tape");
        }
    }

    /// One HTTP request.
    ///
    /// # Errors
    /// [`Stop`].
    pub async fn http(&self, request: http::Request) -> Result<Result<http::Response, http::HttpError>, Stop> {
        let live = self.capabilities.http().send(&self.scope, request.clone());
        self.through(Ask::Http(request), live).await
    }

    /// Several HTTP requests at once.
    ///
    /// # Errors
    /// [`Stop`].
    pub async fn http_many(
        &self,
        requests: Vec<http::Request>,
    ) -> Result<Vec<Result<http::Response, http::HttpError>>, Stop> {
        let sending = requests.clone();
        let live = async {
            let all = self.capabilities.http().send_many(&self.scope, sending).await;
            Ok::<Many, ()>(Many(all))
        };
        let many = self.through(Ask::HttpMany(requests), live).await?;
        // The list itself cannot fail: each of its answers can.
        Ok(many.unwrap_or_default().0)
    }

    /// One exchange over TCP.
    ///
    /// # Errors
    /// [`Stop`].
    pub async fn tcp(&self, exchange: tcp::Exchange) -> Result<Result<tcp::Reply, tcp::TcpError>, Stop> {
        let live = self.capabilities.tcp().run(&self.scope, exchange.clone());
        self.through(Ask::Tcp(exchange), live).await
    }

    /// A program.
    ///
    /// # Errors
    /// [`Stop`].
    pub async fn exec(&self, command: exec::Command) -> Result<Result<exec::Output, exec::ExecError>, Stop> {
        let live = self.capabilities.exec().run(&self.scope, command.clone());
        self.through(Ask::Exec(command), live).await
    }

    /// A file's content.
    ///
    /// # Errors
    /// [`Stop`].
    pub async fn read_file(&self, at: Path) -> Result<Result<files::File, files::FilesError>, Stop> {
        let live = self.capabilities.files().read(&self.scope, &at.folder, &at.path);
        self.file(Ask::FilesRead(at.clone()), live).await
    }

    /// Writes a file.
    ///
    /// # Errors
    /// [`Stop`].
    pub async fn write_file(&self, write: Write) -> Result<Result<Digest, files::FilesError>, Stop> {
        let Write { folder, path, contents, expect } = write.clone();
        let live = async { self.capabilities.files().write(&self.scope, &folder, &path, contents, expect).await };
        self.file(Ask::FilesWrite(write), live).await
    }

    /// The entries of a folder.
    ///
    /// # Errors
    /// [`Stop`].
    pub async fn list_files(&self, at: Path) -> Result<Result<Vec<files::Entry>, files::FilesError>, Stop> {
        let live = self.capabilities.files().list(&self.scope, &at.folder, &at.path);
        self.file(Ask::FilesList(at.clone()), live).await
    }

    /// Removes a file.
    ///
    /// # Errors
    /// [`Stop`].
    pub async fn remove_file(&self, at: Path) -> Result<Result<(), files::FilesError>, Stop> {
        let live = self.capabilities.files().remove(&self.scope, &at.folder, &at.path);
        self.file(Ask::FilesRemove(at.clone()), live).await
    }

    /// A mail.
    ///
    /// # Errors
    /// [`Stop`].
    pub async fn send_mail(&self, message: smtp::Message) -> Result<Result<String, smtp::SmtpError>, Stop> {
        let live = self.capabilities.smtp().send(&self.scope, message.clone());
        self.through(Ask::Smtp(message), live).await
    }

    /// Writes a line to the log.
    ///
    /// # Errors
    /// [`Stop`].
    pub fn log(&self, level: LogLevel, message: &str) -> Result<(), Stop> {
        let log = self.capabilities.log();
        let Some(deck) = &self.deck else {
            return Ok(log.write(&self.scope, level, message).map(|_| ())?);
        };
        let text = if deck.plays() {
            log.write_again(&self.scope, level, message)?
        } else {
            log.write(&self.scope, level, message)?
        };
        deck.logged(level, text)
    }
}

/// Answers to several requests.
#[derive(Default)]
struct Many(Vec<Result<http::Response, http::HttpError>>);

impl Serialize for Many {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().map(Written::from))
    }
}

impl<'de> Deserialize<'de> for Many {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let all = Vec::<Reply<http::Response, http::HttpError>>::deserialize(from)?;
        Ok(Self(all.into_iter().map(Result::from).collect()))
    }
}

#[cfg(test)]
mod tests;
