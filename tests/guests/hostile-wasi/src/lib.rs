//! A probe for `wasm32-wasip2` that does to the host, over `wasi:http`, what the script in its configuration says: see
//! `basb-guest-script`. It has no door of the host's own but the one that its world names.

#![expect(missing_docs, unsafe_code, reason = "generated bindings")]

wit_bindgen::generate!({ world: "probe-plugin", path: "../../../wit/host/0.1.0", generate_all });

use basb::host::types::{CallContext, Verdict};
use basb_guest_script::{Hands, Outcome, Request, Script, Step, play, shown};
use exports::basb::host::probe::{Guest, Info, Measurement, Target};
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
};
use wasip2::io::streams::StreamError;

const MANIFEST: &str = r#"{"manifestVersion":1,"name":"hostile-wasi","version":"0.1.0","kind":"probe",
"publisher":"mallory","wit":"0.1","capabilities":[{"name":"http","reason":"to reach what it must not"}],
"configSchema":{"type":"object"}}"#;

#[used]
#[cfg_attr(target_family = "wasm", unsafe(link_section = "basb-host:manifest"))]
static SECTION: [u8; MANIFEST.len()] = *MANIFEST.as_bytes().first_chunk().unwrap();

/// A failure, as the guest sees it. What has a text has the host's own.
fn failed(error: ErrorCode) -> Outcome {
    match error {
        ErrorCode::InternalError(Some(text)) => Outcome::failed("internal", text),
        ErrorCode::DnsError(payload) => Outcome::failed("dns", payload.rcode.unwrap_or_default()),
        ErrorCode::HttpResponseTimeout => Outcome::failed("timed-out", "HTTP-response-timeout"),
        ErrorCode::ConnectionRefused => Outcome::failed("connect", "connection-refused"),
        ErrorCode::ConnectionTerminated => Outcome::failed("broken", "connection-terminated"),
        other => Outcome::failed("other", format!("{other:?}")),
    }
}

/// The guest's own library would not even make such a request.
fn invalid(what: &str) -> Outcome {
    Outcome::failed("invalid", format!("wasi:http does not take the {what}"))
}

fn method(name: String) -> Method {
    match name.as_str() {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "CONNECT" => Method::Connect,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "PATCH" => Method::Patch,
        _ => Method::Other(name),
    }
}

fn start(asked: &Request) -> Result<FutureIncomingResponse, Outcome> {
    let (scheme, rest) = asked.url.split_once(':').ok_or_else(|| invalid("URL"))?;
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (authority, path) = rest.find(['/', '?', '#', '\\']).map_or((rest, "/"), |at| rest.split_at(at));
    let fields = Fields::new();
    for (name, value) in &asked.headers {
        fields
            .append(name, value.as_bytes())
            .map_err(|_| invalid(&format!("header {:?}", name.chars().take(60).collect::<String>())))?;
    }
    let request = OutgoingRequest::new(fields);
    request.set_method(&method(asked.sent_method())).map_err(|()| invalid("method"))?;
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    request.set_scheme(Some(&scheme)).map_err(|()| invalid("scheme"))?;
    request.set_authority(Some(authority)).map_err(|()| invalid("authority"))?;
    request.set_path_with_query(Some(path)).map_err(|()| invalid("path"))?;
    let options = RequestOptions::new();
    let third = asked.timeout.map(|ms| ms.saturating_mul(1_000_000) / 3);
    for set in [
        RequestOptions::set_connect_timeout,
        RequestOptions::set_first_byte_timeout,
        RequestOptions::set_between_bytes_timeout,
    ] {
        set(&options, third).map_err(|()| invalid("timeout"))?;
    }
    let out = request.body().map_err(|()| invalid("body"))?;
    let answer = handle(request, Some(options)).map_err(failed)?;
    let body = asked.sent_body();
    {
        let stream = out.write().map_err(|()| invalid("body"))?;
        for chunk in body.chunks(4096) {
            if stream.blocking_write_and_flush(chunk).is_err() {
                // The host has said no; its answer says why.
                return Ok(answer);
            }
        }
    }
    OutgoingBody::finish(out, None).map_err(failed)?;
    Ok(answer)
}

fn wait(answer: &FutureIncomingResponse) -> Result<Outcome, Outcome> {
    answer.subscribe().block();
    let response = answer.get().ok_or_else(|| invalid("wait"))?.map_err(|()| invalid("wait"))?.map_err(failed)?;
    let headers = response.headers().entries();
    let headers = headers.into_iter().map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()));
    let (status, headers) = (response.status(), headers.collect());
    let body = response.consume().map_err(|()| invalid("body"))?;
    let stream = body.stream().map_err(|()| invalid("body"))?;
    let mut all = Vec::new();
    loop {
        match stream.blocking_read(64 << 10) {
            Ok(bytes) => all.extend_from_slice(&bytes),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(Outcome::failed("internal", error.to_debug_string()));
            }
        }
    }
    Ok(Outcome::Response { status, headers, length: all.len() as u64, body: shown(&all) })
}

/// What this probe can do.
struct Doors;

impl Hands for Doors {
    fn act(&mut self, step: &Step, _: u32) -> Outcome {
        match step {
            Step::Http(asked) => start(asked).and_then(|answer| wait(&answer)).unwrap_or_else(|error| error),
            Step::Log { text, copies } => {
                // Standard error is a guest's log.
                #[expect(clippy::print_stderr, reason = "that is what is tried")]
                {
                    eprintln!("{}", text.repeat(*copies as usize));
                }
                Outcome::Done
            }
            _ => Outcome::Cannot,
        }
    }

    fn send_many(&mut self, requests: Vec<Request>) -> Vec<Outcome> {
        let started: Vec<_> = requests.iter().map(start).collect();
        started
            .into_iter()
            .map(|answer| answer.and_then(|answer| wait(&answer)).unwrap_or_else(|error| error))
            .collect()
    }
}

struct HostileWasi;

impl Guest for HostileWasi {
    fn describe() -> Info {
        Info { values: Vec::new(), extras: Vec::new() }
    }

    fn check(cx: CallContext, target: Target) -> Measurement {
        let config = cx.config.replace("{target}", &target.url);
        let script: Script = match serde_json::from_str(&config) {
            Ok(script) => script,
            Err(error) => {
                return Measurement {
                    verdict: Verdict::Error,
                    summary: error.to_string(),
                    values: Vec::new(),
                    facts: Vec::new(),
                };
            }
        };
        let summary = play(&script, &mut Doors);
        Measurement { verdict: Verdict::Pass, summary, values: Vec::new(), facts: Vec::new() }
    }
}

export!(HostileWasi);
