//! A **model** of HashiCorp Vault's documented API, since no package registry has the program: KV version 2, namespaces,
//! AppRole with leases, sealing. Statuses and bodies are those of the documents:
//!
//! <https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2>,
//! <https://developer.hashicorp.com/vault/api-docs/auth/approle>, <https://developer.hashicorp.com/vault/api-docs>.

use crate::model_server::{ModelServer, Received, Reply};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One version of a secret.
#[derive(Debug, Clone)]
pub enum Version {
    /// There.
    Here(Value),
    /// Deleted, and can be brought back.
    Deleted,
    /// Destroyed for good.
    Destroyed,
}

/// What the model holds.
#[derive(Debug, Default)]
pub struct State {
    /// The root token: may read everything. Empty: there is none.
    pub root_token: String,
    /// Secrets by namespace and path, such as (``, `secret/apps/db`); their versions from 1 on.
    pub secrets: BTreeMap<(String, String), Vec<Version>>,
    /// Paths that nobody but root may read.
    pub forbidden: Vec<String>,
    /// Whether it is sealed: every answer is 503 then.
    pub sealed: bool,
    /// The role's id and its secret id.
    pub role: Option<(String, String)>,
    /// The seconds that a login is good for; 0 for ever.
    pub lease: u64,
    /// Tokens that were issued and not revoked.
    pub tokens: Vec<String>,
    /// How many logins there were.
    pub logins: usize,
    /// How many of the next requests are answered with 429.
    pub busy: usize,
}

/// The running model.
#[derive(Debug)]
pub struct VaultModel {
    /// Where it answers, and what it received.
    pub server: ModelServer,
    state: Arc<Mutex<State>>,
}

impl VaultModel {
    /// Starts it.
    pub async fn start(state: State) -> Self {
        let state = Arc::new(Mutex::new(state));
        let shared = state.clone();
        let server = ModelServer::start(move |request| {
            reply(request, &mut shared.lock().unwrap_or_else(PoisonError::into_inner))
        })
        .await;
        Self { server, state }
    }

    /// What it holds, to be looked at and changed.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn errors(status: u16, errors: &[&str]) -> Reply {
    (status, Vec::new(), json!({ "errors": errors }).to_string())
}

fn reply(request: &Received, state: &mut State) -> Reply {
    // With this protection on, as agents have it, a request without the header is refused.
    if request.header("x-vault-request") != "true" {
        return errors(412, &["missing required header: X-Vault-Request"]);
    }
    if state.sealed {
        return errors(503, &["Vault is sealed"]);
    }
    if state.busy > 0 {
        state.busy -= 1;
        return errors(429, &["request path: rate limit quota exceeded"]);
    }
    match (request.method.as_str(), request.path.strip_prefix("/v1/")) {
        ("POST", Some("auth/approle/login")) => login(request, state),
        ("GET", Some(path)) => read(request, path, state),
        _ => errors(404, &["no handler for route"]),
    }
}

fn login(request: &Received, state: &mut State) -> Reply {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let given = (body["role_id"].as_str().unwrap_or_default(), body["secret_id"].as_str().unwrap_or_default());
    if state.role.as_ref().is_none_or(|(role, secret)| given != (role, secret)) {
        return errors(400, &["invalid role or secret ID"]);
    }
    state.logins += 1;
    let token = format!("hvs.issued-token-{}", state.logins);
    state.tokens.push(token.clone());
    let auth =
        json!({"renewable": true, "lease_duration": state.lease, "client_token": token, "policies": ["default"]});
    (200, Vec::new(), json!({"auth": auth, "data": null, "warnings": null}).to_string())
}

fn read(request: &Received, path: &str, state: &State) -> Reply {
    let token = request.header("x-vault-token");
    let root = !token.is_empty() && token == state.root_token;
    if !root && !state.tokens.iter().any(|issued| issued == token) {
        return errors(403, &["permission denied", "invalid token"]);
    }
    let Some((mount, path)) = path.split_once("/data/") else {
        // What a mount of version 2 says to a client of version 1.
        let warning =
            "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints";
        let body = json!({"data": null, "warnings": [warning]});
        return (404, Vec::new(), body.to_string());
    };
    let path = format!("{mount}/{path}");
    if !root && state.forbidden.contains(&path) {
        return errors(403, &["1 error occurred:\n\t* permission denied\n\n"]);
    }
    let namespace = request.header("x-vault-namespace").to_owned();
    let Some(versions) = state.secrets.get(&(namespace, path)) else { return errors(404, &[]) };
    let wanted = request.query.strip_prefix("version=").map_or(versions.len(), |v| v.parse().unwrap_or(0));
    let Some(version) = wanted.checked_sub(1).and_then(|index| versions.get(index)) else { return errors(404, &[]) };
    let (status, data, deleted, destroyed) = match version {
        Version::Here(data) => (200, data.clone(), "", false),
        Version::Deleted => (404, Value::Null, "2026-01-02T03:04:05.678Z", false),
        Version::Destroyed => (404, Value::Null, "", true),
    };
    let metadata = json!({
        "created_time": "2026-01-01T00:00:00Z", "custom_metadata": null, "deletion_time": deleted,
        "destroyed": destroyed, "version": wanted,
    });
    let body = json!({
        "request_id": "00000000-0000-0000-0000-000000000000", "lease_id": "", "renewable": false, "lease_duration": 0,
        "data": {"data": data, "metadata": metadata}, "wrap_info": null, "warnings": null, "auth": null,
    });
    (status, Vec::new(), body.to_string())
}
