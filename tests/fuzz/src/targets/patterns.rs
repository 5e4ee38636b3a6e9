//! Patterns for hosts, paths, actions and text: a pattern, a text, another text, each on a line.

use super::{lines, oracle};
use crate::Target;
use basb_capabilities::network::Place;
use basb_grants::{ActionPattern, HostPattern, PathPattern, TextPattern};
use url::Host;

pub(crate) const TARGET: Target = Target {
    name: "patterns",
    run,
    more: &[],
    words: &[
        "*.",
        "**.",
        "example.com",
        "a.b.example.com",
        "localhost",
        "127.0.0.1",
        "0x7f.1",
        "[::1]",
        "xn--",
        "/**",
        "/*",
        "**",
        "*",
        "?",
        "[a-z]",
        "{a,b}",
        "\\*",
        "!",
        "..",
        "//",
        "\n",
    ],
};

/// Longer ones say nothing more, and the simple readings here are slow.
const LONGEST: usize = 200;

fn run(input: &[u8]) {
    let Some(text) = std::str::from_utf8(input).ok().filter(|text| text.len() <= LONGEST) else { return };
    let [pattern, one, other] = lines(text);
    host(pattern, one);
    path(pattern, one);
    literal(one, other);
    if let Ok(pattern) = ActionPattern::parse(pattern)
        && let Some(expected) = oracle::text_covers(pattern.as_str(), one)
        && pattern.as_str().contains('.')
    {
        assert_eq!(pattern.covers(one), expected, "{pattern} {one:?}");
    }
}

fn host(pattern: &str, name: &str) {
    let Ok(parsed) = HostPattern::parse(pattern) else { return };
    let shown = parsed.to_string();
    assert_eq!(HostPattern::parse(&shown).as_ref(), Ok(&parsed), "{shown}");
    match Place::parse(name, 443).map(|place| place.host) {
        Ok(Host::Domain(name)) => {
            let expected = !matches!(parsed, HostPattern::Address(_)) && oracle::host_covers(&shown, &name);
            assert_eq!(parsed.covers_name(&name), expected, "{shown} {name}");
            assert!(name.bytes().all(|byte| !byte.is_ascii_uppercase()) && !name.ends_with('.'));
        }
        Ok(Host::Ipv4(address)) => assert_eq!(parsed.covers_address(address.into()), shown == address.to_string()),
        Ok(Host::Ipv6(address)) => assert_eq!(parsed.covers_address(address.into()), shown == format!("[{address}]")),
        Err(_) => {}
    }
}

fn path(pattern: &str, path: &str) {
    if let Ok(parsed) = PathPattern::parse(pattern) {
        assert_eq!(parsed.as_str(), pattern);
        if let Some(expected) = oracle::path_covers(pattern, path) {
            // Whether `/*/**` covers `/a/` is left open; that it covers no more than the simple reading is not.
            let open = pattern.ends_with("/**") && path.ends_with('/');
            let covers = parsed.covers(path);
            assert!(covers == expected || (open && !covers), "{pattern} {path:?}");
        }
        if !path.starts_with('/') {
            assert!(!parsed.covers(path), "{pattern} {path:?}");
        }
    }
    if let Ok(parsed) = TextPattern::parse(pattern)
        && let Some(expected) = oracle::text_covers(pattern, path)
    {
        assert_eq!(parsed.covers(path), expected, "{pattern} {path:?}");
    }
}

/// A literal pattern covers what it was made from and nothing else.
fn literal(one: &str, other: &str) {
    let exact = TextPattern::parse(&TextPattern::literal(one)).expect("a literal is a pattern");
    assert!(exact.covers(one), "{one:?}");
    assert_eq!(exact.covers(other), one == other, "{one:?} {other:?}");
    let path = format!("/{one}");
    let exact = PathPattern::parse(&PathPattern::literal(&path)).expect("a literal is a pattern");
    assert!(exact.covers(&path), "{path:?}");
    for not in [format!("/{other}"), format!("/{one}x"), format!("/{one}/x"), format!("/x/{one}")] {
        assert_eq!(exact.covers(&not), path == not, "{path:?} {not:?}");
    }
}
