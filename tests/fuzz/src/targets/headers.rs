//! Headers that a plugin sets: a name, a value, and so on, each on a line.

use crate::Target;
use basb_capabilities::Limits;
use basb_capabilities::http::headers::checked;

pub(crate) const TARGET: Target = Target {
    name: "headers",
    run,
    more: &[],
    words: &[
        "Host",
        "content-length",
        "Transfer-Encoding",
        "connection",
        "te",
        "upgrade",
        "x-http-method-override",
        "\n",
        "\r\n",
        ": ",
        "\0",
        "\t",
        "accept",
        "é",
    ],
};

/// As RFC 9110 section 7.6.1 has it, and what frames a message (RFC 9112 section 6).
const NEVER: [&str; 10] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];

fn run(input: &[u8]) {
    // Lines are cut at a byte that no header has a use for, so that line ends are part of the trial.
    let text = String::from_utf8_lossy(input);
    let parts: Vec<&str> = text.split('\u{1}').collect();
    let headers: Vec<(String, String)> =
        parts.chunks(2).map(|pair| (pair[0].to_owned(), pair.get(1).copied().unwrap_or_default().to_owned())).collect();
    let Ok(map) = checked(&headers, &Limits::default()) else { return };
    assert_eq!(map.len(), headers.len(), "none is lost, none is added");
    let mut sent = Vec::new();
    for (name, value) in &map {
        assert!(!NEVER.contains(&name.as_str()), "{name}");
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        assert!(!name.as_str().is_empty() && name.as_str().bytes().all(token), "{name}");
        assert!(!value.as_bytes().iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')), "{value:?}");
        sent.push((name.as_str().to_owned(), value.as_bytes().to_vec()));
    }
    let mut given: Vec<_> =
        headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.as_bytes().to_vec())).collect();
    sent.sort();
    given.sort();
    assert_eq!(sent, given);
}
