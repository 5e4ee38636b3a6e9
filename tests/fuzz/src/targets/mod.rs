//! One file for each target, and what several of them need.

pub mod answer;
pub mod component;
pub mod credentials;
pub mod deployment;
pub mod grants;
pub mod headers;
pub mod journal;
pub mod lock;
pub mod manifest;
mod oracle;
pub mod patterns;
pub mod placeholder;
pub mod policy;
pub mod redact;
pub mod secrets;
pub mod signature;
pub mod tape;
pub mod url;

/// The first lines of a text and the rest of it; empty where there are fewer.
fn lines<const N: usize>(text: &str) -> [&str; N] {
    let mut parts = [""; N];
    for (part, line) in parts.iter_mut().zip(text.splitn(N, '\n')) {
        *part = line;
    }
    parts
}

/// Whether a JSON pointer leads to a value, or to one that is missing from a value that is there.
fn leads_somewhere(document: &serde_json::Value, pointer: &str) -> bool {
    document.pointer(pointer).is_some()
        || pointer.rsplit_once('/').is_some_and(|(parent, _)| document.pointer(parent).is_some())
}
