//! A provider that does nothing. What was asked of it is all that there is: it hands that to the host to be remembered,
//! and reads it from there, as Terraform's `terraform_data` lives in Terraform's state and nowhere else. For the
//! benchmark of large deployments.

#![expect(missing_docs, unsafe_code, reason = "generated bindings")]

wit_bindgen::generate!({ world: "provider-plugin", path: "../../../wit/host/0.1.0" });

use basb::host::types::{CallContext, Failure, ServiceRef};
use exports::basb::host::provider::{
    Action, Desired, Guest, Info, InstanceReport, Observed, ObservedRevision, Outcome, Progress, ServicePlan,
};

const MANIFEST: &str = r#"{"manifestVersion":1,"name":"no-op-provider","version":"0.1.0","kind":"provider",
"publisher":"basb-host","wit":"0.1","capabilities":[],"configSchema":{"type":"object"}}"#;

#[used]
#[cfg_attr(target_family = "wasm", unsafe(link_section = "basb-host:manifest"))]
static SECTION: [u8; MANIFEST.len()] = *MANIFEST.as_bytes().first_chunk().unwrap();

/// A revision as it is remembered: `ID REPLICAS WEIGHT`.
struct Revision {
    id: String,
    replicas: u32,
    weight: u16,
}

fn remembered(cx: &CallContext) -> Vec<Revision> {
    let text = cx.extras.iter().find(|(name, _)| name == "memory").map_or("", |(_, text)| text);
    let revision = |line: &str| {
        let mut parts = line.split(' ');
        Some(Revision {
            id: parts.next()?.to_owned(),
            replicas: parts.next()?.parse().ok()?,
            weight: parts.next()?.parse().ok()?,
        })
    };
    text.lines().filter_map(revision).collect()
}

fn done(revisions: &[Revision]) -> Progress {
    let lines: Vec<String> = revisions.iter().map(|r| format!("{} {} {}", r.id, r.replicas, r.weight)).collect();
    let outputs = vec![("memory".to_owned(), lines.join("\n"))];
    Progress::Done(Outcome { summary: "nothing done".to_owned(), outputs })
}

fn scale(revisions: &mut Vec<Revision>, id: String, replicas: u32) {
    match revisions.iter_mut().find(|r| r.id == id) {
        Some(revision) => revision.replicas = replicas,
        None => revisions.push(Revision { id, replicas, weight: 0 }),
    }
}

struct NoOp;

impl Guest for NoOp {
    fn describe() -> Info {
        Info { abilities: vec!["split-traffic".to_owned()], weight_granularity: 1, extras: Vec::new() }
    }

    fn plan(_cx: CallContext, _desired: Desired) -> Result<ServicePlan, Failure> {
        Ok(ServicePlan { observed: None, actions: Vec::new() })
    }

    fn apply(cx: CallContext, _key: String, action: Action, _state: Option<String>) -> Progress {
        let mut revisions = remembered(&cx);
        match action {
            Action::Deploy(desired) => scale(&mut revisions, desired.revision, desired.replicas),
            Action::Scale(scaling) => scale(&mut revisions, scaling.revision, scaling.replicas),
        }
        done(&revisions)
    }

    fn read(cx: CallContext, _service: ServiceRef) -> Result<Option<Observed>, Failure> {
        let revision = |r: Revision| ObservedRevision {
            id: r.id,
            desired: r.replicas,
            available: r.replicas,
            weight: r.weight,
            preview_url: None,
            workload_digest: None,
            extras: Vec::new(),
        };
        let revisions: Vec<ObservedRevision> = remembered(&cx).into_iter().map(revision).collect();
        let url = Some("http://service.example".to_owned());
        Ok((!revisions.is_empty()).then_some(Observed { url, revisions, version: None, extras: Vec::new() }))
    }

    fn traffic(
        cx: CallContext,
        _key: String,
        _service: ServiceRef,
        weights: Vec<(String, u16)>,
        _state: Option<String>,
    ) -> Progress {
        let mut revisions = remembered(&cx);
        for revision in &mut revisions {
            revision.weight = weights.iter().find(|(id, _)| *id == revision.id).map_or(0, |(_, weight)| *weight);
        }
        done(&revisions)
    }

    fn instances(cx: CallContext, _service: ServiceRef, revision: String) -> Result<InstanceReport, Failure> {
        let replicas = remembered(&cx).iter().find(|r| r.id == revision).map_or(0, |r| r.replicas);
        Ok(InstanceReport {
            desired: replicas,
            available: replicas,
            hopeless: false,
            instances: Vec::new(),
            preview_url: None,
        })
    }

    fn retire(
        cx: CallContext,
        _key: String,
        _service: ServiceRef,
        revision: String,
        _state: Option<String>,
    ) -> Progress {
        let mut revisions = remembered(&cx);
        revisions.retain(|r| r.id != revision);
        done(&revisions)
    }

    fn cancel(_cx: CallContext, _key: String, _state: String) -> Progress {
        Progress::Done(Outcome { summary: "nothing done".to_owned(), outputs: Vec::new() })
    }
}

export!(NoOp);
