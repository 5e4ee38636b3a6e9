//! Secrets and a text: the first byte says how many secrets, each is its length and its bytes; then the text, in which the
//! bytes from 0xF8 on stand for a secret in some encoding that the next byte chooses.

use crate::Target;
use basb_redact::{Redactor, SecretName, SecretValue};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

pub(crate) const TARGET: Target = Target {
    name: "redact",
    run,
    more: &[],
    words: &[
        "\\",
        "\\\\",
        "\\u00",
        "\\u005c",
        "%",
        "%25",
        "%5C",
        "&amp;",
        "&#",
        ";",
        "+",
        " ",
        "[secret s0]",
        "[secret s",
    ],
};

/// More says nothing more, and the simple comparisons here are slow.
const LONGEST: usize = 4 << 10;
/// The same for the text that comes of it.
const LONGEST_TEXT: usize = 16 << 10;

fn run(input: &[u8]) {
    let Some((count, mut rest)) = input.split_first().filter(|_| input.len() <= LONGEST) else { return };
    let mut secrets = Vec::new();
    for _ in 0..=count % 4 {
        let Some((length, more)) = rest.split_first() else { return };
        let length = 4 + usize::from(length % 64);
        if more.len() < length {
            return;
        }
        let (secret, more) = more.split_at(length);
        rest = more;
        // Brackets are left to what stands for a secret: one that is made of it is a case of its own.
        let secret: Vec<u8> = secret.iter().map(|byte| if b"[]".contains(byte) { b'(' } else { *byte }).collect();
        if secret.trim_ascii().len() >= 4 {
            secrets.push(secret);
        }
    }
    let redactor = Redactor::default();
    let named = secrets.iter().enumerate().map(|(index, secret)| {
        (SecretName::new(format!("s{index}")).expect("a name"), SecretValue::new(secret.as_slice()))
    });
    redactor.learn_all(named).expect("none is too short");
    let (text, sizes) = expand(rest, &secrets);
    check(&redactor, &secrets, &text);
    stream(&redactor, &text, &sizes);
}

/// The text, and sizes to cut it at.
fn expand(template: &[u8], secrets: &[Vec<u8>]) -> (Vec<u8>, Vec<usize>) {
    let (mut text, mut sizes) = (Vec::new(), Vec::new());
    let mut bytes = template.iter();
    while let Some(byte) = bytes.next() {
        if text.len() > LONGEST_TEXT {
            break;
        }
        if *byte < 0xf8 || secrets.is_empty() {
            text.push(*byte);
            continue;
        }
        let how = bytes.next().copied().unwrap_or_default();
        let secret = &secrets[usize::from(how & 3) % secrets.len()];
        let form = match (*byte, how >> 2) {
            // A run of something that could confuse where an escape begins.
            (0xff, count) => b"\\".repeat(usize::from(count) * 40),
            (0xfe, count) => b"\\u005c".repeat(usize::from(count) * 7),
            (_, form) => encode(secret, form),
        };
        text.extend(form);
        sizes.push(usize::from(how) * 11 + 1);
    }
    (text, sizes)
}

fn encode(secret: &[u8], form: u8) -> Vec<u8> {
    let text = String::from_utf8_lossy(secret);
    let quoted = |text: &str| {
        let json = serde_json::to_string(text).expect("text can be written");
        json[1..json.len() - 1].to_owned()
    };
    let hex = |prefix: &str| secret.iter().map(|byte| format!("{prefix}{byte:02x}")).collect::<String>();
    match form % 12 {
        0 => return secret.to_vec(),
        1 => STANDARD.encode(secret),
        2 => URL_SAFE_NO_PAD.encode([b"u:", secret].concat()),
        3 => STANDARD_NO_PAD.encode([b"u", secret, b"."].concat()),
        4 => hex(""),
        5 => hex("").to_uppercase(),
        6 => hex("%"),
        7 => hex("%").to_uppercase(),
        8 => hex("%25"),
        9 => hex("\\x"),
        10 => quoted(&text),
        _ => quoted(&quoted(&text)),
    }
    .into_bytes()
}

fn check(redactor: &Redactor, secrets: &[Vec<u8>], text: &[u8]) {
    let redacted = redactor.bytes(text);
    assert_eq!(redactor.find(&redacted), None, "{}", text.escape_ascii());
    assert_eq!(redactor.bytes(&redacted), redacted, "{}", text.escape_ascii());
    assert_eq!(redactor.find(text).is_none(), *redacted == *text, "{}", text.escape_ascii());
    let mut pieces = vec![redacted.to_vec()];
    for index in 0..secrets.len() {
        let mark = format!("[secret s{index}]").into_bytes();
        pieces = pieces.iter().flat_map(|piece| split(piece, &mark)).collect();
    }
    for secret in secrets {
        for form in [0, 4, 5, 6, 7] {
            let form = encode(secret, form);
            let left = pieces.iter().any(|piece| piece.windows(form.len()).any(|part| part == form));
            assert!(!left, "{} is left of {}", form.escape_ascii(), text.escape_ascii());
        }
        // Each encoding alone, where nothing next to it can be taken for a part of it.
        for form in 0..12 {
            let utf8 = std::str::from_utf8(secret).is_ok();
            if utf8 || form < 10 {
                let alone = [b" ", encode(secret, form).as_slice(), b" "].concat();
                assert!(redactor.find(&alone).is_some(), "{}", alone.escape_ascii());
            }
        }
    }
    if let Ok(text) = std::str::from_utf8(text) {
        // The same for a text; a secret that ends inside of a character takes the whole character with it.
        let redacted = redactor.text(text);
        assert_eq!(redactor.find(redacted.as_bytes()), None, "{text:?}");
    }
}

fn split(text: &[u8], by: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = vec![Vec::new()];
    let mut rest = text;
    while let [first, more @ ..] = rest {
        if let Some(behind) = rest.strip_prefix(by) {
            pieces.push(Vec::new());
            rest = behind;
        } else {
            pieces.last_mut().expect("there is one").push(*first);
            rest = more;
        }
    }
    pieces
}

fn stream(redactor: &Redactor, text: &[u8], sizes: &[usize]) {
    let mut stream = redactor.stream();
    let mut out = Vec::new();
    let mut rest = text;
    let mut sizes = sizes.iter().copied().cycle();
    while !rest.is_empty() {
        let (piece, more) = rest.split_at(sizes.next().unwrap_or(7).min(rest.len()));
        out.extend(stream.push(piece));
        rest = more;
    }
    out.extend(stream.finish());
    assert_eq!(out.escape_ascii().to_string(), redactor.bytes(text).escape_ascii().to_string());
}
