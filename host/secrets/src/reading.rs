//! What the readers of secrets and of credentials have in common: pointers, words for what stands there, unknown keys.

use serde_json::{Map, Value};
use url::{Host, Url};

use crate::ConfigProblem;

/// Appends a key to a JSON pointer (RFC 6901).
#[must_use]
pub fn pointer(at: &str, key: &str) -> String {
    format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// What stands there, in the words of a person who writes YAML.
#[must_use]
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

/// The longest name that is compared, in bytes: a distance costs time by the product of both lengths.
const LONGEST: usize = 80;

/// The name that was probably meant: of those at most two slips away, the nearest.
#[must_use]
pub fn suggest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    if name.len() > LONGEST {
        return None;
    }
    let near = known.iter().map(|k| (strsim::damerau_levenshtein(&name.to_lowercase(), &k.to_lowercase()), *k));
    near.filter(|(distance, _)| *distance <= 2).min().map(|(_, k)| k)
}

/// A problem for every key of `map` that is not in `known`.
pub fn unknown_keys(at: &str, map: &Map<String, Value>, known: &[&str]) -> impl Iterator<Item = ConfigProblem> {
    map.keys().filter(|key| !known.contains(&key.as_str())).map(move |key| ConfigProblem {
        pointer: pointer(at, key),
        message: format!("unknown key `{key}`"),
        help: suggest(key, known)
            .map_or_else(|| format!("possible here: {}", known.join(", ")), |near| format!("did you mean `{near}`?")),
    })
}

/// Parses an absolute `http` or `https` URL; the parser by itself would also take `https:host` and `HTTPS://host`.
#[must_use]
pub fn absolute(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    (url.has_host() && (text.starts_with("http://") || text.starts_with("https://"))).then_some(url)
}

/// Whether a URL says more than scheme, host, port and path.
#[must_use]
pub fn says_more_than_where(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some()
}

/// Whether what is sent there stays on this machine.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
