//! Reads credentials from JSON.

use super::aws_parse::aws;
use super::reader::{Clear, Reader};
use super::{AzureClient, Credential, GcpMetadata, GcpServiceAccount, Kind};
use crate::CredentialName;
use crate::destination::Binding;
use basb_grants::{HostPattern, Scheme};
use basb_secrets::ConfigProblem;
use basb_secrets::reading::{kind, pointer};
use http::HeaderName;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use url::Url;

/// What a credential can do: exactly one of these keys stands beside `to`.
const KINDS: [&str; 10] = [
    "awsSigv4",
    "gcpServiceAccount",
    "gcpMetadata",
    "azureClient",
    "bearer",
    "basic",
    "header",
    "mtls",
    "authority",
    "placeholder",
];

/// Headers that the host alone sets, or that concern one hop (RFC 9110 section 7.6.1).
const HOST_HEADERS: [&str; 13] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn credentials(value: &Value) -> Result<BTreeMap<CredentialName, Credential>, Vec<ConfigProblem>> {
    let mut reader = Reader::default();
    let mut out = BTreeMap::new();
    match value {
        Value::Null => {}
        Value::Object(map) => {
            for (name, value) in map {
                let at = pointer("/credentials", name);
                let checked = CredentialName::new(name.as_str());
                if let Err(error) = &checked {
                    reader.wrong(
                        &at,
                        format!("`{name}` is not the name of a credential: {}", error.why),
                        "write a name such as `deploy`",
                    );
                }
                let credential = credential(&mut reader, &at, value);
                if let (Ok(name), Some(credential)) = (checked, credential) {
                    out.insert(name, credential);
                }
            }
        }
        other => reader.wrong(
            "/credentials",
            format!("`credentials` is {}", kind(other)),
            "write a mapping: a name for each credential, with `to` and what it does",
        ),
    }
    if reader.problems.is_empty() { Ok(out) } else { Err(reader.problems) }
}

fn credential(reader: &mut Reader, at: &str, value: &Value) -> Option<Credential> {
    let map = reader.mapping(at, value, "{ to: [{ host: api.example.com }], bearer: api-token }")?;
    let mut known = vec!["to"];
    known.extend(KINDS);
    reader.only(at, map, &known);
    let to = bindings(reader, at, map);
    let present: Vec<_> = KINDS.into_iter().filter(|key| map.contains_key(*key)).collect();
    let kind = match present.as_slice() {
        [key] => kind_of(reader, at, map, key, &to),
        [] => {
            let help = format!("add one of {}, such as `bearer: api-token`", KINDS.join(", "));
            reader.wrong(at, "it is not said what the credential does", help);
            None
        }
        several => {
            let text = format!("the credential does several things: {}", several.join(", "));
            reader.wrong(at, text, "make a credential of its own of each");
            None
        }
    };
    (!to.is_empty()).then_some(())?;
    Some(Credential { to, kind: kind? })
}

/// Where a credential may be used.
fn bindings(reader: &mut Reader, at: &str, map: &Map<String, Value>) -> Vec<Binding> {
    const EXAMPLE: &str = "to: [{ host: api.example.com }]";
    let list = match map.get("to") {
        Some(Value::Array(list)) if !list.is_empty() => list,
        Some(Value::Array(_)) | None => {
            reader.wrong(
                at,
                "a credential without `to` may be used nowhere",
                format!("name its destinations: `{EXAMPLE}`"),
            );
            return Vec::new();
        }
        Some(other) => {
            reader.wrong(&pointer(at, "to"), format!("`to` is {}", kind(other)), format!("write a list: `{EXAMPLE}`"));
            return Vec::new();
        }
    };
    let at = pointer(at, "to");
    let entries = list.iter().enumerate();
    entries.filter_map(|(index, entry)| binding(reader, &format!("{at}/{index}"), entry)).collect()
}

fn binding(reader: &mut Reader, at: &str, value: &Value) -> Option<Binding> {
    let map = reader.mapping(at, value, "{ host: api.example.com }")?;
    match (map.contains_key("host"), map.contains_key("socket")) {
        (false, true) => {
            reader.only(at, map, &["socket"]);
            let name = reader.text(at, map, "socket")?;
            if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
                let text = format!("`{name}` is not the name of a socket");
                reader.wrong(&pointer(at, "socket"), text, "write `socket: agent`");
                return None;
            }
            Some(Binding::Socket(name.to_owned()))
        }
        (true, false) => {
            reader.only(at, map, &["host", "scheme", "port"]);
            let text = reader.text(at, map, "host");
            let host = text.and_then(|text| match HostPattern::parse(text) {
                Ok(host) => Some(host),
                Err(error) => {
                    reader.wrong(&pointer(at, "host"), error.message, error.help);
                    None
                }
            });
            let words = [("https", Scheme::Https), ("http", Scheme::Http)];
            let scheme = match map.contains_key("scheme") {
                true => reader.word(at, map, "scheme", &words),
                false => Some(Scheme::Https),
            };
            let port = match map.contains_key("port") {
                true => reader.port(at, map),
                false => scheme.map(Scheme::default_port),
            };
            Some(Binding::Host { host: host?, scheme: scheme?, port: port? })
        }
        _ => {
            let help = "write exactly one of `host: api.example.com` and `socket: agent`";
            reader.wrong(at, "it is not clear where the credential may go", help);
            None
        }
    }
}

fn kind_of(reader: &mut Reader, at: &str, map: &Map<String, Value>, key: &str, to: &[Binding]) -> Option<Kind> {
    let value = map.get(key)?;
    let inner = pointer(at, key);
    match key {
        "bearer" => reader.required_secret(at, map, key, "api-token").map(Kind::Bearer),
        "placeholder" => reader.required_secret(at, map, key, "webhook-url").map(Kind::Placeholder),
        "awsSigv4" => aws(reader, &inner, value, to).map(Kind::AwsSigv4),
        "gcpServiceAccount" => {
            let map = reader.mapping(&inner, value, "{ key: gcp-json, scopes: [https://…/auth/cloud-platform] }")?;
            reader.only(&inner, map, &["key", "scopes", "tokenUrl"]);
            let token_url = reader.endpoint(&inner, map, "tokenUrl", Clear::Loopback);
            let key = reader.required_secret(&inner, map, "key", "gcp-json");
            let scopes = scopes(reader, &inner, map);
            Some(Kind::GcpServiceAccount(GcpServiceAccount { key: key?, scopes, token_url }))
        }
        "gcpMetadata" => {
            let map = reader.mapping(&inner, value, "{ scopes: [https://…/auth/cloud-platform] }")?;
            reader.only(&inner, map, &["account", "scopes", "endpoint"]);
            let account = reader.text(&inner, map, "account").unwrap_or("default").to_owned();
            if !account.bytes().all(|b| b.is_ascii_alphanumeric() || b"@._-".contains(&b)) {
                let text = format!("`{account}` is not a service account");
                let help = "write `default` or its address, such as `deploy@project.iam.gserviceaccount.com`";
                reader.wrong(&pointer(&inner, "account"), text, help);
            }
            let scopes = if map.contains_key("scopes") { scopes(reader, &inner, map) } else { Vec::new() };
            let endpoint = match map.contains_key("endpoint") {
                true => reader.endpoint(&inner, map, "endpoint", Clear::Metadata),
                false => Url::parse("http://metadata.google.internal").ok(),
            };
            Some(Kind::GcpMetadata(GcpMetadata { account, scopes, endpoint: endpoint? }))
        }
        "azureClient" => azure(reader, &inner, value),
        "basic" => {
            let map = reader.mapping(&inner, value, "{ username: bob, password: bob-password }")?;
            reader.only(&inner, map, &["username", "password"]);
            let username = reader.required(&inner, map, "username", "bob").map(str::to_owned);
            if username.as_ref().is_some_and(|name| name.contains(':') || name.chars().any(char::is_control)) {
                // RFC 7617 section 2: a colon would end the user name.
                let text = "a user name holds neither a colon nor a control character";
                reader.wrong(&pointer(&inner, "username"), text, "write it without");
            }
            let password = reader.required_secret(&inner, map, "password", "bob-password");
            Some(Kind::Basic { username: username?, password: password? })
        }
        "header" => header(reader, &inner, value),
        "mtls" => {
            let map = reader.mapping(&inner, value, "{ certificate: client-cert, key: client-key }")?;
            reader.only(&inner, map, &["certificate", "key"]);
            let certificate = reader.required_secret(&inner, map, "certificate", "client-cert");
            let key = reader.required_secret(&inner, map, "key", "client-key");
            tls_only(reader, at, to, "a client certificate is shown over TLS only");
            Some(Kind::Mtls { certificate: certificate?, key: key? })
        }
        "authority" => {
            tls_only(reader, at, to, "an authority vouches for who is spoken to over TLS only");
            reader.required_secret(at, map, key, "cluster-ca").map(Kind::Authority)
        }
        _ => None,
    }
}

fn tls_only(reader: &mut Reader, at: &str, to: &[Binding], why: &str) {
    if let Some(index) = to.iter().position(|b| !matches!(b, Binding::Host { scheme: Scheme::Https, .. })) {
        reader.wrong(&format!("{at}/to/{index}"), why, "leave `scheme: https`");
    }
}

fn scopes(reader: &mut Reader, at: &str, map: &Map<String, Value>) -> Vec<String> {
    let scopes = reader.texts(at, map, "scopes", "https://www.googleapis.com/auth/cloud-platform");
    for (index, scope) in scopes.iter().enumerate() {
        // RFC 6749 section 3.3: printable ASCII without space, quote and backslash. A comma separates them for the
        // metadata server.
        if !scope.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\,".contains(&b)) {
            let help = "write one scope in each entry of the list";
            reader.wrong(&format!("{at}/scopes/{index}"), format!("`{scope}` is not a scope"), help);
        }
    }
    scopes
}

fn azure(reader: &mut Reader, at: &str, value: &Value) -> Option<Kind> {
    let map = reader.mapping(at, value, "{ tenant: …, clientId: …, clientSecret: az-secret, scope: … }")?;
    reader.only(at, map, &["tenant", "clientId", "clientSecret", "scope", "authority"]);
    let tenant = reader.required(at, map, "tenant", "contoso.onmicrosoft.com").map(str::to_owned);
    if tenant.as_ref().is_some_and(|t| !t.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))) {
        let help = "write the directory's id or one of its domains";
        reader.wrong(&pointer(at, "tenant"), "this is not a tenant", help);
    }
    let client_id = reader.required(at, map, "clientId", "00000000-0000-0000-0000-000000000000").map(str::to_owned);
    let client_secret = reader.required_secret(at, map, "clientSecret", "az-secret");
    let scope = match map.contains_key("scope") {
        true => reader.text(at, map, "scope").map(str::to_owned),
        false => Some("https://management.azure.com/.default".to_owned()),
    };
    let authority = match map.contains_key("authority") {
        true => reader.endpoint(at, map, "authority", Clear::Loopback),
        false => Url::parse("https://login.microsoftonline.com").ok(),
    };
    Some(Kind::AzureClient(AzureClient {
        tenant: tenant?,
        client_id: client_id?,
        client_secret: client_secret?,
        scope: scope?,
        authority: authority?,
    }))
}

fn header(reader: &mut Reader, at: &str, value: &Value) -> Option<Kind> {
    let map = reader.mapping(at, value, "{ name: X-Api-Key, value: api-token }")?;
    reader.only(at, map, &["name", "value", "prefix"]);
    let name = reader.required(at, map, "name", "X-Api-Key").and_then(|text| {
        let name = HeaderName::from_bytes(text.as_bytes()).ok();
        let name = name.filter(|name| !HOST_HEADERS.contains(&name.as_str()));
        if name.is_none() {
            let help = "write the name of a header that a request may carry, such as `X-Api-Key`";
            reader.wrong(&pointer(at, "name"), format!("`{text}` is not a header that can be set"), help);
        }
        name
    });
    let value = reader.required_secret(at, map, "value", "api-token");
    let prefix = match map.get("prefix") {
        None => Some(String::new()),
        Some(Value::String(text)) if text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) => Some(text.clone()),
        Some(_) => {
            let help = "write printable ASCII in quotes, such as `prefix: \"Token \"`";
            reader.wrong(&pointer(at, "prefix"), "this cannot stand in a header", help);
            None
        }
    };
    Some(Kind::Header { name: name?, value: value?, prefix: prefix? })
}

#[cfg(test)]
mod tests;
