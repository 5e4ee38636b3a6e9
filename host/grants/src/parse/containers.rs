//! Reads what is granted of a container engine.

use super::{Reader, kind, pointer};
use crate::{Access, BindGrant, ContainersGrant, Privilege, TextPattern};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

const KEYS: [&str; 7] = ["names", "images", "allow", "binds", "volumes", "capabilities", "devices"];

impl Reader {
    /// The value of `containers`.
    pub(super) fn containers(&mut self, at: &str, value: &Value) -> Option<ContainersGrant> {
        let Value::Object(map) = value else {
            let help = "write `containers: { names: [brain-*], images: [brain:*] }`";
            self.wrong(at, format!("`containers` is {}", kind(value)), help);
            return None;
        };
        self.only(at, map, &KEYS);
        let names = self.patterns(at, map, "names", "[brain-*]");
        let images = self.patterns(at, map, "images", "[\"brain:*\"]");
        let mut allow = BTreeSet::new();
        for (at, text) in self.texts(at, map, "allow").unwrap_or_default() {
            match Privilege::ALL.into_iter().find(|privilege| privilege.as_str() == text) {
                Some(privilege) => drop(allow.insert(privilege)),
                None => {
                    let known = Privilege::ALL.map(|privilege| format!("`{}`", privilege.as_str())).join(", ");
                    self.wrong(
                        &at,
                        format!("`{text}` is not what a container can be allowed"),
                        &format!("known: {known}"),
                    );
                }
            }
        }
        let binds = match map.get("binds") {
            None => Vec::new(),
            Some(list) => self.list(&pointer(at, "binds"), list, Self::bind),
        };
        let mut volumes = BTreeSet::new();
        for (at, text) in self.texts(at, map, "volumes").unwrap_or_default() {
            // A path here would be a mount of that path.
            let name = text.starts_with(|c: char| c.is_ascii_alphanumeric())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
            if name {
                volumes.insert(text.to_owned());
            } else {
                self.wrong(&at, format!("`{text}` is not the name of a volume"), "a path goes below `binds`");
            }
        }
        let mut capabilities = BTreeSet::new();
        for (at, text) in self.texts(at, map, "capabilities").unwrap_or_default() {
            let name = text.strip_prefix("CAP_").unwrap_or(text);
            let word = !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
            if word && name != "ALL" {
                capabilities.insert(name.to_owned());
            } else {
                let help = "name each one, such as `NET_BIND_SERVICE`; all of them are `allow: [privileged]`";
                self.wrong(&at, format!("`{text}` is not a capability of Linux"), help);
            }
        }
        let mut devices = BTreeSet::new();
        for (at, text) in self.texts(at, map, "devices").unwrap_or_default() {
            if is_plain_path(text) {
                devices.insert(text.to_owned());
            } else {
                self.wrong(&at, format!("`{text}` is not an absolute path"), "write it as `/dev/fuse`, without `..`");
            }
        }
        Some(ContainersGrant { names: names?, images: images?, allow, binds, volumes, capabilities, devices })
    }

    /// A list of patterns that must be there and hold something.
    fn patterns(&mut self, at: &str, map: &Map<String, Value>, key: &str, example: &str) -> Option<Vec<TextPattern>> {
        if !map.contains_key(key) {
            self.wrong(at, format!("`{key}` is missing"), &format!("add `{key}: {example}`"));
            return None;
        }
        let list = self.texts(at, map, key)?;
        if list.is_empty() {
            self.wrong(&pointer(at, key), format!("`{key}` is empty"), &format!("write `{key}: {example}`"));
        }
        let mut patterns = Vec::new();
        for (at, text) in list {
            patterns.extend(self.pattern(&at, TextPattern::parse(text)));
        }
        Some(patterns)
    }

    fn bind(&mut self, at: &str, map: &Map<String, Value>) -> Option<BindGrant> {
        self.only(at, map, &["path", "access"]);
        let path = self.required(at, map, "path", "/srv/vault");
        if path.is_some_and(|path| !is_plain_path(path)) {
            let help = "write the whole path, such as `/srv/vault`, without `..` and without a `/` at its end";
            self.wrong(&pointer(at, "path"), "the path is not absolute and plain".to_owned(), help);
        }
        if !map.contains_key("access") {
            self.wrong(at, "`access` is missing".to_owned(), "add `access: read` or `access: read-write`");
        }
        let access = self.word(at, map, "access", &[("read", Access::Read), ("read-write", Access::ReadWrite)]);
        Some(BindGrant { path: path?.to_owned(), access: access? })
    }
}

/// Whether a path is absolute and has one spelling only.
pub(super) fn is_plain_path(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return false };
    path == "/" || rest.split('/').all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0'))
}
