//! Tokens from a real token endpoint (Authlib), and what is sent to it against second implementations: PyJWT and
//! google-auth for assertions, msal for Microsoft Entra.

use basb_counterparts::RealTransport;
use basb_counterparts::token_endpoint::{self, ACCOUNT, APPLICATION, TokenEndpoint};
use basb_credentials::{CredentialError, Credentials, CredentialsConfig, Outgoing, Place};
use basb_redact::{Redactor, SecretValue};
use basb_secrets::{Answer, Ask, Environment, Secrets, SecretsConfig, Transport, TransportError};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use url::Url;

const CLIENT_SECRET: &str = "s3cr&t~/+ =\u{e9}";

fn vectors(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../host/credentials/tests/vectors").join(name)
}

fn key_file(email: &str, token_uri: &str) -> String {
    let key = std::fs::read_to_string(vectors("test-key.pem")).unwrap();
    json!({"type": "service_account", "project_id": "project", "private_key_id": "kid-1", "private_key": key,
           "client_email": email, "client_id": "1", "token_uri": token_uri})
    .to_string()
}

/// The product's own secrets and credentials for one credential.
struct Door {
    credentials: Credentials,
    redactor: Redactor,
}

impl Door {
    fn new(credential: &Value, secret: &str, transport: Arc<dyn Transport>) -> Self {
        let variables = BTreeMap::from([("SECRET".to_owned(), SecretValue::new(secret))]);
        let secrets = SecretsConfig::parse(&Value::Null, &json!({"it": {"store": "env", "key": "SECRET"}})).unwrap();
        let config = CredentialsConfig::parse(&json!({ "cred": credential })).unwrap();
        let redactor = Redactor::default();
        let environment = Environment::Fixed(Arc::new(variables));
        let secrets =
            Secrets::with_environment(secrets, PathBuf::from("/"), transport.clone(), redactor.clone(), environment);
        Self { credentials: Credentials::new(config, Arc::new(secrets), transport), redactor }
    }

    async fn complete(&self, url: Url, now: SystemTime) -> Result<Outgoing, CredentialError> {
        let mut request =
            Outgoing { method: Method::GET, url, headers: HeaderMap::new(), body: Bytes::new(), place: Place::Network };
        self.credentials.apply(&self.credentials.config().names(), &mut request, now).await?;
        Ok(request)
    }
}

async fn get(request: Outgoing) -> Answer {
    let Outgoing { method, url, headers, body, .. } = request;
    RealTransport::new().exchange(Ask { method, url, headers, body, timeout: Duration::from_secs(60) }).await.unwrap()
}

async fn issued(endpoint: &TokenEndpoint) -> u64 {
    let request = Outgoing {
        method: Method::GET,
        url: endpoint.url.join("issued").unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        place: Place::Network,
    };
    serde_json::from_slice::<Value>(&get(request).await.body).unwrap()["count"].as_u64().unwrap()
}

fn to(endpoint: &TokenEndpoint) -> Value {
    json!([{"host": "127.0.0.1", "scheme": "http", "port": endpoint.url.port().unwrap()}])
}

fn service_account(endpoint: &TokenEndpoint) -> Value {
    json!({"to": to(endpoint), "gcpServiceAccount": {"key": "it", "scopes": ["a", "b"], "tokenUrl": endpoint.url.join("token").unwrap().as_str()}})
}

fn azure(endpoint: &TokenEndpoint) -> Value {
    json!({"to": to(endpoint), "azureClient": {"tenant": "contoso.example", "clientId": APPLICATION, "clientSecret": "it",
           "scope": "https://management.azure.com/.default", "authority": endpoint.url.as_str()}})
}

/// A token is had, accepted by the resource server, used again, and had anew when it is forgotten.
async fn works(endpoint: &TokenEndpoint, credential: &Value, secret: &str) {
    let door = Door::new(credential, secret, RealTransport::new());
    let resource = endpoint.url.join("resource").unwrap();
    let before = issued(endpoint).await;
    let now = SystemTime::now();
    let first = door.complete(resource.clone(), now).await.unwrap();
    let token = first.headers["authorization"].to_str().unwrap().to_owned();
    let answer = get(first).await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let bare = token.strip_prefix("Bearer ").unwrap();
    assert_eq!(door.redactor.text(&format!("x {bare}")), "x [secret cred]");
    let again = door.complete(resource.clone(), now + Duration::from_secs(60)).await.unwrap();
    assert_eq!((again.headers["authorization"].to_str().unwrap(), issued(endpoint).await), (&*token, before + 1));
    // Time cannot be moved here: the endpoint refuses an assertion from the future.
    door.credentials.forget(&door.credentials.config().names()).await;
    let anew = door.complete(resource, now).await.unwrap();
    assert_ne!(anew.headers["authorization"].to_str().unwrap(), token);
    assert_eq!(get(anew).await.status, 200);
}

#[tokio::test]
async fn a_real_endpoint_gives_tokens_and_refuses_what_is_wrong() {
    let Some(python) = token_endpoint::python() else { return };
    let endpoint = token_endpoint::start(&python, &vectors("test-public-key.pem"), CLIENT_SECRET);
    let resource = endpoint.url.join("resource").unwrap();
    let bare = Outgoing {
        method: Method::GET,
        url: resource.clone(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        place: Place::Network,
    };
    assert_eq!(get(bare).await.status, 401, "the resource server wants a token");

    works(&endpoint, &service_account(&endpoint), &key_file(ACCOUNT, "https://oauth2.googleapis.com/token")).await;
    works(&endpoint, &azure(&endpoint), CLIENT_SECRET).await;
    let metadata =
        json!({"to": to(&endpoint), "gcpMetadata": {"scopes": ["a", "b"], "endpoint": endpoint.url.as_str()}});
    works(&endpoint, &metadata, "unused").await;

    let refused = async |credential: &Value, secret: &str, now: SystemTime, word: &str| {
        let door = Door::new(credential, secret, RealTransport::new());
        let error = door.complete(resource.clone(), now).await.unwrap_err();
        assert_eq!(error.code, "credential/token-refused", "{error}");
        assert!(error.message.contains(word), "{error}");
        assert!(!format!("{error:?}").contains(secret) && !format!("{error:?}").contains("PRIVATE"), "{error}");
    };
    let now = SystemTime::now();
    refused(&azure(&endpoint), "not-the-secret", now, "invalid_client").await;
    let stranger = key_file("stranger@project.iam.gserviceaccount.com", "https://oauth2.googleapis.com/token");
    refused(&service_account(&endpoint), &stranger, now, "invalid_grant").await;
    // An assertion of yesterday is over.
    let file = key_file(ACCOUNT, "https://oauth2.googleapis.com/token");
    refused(&service_account(&endpoint), &file, now - Duration::from_secs(86_400), "invalid_grant").await;
    // One for another audience: the endpoint under another name.
    let mut other = service_account(&endpoint);
    other["gcpServiceAccount"]["tokenUrl"] = endpoint.url.join("contoso/oauth2/v2.0/token").unwrap().as_str().into();
    refused(&other, &file, now, "invalid_grant").await;
}

/// Answers everything with a token, and keeps what it was asked.
#[derive(Debug, Default)]
struct Recorder(Mutex<Vec<Ask>>);

impl Transport for Recorder {
    fn exchange(&self, ask: Ask) -> BoxFuture<'_, Result<Answer, TransportError>> {
        self.0.lock().unwrap().push(ask);
        let body = Bytes::from_static(br#"{"access_token":"token-1","expires_in":3600}"#);
        Box::pin(async move { Ok(Answer { status: 200, headers: HeaderMap::new(), body }) })
    }
}

fn form(ask: &Ask) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(&ask.body).into_owned().collect()
}

#[tokio::test]
async fn an_assertion_is_what_google_auth_would_send() {
    let Some(python) = token_endpoint::python() else { return };
    let recorder = Arc::new(Recorder::default());
    let credential = json!({"to": [{"host": "run.googleapis.com"}], "gcpServiceAccount": {"key": "it", "scopes": ["https://a/b", "c"]}});
    let audience = "https://oauth2.googleapis.com/token";
    let file = key_file(ACCOUNT, audience);
    let door = Door::new(&credential, &file, recorder.clone());
    door.complete(Url::parse("https://run.googleapis.com/").unwrap(), SystemTime::now()).await.unwrap();
    let form = form(&recorder.0.lock().unwrap()[0]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.json");
    std::fs::write(&path, file).unwrap();
    let public = vectors("test-public-key.pem");
    let arguments = [path.to_str().unwrap(), public.to_str().unwrap(), audience];
    assert_eq!(token_endpoint::run(&python, "check_assertion.py", &arguments, &form["assertion"]), "ok");
}

#[tokio::test]
async fn a_request_to_entra_is_what_msal_would_send() {
    let Some(python) = token_endpoint::python() else { return };
    let recorder = Arc::new(Recorder::default());
    let scope = "https://management.azure.com/.default";
    let credential = json!({"to": [{"host": "management.azure.com"}], "azureClient": {"tenant": "contoso.example", "clientId": APPLICATION, "clientSecret": "it"}});
    let door = Door::new(&credential, CLIENT_SECRET, recorder.clone());
    door.complete(Url::parse("https://management.azure.com/").unwrap(), SystemTime::now()).await.unwrap();
    let ask = recorder.0.lock().unwrap()[0].clone();
    let theirs =
        token_endpoint::run(&python, "msal_request.py", &["contoso.example", APPLICATION, CLIENT_SECRET, scope], "");
    let theirs: Value = serde_json::from_str(&theirs).unwrap();
    assert_eq!(ask.url.as_str(), theirs["url"]);
    for (name, value) in form(&ask) {
        assert_eq!(theirs["form"][&name], *value, "{name}");
    }
    let names: Vec<_> = theirs["form"].as_object().unwrap().keys().cloned().collect();
    // `client_info` asks for a description of the user, which there is none of here.
    let missing: Vec<_> = names.iter().filter(|name| !form(&ask).contains_key(*name)).collect();
    assert_eq!(missing, ["client_info"]);
}
