//! Ways out through WASI 0.2, which is linked for components of other languages: there is nothing behind it.

use crate::case::{Case, Outcome};
use crate::ensure;
use crate::expect::ended;
use crate::lab::{Lab, check, patient, request};
use basb_runtime::{CallOptions, Kind, Plugin};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "wasi-sockets",
            "connects, listens, sends datagrams and looks up names through WASI's sockets",
            sockets,
        ),
        quiet("wasi-environment", "the host's variables, arguments and working folder", "env", &["[] [] "]),
        quiet("wasi-folders", "the root folder, the password file, and a new file", "files", &["Err", " 0"]),
        quiet("wasi-input", "the host's standard input", "stdin", &["Ok(0) \"\""]),
        ending("wasi-output-flood", "lines on standard output without end", "flood", &["plugin/log-flood"]),
        ending("wasi-long-line", "one line without end", "one-long-line", &["plugin/log-flood", "plugin/too-large"]),
        ending("wasi-exit", "ends the process", "exit", &["plugin/trap", "plugin/exit", "plugin/panic"]),
        ending("wasi-sleep-for-ever", "sleeps for eleven days", "sleep-for-ever", &["plugin/timed-out"]),
        ending(
            "wasi-handles",
            "a million handles of streams",
            "handles",
            &["plugin/handles", "plugin/trap", "plugin/panic"],
        ),
        ending("wasi-timers", "a million timers", "pollables", &["plugin/handles", "plugin/trap", "plugin/panic"]),
        ending(
            "wasi-much-randomness",
            "a terabyte of random bytes",
            "much-randomness",
            &["plugin/trap", "plugin/too-large", "plugin/memory", "plugin/panic"],
        ),
    ]
}

fn plugin(lab: &Lab) -> Plugin {
    lab.runtime.load_blocking(&lab.guest("guest-wasi-std"), request(Kind::Probe, &json!({}))).unwrap()
}

async fn look(lab: &Lab, what: &str) -> Result<String, String> {
    let called = check(&plugin(lab), &patient(), &format!("\"{what}\""), "http://target.invalid").await;
    called.map(|called| called.value.summary).map_err(|error| error.to_string())
}

async fn sockets(lab: Arc<Lab>) -> Outcome {
    // A socket for datagrams that would notice, beside the victim's.
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    datagrams.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let told = look(&lab, &format!("net {} {}", lab.victim.port, datagrams.local_addr().unwrap().port())).await?;
    ensure!(!told.contains("Ok"), "something was possible: {told}");
    ensure!(datagrams.recv_from(&mut [0; 10]).is_err(), "a datagram arrived");
    Ok(told)
}

fn quiet(name: &str, attacks: &str, what: &'static str, parts: &'static [&'static str]) -> Case {
    Case::new(name, attacks, move |lab: Arc<Lab>| async move {
        let told = look(&lab, what).await?;
        for part in parts {
            ensure!(told.contains(part), "`{part}` is not in what it saw: {told}");
        }
        ensure!(!told.contains("BASB") && !told.contains("Ok(())"), "it saw something: {told}");
        Ok(told)
    })
}

fn ending(name: &str, attacks: &str, what: &'static str, codes: &'static [&'static str]) -> Case {
    Case::new(name, attacks, move |lab: Arc<Lab>| async move {
        let short = CallOptions::new(Duration::from_millis(if what == "sleep-for-ever" { 500 } else { 30_000 }));
        ended(check(&plugin(&lab), &short, &format!("\"{what}\""), "http://target.invalid").await, codes, &[])
    })
    .may_grow(100)
}
