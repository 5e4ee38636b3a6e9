//! Puts secrets where their placeholders stand, encoded for the place.
//!
//! Stops a secret from changing what a request is: in a path it cannot begin another segment unless it is the whole rest,
//! and never a query or a `..`; in a header it cannot begin another header; in JSON and in a form it stays one value. What
//! a secret holds is the operator's, but a secret that was rotated carelessly, or a store that somebody else writes to,
//! must not be able to turn one request into another.

use crate::{CredentialError, Outgoing, placeholder};
use basb_redact::{SecretName, SecretValue};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode, percent_encode};
use std::collections::{BTreeMap, BTreeSet};
use url::Url;
use url::form_urlencoded::byte_serialize;

/// What has to be encoded in a path segment: all but `pchar` of RFC 3986 section 3.3.
const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// What has to be encoded in a component of a query: all but the unreserved characters of RFC 3986 section 2.3.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The secrets that a request asks for by placeholders.
///
/// # Errors
/// A placeholder where none is ever replaced (method, scheme, user information, host, port, fragment, header names), or
/// one in another encoding.
pub(crate) fn wanted(request: &Outgoing) -> Result<BTreeSet<SecretName>, CredentialError> {
    let mut out = BTreeSet::new();
    let misplaced = |place: &str| {
        Err(CredentialError::new(
            "credential/placeholder-place",
            format!("a placeholder of a secret stands in the {place} of a request, where it is never replaced"),
            "put it into the path, the query, a header's value or the body",
        ))
    };
    if placeholder::hinted(request.method.as_str()) {
        return misplaced("method");
    }
    let url = &request.url;
    let front = url.as_str().get(..url[..url::Position::BeforePath].len()).unwrap_or_default();
    if placeholder::hinted(front) || placeholder::disguised(front.as_bytes()) {
        return misplaced("host or the user information");
    }
    if url.fragment().is_some_and(placeholder::hinted) {
        return misplaced("fragment");
    }
    if request.headers.keys().any(|name| placeholder::hinted(name.as_str())) {
        return misplaced("name of a header");
    }
    let mut search = |text: &[u8], place: &str| {
        if placeholder::disguised(text) {
            return Err(CredentialError::new(
                "credential/placeholder-disguised",
                format!("a placeholder of a secret is encoded in the {place} of a request"),
                "pass the placeholder on as it is: nothing in it needs to be encoded",
            ));
        }
        out.extend(placeholder::find(text).into_iter().map(|found| found.secret));
        Ok(())
    };
    search(url.path().as_bytes(), "path")?;
    search(url.query().unwrap_or_default().as_bytes(), "query")?;
    for value in request.headers.values() {
        search(value.as_bytes(), "headers")?;
    }
    search(&request.body, "body")?;
    Ok(out)
}

/// The values to put in.
pub(crate) type Values = BTreeMap<SecretName, SecretValue>;

/// Puts them in. The request is changed only when everything went well.
pub(crate) fn substitute(request: &mut Outgoing, values: &Values) -> Result<(), CredentialError> {
    let url = new_url(&request.url, values)?;
    let headers = new_headers(&request.headers, values)?;
    let body = new_body(&request.headers, &request.body, values)?;
    request.url = url;
    request.headers = headers;
    if let Some(body) = body {
        request.body = body;
    }
    Ok(())
}

/// `text` with every placeholder replaced by what `encode` makes of its value; `None` when there is none.
fn replaced(
    text: &[u8],
    values: &Values,
    mut encode: impl FnMut(&placeholder::Found, &[u8]) -> Result<Vec<u8>, CredentialError>,
) -> Result<Option<Vec<u8>>, CredentialError> {
    let found = placeholder::find(text);
    if found.is_empty() {
        return Ok(None);
    }
    let mut out = Vec::with_capacity(text.len() * 2);
    let mut done = 0;
    for one in &found {
        let value = values.get(&one.secret).ok_or_else(|| {
            CredentialError::new(
                "credential/not-bound",
                format!("the secret `{}` is not for this destination", one.secret),
                "bind a credential with `placeholder` to it",
            )
        })?;
        out.extend_from_slice(text.get(done..one.range.start).unwrap_or_default());
        out.extend(encode(one, value.expose())?);
        done = one.range.end;
    }
    out.extend_from_slice(text.get(done..).unwrap_or_default());
    Ok(Some(out))
}

fn new_url(url: &Url, values: &Values) -> Result<Url, CredentialError> {
    let (path, query) = (url.path(), url.query());
    let new_path = replaced(path.as_bytes(), values, |found, value| in_path(path, found, value))?;
    let new_query = match query {
        Some(query) => replaced(query.as_bytes(), values, |_, value| {
            Ok(percent_encode(value, COMPONENT).to_string().into_bytes())
        })?,
        None => None,
    };
    if new_path.is_none() && new_query.is_none() {
        return Ok(url.clone());
    }
    let text = |new: Option<Vec<u8>>, old: &str| match new {
        Some(bytes) => String::from_utf8(bytes).unwrap_or_default(),
        None => old.to_owned(),
    };
    let path = text(new_path, path);
    let dotted = |segment: &str| {
        let decoded: Vec<u8> = percent_decode(segment.as_bytes()).collect();
        let name = decoded.split(|b| *b == b';').next().unwrap_or_default();
        name == b"." || name == b".."
    };
    if path.split('/').any(dotted) {
        return Err(elsewhere("with the secret in its place, the path has a `.` or `..` segment"));
    }
    let mut written = format!("{}{path}", &url[..url::Position::BeforePath]);
    if let Some(old) = query {
        written.push('?');
        written.push_str(&text(new_query, old));
    }
    let new = Url::parse(&written).map_err(|_| elsewhere("with the secret in its place, the URL is malformed"))?;
    // The parser must have had nothing to put right, or the server would see another path than the one made here.
    let same = new.scheme() == url.scheme()
        && new.host() == url.host()
        && new.port_or_known_default() == url.port_or_known_default()
        && new.username().is_empty()
        && new.password().is_none()
        && new.as_str() == written;
    if same { Ok(new) } else { Err(elsewhere("with the secret in its place, the request would go elsewhere")) }
}

fn elsewhere(message: &str) -> CredentialError {
    CredentialError::new(
        "credential/destination",
        message,
        "a secret in a path holds neither `..` nor a whole URL; for a URL that is a secret as a whole, make the placeholder the \
         whole URL",
    )
}

fn in_path(path: &str, found: &placeholder::Found, value: &[u8]) -> Result<Vec<u8>, CredentialError> {
    let cannot = |why: &str| {
        let help = "a secret in a path is one segment, or all of the rest where the placeholder ends the path";
        Err(CredentialError::new(
            "credential/value",
            format!("the secret `{}` cannot stand in a path: it {why}", found.secret),
            help,
        ))
    };
    if value.is_empty() {
        return cannot("is empty");
    }
    if value.iter().any(u8::is_ascii_control) {
        return cannot("holds a line end or another control character");
    }
    if memchr::memchr3(b'?', b'#', b'\\', value).is_some() {
        return cannot("holds `?`, `#` or a backslash");
    }
    let begins = found.range.start.checked_sub(1).and_then(|at| path.as_bytes().get(at)) == Some(&b'/');
    let whole_rest = begins && found.range.end == path.len();
    if memchr::memchr(b'/', value).is_some() && !whole_rest {
        return cannot("holds `/`");
    }
    let segments: Vec<_> = value.split(|b| *b == b'/').collect();
    let inner = segments.split_last().map(|(_, inner)| inner).unwrap_or_default();
    if inner.iter().any(|segment| segment.is_empty()) {
        return cannot("begins with `/` or holds `//`");
    }
    if segments.iter().any(|segment| *segment == b"." || *segment == b"..") {
        return cannot("holds a `.` or `..` segment");
    }
    let encoded: Vec<_> = segments.iter().map(|segment| percent_encode(segment, SEGMENT).to_string()).collect();
    Ok(encoded.join("/").into_bytes())
}

fn new_headers(headers: &HeaderMap, values: &Values) -> Result<HeaderMap, CredentialError> {
    let mut out = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let new = replaced(value.as_bytes(), values, |found, value| {
            header_value(&found.secret, b"", value).map(|value| value.as_bytes().to_vec())
        })?;
        let value = match new {
            None => value.clone(),
            Some(bytes) => sensitive(&bytes).ok_or_else(|| {
                CredentialError::new(
                    "credential/value",
                    format!("the header `{name}` cannot be made"),
                    "look at the secret",
                )
            })?,
        };
        out.append(name.clone(), value);
    }
    Ok(out)
}

/// A header value with a secret behind a prefix.
pub(crate) fn header_value(secret: &SecretName, prefix: &[u8], value: &[u8]) -> Result<HeaderValue, CredentialError> {
    if value.is_empty() {
        return Err(CredentialError::value(secret, "is empty"));
    }
    sensitive(&[prefix, value].concat()).ok_or_else(|| {
        CredentialError::value(secret, "cannot stand in a header: it holds a line end or another control character")
    })
}

/// A header value that nobody prints; refuses CR, LF, NUL and the other control characters.
fn sensitive(bytes: &[u8]) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(bytes).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What a body is made of, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    JsonLines,
    UrlEncoded,
    Raw,
}

fn form_of(headers: &HeaderMap, body: &[u8]) -> Form {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        // Undeclared JSON is JSON all the same: inside a string, a quote in a secret would end the string.
        return if is_json(body) { Form::Json } else { Form::Raw };
    };
    let text = value.to_str().unwrap_or_default().to_ascii_lowercase();
    let kind = text.split(';').next().unwrap_or_default().trim();
    let sub = kind.split('/').nth(1).unwrap_or_default();
    if kind == "application/x-www-form-urlencoded" {
        Form::UrlEncoded
    } else if matches!(sub, "x-ndjson" | "ndjson" | "jsonl" | "jsonlines" | "x-jsonlines" | "json-seq") {
        Form::JsonLines
    } else if sub == "json" || sub.ends_with("+json") || sub.starts_with("x-amz-json-") {
        Form::Json
    } else {
        Form::Raw
    }
}

fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}

fn new_body(headers: &HeaderMap, body: &[u8], values: &Values) -> Result<Option<Bytes>, CredentialError> {
    if placeholder::find(body).is_empty() {
        return Ok(None);
    }
    let form = form_of(headers, body);
    if form == Form::Json && !is_json(body) {
        // Outside of a JSON string a placeholder is no JSON; so in a valid document each one is inside of one.
        return Err(CredentialError::new(
            "credential/body",
            "a body that is to hold a secret is declared as JSON but is none",
            "write the placeholder inside a JSON string, or declare another content type",
        ));
    }
    let new = replaced(body, values, |found, value| match form {
        Form::Raw => Ok(value.to_vec()),
        Form::UrlEncoded => Ok(byte_serialize(value).collect::<String>().into_bytes()),
        Form::Json | Form::JsonLines => {
            let text = std::str::from_utf8(value)
                .map_err(|_| CredentialError::value(&found.secret, "cannot stand in JSON: it is no UTF-8 text"))?;
            let quoted = serde_json::Value::from(text).to_string();
            let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default();
            Ok(inner.as_bytes().to_vec())
        }
    })?;
    Ok(new.map(Bytes::from))
}

#[cfg(test)]
mod tests;
