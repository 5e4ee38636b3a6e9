//! Whether a request to a container engine (Docker, Podman) is one of the operations on containers that a grant names.
//!
//! Whoever may send any request to an engine's socket is root on its machine: `POST /containers/create` with
//! `HostConfig: {Binds: ["/:/host"]}` is a shell away from it. So with `containers` in a grant nothing passes but a fixed list
//! of operations, spelled in one way, on containers of granted names, and a body that describes a container is read as a
//! whole (`create`): a key that is not known here is refused, whatever it means.
//!
//! Stops a hostile plugin that knows the engine's source from
//!
//! - reaching another operation: `exec` into somebody's container, `build`, `commit`, `archive`, `update`, volumes, networks,
//!   plugins, the swarm, Podman's own API;
//! - reaching it by another spelling: an encoded letter in the path (`/containers/%63reate`), which the engine decodes;
//! - changing what was looked at: versions of the API before 1.24 take a `HostConfig` in the body of `start`, so the version
//!   must be one that does not, and the body empty;
//! - touching containers of others, by their names, by their ids, or by the beginning of an id, which the engine takes for a
//!   name; listing them, or reading their output;
//! - hiding a key from the host: the engine's JSON reader takes `privileged`, `PRIVILEGED` and (by Unicode's folding of
//!   letters) `ho\u{17f}tConfig` for the keys that they look like, and the last one of two. Here a key has one spelling, once.
//!
//! Not stopped: what a container does with what it was given. One with the machine's network reaches everything that listens
//! on loopback; an image runs what it holds.

mod create;
mod json;

use super::policy::Wanted;
use crate::grants::{ContainersGrant, TextPattern};
use json::Json;
use std::collections::BTreeMap;

/// Versions of the API whose `start` takes no configuration, and whose bodies are those that are known here.
const VERSIONS: std::ops::RangeInclusive<u32> = 40..=99;

/// What the filter of a list must name: labels that only basb-host writes.
const OWN_LABEL: &str = "basb-host:";

/// Whether the grant covers the request.
///
/// # Errors
/// Why not, and what to write where a line in the grant would change that.
pub fn check(grant: &ContainersGrant, wanted: &Wanted<'_>) -> Result<(), String> {
    let url = &wanted.destination.url;
    let path = url.path();
    if path.contains('%') {
        return Err("its path is not spelled plainly".to_owned());
    }
    let query = Query::of(url.query().unwrap_or_default())?;
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let no_body = || {
        // Also for reads: what is not looked at does not pass.
        if wanted.body.is_empty() { Ok(()) } else { Err("this operation has no body".to_owned()) }
    };
    let operation = match segments.as_slice() {
        ["_ping"] | ["version"] if matches!(wanted.method, "GET" | "HEAD") => {
            query.only(&[])?;
            return no_body();
        }
        [version, operation @ ..] if is_known_version(version) => operation,
        _ => {
            return Err(format!(
                "only operations on containers are granted, by paths such as `/v1.41/containers/NAME/json` (versions 1.{} and \
                 later)",
                VERSIONS.start()
            ));
        }
    };
    match (wanted.method, operation) {
        ("POST", ["containers", "create"]) => {
            query.only(&["name"])?;
            own(&grant.names, query.get("name").unwrap_or_default())?;
            create::check(grant, wanted.body)
        }
        ("GET", ["containers", "json"]) => {
            query.only(&["all", "filters"])?;
            own_only(query.get("filters").unwrap_or_default())?;
            no_body()
        }
        ("GET", ["containers", name, "json"]) => {
            query.only(&[])?;
            own(&grant.names, name)?;
            no_body()
        }
        ("GET", ["containers", name, "logs"]) => {
            query.only(&["stdout", "stderr", "tail", "timestamps"])?;
            own(&grant.names, name)?;
            no_body()
        }
        ("POST", ["containers", name, "start"]) => {
            query.only(&[])?;
            own(&grant.names, name)?;
            no_body()
        }
        ("POST", ["containers", name, "stop"]) => {
            query.only(&["t"])?;
            own(&grant.names, name)?;
            no_body()
        }
        ("DELETE", ["containers", name]) => {
            query.only(&["force", "v"])?;
            own(&grant.names, name)?;
            no_body()
        }
        ("GET", ["images", name @ .., "json"]) if !name.is_empty() => {
            query.only(&[])?;
            image(&grant.images, &name.join("/"))?;
            no_body()
        }
        _ => Err("this operation of a container engine cannot be granted: only making, starting, stopping, removing, listing \
                  and looking at containers can"
            .to_owned()),
    }
}

fn is_known_version(segment: &str) -> bool {
    let number = segment.strip_prefix("v1.").filter(|number| number.len() == 2);
    number.and_then(|number| number.parse().ok()).is_some_and(|number| VERSIONS.contains(&number))
}

/// Whether the name of a container is granted.
fn own(names: &[TextPattern], name: &str) -> Result<(), String> {
    let plain = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    let shown = crate::printable(name, 100);
    if !plain {
        return Err(format!("`{shown}` is not a name of a container"));
    }
    if name.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(format!("`{shown}` may be the beginning of an id, and so mean any container"));
    }
    if names.iter().any(|pattern| pattern.covers(name)) {
        return Ok(());
    }
    Err(format!("it names the container `{shown}`, which `names` in its entry of `grants` do not cover"))
}

/// Whether the name of an image is granted.
fn image(images: &[TextPattern], name: &str) -> Result<(), String> {
    let shown = crate::printable(name, 200);
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-/:@".contains(&b));
    if !plain || name.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(format!("`{shown}` is not the name of an image (an id, or its beginning, may mean any)"));
    }
    if images.iter().any(|pattern| pattern.covers(name)) {
        return Ok(());
    }
    Err(format!("it names the image `{shown}`, which `images` in its entry of `grants` do not cover"))
}

/// Whether the filters of a list leave nothing but containers that basb-host made.
fn own_only(filters: &str) -> Result<(), String> {
    let why = || {
        format!(
            "a list must be filtered by a label that begins with `{OWN_LABEL}`: it would show the containers of others"
        )
    };
    let Ok(Json::Map(filters)) = json::read(filters.as_bytes()) else { return Err(why()) };
    let own = filters.iter().filter(|(key, _)| key == "label").any(|(_, labels)| match labels {
        Json::List(labels) => {
            labels.iter().any(|label| matches!(label, Json::Text(text) if text.starts_with(OWN_LABEL)))
        }
        _ => false,
    });
    if own { Ok(()) } else { Err(why()) }
}

/// The parameters of a request, each of them once and spelled plainly.
struct Query(BTreeMap<String, String>);

impl Query {
    fn of(text: &str) -> Result<Self, String> {
        let mut all = BTreeMap::new();
        if text.contains(';') {
            return Err("its query can be read in two ways".to_owned());
        }
        for (key, value) in ::url::form_urlencoded::parse(text.as_bytes()) {
            if all.insert(key.into_owned(), value.into_owned()).is_some() {
                return Err("a parameter of its query is there twice".to_owned());
            }
        }
        Ok(Self(all))
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Whether there is nothing but these.
    fn only(&self, known: &[&str]) -> Result<(), String> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(format!("its parameter `{}` is not known", crate::printable(key, 60))),
        }
    }
}

#[cfg(test)]
mod tests;
