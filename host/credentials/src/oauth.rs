//! Access tokens of OAuth 2.0 (RFC 6749): asking for them, and reading the answer.
//!
//! **Must never** repeat what an endpoint says without redacting it: some repeat what they were sent.

pub(crate) mod azure;
pub(crate) mod google;

use basb_redact::SecretValue;
use basb_secrets::{Answer, Ask};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use serde::Deserialize;
use std::time::Duration;
use url::Url;

/// The longest to wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A request to a token endpoint.
fn token_request(url: Url, form: String) -> Ask {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    Ask { method: Method::POST, url, headers, body: Bytes::from(form), timeout: TIMEOUT }
}

/// An access token.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    /// The token.
    pub value: SecretValue,
    /// How long it holds.
    pub lifetime: Duration,
}

/// Why there is no token, in the endpoint's own words where it had some. To be redacted before it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// An error (RFC 6749 section 5.2).
    ByServer { status: u16, error: Option<String>, description: Option<String> },
    /// An answer that holds no usable token.
    Unusable(&'static str),
}

#[derive(Deserialize)]
struct Success {
    access_token: Option<String>,
    token_type: Option<String>,
    // A number in the RFC, a text in some older endpoints.
    expires_in: Option<serde_json::Value>,
}

/// What an answer says. An absent lifetime counts as five minutes.
pub(crate) fn read(answer: &Answer) -> Result<Token, Refused> {
    if answer.status != 200 {
        let json = serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap_or_default();
        let text = |key: &str| json.get(key).and_then(serde_json::Value::as_str).map(str::to_owned);
        return Err(Refused::ByServer {
            status: answer.status,
            error: text("error"),
            description: text("error_description"),
        });
    }
    let success: Success =
        serde_json::from_slice(&answer.body).map_err(|_| Refused::Unusable("it is not the JSON of a token"))?;
    if success.token_type.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err(Refused::Unusable("its token is not a bearer token"));
    }
    let token = success.access_token.filter(|token| !token.is_empty());
    let token = token.ok_or(Refused::Unusable("it holds no `access_token`"))?;
    // RFC 6750 section 2.1; some endpoints use other printable characters.
    if !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Refused::Unusable("its token holds a space or a control character"));
    }
    let seconds = match success.expires_in {
        None | Some(serde_json::Value::Null) => Some(300),
        Some(serde_json::Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_u64(),
    };
    let seconds = seconds.ok_or(Refused::Unusable("its `expires_in` is no number of seconds"))?;
    // A year: no endpoint gives more, and a sum with it stays within what a clock holds.
    let lifetime = Duration::from_secs(seconds.min(31_536_000));
    Ok(Token { value: SecretValue::new(token.into_bytes()), lifetime })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, headers: HeaderMap::new(), body: Bytes::from(body.to_owned()) }
    }

    #[test]
    fn a_token_is_read() {
        let token = read(&answer(200, r#"{"access_token":"ya29.x","token_type":"Bearer","expires_in":3599}"#)).unwrap();
        assert_eq!((token.value.expose(), token.lifetime.as_secs()), (b"ya29.x".as_slice(), 3599));
        assert_eq!(read(&answer(200, r#"{"access_token":"t","expires_in":"60"}"#)).unwrap().lifetime.as_secs(), 60);
        assert_eq!(read(&answer(200, r#"{"access_token":"t"}"#)).unwrap().lifetime.as_secs(), 300);
        let endless = read(&answer(200, r#"{"access_token":"t","expires_in":18446744073709551615}"#)).unwrap();
        assert_eq!(endless.lifetime.as_secs(), 31_536_000);
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for body in [
            "",
            "<html>",
            "{}",
            "[]",
            r#"{"access_token":""}"#,
            r#"{"access_token":"a b"}"#,
            r#"{"access_token":"a\r\nx: y"}"#,
            r#"{"access_token":7}"#,
            r#"{"access_token":"t","token_type":"mac"}"#,
            r#"{"access_token":"t","expires_in":"soon"}"#,
            r#"{"access_token":"t","expires_in":-1}"#,
        ] {
            assert!(matches!(read(&answer(200, body)), Err(Refused::Unusable(_))), "{body}");
        }
        assert_eq!(
            read(&answer(400, r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#))
                .unwrap_err(),
            Refused::ByServer {
                status: 400,
                error: Some("invalid_grant".to_owned()),
                description: Some("Invalid JWT Signature.".to_owned())
            }
        );
        assert_eq!(
            read(&answer(502, "bad gateway")).unwrap_err(),
            Refused::ByServer { status: 502, error: None, description: None }
        );
    }
}
