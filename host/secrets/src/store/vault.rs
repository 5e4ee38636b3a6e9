//! HashiCorp Vault's KV engines, and whoever speaks their API (OpenBao, RustyVault).
//!
//! KV v2: <https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2>, KV v1:
//! <https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v1>, AppRole:
//! <https://developer.hashicorp.com/vault/api-docs/auth/approle>, status codes:
//! <https://developer.hashicorp.com/vault/api-docs#http-status-codes>.

use crate::config::{Item, KvVersion, VaultAuth, VaultConfig};
use crate::error::{self, StoreError, quoted};
use crate::field::{Notation, Object, Raw, wipe};
use crate::own::{ANSWER, Again, Own};
use crate::{Answer, Ask};
use basb_redact::SecretValue;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

/// A token with less time left than this is not used any more: the request has to arrive, too.
const MARGIN: Duration = Duration::from_secs(10);

pub(crate) struct Vault {
    config: VaultConfig,
    own: Own,
    /// Held while logging in, so that those who come meanwhile wait for the same login.
    login: Mutex<Option<Login>>,
}

#[derive(Clone)]
struct Login {
    token: SecretValue,
    /// `None`: as long as Vault likes.
    until: Option<Instant>,
    origin: Origin,
}

/// Where a token comes from at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// It was there already, and may have been revoked meanwhile.
    Kept,
    /// It was given or issued for this request.
    New,
}

impl Vault {
    pub fn new(config: VaultConfig, own: Own) -> Self {
        Self { config, own, login: Mutex::new(None) }
    }

    pub async fn read(&self, item: &Item, what: &str) -> Result<Raw, StoreError> {
        let login = self.login(None).await?;
        let mut answer = self.ask_for(item, &login.token).await?;
        if answer.status == 403 && login.origin == Origin::Kept && self.logs_in() {
            // The lease may have ended early: revoked, or its uses are used up.
            let login = self.login(Some(&login.token)).await?;
            answer = self.ask_for(item, &login.token).await?;
        }
        self.understand(&answer, item, what)
    }

    fn logs_in(&self) -> bool {
        matches!(self.config.auth, VaultAuth::AppRole { .. })
    }

    /// The token: the kept one unless it is `refused` or about to end.
    async fn login(&self, refused: Option<&SecretValue>) -> Result<Login, StoreError> {
        let mut kept = self.login.lock().await;
        if let Some(login) = kept.as_ref()
            && refused.is_none_or(|refused| refused.expose() != login.token.expose())
            && login.until.is_none_or(|until| Instant::now() < until)
        {
            return Ok(Login { origin: Origin::Kept, ..login.clone() });
        }
        let login = match &self.config.auth {
            VaultAuth::Token(held) => {
                Login { token: self.own.required(held, "token").await?, until: None, origin: Origin::New }
            }
            VaultAuth::AppRole { role_id, secret_id } => {
                let secret_id = self.own.required(secret_id, "secret id").await?;
                self.approle(role_id, &secret_id).await?
            }
        };
        *kept = Some(login.clone());
        Ok(login)
    }

    async fn approle(&self, role_id: &str, secret_id: &SecretValue) -> Result<Login, StoreError> {
        let Some(secret_id) = secret_id.expose_text() else {
            return Err(StoreError::new(
                error::CREDENTIALS,
                format!("the secret id of store `{}` is not text", self.own.name),
                "check that the file or variable holds it and nothing else",
            ));
        };
        let mut body = json!({ "role_id": role_id, "secret_id": secret_id });
        let bytes = Bytes::from(body.to_string());
        wipe(&mut body);
        let headers = self.headers(None)?;
        let url = self.url(&["auth", "approle", "login"]);
        let answer = self.send(Ask { method: Method::POST, url, headers, body: bytes, timeout: ANSWER }).await?;
        if matches!(answer.status, 400 | 401 | 403) {
            return Err(StoreError::new(
                error::CREDENTIALS,
                format!(
                    "store `{}` refuses the AppRole login (status {}{})",
                    self.own.name,
                    answer.status,
                    self.said(&answer)
                ),
                "check `roleId`, and make a new secret id: `vault write -f auth/approle/role/ROLE/secret-id`",
            ));
        }
        let mut value = self.json(&answer)?;
        let token = value.pointer("/auth/client_token").and_then(Value::as_str).map(|t| SecretValue::new(t.as_bytes()));
        let lease = value.pointer("/auth/lease_duration").and_then(Value::as_u64).unwrap_or(0);
        wipe(&mut value);
        let token = token.filter(|token| !token.expose().is_empty()).ok_or_else(|| self.strange("no token"))?;
        self.own.teach(&token, "token")?;
        // A lease of 0 does not end.
        let until = (lease > 0).then(|| Instant::now() + Duration::from_secs(lease).saturating_sub(MARGIN));
        Ok(Login { token, until, origin: Origin::New })
    }

    async fn ask_for(&self, item: &Item, token: &SecretValue) -> Result<Answer, StoreError> {
        let mut segments: Vec<&str> = self.config.mount.iter().map(String::as_str).collect();
        if self.config.version == KvVersion::V2 {
            segments.push("data");
        }
        segments.extend(item.key.split('/'));
        let mut url = self.url(&segments);
        if let (KvVersion::V2, Some(version)) = (self.config.version, &item.version) {
            url.query_pairs_mut().append_pair("version", version);
        }
        let headers = self.headers(Some(token))?;
        self.send(Ask { method: Method::GET, url, headers, body: Bytes::new(), timeout: ANSWER }).await
    }

    /// The API's address with these segments behind it, each escaped.
    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.config.address.clone();
        // `http` and `https` URLs have paths.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("v1").extend(segments);
        }
        url
    }

    fn headers(&self, token: Option<&SecretValue>) -> Result<HeaderMap, StoreError> {
        let mut headers = HeaderMap::new();
        // Agents and proxies with this protection on refuse what does not have it: a page cannot make a browser send it.
        headers.insert("x-vault-request", HeaderValue::from_static("true"));
        if let Some(namespace) = &self.config.namespace
            && let Ok(namespace) = HeaderValue::from_str(namespace)
        {
            headers.insert("x-vault-namespace", namespace);
        }
        match token {
            Some(token) => headers.insert("x-vault-token", self.own.header(token, "token")?),
            None => headers.insert("content-type", HeaderValue::from_static("application/json")),
        };
        Ok(headers)
    }

    async fn send(&self, ask: Ask) -> Result<Answer, StoreError> {
        let answer = self.own.exchange(ask, passing).await?;
        let name = &self.own.name;
        let unavailable = |why: &str, help: &str| {
            let said = self.said(&answer);
            Err(StoreError::new(
                error::UNAVAILABLE,
                format!("store `{name}` {why} (status {}{said})", answer.status),
                help,
            ))
        };
        match answer.status {
            503 => unavailable("is sealed or in maintenance", "unseal it: `vault operator unseal`, or wait"),
            301 | 302 | 307 | 308 => {
                unavailable("sends elsewhere, and redirects are not followed", "write the active node's `address`")
            }
            429 | 472 | 473 | 412 | 500..=599 => unavailable("cannot answer now", "wait, and look at its log"),
            _ => Ok(answer),
        }
    }

    fn understand(&self, answer: &Answer, item: &Item, what: &str) -> Result<Raw, StoreError> {
        let name = &self.own.name;
        match answer.status {
            200 => {}
            404 => return Err(self.not_found(answer, item, what)),
            403 | 401 => {
                return Err(StoreError::new(
                    error::DENIED,
                    format!("store `{name}` does not give {what} to this token{}", self.said(answer)),
                    format!(
                        "check that the token is valid, and that a policy of it has `path \"{}\" {{ capabilities = \
                         [\"read\"] }}`",
                        self.policy_path(item)
                    ),
                ));
            }
            status => {
                return Err(StoreError::new(
                    error::FAILED,
                    format!("store `{name}` answers with status {status}{}", self.said(answer)),
                    "check `address`, `mount`, `version` and the key",
                ));
            }
        }
        let mut value = self.json(answer)?;
        let pointer = match self.config.version {
            KvVersion::V1 => "/data",
            KvVersion::V2 => "/data/data",
        };
        let data = value.pointer_mut(pointer).map(Value::take);
        let gone = self.gone(&value, what);
        wipe(&mut value);
        match (data, gone) {
            (Some(Value::Object(map)), _) => Ok(Raw::Object(Object::new(map, Notation::Json))),
            (_, Some(gone)) => Err(gone),
            _ => Err(self.strange("no data; is `version` that of the mount?")),
        }
    }

    fn not_found(&self, answer: &Answer, item: &Item, what: &str) -> StoreError {
        if let Ok(mut value) = serde_json::from_slice::<Value>(&answer.body) {
            let gone = self.gone(&value, what);
            wipe(&mut value);
            if let Some(gone) = gone {
                return gone;
            }
        }
        let version = item.version.as_ref().map(|v| format!(" in version {v}")).unwrap_or_default();
        let mount = self.config.mount.join("/");
        let other = match self.config.version {
            KvVersion::V1 => 2,
            KvVersion::V2 => 1,
        };
        StoreError::new(
            error::MISSING,
            format!("{what} is not there{version}{}", self.said(answer)),
            format!(
                "see what is: `vault kv list {mount}`; if the mount `{mount}` is of version {other}, write `version: \
                 {other}` in store `{}`",
                self.own.name
            ),
        )
    }

    /// Whether this is the answer for a version that was deleted or destroyed (KV v2).
    fn gone(&self, value: &Value, what: &str) -> Option<StoreError> {
        let metadata = value.pointer("/data/metadata")?;
        let version = metadata.get("version").and_then(Value::as_u64).unwrap_or(0);
        let mount = self.config.mount.join("/");
        if metadata.get("destroyed").and_then(Value::as_bool) == Some(true) {
            return Some(StoreError::new(
                error::DELETED,
                format!("version {version} of {what} was destroyed, which is for good"),
                format!("write it again: `vault kv put {mount}/…`, or name another `version`"),
            ));
        }
        let when = metadata.get("deletion_time").and_then(Value::as_str).filter(|when| !when.is_empty())?;
        Some(StoreError::new(
            error::DELETED,
            format!("version {version} of {what} was deleted at {}", quoted(&self.own.redactor, when)),
            format!("bring it back: `vault kv undelete -versions={version} {mount}/…`"),
        ))
    }

    fn policy_path(&self, item: &Item) -> String {
        let mount = self.config.mount.join("/");
        match self.config.version {
            KvVersion::V1 => format!("{mount}/{}", item.key),
            KvVersion::V2 => format!("{mount}/data/{}", item.key),
        }
    }

    fn json(&self, answer: &Answer) -> Result<Value, StoreError> {
        if answer.status != 200 {
            return Err(self.strange(&format!("status {}{}", answer.status, self.said(answer))));
        }
        // The parser's error is left out: it may quote what it could not read.
        serde_json::from_slice(&answer.body).map_err(|_| self.strange("something that is not JSON"))
    }

    fn strange(&self, what: &str) -> StoreError {
        StoreError::new(
            error::FAILED,
            format!("store `{}` answers as Vault does not: {what}", self.own.name),
            "check that `address` is Vault's own",
        )
    }

    /// What Vault says of a failure, to be put behind a number or a name: only `errors` and `warnings`, which are its own
    /// words, and `error`, which is RustyVault's.
    fn said(&self, answer: &Answer) -> String {
        let Ok(value) = serde_json::from_slice::<Value>(&answer.body) else { return String::new() };
        let lists = ["errors", "warnings"].into_iter().filter_map(|key| value.get(key)?.as_array());
        let texts: Vec<&str> = lists.flatten().chain(value.get("error")).filter_map(Value::as_str).collect();
        if texts.is_empty() { String::new() } else { format!(": {}", quoted(&self.own.redactor, &texts.join("; "))) }
    }
}

/// What may be over in a moment: rate limits, a follower that is behind, a proxy without a backend.
fn passing(answer: &Answer) -> Again {
    if matches!(answer.status, 412 | 429 | 502 | 504) { Again::Yes } else { Again::No }
}
