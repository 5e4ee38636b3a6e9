//! Values that stand for secrets where a run is played once more.
//!
//! A recording holds the placeholders that the plugin wrote, and no secret. The host puts a value in the place of each on
//! its way out, as ever: one that nobody can use. Here it is taken out again, so that a request is what the plugin asked
//! for.

use super::{RecordedCall, Recording, Sent};
use crate::KitError;
use crate::file::KitFile;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use url::Url;

/// What every placeholder begins with.
const MARK: &str = "__basb.secret.";

/// What every placeholder ends with.
const END: &str = "__";

/// The values of a kit file, with the placeholders that they stand behind.
#[derive(Debug, Clone, Default)]
pub(super) struct StandIns(Vec<(String, String)>);

fn placeholder(name: &str) -> String {
    format!("{MARK}{name}{END}")
}

/// The names of the secrets whose placeholders are in a text.
fn names(text: &str) -> BTreeSet<String> {
    let after = text.split(MARK).skip(1);
    let name = |rest: &str| rest.split_once(END).map(|(name, _)| name.to_owned());
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    after.filter_map(name).filter(|name| !name.is_empty() && name.chars().all(plain)).collect()
}

/// The requests of a call.
fn requests(call: &RecordedCall) -> Vec<Value> {
    let of = |ask: &Value| match (ask.get("http"), ask.get("httpMany").and_then(Value::as_array)) {
        (Some(one), _) => vec![one.clone()],
        (None, Some(many)) => many.clone(),
        (None, None) => Vec::new(),
    };
    call.exchanges.iter().flat_map(|exchange| of(&exchange.ask)).collect()
}

/// Where the placeholders of a recording go: the URLs of the requests with each.
fn used(recording: &Recording) -> BTreeMap<String, BTreeSet<String>> {
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for request in recording.calls.iter().flat_map(requests) {
        let url = request.get("url").and_then(Value::as_str).unwrap_or_default();
        for name in names(&request.to_string()) {
            used.entry(name).or_default().insert(url.to_owned());
        }
    }
    used
}

/// What a kit file of a recording needs so that its placeholders can be replaced: `secrets`, `credentials` and
/// `environment`, with values of nobody. Empty where there are no placeholders.
///
/// # Errors
/// [`KitError`] for a URL that is a secret as a whole where no grant says where it may lead.
pub fn sections(recording: &Recording, grants: &Value) -> Result<Map<String, Value>, KitError> {
    let (mut secrets, mut credentials, mut environment) = (Map::new(), Map::new(), Map::new());
    for (name, urls) in used(recording) {
        let key = format!("KIT_{}", name.to_ascii_uppercase().replace('-', "_"));
        let whole = urls.contains(&placeholder(&name));
        let value = if whole { granted(grants, &name)? } else { format!("kit-value-of-{name}-of-nobody") };
        let leads = urls.iter().map(|url| if *url == placeholder(&name) { value.as_str() } else { url.as_str() });
        let to: Vec<Value> = leads.filter_map(|url| destination(&Url::parse(url).ok()?)).collect();
        secrets.insert(name.clone(), json!({ "store": "env", "key": key }));
        credentials.insert(format!("kit-{name}"), json!({ "to": to, "placeholder": name }));
        environment.insert(key, Value::from(value));
    }
    if secrets.is_empty() {
        return Ok(Map::new());
    }
    let all = [("secrets", secrets), ("credentials", credentials), ("environment", environment)];
    Ok(all.into_iter().map(|(name, section)| (name.to_owned(), Value::from(section))).collect())
}

/// A URL that a grant covers.
fn granted(grants: &Value, name: &str) -> Result<String, KitError> {
    let all = grants.get("http").and_then(Value::as_array).into_iter().flatten();
    let url = |grant: &Value| {
        let host = grant.get("host")?.as_str().filter(|host| !host.contains('*'))?;
        let scheme = grant.get("scheme").and_then(Value::as_str).unwrap_or("https");
        let port = grant.get("port").and_then(Value::as_u64).map(|port| format!(":{port}")).unwrap_or_default();
        let path = grant.get("path").and_then(Value::as_str).unwrap_or("/");
        Some(format!("{scheme}://{host}{port}{}", path.replace("**", "kit").replace('*', "kit")))
    };
    all.into_iter().find_map(url).ok_or_else(|| {
        KitError::new(
            "kit/recorded-secret",
            format!(
                "the secret `{name}` is a URL as a whole, and no grant names a host that one in its place could lead to"
            ),
            "grant the host by its name, without `*`, and run it once more",
        )
    })
}

/// A destination of a credential.
fn destination(url: &Url) -> Option<Value> {
    let host = url.host_str()?;
    if let Some(socket) = host.strip_suffix(".socket.internal") {
        return Some(json!({ "socket": socket }));
    }
    let mut to = Map::from_iter([("host".to_owned(), Value::from(host))]);
    if url.scheme() != "https" {
        to.insert("scheme".to_owned(), Value::from(url.scheme()));
    }
    if let Some(port) = url.port() {
        to.insert("port".to_owned(), Value::from(port));
    }
    Some(Value::from(to))
}

impl StandIns {
    /// Those of a kit file.
    ///
    /// # Errors
    /// [`KitError`] for a placeholder in the recording that has none.
    pub(super) fn of(recording: &Recording, file: &KitFile) -> Result<Self, KitError> {
        let value = |name: &String| {
            let key = file.secrets.get(name)?.get("key")?.as_str()?;
            file.environment.get(key).filter(|value| !value.is_empty()).cloned()
        };
        let mut all = Vec::new();
        for name in used(recording).into_keys() {
            let value = value(&name).ok_or_else(|| {
                KitError::new(
                    "kit/recorded-secret",
                    format!("the recording has a placeholder of the secret `{name}`, and the kit file no value for it"),
                    "record the run again: `basb-host plugin record` writes `secrets`, `credentials` and `environment`",
                )
            })?;
            all.push((value, placeholder(&name)));
        }
        Ok(Self(all))
    }

    /// URL and body of a request as the plugin wrote them.
    pub(super) fn taken_out(&self, sent: &Sent) -> (String, Vec<u8>) {
        let whole = self.0.iter().find(|(value, _)| Url::parse(value).is_ok_and(|url| url == sent.url));
        let back = |text: &str| self.0.iter().fold(text.to_owned(), |text, (value, name)| text.replace(value, name));
        let url = whole.map_or_else(|| back(sent.url.as_str()), |(_, name)| name.clone());
        let body = std::str::from_utf8(&sent.body).map_or_else(|_| sent.body.clone(), |body| back(body).into_bytes());
        (url, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counterpart::RecordedExchange;

    fn recording(urls: &[&str]) -> Recording {
        let ask = |url: &&str| json!({ "http": { "method": "POST", "url": url, "headers": [], "body": "x" } });
        let exchanges = urls.iter().map(|url| RecordedExchange { ask: ask(url), answer: Value::Null }).collect();
        let call = RecordedCall { function: "notify".to_owned(), args: json!([]), exchanges };
        Recording { recording: 1, run: "01".to_owned(), digest: "sha256:0".to_owned(), calls: vec![call] }
    }

    fn sent(url: &str, body: &str) -> Sent {
        let url = Url::parse(url).unwrap();
        Sent { method: "POST".to_owned(), url, headers: Vec::new(), body: body.as_bytes().to_vec() }
    }

    #[test]
    fn what_stands_for_a_secret_is_written_and_taken_out_again() {
        let of = recording(&["https://hooks.example.com/__basb.secret.bot__/x", "__basb.secret.hook-url__"]);
        let grants = json!({ "http": [{ "host": "hooks.example.com", "methods": ["POST"], "path": "/in/**" }] });
        let sections = sections(&of, &grants).unwrap();
        assert_eq!(sections["credentials"]["kit-bot"]["to"], json!([{ "host": "hooks.example.com" }]));
        assert_eq!(sections["environment"]["KIT_HOOK_URL"], "https://hooks.example.com/in/kit");
        let mut kit = Value::from(sections);
        kit["conformance"] = json!(1);
        let file: KitFile = serde_json::from_value(kit).unwrap();
        let all = StandIns::of(&of, &file).unwrap();
        let value = &file.environment["KIT_BOT"];
        let (url, body) = all.taken_out(&sent(&format!("https://hooks.example.com/{value}/x"), &format!("a {value}")));
        assert_eq!(url, "https://hooks.example.com/__basb.secret.bot__/x");
        assert_eq!(body, b"a __basb.secret.bot__");
        assert_eq!(all.taken_out(&sent("https://hooks.example.com/in/kit", "")).0, "__basb.secret.hook-url__");
    }

    #[test]
    fn a_placeholder_without_a_value_is_refused_in_words() {
        let of = recording(&["https://hooks.example.com/__basb.secret.bot__/x"]);
        let file: KitFile = serde_json::from_value(json!({ "conformance": 1 })).unwrap();
        let refused = StandIns::of(&of, &file).unwrap_err();
        assert_eq!(refused.code, "kit/recorded-secret");
        assert!(refused.message.contains("`bot`") && refused.next.contains("plugin record"), "{refused}");
        let whole = sections(&recording(&["__basb.secret.hook__"]), &json!({})).unwrap_err();
        assert_eq!(whole.code, "kit/recorded-secret");
        assert!(sections(&recording(&["https://a.example/"]), &json!({})).unwrap().is_empty());
    }
}
