//! What of an answer a plugin gets to see.
//!
//! Stops secrets from coming back: an answer that reflects what the host added is searched for every known secret, and
//! what is compressed is decompressed first, because a secret in compressed bytes cannot be found. Stops decompression
//! bombs: no more is decompressed than an answer may be long. Stops a secret from coming in parts, each of which is none. What is encoded in a way that the host cannot read does not
//! pass while there is a secret that could be in it.

use super::HttpError;
use crate::Limits;
use ::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use ::http::{HeaderMap, Method, StatusCode};
use basb_redact::Redactor;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use std::borrow::Cow;
use std::io::Read;

/// An answer as it came from the network.
#[derive(Debug, Clone)]
pub struct Raw {
    /// The status code.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// The body, encoded as `content-encoding` says.
    pub body: Vec<u8>,
}

/// An answer as a plugin sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Names in lower case, without those that concern the connection, without secrets, and fitting the body.
    pub headers: Vec<(String, String)>,
    /// Decoded and without secrets.
    pub body: Vec<u8>,
}

/// Decodes and redacts an answer.
///
/// # Errors
/// [`HttpError::TooLarge`] when more would be decoded than an answer may be long; [`HttpError::Broken`] when it is not
/// encoded as it says; [`HttpError::Other`] when it is encoded in a way that cannot be searched for secrets.
pub fn shown(
    raw: Raw,
    method: &Method,
    redactor: &Redactor,
    limits: &Limits,
    wanted: &str,
) -> Result<Shown, HttpError> {
    let Raw { headers, body, status } = raw;
    if status == StatusCode::PARTIAL_CONTENT.as_u16() && !redactor.is_empty() {
        return Err(HttpError::Other(format!(
            "the answer to {wanted} is a part of a thing (206) although the whole was asked for; while the host knows secrets, \
             parts do not come in: they cannot be searched"
        )));
    }
    let coding = coding(&headers);
    // The answer to HEAD, and 204 and 304, have the headers of a body but no body.
    let (body, decoded) = match coding {
        Coding::None => (body, Decoded::No),
        _ if body.is_empty() => (body, Decoded::Yes),
        Coding::Gzip => (gzip(&body, limits.response_bytes, wanted)?, Decoded::Yes),
        Coding::Deflate => (deflate(&body, limits.response_bytes, wanted)?, Decoded::Yes),
        Coding::Other if redactor.is_empty() => (body, Decoded::No),
        Coding::Other => {
            return Err(HttpError::Other(format!(
                "the answer to {wanted} is encoded in a way that cannot be searched for secrets, although the host asked for \
                 no encoding; gzip and deflate can be read"
            )));
        }
    };
    let body = match redactor.bytes(&body) {
        Cow::Borrowed(_) => body,
        Cow::Owned(redacted) => redacted,
    };
    let mut out = Vec::with_capacity(headers.len());
    for (name, value) in &headers {
        let value = match name.as_str() {
            "connection" | "keep-alive" | "transfer-encoding" | "proxy-connection" => continue,
            "content-encoding" if decoded == Decoded::Yes => continue,
            // What a body would have been long before it was encoded is not known.
            "content-length" if *method == Method::HEAD && decoded == Decoded::Yes => continue,
            "content-length" if *method != Method::HEAD => body.len().to_string(),
            _ => match redactor.bytes(value.as_bytes()) {
                Cow::Borrowed(same) => String::from_utf8_lossy(same).into_owned(),
                Cow::Owned(redacted) => String::from_utf8_lossy(&redacted).into_owned(),
            },
        };
        // The name of a header could hold a secret too, if a server makes names of what it is sent.
        out.push((redactor.text(name.as_str()).into_owned(), value));
    }
    Ok(Shown { headers: out, body })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decoded {
    Yes,
    No,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    None,
    Gzip,
    Deflate,
    Other,
}

fn coding(headers: &HeaderMap) -> Coding {
    let mut found = Coding::None;
    for value in headers.get_all(CONTENT_ENCODING) {
        let Ok(text) = value.to_str() else { return Coding::Other };
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let next = match word.to_ascii_lowercase().as_str() {
                "identity" => continue,
                "gzip" | "x-gzip" => Coding::Gzip,
                "deflate" => Coding::Deflate,
                _ => Coding::Other,
            };
            // One within the other: nobody does that who does not want to hide something.
            found = if found == Coding::None { next } else { Coding::Other };
        }
    }
    found
}

fn gzip(body: &[u8], limit: usize, wanted: &str) -> Result<Vec<u8>, HttpError> {
    read(MultiGzDecoder::new(body), limit, wanted)
}

/// "deflate" is zlib by RFC 9110 section 8.4.1.2, and bare deflate by those who did not read it.
fn deflate(body: &[u8], limit: usize, wanted: &str) -> Result<Vec<u8>, HttpError> {
    match read(ZlibDecoder::new(body), limit, wanted) {
        Err(HttpError::Broken(_)) => read(DeflateDecoder::new(body), limit, wanted),
        done => done,
    }
}

fn read(decoder: impl Read, limit: usize, wanted: &str) -> Result<Vec<u8>, HttpError> {
    let mut out = Vec::new();
    let read = decoder.take(limit as u64 + 1).read_to_end(&mut out);
    read.map_err(|error| HttpError::Broken(format!("the answer to {wanted} is not encoded as it says: {error}")))?;
    if out.len() > limit {
        return Err(HttpError::TooLarge(format!(
            "the answer to {wanted} is over the limit of {limit} bytes when it is decompressed"
        )));
    }
    Ok(out)
}

/// The length that an answer says it has.
pub(super) fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::http::{HeaderName, HeaderValue};
    use basb_redact::{SecretName, SecretValue};
    use flate2::Compression;
    use std::io::Write as _;

    fn knowing(secret: &str) -> Redactor {
        let redactor = Redactor::default();
        let _ = redactor.learn(&SecretName::new("token").unwrap(), &SecretValue::new(secret));
        redactor
    }

    fn gz(body: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(body: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    fn bare(body: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    fn show(method: Method, headers: &[(&str, &str)], body: Vec<u8>, redactor: &Redactor) -> Result<Shown, HttpError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let limits = Limits { response_bytes: 1000, ..Limits::default() };
        shown(Raw { status: 200, headers: map, body }, &method, redactor, &limits, "GET https://a.example/")
    }

    fn header<'a>(shown: &'a Shown, name: &str) -> Option<&'a str> {
        shown.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn a_reflected_secret_is_taken_out_of_body_and_headers() {
        let redactor = knowing("s3cr3t-value");
        let length = "6".to_owned();
        let body = b"you sent s3cr3t-value".to_vec();
        let headers = [("content-length", length.as_str()), ("x-echo", "s3cr3t-value"), ("connection", "close")];
        let shown = show(Method::GET, &headers, body, &redactor).unwrap();
        let text = String::from_utf8(shown.body.clone()).unwrap();
        assert!(!text.contains("s3cr3t-value") && text.starts_with("you sent "), "{text}");
        assert_eq!(header(&shown, "content-length"), Some(text.len().to_string().as_str()));
        assert!(!header(&shown, "x-echo").unwrap().contains("s3cr3t-value"));
        assert_eq!(header(&shown, "connection"), None);
    }

    #[test]
    fn compression_hides_nothing() {
        let redactor = knowing("s3cr3t-value");
        let plain = b"a s3cr3t-value b";
        for (coding, body) in [
            ("gzip", gz(plain)),
            ("x-gzip", gz(plain)),
            ("GZIP", gz(plain)),
            ("deflate", zlib(plain)),
            ("deflate", bare(plain)),
        ] {
            let shown = show(Method::GET, &[("content-encoding", coding)], body, &redactor).unwrap();
            let text = String::from_utf8(shown.body.clone()).unwrap();
            assert!(text.starts_with("a ") && text.ends_with(" b") && !text.contains("s3cr3t"), "{coding}: {text}");
            assert_eq!(header(&shown, "content-encoding"), None);
        }
        for coding in ["br", "zstd", "gzip, gzip", "gzip, br", "compress", "x"] {
            let refused = show(Method::GET, &[("content-encoding", coding)], gz(&gz(plain)), &redactor);
            assert!(matches!(&refused, Err(HttpError::Other(_))), "{coding}: {refused:?}");
            let unknown = Redactor::default();
            assert!(show(Method::GET, &[("content-encoding", coding)], gz(plain), &unknown).is_ok(), "{coding}");
        }
        let twice = [("content-encoding", "gzip"), ("content-encoding", "gzip")];
        assert!(show(Method::GET, &twice, gz(&gz(plain)), &redactor).is_err());
        assert!(show(Method::GET, &[("content-encoding", "identity")], plain.to_vec(), &redactor).is_ok());
    }

    #[test]
    fn a_bomb_does_not_go_off() {
        let redactor = Redactor::default();
        let bomb = gz(&vec![0; 50 << 20]);
        assert!(bomb.len() < 100_000);
        for (coding, body) in
            [("gzip", bomb), ("deflate", zlib(&vec![0; 4 << 20])), ("deflate", bare(&vec![0; 4 << 20]))]
        {
            let refused = show(Method::GET, &[("content-encoding", coding)], body, &redactor);
            assert!(matches!(refused, Err(HttpError::TooLarge(_))), "{coding}: {refused:?}");
        }
        let lie = show(Method::GET, &[("content-encoding", "gzip")], b"plain".to_vec(), &redactor);
        assert!(matches!(lie, Err(HttpError::Broken(_))), "{lie:?}");
    }

    #[test]
    fn a_part_does_not_pass_where_a_secret_could_be_cut() {
        let part = |redactor: &Redactor| {
            let raw = Raw { status: 206, headers: HeaderMap::new(), body: b"s3cr".to_vec() };
            shown(raw, &Method::GET, redactor, &Limits::default(), "GET https://a.example/")
        };
        assert!(matches!(part(&knowing("s3cr3t-value")), Err(HttpError::Other(text)) if text.contains("206")));
        assert!(part(&Redactor::default()).is_ok());
    }

    #[test]
    fn a_length_can_be_a_secret_too() {
        let shown = show(Method::HEAD, &[("content-length", "73104655")], Vec::new(), &knowing("73104655")).unwrap();
        assert_eq!(header(&shown, "content-length"), Some("[secret token]"));
    }

    #[test]
    fn an_answer_without_a_body_keeps_what_is_true_of_it() {
        let redactor = knowing("s3cr3t-value");
        let headers = [("content-length", "1234")];
        let shown = show(Method::HEAD, &headers, Vec::new(), &redactor).unwrap();
        assert_eq!(header(&shown, "content-length"), Some("1234"));
        let encoded = [("content-length", "1234"), ("content-encoding", "br")];
        let shown = show(Method::HEAD, &encoded, Vec::new(), &redactor).unwrap();
        assert_eq!(shown.headers, []);
    }
}
