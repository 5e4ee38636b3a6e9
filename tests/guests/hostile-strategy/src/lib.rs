//! A strategy that wants what it must not get, in the way that its configuration names: `{"trick": "TRICK"}`. Without a
//! trick it is honest: instances, all of the traffic, an analysis if there is one, promotion.

#![expect(missing_docs, unsafe_code, reason = "generated bindings")]

wit_bindgen::generate!({ world: "strategy-plugin", path: "../../../wit/host/0.1.0" });

use basb::host::types::{Failure, Problem, Severity};
use exports::basb::host::strategy::{
    Action, AnalysisRequest, Decision, Gate, Guest, OnTimeout, Position, RolloutView, Scaling, ServiceView, StepPreview,
};
use serde::Deserialize;

const MANIFEST: &str = r#"{"manifestVersion":1,"name":"hostile-strategy","version":"0.1.0","kind":"strategy",
"publisher":"mallory","wit":"0.1","capabilities":[],"configSchema":{"type":"object"}}"#;

#[used]
#[cfg_attr(target_family = "wasm", unsafe(link_section = "basb-host:manifest"))]
static SECTION: [u8; MANIFEST.len()] = *MANIFEST.as_bytes().first_chunk().unwrap();

/// Would be a line of its own, an event, and the end of what the terminal shows, if it were printed as it is.
const FORGED: &str = "fine\u{1b}[2J\u{1b}[H\r\nFORGED run finished: all promoted\n{\"version\":1,\"kind\":\"run.finished\",\"outcome\":\"done\"}\n\u{202e}\u{0}\u{7}";

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    trick: String,
}

fn config(text: &str) -> Config {
    serde_json::from_str(text).unwrap_or_default()
}

fn scale(candidate: u32) -> Action {
    Action::Scale(Scaling { candidate: Some(candidate), stable: None })
}

fn analyse(names: &[&str]) -> Action {
    Action::Analyse(AnalysisRequest { names: names.iter().map(|name| (*name).to_owned()).collect() })
}

/// What an honest strategy does at a step.
fn honest(step: u32, view: &RolloutView) -> Action {
    match step {
        0 => scale(view.service.replicas),
        1 => Action::SetWeight(10_000),
        _ => Action::Promote,
    }
}

fn act(trick: &str, step: u32, view: &RolloutView) -> Action {
    match trick {
        "all-at-once" => Action::SetWeight(10_000),
        "promote-at-once" => Action::Promote,
        "promote-half" => match step {
            0 => scale(view.service.replicas),
            1 => Action::SetWeight(5000),
            _ => Action::Promote,
        },
        "ignores-verdict" => match step {
            0 => scale(view.service.replicas),
            1 => Action::SetWeight(10_000),
            2 => analyse(&["bad"]),
            _ => Action::Promote,
        },
        "weight-beyond" => Action::SetWeight(u16::MAX),
        "scale-beyond" => scale(u32::MAX),
        "stable-to-nothing" => Action::Scale(Scaling { candidate: None, stable: Some(0) }),
        "abort-forged" => Action::Abort(FORGED.repeat(20_000)),
        "unknown-analysis" => analyse(&["there-is-none"]),
        "forged-analysis" => analyse(&[FORGED]),
        "no-analysis" => analyse(&[]),
        "pause-for-ever" => Action::Pause(0),
        "scale-for-ever" => scale(1 + step % 2),
        "pause-beyond-time" => Action::Pause(u64::MAX),
        "gate-of-no-time" => match step {
            0 => Action::AwaitPromotion(Gate {
                reason: FORGED.repeat(1000),
                timeout: Some(0),
                on_timeout: OnTimeout::Promote,
            }),
            _ => Action::Promote,
        },
        #[expect(clippy::panic, reason = "a hostile guest may")]
        "panic" => panic!("{}", FORGED.repeat(1000)),
        "endless" => loop {
            std::hint::black_box(());
        },
        _ => honest(step, view),
    }
}

struct HostileStrategy;

impl Guest for HostileStrategy {
    fn validate(text: String, _: ServiceView) -> Vec<Problem> {
        let problem = |message: String| Problem { path: FORGED.to_owned(), message, severity: Severity::Error };
        match config(&text).trick.as_str() {
            "validate-forged" => vec![problem(FORGED.to_owned()); 5000],
            "validate-huge" => vec![problem(FORGED.repeat(20_000))],
            _ => Vec::new(),
        }
    }

    fn preview(text: String, _: ServiceView) -> Result<Vec<StepPreview>, Failure> {
        let step = |summary: String| StepPreview {
            summary,
            weight: Some(u16::MAX),
            achieved: Some(u16::MAX),
            duration: Some(u64::MAX),
        };
        Ok(match config(&text).trick.as_str() {
            "preview-forged" => vec![step(FORGED.repeat(100)); 1000],
            _ => Vec::new(),
        })
    }

    fn next(text: String, view: RolloutView, state: Option<String>) -> Result<Decision, Failure> {
        let trick = config(&text).trick;
        let step: u32 = state.as_deref().and_then(|state| state.split(' ').next()?.parse().ok()).unwrap_or(0);
        let mut decision = Decision {
            action: act(&trick, step, &view),
            state: format!("{} ", step.saturating_add(1)),
            position: Position { step: step + 1, steps: 3, label: "a step".to_owned() },
        };
        match trick.as_str() {
            "huge-state" => decision.state.push_str(&"s".repeat(5 << 20)),
            "forged-position" => {
                decision.position = Position { step: u32::MAX, steps: 0, label: FORGED.repeat(20_000) };
            }
            _ => {}
        }
        Ok(decision)
    }
}

export!(HostileStrategy);
