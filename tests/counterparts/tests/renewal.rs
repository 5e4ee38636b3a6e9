//! A token that was withdrawn before its end: the door has another one and sends the request once more, against a real
//! token endpoint (Authlib) that verifies and revokes.

use basb_capabilities::http::{HttpError, Request, Response};
use basb_capabilities::{CallScope, Caller, Capabilities, Grants, HostCall, Limits, Options};
use basb_core::Digest;
use basb_counterparts::token_endpoint::{self, APPLICATION, TokenEndpoint};
use basb_credentials::{CredentialName, Credentials, CredentialsConfig};
use basb_redact::SecretValue;
use basb_secrets::{Environment, Secrets, SecretsConfig};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const CLIENT_SECRET: &str = "s3cr&t~/+ =\u{e9}";

/// The product's own door, credentials and secrets, in front of the endpoint.
struct Host {
    all: Capabilities,
    endpoint: TokenEndpoint,
}

impl Host {
    fn start() -> Option<Self> {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Option<Self> {
        let python = token_endpoint::python()?;
        let key =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../host/credentials/tests/vectors/test-public-key.pem");
        let endpoint = token_endpoint::start(&python, &key, CLIENT_SECRET);
        let options = Options { limits, ..Options::new("/") };
        let redactor = options.redactor.clone();
        let all = Capabilities::new(options);
        let variables = BTreeMap::from([("SECRET".to_owned(), SecretValue::new(CLIENT_SECRET))]);
        let secrets = SecretsConfig::parse(&Value::Null, &json!({"it": {"store": "env", "key": "SECRET"}})).unwrap();
        let secrets = Secrets::with_environment(
            secrets,
            PathBuf::from("/"),
            all.transport(),
            redactor,
            Environment::Fixed(Arc::new(variables)),
        );
        let config = CredentialsConfig::parse(&json!({"cred": {
            "to": [{"host": "127.0.0.1", "scheme": "http", "port": endpoint.url.port().unwrap()}],
            "azureClient": {"tenant": "contoso.example", "clientId": APPLICATION, "clientSecret": "it",
                "scope": "https://management.azure.com/.default", "authority": endpoint.url.as_str()},
        }}));
        let credentials = Credentials::new(config.unwrap(), Arc::new(secrets), all.transport());
        all.use_credentials(Arc::new(credentials));
        Some(Self { all, endpoint })
    }

    fn scope(&self, with: &[&str]) -> CallScope {
        let grant = json!({"http": [{"host": "127.0.0.1", "scheme": "http", "port": self.endpoint.url.port().unwrap(),
            "methods": ["GET", "POST"]}]});
        let caller = Caller { plugin: "p".into(), digest: Arc::new(Digest::of(b"")), call: "check" };
        let grants = Arc::new(Grants::parse(&grant).unwrap());
        let names = with.iter().map(|name| CredentialName::new(*name).unwrap()).collect();
        CallScope::new(caller, grants, Instant::now() + Duration::from_secs(300)).with_credentials(names)
    }

    async fn send(&self, scope: &CallScope, method: &str, path: &str) -> Result<Response, HttpError> {
        let url = self.endpoint.url.join(path).unwrap().to_string();
        let body = if method == "POST" { b"the body".to_vec() } else { Vec::new() };
        let request = Request { method: method.to_owned(), url, headers: Vec::new(), body, timeout: None };
        self.all.http().send(scope, request).await
    }

    /// A request with the credential: its status, and what the record says.
    async fn ask(&self, method: &str, path: &str) -> (u16, Vec<HostCall>) {
        let scope = self.scope(&["cred"]);
        let status = self.send(&scope, method, path).await.unwrap().status;
        (status, scope.counters.calls())
    }

    /// A number that the endpoint tells.
    async fn number(&self, path: &str, name: &str) -> u64 {
        let body = self.send(&self.scope(&[]), "GET", path).await.unwrap().body;
        serde_json::from_slice::<Value>(&body).unwrap()[name].as_u64().unwrap()
    }

    async fn revoke(&self) {
        assert_eq!(self.send(&self.scope(&[]), "POST", "revoke").await.unwrap().status, 200);
    }
}

fn outcomes(calls: &[HostCall]) -> Vec<&str> {
    calls.iter().map(|call| call.outcome.as_str()).collect()
}

#[tokio::test]
async fn a_revoked_token_is_had_anew_and_the_request_sent_once_more() {
    let Some(host) = Host::start() else { return };
    let (status, calls) = host.ask("GET", "resource").await;
    assert_eq!((status, outcomes(&calls)), (200, vec!["200"]));
    for method in ["GET", "POST"] {
        let before = host.number("issued", "count").await;
        host.revoke().await;
        let (status, calls) = host.ask(method, "resource").await;
        assert_eq!((status, outcomes(&calls)), (200, vec!["401", "200"]), "{calls:?}");
        assert!(calls[1].what.ends_with("(again: the credential was refused and had anew)"), "{}", calls[1].what);
        assert!(calls.iter().all(|call| call.credentials.len() == 1 && call.sent == calls[0].sent), "{calls:?}");
        assert_eq!(host.number("issued", "count").await, before + 1);
        // The new one is kept.
        assert_eq!(outcomes(&host.ask(method, "resource").await.1), ["200"]);
    }
    assert_eq!(host.number("done", "resource").await, 2, "what was refused was not done");
}

#[tokio::test]
async fn requests_that_are_refused_together_get_one_new_token() {
    let Some(host) = Host::start() else { return };
    assert_eq!(host.ask("GET", "resource").await.0, 200);
    let before = host.number("issued", "count").await;
    host.revoke().await;
    let scope = host.scope(&["cred"]);
    let sends = (0..8).map(|_| host.send(&scope, "GET", "resource"));
    for response in futures_util::future::join_all(sends).await {
        assert_eq!(response.unwrap().status, 200);
    }
    assert_eq!(host.number("issued", "count").await, before + 1);
}

#[tokio::test]
async fn a_place_that_refuses_everything_costs_one_token_and_ends() {
    let Some(host) = Host::start() else { return };
    let (status, calls) = host.ask("GET", "never").await;
    assert_eq!((status, outcomes(&calls)), (401, vec!["401", "401"]));
    for _ in 0..10 {
        let (status, calls) = host.ask("GET", "never").await;
        assert_eq!((status, outcomes(&calls)), (401, vec!["401"]), "a token that was never accepted is not the fault");
    }
    assert_eq!(host.number("issued", "count").await, 2);
    // The token is good all the same, and once it is known to be, a refusal means again that it was withdrawn.
    assert_eq!(host.ask("GET", "resource").await.0, 200);
    host.revoke().await;
    assert_eq!(outcomes(&host.ask("GET", "resource").await.1), ["401", "200"]);
}

#[tokio::test]
async fn what_may_have_had_an_effect_is_not_done_twice() {
    let Some(host) = Host::start() else { return };
    assert_eq!(host.ask("GET", "resource").await.0, 200);
    // A 401 that does not ask for credentials is a program's own, and may come after it has begun.
    let (status, calls) = host.ask("POST", "own-reasons").await;
    assert_eq!((status, outcomes(&calls)), (401, vec!["401"]));
    assert_eq!(host.number("done", "own-reasons").await, 1);
}

#[tokio::test]
async fn the_second_request_counts() {
    let Some(host) = Host::with(Limits { requests: 2, ..Limits::default() }) else { return };
    assert_eq!(host.ask("GET", "resource").await.0, 200);
    host.revoke().await;
    let scope = host.scope(&["cred"]);
    host.send(&scope, "GET", "issued").await.unwrap();
    let last = host.send(&scope, "GET", "resource").await.unwrap();
    assert_eq!(last.status, 401, "there is no request left to send again with");
    let over = host.send(&scope, "GET", "issued").await.unwrap_err();
    assert!(matches!(over, HttpError::Exhausted(_)), "{over}");
}
