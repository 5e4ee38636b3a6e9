//! A limit in the middle of a secret lets no piece of it through, and what is found says nothing about beginnings.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it did not test"
)]

use basb_redact::{Redactor, SecretName, SecretValue};
use proptest::prelude::*;
use std::borrow::Cow;

const SECRETS: [&str; 4] =
    ["qZ7xW0vKpL3", "k\"9\\J/5+G&8 <H>", "\u{e4}\u{f6}\u{fc}\u{1F511}N", "one line that is long\nanother one, as long"];

fn redactor() -> Redactor {
    let redactor = Redactor::default();
    for (at, value) in SECRETS.iter().enumerate() {
        redactor.learn(&SecretName::new(format!("k{at}")).unwrap(), &SecretValue::new(*value)).unwrap();
    }
    redactor
}

fn percent(text: &[u8]) -> Vec<u8> {
    text.iter().map(|b| format!("%{b:02x}")).collect::<String>().into_bytes()
}

/// A secret as somebody may write it.
fn written() -> impl Strategy<Value = Vec<u8>> {
    (prop::sample::select(&SECRETS[..]), 0..6_usize).prop_map(|(secret, way)| match way {
        0 => secret.as_bytes().to_vec(),
        1 => serde_json::to_vec(secret).unwrap(),
        2 => serde_json::to_vec(&serde_json::to_string(secret).unwrap()).unwrap(),
        3 => percent(secret.as_bytes()),
        4 => secret.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<String>().into_bytes(),
        _ => percent(&percent(secret.as_bytes())),
    })
}

fn fragment() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => written(),
        1 => "[ .,:=\"%&u0]{0,40}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..300),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// What the first bytes of a text give is the beginning of what the whole text gives: no more of a secret is in it.
    #[test]
    fn the_first_bytes_are_redacted_as_in_the_whole(fragments in prop::collection::vec(fragment(), 1..8), at in 0.0..1.0) {
        let redactor = redactor();
        let text = fragments.concat();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in a small text")]
        let limit = (text.len() as f64 * at) as usize;
        let whole = redactor.bytes(&text).into_owned();
        // As much of the rest as it wants to see is enough.
        let seen = &text[..text.len().min(limit + redactor.beyond())];
        let first = redactor.first(seen, limit).into_owned();
        prop_assert!(whole.starts_with(&first), "{} {}", first.escape_ascii(), whole.escape_ascii());
    }

    /// A beginning, of whatever length, looks like any other text: nothing tells whether it is one.
    #[test]
    fn a_beginning_is_no_secret(secret in prop::sample::select(&SECRETS[..3]), keep in 0.0..1.0) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in a small text")]
        let keep = (secret.chars().count() as f64 * keep) as usize;
        let begun: String = secret.chars().take(keep).collect();
        let redactor = redactor();
        prop_assert_eq!(redactor.bytes(begun.as_bytes()), Cow::Borrowed(begun.as_bytes()));
        prop_assert_eq!(redactor.first(begun.as_bytes(), begun.len()), Cow::Borrowed(begun.as_bytes()));
    }
}

#[test]
fn every_limit_in_a_plain_secret() {
    let redactor = redactor();
    let text = b"x qZ7xW0vKpL3 y";
    for limit in 0..=text.len() {
        let expected = match limit {
            ..=2 => String::from_utf8_lossy(&text[..limit]).into_owned(),
            3..=13 => "x [secret k0]".to_owned(),
            limit => format!("x [secret k0]{}", String::from_utf8_lossy(&text[13..limit])),
        };
        assert_eq!(String::from_utf8_lossy(&redactor.first(text, limit)), expected, "{limit}");
    }
    assert_eq!(Redactor::default().beyond(), 0);
    assert_eq!(&*Redactor::default().first(b"abcdef", 3), b"abc");
}
