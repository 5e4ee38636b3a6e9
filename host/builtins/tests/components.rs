//! What the embedded components are: their imports, exports, manifests and sizes.
#![expect(clippy::unwrap_used, reason = "helpers of tests stop them")]

use std::collections::BTreeSet;

use serde_json::Value;
use sha2::{Digest, Sha256};
use wasmparser::{ComponentExternalKind, Parser, Payload, Validator, WasmFeatures};

struct Component {
    imports: BTreeSet<String>,
    exports: BTreeSet<String>,
    manifest: Value,
}

fn read(name: &str, bytes: &[u8]) -> Component {
    Validator::new_with_features(WasmFeatures::default()).validate_all(bytes).unwrap();
    let (mut imports, mut exports, mut manifests) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.unwrap() {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) if depth > 0 => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 0 => {
                imports.extend(section.into_iter().map(|import| import.unwrap().name.name.to_owned()));
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    let export = export.unwrap();
                    assert_eq!(export.kind, ComponentExternalKind::Instance, "{name}");
                    exports.insert(export.name.name.to_owned());
                }
            }
            Payload::CustomSection(section) if section.name() == "basb-host:manifest" => {
                manifests.push(serde_json::from_slice(section.data()).unwrap());
            }
            _ => {}
        }
    }
    assert_eq!(manifests.len(), 1, "{name}: one manifest");
    Component { imports, exports, manifest: manifests.remove(0) }
}

/// `basb:host/http@0.1.0` is `http`.
fn interface(import: &str) -> Option<&str> {
    import.strip_prefix("basb:host/")?.strip_suffix("@0.1.0")
}

#[test]
fn a_plugin_imports_nothing_but_what_its_world_and_its_manifest_say() {
    let mut total = 0;
    for builtin in basb_builtins::all() {
        let component = read(builtin.name, builtin.bytes);
        total += builtin.bytes.len();
        println!("{:24} {:>7} bytes, imports {:?}", builtin.name, builtin.bytes.len(), component.imports);

        let kind = component.manifest["kind"].as_str().unwrap();
        let exported = format!("basb:host/{kind}@0.1.0");
        assert!(component.exports.contains(&exported), "{}: {:?}", builtin.name, component.exports);
        let doors: &[&str] = match kind {
            "provider" => &["log", "http", "exec", "files"],
            "probe" => &["log", "http", "tcp", "exec"],
            "notifier" => &["log", "http", "smtp", "files"],
            _ => {
                assert_eq!(component.imports, BTreeSet::new(), "{}: a pure plugin", builtin.name);
                continue;
            }
        };
        let asked: Vec<_> = component.manifest["capabilities"]
            .as_array()
            .unwrap()
            .iter()
            .map(|capability| capability["name"].as_str().unwrap())
            .collect();
        for import in &component.imports {
            let door = interface(import).unwrap_or_else(|| panic!("{} imports {import}", builtin.name));
            // `types` has no functions, and `log` is granted to everybody.
            if door != "types" {
                assert!(doors.contains(&door), "{} imports {import}, which is not of its world", builtin.name);
                assert!(door == "log" || asked.contains(&door), "{}: {door} is not in plugin.json", builtin.name);
            }
        }
        for door in asked {
            let import = format!("basb:host/{door}@0.1.0");
            assert!(component.imports.contains(&import), "{}: asks for {door} and never uses it", builtin.name);
        }
    }
    println!("{:24} {total:>7} bytes", "all");
}

/// The largest that a provider may be, in bytes.
const MOST: usize = 1_000_000;

#[test]
fn a_provider_reaches_nothing_but_http_and_is_small() {
    let providers = basb_builtins::all().iter().filter(|builtin| builtin.name.starts_with("provider-"));
    for builtin in providers {
        let component = read(builtin.name, builtin.bytes);
        let doors: BTreeSet<&str> = component.imports.iter().filter_map(|import| interface(import)).collect();
        assert!(doors.is_subset(&BTreeSet::from(["http", "log", "types"])), "{}: {doors:?}", builtin.name);
        assert!(builtin.bytes.len() < MOST, "{} has {} bytes", builtin.name, builtin.bytes.len());
    }
}

#[test]
fn a_manifest_is_about_its_plugin() {
    for builtin in basb_builtins::all() {
        let manifest = read(builtin.name, builtin.bytes).manifest;
        assert_eq!(manifest["name"], builtin.name);
        assert_eq!(manifest["version"], env!("CARGO_PKG_VERSION"), "{}", builtin.name);
        assert_eq!(manifest["manifestVersion"], 1, "{}", builtin.name);
        assert_eq!(manifest["configSchema"]["additionalProperties"], false, "{}", builtin.name);
        let kind = builtin.name.split('-').next().unwrap();
        assert_eq!(manifest["kind"], kind, "{}", builtin.name);
    }
}

#[test]
fn the_digest_is_of_the_bytes() {
    for builtin in basb_builtins::all() {
        let digest: String = Sha256::digest(builtin.bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(builtin.digest, format!("sha256:{digest}"));
    }
}

#[test]
fn the_panic_marker_is_only_where_a_panic_wrote_it() {
    for builtin in basb_builtins::all() {
        let marker = b"BASB-PANIC/1";
        assert!(!builtin.bytes.windows(marker.len()).any(|window| window == marker), "{}", builtin.name);
    }
}

#[test]
fn no_path_of_the_building_machine_is_in_a_plugin() {
    let root = env!("CARGO_MANIFEST_DIR").strip_suffix("/host/builtins").unwrap();
    for builtin in basb_builtins::all() {
        for part in [root, "/.cargo/registry", "/rustlib/src"] {
            let found = builtin.bytes.windows(part.len()).any(|window| window == part.as_bytes());
            assert!(!found || part == "/rustlib/src", "{} holds {part}", builtin.name);
        }
    }
}

#[test]
fn plugins_are_found_by_name() {
    for name in ["provider-local", "strategy-canary", "strategy-blue-green", "strategy-rolling"] {
        assert_eq!(basb_builtins::find(name).map(|builtin| builtin.name), Some(name));
    }
    assert_eq!(basb_builtins::find("strategy-none"), None);
    assert!(basb_builtins::all().is_sorted_by_key(|builtin| builtin.name));
}
