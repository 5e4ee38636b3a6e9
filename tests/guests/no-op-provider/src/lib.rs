//! A provider that does nothing. What was asked of it is all that there is: it hands that to the host to be remembered,
//! and reads it from there, as Terraform's `terraform_data` lives in Terraform's state and nowhere else. For the
//! benchmark of large deployments.

use basb_plugin::provider::{
    Action, Desired, Info, InstanceReport, Observed, ObservedRevision, Outcome, Progress, Provider, ProviderContext,
    ServicePlan,
};
use basb_plugin::{Failure, NoConfig, ServiceRef, Weight};

/// A revision as it is remembered: `ID REPLICAS WEIGHT`.
struct Revision {
    id: String,
    replicas: u32,
    weight: Weight,
}

fn remembered(cx: &ProviderContext) -> Vec<Revision> {
    let revision = |line: &str| {
        let mut parts = line.split(' ');
        Some(Revision {
            id: parts.next()?.to_owned(),
            replicas: parts.next()?.parse().ok()?,
            weight: Weight::from_hundredths(parts.next()?.parse().ok()?),
        })
    };
    cx.extra("memory").unwrap_or_default().lines().filter_map(revision).collect()
}

fn done(revisions: &[Revision]) -> Result<Progress, Failure> {
    let line = |r: &Revision| format!("{} {} {}", r.id, r.replicas, r.weight.hundredths());
    let lines: Vec<String> = revisions.iter().map(line).collect();
    let outputs = vec![("memory".to_owned(), lines.join("\n"))];
    Ok(Progress::Done(Outcome { summary: "nothing done".to_owned(), outputs }))
}

fn scale(revisions: &mut Vec<Revision>, id: &str, replicas: u32) {
    match revisions.iter_mut().find(|r| r.id == id) {
        Some(revision) => revision.replicas = replicas,
        None => revisions.push(Revision { id: id.to_owned(), replicas, weight: Weight::ZERO }),
    }
}

/// Does nothing.
#[derive(Debug)]
pub struct NoOp;

impl Provider for NoOp {
    type Config = NoConfig;

    fn describe() -> Info {
        Info {
            abilities: vec!["split-traffic".to_owned()],
            weight_granularity: Weight::from_hundredths(1),
            extras: Vec::new(),
        }
    }

    fn plan(_cx: &ProviderContext, _config: &NoConfig, _desired: &Desired) -> Result<ServicePlan, Failure> {
        Ok(ServicePlan { observed: None, actions: Vec::new() })
    }

    fn apply(
        cx: &ProviderContext,
        _config: &NoConfig,
        _key: &str,
        action: &Action,
        _state: Option<&str>,
    ) -> Result<Progress, Failure> {
        let mut revisions = remembered(cx);
        match action {
            Action::Deploy(desired) => scale(&mut revisions, &desired.revision, desired.replicas),
            Action::Scale(scaling) => scale(&mut revisions, &scaling.revision, scaling.replicas),
        }
        done(&revisions)
    }

    fn read(cx: &ProviderContext, _config: &NoConfig, _service: &ServiceRef) -> Result<Option<Observed>, Failure> {
        let revision = |r: Revision| ObservedRevision {
            id: r.id,
            desired: r.replicas,
            available: r.replicas,
            weight: r.weight,
            preview_url: None,
            workload_digest: None,
            extras: Vec::new(),
        };
        let revisions: Vec<ObservedRevision> = remembered(cx).into_iter().map(revision).collect();
        let url = Some("http://service.example".to_owned());
        Ok((!revisions.is_empty()).then_some(Observed { url, revisions, version: None, extras: Vec::new() }))
    }

    fn traffic(
        cx: &ProviderContext,
        _config: &NoConfig,
        _key: &str,
        _service: &ServiceRef,
        weights: &[(String, Weight)],
        _state: Option<&str>,
    ) -> Result<Progress, Failure> {
        let mut revisions = remembered(cx);
        for revision in &mut revisions {
            let share = weights.iter().find(|(id, _)| *id == revision.id);
            revision.weight = share.map_or(Weight::ZERO, |(_, weight)| *weight);
        }
        done(&revisions)
    }

    fn instances(
        cx: &ProviderContext,
        _config: &NoConfig,
        _service: &ServiceRef,
        revision: &str,
    ) -> Result<InstanceReport, Failure> {
        let replicas = remembered(cx).iter().find(|r| r.id == revision).map_or(0, |r| r.replicas);
        Ok(InstanceReport {
            desired: replicas,
            available: replicas,
            hopeless: false,
            instances: Vec::new(),
            preview_url: None,
        })
    }

    fn retire(
        cx: &ProviderContext,
        _config: &NoConfig,
        _key: &str,
        _service: &ServiceRef,
        revision: &str,
        _state: Option<&str>,
    ) -> Result<Progress, Failure> {
        let mut revisions = remembered(cx);
        revisions.retain(|r| r.id != revision);
        done(&revisions)
    }

    fn cancel(_cx: &ProviderContext, _config: &NoConfig, _key: &str, _state: &str) -> Result<Progress, Failure> {
        Ok(Progress::done("nothing done"))
    }
}

basb_plugin::export!(NoOp as provider);
