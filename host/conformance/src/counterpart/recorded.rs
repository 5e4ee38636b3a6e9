//! A counterpart that answers what was answered in a real run.
//!
//! It knows the requests of that run and no other ones, call by call, in the order in which each was made: the second time
//! that a call asks for the same, it gets the second answer. What it does not know it cannot judge: a fault after which a plugin asks for
//! something that is not on the recording is skipped, loudly.

use super::stand_ins::StandIns;
use super::{Answered, Counterpart, Saved, Sent, State};
use crate::KitError;
use crate::file::KitFile;
use basb_capabilities::exchange::Ask;
use basb_capabilities::http::{HttpError, Request, Response};
use basb_core::Timestamp;
use basb_grants::{HttpGrant, HttpTarget, ReadRule};
use basb_tape::Tape;
use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use url::Url;

/// The version of the form.
pub const RECORDING_VERSION: u32 = 1;

/// What the host of a URL ends with that stands for a unix socket.
const SOCKET: &str = ".socket.internal";

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

/// A URL as it goes out: with the `/` that an origin alone has not, and so on.
fn normal(url: &str) -> String {
    Url::parse(url).map_or_else(|_| url.to_owned(), |url| url.to_string())
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
    grants: Vec<HttpGrant>,
    secrets: StandIns,
    inner: Mutex<Inner>,
}

impl Recorded {
    /// A counterpart that answers as on the recording of a kit file. What its grants call a read makes nothing.
    ///
    /// # Errors
    /// [`KitError`] for a recording of another version, or one that holds something else than HTTP.
    pub fn new(recording: &Recording, file: &KitFile) -> Result<Self, KitError> {
        let wrong =
            |why: String| KitError::new("kit/bad-recording", why, "record the run again: `basb-host plugin record`");
        if recording.recording != RECORDING_VERSION {
            return Err(wrong(format!("the recording is of version {}, this program reads 1", recording.recording)));
        }
        let mut calls = Vec::with_capacity(recording.calls.len());
        for call in &recording.calls {
            calls.push(Self::answers(call).map_err(&wrong)?);
        }
        let name = format!("recorded: run {}", recording.run);
        let (grants, secrets) = (file.granted()?.http, StandIns::of(recording, file)?);
        Ok(Self { name, answers: calls, grants, secrets, inner: Mutex::default() })
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
                answers.entry((request.method, normal(&request.url), request.body)).or_default().push(answered);
            }
        }
        Ok(answers)
    }

    /// Whether a request reads: as it shows itself, or as a grant says that covers it.
    fn reads(&self, sent: &Sent) -> bool {
        let action = sent.whole_action();
        let reads = |rule: &ReadRule| match rule {
            ReadRule::Method(method) => *method == sent.method,
            ReadRule::Path(path) => path.covers(sent.url.path()),
            ReadRule::Action(pattern) => action.as_ref().is_some_and(|action| pattern.covers(action)),
            ReadRule::Query(parameter) => sent.url.query().is_some_and(|query| parameter.covers(query)),
        };
        let to = |grant: &HttpGrant| match &grant.to {
            HttpTarget::Host { host, .. } => sent.url.host_str().is_some_and(|name| {
                host.covers_name(name) || name.parse().is_ok_and(|address| host.covers_address(address))
            }),
            HttpTarget::Socket { name, .. } => {
                sent.url.host_str().and_then(|host| host.strip_suffix(SOCKET)) == Some(name.as_str())
            }
            HttpTarget::Service => true,
        };
        let covers = |grant: &&HttpGrant| to(grant) && grant.path.covers(sent.url.path());
        sent.reads() || self.grants.iter().filter(covers).flat_map(|grant| &grant.reads).any(reads)
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
        let (url, body) = self.secrets.taken_out(sent);
        let key = (sent.method.clone(), url, body);
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
                if sent.method == "POST" && !known && !self.reads(sent) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ask(url: &str, headers: &Value, body: &str) -> (Sent, RecordedExchange) {
        let ask = json!({ "http": { "method": "POST", "url": url, "headers": headers, "body": body } });
        let timing = json!({ "connected": 1, "head": 2, "total": 3 });
        let answer = json!({ "ok": { "status": 200, "headers": [], "body": "{}", "timing": timing } });
        let headers: Vec<(String, String)> = serde_json::from_value(headers.clone()).unwrap();
        let sent =
            Sent { method: "POST".to_owned(), url: Url::parse(url).unwrap(), headers, body: body.as_bytes().to_vec() };
        (sent, RecordedExchange { ask, answer })
    }

    #[test]
    fn what_reads_makes_nothing_however_often_it_is_asked_for() {
        let json_1_1 = |action: &str| json!([["content-type", "application/x-amz-json-1.1"], ["x-amz-target", action]]);
        let form = json!([["content-type", "application/x-www-form-urlencoded"]]);
        let all = [
            // Two that show that they read, one of which a grant says it, and one that makes something.
            ask("https://ecs.example/", &json_1_1("Ecs.ListServices"), "{}"),
            ask("https://elb.example/", &form, "Action=DescribeRules&Version=2015-12-01"),
            ask("https://kv.example/v1/query", &json!([]), "{}"),
            ask("https://kv.example:443/v1/things", &json!([]), "{}"),
        ];
        let exchanges = all.iter().map(|(_, exchange)| exchange.clone()).collect();
        let call = RecordedCall { function: "read".to_owned(), args: json!([]), exchanges };
        let recording =
            Recording { recording: 1, run: "01".to_owned(), digest: "sha256:0".to_owned(), calls: vec![call] };
        let grants = json!({ "http": [
            { "host": "kv.example", "methods": ["POST"], "path": "/v1/**", "reads": ["/v1/query"] },
            // Of somebody else: it says nothing of the requests to `kv.example`.
            { "host": "other.example", "methods": ["POST"], "path": "/**", "reads": ["POST"] },
        ]});
        let file = serde_json::from_value(json!({ "conformance": 1, "grants": grants })).unwrap();
        let recorded = Recorded::new(&recording, &file).unwrap();
        for _ in 0..2 {
            for (sent, _) in &all {
                let answer = futures_util::FutureExt::now_or_never(recorded.http(sent, Timestamp(0)));
                assert!(answer.unwrap().is_ok(), "{}", sent.shown());
            }
        }
        let state = futures_util::FutureExt::now_or_never(recorded.state(Timestamp(0))).unwrap().unwrap();
        assert_eq!(state.made, BTreeMap::from([("POST https://kv.example/v1/things".to_owned(), 2)]));
    }
}
