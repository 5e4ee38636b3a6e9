//! The forms of a secret: the byte strings that the automaton looks for.

use crate::SecretValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::ops::Range;
use zeroize::Zeroizing;

/// Lines of a secret that are shorter are not secrets of their own.
const LINE_AT_LEAST: usize = 16;
/// A text that is left of broken UTF-8 is looked for if it has so many bytes that were not broken.
const UNBROKEN_AT_LEAST: usize = 8;

/// A byte string that shows a secret.
#[derive(Debug)]
pub(crate) struct Form {
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    /// What belongs to it beside these bytes.
    pub(crate) edges: Edges,
}

/// Base64 characters next to a form that hold some bits of the secret and some of its neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Edges {
    /// All of it is in the form.
    Sharp,
    /// Base64: a character more on the left, on the right, or both.
    Base64 { left: u8, right: u8 },
}

impl Edges {
    /// The range of a match and of what belongs to it.
    pub(crate) fn widen(self, text: &[u8], found: Range<usize>) -> Range<usize> {
        let Self::Base64 { left, right } = self else { return found };
        let Range { mut start, mut end } = found;
        if left > 0 && start.checked_sub(1).and_then(|at| text.get(at)).is_some_and(is_base64) {
            start -= 1;
        }
        if right > 0 && text.get(end).is_some_and(is_base64) {
            end += 1;
            // one `=` follows where the last character holds two bytes' bits, two where it holds one byte's
            while end - found.end < 3 && text.get(end) == Some(&b'=') {
                end += 1;
            }
        }
        start..end
    }
}

fn is_base64(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

/// All forms of a secret, each once.
pub(crate) fn forms(secret: &SecretValue) -> Vec<Form> {
    let mut forms = Vec::new();
    for value in values(secret.expose()) {
        add(&mut forms, Zeroizing::new(lower_hex(&value)), Edges::Sharp);
        add(&mut forms, Zeroizing::new(lower_hex(&value).to_ascii_uppercase()), Edges::Sharp);
        base64_forms(&mut forms, &value);
        if let Some(escaped) = json_escaped(&value) {
            base64_forms(&mut forms, &escaped);
        }
        add(&mut forms, value, Edges::Sharp);
    }
    forms.sort_unstable_by(|a, b| (&*a.bytes, a.edges).cmp(&(&*b.bytes, b.edges)));
    forms.dedup_by(|a, b| a.bytes == b.bytes);
    forms
}

/// A form, and if it has a plus also what undoing percent-encoding makes of it: see [`crate::decode::Coding::Percent`].
fn add(forms: &mut Vec<Form>, bytes: Zeroizing<Vec<u8>>, edges: Edges) {
    if bytes.contains(&b'+') {
        let spaced = bytes.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
        forms.push(Form { bytes: Zeroizing::new(spaced), edges });
    }
    forms.push(Form { bytes, edges });
}

/// The secret and the parts of it that are secrets as well.
fn values(secret: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let mut values = vec![Zeroizing::new(secret.to_vec())];
    let trimmed = secret.trim_ascii();
    if trimmed.len() < secret.len() {
        values.push(Zeroizing::new(trimmed.to_vec()));
    }
    match serde_json::from_slice(secret) {
        Ok(json @ (serde_json::Value::Object(_) | serde_json::Value::Array(_))) => json_lines(&mut values, &json),
        _ => lines(&mut values, secret),
    }
    let mut texts = Vec::new();
    for value in values.iter().filter(|value| !value.is_ascii()) {
        let latin: String = value.iter().copied().map(char::from).collect();
        texts.push(Zeroizing::new(latin.into_bytes()));
        if std::str::from_utf8(value).is_err() {
            let unbroken: usize = value.utf8_chunks().map(|chunk| chunk.valid().trim().len()).sum();
            if unbroken >= UNBROKEN_AT_LEAST {
                texts.push(Zeroizing::new(String::from_utf8_lossy(value).into_owned().into_bytes()));
            }
        }
    }
    values.append(&mut texts);
    values
}

fn lines(values: &mut Vec<Zeroizing<Vec<u8>>>, secret: &[u8]) {
    if !secret.contains(&b'\n') {
        return;
    }
    for line in secret.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        if line.len() >= LINE_AT_LEAST && !line.starts_with(b"-----") {
            values.push(Zeroizing::new(line.to_vec()));
        }
    }
}

fn json_lines(values: &mut Vec<Zeroizing<Vec<u8>>>, json: &serde_json::Value) {
    match json {
        serde_json::Value::String(text) => lines(values, text.as_bytes()),
        serde_json::Value::Array(items) => items.iter().for_each(|item| json_lines(values, item)),
        serde_json::Value::Object(fields) => fields.values().for_each(|field| json_lines(values, field)),
        _ => {}
    }
}

fn lower_hex(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or(b'0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The text with JSON's escapes, without the quotes, if that makes a difference.
fn json_escaped(value: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let quoted = Zeroizing::new(serde_json::to_string(std::str::from_utf8(value).ok()?).ok()?);
    let escaped = quoted.strip_prefix('"')?.strip_suffix('"')?.as_bytes();
    (escaped != value).then(|| Zeroizing::new(escaped.to_vec()))
}

/// The characters of base64 that depend on nothing but the value, for each place of three that it can start at.
fn base64_forms(forms: &mut Vec<Form>, value: &[u8]) {
    for offset in 0..3_u8 {
        let before = usize::from(offset);
        let mut bytes = Zeroizing::new(vec![0; before]);
        bytes.extend_from_slice(value);
        let text = Zeroizing::new(STANDARD_NO_PAD.encode(&*bytes));
        // the first characters hold bits of what is before the value, the last one of what is after it
        let first = [0, 2, 3].get(before).copied().unwrap_or_default();
        let whole = bytes.len() * 8 / 6;
        let Some(core) = text.get(first..whole).map(str::as_bytes) else { continue };
        let edges = Edges::Base64 { left: u8::from(offset > 0), right: u8::from(bytes.len() % 3 > 0) };
        if core.contains(&b'+') || core.contains(&b'/') {
            let url = core.iter().map(|byte| match byte {
                b'+' => b'-',
                b'/' => b'_',
                other => *other,
            });
            add(forms, Zeroizing::new(url.collect()), edges);
        }
        add(forms, Zeroizing::new(core.to_vec()), edges);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(secret: &str) -> Vec<String> {
        forms(&SecretValue::new(secret)).iter().map(|form| String::from_utf8_lossy(&form.bytes).into_owned()).collect()
    }

    #[test]
    fn the_forms_of_a_plain_secret() {
        let mut expected = vec!["secret", "736563726574", "c2VjcmV0", "NlY3JldA", "zZWNyZX"];
        let mut found = of("secret");
        expected.sort_unstable();
        found.sort_unstable();
        // "NlY3JldA" would hold the bits of what follows in its last character
        expected.retain(|form| *form != "NlY3JldA");
        expected.push("NlY3Jld");
        expected.sort_unstable();
        assert_eq!(found, expected);
    }

    #[test]
    fn lines_of_a_key_but_not_its_frame() {
        let key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG\r\nshort\n-----END PRIVATE KEY-----\n";
        let found = of(key);
        assert!(found.contains(&key.to_owned()));
        assert!(found.contains(&key.trim().to_owned()));
        assert!(found.contains(&"MIIEvQIBADANBgkqhkiG".to_owned()));
        assert!(!found.contains(&"-----BEGIN PRIVATE KEY-----".to_owned()));
        assert!(!found.contains(&"short".to_owned()));
        let account = serde_json::json!({ "token_uri": "https://example.org/token", "private_key": key });
        let found = of(&serde_json::to_string_pretty(&account).unwrap());
        assert!(found.contains(&"MIIEvQIBADANBgkqhkiG".to_owned()));
        assert!(!found.iter().any(|form| form.starts_with("\"token_uri\"")), "public lines stay readable");
    }
}
