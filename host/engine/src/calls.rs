//! Calls of plugins on their way into the journal: what they did outside for the audit, their tapes for replay, and what
//! changes something written ahead.

use crate::clock::now;
use crate::lease::Holding;
use basb_capabilities::exchange::{Exchange, Matching, Page, Taping, WriteAhead};
use basb_capabilities::{HostCall, Verdict};
use basb_core::run::{Admission, OutsideCall, PluginCall, Record, TapeMark};
use basb_core::{Digest, PluginName, ServiceName, Timestamp};
use basb_journal::{Fence, Journal, NewTape, OpenCall, OpenExchange};
use basb_redact::Redactor;
use basb_runtime::{CallObserver, CallReport, CallTape, FinishedCall, Plugin};
use basb_tape::{Replay, Tape};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// How a call ended that nobody waited for any more: it may be made again over what is known of it.
const DROPPED: &str = "call/dropped";
/// How a call ended that was stopped because the disk could not be written: the same.
const NOT_DURABLE: &str = "tape/not-durable";

/// A call that is over.
#[derive(Debug)]
pub struct Over {
    /// When it ended.
    pub at: Timestamp,
    /// The service that it was about.
    pub service: Option<ServiceName>,
    /// The effect that it carried out.
    pub order: Option<u32>,
    /// What it did outside, if it did anything.
    call: Option<PluginCall>,
    /// Its tape.
    tape: Option<Taped>,
    /// The key under which it was written ahead: closed with what came of it.
    pub closes: Option<String>,
}

/// A tape's text, and what is said of it elsewhere.
#[derive(Debug)]
struct Taped {
    text: String,
    sha256: [u8; 32],
    marks: Vec<String>,
}

/// Calls that are over, as one append writes them.
#[derive(Debug, Default)]
pub struct WrittenDown {
    /// Their records, which come before those of what came of them.
    pub records: Vec<(Timestamp, Record)>,
    /// Their tapes.
    pub tapes: Vec<NewTape>,
    /// The keys under which they were written ahead.
    pub closes: Vec<String>,
}

/// Numbers calls that are over, from behind the last one that has a tape.
#[must_use]
pub fn write_down(over: Vec<Over>, last: u64) -> WrittenDown {
    let mut written = WrittenDown::default();
    let mut number = last;
    let mut at = Timestamp(0);
    for call in over {
        at = call.at;
        let tape = call.tape.map(|taped| {
            number += 1;
            written.tapes.push(NewTape { call: number, at: call.at, sha256: taped.sha256, body: taped.text });
            (number, taped.sha256, taped.marks)
        });
        if let Some(outside) = call.call {
            // Most calls did nothing outside, and nothing but the digest over all of them names their tapes.
            let mark = tape.map(|(call, sha256, marks)| TapeMark { call, sha256: basb_tape::digest(&sha256), marks });
            let outside = Box::new(PluginCall { tape: mark, ..outside });
            written.records.push((call.at, Record::Called { service: call.service, call: outside }));
        }
        written.closes.extend(call.closes);
    }
    if number > last {
        let sha256 = basb_tape::digest_of_range(written.tapes.iter().map(|tape| (tape.call, &tape.sha256)));
        written.records.push((at, Record::Taped { first: last + 1, last: number, sha256 }));
    }
    written
}

/// What a run's calls need.
#[derive(Debug)]
pub struct Desk {
    /// Where calls are written ahead.
    pub journal: Arc<Journal>,
    /// The run.
    pub run: basb_core::RunId,
    /// Proves that this process may act.
    pub fence: Fence,
    /// Tells whether the lease is held at this moment.
    pub holding: Holding,
    /// Knows every secret.
    pub redactor: Redactor,
    /// Calls that were cut off, by their keys.
    pub open: Mutex<HashMap<String, OpenCall>>,
}

#[derive(Debug)]
struct AtWork {
    desk: Arc<Desk>,
    to: UnboundedSender<Over>,
}

/// Where the calls of a run's plugins go, once there is a run.
#[derive(Debug, Clone, Default)]
pub struct CallLog {
    work: Arc<OnceLock<AtWork>>,
}

/// What a call is about, for its tape.
#[derive(Debug, Clone, Copy, Default)]
pub struct About<'a> {
    /// The service.
    pub service: Option<&'a str>,
    /// The number of the effect that it carries out.
    pub order: Option<u32>,
    /// For a call that changes something: the key under which it is written ahead.
    pub key: Option<&'a str>,
}

/// How a call is made: when, for whom, and with which tape.
#[derive(Debug)]
pub struct Manner {
    /// The time that the plugin is told: that of the call that was cut off, if this one takes it up.
    pub now: Timestamp,
    /// Who is told of it when it is over.
    pub observer: Option<Arc<dyn CallObserver>>,
    /// What is done with its tape.
    pub taping: Option<Taping>,
}

/// What is kept of a call beside its exchanges, as long as it is open.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    version: u32,
    plugin: String,
    digest: Digest,
    function: String,
    now: Timestamp,
    /// As a text: compared letter by letter.
    args: String,
}

impl CallLog {
    /// From now on every call is taped and told to the receiver. A second receiver gets none.
    pub fn open(&self, desk: Desk) -> UnboundedReceiver<Over> {
        let (to, receiver) = unbounded_channel();
        let _ = self.work.set(AtWork { desk: Arc::new(desk), to });
        receiver
    }

    /// How a call of this plugin is made.
    pub fn manner(&self, plugin: &Plugin, function: &str, about: About<'_>) -> Manner {
        let Some(AtWork { desk, to }) = self.work.get() else {
            return Manner { now: now(), observer: None, taping: None };
        };
        let cut_off = about.key.and_then(|key| desk.cut_off(key, plugin, function));
        let now = cut_off.as_ref().map_or_else(now, |(head, _)| head.now);
        let ahead = about
            .key
            .map(|key| -> Arc<dyn WriteAhead> { Arc::new(Ahead { desk: Arc::clone(desk), key: key.to_owned(), now }) });
        let taping = match cut_off {
            Some((head, exchanges)) => {
                let matching = match plugin.inspection().replay() {
                    basb_runtime::Replay::Exact => Matching::Exact,
                    basb_runtime::Replay::BestEffort => Matching::BestEffort,
                };
                Taping::Resume { args: head.args, exchanges, matching, ahead }
            }
            None => Taping::Record { ahead },
        };
        let observer = Observer {
            service: about.service.and_then(|name| ServiceName::new(name).ok()),
            order: about.order,
            key: about.key.map(str::to_owned),
            now,
            desk: Arc::clone(desk),
            to: to.clone(),
        };
        Manner { now, observer: Some(Arc::new(observer)), taping: Some(taping) }
    }
}

impl Desk {
    /// What is known of a call that was cut off; taken once.
    fn cut_off(&self, key: &str, plugin: &Plugin, function: &str) -> Option<(Head, Vec<Exchange>)> {
        let call = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(key)?;
        let head: Head = serde_json::from_str(&call.head).ok()?;
        // Another plugin's call is not this one's: it is made afresh, with the same key in it.
        if head.function != function || head.digest != *plugin.digest() {
            tracing::warn!(key, "what is known of a call that was cut off belongs to another plugin and is not used");
            return None;
        }
        let exchanges = call.exchanges.into_iter().map(|e| Exchange { ask: e.ask, answer: e.answer }).collect();
        Some((head, exchanges))
    }
}

/// Writes the exchanges of one call ahead of what they do, under the lease.
#[derive(Debug)]
struct Ahead {
    desk: Arc<Desk>,
    key: String,
    now: Timestamp,
}

impl WriteAhead for Ahead {
    fn write(&self, page: Page) -> BoxFuture<'_, Result<(), String>> {
        let head = Head {
            version: 1,
            plugin: page.head.plugin.to_string(),
            digest: (*page.head.digest).clone(),
            function: page.head.function.to_owned(),
            now: self.now,
            args: page.head.args.clone(),
        };
        let exchange = |(number, e): (u64, Exchange)| OpenExchange { number, ask: e.ask, answer: e.answer };
        let call = OpenCall {
            key: self.key.clone(),
            at: self.now,
            head: serde_json::to_string(&head).unwrap_or_default(),
            exchanges: page.exchanges.into_iter().map(exchange).collect(),
        };
        let Desk { journal, run, fence, holding, .. } = &*self.desk;
        Box::pin(async move {
            journal.write_ahead(run, Some(fence.clone()), call).await.map_err(|e| e.to_string())?;
            // The token was right when it was written; this process may have been stopped since.
            holding.confirm().await.map_err(|e| e.to_string())
        })
    }
}

#[derive(Debug)]
struct Observer {
    service: Option<ServiceName>,
    order: Option<u32>,
    key: Option<String>,
    now: Timestamp,
    desk: Arc<Desk>,
    to: UnboundedSender<Over>,
}

impl CallObserver for Observer {
    fn called(&self, call: FinishedCall<'_>) {
        let Ok(plugin) = PluginName::new(call.plugin) else { return };
        let ended = now();
        let unfinished = matches!(call.outcome, DROPPED | NOT_DURABLE);
        if unfinished {
            self.keep_open(&call);
        }
        let tape = call.report.tape.take().map(|tape| self.tape(&plugin, &call, *tape));
        let CallReport { calls, duration, .. } = call.report;
        let started = Timestamp(ended.0.saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(0)));
        let outside = (!calls.is_empty()).then(|| PluginCall {
            plugin,
            digest: call.digest.clone(),
            function: call.function.to_owned(),
            at: started,
            micros: micros(*duration),
            outcome: call.outcome.to_owned(),
            calls: calls.iter().map(outside).collect(),
            tape: None,
        });
        let over = Over {
            at: ended,
            service: self.service.clone(),
            order: self.order,
            call: outside,
            tape,
            // What is in the outbox is closed with it.
            closes: self.key.clone().filter(|_| self.order.is_some() && !unfinished),
        };
        // Nobody listens any more when the run is over: nothing of it is to be written then.
        let _ = self.to.send(over);
    }
}

impl Observer {
    /// A call that did not come to its end is taken up again where it was, by this process too.
    fn keep_open(&self, call: &FinishedCall<'_>) {
        let (Some(key), Some(tape)) = (&self.key, call.report.tape.as_deref()) else { return };
        let head = Head {
            version: 1,
            plugin: call.plugin.to_owned(),
            digest: call.digest.clone(),
            function: call.function.to_owned(),
            now: self.now,
            args: tape.args.clone(),
        };
        let exchange =
            |(number, e): (u64, &Exchange)| OpenExchange { number, ask: e.ask.clone(), answer: e.answer.clone() };
        let open = OpenCall {
            key: key.clone(),
            at: self.now,
            head: serde_json::to_string(&head).unwrap_or_default(),
            exchanges: (1_u64..).zip(&tape.exchanges).map(exchange).collect(),
        };
        self.desk.open.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), open);
    }

    fn tape(&self, plugin: &PluginName, call: &FinishedCall<'_>, from: CallTape) -> Taped {
        let redactor = &self.desk.redactor;
        let clean = |text: String| match redactor.is_empty() {
            true => text,
            false => redactor.text(&text).into_owned(),
        };
        let kept = |result: String| match basb_tape::kept(&result) {
            Cow::Borrowed(_) => result,
            Cow::Owned(short) => short,
        };
        let tape = Tape {
            plugin: plugin.clone(),
            digest: call.digest.clone(),
            function: call.function.to_owned(),
            service: self.service.clone(),
            order: self.order,
            at: self.now,
            replay: match call.replay {
                basb_runtime::Replay::Exact => Replay::Exact,
                basb_runtime::Replay::BestEffort => Replay::BestEffort,
            },
            args: from.args,
            exchanges: from.exchanges,
            cut: from.cut,
            outcome: call.outcome.to_owned(),
            result: from.result.map(clean).map(kept),
        };
        let text = tape.text();
        Taped { sha256: basb_tape::sha256(&text), marks: tape.marks(), text }
    }
}

fn outside(call: &HostCall) -> OutsideCall {
    OutsideCall {
        capability: call.capability.to_string(),
        what: call.what.clone(),
        verdict: match call.verdict {
            Verdict::Allowed => Admission::Allowed,
            Verdict::Denied => Admission::Denied,
        },
        outcome: call.outcome.clone(),
        after_micros: micros(call.after),
        took_micros: micros(call.took),
        sent: call.sent,
        received: call.received,
        credentials: call.credentials.clone(),
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
