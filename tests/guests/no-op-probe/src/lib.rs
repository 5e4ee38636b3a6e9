//! A probe that measures nothing and passes. For the benchmark of large deployments.

#![expect(missing_docs, unsafe_code, reason = "generated bindings")]

wit_bindgen::generate!({ world: "probe-plugin", path: "../../../wit/host/0.1.0" });

use basb::host::types::{CallContext, Verdict};
use exports::basb::host::probe::{Guest, Info, Measurement, Target};

const MANIFEST: &str = r#"{"manifestVersion":1,"name":"no-op-probe","version":"0.1.0","kind":"probe",
"publisher":"basb-host","wit":"0.1","capabilities":[],"configSchema":{"type":"object"}}"#;

#[used]
#[cfg_attr(target_family = "wasm", unsafe(link_section = "basb-host:manifest"))]
static SECTION: [u8; MANIFEST.len()] = *MANIFEST.as_bytes().first_chunk().unwrap();

struct NoOp;

impl Guest for NoOp {
    fn describe() -> Info {
        Info { values: Vec::new(), extras: Vec::new() }
    }

    fn check(_cx: CallContext, _target: Target) -> Measurement {
        let summary = "nothing was measured".to_owned();
        Measurement { verdict: Verdict::Pass, summary, values: Vec::new(), facts: Vec::new() }
    }
}

export!(NoOp);
