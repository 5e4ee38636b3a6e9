//! What is checked of every message, and the kinds of containment.

use crate::case::Outcome;
use crate::lab::NAME;
use basb_guest_script::Outcome as Told;
use basb_runtime::{CallError, LoadError, Plugin};

/// A message is for a person: bounded, and nothing in it can repaint a terminal or forge a line of a log.
pub fn is_clear(text: &str) -> Result<(), String> {
    if text.len() > 4000 {
        return Err(format!("a message of {} bytes", text.len()));
    }
    let harmful = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
    };
    match text.chars().find(|c| harmful(*c)) {
        Some(c) => Err(format!("a message with {c:?} in it: {text:?}")),
        None => Ok(()),
    }
}

fn holds(text: &str, parts: &[&str]) -> Result<(), String> {
    match parts.iter().find(|part| !text.contains(**part)) {
        Some(part) => Err(format!("`{part}` is not in the message: {text}")),
        None => Ok(()),
    }
}

/// The plugin did not load, for the expected reason, and the message names it.
pub fn refused(result: Result<Plugin, LoadError>, code: &str, parts: &[&str]) -> Outcome {
    let error = match result {
        Ok(plugin) => return Err(format!("it loads: {plugin:?}")),
        Err(error) => error,
    };
    let text = error.to_string();
    if error.code() != code {
        return Err(format!("{} instead of {code}: {text}", error.code()));
    }
    is_clear(&text)?;
    holds(&text, &[&format!("plugin `{NAME}`"), error.digest.short()])?;
    holds(&text, parts)?;
    Ok(format!("{code}: {text}"))
}

/// The call was ended, for one of the expected reasons; the message names plugin, digest and call and says what to do.
pub fn ended<T: std::fmt::Debug>(result: Result<T, CallError>, codes: &[&str], parts: &[&str]) -> Outcome {
    let error = match result {
        Ok(value) => return Err(format!("the call came to its end: {:.300}", format!("{value:?}"))),
        Err(error) => error,
    };
    let text = format!("{error}; {}", error.help());
    if !codes.contains(&error.code()) {
        return Err(format!("{} instead of {codes:?}: {text}", error.code()));
    }
    is_clear(&text)?;
    for line in error.evidence() {
        is_clear(&line)?;
    }
    holds(&text, &[&format!("plugin `{NAME}`"), error.digest.short(), &format!("in `{}`", error.call)])?;
    if error.help().is_empty() {
        return Err(format!("it does not say what to do: {text}"));
    }
    holds(&text, parts)?;
    Ok(format!("{}: {text}", error.code()))
}

/// The request was denied by a grant; the text names plugin, digest and call and says what would allow it, or why nothing
/// can.
pub fn denied(told: &Told, plugin: &Plugin, call: &str, parts: &[&str]) -> Outcome {
    let text = told.text();
    // `wasi:http` has one case only that carries a text.
    if !["denied", "internal"].contains(&told.kind()) {
        return Err(format!("not denied but {}: {:.500}", told.kind(), text));
    }
    is_clear(text)?;
    holds(text, &[&format!("plugin `{NAME}`"), plugin.digest().short(), &format!("in `{call}`")])?;
    let next = [
        "to allow it, write in the deployment file",
        "if that is meant",
        "there is no way",
        "may only read",
        "which is refused",
        "if this plugin is meant to use it",
        "pass the placeholder on as it is",
        "its placeholder was not replaced and nothing was sent",
        "stands in the name of a header",
    ];
    if !next.iter().any(|phrase| text.contains(phrase)) {
        return Err(format!("it does not say what to do: {text}"));
    }
    holds(text, parts)?;
    Ok(format!("denied: {text}"))
}

/// The request failed with one of these kinds, and its text says why.
pub fn failed(told: &Told, kinds: &[&str], parts: &[&str]) -> Outcome {
    let text = told.text();
    if !kinds.contains(&told.kind()) {
        return Err(format!("{} instead of {kinds:?}: {:.500}", told.kind(), text));
    }
    is_clear(text)?;
    if text.len() < 10 {
        return Err(format!("it does not say why: `{text}`"));
    }
    holds(text, parts)?;
    Ok(format!("{}: {text}", told.kind()))
}
