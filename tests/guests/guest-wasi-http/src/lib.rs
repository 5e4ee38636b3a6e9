//! A probe for `wasm32-wasip2` that brings its own HTTP client, over `wasi:http`. The configuration names what it does, as
//! a JSON string such as `"get"`; the URL is the target's.

#![expect(missing_docs, unsafe_code, reason = "generated bindings")]
#![expect(clippy::panic, clippy::expect_used, reason = "it is what the tests look at")]

wit_bindgen::generate!({ world: "probe-plugin", path: "../../../wit/host/0.1.0", generate_all });

use basb::host::types::{CallContext, Verdict};
use exports::basb::host::probe::{Guest, Info, Measurement, Target};
use std::io::Write as _;
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions,
    Scheme,
};
use wasip2::io::streams::StreamError;

const MANIFEST: &str = r#"{"manifestVersion":1,"name":"wasi-http","version":"0.1.0","kind":"probe",
"publisher":"basb-host","wit":"0.1","capabilities":[{"name":"http","reason":"brings its own client"}],
"configSchema":{"type":"string"}}"#;

#[used]
#[cfg_attr(target_family = "wasm", unsafe(link_section = "basb-host:manifest"))]
static SECTION: [u8; MANIFEST.len()] = *MANIFEST.as_bytes().first_chunk().unwrap();

fn request(method: &Method, url: &str, headers: &[(&str, &str)]) -> Result<OutgoingRequest, String> {
    let (scheme, rest) = url.split_once("://").ok_or("no scheme")?;
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let fields = Fields::new();
    for (name, value) in headers {
        fields.append(name, value.as_bytes()).map_err(|error| format!("header {name}: {error:?}"))?;
    }
    let request = OutgoingRequest::new(fields);
    request.set_method(method).map_err(|()| "method")?;
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    request.set_scheme(Some(&scheme)).map_err(|()| "scheme")?;
    request.set_authority(Some(authority)).map_err(|()| format!("authority {authority}"))?;
    request.set_path_with_query(Some(path)).map_err(|()| "path")?;
    Ok(request)
}

fn shown(error: ErrorCode) -> String {
    format!("{error:?}")
}

fn send(request: OutgoingRequest, body: &[u8], timeout: Option<u64>) -> Result<FutureIncomingResponse, String> {
    let options = RequestOptions::new();
    for set in [
        RequestOptions::set_connect_timeout,
        RequestOptions::set_first_byte_timeout,
        RequestOptions::set_between_bytes_timeout,
    ] {
        set(&options, timeout).map_err(|()| "timeout")?;
    }
    let out = request.body().map_err(|()| "body")?;
    let answer = handle(request, Some(options)).map_err(shown)?;
    if !body.is_empty() {
        let mut stream = out.write().map_err(|()| "write")?;
        stream.write_all(body).map_err(|error| error.to_string())?;
        stream.flush().map_err(|error| error.to_string())?;
    }
    OutgoingBody::finish(out, None).map_err(shown)?;
    Ok(answer)
}

fn wait(answer: &FutureIncomingResponse) -> Result<IncomingResponse, String> {
    answer.subscribe().block();
    answer.get().ok_or("not there")?.map_err(|()| "taken")?.map_err(shown)
}

fn read(response: &IncomingResponse) -> Result<Vec<u8>, String> {
    let body = response.consume().map_err(|()| "consumed")?;
    let stream = body.stream().map_err(|()| "stream")?;
    let mut all = Vec::new();
    loop {
        match stream.blocking_read(64 << 10) {
            Ok(bytes) => all.extend_from_slice(&bytes),
            Err(StreamError::Closed) => return Ok(all),
            Err(StreamError::LastOperationFailed(error)) => return Err(error.to_debug_string()),
        }
    }
}

fn whole(method: &Method, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<String, String> {
    let answer = send(request(method, url, headers)?, body, None)?;
    let response = wait(&answer)?;
    Ok(format!("{} {}", response.status(), String::from_utf8_lossy(&read(&response)?)))
}

fn act(what: &str, url: &str) -> Result<String, String> {
    match what {
        "get" => whole(&Method::Get, url, &[("x-guest", "wasi-http")], b""),
        "post" => whole(&Method::Post, url, &[("content-length", "5")], b"hello"),
        "large-post" => whole(&Method::Post, url, &[], &vec![b'x'; 9 << 20]),
        "connect" => whole(&Method::Connect, url, &[], b""),
        "headers" => {
            let try_one = |name| request(&Method::Get, url, &[(name, "x")]).err().unwrap_or_else(|| "set".to_owned());
            Ok(["host", "connection", "transfer-encoding", "te", "expect", "authorization"].map(try_one).join("; "))
        }
        "userinfo" => whole(&Method::Get, &url.replace("://", "://allowed.invalid@"), &[], b""),
        // What the host says of an error of its own must not be a backtrace.
        "words" => {
            let request = request(&Method::Post, url, &[("content-length", "1")])?;
            let body = request.body().map_err(|()| "body")?;
            let stream = body.write().map_err(|()| "write")?;
            match stream.blocking_write_and_flush(b"hello") {
                Err(StreamError::LastOperationFailed(error)) => Ok(error.to_debug_string()),
                other => Err(format!("{other:?}")),
            }
        }
        "short" => {
            let answer = send(request(&Method::Get, url, &[])?, b"", Some(200_000_000))?;
            wait(&answer).map(|response| response.status().to_string())
        }
        // Answers that nobody reads.
        "hoard" => {
            let mut kept = Vec::new();
            loop {
                let answer = send(request(&Method::Get, url, &[])?, b"", None)?;
                kept.push(wait(&answer).map_err(|error| format!("after {}: {error}", kept.len()))?);
            }
        }
        "many" => {
            let answers: Vec<_> =
                (0..50).map(|_| send(request(&Method::Get, url, &[])?, b"", None)).collect::<Result<_, _>>()?;
            let all: Vec<_> =
                answers.iter().map(|answer| wait(answer).map(|r| r.status())).collect::<Result<_, _>>()?;
            Ok(format!("{} answers", all.len()))
        }
        "abandon" => {
            // Sent and forgotten: it ends with the call.
            std::mem::forget(send(request(&Method::Get, url, &[])?, b"", None)?);
            Ok("abandoned".to_owned())
        }
        other => panic!("no such deed: {other}"),
    }
}

struct WasiHttp;

impl Guest for WasiHttp {
    fn describe() -> Info {
        // Whatever is granted: nothing gets out of a description.
        let words = whole(&Method::Get, "http://127.0.0.1:9/", &[], b"");
        Info { values: Vec::new(), extras: vec![("get".to_owned(), words.expect_err("a description got out"))] }
    }

    fn check(cx: CallContext, target: Target) -> Measurement {
        let summary = act(cx.config.trim_matches('"'), &target.url).unwrap_or_else(|error| format!("error: {error}"));
        Measurement { verdict: Verdict::Pass, summary, values: Vec::new(), facts: Vec::new() }
    }
}

export!(WasiHttp);
