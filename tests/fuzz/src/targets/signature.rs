//! A signature file beside a plugin, and the key that a deployment file pins: the key on the first line, then the file.

use crate::Target;
use basb_core::PluginName;
use basb_inspect::Manifest;
use basb_registry::{Publishers, SignatureFile, verify};
use std::collections::BTreeMap;
use std::sync::LazyLock;

pub(crate) const TARGET: Target = Target {
    name: "signature",
    run,
    more: &[],
    words: &["untrusted comment: ", "trusted comment: ", "\n", "\r\n", "RW", "RUQ", "==", "A"],
};

/// What the signature in the corpus is of: `minisign -S -m FILE -t file:a.wasm`, by a key that was made for it and thrown away.
const SIGNED: &[u8] = b"the bytes of a plugin";
/// That key, and that signature.
const KEY: &str = include_str!("../../corpus/signature/genuine");

static MANIFEST: LazyLock<Manifest> = LazyLock::new(|| {
    let json = br#"{"manifestVersion":1,"name":"a","version":"1.0.0","kind":"probe","publisher":"acme","wit":"0.1",
        "capabilities":[],"configSchema":true}"#;
    Manifest::parse(json).expect("a manifest")
});

fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (key, file) = text.split_once('\n').unwrap_or((text, ""));
    let acme = PluginName::new("acme").expect("a name");
    let signature = SignatureFile::Text(file.to_owned());
    let (genuine_key, genuine) = KEY.split_once('\n').unwrap_or_default();
    // A key that can be read is read to the same again; whatever it is, only its own signature is accepted.
    for key in [key, genuine_key] {
        let Ok(publishers) = Publishers::parse(&BTreeMap::from([(acme.clone(), key.to_owned())])) else { continue };
        assert!(!publishers.is_empty());
        match verify(&publishers, Some(&acme), "a.wasm", SIGNED, &signature, Some(&MANIFEST)) {
            Ok(signed) => {
                assert!(signed.is_some_and(|signed| signed.key == key));
                assert_eq!(key, genuine_key, "a signature by a key that nobody has");
                // The first line is nobody's promise; the others are.
                let signed: Vec<&str> = genuine.lines().skip(1).collect();
                let found: Vec<&str> = file.lines().skip(1).filter(|line| !line.is_empty()).collect();
                assert_eq!(found, signed);
            }
            Err(error) => {
                let shown = error.to_string();
                assert!(error.code().contains('/') && !error.help().is_empty());
                assert!(!shown.chars().any(char::is_control), "{shown:?}");
            }
        }
        let other = verify(&publishers, Some(&acme), "a.wasm", b"other bytes", &signature, Some(&MANIFEST));
        assert!(other.is_err(), "other bytes with the same signature");
    }
}
