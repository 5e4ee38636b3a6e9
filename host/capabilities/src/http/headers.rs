//! The headers that a plugin may set.
//!
//! Stops request smuggling and confusion: lengths, hop-by-hop headers (RFC 9110 section 7.6.1) and `host` are the
//! host's business, and no value can hold a line end.

use crate::Limits;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Headers that the host alone sets, that concern one hop, or that make another request of it.
const REFUSED: [&str; 19] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    // Frameworks take these for the method: a granted POST would become a DELETE.
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    // ... and these for the URL: a granted path would become another one.
    "x-original-url",
    "x-rewrite-url",
    "x-forwarded-prefix",
];

/// Headers that ask for a part of a thing: the standard's, Azure's, and an old form that some servers still take.
pub(super) const PARTS: [&str; 3] = ["range", "x-ms-range", "request-range"];

/// The headers to send.
///
/// # Errors
/// A sentence that names the header and says why it is refused.
pub fn checked(headers: &[(String, String)], limits: &Limits) -> Result<HeaderMap, String> {
    if headers.len() > limits.headers {
        return Err(format!("{} headers are more than the limit of {}", headers.len(), limits.headers));
    }
    let size: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    if size > limits.header_bytes {
        return Err(format!("headers of {size} bytes are over the limit of {}", limits.header_bytes));
    }
    let mut out = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let shown = crate::printable(name, 60);
        let name =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{shown}` is not the name of a header"))?;
        if REFUSED.contains(&name.as_str()) {
            return Err(format!("the header `{name}` is set by the host; leave it out"));
        }
        let value = HeaderValue::from_str(value)
            .or_else(|_| HeaderValue::from_bytes(value.as_bytes()))
            .map_err(|_| format!("the value of the header `{shown}` holds a control character"))?;
        out.append(name, value);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: &str) -> Result<HeaderMap, String> {
        checked(&[(name.to_owned(), value.to_owned())], &Limits::default())
    }

    #[test]
    fn a_header_cannot_smuggle() {
        assert!(check("X-Trace", "ä").is_ok());
        for (name, value) in [
            ("Host", "evil"),
            ("Content-Length", "0"),
            ("Transfer-Encoding", "chunked"),
            ("connection", "x-foo"),
            ("upgrade", "h2c"),
            ("X-HTTP-Method-Override", "DELETE"),
            ("X-Original-URL", "/admin"),
            ("x a", "1"),
            ("x", "a\r\nhost: evil"),
            ("x", "a\nb"),
            ("x\r\ny", "1"),
            ("", "1"),
            ("x:", "1"),
        ] {
            assert!(check(name, value).is_err(), "{name:?} {value:?}");
        }
    }

    #[test]
    fn headers_are_bounded() {
        let many = vec![("x".to_owned(), "1".to_owned()); 101];
        assert!(checked(&many, &Limits::default()).is_err());
        assert!(check("x", &"a".repeat(65 << 10)).is_err());
    }
}
