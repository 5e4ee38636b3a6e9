//! The plugins of a deployment, from files.

use super::{manifest, name};
use crate::{Refusal, resolve};
use basb_core::Digest;
use basb_core::model::Deployment;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::path::Path;

/// A component that imports and exports nothing, with a manifest.
fn component(manifest: &Value) -> Vec<u8> {
    let mut bytes = wat::parse_str("(component)").unwrap();
    let (section, content) = ("basb-host:manifest", manifest.to_string());
    let mut payload = vec![u8::try_from(section.len()).unwrap()];
    payload.extend_from_slice(section.as_bytes());
    payload.extend_from_slice(content.as_bytes());
    // A custom section: id 0, its size in LEB128, its name, its content.
    bytes.push(0);
    let mut size = payload.len();
    while size >= 0x80 {
        bytes.push(u8::try_from(size & 0x7f).unwrap() | 0x80);
        size >>= 7;
    }
    bytes.push(u8::try_from(size).unwrap());
    bytes.extend_from_slice(&payload);
    bytes
}

fn deployment(plugins: Value, publishers: Value) -> Deployment {
    serde_json::from_value(json!({
        "name": "d", "environment": "e", "provider": {"plugin": "a", "config": null}, "services": {}, "strategies": {},
        "probes": {}, "analyses": {}, "notifiers": {}, "plugins": plugins, "publishers": publishers,
    }))
    .unwrap()
}

fn from_disk(base: &Path) -> impl Fn(&str) -> Result<Cow<'static, [u8]>, Refusal> {
    let base = base.to_owned();
    move |source| {
        std::fs::read(base.join(source)).map(Cow::Owned).map_err(|e| Refusal {
            pointer: String::new(),
            code: "plugin/unreadable".to_owned(),
            message: e.to_string(),
            help: String::new(),
        })
    }
}

#[test]
fn what_was_checked_is_what_is_returned() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = component(&manifest());
    std::fs::write(folder.path().join("a.wasm"), &bytes).unwrap();
    let path = folder.path().join("a.wasm").display().to_string();
    let plugins = json!({"a": {"source": path, "grants": {"http": [{"host": "a.example"}]}}});
    let resolved = resolve(&deployment(plugins, json!({})), folder.path(), from_disk(folder.path())).unwrap();
    let found = &resolved.plugins[&name("a")];
    assert_eq!(found.bytes.as_ref(), bytes);
    assert_eq!(found.entry.digest, Digest::of(&bytes));
    assert_eq!(found.entry.source, "a.wasm", "the same in every checkout");
    assert_eq!(found.entry.granted.len(), 1);
    assert_eq!(resolved.locked().scope.to_string(), "d/e");
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("unsigned.wasm"), component(&manifest())).unwrap();
    std::fs::write(folder.path().join("bare.wasm"), wat::parse_str("(component)").unwrap()).unwrap();
    std::fs::write(folder.path().join("text.wasm"), "hello").unwrap();
    let plugins = json!({
        "a": {"source": "gone.wasm", "grants": {}},
        "b": {"source": "bare.wasm", "grants": {}},
        "c": {"source": "text.wasm", "grants": {}},
        "d": {"source": "unsigned.wasm", "grants": {"nope": []}},
    });
    let told = |plugins: &Value, publishers: Value| -> Vec<(String, String)> {
        let all = resolve(&deployment(plugins.clone(), publishers), folder.path(), from_disk(folder.path()));
        all.unwrap_err().into_iter().map(|refusal| (refusal.pointer, refusal.code)).collect()
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(
        told(&plugins, json!({})),
        [
            pair("/plugins/a/source", "plugin/unreadable"),
            pair("/plugins/b", "plugin/no-manifest"),
            pair("/plugins/c", "plugin/not-wasm"),
            pair("/plugins/d/grants/nope", "plugin/bad-grant"),
        ]
    );
    let key = minisign::KeyPair::generate_unencrypted_keypair().unwrap().pk.to_base64();
    let one = json!({"d": {"source": "unsigned.wasm", "grants": {}}});
    assert_eq!(told(&one, json!({"acme": key})), [pair("/plugins/d", "signature/no-publisher")]);
    let one = json!({"d": {"source": "unsigned.wasm", "grants": {}, "publisher": "acme"}});
    assert_eq!(told(&one, json!({"acme": key})), [pair("/plugins/d", "signature/missing")]);
    assert_eq!(told(&one, json!({"acme": "nonsense"})), [pair("/publishers/acme", "signature/bad-key")]);
    assert_eq!(told(&one, json!({})), [pair("/plugins/d", "signature/unknown-publisher")]);
}
