//! Text that came from a plugin, made fit to be shown and pasted.
//!
//! Stops a plugin from writing the operator's file by proxy, or from repainting a terminal: what it named is quoted as
//! YAML and has its control characters escaped.

use std::fmt::Write as _;

/// `text` with control characters escaped and cut off after `limit` bytes, fit for a terminal.
#[must_use]
pub fn printable(text: &str, limit: usize) -> String {
    let mut out = String::with_capacity(text.len().min(limit));
    for c in text.chars() {
        if out.len() >= limit {
            out.push('…');
            break;
        }
        // Bidirectional overrides reorder what is seen, so they count as control characters here.
        if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}') {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// `text` as a YAML scalar: plain where nothing can be misread, double-quoted otherwise.
#[must_use]
pub fn yaml_value(text: &str) -> String {
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '.');
    let plain = starts_well
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/-".contains(&b))
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
        )
        && text.parse::<f64>().is_err()
        && !matches!(text, ".inf" | ".nan");
    if plain {
        return text.to_owned();
    }
    let mut out = String::new();
    for c in serde_json::Value::from(text).to_string().chars() {
        match c {
            // Would turn what is shown around, or begin a line; YAML reads this form as the same character.
            '\u{7f}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// `lines` under `grants` of this plugin, as they stand in a deployment file.
#[must_use]
pub fn grant_lines(plugin: &str, lines: &str) -> String {
    let mut out = format!("plugins:\n  {}:\n    grants:", yaml_value(plugin));
    for line in lines.lines() {
        let _ = write!(out, "\n      {line}");
    }
    out
}

/// Several names in one line, without anything that could repaint a terminal.
#[must_use]
pub fn printable_list(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    let shown: Vec<_> = names.iter().take(12).map(|name| format!("`{}`", printable(name, 100))).collect();
    let more = names.len().saturating_sub(12);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_plugin_names_cannot_become_a_second_line() {
        assert_eq!(yaml_value("api.example.com"), "api.example.com");
        assert_eq!(yaml_value("/v1/**"), "\"/v1/**\"");
        assert_eq!(yaml_value("x\nhttp: []"), "\"x\\nhttp: []\"");
        assert_eq!(yaml_value("true"), "\"true\"");
        assert_eq!(yaml_value("1.5"), "\"1.5\"");
        assert_eq!(printable("a\u{1b}[31mb\u{202e}", 100), "a\\u{1b}[31mb\\u{202e}");
    }

    proptest! {
        #[test]
        fn a_yaml_value_is_one_line_without_control_characters(text in ".{0,40}") {
            let value = yaml_value(&text);
            prop_assert!(!value.contains('\n') && !value.contains('\r'));
        }
    }
}
