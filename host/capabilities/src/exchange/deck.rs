//! What records a call's exchanges, or plays them back: the tape while it runs.

use super::{Ask, Stop};
use crate::LogLevel;
use basb_core::Digest;
use basb_redact::Redactor;
use basb_tape::{Class, Divergence, Exchange};
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most that one tape holds, in bytes: a plugin that has more sent to it is not to fill the host's memory twice.
const MOST: usize = 64 << 20;

/// What a call is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The plugin's name in the deployment file.
    pub plugin: Arc<str>,
    /// The digest of its bytes.
    pub digest: Arc<Digest>,
    /// The function.
    pub function: &'static str,
    /// Its arguments, as JSON.
    pub args: String,
}

/// Exchanges that are to be made durable.
#[derive(Debug, Clone)]
pub struct Page {
    /// The call that they belong to.
    pub head: Arc<Head>,
    /// Each with its number from 1; one that was written before is written again once it has its answer.
    pub exchanges: Vec<(u64, Exchange)>,
}

/// Makes exchanges durable before they have an effect.
pub trait WriteAhead: Send + Sync + std::fmt::Debug {
    /// Returns when the page is durable. An error says why it is not; nothing leaves the host then.
    fn write(&self, page: Page) -> BoxFuture<'_, Result<(), String>>;
}

/// How a call is compared with the tape that is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matching {
    /// Exchange for exchange, the lines of the log too.
    Exact,
    /// Whatever it asks for is looked for on the tape, and the first difference in the order is noted. Lines of the log
    /// are left out.
    Compare,
    /// Whatever it asks for is looked for on the tape, in whatever order: for a guest that races its requests.
    BestEffort,
}

/// What is done with a call's tape.
#[derive(Debug, Clone)]
pub enum Taping {
    /// It is recorded.
    Record {
        /// Makes it durable as it goes; none for a call that changes nothing.
        ahead: Option<Arc<dyn WriteAhead>>,
    },
    /// It is played as far as it goes, and the call goes on behind its end: a call that was cut off.
    Resume {
        /// The arguments of the call that was cut off.
        args: String,
        /// What was recorded of it.
        exchanges: Vec<Exchange>,
        /// How the two are compared.
        matching: Matching,
        /// Makes it durable as it goes on.
        ahead: Option<Arc<dyn WriteAhead>>,
    },
    /// It is played and nothing else: no door is opened, the call ends where the tape does.
    Play {
        /// What was recorded.
        exchanges: Vec<Exchange>,
        /// How the two are compared.
        matching: Matching,
    },
}

/// A call's tape when it is over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recorded {
    /// Its arguments, as JSON.
    pub args: String,
    /// What it asked for and wrote, in order.
    pub exchanges: Vec<Exchange>,
    /// Whether there were more than a tape holds; there are none then.
    pub cut: bool,
    /// Where it first differs from the tape that was played.
    pub divergence: Option<Divergence>,
    /// Whether the tape that was played ends with a question that was never answered, and the call came to it.
    pub cut_off: bool,
}

/// What happens to something that a call asks for.
pub(super) enum Next<R> {
    /// The answer was on the tape.
    Played(R),
    /// It goes through the door, and onto the tape at this place.
    Live(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Record,
    Resume(Matching),
    Play(Matching),
}

/// The tape of a call that is running.
#[derive(Debug)]
pub(super) struct Deck {
    head: Arc<Head>,
    redactor: Redactor,
    mode: Mode,
    ahead: Option<Arc<dyn WriteAhead>>,
    tape: Mutex<Running>,
    /// One page at a time: a later one may hold the answer to an earlier one's question.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Running {
    slots: Vec<Slot>,
    /// How many slots came with the tape that is played.
    given: usize,
    /// No slot in front of this one is left to be played.
    from: usize,
    size: usize,
    cut: bool,
    divergence: Option<Divergence>,
    stop: Option<Stop>,
}

#[derive(Debug)]
struct Slot {
    exchange: Exchange,
    played: bool,
    written: Durable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durable {
    Nothing,
    Ask,
    Answer,
}

impl Slot {
    fn new(ask: String) -> Self {
        Self { exchange: Exchange { ask, answer: None }, played: true, written: Durable::Nothing }
    }

    /// How much of it there is to be written.
    fn state(&self) -> Durable {
        if self.exchange.answer.is_some() { Durable::Answer } else { Durable::Ask }
    }
}

impl Running {
    /// The first slot that is left to be played.
    fn next(&mut self) -> Option<usize> {
        while self.from < self.given && self.slots.get(self.from).is_some_and(|slot| slot.played) {
            self.from += 1;
        }
        (self.from < self.given).then_some(self.from)
    }

    fn next_ask(&self) -> Option<usize> {
        let left = self.slots.iter().enumerate().take(self.given).skip(self.from);
        left.into_iter().find(|(_, slot)| !slot.played && !slot.exchange.is_log()).map(|(at, _)| at)
    }

    fn find(&self, ask: &str) -> Option<usize> {
        let left = self.slots.iter().enumerate().take(self.given).skip(self.from);
        left.into_iter().find(|(_, slot)| !slot.played && slot.exchange.ask == ask).map(|(at, _)| at)
    }

    fn ask_at(&self, at: usize) -> Option<&str> {
        self.slots.get(at).map(|slot| slot.exchange.ask.as_str())
    }

    fn play(&mut self, at: usize) {
        if let Some(slot) = self.slots.get_mut(at) {
            slot.played = true;
        }
    }

    fn push(&mut self, ask: String) -> usize {
        self.grow(ask.len());
        self.slots.push(Slot::new(if self.cut { String::new() } else { ask }));
        self.slots.len() - 1
    }

    fn grow(&mut self, bytes: usize) {
        self.size = self.size.saturating_add(bytes);
        self.cut |= self.size > MOST;
    }

    fn differs(&mut self, class: Class, at: Option<usize>, actual: Option<&str>) -> Stop {
        let divergence = Divergence {
            class,
            exchange: at.unwrap_or(self.given) as u64 + 1,
            expected: at.and_then(|at| self.ask_at(at)).map(str::to_owned),
            actual: actual.map(str::to_owned),
        };
        let first = self.divergence.get_or_insert(divergence).clone();
        let stop = Stop::Diverged(Box::new(first));
        self.stop = Some(stop.clone());
        stop
    }
}

impl Deck {
    pub(super) fn new(head: Head, redactor: Redactor, taping: Taping) -> Result<Self, Stop> {
        let head = Head { args: clean(&redactor, head.args), ..head };
        let (mode, ahead, given) = match taping {
            Taping::Record { ahead } => (Mode::Record, ahead, Vec::new()),
            Taping::Play { exchanges, matching } => (Mode::Play(matching), None, exchanges),
            Taping::Resume { args, exchanges, matching, ahead } => {
                if args != head.args {
                    return Err(Stop::Diverged(Box::new(Divergence {
                        class: Class::OtherArguments,
                        exchange: 0,
                        expected: Some(args),
                        actual: Some(head.args),
                    })));
                }
                (Mode::Resume(matching), ahead, exchanges)
            }
        };
        let slots: Vec<Slot> = given
            .into_iter()
            // Whether all of it is on the disk is not known here: it is written once more with the next change.
            .map(|exchange| Slot { exchange, played: false, written: Durable::Nothing })
            .collect();
        let tape = Running { given: slots.len(), slots, ..Running::default() };
        let writing = tokio::sync::Mutex::new(());
        Ok(Self { head: Arc::new(head), redactor, mode, ahead, tape: Mutex::new(tape), writing })
    }

    fn tape(&self) -> MutexGuard<'_, Running> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what comes next is on the tape already.
    pub(super) fn plays(&self) -> bool {
        match self.mode {
            Mode::Record => false,
            Mode::Resume(_) => self.tape().next().is_some(),
            Mode::Play(_) => true,
        }
    }

    pub(super) fn stopped(&self) -> Option<Stop> {
        self.tape().stop.clone()
    }

    /// What happens to something that the call asks for.
    pub(super) fn next<R: DeserializeOwned>(&self, ask: &Ask) -> Result<Next<R>, Stop> {
        let text = self.text(ask);
        let mut tape = self.tape();
        if let Some(stop) = &tape.stop {
            return Err(stop.clone());
        }
        let at = match self.mode {
            Mode::Record => return Ok(Next::Live(tape.push(text))),
            Mode::Resume(matching) | Mode::Play(matching) => self.place(&mut tape, ask, &text, matching)?,
        };
        let Some(at) = at else { return Ok(Next::Live(tape.push(text))) };
        tape.play(at);
        let answer = tape.slots.get(at).and_then(|slot| slot.exchange.answer.as_deref());
        match (answer, self.mode) {
            (Some(answer), _) => match serde_json::from_str(answer) {
                Ok(answer) => Ok(Next::Played(answer)),
                // No answer to this question: the tape was changed, or a version of the host wrote it that knew more.
                Err(_) => Err(tape.differs(Class::Missing, Some(at), Some(&text))),
            },
            // It may have been sent, and it may not: it is sent again, with the same idempotency key in it.
            (None, Mode::Record | Mode::Resume(_)) => Ok(Next::Live(at)),
            (None, Mode::Play(_)) => {
                tape.stop = Some(Stop::CutOff);
                Err(Stop::CutOff)
            }
        }
    }

    /// Where a question stands on the tape that is played; none when it is to go through the door.
    fn place(&self, tape: &mut Running, ask: &Ask, text: &str, matching: Matching) -> Result<Option<usize>, Stop> {
        let extra = if ask.reads() { Class::ExtraRead } else { Class::ExtraWrite };
        let live = matches!(self.mode, Mode::Resume(_));
        let next = tape.next();
        match matching {
            Matching::Exact => match next {
                Some(next) if tape.ask_at(next) == Some(text) => Ok(Some(next)),
                Some(next) => {
                    let class = match tape.slots.get(next) {
                        Some(slot) if slot.exchange.is_log() => Class::OtherLog,
                        _ if tape.find(text).is_some() => Class::Reordered,
                        _ => extra,
                    };
                    Err(tape.differs(class, Some(next), Some(text)))
                }
                None if live => Ok(None),
                None => Err(tape.differs(extra, None, Some(text))),
            },
            Matching::Compare | Matching::BestEffort => match tape.find(text) {
                Some(found) => {
                    let first = tape.next_ask();
                    if matching == Matching::Compare && first != Some(found) {
                        // Noted, and gone on with: what comes after may be worse.
                        tape.differs(Class::Reordered, first, Some(text));
                        tape.stop = None;
                    }
                    Ok(Some(found))
                }
                None if live => Ok(None),
                None => {
                    let next = tape.next_ask();
                    // What is not on the tape at all says more than that the order is another one.
                    tape.divergence = None;
                    Err(tape.differs(extra, next, Some(text)))
                }
            },
        }
    }

    pub(super) fn answered(&self, at: usize, answer: &impl Serialize) {
        let text = self.text(answer);
        let mut tape = self.tape();
        tape.grow(text.len());
        if tape.cut {
            return;
        }
        if let Some(slot) = tape.slots.get_mut(at) {
            slot.exchange.answer = Some(text);
        }
    }

    pub(super) fn logged(&self, level: LogLevel, text: String) -> Result<(), Stop> {
        let text = self.text(&Ask::Log { level, text });
        let mut tape = self.tape();
        if let Some(stop) = &tape.stop {
            return Err(stop.clone());
        }
        match self.mode {
            Mode::Record => {
                tape.push(text);
            }
            Mode::Resume(Matching::Exact) | Mode::Play(Matching::Exact) => match tape.next() {
                Some(next) if tape.ask_at(next) == Some(text.as_str()) => tape.play(next),
                None if matches!(self.mode, Mode::Resume(_)) => {
                    tape.push(text);
                }
                next => return Err(tape.differs(Class::OtherLog, next, Some(&text))),
            },
            Mode::Resume(_) => match tape.find(&text) {
                Some(found) => tape.play(found),
                None => {
                    tape.push(text);
                }
            },
            Mode::Play(_) => {}
        }
        Ok(())
    }

    /// Makes everything so far durable.
    pub(super) async fn write_ahead(&self) -> Result<(), Stop> {
        let Some(ahead) = &self.ahead else { return Ok(()) };
        let _one = self.writing.lock().await;
        let fail = |why: String| {
            let stop = Stop::NotDurable(why);
            self.tape().stop = Some(stop.clone());
            Err(stop)
        };
        let (exchanges, cut) = {
            let tape = self.tape();
            let left = (1_u64..).zip(&tape.slots).filter(|(_, slot)| slot.written != slot.state());
            (left.map(|(number, slot)| (number, slot.exchange.clone())).collect::<Vec<_>>(), tape.cut)
        };
        if cut {
            return fail(format!("one call exchanged more than {} MiB", MOST >> 20));
        }
        if exchanges.is_empty() {
            return Ok(());
        }
        let states: Vec<(u64, Durable)> = exchanges
            .iter()
            .map(|(number, e)| (*number, if e.answer.is_some() { Durable::Answer } else { Durable::Ask }))
            .collect();
        if let Err(why) = ahead.write(Page { head: Arc::clone(&self.head), exchanges }).await {
            return fail(why);
        }
        let mut tape = self.tape();
        for (number, state) in states {
            let at = usize::try_from(number).unwrap_or(usize::MAX).saturating_sub(1);
            if let Some(slot) = tape.slots.get_mut(at) {
                slot.written = state;
            }
        }
        Ok(())
    }

    /// What is on the tape now that the call is over.
    pub(super) fn recorded(&self) -> Recorded {
        let mut tape = self.tape();
        // What is left to be played was not asked for; after a stop it could not be.
        if tape.stop.is_none() && tape.divergence.is_none() {
            let left = match self.mode {
                Mode::Record | Mode::Resume(Matching::Compare | Matching::BestEffort) => None,
                Mode::Resume(Matching::Exact) | Mode::Play(Matching::Exact) => tape.next(),
                Mode::Play(Matching::Compare | Matching::BestEffort) => tape.next_ask(),
            };
            if let Some(left) = left {
                let log = tape.slots.get(left).is_some_and(|slot| slot.exchange.is_log());
                tape.differs(if log { Class::OtherLog } else { Class::Missing }, Some(left), None);
            }
        }
        Recorded {
            args: self.head.args.clone(),
            cut: tape.cut,
            exchanges: {
                let slots = std::mem::take(&mut tape.slots);
                if tape.cut { Vec::new() } else { slots.into_iter().map(|slot| slot.exchange).collect() }
            },
            divergence: tape.divergence.clone(),
            cut_off: tape.stop == Some(Stop::CutOff),
        }
    }

    fn text(&self, value: &impl Serialize) -> String {
        // What is asked and answered holds nothing that JSON cannot.
        clean(&self.redactor, serde_json::to_string(value).unwrap_or_default())
    }
}

/// The text without any secret that the redactor knows. A plugin never sees one, so this changes nothing unless something
/// else failed.
fn clean(redactor: &Redactor, text: String) -> String {
    if redactor.is_empty() {
        return text;
    }
    match redactor.text(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(clean) if serde_json::from_str::<serde::de::IgnoredAny>(&clean).is_ok() => clean,
        Cow::Owned(_) => "{\"unreadable\":\"it held a secret where none can be replaced\"}".to_owned(),
    }
}
