//! A stream gives what the whole gives, however it is cut.
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

const SECRETS: [&str; 6] =
    ["s3cr3t", "a b+c/d", "\"q\\uote\"", "aaaa", "cr3tX", "line one is long enough\nline two is long enough\n"];

fn redactor() -> Redactor {
    let redactor = Redactor::default();
    redactor
        .learn_all(
            SECRETS
                .iter()
                .enumerate()
                .map(|(at, value)| (SecretName::new(format!("k{at}")).unwrap(), SecretValue::new(*value))),
        )
        .unwrap();
    redactor
}

fn in_pieces(redactor: &Redactor, text: &[u8], mut sizes: impl Iterator<Item = usize>) -> Vec<u8> {
    let mut stream = redactor.stream();
    let mut out = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (piece, more) = rest.split_at(sizes.next().unwrap_or(usize::MAX).min(rest.len()));
        out.extend(stream.push(piece));
        rest = more;
    }
    out.extend(stream.finish());
    out
}

fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(&SECRETS[..]);
    prop_oneof![
        3 => known.clone().prop_map(|secret| secret.as_bytes().to_vec()),
        2 => known.clone().prop_map(|secret| serde_json::to_vec(secret).unwrap()),
        1 => known.clone().prop_map(|secret| serde_json::to_vec(&serde_json::to_string(secret).unwrap()).unwrap()),
        1 => known.clone().prop_map(|secret| secret.bytes().map(|b| format!("%{b:02x}")).collect::<String>().into_bytes()),
        1 => known.clone().prop_map(|secret| secret.bytes().map(|b| format!("\\u00{b:02x}")).collect::<String>().into_bytes()),
        1 => known.prop_map(|secret| secret.as_bytes()[1..].to_vec()),
        1 => (1..400_usize).prop_map(|count| vec![b'\\'; count]),
        1 => (1..400_usize).prop_map(|count| vec![b'a'; count]),
        1 => (1..100_usize).prop_map(|count| b"%5C".repeat(count)),
        1 => (1..100_usize).prop_map(|count| b"\\u005c".repeat(count)),
        1 => (1..100_usize).prop_map(|count| b"&amp;".repeat(count)),
        2 => prop::collection::vec(prop::sample::select(&b"\\\\\\%%u0024156n\"&;#+ acrs3tX[]"[..]), 0..300),
        2 => prop::collection::vec(any::<u8>(), 0..1500),
        1 => Just(b"[secret k0]".to_vec()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cutting_gives_the_same(
        fragments in prop::collection::vec(fragment(), 0..40),
        sizes in prop::collection::vec(prop_oneof![1..9_usize, 1..3000_usize], 1..60),
    ) {
        let redactor = redactor();
        let text = fragments.concat();
        let whole = redactor.bytes(&text).into_owned();
        let streamed = in_pieces(&redactor, &text, sizes.into_iter().cycle());
        prop_assert_eq!(streamed.escape_ascii().to_string(), whole.escape_ascii().to_string());
    }
}

#[test]
fn byte_by_byte() {
    let redactor = redactor();
    let text = "x s3cr3t \\\"q\\\\uote\\\" a%20b%2bc/d aaaaaaaaaaaaaa ".repeat(200);
    let expected = "x [secret k0] [secret k2] [secret k1] [secret k3] ".repeat(200);
    assert_eq!(redactor.text(&text), expected);
    assert_eq!(String::from_utf8(in_pieces(&redactor, text.as_bytes(), std::iter::repeat(1))).unwrap(), expected);
}

#[test]
fn a_long_stream_does_not_pile_up() {
    let redactor = redactor();
    let mut stream = redactor.stream();
    let mut given = 0;
    for sent in 1..2000_usize {
        given += stream.push(&[b'\\'; 100]).len();
        assert!(sent * 100 - given < 8_000, "{sent} pieces sent, {given} bytes given back");
    }
    assert_eq!(given + stream.finish().len(), 199_900);
}

#[test]
fn nothing_is_held_back_while_nothing_is_known() {
    let redactor = Redactor::default();
    let mut stream = redactor.stream();
    assert_eq!(stream.push(b"abc"), b"abc");
    redactor.learn(&SecretName::new("k").unwrap(), &SecretValue::new("s3cr3t")).unwrap();
    assert_eq!(stream.push(b" s3cr"), b"");
    assert_eq!(stream.push(b"3t"), b"");
    assert_eq!(stream.finish(), b" [secret k]");
}
