//! A keeper of secrets and a network for the tests.

#![allow(dead_code, reason = "each test file uses a part of it")]

use basb_credentials::{CredentialName, Credentials, CredentialsConfig, Outgoing, Place, SecretSource};
use basb_redact::{SecretName, SecretValue, TooShort};
use basb_secrets::{Answer, Ask, SecretError, Transport, TransportError};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, Method};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use url::Url;

pub fn name(text: &str) -> CredentialName {
    CredentialName::new(text).unwrap()
}

pub fn names(list: &[&str]) -> Vec<CredentialName> {
    list.iter().map(|text| name(text)).collect()
}

pub fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

pub const KEY: &str = include_str!("../vectors/test-key.pem");
pub const CERTIFICATE: &str = include_str!("../vectors/test-certificate.pem");

/// The key file of a service account.
pub fn key_file(token_uri: Option<&str>) -> String {
    let mut file = serde_json::json!({
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "kid-1",
        "private_key": KEY,
        "client_email": "deploy@p.iam.gserviceaccount.com",
        "client_id": "1",
    });
    if let Some(uri) = token_uri {
        file["token_uri"] = uri.into();
    }
    file.to_string()
}

/// Keeps secrets in a map.
#[derive(Debug, Default)]
pub struct Keeper {
    values: Mutex<BTreeMap<String, Vec<u8>>>,
    pub learned: Mutex<Vec<(String, Vec<u8>)>>,
    pub reads: Mutex<Vec<String>>,
}

impl Keeper {
    pub fn new(values: &[(&str, &str)]) -> Arc<Self> {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        Arc::new(Self { values: Mutex::new(values), ..Self::default() })
    }

    pub fn has_learned(&self, text: &str) -> bool {
        self.learned.lock().unwrap().iter().any(|(_, value)| value == text.as_bytes())
    }
}

impl SecretSource for Keeper {
    fn secret<'a>(&'a self, name: &'a SecretName) -> BoxFuture<'a, Result<SecretValue, SecretError>> {
        Box::pin(async move {
            self.reads.lock().unwrap().push(name.to_string());
            let value = self.values.lock().unwrap().get(name.as_str()).cloned();
            value.map(SecretValue::new).ok_or_else(|| SecretError {
                name: name.to_string(),
                code: "secret/missing",
                message: "it is not there".to_owned(),
                help: "put it there".to_owned(),
            })
        })
    }

    fn learn(&self, name: &SecretName, value: &SecretValue) -> Result<(), TooShort> {
        self.learned.lock().unwrap().push((name.to_string(), value.expose().to_vec()));
        Ok(())
    }

    fn redacted(&self, text: &str) -> String {
        let mut out = text.to_owned();
        let known = self.values.lock().unwrap().clone().into_values();
        let learned: Vec<_> = self.learned.lock().unwrap().iter().map(|(_, value)| value.clone()).collect();
        for value in known.chain(learned) {
            if let Ok(value) = String::from_utf8(value)
                && !value.is_empty()
            {
                out = out.replace(&value, "[secret]");
            }
        }
        out
    }
}

type Handler = dyn Fn(&Ask) -> Result<Answer, TransportError> + Send + Sync;

/// A network that answers as a closure says.
pub struct Network {
    handler: Box<Handler>,
    pub asked: Mutex<Vec<Ask>>,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Network")
    }
}

impl Network {
    pub fn new(handler: impl Fn(&Ask) -> Result<Answer, TransportError> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { handler: Box::new(handler), asked: Mutex::default() })
    }

    pub fn none() -> Arc<Self> {
        Self::new(|ask| Err(TransportError(format!("nobody should have asked {}", ask.url))))
    }

    pub fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Transport for Network {
    fn exchange(&self, ask: Ask) -> BoxFuture<'_, Result<Answer, TransportError>> {
        Box::pin(async move {
            let answer = (self.handler)(&ask);
            self.asked.lock().unwrap().push(ask);
            // Whoever else asks for the same token comes in between.
            tokio::task::yield_now().await;
            answer
        })
    }
}

pub fn answer(status: u16, body: impl Into<String>) -> Answer {
    Answer { status, headers: HeaderMap::new(), body: Bytes::from(body.into()) }
}

pub fn credentials(config: &Value, keeper: &Arc<Keeper>, network: &Arc<Network>) -> Credentials {
    let config = CredentialsConfig::parse(config).unwrap();
    Credentials::with_source(config, keeper.clone(), network.clone())
}

pub fn request(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Outgoing {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    Outgoing {
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        url: Url::parse(url).unwrap(),
        headers: map,
        body: Bytes::from(body.to_owned()),
        place: Place::Network,
    }
}

pub fn get(url: &str) -> Outgoing {
    request("GET", url, &[], "")
}

/// Everything of a request that goes out, as text.
pub fn wire(request: &Outgoing) -> String {
    let headers = request.headers.iter();
    let headers: Vec<_> = headers.map(|(n, v)| format!("{n}: {}", String::from_utf8_lossy(v.as_bytes()))).collect();
    format!("{} {}\n{}\n\n{}", request.method, request.url, headers.join("\n"), String::from_utf8_lossy(&request.body))
}
