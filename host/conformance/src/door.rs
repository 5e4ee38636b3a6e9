//! Where a plugin's exchanges pass on their way to the counterpart, are counted, and meet the fault.

use crate::clock::Clock;
use crate::counterpart::{Answered, Counterpart, Sent};
use crate::fault::{DoorKind, Fault, Seen};
use basb_capabilities::exchange::Ask;
use basb_capabilities::exec::{Command, ExecError, Output};
use basb_capabilities::http::answer::Raw;
use basb_capabilities::http::{HttpError, Ready, Timing};
use basb_capabilities::outside::Outside;
use basb_capabilities::smtp::{Message, SmtpError};
use basb_capabilities::tcp::{Exchange, Reply, TcpError};
use basb_core::Timestamp;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use url::Url;

/// What `retry-after` says, in seconds.
const RETRY_AFTER: u64 = 7;

/// So often may be asked for what is refused for good, until the operation has failed.
const REFUSALS: u32 = 3;

/// So often may one call ask for what cannot be had for now: it cannot wait, so further attempts are the host's.
const ATTEMPTS: u32 = 3;

/// How long an exchange takes, in microseconds: an answer without any time looks like none.
const TOOK: Timing = Timing { connected: 300, head: 900, total: 1000 };

/// The door.
#[derive(Debug)]
pub struct Door {
    counterpart: Arc<dyn Counterpart>,
    clock: Clock,
    inner: Mutex<Inner>,
    killed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    seen: Vec<Seen>,
    armed: Option<(usize, Fault)>,
    hit: bool,
    most: usize,
    violations: Vec<String>,
    /// Answers to reads, by what was asked for: the last, and the one before it that differs.
    reads: BTreeMap<String, (Answered, Option<Answered>)>,
    files: BTreeMap<String, (String, Option<String>)>,
    /// What is not to be asked for again before a time; with the call that was told so.
    waits: BTreeMap<String, (Timestamp, u64)>,
    lasting: Option<Lasting>,
    /// How many answers were not as they should be. One of a moment ago is as it may be.
    faults: u32,
    /// What was asked for when the fault happened, and whether it was asked for again and answered as it should be.
    at: Option<String>,
    made_good: bool,
    call: u64,
}

/// A fault that goes on until the operation has failed.
#[derive(Debug)]
struct Lasting {
    key: String,
    fault: Fault,
    /// How often it was met; by 503 and broken connections: in this call.
    met: u32,
    call: u64,
}

/// What the door knows, while something is asked for that is no part of the run.
#[derive(Debug)]
pub struct Aside(Inner);

/// What was read through a door, for stale reads.
#[derive(Debug, Clone, Default)]
pub struct Remembered {
    reads: BTreeMap<String, (Answered, Option<Answered>)>,
    files: BTreeMap<String, (String, Option<String>)>,
}

/// What happens to one exchange.
enum Turn {
    Straight,
    With(Fault),
    /// There were too many.
    Endless,
}

impl Door {
    /// A door to a counterpart.
    #[must_use]
    pub fn new(counterpart: Arc<dyn Counterpart>, clock: Clock) -> Self {
        Self { counterpart, clock, inner: Mutex::default(), killed: Notify::new() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counterpart behind it.
    #[must_use]
    pub fn counterpart(&self) -> &Arc<dyn Counterpart> {
        &self.counterpart
    }

    /// Forgets everything, and lets `fault` happen at the exchange of this number, from 0. More than `most` exchanges are
    /// taken for a plugin that never ends.
    pub fn arm(&self, fault: Option<(usize, Fault)>, most: usize) {
        let mut inner = self.inner();
        // What was read before stays known: a stale read shows it.
        let (reads, files) = (std::mem::take(&mut inner.reads), std::mem::take(&mut inner.files));
        *inner = Inner { armed: fault, most, reads, files, ..Inner::default() };
    }

    /// Forgets what was read.
    pub fn forget(&self) {
        self.recall(Remembered::default());
    }

    /// What was read so far.
    #[must_use]
    pub fn remembered(&self) -> Remembered {
        let inner = self.inner();
        Remembered { reads: inner.reads.clone(), files: inner.files.clone() }
    }

    /// Goes back to what was read by then.
    pub fn recall(&self, remembered: Remembered) {
        let mut inner = self.inner();
        inner.reads = remembered.reads;
        inner.files = remembered.files;
    }

    /// The counterpart is well again.
    pub fn heal(&self) {
        let mut inner = self.inner();
        inner.lasting = None;
        inner.armed = None;
    }

    /// From now on nothing is counted, and no fault happens, until [`Door::put_back`].
    #[must_use]
    pub fn set_aside(&self) -> Aside {
        let mut inner = self.inner();
        let most = inner.most;
        Aside(std::mem::replace(&mut *inner, Inner { most, ..Inner::default() }))
    }

    /// Everything is as it was when it was set aside.
    pub fn put_back(&self, aside: Aside) {
        *self.inner() = aside.0;
    }

    /// How many answers were not as they should be.
    #[must_use]
    pub fn faults(&self) -> u32 {
        self.inner().faults
    }

    /// Whether what met the fault was asked for once more, and answered as it should be.
    #[must_use]
    pub fn was_made_good(&self) -> bool {
        self.inner().made_good
    }

    /// The fault has not happened after all.
    fn missed(&self) {
        self.inner().hit = false;
    }

    /// A call begins.
    pub fn begin(&self) {
        self.inner().call += 1;
    }

    /// Whether the fault has happened.
    #[must_use]
    pub fn was_hit(&self) -> bool {
        self.inner().hit
    }

    /// The exchanges since it was armed.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.inner().seen.clone()
    }

    /// What the plugin did that no plugin may do.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.inner().violations.clone()
    }

    /// Returns when the host is killed.
    pub async fn killed(&self) {
        self.killed.notified().await;
    }

    /// The host's end: nothing comes after it.
    async fn die<T>(&self) -> T {
        self.killed.notify_one();
        std::future::pending().await
    }

    /// Counts an exchange, and says what happens to it. `thing` tells what is asked for from everything else.
    fn turn(&self, door: DoorKind, what: &str, (key, thing): (&str, &str), reads: bool) -> (usize, Turn) {
        let now = self.clock.now();
        let mut inner = self.inner();
        let number = inner.seen.len();
        inner.seen.push(Seen { door, what: what.to_owned(), reads, answer: 0 });
        let call = inner.call;
        match inner.waits.get(key).copied() {
            Some((until, _)) if now < until => {
                let left = until.0 - now.0;
                inner.violations.push(format!("asked for {what} again {left} ms before `retry-after` allows it"));
            }
            Some((_, told)) if told == call => {
                inner.violations.push(format!("asked for {what} again in the same call that was told to slow down"));
            }
            Some(_) => {
                inner.waits.remove(key);
            }
            None => {}
        }
        if let Some(fault) = inner.met_again(key, what) {
            return (number, Turn::With(fault));
        }
        if number >= inner.most {
            if number == inner.most {
                let text = format!("asked for more than {} things and came to no end; last: {what}", inner.most);
                inner.violations.push(text);
            }
            return (number, Turn::Endless);
        }
        match inner.armed {
            Some((at, fault)) if at == number => {
                inner.hit = true;
                inner.armed = None;
                inner.at = Some(thing.to_owned());
                inner.faults += u32::from(fault != Fault::StaleRead);
                if fault.lasts() {
                    inner.lasting = Some(Lasting { key: key.to_owned(), fault, met: 1, call });
                }
                (number, Turn::With(fault))
            }
            _ => {
                inner.made_good |= inner.at.as_deref() == Some(thing);
                (number, Turn::Straight)
            }
        }
    }

    /// From now on, and not for what was asked for at the same time: the plugin knows only when it has the answer.
    fn told_to_wait(&self, key: &str, millis: u64) {
        let now = self.clock.now();
        let mut inner = self.inner();
        let call = inner.call;
        inner.waits.insert(key.to_owned(), (Timestamp(now.0 + millis), call));
    }

    fn answered(&self, number: usize, bytes: usize) {
        if let Some(seen) = self.inner().seen.get_mut(number) {
            seen.answer = bytes;
        }
    }

    async fn straight(&self, sent: &Sent, key: &str, number: usize) -> Result<Answered, HttpError> {
        let answer = self.counterpart.http(sent, self.clock.now()).await?;
        self.answered(number, answer.body.len());
        if sent.reads() {
            let mut inner = self.inner();
            let before = inner.reads.remove(key);
            let older = match before {
                Some((last, older)) if last == answer => older,
                Some((last, _)) => Some(last),
                None => None,
            };
            inner.reads.insert(key.to_owned(), (answer.clone(), older));
        }
        Ok(answer)
    }

    /// What was there before: as the counterpart knows it, or else as it was seen here.
    fn stale(&self, sent: &Sent, key: &str) -> Option<Answered> {
        self.counterpart.stale(sent, self.clock.now()).or_else(|| {
            let inner = self.inner();
            inner.reads.get(key).map(|(last, older)| older.clone().unwrap_or_else(|| last.clone()))
        })
    }

    async fn faulty(&self, fault: Fault, sent: &Sent, key: &str, number: usize) -> Result<Answered, HttpError> {
        let what = sent.shown();
        let said = |status, text: &str| {
            let body = serde_json::json!({ "error": { "code": "injected", "message": text } });
            Answered::json(status, &body)
        };
        let broken = || HttpError::Broken(format!("the connection for {what} broke: connection reset by peer"));
        match fault {
            Fault::ResetBefore | Fault::ResetLasting => Err(broken()),
            Fault::ThrottledRetryAfter => {
                self.told_to_wait(key, RETRY_AFTER * 1000);
                let mut answer = said(429, "too many requests");
                answer.headers.push(("retry-after".to_owned(), RETRY_AFTER.to_string()));
                Ok(answer)
            }
            Fault::Throttled => {
                self.told_to_wait(key, 0);
                Ok(said(429, "too many requests"))
            }
            Fault::ServerError => Ok(said(500, "something went wrong")),
            Fault::Unavailable | Fault::UnavailableLasting => Ok(said(503, "come back later")),
            Fault::Refused => Ok(said(403, "you may not do that")),
            Fault::KillBefore => self.die().await,
            Fault::StaleRead => {
                let stale = self.stale(sent, key);
                let answer = self.straight(sent, key, number).await;
                match (stale, answer) {
                    // What shows nothing old is no stale read.
                    (Some(stale), Ok(now)) if (stale.status, &stale.body) != (now.status, &now.body) => Ok(stale),
                    (_, answer) => {
                        self.missed();
                        answer
                    }
                }
            }
            Fault::ResetAfter
            | Fault::TimeOut
            | Fault::Truncated
            | Fault::Malformed
            | Fault::Huge
            | Fault::KillAfter => {
                let mut answer = self.straight(sent, key, number).await?;
                match fault {
                    Fault::ResetAfter => Err(broken()),
                    Fault::TimeOut => Err(HttpError::TimedOut(format!(
                        "{what} was not answered within 60000 ms: whether it had an effect is in doubt"
                    ))),
                    Fault::KillAfter => self.die().await,
                    Fault::Huge => {
                        Err(HttpError::TooLarge(format!("the answer to {what} is over the limit of 8388608 bytes")))
                    }
                    Fault::Truncated => {
                        answer.body.truncate(answer.body.len() / 2);
                        Ok(answer)
                    }
                    _ => {
                        answer.headers.retain(|(name, _)| name != "content-type");
                        answer.headers.push(("content-type".to_owned(), "text/html".to_owned()));
                        answer.body =
                            b"<html><head><title>Gateway</title></head><body>Please wait</body></html>".to_vec();
                        Ok(answer)
                    }
                }
            }
        }
    }

    async fn pass(&self, sent: &Sent) -> Result<Answered, HttpError> {
        let key = sent.key();
        let turn = self.turn(DoorKind::Http, &sent.shown(), (&key, &sent.thing()), sent.reads());
        // Whatever was asked for at once has been asked for before the first of it is answered.
        tokio::task::yield_now().await;
        match turn {
            (number, Turn::Straight) => self.straight(sent, &key, number).await,
            (number, Turn::With(fault)) => self.faulty(fault, sent, &key, number).await,
            (_, Turn::Endless) => Err(HttpError::Exhausted("the kit lets nothing more through".to_owned())),
        }
    }
}

impl Inner {
    /// The fault that goes on, if this is what met it. Whoever asks too often has not understood that it does.
    fn met_again(&mut self, key: &str, what: &str) -> Option<Fault> {
        let call = self.call;
        let lasting = self.lasting.as_mut().filter(|lasting| lasting.key == key)?;
        let fault = lasting.fault;
        if fault != Fault::Refused && lasting.call != call {
            (lasting.call, lasting.met) = (call, 0);
        }
        lasting.met += 1;
        let (met, for_good) = (lasting.met, fault == Fault::Refused);
        self.faults += 1;
        if for_good && met == REFUSALS + 1 {
            self.violations
                .push(format!("asked for {what} more than {REFUSALS} times although it is refused for good"));
        }
        if !for_good && met == ATTEMPTS + 1 {
            self.violations.push(format!(
                "asked for {what} more than {ATTEMPTS} times in one call although it cannot be had for now: fail, and \
                 the host comes back later"
            ));
        }
        Some(fault)
    }
}

/// A request that is ready, as a counterpart takes it.
fn sent(ready: &Ready) -> Result<Sent, HttpError> {
    let url = Url::parse(&ready.uri().to_string()).map_err(|e| HttpError::Invalid(e.to_string()))?;
    let header = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    Ok(Sent {
        method: ready.method().as_str().to_owned(),
        url,
        headers: ready.headers().iter().map(header).collect(),
        body: ready.body().to_vec(),
    })
}

fn raw(answer: Answered) -> Raw {
    let mut headers = HeaderMap::new();
    for (name, value) in &answer.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str())) {
            headers.append(name, value);
        }
    }
    Raw { status: answer.status, headers, body: answer.body }
}

impl Outside for Door {
    fn http<'a>(&'a self, request: &'a Ready) -> BoxFuture<'a, Result<(Raw, Timing), HttpError>> {
        Box::pin(async move {
            let sent = sent(request)?;
            Ok((raw(self.pass(&sent).await?), TOOK))
        })
    }

    fn tcp<'a>(&'a self, exchange: &'a Exchange) -> BoxFuture<'a, Result<Reply, TcpError>> {
        Box::pin(async move {
            let what = format!("TCP {}:{}", exchange.host, exchange.port);
            let straight = async |number| {
                let reply = self.counterpart.tcp(exchange, self.clock.now()).await?;
                self.answered(number, reply.received.len());
                Ok(reply)
            };
            let thing = format!("{what} {}", String::from_utf8_lossy(&exchange.send));
            match self.turn(DoorKind::Tcp, &what, (&what, &thing), exchange.send.is_empty()) {
                (number, Turn::Straight) => straight(number).await,
                (_, Turn::With(Fault::ResetBefore | Fault::ResetLasting)) => {
                    Err(TcpError::Other(format!("{what} broke: connection reset")))
                }
                (_, Turn::With(Fault::KillBefore)) => self.die().await,
                (number, Turn::With(fault)) => {
                    let mut reply = straight(number).await?;
                    match fault {
                        Fault::ResetAfter => Err(TcpError::Other(format!("{what} broke: connection reset"))),
                        Fault::TimeOut => Err(TcpError::TimedOut(format!("{what} was not answered in time"))),
                        Fault::KillAfter => self.die().await,
                        Fault::Truncated => {
                            reply.received.truncate(reply.received.len() / 2);
                            Ok(reply)
                        }
                        _ => {
                            reply.received = vec![0xff; reply.received.len()];
                            Ok(reply)
                        }
                    }
                }
                (_, Turn::Endless) => Err(TcpError::Other("the kit lets nothing more through".to_owned())),
            }
        })
    }

    fn exec<'a>(&'a self, command: &'a Command) -> BoxFuture<'a, Result<Output, ExecError>> {
        let text = format!("the kit has no counterpart for the program `{}`", command.program);
        Box::pin(async move { Err(ExecError::NotStarted(text)) })
    }

    fn mail<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<String, SmtpError>> {
        let text = format!("the kit has no counterpart for mail through `{}`", message.server);
        Box::pin(async move { Err(SmtpError::Unavailable(text)) })
    }

    fn file<'a>(&'a self, access: &'a Ask, live: BoxFuture<'a, String>) -> BoxFuture<'a, String> {
        let failed = |word: &str, text: &str| serde_json::json!({ "error": { word: text } }).to_string();
        Box::pin(async move {
            let (what, reads) = (access.shown(), access.reads());
            let straight = async |number| {
                let text = live.await;
                self.answered(number, text.len());
                if reads {
                    let mut inner = self.inner();
                    let older = match inner.files.remove(&what) {
                        Some((last, older)) if last == text => older,
                        Some((last, _)) => Some(last),
                        None => None,
                    };
                    inner.files.insert(what.clone(), (text.clone(), older));
                }
                text
            };
            match self.turn(DoorKind::Files, &what, (&what, &what), reads) {
                (number, Turn::Straight) => straight(number).await,
                (_, Turn::With(Fault::ResetBefore | Fault::ResetLasting)) => failed("other", "input/output error"),
                (_, Turn::With(Fault::Huge)) => failed("tooLarge", "the file is over the limit"),
                (_, Turn::With(Fault::Refused)) => failed("denied", "you may not do that"),
                (_, Turn::With(Fault::KillBefore)) => self.die().await,
                (number, Turn::With(Fault::StaleRead)) => {
                    let older = {
                        let inner = self.inner();
                        inner.files.get(&what).map(|(last, older)| older.clone().unwrap_or_else(|| last.clone()))
                    };
                    let now = straight(number).await;
                    match older {
                        Some(older) if older != now => older,
                        _ => {
                            self.missed();
                            now
                        }
                    }
                }
                (number, Turn::With(fault)) => {
                    let text = straight(number).await;
                    match fault {
                        Fault::ResetAfter => failed("other", "input/output error"),
                        Fault::KillAfter => self.die().await,
                        _ => text,
                    }
                }
                (_, Turn::Endless) => failed("other", "the kit lets nothing more through"),
            }
        })
    }
}

#[cfg(test)]
mod tests;
