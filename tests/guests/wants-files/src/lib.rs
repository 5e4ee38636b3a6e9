//! A notifier that imports `files`, `smtp` and `log`: it writes each event's title to `events.md` in the folder `vault`,
//! and sends it by mail if its kind is `mail`.

#![expect(missing_docs, unsafe_code, reason = "generated bindings")]

wit_bindgen::generate!({ world: "notifier-plugin", path: "../../../wit/host/0.1.0" });

use basb::host::types::{CallContext, Failure, FailureCode, Retry};
use basb::host::{files, log, smtp};
use exports::basb::host::notifier::{Event, Guest, Info, Receipt};

const MANIFEST: &str = r#"{"manifestVersion":1,"name":"wants-files","version":"0.1.0","kind":"notifier",
"publisher":"basb-host","wit":"0.1","capabilities":[{"name":"smtp","reason":"sends a note"},{"name":"files","reason":"writes a note"}],"configSchema":{"type":"object"}}"#;

#[used]
#[cfg_attr(target_family = "wasm", unsafe(link_section = "basb-host:manifest"))]
static SECTION: [u8; MANIFEST.len()] = *MANIFEST.as_bytes().first_chunk().unwrap();

fn failure(message: String) -> Failure {
    Failure { code: FailureCode::Denied, message, retry: Retry::Never, path: None, extras: Vec::new() }
}

struct Notes;

impl Guest for Notes {
    fn describe() -> Info {
        Info { events: vec!["run.*".to_owned()], extras: Vec::new() }
    }

    fn notify(_cx: CallContext, event: Event) -> Result<Receipt, Failure> {
        log::write(log::Level::Info, &format!("writing {}", event.title));
        if event.kind == "mail" {
            let mail = smtp::Message {
                server: "office".to_owned(),
                from: "a@example.com".to_owned(),
                to: vec!["b@example.com".to_owned()],
                subject: event.title,
                text: event.data,
                headers: Vec::new(),
            };
            return match smtp::send(&mail) {
                Ok(summary) => Ok(Receipt { summary, extras: Vec::new() }),
                Err(error) => Err(failure(format!("{error:?}"))),
            };
        }
        match files::write("vault", "events.md", event.title.as_bytes(), &files::Expectation::Anything) {
            Ok(digest) => Ok(Receipt { summary: digest, extras: Vec::new() }),
            Err(error) => Err(failure(format!("{error:?}"))),
        }
    }
}

export!(Notes);
