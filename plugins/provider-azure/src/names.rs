//! What things are called, and whose they are.

use std::collections::BTreeMap;

use basb_cloud_kit::{Alphabet, Owner, TagStyle, digest, name};
use basb_plugin::ServiceRef;
use serde_json::Value;

use crate::api::model::Revision;
use crate::config::Config;

/// How Azure wants tags named.
pub const TAGS: TagStyle = TagStyle::Colon;
/// The longest name that an app may have.
const LONGEST_APP: usize = 32;
/// The most that a revision's id takes of a suffix: with 7 characters for its content and the app before it, a name
/// stays a part of a host name.
const LONGEST_REVISION: usize = 20;
/// So many digits of its content's digest stand in a revision's name.
const DIGITS: usize = 6;

/// The variable that tells a container its revision, and us whose revision of the app is which: revisions have no tags.
pub const REVISION_VARIABLE: &str = "BASB_REVISION";
/// The variable with the digest of the template without its size: Azure's answers have fields and orders of their own.
pub const TEMPLATE_VARIABLE: &str = "BASB_TEMPLATE";

/// What the app of a service is called.
pub fn app(config: &Config, service: &ServiceRef) -> String {
    config.service(&service.service).app.unwrap_or_else(|| {
        name(&[&service.deployment, &service.environment, &service.service], Alphabet::Label, LONGEST_APP)
    })
}

/// What a revision of an app ends with: the revision's id, and a digest of everything that cannot be changed once it is
/// made. The same content has the same name, so that making it again makes nothing.
pub fn suffix(revision: &str, template: &str, scale: &Value) -> String {
    let content = digest(format!("{template}\n{scale}").as_bytes());
    let content: String = content.chars().skip("sha256:".len()).take(DIGITS).collect();
    format!("{}-{content}", name(&[revision], Alphabet::Label, LONGEST_REVISION))
}

/// The whole name of a revision.
pub fn revision(app: &str, suffix: &str) -> String {
    format!("{app}--{suffix}")
}

/// What a revision that others made is called.
pub fn adopted(revision: &str) -> String {
    let hex: String = digest(revision.as_bytes()).chars().skip("sha256:".len()).take(12).collect();
    format!("x{hex}")
}

/// The tags of an app: ours, and those of the configuration.
pub fn tags(config: &Config, service: &ServiceRef) -> BTreeMap<String, String> {
    let mut tags = config.tags.clone();
    tags.extend(Owner::of_service(service).tags(TAGS));
    tags
}

/// Whose an app with these tags is.
pub fn owner(tags: &BTreeMap<String, String>) -> Option<Owner> {
    Owner::from_tags(TAGS, tags.iter().map(|(key, value)| (key.as_str(), value.as_str())))
}

/// Whether a tag says that an app is of somebody else than this service: another value of one of ours.
pub fn is_of_others(tags: &BTreeMap<String, String>, service: &ServiceRef) -> bool {
    Owner::of_service(service).tags(TAGS).iter().any(|(key, value)| tags.get(key).is_some_and(|there| there != value))
}

/// Whether a tag is named like ours.
pub fn is_own_tag(key: &str) -> bool {
    key.starts_with(&TAGS.key(""))
}

/// Whether a revision of an app is one of a service's: it has our variables in a container with the service's name, and the
/// name that we give to what has them.
pub fn is_of_service(app: &str, service: &ServiceRef, revision: &Revision) -> bool {
    let Some(template) = revision.template() else { return false };
    let (id, content) = (variable(template, REVISION_VARIABLE), variable(template, TEMPLATE_VARIABLE));
    let container = template.pointer("/containers/0/name").and_then(Value::as_str);
    let stem = id.map(|id| format!("{app}--{}-", name(&[id], Alphabet::Label, LONGEST_REVISION)));
    let digits = stem.as_ref().and_then(|stem| revision.name.strip_prefix(stem.as_str()));
    let is_named = digits.is_some_and(|digits| digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_hexdigit()));
    content.is_some() && container == Some(service.service.as_str()) && is_named
}

/// The value of a variable of a template's first container.
pub fn variable<'a>(template: &'a Value, name: &str) -> Option<&'a str> {
    let list = template.pointer("/containers/0/env").and_then(Value::as_array)?;
    list.iter().find(|pair| pair.get("name").and_then(Value::as_str) == Some(name))?.get("value")?.as_str()
}

/// What Azure's own records know a request by: a GUID of the call's key and of what is asked, the same when it is asked
/// again.
pub fn request_id(key: &str, what: &[&str]) -> String {
    let hex: String = digest(format!("{key}\n{}", what.join("\n")).as_bytes()).chars().skip("sha256:".len()).collect();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    // The two nibbles that RFC 9562 fixes: version 8 (a value of one's own making), variant 10.
    format!("{}-{}-8{}-a{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_longest_name_fits() {
        let suffix = suffix(&"r".repeat(80), "sha256:ab", &json!({"minReplicas": 1}));
        assert!(suffix.len() <= 27, "{suffix}");
        assert!(revision(&"a".repeat(32), &suffix).len() <= 63);
        assert_eq!(suffix, super::suffix(&"r".repeat(80), "sha256:ab", &json!({"minReplicas": 1})));
        assert_ne!(suffix, super::suffix(&"r".repeat(80), "sha256:ab", &json!({"minReplicas": 2})));
    }

    #[test]
    fn a_request_id_is_a_guid_and_the_same_again() {
        let id = request_id("key", &["PUT", "/x"]);
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
        assert!(id.chars().all(|c| c.is_ascii_hexdigit() || c == '-'), "{id}");
        assert_eq!(id, request_id("key", &["PUT", "/x"]));
        assert_ne!(id, request_id("key", &["PUT", "/y"]));
    }
}
