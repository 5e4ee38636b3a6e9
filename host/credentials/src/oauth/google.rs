//! Tokens of Google Cloud: for a service account by its own key (RFC 7523; "Using OAuth 2.0 for server to server
//! applications"), and from the metadata server of a machine in Google Cloud ("Authenticate workloads using service
//! accounts").

use super::{TIMEOUT, token_request};
use crate::CredentialError;
use crate::config::{GcpMetadata, GcpServiceAccount};
use basb_redact::{SecretName, SecretValue};
use basb_secrets::Ask;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::json;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};
use url::Url;
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

/// How long an assertion holds, in seconds: the most that Google accepts.
const ASSERTION_SECONDS: u64 = 3600;

/// The part of a key file that is used.
#[derive(Deserialize)]
struct KeyFile {
    #[serde(rename = "type")]
    kind: String,
    client_email: String,
    private_key_id: Option<String>,
    private_key: String,
    token_uri: Option<String>,
}

/// A service account that can sign.
pub(crate) struct ServiceAccount {
    email: String,
    key_id: Option<String>,
    key: RsaKeyPair,
    endpoint: Url,
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccount").finish_non_exhaustive()
    }
}

impl ServiceAccount {
    /// Reads a key file.
    ///
    /// # Errors
    /// What is wrong with it; nothing of what it holds.
    pub fn read(gcp: &GcpServiceAccount, file: &SecretValue) -> Result<Self, CredentialError> {
        let wrong = |why: &str, help: &str| CredentialError::new("credential/key", key_text(&gcp.key, why), help);
        const ANEW: &str = "store the whole JSON file that `gcloud iam service-accounts keys create` writes";
        // serde's messages repeat what they met, so they are dropped.
        let file: KeyFile = serde_json::from_slice(file.expose())
            .map_err(|_| wrong("is not the JSON of a service account's key", ANEW))?;
        let pem = Zeroizing::new(file.private_key);
        if file.kind != "service_account" {
            return Err(wrong("is not of the type `service_account`", ANEW));
        }
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| wrong("holds no PKCS #8 key in PEM", ANEW))?;
        let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der())
            .map_err(|_| wrong("holds a key that is not an RSA key of 2048 bits or more", ANEW))?;
        let endpoint = match (&gcp.token_url, file.token_uri) {
            (Some(url), _) => url.clone(),
            (None, None) => google_endpoint("https://oauth2.googleapis.com/token").ok_or_else(|| wrong("", ANEW))?,
            // An assertion is as good as the key for an hour, so a key file does not decide where it goes.
            (None, Some(text)) => google_endpoint(&text).ok_or_else(|| {
                wrong("names a token endpoint that is not Google's", "if that is meant, write it as `tokenUrl`")
            })?,
        };
        Ok(Self { email: file.client_email, key_id: file.private_key_id, key, endpoint })
    }

    /// The token endpoint.
    pub fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    /// The signed assertion (RFC 7523 section 3): a JWT with RS256.
    pub fn assertion(&self, scopes: &[String], now: SystemTime) -> Result<SecretValue, CredentialError> {
        let failed = || CredentialError::new("credential/key", "the assertion cannot be signed", "make a new key");
        let issued = now.duration_since(UNIX_EPOCH).map_err(|_| failed())?.as_secs();
        let mut header = json!({"alg": "RS256", "typ": "JWT"});
        if let (Some(id), Some(header)) = (&self.key_id, header.as_object_mut()) {
            header.insert("kid".to_owned(), id.as_str().into());
        }
        let claims = json!({
            "iss": self.email,
            "scope": scopes.join(" "),
            "aud": self.endpoint.as_str(),
            "iat": issued,
            "exp": issued.saturating_add(ASSERTION_SECONDS),
        });
        let signed =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut signature = vec![0; self.key.public().modulus_len()];
        let random = SystemRandom::new();
        self.key.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).map_err(|_| failed())?;
        Ok(SecretValue::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)).into_bytes()))
    }

    /// The request for a token.
    pub fn ask(&self, assertion: &SecretValue) -> Ask {
        let form = Serializer::new(String::new())
            .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
            .append_pair("assertion", assertion.expose_text().unwrap_or_default())
            .finish();
        token_request(self.endpoint.clone(), form)
    }
}

fn key_text(secret: &SecretName, why: &str) -> String {
    format!("the secret `{secret}` {why}")
}

/// A token endpoint of Google.
fn google_endpoint(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let google = url.host_str().is_some_and(|host| host == "googleapis.com" || host.ends_with(".googleapis.com"))
        || url.host_str() == Some("accounts.google.com");
    let plain = url.port().is_none() && url.username().is_empty() && url.password().is_none();
    (url.scheme() == "https" && google && plain).then_some(url)
}

/// The request to the metadata server. Its answer must carry `Metadata-Flavor: Google` too.
pub(crate) fn metadata_ask(gcp: &GcpMetadata) -> Ask {
    let mut url = gcp.endpoint.clone();
    let root = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{root}/computeMetadata/v1/instance/service-accounts/{}/token", gcp.account));
    if !gcp.scopes.is_empty() {
        url.query_pairs_mut().append_pair("scopes", &gcp.scopes.join(","));
    }
    let mut headers = HeaderMap::new();
    headers.insert(METADATA_FLAVOR, HeaderValue::from_static("Google"));
    Ask { method: Method::GET, url, headers, body: Bytes::new(), timeout: TIMEOUT }
}

/// The header by which the metadata server and its clients know each other.
pub(crate) const METADATA_FLAVOR: &str = "metadata-flavor";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_googles_own_endpoints_are_taken_from_a_key_file() {
        for good in ["https://oauth2.googleapis.com/token", "https://accounts.google.com/o/oauth2/token"] {
            assert!(google_endpoint(good).is_some(), "{good}");
        }
        for bad in [
            "http://oauth2.googleapis.com/token",
            "https://oauth2.googleapis.com.evil.org/token",
            "https://evilgoogleapis.com/token",
            "https://oauth2.googleapis.com@evil.org/",
            "https://u:p@oauth2.googleapis.com/",
            "https://oauth2.googleapis.com:8443/",
            "https://169.254.169.254/",
            "token",
        ] {
            assert!(google_endpoint(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_metadata_request_is_the_documented_one() {
        let gcp = GcpMetadata {
            account: "default".to_owned(),
            scopes: vec!["https://a/b".to_owned(), "c".to_owned()],
            endpoint: Url::parse("http://metadata.google.internal").unwrap(),
        };
        let ask = metadata_ask(&gcp);
        assert_eq!(
            ask.url.as_str(),
            "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token?scopes=https%3A%2F%2Fa%2Fb%2Cc"
        );
        assert_eq!(ask.headers.get("metadata-flavor").unwrap(), "Google");
    }

    #[test]
    fn nothing_of_a_bad_key_file_is_said() {
        let gcp = GcpServiceAccount { key: SecretName::new("gcp-json").unwrap(), scopes: vec![], token_url: None };
        for file in [
            "canary-1".to_owned(),
            r#"{"type":"canary-1"}"#.to_owned(),
            r#"{"type":"canary-1","client_email":"canary-1","private_key":"canary-1"}"#.to_owned(),
            r#"{"type":"service_account","client_email":"canary-1","private_key":"canary-1"}"#.to_owned(),
            r#"{"type":"service_account","client_email":"c","private_key":"-----BEGIN PRIVATE KEY-----\ncanary-1\n-----END PRIVATE KEY-----\n"}"#.to_owned(),
            r#"{"type":"service_account","client_email":"c","private_key":"-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----\n"}"#.to_owned(),
        ] {
            let error = ServiceAccount::read(&gcp, &SecretValue::new(file.clone())).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(text.contains("gcp-json") && !text.contains("canary"), "{file}: {text}");
        }
    }
}
