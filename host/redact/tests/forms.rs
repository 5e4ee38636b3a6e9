//! Every form of a secret is found, whatever it is next to, and nothing else is touched.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it did not test"
)]

use basb_redact::{Redactor, SecretName, SecretValue};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use proptest::prelude::*;

fn name(text: &str) -> SecretName {
    SecretName::new(text).unwrap()
}

fn knows(secrets: &[(&str, &[u8])]) -> Redactor {
    let redactor = Redactor::default();
    redactor.learn_all(secrets.iter().map(|(n, value)| (name(n), SecretValue::new(*value)))).unwrap();
    redactor
}

/// Which characters an encoder leaves as they are.
#[derive(Debug, Clone, Copy)]
enum Leaves {
    Unreserved,
    Component,
    Reserved,
    Nothing,
}

fn percent(bytes: &[u8], leaves: Leaves, space: &str, upper: bool) -> Vec<u8> {
    let keep = |byte: u8| match leaves {
        Leaves::Nothing => false,
        Leaves::Unreserved => byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte),
        Leaves::Component => byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte),
        Leaves::Reserved => byte.is_ascii_alphanumeric() || b"-_.!~*'();/?:@&=+$,#".contains(&byte),
    };
    let mut out = String::new();
    for byte in bytes {
        if *byte == b' ' && !space.is_empty() {
            out.push_str(space);
        } else if keep(*byte) {
            out.push(char::from(*byte));
        } else if upper {
            out.push_str(&format!("%{byte:02X}"));
        } else {
            out.push_str(&format!("%{byte:02x}"));
        }
    }
    out.into_bytes()
}

fn unicode_escapes(text: &str, only: fn(char) -> bool, upper: bool) -> String {
    let mut out = String::new();
    for character in text.chars() {
        if only(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                out.push_str(&if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") });
            }
        } else {
            match character {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                control if control < ' ' => out.push_str(&format!("\\u{:04x}", control as u32)),
                other => out.push(other),
            }
        }
    }
    out
}

fn json(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap();
    quoted[1..quoted.len() - 1].to_owned()
}

fn hexadecimal(bytes: &[u8], upper: bool) -> Vec<u8> {
    bytes.iter().map(|b| if upper { format!("{b:02X}") } else { format!("{b:02x}") }).collect::<String>().into_bytes()
}

fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// Every way to write the secret that the crate promises to find, with what it is called.
fn encodings(secret: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut all = vec![
        ("raw".to_owned(), secret.to_vec()),
        ("base 16".to_owned(), hexadecimal(secret, false)),
        ("base 16, upper".to_owned(), hexadecimal(secret, true)),
        ("base64".to_owned(), STANDARD.encode(secret).into_bytes()),
        ("base64, no padding".to_owned(), STANDARD_NO_PAD.encode(secret).into_bytes()),
        ("base64url".to_owned(), URL_SAFE.encode(secret).into_bytes()),
        ("base64url, no padding".to_owned(), URL_SAFE_NO_PAD.encode(secret).into_bytes()),
    ];
    for before in ["u:", "us:", "use:"] {
        for after in ["", ",", "\"}", "\"}\n"] {
            let whole = [before.as_bytes(), secret, after.as_bytes()].concat();
            all.push((format!("base64 of {before}…{after:?}"), STANDARD.encode(&whole).into_bytes()));
            all.push((format!("base64url of {before}…{after:?}"), URL_SAFE_NO_PAD.encode(&whole).into_bytes()));
            let percent = percent(STANDARD.encode(&whole).as_bytes(), Leaves::Unreserved, "", true);
            all.push((format!("percent-encoded base64 of {before}…{after:?}"), percent));
        }
    }
    for leaves in [Leaves::Unreserved, Leaves::Component, Leaves::Reserved, Leaves::Nothing] {
        for space in ["", "+"] {
            for upper in [true, false] {
                let once = percent(secret, leaves, space, upper);
                let twice = percent(&once, leaves, space, !upper);
                all.push((format!("percent {leaves:?} {space:?} {upper}"), once));
                all.push((format!("percent twice {leaves:?} {space:?} {upper}"), twice));
            }
        }
    }
    if let Ok(text) = std::str::from_utf8(secret) {
        let slashes = json(text).replace('/', "\\/");
        let mut escaped = vec![("JSON", json(text)), ("JSON with \\/", slashes), ("XML", xml(text))];
        for upper in [true, false] {
            escaped.push(("ASCII JSON", unicode_escapes(text, |c| !c.is_ascii(), upper)));
            escaped.push(("HTML-safe JSON", unicode_escapes(text, |c| "<>&='".contains(c), upper)));
            escaped.push(("JSON, all escaped", unicode_escapes(text, |_| true, upper)));
            escaped.push(("JSON, special characters as \\u", unicode_escapes(text, |c| !c.is_alphanumeric(), upper)));
        }
        for (what, escaped) in escaped {
            all.push((format!("{what}, in JSON"), json(&escaped).into_bytes()));
            all.push((format!("{what}, in a form"), percent(escaped.as_bytes(), Leaves::Unreserved, "+", true)));
            all.push((format!("{what}, in XML"), xml(&escaped).into_bytes()));
            all.push((what.to_owned(), escaped.into_bytes()));
        }
        let url = percent(secret, Leaves::Component, "", true);
        all.push(("a URL in HTML-safe JSON".to_owned(), {
            unicode_escapes(std::str::from_utf8(&url).unwrap(), |c| "<>&='%".contains(c), false).into_bytes()
        }));
        all.push(("Debug of Rust".to_owned(), text.escape_debug().to_string().into_bytes()));
        all.push(("escape_default of Rust".to_owned(), text.escape_default().to_string().into_bytes()));
    } else {
        let latin: String = secret.iter().copied().map(char::from).collect();
        all.push(("read as Latin-1".to_owned(), latin.clone().into_bytes()));
        all.push(("read as Latin-1, ASCII JSON".to_owned(), {
            unicode_escapes(&latin, |c| !c.is_ascii(), false).into_bytes()
        }));
        all.push(("escape_ascii of Rust".to_owned(), secret.escape_ascii().to_string().into_bytes()));
    }
    all
}

fn check(secret: &[u8], before: &[u8], after: &[u8]) -> Result<(), TestCaseError> {
    let redactor = knows(&[("key", secret)]);
    for (what, encoded) in encodings(secret) {
        let text = [before, &encoded, after].concat();
        prop_assert_eq!(redactor.find(&text), Some(name("key")), "{} is not found: {}", &what, text.escape_ascii());
        let redacted = redactor.bytes(&text);
        prop_assert!(!redacted.windows(secret.len()).any(|part| part == secret), "{}", &what);
        prop_assert!(!redacted.windows(encoded.len()).any(|part| part == encoded), "{}", &what);
        prop_assert_eq!(redactor.find(&redacted), None, "{}", &what);
        prop_assert_eq!(redactor.bytes(&redacted).into_owned(), redacted.to_vec(), "redacting twice");
        // the text around it is as it was; base64 padding belongs to what it pads
        prop_assert!(
            redacted.starts_with(before) && redacted.ends_with(after),
            "{}: {:?}",
            what,
            redacted.escape_ascii()
        );
        prop_assert!(redacted[before.len()..].windows(12).any(|part| part == b"[secret key]"), "{}", &what);
    }
    Ok(())
}

/// Texts that cannot become part of an encoding of what they are next to.
fn surroundings() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(&b" .:;,(){}\n\xe9\xff<>|"[..]), 0..8)
}

fn secret_text() -> impl Strategy<Value = String> {
    // what encoders treat in a special way, above all
    prop::collection::vec(
        prop_oneof![
            4 => any::<char>(),
            4 => prop::char::range('!', '~'),
            4 => prop::sample::select(&['"', '\\', '/', '%', '+', ' ', '&', '<', '=', 'u', 'n', '0', '\'', 'é', '😀'][..]),
        ],
        4..40,
    )
    .prop_map(|characters| characters.into_iter().collect::<String>())
    .prop_filter("too short", |text| text.trim().len() >= 8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_form_of_a_text(secret in secret_text(), before in surroundings(), after in surroundings()) {
        check(secret.as_bytes(), &[&before[..], b"("].concat(), &[b")", &after[..]].concat())?;
    }

    #[test]
    fn every_form_of_any_bytes(secret in prop::collection::vec(any::<u8>(), 8..40), before in surroundings(), after in surroundings()) {
        prop_assume!(secret.trim_ascii().len() >= 8);
        check(&secret, &[&before[..], b"("].concat(), &[b")", &after[..]].concat())?;
    }

    #[test]
    fn every_form_of_a_token(secret in "[A-Za-z0-9_+/=.-]{8,64}", before in surroundings(), after in surroundings()) {
        check(secret.as_bytes(), &[&before[..], b"("].concat(), &[b")", &after[..]].concat())?;
    }

    #[test]
    fn text_without_secrets_is_borrowed(text in "\\PC{0,200}") {
        let redactor = knows(&[("a", b"correct horse battery"), ("b", b"s3cr3t/+=\"x")]);
        prop_assert!(matches!(redactor.text(&text), std::borrow::Cow::Borrowed(_)));
        prop_assert!(matches!(redactor.bytes(text.as_bytes()), std::borrow::Cow::Borrowed(_)));
    }
}

#[test]
fn http_basic() {
    let redactor = knows(&[("password", b"open sesame")]);
    for user in ["a", "ab", "abc", "abcd"] {
        let header = format!("Basic {}", STANDARD.encode(format!("{user}:open sesame")));
        let redacted = redactor.text(&header);
        assert!(redacted.starts_with("Basic ") && redacted.contains("[secret password]"), "{redacted}");
        // no character is left that holds a bit of the secret
        let left = redacted.trim_start_matches("Basic ").split('[').next().unwrap();
        assert!(
            format!("{user}:")
                .as_bytes()
                .starts_with(&STANDARD_NO_PAD.decode(left.get(..left.len() / 4 * 4).unwrap()).unwrap())
        );
        assert!(redacted.ends_with(']'), "{redacted}");
    }
}

#[test]
fn lines_of_a_key() {
    let key =
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgEAAoIB\n-----END PRIVATE KEY-----\n";
    let redactor = knows(&[("key", key.as_bytes())]);
    assert_eq!(redactor.text(key), "[secret key]");
    assert_eq!(redactor.text(&format!("<{}>", key.trim())), "<[secret key]>");
    assert_eq!(redactor.text("x AQEFAASCBKcwggSjAgEAAoIB y"), "x [secret key] y");
    assert_eq!(redactor.text(&json(key)), "[secret key]");
    assert_eq!(redactor.text("-----BEGIN PRIVATE KEY-----"), "-----BEGIN PRIVATE KEY-----");
    let inside = STANDARD.encode(format!("k: {key}"));
    assert!(!redactor.text(&inside).contains(&STANDARD.encode("AQEFAASCBKcwggSjAgEAAoIB")[..20]));
}

#[test]
fn secrets_that_overlap_leave_no_rest() {
    let redactor = knows(&[("a", b"abcdefgh"), ("b", b"efghijkl"), ("c", b"ghij")]);
    assert_eq!(redactor.text("1abcdefghijkl2"), "1[secret a]2");
    assert_eq!(redactor.text("1abcdefghij2"), "1[secret a]2");
    assert_eq!(redactor.text("1efghijkl2 abcdefg"), "1[secret b]2 abcdefg");
    let redactor = knows(&[("long", b"password-and-more"), ("short", b"password")]);
    assert_eq!(
        redactor.text("password password-and-more password-and"),
        "[secret short] [secret long] [secret short]-and"
    );
    let redactor = knows(&[("r", b"aaaa")]);
    assert_eq!(redactor.text("xaaaaaaaaax aaa"), "x[secret r]x aaa");
}

#[test]
fn a_secret_that_looks_like_a_mark() {
    let redactor = knows(&[("db", b"secret"), ("other", b"[secret")]);
    let redacted = redactor.text("the secret is secret");
    assert_eq!(redacted, "the [secret db] is [secret db]");
    assert_eq!(redactor.text(&redacted), redacted);
    assert_eq!(redactor.find(redacted.as_bytes()), None);
}

#[test]
fn too_short() {
    let redactor = Redactor::default();
    let error = redactor
        .learn_all([
            (name("pin"), SecretValue::new("123")),
            (name("good"), SecretValue::new("good secret")),
            (name("empty"), SecretValue::new("")),
            (name("space"), SecretValue::new(" ab\n")),
        ])
        .unwrap_err();
    assert_eq!(error.names, [name("pin"), name("empty"), name("space")]);
    assert!(!error.to_string().contains("123"));
    assert_eq!(redactor.text("123 good secret"), "123 [secret good]");
    redactor.learn(&name("four"), &SecretValue::new("1234\n")).unwrap();
    assert_eq!(redactor.text("a1234b"), "a[secret four]b");
}

#[test]
fn clones_share_what_they_know() {
    let redactor = Redactor::default();
    let clone = redactor.clone();
    assert!(clone.is_empty());
    assert_eq!(clone.text("a1b2c3d4"), "a1b2c3d4");
    redactor.learn(&name("k"), &SecretValue::new("a1b2c3d4")).unwrap();
    redactor.learn(&name("k"), &SecretValue::new("a1b2c3d4")).unwrap();
    assert!(!clone.is_empty());
    assert_eq!(clone.text("a1b2c3d4"), "[secret k]");
    assert_eq!(format!("{clone:?}"), "Redactor { secrets: 1 }");
    // a new value for the same name: the old one stays known
    clone.learn(&name("k"), &SecretValue::new("zzzz9999")).unwrap();
    assert_eq!(redactor.text("a1b2c3d4 zzzz9999"), "[secret k] [secret k]");
}

#[test]
fn json_values_and_keys() {
    let redactor = knows(&[("k", b"a1b2c3d4"), ("n", b"12345678")]);
    let mut value = serde_json::json!({
        "first": ["x a1b2c3d4", 12_345_678, true, null],
        "a1b2c3d4": 1,
        "YTFiMmMzZDQ=": { "deep": "{\"in\":\"\\u00611b2c3d4\"}" },
        "12345678": "last",
    });
    redactor.json(&mut value);
    assert_eq!(
        serde_json::to_string(&value).unwrap(),
        serde_json::json!({
            "first": ["x [secret k]", 12_345_678, true, null],
            "[secret k]": 1,
            "[secret k] (2)": { "deep": "{\"in\":\"[secret k]\"}" },
            "[secret n]": "last",
        })
        .to_string()
    );
}

#[test]
fn text_stays_text_where_a_secret_ends_inside_of_a_character() {
    let secret = [b"abcdef".as_slice(), &"é".as_bytes()[..1]].concat();
    let redactor = knows(&[("k", &secret)]);
    assert_eq!(redactor.text("1abcdefé2"), "1[secret k]2");
    assert_eq!(&*redactor.bytes("1abcdefé2".as_bytes()), b"1[secret k]\xa92");
}
