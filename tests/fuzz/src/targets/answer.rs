//! An answer from the network: the first byte chooses the encoding it claims, the second a header, the rest is the body.

use crate::Target;
use basb_capabilities::Limits;
use basb_capabilities::http::answer::{Raw, shown};
use basb_redact::{Redactor, SecretName, SecretValue};
use http::{HeaderMap, HeaderValue, Method};
use std::sync::LazyLock;

pub(crate) const TARGET: Target = Target {
    name: "answer",
    run,
    more: &[],
    words: &["s3cr3t-value", "czNjcjN0LXZhbHVl", "s3cr3t%2Dvalue", "s3cr3t\\u002dvalue", "\x1f\u{8b}\u{8}", "gzip"],
};

const CODINGS: [&str; 8] = ["", "gzip", "deflate", "br", "identity", "gzip, gzip", "GZIP", "x-gzip , identity"];
const SECRET: &[u8] = b"s3cr3t-value";
/// Small, so that a decompression bomb is a small input.
const LARGEST: usize = 4 << 10;

static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| {
    let redactor = Redactor::default();
    let name = SecretName::new("known").expect("a name");
    redactor.learn(&name, &SecretValue::new(SECRET)).expect("long enough");
    redactor
});

fn run(input: &[u8]) {
    let [coding, header, body @ ..] = input else { return };
    let mut headers = HeaderMap::new();
    let coding = CODINGS[usize::from(*coding) % CODINGS.len()];
    if !coding.is_empty() {
        headers.insert("content-encoding", HeaderValue::from_static(coding));
    }
    if let Ok(value) = HeaderValue::from_bytes(&body[..body.len().min(usize::from(*header))]) {
        headers.insert("x-reflected", value);
    }
    headers.insert("transfer-encoding", HeaderValue::from_static("chunked"));
    let limits = Limits { response_bytes: LARGEST, ..Limits::default() };
    let raw = Raw { status: 200, headers, body: body.to_vec() };
    let Ok(answer) = shown(raw, &Method::GET, &REDACTOR, &limits, "GET https://a.example/") else { return };
    assert!(coding != "br" || body.is_empty(), "what cannot be searched does not pass");
    let plain = matches!(coding, "" | "identity");
    assert!(plain || answer.body.len() <= LARGEST * 2, "{} bytes", answer.body.len());
    assert_eq!(REDACTOR.find(&answer.body), None);
    for (name, value) in &answer.headers {
        assert_ne!(name, "transfer-encoding");
        assert_eq!(REDACTOR.find(value.as_bytes()), None);
    }
    assert!(!answer.body.windows(SECRET.len()).any(|part| part == SECRET));
}
