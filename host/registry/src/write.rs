//! Writing a lock file: the same plugins give the same bytes, and one fact has one line, so that a diff shows what changed
//! and nothing else.
//!
//! Stops a line from reading differently than it is: everything outside of printable ASCII that could reorder, hide or
//! imitate text is written as an escape.

use crate::entry::LockEntry;
use crate::file::{LOCK_VERSION, LockFile};
use std::fmt::{self, Write as _};

const HEAD: &str = "\
# basb.lock: the plugins of a deployment, and what each of them may do.
# Written by basb-host; not to be edited. Look at its changes as you look at code, and commit it.
# When something differs: basb-host plugin update, and with --accept to agree to it.
";

impl fmt::Display for LockFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}version = {LOCK_VERSION}")?;
        for (scope, plugins) in &self.scopes {
            for (name, entry) in plugins {
                writeln!(f, "\n[deployments.{}.{}.{name}]", scope.deployment, scope.environment)?;
                self::entry(f, entry)?;
            }
        }
        Ok(())
    }
}

fn entry(f: &mut fmt::Formatter<'_>, entry: &LockEntry) -> fmt::Result {
    let LockEntry {
        source,
        digest,
        plugin,
        version,
        kind,
        publisher,
        signed_by,
        key,
        wit,
        imports,
        requested,
        granted,
        credentials,
    } = entry;
    let mut line = |key: &str, value: &str| writeln!(f, "{key} = {}", quoted(value));
    line("source", source)?;
    line("digest", digest.as_str())?;
    line("plugin", plugin.as_str())?;
    line("version", &version.to_string())?;
    line("kind", kind.name())?;
    line("publisher", publisher)?;
    if let Some(publisher) = signed_by {
        line("signed-by", publisher.as_str())?;
    }
    if let Some(key) = key {
        line("key", key)?;
    }
    list(f, "wit", wit.iter().map(String::as_str))?;
    list(f, "imports", imports.iter().map(String::as_str))?;
    list(f, "requested", requested.iter().map(|capability| capability.name()))?;
    list(f, "granted", granted.iter().map(String::as_str))?;
    list(f, "credentials", credentials.iter().map(String::as_str))
}

fn list<'a>(f: &mut fmt::Formatter<'_>, key: &str, items: impl ExactSizeIterator<Item = &'a str>) -> fmt::Result {
    if items.len() == 0 {
        return writeln!(f, "{key} = []");
    }
    writeln!(f, "{key} = [")?;
    for item in items {
        writeln!(f, "  {},", quoted(item))?;
    }
    writeln!(f, "]")
}

/// A TOML string on one line: in single quotes where that needs no escape, which spares the reader backslashes.
fn quoted(text: &str) -> String {
    let plain = |c: char| c == ' ' || c.is_ascii_graphic() || (c.is_alphanumeric() && !c.is_ascii());
    if text.contains('"') && !text.contains('\'') && text.chars().all(plain) {
        return format!("'{text}'");
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if plain(c) => out.push(c),
            c => {
                let code = u32::from(c);
                let _ = if code > 0xffff { write!(out, "\\U{code:08X}") } else { write!(out, "\\u{code:04X}") };
            }
        }
    }
    out.push('"');
    out
}
