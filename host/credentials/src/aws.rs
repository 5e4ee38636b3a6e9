//! Signature Version 4 of AWS, by `aws-sigv4`.
//!
//! Sources: "Create a signed AWS API request" (AWS IAM user guide), "Authenticating requests" (Amazon S3 API reference):
//! S3 wants the hash of the payload in a header and the path encoded once, everybody else the path encoded twice.

pub(crate) mod assume;
pub(crate) mod endpoint;
#[cfg(test)]
mod tests;

use crate::CredentialError;
use aws_credential_types::Credentials as AwsCredentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign as sign_request,
};
use aws_sigv4::sign::v4;
use basb_redact::SecretValue;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use ring::digest::{SHA256, digest};
use std::fmt::Write as _;
use std::time::SystemTime;
use url::Url;

/// The headers that signing sets; what a plugin wrote into them is removed.
pub(crate) const OWNED: [HeaderName; 4] = [
    AUTHORIZATION,
    HeaderName::from_static("x-amz-date"),
    HeaderName::from_static("x-amz-security-token"),
    HeaderName::from_static("x-amz-content-sha256"),
];

/// Everything but the unreserved characters of RFC 3986, as AWS encodes.
const AWS_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Keys to sign with.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    pub access_key_id: String,
    pub secret_access_key: SecretValue,
    pub session_token: Option<SecretValue>,
}

/// How a service wants its requests signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Paths normalised and encoded twice.
    Usual,
    /// Paths as they are, and the payload's hash in a header.
    S3,
}

impl Style {
    /// The style of a service, by its name in signatures.
    pub fn of(service: &str) -> Self {
        match service {
            "s3" | "s3express" | "s3-outposts" | "s3-object-lambda" => Self::S3,
            _ => Self::Usual,
        }
    }

    fn settings(self) -> SigningSettings {
        let mut settings = SigningSettings::default();
        if self == Self::S3 {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        settings
    }
}

/// Signs a request that is complete otherwise.
pub(crate) fn sign(
    request: (&Method, &Url, &mut HeaderMap, &[u8]),
    keys: &Keys,
    scope: (&str, &str),
    now: SystemTime,
) -> Result<(), CredentialError> {
    let (method, url, headers, body) = request;
    let (region, service) = scope;
    // A request that brings a signature in its query has two then, and whose it is would be open.
    if url.query_pairs().any(|(key, _)| key.eq_ignore_ascii_case("x-amz-signature")) {
        return Err(CredentialError::new(
            "credential/signing",
            "the request carries a signature in its query",
            "leave signing to the host: send the request without `X-Amz-Signature` and its like",
        ));
    }
    for name in OWNED {
        headers.remove(name);
    }
    let style = Style::of(service);
    let uri = match style {
        Style::Usual => url.to_string(),
        Style::S3 => with_s3_path(url),
    };
    let signed =
        sign_with(method.as_str(), &uri, headers, body, keys, scope, now, style.settings()).map_err(|why| {
            CredentialError::new(
                "credential/signing",
                format!("the request cannot be signed for `{service}` in `{region}`: {why}"),
                "send header values in printable ASCII",
            )
        })?;
    for (name, value) in signed {
        headers.insert(name, value);
    }
    Ok(())
}

/// S3 decodes a path and encodes it strictly before it checks; this is that form.
fn with_s3_path(url: &Url) -> String {
    let decoded: Vec<u8> = percent_decode_str(url.path()).collect();
    let mut out = format!("{}{}", crate::destination::origin(url), percent_encode(&decoded, AWS_PATH));
    if let Some(query) = url.query() {
        let _ = write!(out, "?{query}");
    }
    out
}

/// The headers that a signature adds.
#[expect(clippy::too_many_arguments, reason = "the parts of a request and of a credential scope")]
fn sign_with(
    method: &str,
    uri: &str,
    headers: &HeaderMap,
    body: &[u8],
    keys: &Keys,
    (region, service): (&str, &str),
    now: SystemTime,
    settings: SigningSettings,
) -> Result<Vec<(HeaderName, HeaderValue)>, &'static str> {
    let secret = keys.secret_access_key.expose_text().ok_or("the secret access key is no text")?;
    let token = match &keys.session_token {
        Some(token) => Some(token.expose_text().ok_or("the session token is no text")?.to_owned()),
        None => None,
    };
    let identity = AwsCredentials::new(&keys.access_key_id, secret, token, None, "basb-host").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(now)
        .settings(settings)
        .build()
        .map_err(|_| "region or service are missing")?
        .into();
    let mut signed = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        // AWS asks for the headers of its own; another credential's header is nobody's business there.
        if value.is_sensitive() && !name.as_str().starts_with("x-amz-") {
            continue;
        }
        signed.push((name.as_str(), value.to_str().map_err(|_| "a header value is not printable ASCII")?));
    }
    let body = SignableBody::Precomputed(hex(digest(&SHA256, body).as_ref()));
    let request = SignableRequest::new(method, uri, signed.into_iter(), body).map_err(|_| "its URL is malformed")?;
    // `aws-sigv4` traces whole requests, session token and all; nobody listens meanwhile.
    let signing = || sign_request(request, &params);
    let output = tracing::dispatcher::with_default(&tracing::Dispatch::none(), signing);
    let (instructions, _) = output.map_err(|_| "a header cannot be part of a signature")?.into_parts();
    let (headers, _) = instructions.into_parts();
    let mut out = Vec::with_capacity(headers.len());
    for header in headers {
        let name = HeaderName::from_bytes(header.name().as_bytes()).map_err(|_| "a header is malformed")?;
        let mut value = HeaderValue::from_str(header.value()).map_err(|_| "a key holds a control character")?;
        value.set_sensitive(header.sensitive() || name == AUTHORIZATION);
        out.push((name, value));
    }
    Ok(out)
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}
