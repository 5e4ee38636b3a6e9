//! A strategy that imports nothing: `next` gives back the state it was given. For tests and benchmarks.

#![expect(missing_docs, unsafe_code, reason = "generated bindings")]

wit_bindgen::generate!({ world: "strategy-plugin", path: "../../../wit/host/0.1.0" });

use basb::host::types::{Failure, Problem};
use exports::basb::host::strategy::{Action, Decision, Guest, Position, RolloutView, ServiceView, StepPreview};

const MANIFEST: &str = r#"{"manifestVersion":1,"name":"pure-echo","version":"0.1.0","kind":"strategy",
"publisher":"basb-host","wit":"0.1","capabilities":[],"configSchema":{"type":"object"}}"#;

#[used]
#[cfg_attr(target_family = "wasm", unsafe(link_section = "basb-host:manifest"))]
static SECTION: [u8; MANIFEST.len()] = *MANIFEST.as_bytes().first_chunk().unwrap();

struct Echo;

impl Guest for Echo {
    fn validate(_config: String, _service: ServiceView) -> Vec<Problem> {
        Vec::new()
    }

    fn preview(_config: String, _service: ServiceView) -> Result<Vec<StepPreview>, Failure> {
        Ok(Vec::new())
    }

    fn next(_config: String, view: RolloutView, state: Option<String>) -> Result<Decision, Failure> {
        let position = Position { step: 1, steps: 1, label: "echo".to_owned() };
        Ok(Decision { action: Action::SetWeight(view.candidate.weight), state: state.unwrap_or_default(), position })
    }
}

export!(Echo);
