//! The manifest: what a plugin says of itself, in a custom section of its bytes. It is a claim of the author; the
//! imports are the fact, and both must fit.

use crate::Kind;
use basb_grants::Capability;
use serde::{Deserialize, Serialize};

/// The custom section that holds it.
pub const SECTION: &str = "basb-host:manifest";

/// The largest manifest, in bytes: a hundred times that of a plugin with a large configuration.
const LARGEST: usize = 1 << 20;

/// What a plugin says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// The version of this form: 1.
    pub manifest_version: u32,
    /// The plugin's name.
    pub name: String,
    /// Its version.
    pub version: semver::Version,
    /// What it is.
    pub kind: Kind,
    /// Who publishes it.
    pub publisher: String,
    /// The version of `basb:host` that it was built for: `0.1`.
    pub wit: String,
    /// What it asks for, and why.
    pub capabilities: Vec<RequestedCapability>,
    /// The JSON Schema of its configuration.
    pub config_schema: serde_json::Value,
}

/// Something that a plugin asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestedCapability {
    /// What.
    pub name: Capability,
    /// Why, for the operator who grants it.
    pub reason: String,
}

/// Why a manifest cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is not JSON of the right form.
    #[error("its manifest cannot be read: {0}")]
    Form(String),
    /// Its form is newer than this host.
    #[error("its manifest has version {0}, this host knows version 1: a newer basb-host is needed")]
    Version(u32),
    /// It was built for another version of the interfaces.
    #[error("it was built for basb:host {0}, this host serves 0.1")]
    Wit(String),
    /// A value is out of place.
    #[error("`{field}` in its manifest {why}")]
    Value {
        /// Which.
        field: &'static str,
        /// What is wrong.
        why: String,
    },
    /// There are several, and they differ.
    #[error("it has {0} manifests that differ")]
    Several(usize),
}

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn parse(json: &[u8]) -> Result<Self, ManifestError> {
        if json.len() > LARGEST {
            return Err(ManifestError::Form(format!("it has {} bytes and may have {LARGEST}", json.len())));
        }
        // First the version alone: a newer form may look different in every other respect.
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Head {
            manifest_version: u32,
        }
        let form = |error: serde_json::Error| ManifestError::Form(basb_grants::printable(&error.to_string(), 300));
        let head: Head = serde_json::from_slice(json).map_err(form)?;
        if head.manifest_version != 1 {
            return Err(ManifestError::Version(head.manifest_version));
        }
        let manifest: Self = serde_json::from_slice(json).map_err(form)?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), ManifestError> {
        let value = |field, why: &str| Err(ManifestError::Value { field, why: why.to_owned() });
        if self.wit != "0.1" && !self.wit.starts_with("0.1.") {
            return Err(ManifestError::Wit(basb_grants::printable(&self.wit, 40)));
        }
        let plain = |text: &str, longest: usize| {
            !text.is_empty() && text.len() <= longest && basb_grants::printable(text, longest) == text
        };
        if basb_core::PluginName::new(self.name.as_str()).is_err() {
            return value("name", "must be 1 to 63 of a-z, 0-9 and inner `-`");
        }
        if !plain(&self.publisher, 200) {
            return value("publisher", "must be one line of at most 200 bytes");
        }
        if !self.config_schema.is_object() && !self.config_schema.is_boolean() {
            return value("configSchema", "must be a JSON Schema: an object, or `true` for anything");
        }
        for (index, requested) in self.capabilities.iter().enumerate() {
            if !plain(&requested.reason, 500) {
                return value("capabilities", "must give a reason of one line for each capability");
            }
            if self.capabilities.iter().skip(index + 1).any(|other| other.name == requested.name) {
                return value("capabilities", &format!("names `{}` twice", requested.name));
            }
            if !self.kind.may_import().contains(&requested.name) {
                return value(
                    "capabilities",
                    &format!("asks for `{}`, which no {} can have", requested.name, self.kind),
                );
            }
        }
        Ok(())
    }

    /// A component with this manifest appended, as the custom section [`SECTION`] (core specification, appendix "Custom
    /// Sections"; the component model takes them over). A component that has a manifest already keeps it, and then does
    /// not load unless both are the same.
    #[must_use]
    pub fn append_to(&self, component: &[u8]) -> Vec<u8> {
        // A manifest is plain data, all keys are text: it can always be written.
        let json = serde_json::to_vec(self).unwrap_or_default();
        let mut section = Vec::with_capacity(json.len() + SECTION.len() + 5);
        leb128(SECTION.len(), &mut section);
        section.extend_from_slice(SECTION.as_bytes());
        section.extend_from_slice(&json);
        let mut bytes = component.to_vec();
        bytes.push(0);
        leb128(section.len(), &mut bytes);
        bytes.extend_from_slice(&section);
        bytes
    }

    /// Whether it asks for this capability. The log needs no asking.
    #[must_use]
    pub fn requests(&self, capability: Capability) -> bool {
        !capability.needs_grant() || self.capabilities.iter().any(|requested| requested.name == capability)
    }
}

/// A length as WebAssembly writes it.
fn leb128(mut number: usize, out: &mut Vec<u8>) {
    loop {
        let [low, ..] = (number & 0x7f).to_le_bytes();
        number >>= 7;
        if number == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_appended_manifest_is_found() {
        let manifest = with(|_| {}).unwrap();
        let component = manifest.append_to(b"\0asm\x0d\0\x01\0");
        assert_eq!(crate::inspect(&component).unwrap().manifest.as_ref(), Some(&manifest));
        assert_eq!(crate::inspect(&manifest.append_to(&component)).unwrap().manifest, Some(manifest.clone()));
        let other = with(|m| m["name"] = json!("other")).unwrap();
        assert!(crate::inspect(&other.append_to(&component)).is_err());
    }

    fn good() -> serde_json::Value {
        json!({"manifestVersion": 1, "name": "probe-http", "version": "1.2.3", "kind": "probe", "publisher": "me",
            "wit": "0.1", "capabilities": [{"name": "http", "reason": "to measure"}], "configSchema": {"type": "object"}})
    }

    fn with(change: impl FnOnce(&mut serde_json::Value)) -> Result<Manifest, ManifestError> {
        let mut value = good();
        change(&mut value);
        Manifest::parse(value.to_string().as_bytes())
    }

    #[test]
    fn a_manifest_is_strict() {
        let manifest = with(|_| {}).unwrap();
        assert!(manifest.requests(Capability::Http) && manifest.requests(Capability::Log));
        assert!(!manifest.requests(Capability::Tcp));
        assert_eq!(with(|m| m["manifestVersion"] = json!(2)), Err(ManifestError::Version(2)));
        assert_eq!(with(|m| m["wit"] = json!("0.2")), Err(ManifestError::Wit("0.2".to_owned())));
        assert!(matches!(with(|m| m["extra"] = json!(1)), Err(ManifestError::Form(_))));
        assert!(matches!(with(|m| m["version"] = json!("1.2")), Err(ManifestError::Form(_))));
        assert!(matches!(with(|m| m["kind"] = json!("wizard")), Err(ManifestError::Form(_))));
        assert!(matches!(with(|m| m["name"] = json!("A b")), Err(ManifestError::Value { field: "name", .. })));
        assert!(matches!(with(|m| m["configSchema"] = json!("x")), Err(ManifestError::Value { .. })));
        let files = json!([{"name": "files", "reason": "x"}]);
        assert!(matches!(with(|m| m["capabilities"] = files), Err(ManifestError::Value { .. })));
        let nope = json!([{"name": "root", "reason": "x"}]);
        assert!(matches!(with(|m| m["capabilities"] = nope), Err(ManifestError::Form(_))));
        assert!(matches!(Manifest::parse(b"{"), Err(ManifestError::Form(_))));
    }
}
