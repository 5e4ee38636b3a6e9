//! Assuming a role: temporary keys from the Security Token Service, by its Query API (AWS STS API reference, `AssumeRole`).

use super::{Keys, endpoint, sign};
use crate::CredentialError;
use crate::config::{AssumeRole, Aws};
use basb_redact::SecretValue;
use basb_secrets::{Answer, Ask};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use std::time::{Duration, SystemTime};
use url::Url;
use url::form_urlencoded::Serializer;

/// The longest to wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The signed request.
pub(crate) fn ask(aws: &Aws, role: &AssumeRole, keys: &Keys, now: SystemTime) -> Result<Ask, CredentialError> {
    let url = match &role.endpoint {
        Some(url) => url.clone(),
        None => default_endpoint(aws.region.as_deref())?,
    };
    let told = endpoint::scope_of(url.host_str().unwrap_or_default());
    let region = told.region.or_else(|| aws.region.clone()).unwrap_or_else(|| "us-east-1".to_owned());
    let mut form = Serializer::new(String::new());
    form.append_pair("Action", "AssumeRole")
        .append_pair("Version", "2011-06-15")
        .append_pair("RoleArn", &role.role_arn)
        .append_pair("RoleSessionName", &role.session_name)
        .append_pair("DurationSeconds", &role.duration.as_secs().to_string());
    if let Some(id) = &role.external_id {
        form.append_pair("ExternalId", id);
    }
    let body = form.finish();
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8"));
    headers.insert(ACCEPT, HeaderValue::from_static("text/xml"));
    sign((&Method::POST, &url, &mut headers, body.as_bytes()), keys, (&region, "sts"), now)?;
    Ok(Ask { method: Method::POST, url, headers, body: Bytes::from(body), timeout: TIMEOUT })
}

/// The region's own endpoint, as AWS recommends; the global one where no region is written.
fn default_endpoint(region: Option<&str>) -> Result<Url, CredentialError> {
    let text = match region {
        None => "https://sts.amazonaws.com/".to_owned(),
        Some(region) if region.starts_with("cn-") => format!("https://sts.{region}.amazonaws.com.cn/"),
        Some(region) if region.starts_with("eusc-") => format!("https://sts.{region}.amazonaws.eu/"),
        Some(region) => format!("https://sts.{region}.amazonaws.com/"),
    };
    Url::parse(&text).map_err(|_| {
        CredentialError::new(
            "credential/region",
            "the region does not make a host name",
            "write `endpoint` below `assumeRole`",
        )
    })
}

/// What an answer says: the keys and until when they hold.
///
/// # Errors
/// What is wrong with it, as AWS puts it: code and message, or what is missing.
pub(crate) fn read(answer: &Answer) -> Result<(Keys, SystemTime), Refused> {
    let text = String::from_utf8_lossy(&answer.body);
    if answer.status != 200 {
        let code = element(&text, "Code").map(unescaped);
        let message = element(&text, "Message").map(unescaped);
        return Err(Refused::ByServer { code, message });
    }
    let credentials = element(&text, "Credentials").ok_or(Refused::Incomplete("<Credentials>"))?;
    let part = |name| element(credentials, name).filter(|text| !text.is_empty()).map(unescaped);
    let access_key_id = part("AccessKeyId").ok_or(Refused::Incomplete("<AccessKeyId>"))?;
    let secret = part("SecretAccessKey").ok_or(Refused::Incomplete("<SecretAccessKey>"))?;
    let token = part("SessionToken").ok_or(Refused::Incomplete("<SessionToken>"))?;
    let until = part("Expiration").and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let until = until.ok_or(Refused::Incomplete("a readable <Expiration>"))?;
    let keys = Keys {
        access_key_id,
        secret_access_key: SecretValue::new(secret.into_bytes()),
        session_token: Some(SecretValue::new(token.into_bytes())),
    };
    Ok((keys, SystemTime::from(until)))
}

/// Why there are no keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// An error of the service; may repeat what it was asked.
    ByServer { code: Option<String>, message: Option<String> },
    /// This is missing in the answer.
    Incomplete(&'static str),
}

/// The text of the first element with this name. STS answers are flat and have neither attributes nor comments here.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(inner, _)| inner.trim())
}

/// The five entities that XML defines itself.
fn unescaped(text: &str) -> String {
    let plain = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
    plain.replace("&amp;", "&")
}
