//! What the door to the network costs a request itself: deciding by the grants, putting secrets in, taking secrets out of the
//! answer, and writing it all down. The network is left out: the answer comes from memory, by the same door.

use crate::{Form, Result};
use basb_capabilities::http::answer::Raw;
use basb_capabilities::http::{Exchange, HttpError, Ready, Request, Timing};
use basb_capabilities::{CallScope, Caller, Capabilities, Grants, Options};
use basb_core::Digest;
use basb_credentials::{CredentialName, Credentials, CredentialsConfig, SecretSource, placeholder};
use basb_redact::{Redactor, SecretName, SecretValue, TooShort};
use basb_secrets::{Answer, Ask, SecretError, Transport, TransportError};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Grants of the plugin; the one that covers the request is the last of them.
const GRANTS: usize = 100;
/// Secrets that the host knows.
const SECRETS: usize = 50;
/// Bytes of the request's body, and of the answer's: together an exchange of 4 KB.
const HALF: usize = 2048;
/// Requests in a round. A scope records no more than this in one call.
const ROUND: u32 = 900;

/// What the policy benchmark is told.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Rounds of 900 requests; the median round counts
    #[arg(long, default_value_t = 21)]
    rounds: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Microseconds per request.
#[derive(Debug, Serialize)]
struct Report {
    /// The whole door, record included.
    per_request_us: f64,
    /// Reading the request and deciding by the grants.
    match_us: f64,
    /// Putting secrets in, and deciding again.
    substitute_us: f64,
    /// Taking secrets out of the answer.
    redact_us: f64,
    /// The rest of the whole: the record of the call, deadlines, counters.
    record_us: f64,
    grants: usize,
    secrets: usize,
    exchange_bytes: usize,
}

/// Secrets from memory.
#[derive(Debug)]
struct Fixed {
    values: BTreeMap<SecretName, SecretValue>,
    redactor: Redactor,
}

impl SecretSource for Fixed {
    fn secret<'a>(&'a self, name: &'a SecretName) -> BoxFuture<'a, std::result::Result<SecretValue, SecretError>> {
        let value = self.values.get(name).cloned();
        // Every name in this benchmark is known; an empty value would be refused by the credential.
        Box::pin(async move { Ok(value.unwrap_or_else(|| SecretValue::new(""))) })
    }

    fn learn(&self, name: &SecretName, value: &SecretValue) -> std::result::Result<(), TooShort> {
        self.redactor.learn(name, value)
    }

    fn redacted(&self, text: &str) -> String {
        self.redactor.text(text).into_owned()
    }
}

/// There is no network here.
#[derive(Debug)]
struct Nowhere;

impl Transport for Nowhere {
    fn exchange(&self, _: Ask) -> BoxFuture<'_, std::result::Result<Answer, TransportError>> {
        Box::pin(async { Err(TransportError("there is no network in this benchmark".to_owned())) })
    }
}

/// Always the same answer, at once.
struct Canned(Raw);

impl Exchange for Canned {
    fn exchange<'a>(
        &'a self,
        _: &'a Ready,
        _: Instant,
    ) -> BoxFuture<'a, std::result::Result<(Raw, Timing), HttpError>> {
        Box::pin(async { Ok((self.0.clone(), Timing::default())) })
    }
}

/// The door with everything that a request meets.
struct Bench {
    all: Capabilities,
    grants: Arc<Grants>,
    used: Arc<[CredentialName]>,
    request: Request,
    answer: Raw,
}

impl Bench {
    fn new() -> Result<Self> {
        let redactor = Redactor::default();
        let mut values = BTreeMap::new();
        for index in 0..SECRETS {
            let name = SecretName::new(format!("secret-{index}"))?;
            let value = Digest::of(name.as_str().as_bytes());
            let value = SecretValue::new(value.hex().get(..40).unwrap_or_default());
            redactor.learn(&name, &value)?;
            values.insert(name, value);
        }
        let placeholder = placeholder::of(&SecretName::new("secret-7")?);
        let to = json!([{"host": "api.example.com"}]);
        let credentials = json!({
            "token": {"to": to.clone(), "bearer": "secret-3"},
            "inner": {"to": to, "placeholder": "secret-7"},
        });
        let config = CredentialsConfig::parse(&credentials).map_err(|problems| format!("{problems:?}"))?;
        let all = Capabilities::new(Options { redactor: redactor.clone(), ..Options::new("/") });
        let source = Arc::new(Fixed { values, redactor });
        all.use_credentials(Arc::new(Credentials::with_source(config, source, Arc::new(Nowhere))));

        let mut http: Vec<Value> = (1..GRANTS)
            .map(|index| json!({"host": format!("*.s{index}.example.com"), "methods": ["GET", "POST"], "path": "/v1/**"}))
            .collect();
        http.push(json!({"host": "api.example.com", "methods": ["GET", "POST"], "path": "/v1/*/items/**"}));
        let grants = Grants::parse(&json!({ "http": http })).map_err(|problems| format!("{problems:?}"))?;

        let front = format!("{{\"token\":\"{placeholder}\",\"text\":\"");
        let body = format!("{front}{}\"}}", text(HALF.saturating_sub(front.len() + 2)));
        let headers = [("content-type", "application/json"), ("accept", "application/json"), ("x-request", "1")];
        let mut seen = HeaderMap::new();
        seen.insert("content-type", HeaderValue::from_static("application/json"));
        seen.insert("content-length", HeaderValue::from_str(&HALF.to_string())?);
        seen.insert("x-request-id", HeaderValue::from_static("5f3b7c1e-6e0c-4f7a-9d9d-0c5c2b1a7e10"));
        seen.insert("date", HeaderValue::from_static("Tue, 01 Apr 2025 10:00:00 GMT"));
        Ok(Self {
            all,
            grants: Arc::new(grants),
            used: Arc::from([CredentialName::new("token")?, CredentialName::new("inner")?]),
            request: Request {
                method: "POST".to_owned(),
                url: "https://api.example.com/v1/things/items/17?view=full".to_owned(),
                headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
                body: body.into_bytes(),
                timeout: None,
            },
            answer: Raw { status: 200, headers: seen, body: text(HALF).into_bytes() },
        })
    }

    fn scope(&self) -> Result<CallScope> {
        let caller = Caller { plugin: "bench".into(), digest: Arc::new(Digest::of(b"")), call: "apply" };
        let deadline = Instant::now().checked_add(Duration::from_hours(1)).ok_or("the clock is at its end")?;
        Ok(CallScope::new(caller, Arc::clone(&self.grants), deadline).with_credentials(Arc::clone(&self.used)))
    }

    /// One round of each part.
    async fn round(&self) -> Result<[f64; 4]> {
        let http = self.all.http();
        let canned = Canned(self.answer.clone());
        let scope = self.scope()?;
        // What is handed in is made outside of the measured time: it belongs to the guest and to the network.
        let mut requests: Vec<_> = (0..ROUND).map(|_| self.request.clone()).collect();
        let start = Instant::now();
        for request in requests.drain(..) {
            http.through(&scope, request, &canned).await?;
        }
        let whole = per_request(start);

        let scope = self.scope()?;
        let mut requests: Vec<_> = (0..ROUND).map(|_| self.request.clone()).collect();
        let mut prepared = Vec::with_capacity(ROUND as usize);
        let start = Instant::now();
        for request in requests.drain(..) {
            prepared.push(http.prepare(&scope, request, None)?);
        }
        let decided = per_request(start);

        let mut ready = Vec::with_capacity(ROUND as usize);
        let start = Instant::now();
        for one in prepared.drain(..) {
            ready.push(http.complete(&scope, one).await?);
        }
        let completed = per_request(start);
        if ready.iter().any(|one| one.credentials().len() != 2) {
            return Err("a credential was not used: the benchmark measures nothing".into());
        }

        let answers: Vec<_> = (0..ROUND).map(|_| self.answer.clone()).collect();
        let mut shown = Vec::with_capacity(ROUND as usize);
        let start = Instant::now();
        for answer in answers {
            shown.push(http.show_now(answer, &Method::POST, "POST https://api.example.com/")?);
        }
        Ok([whole, decided, completed, per_request(start)])
    }
}

/// Text as answers hold it: words, digits and marks, none of it secret.
fn text(bytes: usize) -> String {
    let line = "service alpha is at weight 40, revision r7f3a2b, 3 of 3 instances ready; ";
    line.chars().cycle().take(bytes).collect()
}

fn per_request(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e6 / f64::from(ROUND)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Measures.
pub(crate) fn run(args: &Args) -> Result<String> {
    let bench = Bench::new()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Nothing here waits for anything: a future that is not ready at once would be a mistake of this benchmark.
    let first = runtime.block_on(async { bench.round().now_or_never() }).ok_or("something waited")??;
    let mut parts: [Vec<f64>; 4] = first.map(|value| vec![value]);
    for _ in 1..args.rounds.max(1) {
        let round = runtime.block_on(bench.round())?;
        for (part, value) in parts.iter_mut().zip(round) {
            part.push(value);
        }
    }
    let [whole, decided, completed, redacted] = parts.map(median);
    let report = Report {
        per_request_us: rounded(whole),
        match_us: rounded(decided),
        substitute_us: rounded(completed),
        redact_us: rounded(redacted),
        record_us: rounded((whole - decided - completed - redacted).max(0.0)),
        grants: GRANTS,
        secrets: SECRETS,
        exchange_bytes: 2 * HALF,
    };
    let form = if args.json { Form::Json } else { Form::Text };
    match form {
        Form::Json => Ok(serde_json::to_string(&report)?),
        Form::Text => Ok(format!(
            "the door's own cost per request, with {} grants, {} secrets and an exchange of {} bytes\n\
             match       {:8.2} µs\nsubstitute  {:8.2} µs\nredact      {:8.2} µs\nrecord      {:8.2} µs\n\
             whole       {:8.2} µs",
            report.grants,
            report.secrets,
            report.exchange_bytes,
            report.match_us,
            report.substitute_us,
            report.redact_us,
            report.record_us,
            report.per_request_us
        )),
    }
}

/// To hundredths.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
