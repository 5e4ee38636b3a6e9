//! A counterpart that answers what was answered in a real run.
//!
//! It knows the requests of that run and no other ones, call by call, in the order in which each was made: the second time
//! that a call asks for the same, it gets the second answer. What it does not know it cannot judge: a fault after which a plugin asks for
//! something that is not on the recording is skipped, loudly.

use super::{Answered, Counterpart, Saved, Sent, State};
use crate::KitError;
use basb_capabilities::exchange::Ask;
use basb_capabilities::http::{HttpError, Request, Response};
use basb_core::Timestamp;
use basb_tape::Tape;
use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The version of the form.
pub const RECORDING_VERSION: u32 = 1;

/// The calls of one plugin in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Recording {
    /// The version of this form: 1.
    pub recording: u32,
    /// The run that it is of.
    pub run: String,
    /// The digest of the plugin's bytes.
    pub digest: String,
    /// Its calls, in order.
    pub calls: Vec<RecordedCall>,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RecordedCall {
    /// The function.
    pub function: String,
    /// Its arguments.
    pub args: Value,
    /// What it asked for, and what was answered, as on a tape.
    pub exchanges: Vec<RecordedExchange>,
}

/// One exchange.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RecordedExchange {
    /// What was asked for.
    pub ask: Value,
    /// What was answered.
    pub answer: Value,
}

impl Recording {
    /// A recording of these tapes: the calls that came to their end, without lines of the log.
    #[must_use]
    pub fn of(run: &str, digest: &str, tapes: &[Tape]) -> Self {
        let value = |text: &String| serde_json::from_str::<Value>(text).ok();
        let call = |tape: &Tape| {
            let exchanges = tape.exchanges.iter().filter(|exchange| !exchange.is_log());
            let exchanges = exchanges.map(|exchange| {
                let answer = exchange.answer.as_ref().and_then(value)?;
                Some(RecordedExchange { ask: value(&exchange.ask)?, answer })
            });
            Some(RecordedCall {
                function: tape.function.clone(),
                args: value(&tape.args)?,
                exchanges: exchanges.collect::<Option<_>>()?,
            })
        };
        let whole = tapes.iter().filter(|tape| tape.outcome == "ok" && !tape.cut);
        Self {
            recording: RECORDING_VERSION,
            run: run.to_owned(),
            digest: digest.to_owned(),
            calls: whole.filter_map(call).collect(),
        }
    }
}

/// What was asked for, as far as two requests are the same.
type Key = (String, String, Vec<u8>);

#[derive(Debug, Clone, Default)]
struct Inner {
    /// The call at hand.
    call: usize,
    /// How often each was asked for in this attempt at it.
    asked: BTreeMap<Key, usize>,
    made: BTreeMap<String, u64>,
    tokens: Vec<String>,
    unknown: Vec<String>,
}

/// A recorded counterpart.
#[derive(Debug)]
pub struct Recorded {
    name: String,
    answers: Vec<BTreeMap<Key, Vec<Answered>>>,
    inner: Mutex<Inner>,
}

impl Recorded {
    /// A counterpart that answers as on a recording.
    ///
    /// # Errors
    /// [`KitError`] for a recording of another version, or one that holds something else than HTTP.
    pub fn new(recording: &Recording) -> Result<Self, KitError> {
        let wrong =
            |why: String| KitError::new("kit/bad-recording", why, "record the run again: `basb-host plugin record`");
        if recording.recording != RECORDING_VERSION {
            return Err(wrong(format!("the recording is of version {}, this program reads 1", recording.recording)));
        }
        let mut calls = Vec::with_capacity(recording.calls.len());
        for call in &recording.calls {
            calls.push(Self::answers(call).map_err(&wrong)?);
        }
        Ok(Self { name: format!("recorded: run {}", recording.run), answers: calls, inner: Mutex::default() })
    }

    /// The answers that one call got.
    fn answers(call: &RecordedCall) -> Result<BTreeMap<Key, Vec<Answered>>, String> {
        let mut answers: BTreeMap<Key, Vec<Answered>> = BTreeMap::new();
        for exchange in &call.exchanges {
            let ask: Ask = serde_json::from_value(exchange.ask.clone()).map_err(|e| e.to_string())?;
            let pairs: Vec<(Request, Value)> = match ask {
                Ask::Http(request) => vec![(request, exchange.answer.clone())],
                Ask::HttpMany(requests) => {
                    let all = exchange.answer.get("ok").and_then(Value::as_array).cloned().unwrap_or_default();
                    requests.into_iter().zip(all).collect()
                }
                other => return Err(format!("it holds `{}`, and only HTTP can be played", other.shown())),
            };
            for (request, answer) in pairs {
                // A request that was not answered then has no answer now.
                let Some(response) = answer.get("ok").cloned() else { continue };
                let response: Response = serde_json::from_value(response).map_err(|e| e.to_string())?;
                let headers = response.headers.into_iter().filter(|(name, _)| name != "content-length").collect();
                let answered = Answered { status: response.status, headers, body: response.body };
                answers.entry((request.method, request.url, request.body)).or_default().push(answered);
            }
        }
        Ok(answers)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counterpart for Recorded {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn reset(&self) -> BoxFuture<'_, Result<(), KitError>> {
        *self.inner() = Inner::default();
        Box::pin(async { Ok(()) })
    }

    fn http<'a>(&'a self, sent: &'a Sent, _now: Timestamp) -> BoxFuture<'a, Result<Answered, HttpError>> {
        let key = (sent.method.clone(), sent.url.to_string(), sent.body.clone());
        let mut inner = self.inner();
        let answer = match self.answers.get(inner.call).and_then(|call| call.get(&key)) {
            None => {
                inner.unknown.push(sent.shown());
                Err(HttpError::Connect(format!("{} is not on the recording", sent.shown())))
            }
            Some(answers) => {
                let asked = inner.asked.entry(key).or_default();
                let answer = answers.get(*asked).or_else(|| answers.last()).cloned().unwrap_or_default();
                *asked += 1;
                // What sets a whole may be sent again, and what carries a token; anything else makes something.
                let token = sent.header("idempotency-key").or_else(|| sent.header("x-amz-client-token"));
                let known = token.is_some_and(|token| inner.tokens.iter().any(|have| have == token));
                if sent.method == "POST" && !known {
                    *inner.made.entry(sent.shown()).or_default() += 1;
                    inner.tokens.extend(token.map(str::to_owned));
                }
                Ok(answer)
            }
        };
        Box::pin(async { answer })
    }

    fn begin(&self, step: usize) {
        let mut inner = self.inner();
        inner.call = step;
        inner.asked.clear();
    }

    fn unknown(&self) -> Option<String> {
        self.inner().unknown.first().cloned()
    }

    fn state(&self, _now: Timestamp) -> BoxFuture<'_, Result<State, KitError>> {
        let made = self.inner().made.clone();
        Box::pin(async { Ok(State { there: Value::Null, made, violations: Vec::new() }) })
    }

    fn save(&self) -> BoxFuture<'_, Result<Option<Saved>, KitError>> {
        let saved: Saved = Arc::new(self.inner().clone());
        Box::pin(async { Ok(Some(saved)) })
    }

    fn restore<'a>(&'a self, saved: &'a Saved) -> BoxFuture<'a, Result<(), KitError>> {
        if let Some(saved) = saved.downcast_ref::<Inner>() {
            *self.inner() = saved.clone();
        }
        Box::pin(async { Ok(()) })
    }
}
