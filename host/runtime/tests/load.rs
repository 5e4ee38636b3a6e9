//! What loads and what does not, and what a refusal says.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use basb_capabilities::Capability;
use basb_guest_build::{build_core, componentize};
use basb_runtime::{CacheFolder, InspectError, Kind, Runtime, inspect};
use common::{check, generous, guest, misbehave_grants, options, request, runtime};
use serde_json::{Value, json};

fn refusal(bytes: &[u8], kind: Kind, grants: Value) -> (String, String) {
    let error = runtime().load_blocking(bytes, request(kind, grants)).unwrap_err();
    (error.code().to_owned(), error.to_string())
}

#[test]
fn what_is_in_the_bytes_is_told_without_running_them() {
    let inspection = inspect(&guest("guest-misbehave")).unwrap();
    assert_eq!(inspection.kind, Some(Kind::Probe));
    assert_eq!(inspection.capabilities(), [Capability::Log, Capability::Http, Capability::Tcp, Capability::Exec]);
    let http = inspection.imports.iter().find(|import| import.name == "basb:host/http@0.1.0").unwrap();
    assert_eq!(http.functions, ["send", "send-many"]);
    assert_eq!(inspection.foreign().count(), 0);
    assert_eq!(inspection.manifest.unwrap().name, "misbehave");
    let pure = inspect(&guest("guest-pure-echo")).unwrap();
    assert_eq!(pure.capabilities(), []);
}

#[test]
fn everything_that_is_not_granted_is_listed_at_once() {
    let (code, text) = refusal(&guest("guest-misbehave"), Kind::Probe, json!({}));
    assert_eq!(code, "plugin/not-granted");
    for line in [
        "`http` (to be denied), `tcp` (to be denied), `exec` (to be denied)",
        "plugins:\n  guest:\n    grants:\n      http:\n        - target: service",
        "      tcp:\n        - target: service",
        "      exec:\n        - program: NAME",
    ] {
        assert!(text.contains(line), "{line}\n---\n{text}");
    }
    // One at a time.
    for missing in ["http", "tcp", "exec"] {
        let mut grants = misbehave_grants();
        grants.as_object_mut().unwrap().remove(missing);
        let (code, text) = refusal(&guest("guest-misbehave"), Kind::Probe, grants);
        assert_eq!(code, "plugin/not-granted");
        assert!(text.contains(&format!("it needs `{missing}` (")), "{text}");
    }
    let (code, text) = refusal(&guest("guest-wants-files"), Kind::Notifier, json!({}));
    assert!(
        code == "plugin/not-granted" && text.contains("`files` (writes a note)") && text.contains("access: read"),
        "{text}"
    );
}

#[test]
fn a_plugin_of_another_world_does_not_load() {
    let (code, text) = refusal(&guest("guest-pure-echo"), Kind::Provider, json!({}));
    assert_eq!(code, "plugin/wrong-world");
    for part in
        ["used as a provider", "basb:host/provider@0.1.0", "`basb:host/strategy@0.1.0`", "it can be used as a strategy"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    // The header of a component without anything in it.
    let (code, text) = refusal(b"\0asm\x0d\0\x01\0", Kind::Probe, json!({}));
    assert!(code == "plugin/wrong-world" && text.contains("it exports nothing"), "{text}");
}

#[test]
fn files_that_are_no_components_are_named() {
    let probe = guest("guest-misbehave");
    let core = build_core("guest-pure-echo").unwrap();
    let cases: [(&[u8], &str, &str); 6] = [
        (b"", "plugin/not-wasm", "not WebAssembly"),
        (b"#!/bin/sh\necho hello", "plugin/not-wasm", "#!/bin/sh"),
        (b"\0asm", "plugin/truncated", "cut off after 4 bytes"),
        (&probe[..probe.len() / 2], "plugin/truncated", "cut off after"),
        (&probe[..probe.len() - 1], "plugin/truncated", "cut off after"),
        (&core, "plugin/core-module", "wasm-tools component new"),
    ];
    for (bytes, expected, part) in cases {
        let (code, text) = refusal(bytes, Kind::Probe, json!({}));
        assert_eq!(code, expected, "{text}");
        assert!(text.contains(part) && !text.trim().contains('\n'), "{part}: {text}");
    }
}

#[test]
fn damage_is_found_and_never_a_panic() {
    let whole = guest("guest-pure-echo");
    let runtime = runtime();
    let mut loaded = 0;
    // A fixed sequence of places: a linear congruential generator.
    let mut place: usize = 12345;
    for _ in 0..150 {
        place = place.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut damaged = whole.to_vec();
        let at = (place >> 20) % damaged.len();
        damaged[at] ^= 1 << (place % 8);
        if runtime.load_blocking(&damaged, request(Kind::Strategy, json!({}))).is_ok() {
            loaded += 1;
        }
    }
    // Most bytes are code or text, where a flipped bit is another program.
    assert!(loaded < 150);
    // What is cut off exactly between two sections is a component still, but it lacks its exports, which come last but
    // for names and the like.
    let readable: Vec<_> = (0..whole.len()).step_by(5).filter_map(|length| inspect(&whole[..length]).ok()).collect();
    assert!(readable.len() < whole.len() / 500, "{}", readable.len());
    assert!(readable.iter().filter(|inspection| inspection.kind.is_some()).count() < 5);
}

#[test]
fn a_size_limit_comes_first() {
    let mut options = options();
    options.largest = 100;
    let error = Runtime::new(options)
        .unwrap()
        .load_blocking(&guest("guest-pure-echo"), request(Kind::Strategy, json!({})))
        .unwrap_err();
    assert_eq!(error.code(), "plugin/too-large");
}

/// The same module with another manifest: the section's bytes are exchanged in place. The last copy is the section's; the
/// compiler may keep another one among the constants.
fn with_manifest(package: &str, change: impl FnOnce(String) -> String) -> Vec<u8> {
    let core = build_core(package).unwrap();
    let at = memchr::memmem::rfind(&core, b"{\"manifestVersion\"").unwrap();
    let length = core[at..].windows(2).position(|pair| pair == b"}}").unwrap() + 2;
    let old = String::from_utf8(core[at..at + length].to_vec()).unwrap();
    let mut new = change(old);
    assert!(new.len() <= length, "the new manifest must fit: {new}");
    new.extend(std::iter::repeat_n(' ', length - new.len()));
    let mut changed = core.clone();
    changed[at..at + length].copy_from_slice(new.as_bytes());
    componentize(&changed).unwrap()
}

#[test]
fn the_manifest_binds() {
    let bytes = with_manifest("guest-wants-files", |m| m.replace(r#",{"name":"files","reason":"writes a note"}"#, ""));
    let grants = json!({
        "files": [{"folder": "v", "path": "v", "access": "read"}],
        "smtp": [{"server": "s", "host": "mail.invalid", "port": 25}]
    });
    let (code, text) = refusal(&bytes, Kind::Notifier, grants);
    assert!(code == "plugin/not-requested" && text.contains("`basb:host/files@0.1.0`"), "{text}");

    let bytes = with_manifest("guest-pure-echo", |m| m.replace("\"strategy\"", "\"judge\""));
    assert_eq!(refusal(&bytes, Kind::Strategy, json!({})).0, "plugin/manifest");

    let bytes = with_manifest("guest-pure-echo", |m| m.replace("\"0.1\"", "\"0.9\""));
    let (code, text) = refusal(&bytes, Kind::Strategy, json!({}));
    assert!(code == "plugin/manifest" && text.contains("built for basb:host 0.9"), "{text}");

    let bytes = with_manifest("guest-pure-echo", |m| m.replace("\"manifestVersion\":1", "\"manifestVersion\":2"));
    let (_, text) = refusal(&bytes, Kind::Strategy, json!({}));
    assert!(text.contains("a newer basb-host is needed"), "{text}");

    assert!(matches!(inspect(&with_manifest("guest-pure-echo", |_| "{".to_owned())), Err(InspectError::Manifest(_))));
}

#[tokio::test]
async fn a_cache_that_was_tampered_with_changes_nothing_but_the_time() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let cache = CacheFolder::open(folder.path().join("code")).unwrap();
        Runtime::new(options().with_cache(cache)).unwrap()
    };
    let load =
        |runtime: &Runtime| runtime.load_blocking(&guest("guest-misbehave"), request(Kind::Probe, misbehave_grants()));
    let first = load(&open()).unwrap();
    let entry = std::fs::read_dir(folder.path().join("code"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "cwasm"))
        .unwrap();
    let good = std::fs::read(&entry).unwrap();
    // From the cache nothing is decided anew that the operator has to decide.
    let denied = open().load_blocking(&guest("guest-misbehave"), request(Kind::Probe, json!({}))).unwrap_err();
    assert_eq!(denied.code(), "plugin/not-granted");
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 0xff;
    std::fs::write(&entry, bad).unwrap();
    let again = load(&open()).unwrap();
    assert_eq!(again.inspection(), first.inspection());
    assert_eq!(check(&again, "nothing", &generous(), "x").await.unwrap().value.summary, "nothing");
    assert_eq!(std::fs::read(&entry).unwrap().len(), good.len(), "the entry was made again");
}

/// `guest-pure-echo` with another memory section in its core module.
fn with_memory(pages: usize) -> Vec<u8> {
    let core = build_core("guest-pure-echo").unwrap();
    let section = wasmparser::Parser::new(0)
        .parse_all(&core)
        .find_map(|payload| match payload.unwrap() {
            wasmparser::Payload::MemorySection(memories) => Some(memories.range()),
            _ => None,
        })
        .unwrap();
    // One memory without a maximum; the number and the length of the section stand before it.
    let memory =
        [&[1, 0][..], &[(pages & 0x7f) as u8 | 0x80, (pages >> 7 & 0x7f) as u8 | 0x80, (pages >> 14) as u8]].concat();
    let before = core[..section.start - 2].iter().copied();
    let changed: Vec<u8> =
        before.chain([5, memory.len() as u8]).chain(memory).chain(core[section.end..].iter().copied()).collect();
    componentize(&changed).unwrap()
}

#[test]
fn what_asks_for_more_than_there_is_does_not_load() {
    let load = |pages| runtime().load_blocking(&with_memory(pages), request(Kind::Strategy, json!({})));
    load(1000).unwrap();
    for pages in [1025, 65_536] {
        let error = load(pages).unwrap_err();
        assert_eq!(error.code(), "plugin/demands", "{error}");
        assert!(error.to_string().contains("it asks for more than a plugin may have: memory"), "{error}");
    }
}
