//! A notifier that does to the host what the script in its configuration says: see `basb-guest-script`.

#![expect(missing_docs, unsafe_code, reason = "generated bindings and the panic buffer")]

wit_bindgen::generate!({ world: "notifier-plugin", path: "../../../wit/host/0.1.0" });

use basb::host::types::{CallContext, Failure, FailureCode, Retry};
use basb::host::{files, http, log, smtp};
use basb_guest_script::{Hands, Outcome, Request, Script, Step, play, shown};
use exports::basb::host::notifier::{Event, Guest, Info, Receipt};

const MANIFEST: &str = r#"{"manifestVersion":1,"name":"hostile-notifier","version":"0.1.0","kind":"notifier",
"publisher":"mallory","wit":"0.1","capabilities":[{"name":"http","reason":"to reach what it must not"},
{"name":"smtp","reason":"to send what it must not"},{"name":"files","reason":"to write where it must not"}],
"configSchema":{"type":"object"}}"#;

#[used]
#[cfg_attr(target_family = "wasm", unsafe(link_section = "basb-host:manifest"))]
static SECTION: [u8; MANIFEST.len()] = *MANIFEST.as_bytes().first_chunk().unwrap();

#[path = "../../script/src/panics.rs"]
mod panics;

/// What a notifier can do.
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
    match result {
        Ok(response) => Outcome::Response {
            status: response.status,
            headers: response.headers,
            length: response.body.len() as u64,
            body: shown(&response.body),
        },
        Err(http::Error::Denied(text)) => Outcome::failed("denied", text),
        Err(error) => Outcome::failed("other", format!("{error:?}")),
    }
}

fn files_error(error: files::Error) -> Outcome {
    use files::Error as E;
    match error {
        E::Denied(text) => Outcome::failed("denied", text),
        E::NotFound(text) => Outcome::failed("not-found", text),
        E::Conflict(text) => Outcome::failed("conflict", text),
        E::TooLarge(text) => Outcome::failed("too-large", text),
        E::Other(text) => Outcome::failed("other", text),
    }
}

impl Hands for Doors {
    fn act(&mut self, step: &Step, number: u32) -> Outcome {
        match step {
            Step::Http(asked) => response(http::send(&request(asked))),
            Step::Log { text, copies } => {
                log::write(log::Level::Warn, &text.repeat(*copies as usize));
                Outcome::Done
            }
            Step::Read { folder, path } => match files::read(folder, path) {
                Ok(file) => Outcome::Text(shown(&file.contents)),
                Err(error) => files_error(error),
            },
            Step::Write { folder, path, text, copies, expect } => {
                let expect = match expect.as_str() {
                    "" => files::Expectation::Anything,
                    "absent" => files::Expectation::Absent,
                    digest => files::Expectation::Digest(digest.to_owned()),
                };
                let path = path.replace("{n}", &number.to_string());
                match files::write(folder, &path, text.repeat(*copies as usize).as_bytes(), &expect) {
                    Ok(digest) => Outcome::Text(digest),
                    Err(error) => files_error(error),
                }
            }
            Step::List { folder, path } => match files::list(folder, path) {
                Ok(entries) => Outcome::Text(
                    entries.iter().take(1000).map(|e| format!("{} {:?}\n", e.name, e.kind)).collect::<String>(),
                ),
                Err(error) => files_error(error),
            },
            Step::Remove { folder, path } => match files::remove(folder, path) {
                Ok(()) => Outcome::Done,
                Err(error) => files_error(error),
            },
            Step::Mail { server, from, to, subject, text, headers } => {
                let message = smtp::Message {
                    server: server.clone(),
                    from: from.clone(),
                    to: to.clone(),
                    subject: subject.clone(),
                    text: text.clone(),
                    headers: headers.clone(),
                };
                match smtp::send(&message) {
                    Ok(text) => Outcome::Text(text),
                    Err(smtp::Error::Denied(text)) => Outcome::failed("denied", text),
                    Err(smtp::Error::Unavailable(text)) => Outcome::failed("unavailable", text),
                    Err(smtp::Error::Refused(text)) => Outcome::failed("refused", text),
                    Err(smtp::Error::Other(text)) => Outcome::failed("other", text),
                }
            }
            _ => Outcome::Cannot,
        }
    }

    fn send_many(&mut self, requests: Vec<Request>) -> Vec<Outcome> {
        let requests: Vec<_> = requests.iter().map(request).collect();
        http::send_many(&requests).into_iter().map(response).collect()
    }
}

struct HostileNotifier;

impl Guest for HostileNotifier {
    fn describe() -> Info {
        Info { events: Vec::new(), extras: Vec::new() }
    }

    fn notify(cx: CallContext, _: Event) -> Result<Receipt, Failure> {
        panics::leave_message();
        let script: Script = serde_json::from_str(&cx.config).map_err(|error| Failure {
            code: FailureCode::Invalid,
            message: error.to_string(),
            retry: Retry::Never,
            path: None,
            extras: Vec::new(),
        })?;
        let report = play(&script, &mut Doors);
        let summary = match script.answer {
            Some(answer) => answer.summary.repeat(answer.copies.max(1) as usize),
            None => report,
        };
        Ok(Receipt { summary, extras: Vec::new() })
    }
}

export!(HostileNotifier);
