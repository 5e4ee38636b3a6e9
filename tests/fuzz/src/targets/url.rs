//! A URL as a plugin names it.

use crate::Target;
use basb_capabilities::http::url::parse;
use url::Host;

pub(crate) const TARGET: Target = Target {
    name: "url",
    run,
    more: &[],
    words: &[
        "http://",
        "https://",
        "api.example.com",
        "@",
        ":443",
        ":80",
        "/..",
        "/.",
        "//",
        "%2e",
        "%2F",
        "%5c",
        "%25",
        "%00",
        "\\",
        ";",
        "?",
        "#",
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "xn--",
        "。",
        "ß",
        ".",
        "\u{ad}",
        "\u{200b}",
        "%61",
    ],
};

fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(destination) = parse(text) else { return };
    let url = &destination.url;
    assert!(matches!(url.scheme(), "http" | "https"));
    assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
    assert_eq!(url.port_or_known_default(), Some(destination.place.port));
    assert_ne!(destination.place.port, 0);
    assert_eq!(url.host_str().map(str::to_owned), Some(destination.place.host.to_string()), "{text:?}");
    // What goes out is read the same way again.
    assert_eq!(parse(url.as_str()).as_ref(), Ok(&destination), "{text:?}");
    // Nobody can read the path in another way: not after decoding it, not after splitting it.
    let path = url.path().to_ascii_lowercase();
    assert!(path.starts_with('/'), "{text:?}");
    for part in ["//", "\\", "%2f", "%5c", "%2e", "%25", "%00"] {
        assert!(!path.contains(part), "{text:?}: {path}");
    }
    assert!(path.split('/').all(|segment| !matches!(segment.split(';').next(), Some("." | ".."))), "{text:?}: {path}");
    assert!(path.is_ascii() && !path.bytes().any(|byte| byte.is_ascii_control() || byte == b' '));
    naive(text, &destination.place.host);
    assert!(!destination.shown().contains('?'), "{text:?}");
}

/// The host as somebody would read it who knows nothing of URLs but their look: between the slashes and what follows.
fn naive(text: &str, host: &Host<String>) {
    let Some((_, rest)) = text.split_once("://") else { return };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..end];
    let name = match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    };
    // `http:///a.example/` has nothing there; for a parser of URLs all slashes are one.
    if let Host::Domain(found) = host
        && !authority.is_empty()
        && name.is_ascii()
        && !name.contains('%')
    {
        assert_eq!(name.to_ascii_lowercase(), *found, "{text:?}");
    }
}
