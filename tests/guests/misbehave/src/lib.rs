//! A probe that attacks the host in the way that its configuration names, as a bare JSON string such as `"loop"`.

#![expect(missing_docs, unsafe_code, reason = "generated bindings and the panic buffer")]
#![expect(clippy::panic, clippy::indexing_slicing, reason = "misbehaving is what it is for")]

wit_bindgen::generate!({ world: "probe-plugin", path: "../../../wit/host/0.1.0" });

use basb::host::types::{CallContext, Verdict};
use basb::host::{exec, http, log, tcp};
use exports::basb::host::probe::{Guest, Info, Measurement, Target};

const MANIFEST: &str = r#"{"manifestVersion":1,"name":"misbehave","version":"0.1.0","kind":"probe",
"publisher":"basb-host","wit":"0.1","capabilities":[{"name":"http","reason":"to be denied"},
{"name":"tcp","reason":"to be denied"},{"name":"exec","reason":"to be denied"}],"configSchema":{"type":"string"}}"#;

#[used]
#[cfg_attr(target_family = "wasm", unsafe(link_section = "basb-host:manifest"))]
static SECTION: [u8; MANIFEST.len()] = *MANIFEST.as_bytes().first_chunk().unwrap();

const MARKER: &[u8] = b"BASB-PANIC/1\0";
static mut PANIC: [u8; 4096] = [0; 4096];

/// Leaves the panic's message where the host looks for it; the SDK does the same for every plugin.
fn leave_panic_message() {
    std::panic::set_hook(Box::new(|info| {
        let text = info.to_string();
        let room = 4096 - MARKER.len() - 4;
        let text = &text.as_bytes()[..text.len().min(room)];
        let at = (&raw mut PANIC).cast::<u8>();
        // SAFETY: a guest has one thread, and everything fits by the arithmetic above.
        unsafe {
            std::ptr::copy_nonoverlapping(MARKER.as_ptr(), at, MARKER.len());
            std::ptr::copy_nonoverlapping((text.len() as u32).to_le_bytes().as_ptr(), at.add(MARKER.len()), 4);
            std::ptr::copy_nonoverlapping(text.as_ptr(), at.add(MARKER.len() + 4), text.len());
        }
        std::hint::black_box(at);
    }));
}

fn plain(summary: String) -> Measurement {
    Measurement { verdict: Verdict::Pass, summary, values: Vec::new(), facts: Vec::new() }
}

fn get(url: &str, method: &str) -> http::Request {
    http::Request {
        method: method.to_owned(),
        url: url.to_owned(),
        headers: vec![("x-guest".to_owned(), "misbehave".to_owned())],
        body: Vec::new(),
        timeout: None,
    }
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    if depth == u64::MAX { 0 } else { recurse(depth + 1) + frame[(depth % 64) as usize] }
}

struct Misbehave;

impl Guest for Misbehave {
    fn describe() -> Info {
        Info { values: Vec::new(), extras: Vec::new() }
    }

    fn check(cx: CallContext, target: Target) -> Measurement {
        leave_panic_message();
        match cx.config.trim_matches('"') {
            "nothing" => plain("nothing".to_owned()),
            "loop" => loop {
                std::hint::black_box(());
            },
            "panic" => panic!("the sky fell on {}\u{1b}[31m", target.service),
            "memory" => {
                let mut all = Vec::new();
                loop {
                    all.push(std::hint::black_box(vec![1u8; 1 << 20]));
                }
            }
            "recursion" => plain(recurse(0).to_string()),
            "log" => loop {
                log::write(log::Level::Info, &"x".repeat(1000));
            },
            "log-line" => {
                log::write(log::Level::Warn, "one \u{1b}[2J line");
                plain("logged".to_owned())
            }
            "huge" => plain("x".repeat(24 << 20)),
            "many" => {
                Measurement { facts: vec![(String::new(), String::new()); 1_000_000], ..plain("many".to_owned()) }
            }
            "hang" => {
                log::write(log::Level::Info, "before the request");
                plain(format!("{:?}", http::send(&get(&target.url, "GET"))))
            }
            "flood" => {
                let mut last = String::new();
                for _ in 0..3000 {
                    last = format!("{:?}", http::send(&get(&target.url, "GET")).map(|r| r.status));
                }
                plain(last)
            }
            "get" => plain(match http::send(&get(&target.url, "GET")) {
                Ok(response) => format!("{} {}", response.status, String::from_utf8_lossy(&response.body)),
                Err(error) => format!("{error:?}"),
            }),
            "post" => plain(format!("{:?}", http::send(&get(&target.url, "POST")).map(|r| r.status))),
            "many-requests" => {
                let all: Vec<_> = (0..3).map(|_| get(&target.url, "GET")).collect();
                plain(format!(
                    "{:?}",
                    http::send_many(&all).iter().map(|r| r.as_ref().map(|r| r.status)).collect::<Vec<_>>()
                ))
            }
            "tcp" => plain(format!(
                "{:?}",
                tcp::run(&tcp::Exchange {
                    host: "127.0.0.1".to_owned(),
                    port: 1,
                    send: Vec::new(),
                    read_limit: 0,
                    timeout: 1000
                })
            )),
            "exec" => plain(format!(
                "{:?}",
                exec::run(&exec::Command {
                    program: "sh".to_owned(),
                    args: vec!["-c".to_owned(), "id".to_owned()],
                    env: Vec::new(),
                    stdin: Vec::new(),
                    timeout: 1000
                })
            )),
            other => panic!("no such misbehaviour: {other}"),
        }
    }
}

export!(Misbehave);
