//! A manifest: alone, and as the section of a component.

use crate::Target;
use basb_inspect::{Manifest, ManifestError, inspect};

pub(crate) const TARGET: Target = Target {
    name: "manifest",
    run,
    more: &[],
    words: &[
        "\"manifestVersion\"",
        "\"name\"",
        "\"version\"",
        "\"kind\"",
        "\"publisher\"",
        "\"wit\"",
        "\"capabilities\"",
        "\"reason\"",
        "\"configSchema\"",
        "\"provider\"",
        "\"strategy\"",
        "\"probe\"",
        "\"notifier\"",
        "\"generator\"",
        "\"http\"",
        "\"exec\"",
        "\"smtp\"",
        "\"files\"",
        "\"1.2.3-rc.1+b\"",
        "\"0.1\"",
        "\"0.1.9\"",
        "true",
        "null",
        "2",
        "\\u001b",
        "\u{202e}",
    ],
};

/// The custom section that holds it.
const SECTION: &str = basb_inspect::manifest::SECTION;

fn run(input: &[u8]) {
    let alone = Manifest::parse(input);
    if let Ok(manifest) = &alone {
        let json = serde_json::to_vec(manifest).expect("a manifest can be written");
        assert_eq!(Manifest::parse(&json).as_ref(), Ok(manifest));
        assert_eq!(manifest.manifest_version, 1);
        assert!(manifest.wit.starts_with("0.1"));
        assert!(!manifest.name.is_empty() && manifest.name.len() <= 63);
        let ceiling = manifest.kind.may_import();
        for (index, requested) in manifest.capabilities.iter().enumerate() {
            assert!(ceiling.contains(&requested.name), "{requested:?}");
            assert!(manifest.requests(requested.name));
            assert!(!manifest.capabilities[..index].iter().any(|other| other.name == requested.name));
        }
        let texts = manifest.capabilities.iter().map(|requested| &requested.reason).chain([&manifest.publisher]);
        for text in texts {
            assert!(!text.is_empty() && !text.chars().any(char::is_control), "{text:?}");
        }
    } else if let Err(error) = &alone {
        let shown = error.to_string();
        assert!(!shown.chars().any(char::is_control) && shown.len() < 1000, "{shown:?}");
    }
    // In a component it says the same, once or several times.
    for times in [1, 2] {
        match (inspect(&component(input, times)), &alone) {
            (Ok(inspection), Ok(manifest)) => {
                assert_eq!(inspection.manifest.as_ref(), Some(manifest));
                assert!(inspection.imports.is_empty() && inspection.exports.is_empty());
            }
            (Err(basb_inspect::InspectError::Manifest(in_file)), Err(alone)) => assert_eq!(&in_file, alone),
            (in_file, alone) => panic!("{in_file:?} {alone:?}"),
        }
    }
    let mut two = component(input, 1);
    two.extend(section(b"{}"));
    if input != b"{}" {
        let several = inspect(&two);
        assert!(
            matches!(several, Err(basb_inspect::InspectError::Manifest(ManifestError::Several(2)))),
            "two that differ are none: {several:?}"
        );
    }
}

/// An empty component with the section so many times.
fn component(manifest: &[u8], times: usize) -> Vec<u8> {
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    for _ in 0..times {
        bytes.extend(section(manifest));
    }
    bytes
}

fn section(data: &[u8]) -> Vec<u8> {
    let mut content = leb128(SECTION.len());
    content.extend_from_slice(SECTION.as_bytes());
    content.extend_from_slice(data);
    let mut section = vec![0];
    section.extend(leb128(content.len()));
    section.extend(content);
    section
}

fn leb128(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}
