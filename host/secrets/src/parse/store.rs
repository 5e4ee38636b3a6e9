//! The entries of `secretStores`.

use super::reader::{Reader, is_variable};
use crate::config::{AgeConfig, AwsConfig, ExecConfig, KvVersion, StoreConfig, Unlock, VaultAuth, VaultConfig};
use crate::reading::pointer;
use basb_core::Millis;
use serde_json::{Map, Value};
use url::Url;

/// The kinds of stores, as they are written.
const KINDS: [&str; 4] = ["age", "vault", "awsSecretsManager", "exec"];
/// How long a program may run unless it is written.
const TIMEOUT: Millis = Millis(10_000);
/// The longest that can be written.
const LONGEST_TIMEOUT: Millis = Millis(300_000);

type Entries = Map<String, Value>;

impl Reader {
    pub(super) fn store(&mut self, at: &str, value: &Value) -> Option<StoreConfig> {
        let map = self.map(at, value, "`vault: {…}`, `age: {…}`, `awsSecretsManager: {…}` or `exec: {…}`")?;
        self.only(at, map, &KINDS);
        let mut kinds = map.iter().filter(|(key, _)| KINDS.contains(&key.as_str()));
        let (Some((kind, value)), None) = (kinds.next(), kinds.next()) else {
            if map.keys().all(|key| KINDS.contains(&key.as_str())) {
                let help = format!("write exactly one of {}", KINDS.join(", "));
                self.wrong(at, "it is not clear what kind of store this is", help);
            }
            return None;
        };
        let at = &pointer(at, kind);
        let map = self.map(at, value, "see `basb-host schema`")?;
        // A store with an unknown key is broken: the secrets in it are not looked at any closer.
        let before = self.problems.len();
        let store = match kind.as_str() {
            "age" => self.age(at, map).map(StoreConfig::Age),
            "vault" => self.vault(at, map).map(StoreConfig::Vault),
            "exec" => self.exec(at, map).map(StoreConfig::Exec),
            _ => self.aws(at, map).map(StoreConfig::Aws),
        };
        store.filter(|_| self.problems.len() == before)
    }

    fn age(&mut self, at: &str, map: &Entries) -> Option<AgeConfig> {
        self.only(at, map, &["file", "identity", "passphrase"]);
        let file = self.required(at, map, "file", "secrets.age");
        let unlock = match (map.contains_key("identity"), map.contains_key("passphrase")) {
            (true, false) => self.held(at, map, "identity").map(Unlock::Identity),
            (false, true) => self.held(at, map, "passphrase").map(Unlock::Passphrase),
            _ => {
                let help =
                    "write exactly one of `identity: {file: ~/.config/basb/key.txt}` and `passphrase: {env: NAME}`";
                self.wrong(at, "it is not clear what opens the file", help);
                None
            }
        };
        Some(AgeConfig { file: file?.to_owned(), unlock: unlock? })
    }

    fn vault(&mut self, at: &str, map: &Entries) -> Option<VaultConfig> {
        self.only(at, map, &["address", "mount", "version", "token", "appRole", "namespace"]);
        let address = self.required(at, map, "address", "\"https://vault.example.com:8200\"");
        let address = address.and_then(|text| self.address(at, "address", text));
        let mount = match map.get("mount") {
            Some(_) => self.text(at, map, "mount").and_then(|text| self.path(&pointer(at, "mount"), "mount", text)),
            None => Some(vec!["secret".to_owned()]),
        };
        let version = match map.get("version").map(Value::as_u64) {
            Some(Some(1)) => KvVersion::V1,
            None | Some(Some(2)) => KvVersion::V2,
            Some(_) => {
                self.wrong(&pointer(at, "version"), "there is no such version of the KV engine", "write `1` or `2`");
                return None;
            }
        };
        let auth = match (map.contains_key("token"), map.contains_key("appRole")) {
            (true, false) => self.held(at, map, "token").map(VaultAuth::Token),
            (false, true) => self.app_role(at, map),
            _ => {
                let help = "write exactly one of `token: {env: VAULT_TOKEN}` and `appRole: {roleId: …, secretId: {…}}`";
                self.wrong(at, "it is not clear how to log in", help);
                None
            }
        };
        let namespace = self.text(at, map, "namespace");
        if namespace.is_some_and(|text| !text.bytes().all(|b| b.is_ascii_graphic())) {
            let help = "write it as in `namespace: team-a/apps`";
            self.wrong(&pointer(at, "namespace"), "this is not a namespace", help);
        }
        let namespace = namespace.map(str::to_owned);
        Some(VaultConfig { address: address?, mount: mount?, version, auth: auth?, namespace })
    }

    fn app_role(&mut self, at: &str, map: &Entries) -> Option<VaultAuth> {
        let at = &pointer(at, "appRole");
        let map = self.map(at, map.get("appRole")?, "`{roleId: …, secretId: {env: VAULT_SECRET_ID}}`")?;
        self.only(at, map, &["roleId", "secretId"]);
        let role_id = self.required(at, map, "roleId", "00000000-0000-0000-0000-000000000000");
        let secret_id = self.required_held(at, map, "secretId");
        Some(VaultAuth::AppRole { role_id: role_id?.to_owned(), secret_id: secret_id? })
    }

    /// A path without anything that a server might resolve to another one.
    pub(super) fn path(&mut self, at: &str, what: &str, text: &str) -> Option<Vec<String>> {
        let segments: Vec<String> = text.split('/').map(str::to_owned).collect();
        if segments.iter().any(|segment| segment.is_empty() || segment == "." || segment == "..") {
            let help = "write it as in `apps/db`: no `/` at its ends, no empty part, no `.` and `..`";
            self.wrong(at, format!("`{what}` is not a path"), help);
            return None;
        }
        Some(segments)
    }

    fn aws(&mut self, at: &str, map: &Entries) -> Option<AwsConfig> {
        self.only(at, map, &["region", "accessKeyId", "secretAccessKey", "sessionToken", "endpoint"]);
        let region = self.required(at, map, "region", "eu-west-1").filter(|region| {
            let fits = region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            if !fits {
                self.wrong(
                    &pointer(at, "region"),
                    format!("`{region}` is not a region"),
                    "write one such as `eu-west-1`",
                );
            }
            fits
        });
        let access_key_id = self.required_held(at, map, "accessKeyId");
        let secret_access_key = self.required_held(at, map, "secretAccessKey");
        let session_token = self.held(at, map, "sessionToken");
        let endpoint = match self.text(at, map, "endpoint") {
            Some(text) => self.address(at, "endpoint", text),
            None => region.and_then(default_endpoint),
        };
        if endpoint.as_ref().is_some_and(|url| url.path() != "/") {
            let help = "leave only scheme, host and port";
            self.wrong(&pointer(at, "endpoint"), "`endpoint` has a path", help);
        }
        Some(AwsConfig {
            region: region?.to_owned(),
            access_key_id: access_key_id?,
            secret_access_key: secret_access_key?,
            session_token,
            endpoint: endpoint?,
        })
    }

    fn exec(&mut self, at: &str, map: &Entries) -> Option<ExecConfig> {
        self.only(at, map, &["command", "sha256", "timeout", "env"]);
        let example = "[\"/usr/bin/pass\", \"show\", \"{key}\"]";
        self.needed(at, map, "command", example);
        let command = self.texts(at, map, "command", example);
        let mut command = command.map(|list| list.into_iter());
        let program = command.as_mut().and_then(Iterator::next);
        if map.contains_key("command") && !program.as_ref().is_none_or(|program| program.starts_with('/')) {
            let help = "begin it with `/`: no search path is used, and no shell";
            self.wrong(&format!("{at}/command/0"), "the program's path is not absolute", help);
        }
        if command.is_some() && program.is_none() {
            self.wrong(&pointer(at, "command"), "`command` is empty", format!("write `command: {example}`"));
        }
        let sha256 = self.text(at, map, "sha256").map(|text| text.strip_prefix("sha256:").unwrap_or(text));
        let digest = |hex: &str| hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if sha256.is_some_and(|hex| !digest(hex)) {
            let help = "write the 64 lower-case hexadecimal digits that `sha256sum` prints";
            self.wrong(&pointer(at, "sha256"), "this is not a SHA-256 digest", help);
        }
        let timeout = self.timeout(at, map);
        let env = self.texts(at, map, "env", "[GNUPGHOME]").unwrap_or_default();
        for (index, _) in env.iter().enumerate().filter(|(_, name)| name.is_empty() || !is_variable(name)) {
            // Not quoted: it may be `NAME=value`.
            let help = "use letters, digits and `_`, without a value";
            self.wrong(&format!("{at}/env/{index}"), "this is not the name of a variable", help);
        }
        Some(ExecConfig {
            program: program?,
            args: command?.collect(),
            sha256: sha256.map(str::to_owned),
            timeout: timeout?,
            env,
        })
    }

    fn timeout(&mut self, at: &str, map: &Entries) -> Option<Millis> {
        if !map.contains_key("timeout") {
            return Some(TIMEOUT);
        }
        let text = self.text(at, map, "timeout")?;
        let at = pointer(at, "timeout");
        match Millis::parse(text) {
            Ok(Millis(0)) => self.wrong(&at, "`timeout` is 0", "write `10s`"),
            Ok(timeout) if timeout <= LONGEST_TIMEOUT => return Some(timeout),
            Ok(_) => self.wrong(&at, "`timeout` is too long", format!("write at most `{LONGEST_TIMEOUT}`")),
            Err(message) => self.wrong(&at, message, "write it as in `timeout: 10s`"),
        }
        None
    }
}

/// Where a region's Secrets Manager answers.
/// <https://docs.aws.amazon.com/general/latest/gr/asm.html>
fn default_endpoint(region: &str) -> Option<Url> {
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    Url::parse(&format!("https://secretsmanager.{region}.{domain}/")).ok()
}
