//! One call's tape and its text.
//!
//! The parts that a plugin's interface defines (arguments, questions, answers, the result) are kept as JSON texts: they
//! are compared as texts, and a version of the host that knows more of them changes nothing about what is kept.

use basb_core::{Digest, PluginName, ServiceName, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::fmt::Write as _;

/// The version of a tape's form.
pub const TAPE_VERSION: u32 = 1;

/// What a line that a plugin wrote to the log looks like among its exchanges.
const LOG: &str = "{\"log\":";

/// The longest result that is kept whole, in bytes. Attack: a plugin whose answers of megabytes fill the disk of those who
/// keep the tapes, call by call.
const KEPT: usize = 256 << 10;

/// One thing that a call had the host do, or wrote to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// What it asked for, as JSON.
    pub ask: String,
    /// What it got, as JSON. None for a line of the log, and where the answer is not known: the call was cut off.
    pub answer: Option<String>,
}

impl Exchange {
    /// Whether it is a line of the log, which gets no answer.
    #[must_use]
    pub fn is_log(&self) -> bool {
        self.ask.starts_with(LOG)
    }

    /// As it stands on a tape.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(self.ask.len() + self.answer.as_ref().map_or(0, String::len) + 24);
        self.write(&mut text);
        text
    }

    fn write(&self, to: &mut String) {
        to.push_str("{\"ask\":");
        to.push_str(&self.ask);
        if let Some(answer) = &self.answer {
            to.push_str(",\"answer\":");
            to.push_str(answer);
        }
        to.push('}');
    }
}

/// How exactly a call can be played back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Replay {
    /// The order of its questions is total.
    #[default]
    Exact,
    /// It brings an HTTP client of its own (`wasi:http`) and may race two requests.
    BestEffort,
}

impl Replay {
    fn is_exact(&self) -> bool {
        *self == Self::Exact
    }
}

/// Everything about one call of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tape {
    /// The plugin's name in the deployment file.
    pub plugin: PluginName,
    /// The digest of its bytes.
    pub digest: Digest,
    /// The function that was called.
    pub function: String,
    /// The service that it was about; none for some notifications.
    pub service: Option<ServiceName>,
    /// The number of the effect that it carried out, within its service; none for a notification.
    pub order: Option<u32>,
    /// When it was called.
    pub at: Timestamp,
    /// How exactly it can be played back.
    pub replay: Replay,
    /// The arguments, as JSON.
    pub args: String,
    /// What it asked for and wrote, in order.
    pub exchanges: Vec<Exchange>,
    /// Whether there were more exchanges than a tape holds; there are none on it then.
    pub cut: bool,
    /// `ok`, or the code of what ended it.
    pub outcome: String,
    /// The result, as JSON, as [`kept`] has it; none where there was none.
    pub result: Option<String>,
}

/// Why a text is no tape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TapeError {
    /// It does not have the form (`tape/unreadable`).
    #[error("this is no tape: {0}")]
    Form(String),
    /// A newer version of the program wrote it (`tape/newer`).
    #[error("the tape is of version {found}, and this program reads up to version {TAPE_VERSION}")]
    Newer {
        /// The version found.
        found: u32,
    },
}

impl TapeError {
    /// A code that stays the same from version to version.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Form(_) => "tape/unreadable",
            Self::Newer { .. } => "tape/newer",
        }
    }
}

/// A tape as JSON sees it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Form {
    tape: u32,
    plugin: PluginName,
    digest: Digest,
    function: String,
    #[serde(default)]
    service: Option<ServiceName>,
    #[serde(default)]
    order: Option<u32>,
    at: Timestamp,
    #[serde(default)]
    replay: Replay,
    args: Value,
    #[serde(default)]
    exchanges: Vec<ExchangeForm>,
    #[serde(default)]
    cut: bool,
    outcome: String,
    #[serde(default)]
    result: Option<Value>,
}

#[derive(Deserialize)]
struct ExchangeForm {
    ask: Value,
    #[serde(default)]
    answer: Option<Value>,
}

impl Tape {
    /// Its text: one line of JSON.
    #[must_use]
    pub fn text(&self) -> String {
        let inside: usize = self.exchanges.iter().map(|e| e.ask.len() + e.answer.as_ref().map_or(0, String::len)).sum();
        let size = self.args.len() + self.result.as_ref().map_or(0, String::len) + inside;
        let mut text = String::with_capacity(size + 24 * self.exchanges.len() + 320);
        // Writing into a string cannot fail. Names and digests need no escapes, by their types; the other words are ours.
        let _ = write!(text, "{{\"tape\":{TAPE_VERSION},\"plugin\":\"{}\",\"digest\":\"{}\"", self.plugin, self.digest);
        let _ = write!(text, ",\"function\":{}", quoted(&self.function));
        if let Some(service) = &self.service {
            let _ = write!(text, ",\"service\":\"{service}\"");
        }
        if let Some(order) = self.order {
            let _ = write!(text, ",\"order\":{order}");
        }
        let _ = write!(text, ",\"at\":{}", self.at.0);
        if !self.replay.is_exact() {
            text.push_str(",\"replay\":\"bestEffort\"");
        }
        text.push_str(",\"args\":");
        text.push_str(&self.args);
        if !self.exchanges.is_empty() {
            text.push_str(",\"exchanges\":[");
            for (index, exchange) in self.exchanges.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                exchange.write(&mut text);
            }
            text.push(']');
        }
        if self.cut {
            text.push_str(",\"cut\":true");
        }
        let _ = write!(text, ",\"outcome\":{}", quoted(&self.outcome));
        if let Some(result) = &self.result {
            text.push_str(",\"result\":");
            text.push_str(result);
        }
        text.push('}');
        text
    }

    /// Reads a tape's text.
    ///
    /// # Errors
    /// [`TapeError`] when it is none, or one from a newer version.
    pub fn parse(text: &str) -> Result<Self, TapeError> {
        #[derive(Deserialize)]
        struct Version {
            tape: u32,
        }
        let wrong = |e: serde_json::Error| TapeError::Form(e.to_string());
        let form: Form = match serde_json::from_str(text) {
            Ok(form) => form,
            // A newer form may differ in anything but its version.
            Err(e) => match serde_json::from_str::<Version>(text) {
                Ok(Version { tape }) if tape > TAPE_VERSION => return Err(TapeError::Newer { found: tape }),
                _ => return Err(wrong(e)),
            },
        };
        if form.tape > TAPE_VERSION {
            return Err(TapeError::Newer { found: form.tape });
        }
        let exchange = |e: ExchangeForm| Exchange { ask: e.ask.to_string(), answer: e.answer.map(|a| a.to_string()) };
        Ok(Self {
            plugin: form.plugin,
            digest: form.digest,
            function: form.function,
            service: form.service,
            order: form.order,
            at: form.at,
            replay: form.replay,
            args: form.args.to_string(),
            exchanges: form.exchanges.into_iter().map(exchange).collect(),
            cut: form.cut,
            outcome: form.outcome,
            result: form.result.map(|r| r.to_string()),
        })
    }

    /// A short check sum of each exchange, in order: where a tape was changed, they tell which exchange it was.
    #[must_use]
    pub fn marks(&self) -> Vec<String> {
        self.exchanges.iter().map(mark).collect()
    }
}

/// What a tape keeps of a result: all of it, or of a very long one the size and the digest, which is enough to tell whether
/// a replay comes to the same.
#[must_use]
pub fn kept(result: &str) -> Cow<'_, str> {
    if result.len() <= KEPT {
        return Cow::Borrowed(result);
    }
    let result = normal(result);
    let (bytes, sha256) = (result.len(), Digest::of(result.as_bytes()));
    Cow::Owned(format!("{{\"leftOut\":{{\"bytes\":{bytes},\"digest\":\"{sha256}\"}}}}"))
}

/// JSON in the form in which it is on a tape after it was read.
#[must_use]
pub fn normal(text: &str) -> String {
    serde_json::from_str::<Value>(text).map_or_else(|_| text.to_owned(), |value| value.to_string())
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// The check sum of one exchange: the first eight digits of the SHA-256 of its text.
#[must_use]
pub fn mark(exchange: &Exchange) -> String {
    let hash = Sha256::digest(exchange.text());
    let mut mark = String::with_capacity(8);
    push_hex(&mut mark, hash.iter().take(4));
    mark
}

/// Bytes as hexadecimal digits: made for every call of a plugin, so not by way of a formatter.
fn push_hex<'a>(to: &mut String, bytes: impl IntoIterator<Item = &'a u8>) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            to.push(char::from(if digit < 10 { b'0' + digit } else { b'a' - 10 + digit }));
        }
    }
}

/// The SHA-256 of a tape's text.
#[must_use]
pub fn sha256(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// A SHA-256 value as a digest.
#[must_use]
pub fn digest(sha256: &[u8; 32]) -> Digest {
    let mut text = String::with_capacity(71);
    text.push_str("sha256:");
    push_hex(&mut text, sha256);
    // What was put together here has the form.
    Digest::try_from(text).unwrap_or_else(|_| Digest::of(sha256))
}

/// One digest for several tapes: over the number and the SHA-256 of each, in order.
#[must_use]
pub fn digest_of_range<'a>(tapes: impl IntoIterator<Item = (u64, &'a [u8; 32])>) -> Digest {
    let mut text = String::from("basb-tape/1/range\n");
    for (call, sha256) in tapes {
        let _ = write!(text, "{call} ");
        push_hex(&mut text, sha256);
        text.push('\n');
    }
    Digest::of(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
        .prop_map(|value| value.to_string())
    }

    fn tape() -> impl Strategy<Value = Tape> {
        // An answer of `null` is read as none: answers are objects or lists.
        let answer = || json().prop_map(|json| format!("{{\"ok\":{json}}}"));
        let exchange = (json(), prop::option::of(answer())).prop_map(|(ask, answer)| Exchange { ask, answer });
        let about = ("[a-z]{1,8}", any::<String>(), prop::option::of("[a-z]{1,8}"), prop::option::of(any::<u32>()));
        let all = (about, any::<u64>(), json(), prop::collection::vec(exchange, 0..4), any::<bool>(), answer());
        all.prop_map(|((plugin, function, service, order), at, args, exchanges, flag, result)| Tape {
            plugin: PluginName::new(plugin).unwrap(),
            digest: Digest::of(function.as_bytes()),
            function: function.clone(),
            service: service.map(|s| ServiceName::new(s).unwrap()),
            order,
            at: Timestamp(at),
            replay: if flag { Replay::BestEffort } else { Replay::Exact },
            args,
            exchanges,
            cut: flag,
            outcome: function,
            result: flag.then_some(result),
        })
    }

    #[test]
    fn of_a_very_long_result_only_the_digest_is_kept() {
        let long = |last: char| format!("{{ \"ok\": \"{}{last}\" }}", "x".repeat(KEPT));
        let short = kept(&long('a')).into_owned();
        assert!(short.len() < 200 && short.starts_with("{\"leftOut\":{\"bytes\":262"), "{short}");
        assert_eq!(kept(&normal(&long('a'))), short, "spaces are no part of it");
        assert_ne!(kept(&long('b')), short);
        assert_eq!(kept("{ \"ok\": 1 }"), "{ \"ok\": 1 }");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(tape in tape()) {
            let text = tape.text();
            prop_assert!(!text.contains('\n'));
            let again = Tape::parse(&text).unwrap();
            prop_assert_eq!(&again, &tape);
            prop_assert_eq!(again.text(), text);
            prop_assert_eq!(again.marks(), tape.marks());
        }
    }

    const GOLDEN: &str = include_str!("../golden/tape-v1.json");

    #[test]
    fn the_form_is_as_it_was() {
        let text = GOLDEN.trim_end();
        let tape = Tape::parse(text).unwrap();
        assert_eq!(tape.text(), text);
        assert_eq!((tape.function.as_str(), tape.order, tape.exchanges.len()), ("apply", Some(3), 3));
        assert!(tape.exchanges[0].is_log() && !tape.exchanges[1].is_log());
        assert_eq!(tape.exchanges[2].answer, None);
        assert_eq!(tape.marks(), ["d7356c51", "6fbe9810", "44b6ebc2"]);
    }

    #[test]
    fn a_newer_form_is_not_guessed_at() {
        assert_eq!(Tape::parse("{\"tape\":2,\"what\":[]}"), Err(TapeError::Newer { found: 2 }));
        let newer = GOLDEN.trim_end().replacen("\"tape\":1", "\"tape\":7", 1);
        assert_eq!(Tape::parse(&newer), Err(TapeError::Newer { found: 7 }));
        for text in ["", "[]", "{}", "{\"tape\":1}", "{\"tape\":-1}"] {
            assert_eq!(Tape::parse(text).unwrap_err().code(), "tape/unreadable", "{text}");
        }
    }

    #[test]
    fn a_range_is_told_from_every_other() {
        let (a, b) = (sha256("a"), sha256("b"));
        let of = |list: &[(u64, &[u8; 32])]| digest_of_range(list.iter().copied());
        assert_eq!(of(&[(1, &a), (2, &b)]), of(&[(1, &a), (2, &b)]));
        for other in [of(&[(2, &a), (1, &b)]), of(&[(1, &b), (2, &a)]), of(&[(1, &a)]), of(&[])] {
            assert_ne!(other, of(&[(1, &a), (2, &b)]));
        }
    }
}
