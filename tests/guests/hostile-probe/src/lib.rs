//! A probe that does to the host what the script in its configuration says: see `basb-guest-script`.

#![expect(missing_docs, unsafe_code, reason = "generated bindings and the panic buffer")]

wit_bindgen::generate!({ world: "probe-plugin", path: "../../../wit/host/0.1.0" });

use basb::host::types::{CallContext, Verdict};
use basb::host::{exec, http, log, tcp};
use basb_guest_script::{Answer, Hands, Outcome, Request, Script, Step, play, shown};
use exports::basb::host::probe::{Guest, Info, Measurement, Target};

const MANIFEST: &str = r#"{"manifestVersion":1,"name":"hostile-probe","version":"0.1.0","kind":"probe",
"publisher":"mallory","wit":"0.1","capabilities":[{"name":"http","reason":"to reach what it must not"},
{"name":"tcp","reason":"to reach what it must not"},{"name":"exec","reason":"to run what it must not"}],
"configSchema":{"type":"object"}}"#;

#[used]
#[cfg_attr(target_family = "wasm", unsafe(link_section = "basb-host:manifest"))]
static SECTION: [u8; MANIFEST.len()] = *MANIFEST.as_bytes().first_chunk().unwrap();

#[path = "../../script/src/panics.rs"]
mod panics;

/// What a probe can do.
struct Doors;

fn request(request: &Request) -> http::Request {
    http::Request {
        method: request.sent_method(),
        url: request.url.clone(),
        headers: request.headers.clone(),
        body: request.sent_body(),
        timeout: request.timeout,
    }
}

fn response(result: Result<http::Response, http::Error>) -> Outcome {
    use http::Error as E;
    match result {
        Ok(response) => Outcome::Response {
            status: response.status,
            headers: response.headers,
            length: response.body.len() as u64,
            body: shown(&response.body),
        },
        Err(E::Denied(text)) => Outcome::failed("denied", text),
        Err(E::Invalid(text)) => Outcome::failed("invalid", text),
        Err(E::Dns(text)) => Outcome::failed("dns", text),
        Err(E::Connect(text)) => Outcome::failed("connect", text),
        Err(E::Tls(text)) => Outcome::failed("tls", text),
        Err(E::TimedOut(text)) => Outcome::failed("timed-out", text),
        Err(E::Broken(text)) => Outcome::failed("broken", text),
        Err(E::TooLarge(text)) => Outcome::failed("too-large", text),
        Err(E::Exhausted(text)) => Outcome::failed("exhausted", text),
        Err(E::Other(text)) => Outcome::failed("other", text),
    }
}

impl Hands for Doors {
    fn act(&mut self, step: &Step, _: u32) -> Outcome {
        match step {
            Step::Http(asked) => response(http::send(&request(asked))),
            Step::Tcp { host, port, send, read_limit, timeout } => {
                use tcp::Error as E;
                let exchange = tcp::Exchange {
                    host: host.clone(),
                    port: *port,
                    send: send.clone().into_bytes(),
                    read_limit: *read_limit,
                    timeout: *timeout,
                };
                match tcp::run(&exchange) {
                    Ok(reply) => Outcome::Text(shown(&reply.received)),
                    Err(E::Denied(text)) => Outcome::failed("denied", text),
                    Err(E::Dns(text)) => Outcome::failed("dns", text),
                    Err(E::Refused(text)) => Outcome::failed("refused", text),
                    Err(E::TimedOut(text)) => Outcome::failed("timed-out", text),
                    Err(E::Other(text)) => Outcome::failed("other", text),
                }
            }
            Step::Exec { program, args, env, stdin, timeout } => {
                use exec::Error as E;
                let command = exec::Command {
                    program: program.clone(),
                    args: args.clone(),
                    env: env.clone(),
                    stdin: stdin.clone().into_bytes(),
                    timeout: *timeout,
                };
                match exec::run(&command) {
                    Ok(output) => Outcome::Text(format!(
                        "{:?}\n{}\n{}",
                        output.status,
                        shown(&output.stdout),
                        shown(&output.stderr)
                    )),
                    Err(E::Denied(text)) => Outcome::failed("denied", text),
                    Err(E::NotStarted(text)) => Outcome::failed("not-started", text),
                    Err(E::TimedOut(text)) => Outcome::failed("timed-out", text),
                    Err(E::TooLarge(text)) => Outcome::failed("too-large", text),
                    Err(E::Other(text)) => Outcome::failed("other", text),
                }
            }
            Step::Log { text, copies } => {
                log::write(log::Level::Warn, &text.repeat(*copies as usize));
                Outcome::Done
            }
            _ => Outcome::Cannot,
        }
    }

    fn send_many(&mut self, requests: Vec<Request>) -> Vec<Outcome> {
        let requests: Vec<_> = requests.iter().map(request).collect();
        http::send_many(&requests).into_iter().map(response).collect()
    }
}

fn answer(answer: &Answer) -> Measurement {
    let verdict = match answer.verdict.as_str() {
        "fail" => Verdict::Fail,
        "inconclusive" => Verdict::Inconclusive,
        "error" => Verdict::Error,
        "no-data" => Verdict::NoData,
        _ => Verdict::Pass,
    };
    let values = answer.values.iter().map(|(name, value)| (name.clone(), value.parse().unwrap_or(f64::NAN)));
    Measurement {
        verdict,
        summary: answer.summary.repeat(answer.copies.max(1) as usize),
        values: values.collect(),
        facts: answer.facts.clone(),
    }
}

struct HostileProbe;

impl Guest for HostileProbe {
    fn describe() -> Info {
        Info { values: Vec::new(), extras: Vec::new() }
    }

    fn check(cx: CallContext, target: Target) -> Measurement {
        panics::leave_message();
        // A URL that the host alone knows can be used in a script.
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
        let report = play(&script, &mut Doors);
        match &script.answer {
            Some(told) => answer(told),
            None => Measurement { verdict: Verdict::Pass, summary: report, values: Vec::new(), facts: Vec::new() },
        }
    }
}

export!(HostileProbe);
