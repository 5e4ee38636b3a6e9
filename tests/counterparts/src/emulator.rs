//! An emulator of AWS that is asked by signed requests, or, for setting up, by unsigned ones.

use crate::RealTransport;
use crate::process::Process;
use basb_secrets::{Answer, Ask, Transport};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// An access key.
#[derive(Debug, Clone)]
pub struct AccessKey {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

/// A server of AWS's APIs; stopped when dropped.
#[derive(Debug)]
pub struct Emulator {
    _process: Process,
    /// Where it answers, such as `http://127.0.0.1:5555`.
    pub endpoint: Url,
    transport: Arc<RealTransport>,
}

impl Emulator {
    /// The one that this process serves on a port of this machine.
    pub(crate) fn of(process: Process, port: u16) -> Emulator {
        let endpoint = Url::parse(&format!("http://127.0.0.1:{port}")).expect("a URL");
        Emulator { _process: process, endpoint, transport: RealTransport::new() }
    }

    /// An unsigned call of a service that speaks JSON 1.1, such as `secretsmanager.CreateSecret`.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn json(&self, service: &str, target: &str, body: &Value) -> Answer {
        let mut headers = unsigned(service);
        headers.insert("content-type", HeaderValue::from_static("application/x-amz-json-1.1"));
        headers.insert("x-amz-target", HeaderValue::from_str(target).expect("a target"));
        self.call(headers, body.to_string().into()).await
    }

    /// An unsigned call of a service that speaks the query protocol, such as IAM or STS; parameters without escapes.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn query(&self, service: &str, parameters: &[(&str, &str)]) -> Answer {
        let mut headers = unsigned(service);
        headers.insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(parameters);
        self.call(headers, body.finish().into()).await
    }

    /// Makes a user with this IAM policy, and an access key for it: three calls, so start moto with
    /// [`crate::moto::Auth::AfterFirst`] of 3 or more.
    ///
    /// # Panics
    /// When it refuses.
    pub async fn user(&self, name: &str, policy: &Value) -> AccessKey {
        let ok = |answer: Answer| {
            assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
            String::from_utf8_lossy(&answer.body).into_owned()
        };
        let version = ("Version", "2010-05-08");
        ok(self.query("iam", &[("Action", "CreateUser"), version, ("UserName", name)]).await);
        let key = ok(self.query("iam", &[("Action", "CreateAccessKey"), version, ("UserName", name)]).await);
        let policy = policy.to_string();
        let policy = [
            ("Action", "PutUserPolicy"),
            version,
            ("UserName", name),
            ("PolicyName", "test"),
            ("PolicyDocument", &policy),
        ];
        ok(self.query("iam", &policy).await);
        AccessKey { id: element(&key, "AccessKeyId"), secret: element(&key, "SecretAccessKey") }
    }

    async fn call(&self, headers: HeaderMap, body: Bytes) -> Answer {
        let timeout = Duration::from_secs(60);
        let ask = Ask { method: Method::POST, url: self.endpoint.clone(), headers, body, timeout };
        self.transport.exchange(ask).await.expect("it answers")
    }
}

/// The text of the first XML element of this name; empty when there is none.
#[must_use]
pub fn element(xml: &str, name: &str) -> String {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let text = xml.split_once(&open).and_then(|(_, rest)| rest.split_once(&close)).map(|(text, _)| text);
    text.unwrap_or_default().to_owned()
}

/// The service is found by the credential's scope; the signature is not looked at, by moto in its first calls and by fakecloud
/// where the key begins with `test`.
fn unsigned(service: &str) -> HeaderMap {
    let text = format!(
        "AWS4-HMAC-SHA256 Credential=test/20200101/eu-west-1/{service}/aws4_request, SignedHeaders=host, Signature=00"
    );
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_str(&text).expect("a header"));
    headers
}
