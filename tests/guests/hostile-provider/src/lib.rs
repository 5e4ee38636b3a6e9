//! A provider that keeps its cloud in a file, and lies about one of its services in the way that its configuration names:
//! `{"tricks": {"SERVICE": "TRICK"}}`. Without a trick it is honest, and what it was asked for can be read in the file.

#![expect(missing_docs, unsafe_code, reason = "generated bindings")]

wit_bindgen::generate!({ world: "provider-plugin", path: "../../../wit/host/0.1.0" });

use basb::host::files;
use basb::host::types::{CallContext, Failure, FailureCode, Retry, ServiceRef};
use exports::basb::host::provider::{
    Action, ActionKind, Change, Desired, Guest, Info, Instance, InstanceReport, Observed, ObservedRevision, Outcome,
    Pending, PlannedAction, Progress, ServicePlan,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const MANIFEST: &str = r#"{"manifestVersion":1,"name":"hostile-provider","version":"0.1.0","kind":"provider",
"publisher":"mallory","wit":"0.1","capabilities":[{"name":"files","reason":"its cloud is a file"}],
"configSchema":{"type":"object"}}"#;

#[used]
#[cfg_attr(target_family = "wasm", unsafe(link_section = "basb-host:manifest"))]
static SECTION: [u8; MANIFEST.len()] = *MANIFEST.as_bytes().first_chunk().unwrap();

/// Would be a line of its own, an event, and the end of what the terminal shows, if it were printed as it is.
const FORGED: &str = "fine\u{1b}[2J\u{1b}[H\r\nFORGED run finished: all promoted\n{\"version\":1,\"kind\":\"run.finished\",\"outcome\":\"done\"}\n\u{202e}\u{0}\u{7}";

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    tricks: BTreeMap<String, String>,
}

/// One service in this cloud.
#[derive(Default, Serialize, Deserialize)]
struct Cloud {
    revisions: BTreeMap<String, Revision>,
    /// Every change that was asked for.
    asked: Vec<String>,
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct Revision {
    desired: u32,
    weight: u16,
}

fn trick(cx: &CallContext, service: &ServiceRef) -> String {
    let config: Config = serde_json::from_str(&cx.config).unwrap_or_default();
    config.tricks.get(&service.service).cloned().unwrap_or_default()
}

fn failure(message: impl Into<String>, retry: Retry) -> Failure {
    Failure { code: FailureCode::Unavailable, message: message.into(), retry, path: None, extras: Vec::new() }
}

fn load(service: &ServiceRef) -> Result<Cloud, Failure> {
    match files::read("cloud", &format!("{}.json", service.service)) {
        Ok(file) => serde_json::from_slice(&file.contents).map_err(|e| failure(e.to_string(), Retry::Never)),
        Err(files::Error::NotFound(_)) => Ok(Cloud::default()),
        Err(error) => Err(failure(format!("{error:?}"), Retry::Never)),
    }
}

fn change(service: &ServiceRef, asked: String, change: impl FnOnce(&mut Cloud)) -> Progress {
    let changed = load(service).and_then(|mut cloud| {
        change(&mut cloud);
        cloud.asked.push(asked);
        // The latest are enough: the whole file is on the tape of every call.
        let old = cloud.asked.len().saturating_sub(20);
        cloud.asked.drain(..old);
        let text = serde_json::to_vec(&cloud).unwrap_or_default();
        files::write("cloud", &format!("{}.json", service.service), &text, &files::Expectation::Anything)
            .map_err(|error| failure(format!("{error:?}"), Retry::Never))
    });
    match changed {
        Ok(_) => Progress::Done(Outcome { summary: "done".to_owned(), outputs: Vec::new() }),
        Err(failure) => Progress::Failed(failure),
    }
}

fn observed(cloud: &Cloud) -> Observed {
    let revisions = cloud.revisions.iter().map(|(id, revision)| ObservedRevision {
        id: id.clone(),
        desired: revision.desired,
        available: revision.desired,
        weight: revision.weight,
        preview_url: Some("http://lab.example".to_owned()),
        workload_digest: None,
        extras: Vec::new(),
    });
    Observed {
        url: Some("http://lab.example".to_owned()),
        revisions: revisions.collect(),
        version: None,
        extras: Vec::new(),
    }
}

/// What a trick says instead of having changed something.
fn instead(trick: &str, state: Option<&str>) -> Option<Progress> {
    let running = |state: String, poll_after, note: &str| {
        Some(Progress::Running(Pending { state, poll_after, note: note.to_owned() }))
    };
    match trick {
        #[expect(clippy::infinite_loop, clippy::empty_loop, reason = "that is the trick")]
        "endless" => loop {},
        "running-for-ever" => running(format!("{}", state.map_or(0, str::len)), 0, "almost there"),
        "running-beyond-time" => running("x".to_owned(), u64::MAX, "much later"),
        "running-huge-state" => running("s".repeat(5 << 20), 10, "almost there"),
        "running-growing-state" => {
            running(format!("{}{}", state.unwrap_or_default(), "s".repeat(64 << 10)), 10, "on it")
        }
        "running-forged-note" => running(FORGED.repeat(1000), 100, &FORGED.repeat(10_000)),
        "failing-for-ever" => Some(Progress::Failed(failure("try again", Retry::After(0)))),
        "failing-beyond-time" => Some(Progress::Failed(failure("much later", Retry::After(u64::MAX)))),
        "failing-forged" => Some(Progress::Failed(failure(FORGED.repeat(50_000), Retry::Never))),
        "done-forged" => Some(Progress::Done(Outcome {
            summary: FORGED.repeat(10_000),
            outputs: vec![(FORGED.to_owned(), FORGED.repeat(1000)); 100],
        })),
        _ => None,
    }
}

/// What a trick says of what is there.
fn forged(trick: &str, mut observed: Observed) -> Observed {
    let ghost = |id: String, weight| ObservedRevision {
        id,
        desired: u32::MAX,
        available: u32::MAX,
        weight,
        preview_url: Some(FORGED.to_owned()),
        workload_digest: None,
        extras: Vec::new(),
    };
    match trick {
        "weights-beyond" => observed.revisions.iter_mut().for_each(|revision| revision.weight = u16::MAX),
        "weights-of-everybody" => observed.revisions.iter_mut().for_each(|revision| revision.weight = 10_000),
        "weights-never" => observed.revisions.iter_mut().for_each(|revision| revision.weight = 0),
        "revisions-forged" => {
            let ids = ["", "../../etc/passwd", "r1\nrun.finished", FORGED, "R1", "r 1", "--help", "\u{0}"];
            observed.revisions.extend(ids.into_iter().map(|id| ghost(id.to_owned(), 0)));
        }
        "revisions-with-traffic" => observed.revisions.push(ghost("r000000000bad".to_owned(), 10_000)),
        "revisions-without-end" => {
            observed.revisions.extend((0..20_000).map(|n| ghost(format!("r{n:012x}"), 0)));
        }
        "revisions-twice" => {
            let again = observed.revisions.clone();
            observed.revisions.extend(again.into_iter().map(|revision| ObservedRevision { weight: 1, ..revision }));
        }
        "url-of-metadata" => observed.url = Some("http://169.254.169.254/latest/meta-data".to_owned()),
        "url-forged" => observed.url = Some(FORGED.repeat(10_000)),
        "url-of-another-kind" => observed.url = Some("file:///etc/passwd".to_owned()),
        _ => {}
    }
    observed
}

struct HostileProvider;

impl Guest for HostileProvider {
    fn describe() -> Info {
        Info { abilities: vec!["split-traffic".to_owned()], weight_granularity: 1, extras: Vec::new() }
    }

    fn plan(cx: CallContext, desired: Desired) -> Result<ServicePlan, Failure> {
        let there = load(&desired.service)?;
        let mut actions = Vec::new();
        if trick(&cx, &desired.service) == "plan-forged" {
            let change =
                Change { path: FORGED.to_owned(), before: Some(FORGED.repeat(100)), after: Some(FORGED.repeat(100)) };
            let action = PlannedAction {
                kind: ActionKind::Replace,
                summary: FORGED.repeat(100),
                changes: vec![change; 10],
                irreversible: Some(FORGED.to_owned()),
            };
            actions = vec![action; 30];
        }
        Ok(ServicePlan { observed: Some(observed(&there)), actions })
    }

    fn apply(cx: CallContext, _: String, action: Action, state: Option<String>) -> Progress {
        let (service, revision, replicas) = match action {
            Action::Deploy(desired) => (desired.service, desired.revision, desired.replicas),
            Action::Scale(scaling) => (scaling.service, scaling.revision, scaling.replicas),
        };
        if let Some(told) = instead(&trick(&cx, &service), state.as_deref()) {
            return told;
        }
        change(&service, format!("scale {revision} to {replicas}"), |cloud| {
            cloud.revisions.entry(revision).or_default().desired = replicas;
        })
    }

    fn read(cx: CallContext, service: ServiceRef) -> Result<Option<Observed>, Failure> {
        let trick = trick(&cx, &service);
        let there = load(&service)?;
        match trick.as_str() {
            "reading-fails" => Err(failure(FORGED.repeat(1000), Retry::After(0))),
            "reading-nothing" => Ok(None),
            _ => Ok(Some(forged(&trick, observed(&there)))),
        }
    }

    fn traffic(
        _: CallContext,
        _: String,
        service: ServiceRef,
        weights: Vec<(String, u16)>,
        _: Option<String>,
    ) -> Progress {
        change(&service, format!("traffic {weights:?}"), |cloud| {
            for (id, revision) in &mut cloud.revisions {
                revision.weight = weights.iter().find(|(named, _)| named == id).map_or(0, |(_, weight)| *weight);
            }
        })
    }

    fn instances(cx: CallContext, service: ServiceRef, revision: String) -> Result<InstanceReport, Failure> {
        let there = load(&service)?;
        let desired = there.revisions.get(&revision).map_or(0, |revision| revision.desired);
        let mut report = InstanceReport {
            desired,
            available: desired,
            hopeless: false,
            instances: Vec::new(),
            preview_url: Some("http://lab.example".to_owned()),
        };
        match trick(&cx, &service).as_str() {
            "instances-beyond" => report.available = u32::MAX,
            "instances-forged" => {
                report.available = 0;
                report.instances = (0..10_000)
                    .map(|n| Instance {
                        id: format!("{n}{FORGED}"),
                        state: FORGED.to_owned(),
                        available: false,
                        restarts: u32::MAX,
                        message: Some(format!("{n}{FORGED}")),
                    })
                    .collect();
            }
            "preview-of-metadata" => report.preview_url = Some("http://[fd00:ec2::254]/".to_owned()),
            _ => {}
        }
        Ok(report)
    }

    fn retire(_: CallContext, _: String, service: ServiceRef, revision: String, _: Option<String>) -> Progress {
        change(&service, format!("retire {revision}"), |cloud| {
            cloud.revisions.remove(&revision);
        })
    }

    fn cancel(_: CallContext, _: String, _: String) -> Progress {
        Progress::Done(Outcome { summary: "cancelled".to_owned(), outputs: Vec::new() })
    }
}

export!(HostileProvider);
