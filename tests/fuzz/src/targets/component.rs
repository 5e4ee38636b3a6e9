//! The bytes of a file that claims to be a plugin.

use crate::Target;
use basb_capabilities::Capability;
use basb_inspect::{FileKind, InspectError, inspect};

pub(crate) const TARGET: Target = Target {
    name: "component",
    run,
    more: &[],
    words: &[
        "basb:host/http@0.1.0",
        "basb:host/log@0.1.0",
        "basb:host/probe@0.1.0",
        "wasi:http/outgoing-handler@0.2.0",
        "send",
        "basb-host:manifest",
        "\0asm\r\0\x01\0",
        "\0asm\x01\0\0\0",
    ],
};

fn run(input: &[u8]) {
    match inspect(input) {
        Ok(inspection) => {
            assert_eq!(FileKind::of(input), FileKind::Component);
            assert_eq!(inspection.size, input.len() as u64);
            let names = inspection.imports.iter().map(|import| &import.name).chain(&inspection.exports);
            for name in names {
                assert!(!name.chars().any(char::is_control), "{name:?}");
            }
            // Every capability comes from an import, and every import that reaches something is a capability or foreign.
            for capability in inspection.capabilities() {
                assert!(inspection.imports.iter().any(|import| import.capability() == Some(capability)));
            }
            for import in &inspection.imports {
                if import.name.starts_with("basb:host/http@0.1") && !import.functions.is_empty() {
                    let seen = inspection.capabilities().contains(&Capability::Http);
                    assert!(seen || inspection.foreign().any(|foreign| foreign == import), "{import:?}");
                }
            }
            let json = serde_json::to_string(&inspection).expect("an inspection can be written");
            let again = serde_json::from_str::<basb_inspect::Inspection>(&json).expect("what was written can be read");
            assert_eq!(again, inspection);
        }
        Err(error) => {
            let shown = error.to_string();
            assert!(!shown.chars().any(char::is_control) && shown.len() < 2000, "{shown:?}");
            assert!(error.code().starts_with("plugin/"));
            assert_eq!(matches!(error, InspectError::CoreModule), FileKind::of(input) == FileKind::CoreModule);
        }
    }
}
