//! What a hostile guest is told to do, and what it tells of it. The script is the plugin's configuration; the report is
//! the summary of its measurement or receipt.
//!
//! **Must never** be linked into the product, or into a guest that is to be trusted.

#[cfg(target_family = "wasm")]
pub mod memory;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The whole of what a guest is to do in one call.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Script {
    /// What to do, in this order.
    pub steps: Vec<Step>,
    /// What to look for in the guest's own memory after each step.
    pub hunt: Option<Hunt>,
    /// What to answer instead of the report.
    pub answer: Option<Answer>,
}

/// One thing to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// A request through `send`.
    Http(Request),
    /// All of these, each list so many times over, in one `send-many`.
    HttpMany {
        /// The requests.
        requests: Vec<Request>,
        /// How often the list is repeated.
        times: u32,
    },
    /// A request, and further ones as long as the answer is a redirect: a naive client.
    Follow(Request),
    /// Something, so many times; only the kinds of answers are counted.
    Repeat {
        /// How often.
        times: u32,
        /// What.
        step: Box<Step>,
    },
    /// One TCP exchange.
    Tcp {
        /// Host.
        host: String,
        /// Port.
        port: u16,
        /// What is sent.
        send: String,
        /// How much is read.
        read_limit: u32,
        /// In milliseconds.
        timeout: u64,
    },
    /// A program.
    Exec {
        /// Its name in the grant.
        program: String,
        /// Its arguments.
        args: Vec<String>,
        /// Variables.
        env: Vec<(String, String)>,
        /// Standard input.
        stdin: String,
        /// In milliseconds.
        timeout: u64,
    },
    /// A log line, made of so many copies of a text.
    Log {
        /// The text.
        text: String,
        /// How many copies of it.
        copies: u32,
    },
    /// Reads a file.
    Read {
        /// The folder's name in the grant.
        folder: String,
        /// The path in it.
        path: String,
    },
    /// Writes a file made of so many copies of a text; `{n}` in the path is the number of the write.
    Write {
        /// The folder's name in the grant.
        folder: String,
        /// The path in it.
        path: String,
        /// The text.
        text: String,
        /// How many copies of it.
        copies: u32,
        /// Whether the file must not be there: `absent`; or its digest; empty for anything.
        expect: String,
    },
    /// Lists a folder.
    List {
        /// The folder's name in the grant.
        folder: String,
        /// The path in it.
        path: String,
    },
    /// Removes a file.
    Remove {
        /// The folder's name in the grant.
        folder: String,
        /// The path in it.
        path: String,
    },
    /// A mail.
    Mail {
        /// The server's name in the grant.
        server: String,
        /// The sender.
        from: String,
        /// The recipients.
        to: Vec<String>,
        /// The subject.
        subject: String,
        /// The text.
        text: String,
        /// Further headers.
        headers: Vec<(String, String)>,
    },
    /// Panics with these words.
    Panic(String),
    /// Never ends.
    Loop,
    /// Takes memory until there is none, and touches all of it.
    Memory,
    /// Calls itself without end.
    Recursion,
}

/// An HTTP request.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Request {
    /// The method; `GET` when empty.
    pub method: String,
    /// The URL.
    pub url: String,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body is made of so many copies of `body`; one when 0.
    pub copies: u32,
    /// The body.
    pub body: String,
    /// In milliseconds.
    pub timeout: Option<u64>,
}

impl Request {
    /// A GET.
    #[must_use]
    pub fn get(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// The method that is sent.
    #[must_use]
    pub fn sent_method(&self) -> String {
        if self.method.is_empty() { "GET".to_owned() } else { self.method.clone() }
    }

    /// The body that is sent.
    #[must_use]
    pub fn sent_body(&self) -> Vec<u8> {
        self.body.repeat(self.copies.max(1) as usize).into_bytes()
    }
}

/// What to look for in memory. Nothing of it is there in the clear: every byte is combined with the key.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hunt {
    /// As hexadecimal digits.
    pub key: String,
    /// Each thing to look for: its name, and its bytes combined with the key, as hexadecimal digits.
    pub needles: Vec<(String, String)>,
}

impl Hunt {
    /// Something more to look for.
    #[must_use]
    pub fn with(mut self, name: &str, needle: &[u8]) -> Self {
        let key = unhex(&self.key);
        let masked: Vec<u8> = needle.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        self.needles.push((name.to_owned(), hex(&masked)));
        self
    }
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hexadecimal digits as bytes; what is none counts as 0.
#[must_use]
pub fn unhex(text: &str) -> Vec<u8> {
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok()).unwrap_or(0);
    text.as_bytes().chunks(2).map(|pair| pair.iter().fold(0u8, |byte, c| (byte << 4) | digit(*c))).collect()
}

/// What is answered instead of a report.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Answer {
    /// `pass`, `fail`, `inconclusive`, `error` or `no-data`.
    pub verdict: String,
    /// Made of so many copies of `summary`; one when 0.
    pub copies: u32,
    /// The summary.
    pub summary: String,
    /// Values as text: `NaN`, `inf`, `1e308`.
    pub values: Vec<(String, String)>,
    /// Facts.
    pub facts: Vec<(String, String)>,
}

/// What came of a script.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// What came of each step.
    pub steps: Vec<Seen>,
    /// How many bytes of memory were searched in all.
    pub searched: u64,
}

/// What came of a step.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// What came of it.
    pub outcome: Outcome,
    /// The names of the needles that were in memory afterwards.
    pub found: Vec<String>,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// A response.
    Response {
        /// Its status.
        status: u16,
        /// Its headers.
        headers: Vec<(String, String)>,
        /// The first 64 KiB of its body.
        body: String,
        /// The length of its body.
        length: u64,
    },
    /// Some text: what a program wrote, a server sent, a file held.
    Text(String),
    /// It was done, and there is nothing to tell.
    Done,
    /// It failed.
    Failed {
        /// The case of the error, such as `denied`.
        kind: String,
        /// Its text.
        text: String,
    },
    /// Many times: how often each kind of outcome was seen, and the last failure's text.
    Many {
        /// `ok` and the kinds of failures.
        kinds: BTreeMap<String, u32>,
        /// The last failure's text.
        last: String,
    },
    /// The guest is of a kind that cannot do that.
    Cannot,
}

impl Outcome {
    /// A failure.
    #[must_use]
    pub fn failed(kind: &str, text: impl Into<String>) -> Self {
        Self::Failed { kind: kind.to_owned(), text: text.into() }
    }

    /// Its kind: `ok`, or that of the failure.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Failed { kind, .. } => kind,
            Self::Cannot => "cannot",
            _ => "ok",
        }
    }

    /// The text of a failure, or what was read.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Failed { text, .. } | Self::Text(text) => text,
            Self::Response { body, .. } => body,
            Self::Many { last, .. } => last,
            Self::Done | Self::Cannot => "",
        }
    }
}

/// What a guest of a kind can do.
pub trait Hands {
    /// Does one thing that is the same for no two kinds of guests.
    fn act(&mut self, step: &Step, number: u32) -> Outcome;
    /// Sends several requests at once.
    fn send_many(&mut self, requests: Vec<Request>) -> Vec<Outcome>;
}

/// Carries a script out. Returns the report as JSON.
pub fn play(script: &Script, hands: &mut impl Hands) -> String {
    let mut report = Report::default();
    for step in &script.steps {
        let outcome = one(step, hands, 0);
        let found = search(script.hunt.as_ref(), &mut report.searched);
        report.steps.push(Seen { outcome, found });
    }
    serde_json::to_string(&report).unwrap_or_default()
}

fn one(step: &Step, hands: &mut impl Hands, number: u32) -> Outcome {
    match step {
        Step::Repeat { times, step } => {
            let mut kinds = BTreeMap::new();
            let mut last = String::new();
            for n in 0..*times {
                count(one(step, hands, n), &mut kinds, &mut last);
            }
            Outcome::Many { kinds, last }
        }
        Step::HttpMany { requests, times } => {
            let all: Vec<Request> = (0..*times).flat_map(|_| requests.iter().cloned()).collect();
            let mut kinds = BTreeMap::new();
            let mut last = String::new();
            for outcome in hands.send_many(all) {
                count(outcome, &mut kinds, &mut last);
            }
            Outcome::Many { kinds, last }
        }
        Step::Follow(request) => {
            let mut request = request.clone();
            let mut outcome = hands.act(&Step::Http(request.clone()), number);
            for _ in 0..10 {
                let Outcome::Response { status: 300..=399, headers, .. } = &outcome else { break };
                let Some((_, next)) = headers.iter().find(|(name, _)| name == "location") else { break };
                request.url.clone_from(next);
                outcome = hands.act(&Step::Http(request.clone()), number);
            }
            outcome
        }
        #[expect(clippy::panic, reason = "a hostile guest may")]
        Step::Panic(words) => panic!("{words}"),
        Step::Loop => loop {
            std::hint::black_box(());
        },
        Step::Memory => {
            let mut all = Vec::new();
            loop {
                all.push(std::hint::black_box(vec![1u8; 1 << 20]));
            }
        }
        Step::Recursion => Outcome::Text(recurse(0).to_string()),
        step => hands.act(step, number),
    }
}

fn count(outcome: Outcome, kinds: &mut BTreeMap<String, u32>, last: &mut String) {
    *kinds.entry(outcome.kind().to_owned()).or_default() += 1;
    if let Outcome::Failed { text, .. } = outcome {
        *last = text;
    }
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    if depth == u64::MAX { 0 } else { recurse(depth + 1) + frame.iter().sum::<u64>() }
}

#[cfg(target_family = "wasm")]
fn search(hunt: Option<&Hunt>, searched: &mut u64) -> Vec<String> {
    hunt.map(|hunt| memory::search(hunt, searched)).unwrap_or_default()
}

#[cfg(not(target_family = "wasm"))]
fn search(_: Option<&Hunt>, _: &mut u64) -> Vec<String> {
    Vec::new()
}

/// The first 64 KiB of some bytes as text.
#[must_use]
pub fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..bytes.len().min(64 << 10)).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_needle_is_not_in_the_script() {
        let hunt = Hunt { key: "5ac3".to_owned(), ..Hunt::default() }.with("raw", b"sesame");
        let text = serde_json::to_string(&hunt).unwrap();
        assert!(!text.contains("sesame") && !text.contains(&hex(b"sesame")));
        let back: Vec<u8> =
            unhex(&hunt.needles[0].1).iter().zip([0x5a, 0xc3].iter().cycle()).map(|(a, b)| a ^ b).collect();
        assert_eq!(back, b"sesame");
    }
}
