//! RustyVault: a real server of Vault's API, with KV version 1 and AppRole. It has no KV version 2, no namespaces and no
//! policies: those are in [`crate::vault_model`]. <https://github.com/Tongsuo-Project/RustyVault>

use crate::process::Process;
use crate::{RealTransport, install};
use basb_secrets::{Answer, Ask, Transport};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// A RustyVault server, initialised and unsealed; stopped when dropped.
#[derive(Debug)]
pub struct RustyVault {
    _process: Process,
    /// Where it answers, such as `http://127.0.0.1:8200/`.
    pub address: Url,
    /// May do everything.
    pub root_token: String,
    transport: Arc<RealTransport>,
}

/// Starts it with its data in `folder`, which must be empty; `None`, and a message on standard error, when it is not
/// installed.
///
/// # Panics
/// When it is installed and does not start.
pub async fn start(folder: &Path) -> Option<RustyVault> {
    let alone = "CARGO_PROFILE_RELEASE_OPT_LEVEL=1 cargo install rusty_vault --locked \
                 --root ~/.cache/basb-host/counterparts/rustyvault    # needs OpenSSL's headers";
    let program = install::find_or_say("rustyvault/bin/rvault", "rvault", alone)?;
    let data = folder.join("data");
    std::fs::create_dir(&data).expect("an empty folder");
    let (process, port) = Process::listening("RustyVault", |port| {
        let config = json!({
            "storage": {"file": {"path": data}},
            "listener": {"tcp": {"address": format!("127.0.0.1:{port}"), "tls_disable": true}},
            "log_level": "error",
            "work_dir": folder,
        });
        let file = folder.join("config.json");
        std::fs::write(&file, config.to_string()).expect("a file for its configuration");
        let mut command = Command::new(&program);
        command.arg("server").arg("--config").arg(file).current_dir(folder);
        command
    });
    let address = Url::parse(&format!("http://127.0.0.1:{port}/")).expect("a URL");
    let mut vault =
        RustyVault { _process: process, address, root_token: String::new(), transport: RealTransport::new() };
    let keys = vault.ok("PUT", "sys/init", &json!({"secret_shares": 1, "secret_threshold": 1})).await;
    vault.ok("PUT", "sys/unseal", &json!({"key": keys["keys"][0]})).await;
    keys["root_token"].as_str().expect("a root token").clone_into(&mut vault.root_token);
    Some(vault)
}

impl RustyVault {
    /// A call of the API with the root token; `null` for an empty answer.
    ///
    /// # Panics
    /// When it does not succeed.
    pub async fn ok(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.call(method, path, body).await;
        let text = String::from_utf8_lossy(&answer.body);
        assert!((200..300).contains(&answer.status), "{method} {path}: {} {text}", answer.status);
        serde_json::from_str(&text).unwrap_or_default()
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert("x-vault-token", HeaderValue::from_str(&self.root_token).expect("a token"));
        let url = self.address.join(&format!("v1/{path}")).expect("a path");
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let ask = Ask { method, url, headers, body: body.into(), timeout: Duration::from_secs(30) };
        self.transport.exchange(ask).await.expect("RustyVault answers")
    }

    /// Turns AppRole on and makes a role; gives its role id and a secret id.
    ///
    /// # Panics
    /// When it does not succeed.
    pub async fn role(&self, name: &str, token_ttl: &str) -> (String, String) {
        self.ok("POST", "sys/auth/approle", &json!({"type": "approle"})).await;
        let role = json!({"token_ttl": token_ttl, "policies": "default"});
        self.ok("POST", &format!("auth/approle/role/{name}"), &role).await;
        let id = self.ok("GET", &format!("auth/approle/role/{name}/role-id"), &Value::Null).await;
        let secret = self.ok("POST", &format!("auth/approle/role/{name}/secret-id"), &json!({})).await;
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        (text(&id["data"]["role_id"]), text(&secret["data"]["secret_id"]))
    }
}
